"""The command `pdm-twin`. Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""

import typer

from pdm.cli.backtest import backtest_app
from pdm.cli.data import delete_app, export_app, import_app
from pdm.cli.models import models_app, train
from pdm.cli.service import app, topics_app
from pdm.errors import ConfigurationError, PdmError

__all__ = ["app", "main"]

app.command()(train)
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.add_typer(delete_app, name="delete")
app.add_typer(backtest_app, name="backtest")
app.add_typer(models_app, name="models")
app.add_typer(topics_app, name="topics")


def main() -> None:
    """Run the command; errors that people can mend are one line, without a traceback."""
    try:
        app()
    except ConfigurationError as error:
        _fail(error, 2)
    except (PdmError, OSError) as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    typer.echo(f"pdm-twin: {error}", err=True)
    raise SystemExit(code)
