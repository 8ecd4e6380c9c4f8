"""Turbofan engines of NASA's C-MAPSS data, from a folder that the user names (none of it ships with the package).

A. Saxena, K. Goebel, D. Simon, N. Eklund, "Damage propagation modeling for aircraft engine run-to-failure simulation",
PHM 2008, doi 10.1109/PHM.2008.4711414. One row is one flight; in the train files every engine runs until it fails.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdm.errors import ConfigurationError
from pdm.learn import Life

SETTINGS = tuple(f"setting_{number}" for number in (1, 2, 3))
SENSORS = tuple(f"sensor_{number}" for number in range(1, 22))
NAMES = SETTINGS + SENSORS


@dataclass(frozen=True)
class Engine:
    """One engine: `columns` is `[cycles, 24]` in the order of `NAMES`, NaN where nothing is known."""

    unit: int
    columns: NDArray[np.float64]

    def values(self, cycle: int) -> dict[str, float | None]:
        """What is sent after a flight (0 is the first)."""
        flight = zip(NAMES, self.columns[cycle].tolist(), strict=True)
        return {name: None if np.isnan(value) else value for name, value in flight}


def read_engines(folder: Path, name: str = "train_FD001") -> list[Engine]:
    """The engines of one file (`name`.parquet or the published `name`.txt), by unit.

    Raises:
        ConfigurationError: the folder has no such file, or it does not have these columns.
    """
    parquet, text = folder / f"{name}.parquet", folder / f"{name}.txt"
    if parquet.is_file():
        table = pd.read_parquet(parquet)
    elif text.is_file():
        table = pd.read_csv(text, sep=r"\s+", header=None, names=["unit", "cycle", *NAMES])
    else:
        raise ConfigurationError(f"expected {parquet.name} or {text.name} of the C-MAPSS data in it", file=str(folder))
    if missing := {"unit", "cycle", *NAMES} - set(table.columns):
        raise ConfigurationError(f"lacks the columns {', '.join(sorted(missing))}", file=str(folder / name))
    by_unit = table.sort_values(["unit", "cycle"]).groupby("unit")
    return [Engine(int(str(unit)), rows[list(NAMES)].to_numpy(np.float64)) for unit, rows in by_unit]


def engine_lives(engines: Iterable[Engine]) -> list[Life]:
    """Engines that flew until they failed, to learn from: a flight is a step of life."""
    return [Life(f"E-{e.unit:03}", e.columns, np.ones(len(e.columns)), failed=True) for e in engines]
