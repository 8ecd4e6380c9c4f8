"""Forecasts without a server: tables in, tables out. `import pdm` offers what is here."""

from pathlib import Path

from pdm.notebook.estimators import DeclaredWear as DeclaredWear
from pdm.notebook.estimators import RemainingLife as RemainingLife
from pdm.notebook.estimators import Watch as Watch
from pdm.notebook.judged import track_record as track_record
from pdm.plant import Plant
from pdm.plant.file import parse_plant


def read_plant(path: str | Path) -> Plant:
    """The plant that a `plant.yaml` describes.

    Raises:
        ConfigurationError: with file, line and key of what is wrong.
    """
    return parse_plant(Path(path).read_text(encoding="utf-8"), file=str(path))
