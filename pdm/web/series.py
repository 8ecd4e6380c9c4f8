"""Readings of one machine as columns, thinned where asked, as JSON, CSV or Arrow."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pdm.installations import Fleet
from pdm.plant import AssetClass
from pdm.ports import ReadingStore
from pdm.readings import clean, concatenate
from pdm.web.shapes import rfc3339

MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one machine in the time order: `time_ms` `[n]`, `values` `[n, k]` by sensor, NaN where missing."""

    sensors: tuple[str, ...]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]


def series_of(
    readings: ReadingStore, fleet: Fleet, asset_class: AssetClass, serial: str, start_ms: int, end_ms: int
) -> Series:
    """What the machine said while start <= time < end, from whichever source it sat behind; what its sensors cannot
    report is left out."""
    parts = [
        readings.window(asset_class.name, [place.source], max(start_ms, place.from_ms), min(end_ms, place.to_ms))
        for place in sorted(fleet.installations, key=lambda place: place.from_ms)
        if place.serial == serial and place.from_ms < end_ms and place.to_ms > start_ms
    ]
    joined = concatenate(parts)
    values, _ = clean(joined, asset_class)
    return Series(asset_class.sensor_names, joined.time_ms, values)


def thinned(series: Series, every_ms: int) -> Series:
    """Means over stretches of `every_ms`, each at its start; NaN where a sensor said nothing."""
    if not len(series.time_ms):
        return series
    start = series.time_ms // every_ms * every_ms
    first = np.flatnonzero(np.r_[True, start[1:] != start[:-1]])
    said = ~np.isnan(series.values)
    count = np.add.reduceat(said, first, dtype=np.int64)
    total = np.add.reduceat(np.where(said, series.values, 0.0), first)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return Series(series.sensors, start[first], means)


def picked(series: Series, sensors: tuple[str, ...]) -> Series:
    """The same readings of some sensors only."""
    columns = [series.sensors.index(sensor) for sensor in sensors]
    return Series(sensors, series.time_ms, series.values[:, columns])


def as_rows(series: Series) -> list[list[str | float | None]]:
    """One row a reading, for CSV; None where nothing was measured."""
    values = series.values.astype(object)
    values[np.isnan(series.values)] = None
    return [[rfc3339(at_ms), *row] for at_ms, row in zip(series.time_ms.tolist(), values.tolist(), strict=True)]


def as_arrow(series: Series) -> bytes:
    """An Arrow IPC stream: `time` and one column a sensor, null where nothing was measured."""
    columns = {"time": pa.array(series.time_ms, pa.timestamp("ms", "UTC"))}
    columns |= {
        sensor: pa.array(series.values[:, column], from_pandas=True) for column, sensor in enumerate(series.sensors)
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
