"""Predictive maintenance on live digital twins.

In a notebook, without a server: `pdm.RemainingLife`, `pdm.DeclaredWear`, `pdm.Watch`, `pdm.read_plant`,
`pdm.track_record` and `pdm.plots` work on tables. They are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdm.notebook import DeclaredWear, RemainingLife, Watch, plots, read_plant, track_record

__version__ = "0.1.0"
__all__ = ["DeclaredWear", "RemainingLife", "Watch", "plots", "read_plant", "track_record"]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("pdm.notebook.plots")
    if name in __all__:
        return getattr(import_module("pdm.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
