"""Readings: values of sources at times, in columns; merged, and cleaned before any step sees them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.plant import AssetClass, Sensor


class ArrivalFlag(IntFlag):
    """What is only known when a reading arrives, stored with it."""

    NONE = 0
    NO_TIMESTAMP = 1  # the message carried no time: the time of arrival stands in
    IMPORTED = 2  # from a file, not from a live stream
    LATE = 4  # it came after the lateness window: kept apart, counted, never read by steps


class CleaningFlag(IntFlag):
    """Why a value is not used, found again at each reading of the store."""

    NONE = 0
    MISSING = 1  # the sensor was not in the message
    OUT_OF_RANGE = 2  # the sensor cannot physically report this


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one class of machines in columns.

    Attributes:
        sensors: names of the k value columns.
        source: `[n]` object array of source names.
        time_ms: `[n]` int64, UTC.
        values: `[n, k]` float64 in the declared units; NaN where a sensor was not in the message.
        flags: `[n]` uint8, `ArrivalFlag`.
    """

    sensors: tuple[str, ...]
    source: NDArray[Any]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ms)

    @staticmethod
    def empty(sensors: Sequence[str]) -> "Readings":
        return Readings(
            tuple(sensors),
            np.empty(0, dtype=object),
            np.empty(0, dtype=np.int64),
            np.empty((0, len(sensors))),
            np.empty(0, dtype=np.uint8),
        )

    def take(self, rows: NDArray[Any]) -> "Readings":
        """The readings of these rows (indices or mask)."""
        return Readings(self.sensors, self.source[rows], self.time_ms[rows], self.values[rows], self.flags[rows])


class Downsampled(NamedTuple):
    """What a source said over stretches of time in which it said something; values are NaN where a sensor did not."""

    time_ms: NDArray[np.int64]  # [m] starts of the stretches, multiples of their length since 1970, rising
    counts: NDArray[np.int64]  # [m, k] how many values
    mean: NDArray[np.float64]  # [m, k]
    low: NDArray[np.float64]  # [m, k]
    high: NDArray[np.float64]  # [m, k]


class Merged(NamedTuple):
    """One row for each (group, time), sorted by both."""

    rows: NDArray[np.intp]  # [m] the latest of the rows given that share the key
    values: NDArray[np.float64]  # [m, k]
    flags: NDArray[np.uint8]  # [m]


def clean(readings: Readings, asset_class: AssetClass) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """What steps may use: values with NaN where a sensor said nothing or something impossible, and why.

    Returns values and `CleaningFlag`, both `[n, k]` in the order of the sensors of the class. What is flagged here
    stays in the store as it came.
    """
    values = columns_of(readings, asset_class.sensor_names)
    missing = np.isnan(values)
    impossible = _impossible(values, asset_class.sensors)
    flags = missing * np.uint8(CleaningFlag.MISSING) + impossible * np.uint8(CleaningFlag.OUT_OF_RANGE)
    return np.where(impossible, np.nan, values), flags


def _impossible(values: NDArray[np.float64], sensors: Sequence[Sensor]) -> NDArray[np.bool_]:
    """Which values `[n, k]` their sensor cannot physically report; NaN is none of them."""
    low = np.array([-np.inf if sensor.low is None else sensor.low for sensor in sensors])
    high = np.array([np.inf if sensor.high is None else sensor.high for sensor in sensors])
    return np.asarray((values < low) | (values > high) | np.isinf(values))


def downsample(readings: Readings, sensors: Sequence[Sensor], every_ms: int) -> Downsampled:
    """Readings of one source by time, taken together over stretches of `every_ms`; what is impossible is left out."""
    values = columns_of(readings, [sensor.name for sensor in sensors])
    values = np.where(_impossible(values, sensors), np.nan, values)
    said = ~np.isnan(values)
    heard = said.any(axis=1)
    values, said, start = values[heard], said[heard], readings.time_ms[heard] // every_ms * every_ms
    if not len(start):
        return downsampled(start, *np.empty((4, 0, len(sensors))))
    first = np.flatnonzero(np.r_[True, start[1:] != start[:-1]])
    return downsampled(
        start[first],
        np.add.reduceat(said, first, dtype=np.int64),
        np.add.reduceat(np.where(said, values, 0.0), first),
        np.minimum.reduceat(np.where(said, values, np.inf), first),
        np.maximum.reduceat(np.where(said, values, -np.inf), first),
    )


def downsampled(
    time_ms: NDArray[np.int64],
    counts: NDArray[Any],
    total: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> Downsampled:
    """Stretches from sums; where nothing is counted the other values do not matter."""
    said = counts > 0
    mean = np.divide(total, counts, out=np.full(total.shape, np.nan), where=said)
    return Downsampled(
        time_ms, counts.astype(np.int64), mean, np.where(said, low, np.nan), np.where(said, high, np.nan)
    )


def joined(parts: Sequence[Downsampled]) -> Downsampled:
    """Stretches of several sources behind which one machine sat one after the other, by time; at least one part."""
    time_ms, place = np.unique(np.concatenate([part.time_ms for part in parts]), return_inverse=True)
    width = parts[0].mean.shape[1]
    counts, total = np.zeros((len(time_ms), width), dtype=np.int64), np.zeros((len(time_ms), width))
    low, high = np.full(total.shape, np.inf), np.full(total.shape, -np.inf)
    for part, at in zip(parts, np.split(place, np.cumsum([len(part.time_ms) for part in parts])[:-1]), strict=True):
        counts[at] += part.counts
        total[at] += np.where(part.counts > 0, part.mean * part.counts, 0.0)
        low[at], high[at] = np.fmin(low[at], part.low), np.fmax(high[at], part.high)
    return downsampled(time_ms, counts, total, low, high)


def columns_of(readings: Readings, sensors: Sequence[str]) -> NDArray[np.float64]:
    """The values of these sensors, `[n, k]`; NaN for a sensor that the readings do not carry."""
    if tuple(sensors) == readings.sensors:
        return readings.values
    values = np.full((len(readings), len(sensors)), np.nan)
    column = {name: j for j, name in enumerate(readings.sensors)}
    for j, name in enumerate(sensors):
        if name in column:
            values[:, j] = readings.values[:, column[name]]
    return values


def concatenate(parts: Sequence[Readings]) -> Readings:
    """Readings one after another; the sensors are those of all parts, in the order of their first appearance."""
    layouts = dict.fromkeys(part.sensors for part in parts)
    sensors = tuple(dict.fromkeys(name for layout in layouts for name in layout))
    if len(parts) < 2:
        return parts[0] if parts else Readings.empty(sensors)
    return Readings(
        sensors,
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([columns_of(part, sensors) for part in parts]),
        np.concatenate([part.flags for part in parts]),
    )


def merge(readings: Readings) -> Readings:
    """One row for each (source, time), sorted by both; of rows that share a key the later wins, sensor by sensor.

    This is what makes sending again harmless: any number of resends, in any order, merges to what one sending gives.
    """
    names, group = _by_name(readings.source)
    rows, values, flags = merge_rows(group, readings.time_ms, readings.values, readings.flags)
    return Readings(readings.sensors, names[group[rows]], readings.time_ms[rows], values, flags)


def arrange(
    parts: Sequence[Readings],
    places: Sequence[NDArray[Any]],
    sources: Sequence[str],
    sensors: Sequence[str],
    start_ms: int,
    end_ms: int,
) -> Readings:
    """The rows of these sources with start <= time < end, merged, sorted by the order of `sources` and by time.

    Args:
        parts: readings in the order of their arrival; what their `source` holds does not matter.
        places: for each part `[n]` integers, where in `sources` the source of a row stands, -1 for any other.
        sensors: the columns of the answer.
    """
    if not parts:
        return Readings.empty(sensors)
    place = np.concatenate(places)
    time_ms = np.concatenate([part.time_ms for part in parts])
    flags = np.concatenate([part.flags for part in parts])
    values = [columns_of(part, sensors) for part in parts]
    wanted = np.flatnonzero((place >= 0) & (time_ms >= start_ms) & (time_ms < end_ms))
    merged = _merge(place[wanted], time_ms[wanted], flags[wanted], lambda rows: _gather(values, wanted[rows]))
    rows = wanted[merged.rows]
    names = np.array([*sources], dtype=object)
    return Readings(tuple(sensors), names[place[rows]], time_ms[rows], merged.values, merged.flags)


def merge_rows(
    group: NDArray[Any], time_ms: NDArray[np.int64], values: NDArray[np.float64], flags: NDArray[np.uint8]
) -> Merged:
    """Merge rows given in the order of their arrival; NaN means "not in that message".

    Args:
        group: `[n]` integer number of the source of each row.
        time_ms, values, flags: `[n]`, `[n, k]`, `[n]`.
    """
    return _merge(group, time_ms, flags, lambda rows: np.take(values, rows, axis=0))


def _merge(
    group: NDArray[Any],
    time_ms: NDArray[np.int64],
    flags: NDArray[np.uint8],
    values_of: Callable[[NDArray[np.intp]], NDArray[np.float64]],
) -> Merged:
    if len(group) and group.max() < 2**16:
        group = group.astype(np.uint16)  # numpy sorts 16-bit numbers by radix, ten times faster than wider ones
    order = np.lexsort((time_ms, group))  # stable: rows of one key stay in the order of their arrival
    repeats = (np.diff(group[order]) == 0) & (np.diff(time_ms[order]) == 0)
    if not repeats.any():
        return Merged(order, values_of(order), flags[order])
    first = np.flatnonzero(np.r_[True, ~repeats])
    count = np.diff(np.r_[first, len(order)])
    last = order[first + count - 1]
    merged = values_of(last)
    several = count > 1
    merged[several] = _latest_known(values_of(order[np.repeat(several, count)]), count[several])
    return Merged(last, merged, np.bitwise_or.reduceat(flags[order], first))


def _gather(parts: Sequence[NDArray[np.float64]], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """`np.concatenate(parts)[rows]` (no row twice), with one copy of the values instead of two."""
    ends = np.cumsum([len(part) for part in parts])
    target = np.full(ends[-1], -1)
    target[rows] = np.arange(len(rows))
    gathered = np.empty((len(rows), parts[0].shape[1]))
    for part, to in zip(parts, np.split(target, ends[:-1]), strict=True):
        kept = to >= 0
        if kept.all():
            gathered[to] = part
        else:
            gathered[to[kept]] = part[kept]
    return gathered


def _latest_known(values: NDArray[np.float64], count: NDArray[np.intp]) -> NDArray[np.float64]:
    """Column by column the last value that is not NaN in each run of `count` rows. `[m, k]`."""
    end = np.cumsum(count)
    row = np.arange(len(values))[:, None]
    known = np.maximum.reduceat(np.where(np.isnan(values), -1, row), end - count, axis=0)
    # a sensor that is NaN in the whole run is so in any of its rows
    return np.take_along_axis(values, np.where(known < 0, end[:, None] - 1, known), axis=0)


def _by_name(source: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The distinct names in their order, and for each row the number of its name. `[m]`, `[n]`."""
    names = sorted(set(source.tolist()))
    number = {name: i for i, name in enumerate(names)}
    distinct = np.empty(len(names), dtype=object)
    distinct[:] = names
    return distinct, np.fromiter((number[name] for name in source.tolist()), np.int64, len(source))
