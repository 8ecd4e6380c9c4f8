"""Twins and prognoses as points in the store that others plot from: sent after the tick that made them, never read.

    a tick has ended -> its twins, and the prognoses issued since -> write them -> note how far

The truth is in the state database. Points are sent again until that is noted, which changes nothing. Of twins there is
the latest tick: those of ticks that ended while the store was away are left out, prognoses are not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Engine, Row

from pdm.background import Background
from pdm.durations import HOUR_MS
from pdm.errors import RefusedWriteError
from pdm.installations import Fleet
from pdm.plant import AssetClass
from pdm.ports import Projection, ProjectionStore
from pdm.prognosis import MEDIAN, Refusal
from pdm.prognosis.quantiles import failure_probability
from pdm.recommend import EARLY, LATE
from pdm.state import forwarding
from pdm.state.cohorts import StoredBeliefs, beliefs_tick, load_beliefs
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import last_number, read, write
from pdm.state.told import prognoses_after

BLOCK_POINTS = 5_000

LOOK_S = 1.0
"""How often is looked whether a tick has ended."""

_PROGNOSES = "prognoses"  # of all classes

_log = structlog.stdlib.get_logger(__name__)


class Projector:
    """Sends what ticks have concluded on to a store, in the background."""

    def __init__(self, engine: Engine, points: ProjectionStore):
        self.background = Background("projections", self.send, LOOK_S)
        self._engine, self._points = engine, points
        self._sent = 0  # everything up to this tick has been sent

    def degraded(self) -> list[str]:
        """What is wrong with projections, in sentences."""
        problem = self.background.problem
        return [] if problem is None else [f"twins and prognoses wait to be plotted: {problem}"]

    def send(self) -> int:
        """Send what ticks have concluded since the last time; returns how many points.

        Raises:
            StoreError: the store does not take them for now.
        """
        with read(self._engine) as connection:
            if (last := last_number(connection, "tick")) == self._sent:
                return 0
            plant = current_plant(connection)
            fleet, classes = current_fleet(connection, plant), plant.plant.classes
            done = forwarding.projected_ticks(connection, self._points.name)
            new = [name for name in classes if beliefs_tick(connection, name) > done.get(_twins(name), 0)]
            stored = {name: load_beliefs(connection, name) for name in new}
        moved = 0
        for name, believed in stored.items():
            if believed is not None:
                moved += self._write([twins(classes[name], fleet, believed)], _twins(name), believed.tick)
        moved += self._send_prognoses(classes, fleet, done.get(_PROGNOSES, 0))
        self._sent = last
        return moved

    def _send_prognoses(self, classes: Mapping[str, AssetClass], fleet: Fleet, tick: int) -> int:
        moved = 0
        while True:
            with read(self._engine) as connection:
                issued = prognoses_after(connection, tick, BLOCK_POINTS)
            if not issued:
                return moved
            tick = issued[-1].tick
            moved += self._write(prognoses(classes, fleet, issued), _PROGNOSES, tick)

    def _write(self, projections: Sequence[Projection], series: str, tick: int) -> int:
        """Write points, and note that a series has been sent up to this tick; returns how many."""
        for projection in projections:
            for begin in range(0, len(projection.serial), BLOCK_POINTS):
                try:
                    self._points.project(projection.take(slice(begin, begin + BLOCK_POINTS)))
                except RefusedWriteError as error:  # for good; what could be written of them has been
                    _log.warning("points refused by the store", series=series, why=str(error))
        with write(self._engine) as connection:
            forwarding.store_projected(connection, self._points.name, series, tick)
        return sum(len(projection.serial) for projection in projections)


def twins(asset_class: AssetClass, fleet: Fleet, stored: StoredBeliefs) -> Projection:
    """The twins of a class after its latest tick, of the machines that have a step."""
    believed, at_ms = stored.beliefs, stored.at_ms
    time_ms = np.full(len(believed.serial), at_ms, dtype=np.int64)
    values = {"steps": believed.steps, "share": believed.share} | _outlook(
        asset_class, time_ms, believed.exposure, believed.duty_rate, believed.prognosis.quantiles
    )
    behind = {place.serial: place.source for place in fleet.installations if place.from_ms <= at_ms < place.to_ms}
    texts = {
        "refusal": _texts([Refusal(code).code for code in believed.prognosis.refusal.tolist()]),
        "source": _texts([behind.get(serial, "") for serial in believed.serial.tolist()]),
    }
    made = Projection("twin", asset_class.name, believed.serial, time_ms, *_columns(values), texts)
    return made.take(believed.last_step_ms >= 0)


def prognoses(classes: Mapping[str, AssetClass], fleet: Fleet, issued: Sequence[Row[Any]]) -> list[Projection]:
    """Issued prognoses by class, of the machines that the plant still knows."""
    of_class = defaultdict[str, list[Row[Any]]](list)
    for row in issued:
        if row.serial in fleet.assets:
            of_class[fleet.assets[row.serial].class_name].append(row)
    return [_prognoses(classes[name], rows) for name, rows in of_class.items()]


def _prognoses(asset_class: AssetClass, issued: Sequence[Row[Any]]) -> Projection:
    time_ms = np.array([row.issued_ms for row in issued], dtype=np.int64)
    exposure, duty_rate, quantiles = (
        np.array(column, dtype=np.float64)
        for column in zip(*((row.exposure, row.duty_rate, row.quantiles) for row in issued), strict=True)
    )
    values = _outlook(asset_class, time_ms, exposure, duty_rate, quantiles)
    texts = {
        "basis": _texts([row.basis for row in issued]),
        "mode": _texts([row.mode or "" for row in issued]),
        "model": _texts([row.model for row in issued]),
    }
    serial = _texts([row.serial for row in issued])
    return Projection("prognosis", asset_class.name, serial, time_ms, *_columns(values), texts)


def _outlook(
    asset_class: AssetClass,
    time_ms: NDArray[np.int64],
    exposure: NDArray[np.float64],
    duty_rate: NDArray[np.float64],
    quantiles: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """What remains of the life of machines, in life steps, hours and dates; NaN where it is not known."""
    rate = np.where(duty_rate > 0, duty_rate, np.nan)
    total = exposure + quantiles[:, MEDIAN]
    within = np.nan_to_num(duty_rate) * asset_class.notice_ms / HOUR_MS
    found = {
        "exposure": exposure,
        "duty_rate": duty_rate,
        "used_life": exposure / np.where(total > 0, total, np.nan),
        "risk": np.where(np.isnan(rate), np.nan, failure_probability(quantiles, within)),
    }
    for name, level in (("p10", EARLY), ("p50", MEDIAN), ("p90", LATE)):
        hours = quantiles[:, level] / rate
        found |= {f"rul_{name}": quantiles[:, level], f"rul_{name}_hours": hours}
        found |= {f"failure_{name}_ms": np.round(time_ms + hours * HOUR_MS)}
    return found


def _columns(values: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The names of columns, and the columns side by side."""
    return tuple(values), np.column_stack([*values.values()]).astype(np.float64)


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    return np.array(texts, dtype=object)


def _twins(class_name: str) -> str:
    return f"twins of {class_name}"
