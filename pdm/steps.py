"""Steps: what the twin saw. A step is a pure function of the stored readings of one machine over one life step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.plant import AssetClass, Summary
from pdm.readings import Readings, clean


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of a cohort, sorted by (row, start).

    Attributes:
        row: `[m]` int64, row of the asset in the cohort.
        start_ms, end_ms: `[m]` int64; a step that is one reading starts and ends at its time.
        share: `[m]` share of the step that the machine ran, NaN if nobody measured it (a gap).
        count: `[m]` int32 readings in the step.
        values: `[m, k]` summaries in the order of `AssetClass.columns`, NaN where nothing usable was measured.
    """

    row: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    share: NDArray[np.float64]
    count: NDArray[np.int32]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: NDArray[Any]) -> "Steps":
        return Steps(
            self.row[rows],
            self.start_ms[rows],
            self.end_ms[rows],
            self.share[rows],
            self.count[rows],
            self.values[rows],
        )

    def to_columns(self, serials: NDArray[Any]) -> Columns:
        """Columns to store: the row becomes the serial."""
        return {
            "serial": serials[self.row],
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "share": self.share,
            "count": self.count,
            "values": self.values,
        }


def joined(parts: Sequence[Steps]) -> Steps:
    """Steps one after the other; parts without any rows may have no columns."""
    filled = [part for part in parts if len(part)] or parts[:1]
    if len(filled) == 1:
        return filled[0]
    columns = {name: [getattr(part, name) for part in filled] for name in Steps.__dataclass_fields__}
    return Steps(**{name: np.concatenate(values) for name, values in columns.items()})


def laid_over(*parts: Steps) -> Steps:
    """Sorted by (row, start); of equally keyed steps the last stands, and none that was taken back (`count` -1)."""
    every = joined(parts)
    every = every.take(np.lexsort((np.arange(len(every)), every.start_ms, every.row)))
    last = np.ones(len(every), dtype=np.bool_)
    last[:-1] = (every.row[1:] != every.row[:-1]) | (every.start_ms[1:] != every.start_ms[:-1])
    return every.take(last & (every.count >= 0))


def closed_until(asset_class: AssetClass, at_ms: int) -> int:
    """Steps that start before this time and end by it are closed at plant time `at_ms`."""
    duration = asset_class.life_step.duration_ms
    settled = at_ms - asset_class.life_step.grace_ms
    return settled + 1 if duration is None else settled // duration * duration


def step_start(asset_class: AssetClass, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The start of the step that holds each time."""
    duration = asset_class.life_step.duration_ms
    return time_ms if duration is None else time_ms // duration * duration


def make_steps(
    asset_class: AssetClass,
    readings: Readings,
    row: NDArray[np.int64],
    from_ms: NDArray[np.int64],
    until_ms: NDArray[np.int64],
) -> Steps:
    """Every closed step of a cohort from `from_ms[row]` (inclusive, a step start) to `until_ms[row]` (exclusive).

    Args:
        readings: merged readings of the cohort in that time, in the sensors of the class.
        row: `[n]` row of each reading, -1 to leave it out.
        from_ms, until_ms: `[assets]`; a machine whose `until_ms` is not after its `from_ms` gets none.

    Returns:
        Steps with readings and, where a step has a fixed duration, those without.
    """
    start = step_start(asset_class, readings.time_ms)
    at = np.maximum(row, 0)
    wanted = (row >= 0) & (start < until_ms[at]) & (start >= from_ms[at])
    order = np.flatnonzero(wanted)
    order = order[np.lexsort((readings.time_ms[order], row[order]))]
    measured = _summarise(asset_class, readings.take(order), row[order], start[order])
    return (
        measured if asset_class.life_step.duration_ms is None else _with_gaps(asset_class, measured, from_ms, until_ms)
    )


def same_steps(a: Steps, b: Steps) -> NDArray[np.bool_]:
    """Whether equally keyed steps are equal, so that a re-made one is no change. `[m]`."""
    same_share = (a.share == b.share) | (np.isnan(a.share) & np.isnan(b.share))
    same_values = (a.values == b.values) | (np.isnan(a.values) & np.isnan(b.values))
    return np.asarray(same_share & same_values.all(axis=1) & (a.count == b.count))


def _summarise(asset_class: AssetClass, readings: Readings, row: NDArray[Any], start: NDArray[Any]) -> Steps:
    """Group readings, sorted by (row, time), into steps."""
    if not len(readings):
        return _empty(len(asset_class.columns))
    first = np.flatnonzero(np.r_[True, (row[1:] != row[:-1]) | (start[1:] != start[:-1])])
    count = np.diff(np.r_[first, len(row)])
    values, _ = clean(readings, asset_class)
    running = _running(asset_class, values)
    known = np.add.reduceat(~np.isnan(running), first, dtype=np.int64)
    ran = np.add.reduceat(np.nan_to_num(running), first)
    share = np.where(known > 0, ran / np.maximum(known, 1), np.nan)
    # a summary is about the running machine; a step in which it never ran keeps what was measured at rest
    counted = (running == 1.0) | np.repeat(~(ran > 0), count)
    usable = np.where(counted[:, None], values, np.nan)
    duration = asset_class.life_step.duration_ms or 0
    return Steps(
        row=row[first],
        start_ms=start[first],
        end_ms=start[first] + duration,
        share=share,
        count=count.astype(np.int32),
        values=_columns(asset_class, usable, first, count),
    )


def _running(asset_class: AssetClass, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 running, 0 at rest, NaN not measured. `[n]`."""
    rule = asset_class.running_when
    if rule is None:
        return np.ones(len(values))
    measured = values[:, asset_class.sensor_names.index(rule.sensor)]
    return np.where(np.isnan(measured), np.nan, (measured > rule.above).astype(np.float64))


def _columns(
    asset_class: AssetClass, values: NDArray[np.float64], first: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Summaries of each group of rows. `[m, columns]`."""
    usable = ~np.isnan(values)
    found = np.add.reduceat(usable, first, dtype=np.int64)
    mean = np.add.reduceat(np.where(usable, values, 0.0), first) / np.maximum(found, 1)
    made: dict[Summary, NDArray[np.float64]] = {Summary.MEAN: mean}
    kinds = {column.summary for column in asset_class.columns}
    if Summary.MAX in kinds:
        made[Summary.MAX] = np.maximum.reduceat(np.where(usable, values, -np.inf), first)
    if Summary.MIN in kinds:
        made[Summary.MIN] = np.minimum.reduceat(np.where(usable, values, np.inf), first)
    if Summary.SD in kinds:
        departure = np.where(usable, values - np.repeat(mean, count, axis=0), 0.0)
        made[Summary.SD] = np.sqrt(np.add.reduceat(departure**2, first) / np.maximum(found - 1, 1))
    if Summary.LAST in kinds:
        position = np.where(usable, np.arange(len(values))[:, None], -1)
        latest = np.maximum(np.maximum.reduceat(position, first), 0)
        made[Summary.LAST] = np.take_along_axis(values, latest, axis=0)
    names = asset_class.sensor_names
    picked = [(made[c.summary][:, s], found[:, s]) for c in asset_class.columns for s in (names.index(c.sensor),)]
    return np.column_stack([np.where(n > 0, summary, np.nan) for summary, n in picked])


def _with_gaps(
    asset_class: AssetClass, measured: Steps, from_ms: NDArray[np.int64], until_ms: NDArray[np.int64]
) -> Steps:
    """Add the steps of a fixed duration in which nothing was measured."""
    duration = int(asset_class.life_step.duration_ms or 0)
    number = -(np.minimum(from_ms - until_ms, 0) // duration)
    total = int(number.sum())
    row = np.repeat(np.arange(len(from_ms)), number)
    offset = np.concatenate([[0], np.cumsum(number)[:-1]]) if len(number) else np.empty(0, dtype=np.int64)
    start = from_ms[row] + (np.arange(total) - offset[row]) * duration
    at = offset[measured.row] + (measured.start_ms - from_ms[measured.row]) // duration
    share, count = np.full(total, np.nan), np.zeros(total, dtype=np.int32)
    values = np.full((total, measured.values.shape[1]), np.nan)
    share[at], count[at], values[at] = measured.share, measured.count, measured.values
    return Steps(row, start, start + duration, share, count, values)


def _empty(width: int) -> Steps:
    none = np.empty(0, dtype=np.int64)
    return Steps(none, none, none, np.empty(0), np.empty(0, dtype=np.int32), np.empty((0, width)))
