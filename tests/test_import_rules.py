"""The direction of imports between the rooms of the package, as `.importlinter` declares it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_room_imports_only_what_its_contract_allows() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--config", ".importlinter", "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    checked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
