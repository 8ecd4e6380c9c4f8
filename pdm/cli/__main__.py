"""`python -m pdm.cli`: as the service starts its own processes."""

from pdm.cli import main

main()
