"""Rows of a file become readings, or are refused one by one with a reason. Whole columns at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdm.errors import ConfigurationError
from pdm.ingest.decode import FUTURE_MS, MOST, OLDEST_MS, UNITS_PER_MS, EpochUnit
from pdm.ingest.files import Piece
from pdm.plant import AssetClass, Plant
from pdm.readings import ArrivalFlag, Readings
from pdm.units import conversion

_NUMBERS = "the times are numbers: say what they count since 1970, s, ms, us or ns (--epoch-unit)"
_NO_OFFSET = "the times carry no offset: say which time zone they are in (--time-zone)"

Moments = Any  # a pandas Series of timestamps

_ENDS_WITH_OFFSET = r":\d\d(?:\.\d+)?\s*(?:Z|z|[-+]\d\d(?::?\d\d)?)\s*$"


@dataclass(frozen=True, slots=True)
class TableForm:
    """How files of readings are laid out.

    Attributes:
        source_column, time_column: their names.
        source: the source of every row, for files without a column for it.
        epoch_unit: what a time that is a number counts, since 1970.
        time_zone: of times that carry no offset; None refuses them.
        rename: sensor by the column that holds it, where the two differ.
        ignore: columns to leave out.
        units: unit in the file by sensor, where it is not the declared one.
    """

    source_column: str = "source"
    time_column: str = "time"
    source: str | None = None
    epoch_unit: EpochUnit | None = None
    time_zone: ZoneInfo | None = None
    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class BadRow(NamedTuple):
    """A row that was not imported."""

    row: int
    reason: str
    detail: str


def read_rows(
    piece: Piece, plant: Plant, form: TableForm, sensors: Mapping[str, str], now_ms: int
) -> tuple[dict[str, Readings], list[BadRow]]:
    """The readings of a piece of a file by class, and its rows that cannot be read.

    Args:
        sensors: the sensor that each column of values holds.
    """
    rows = _Rows(piece)
    if not len(piece.rows):
        return {}, rows.bad()
    source = _sources(piece, form)
    time_ms = _times(piece.columns[form.time_column], form, rows)
    rows.refuse(time_ms > now_ms + FUTURE_MS, "in_the_future", "the time is after now")
    rows.refuse(time_ms < OLDEST_MS, "before_1990", "the time cannot be when this was measured")
    values = {sensor: _numbers(name, piece.columns[name], rows) for name, sensor in sensors.items()}
    silent = np.all([np.isnan(column) for column in values.values()], axis=0)
    rows.refuse(silent, "no_values", "the row holds no value")
    class_of = {name: asset.class_name for name, asset in plant.asset_of_source.items()}
    class_name = np.array([class_of.get(name, "") for name in source.tolist()], dtype=object)
    rows.refuse(class_name == "", "unknown_source", source)

    batches = {}
    for asset_class in plant.classes.values():
        of_class = class_name == asset_class.name
        for sensor in values.keys() - set(asset_class.sensor_names):
            detail = f"{sensor!r} is no sensor of class {asset_class.name}"
            rows.refuse(of_class & ~np.isnan(values[sensor]), "unknown_sensor", detail)
        kept = np.flatnonzero(of_class & rows.good)
        if len(kept):
            batches[asset_class.name] = _readings(asset_class, form, source[kept], time_ms[kept], values, kept)
    return batches, rows.bad()


class _Rows:
    """Which rows of a piece are good, and why the others are not: the first reason found counts."""

    def __init__(self, piece: Piece):
        self._piece = piece
        self.good = np.ones(len(piece.rows), dtype=bool)
        self._bad = [BadRow(row, "wrong_number_of_fields", text) for row, text in piece.malformed.items()]

    def refuse(self, mask: NDArray[np.bool_], reason: str, detail: str | NDArray[Any]) -> None:
        """Refuse the rows under this mask; `detail` is the same for all, or `[n]`."""
        for i in np.flatnonzero(mask & self.good):
            text = detail if isinstance(detail, str) else str(detail[i])
            self._bad.append(BadRow(int(self._piece.rows[i]), reason, text))
        self.good &= ~mask

    def bad(self) -> list[BadRow]:
        """The refused rows in the order of the file."""
        return sorted(self._bad)


def _readings(
    asset_class: AssetClass,
    form: TableForm,
    source: NDArray[Any],
    time_ms: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    kept: NDArray[np.intp],
) -> Readings:
    """Rows of one class, their values in its declared units."""
    columns = np.full((len(kept), len(asset_class.sensors)), np.nan)
    for j, sensor in enumerate(asset_class.sensors):
        if sensor.name in values:
            to_declared = conversion(form.units.get(sensor.name, sensor.unit), sensor.unit)
            columns[:, j] = to_declared(values[sensor.name][kept])
    flags = np.full(len(kept), ArrivalFlag.IMPORTED, dtype=np.uint8)
    return Readings(asset_class.sensor_names, source, time_ms, columns, flags)


def _sources(piece: Piece, form: TableForm) -> NDArray[Any]:
    """The source of each row. `[n]`, object."""
    if form.source is not None:
        return np.full(len(piece.rows), form.source, dtype=object)
    names: NDArray[Any] = pc.cast(piece.columns[form.source_column], pa.string()).to_numpy(zero_copy_only=False)
    return names


def _numbers(name: str, column: Any, rows: _Rows) -> NDArray[np.float64]:
    """The values of a column, NaN where it is empty; rows with something else in it are refused. `[n]`."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = column.to_pandas()
        values: NDArray[np.float64] = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        rows.refuse(np.isnan(values) & text.notna().to_numpy(), "not_a_number", text.to_numpy())
    elif pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    elif pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
        raise ConfigurationError(f"the column {name!r} does not hold numbers but {column.type}")
    else:
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    rows.refuse(np.abs(values) > MOST, "number_too_large", name)
    return values


def _times(column: Any, form: TableForm, rows: _Rows) -> NDArray[np.int64]:
    """Milliseconds since 1970; rows whose time cannot be read are refused. `[n]`."""
    text = pc.cast(column, pa.string()).to_numpy(zero_copy_only=False)
    if form.epoch_unit is not None:
        number = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64) / UNITS_PER_MS[form.epoch_unit]
        rows.refuse(~(np.abs(number) < 2**53), "wrong_timestamp", text)
        return np.where(rows.good, number, 0).round().astype(np.int64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        raise ConfigurationError(_NUMBERS)
    if pa.types.is_timestamp(column.type):
        moments = _stored_moments(column, form)
    else:
        moments = _written_moments(column, text, form, rows)
    known = moments.notna().to_numpy()
    rows.refuse(~known, "wrong_timestamp", text)
    return np.where(known, pd.DatetimeIndex(moments).as_unit("ms").asi8, 0)


def _stored_moments(column: Any, form: TableForm) -> Moments:
    """Times that Parquet holds as such. `[n]`."""
    if column.type.tz is not None:
        return pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False).to_pandas()
    if form.time_zone is None:
        raise ConfigurationError(_NO_OFFSET)
    return _placed(column.to_pandas(), form.time_zone)


def _written_moments(column: Any, text: NDArray[Any], form: TableForm, rows: _Rows) -> Moments:
    """Times written in ISO 8601; NaT where that is not what they are. `[n]`."""
    try:
        return pc.cast(column, pa.timestamp("us", "UTC")).to_pandas()  # all of them with an offset
    except pa.ArrowInvalid:
        series = pd.Series(text)
    if pd.to_numeric(series, errors="coerce").notna().all():
        raise ConfigurationError(_NUMBERS)
    has_offset = series.str.contains(_ENDS_WITH_OFFSET, na=False)
    aware = pd.to_datetime(series.where(has_offset), format="ISO8601", utc=True, errors="coerce")
    local = pd.to_datetime(series.where(~has_offset), format="ISO8601", errors="coerce")
    if form.time_zone is None:
        if local.notna().all():
            raise ConfigurationError(_NO_OFFSET)
        rows.refuse(local.notna().to_numpy(), "timestamp_without_zone", text)
        return aware
    return aware.fillna(_placed(local, form.time_zone))


def _placed(local: Moments, zone: ZoneInfo) -> Moments:
    """Local times in UTC; NaT in an hour that the clock strikes twice or never, since it does not say which."""
    return local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
