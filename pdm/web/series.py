"""Readings of one machine as columns, thinned where asked, as JSON, CSV or Arrow."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pdm.installations import Fleet
from pdm.plant import AssetClass
from pdm.ports import ReadingStore
from pdm.readings import Readings, clean, concatenate, downsample, joined
from pdm.web.shapes import rfc3339

MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one machine in the time order: `time_ms` `[n]`, `values` `[n, k]` by sensor, NaN where missing."""

    sensors: tuple[str, ...]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thinned(Series):
    """Means over stretches of time, with the lowest and the highest value of each `[n, k]`."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def series_of(
    readings: ReadingStore, fleet: Fleet, asset_class: AssetClass, serial: str, start_ms: int, end_ms: int
) -> Series:
    """What the machine said while start <= time < end, from whichever source it sat behind; what its sensors cannot
    report is left out."""
    places = fleet.places_of(serial, start_ms, end_ms)
    found = concatenate([readings.window(asset_class.name, [source], begin, end) for source, begin, end in places])
    values, _ = clean(found, asset_class)
    return Series(asset_class.sensor_names, found.time_ms, values)


def thinned_of(
    readings: ReadingStore,
    fleet: Fleet,
    asset_class: AssetClass,
    serial: str,
    start_ms: int,
    end_ms: int,
    every_ms: int,
    sensors: tuple[str, ...],
) -> Thinned:
    """The same of some sensors over stretches of `every_ms`, each at its start; the store takes them together."""
    wanted = [asset_class.sensor(name) for name in sensors]
    parts = [
        readings.downsampled(asset_class.name, source, wanted, begin, end, every_ms)
        for source, begin, end in fleet.places_of(serial, start_ms, end_ms)
    ]
    found = joined(parts or [downsample(Readings.empty(sensors), wanted, every_ms)])
    return Thinned(sensors, found.time_ms, found.mean, found.low, found.high)


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
