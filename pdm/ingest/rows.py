"""Rows of a file become readings, or are refused one by one with a reason. Whole columns at a time."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdm.durations import DAY_MS, HOUR_MS
from pdm.errors import ConfigurationError
from pdm.ingest.decode import FUTURE_MS, MOST, OLDEST_MS
from pdm.ingest.files import Layout, Piece, holds_values
from pdm.plant import AssetClass, Plant
from pdm.plant.wire import TableForm, TableUnit
from pdm.readings import ArrivalFlag, Readings
from pdm.units import conversion

COUNTED_PER_MS: Mapping[TableUnit, float] = {
    "s": 0.001,
    "ms": 1,
    "us": 1_000,
    "ns": 1_000_000,
    "min": 1 / 60_000,
    "h": 1 / HOUR_MS,
    "d": 1 / DAY_MS,
}
"""How many of what a time in a table counts make a millisecond."""

_SECOND_MS = 1000

_NUMBERS = (
    "the times are numbers: say what they count, s, min, h, d, ms, us or ns (--epoch-unit), and from when if not from "
    "1970 (--count-from)"
)
_NO_OFFSET = "the times carry no offset: say which time zone they are in (--time-zone)"
_NO_ZONE = "expected a time with its offset, or a zone (--time-zone), not "

MIDNIGHT = r"[ T]00:00(?::00(?:\.0+)?)?$"
"""What stands behind a date that has its time of day in a column of its own."""

COMMA_IN_SECONDS = r"(:\d\d),(\d)"
"""Which ISO 8601 allows, and pandas does not."""

Moments = Any  # a pandas Series of timestamps

_ENDS_WITH_OFFSET = r":\d\d(?:\.\d+)?\s*(?:Z|z|[-+]\d\d(?::?\d\d)?)\s*$"


class BadRow(NamedTuple):
    """A row that was not imported."""

    row: int
    reason: str
    detail: str


class _Labels(NamedTuple):
    """A column of text in which few words stand often."""

    words: list[str]  # each once
    code: NDArray[np.int64]  # [n] which of them a row holds

    def look_up(self, known: Mapping[str, int]) -> NDArray[np.int64]:
        """What is known by the word of each row, -1 where that is nothing. `[n]`."""
        return np.array([known.get(word, -1) for word in self.words], dtype=np.int64)[self.code]

    def text(self) -> NDArray[Any]:
        """The word of each row. `[n]`, object."""
        return np.array(self.words, dtype=object)[self.code]


class _Table(NamedTuple):
    """The rows of a piece, column by column."""

    form: TableForm
    source: _Labels
    time_ms: NDArray[np.int64]  # [n]
    values: Mapping[str, NDArray[np.float64]]  # [n] by column
    sensor: _Labels | None  # of a long table


def read_rows(
    piece: Piece, plant: Plant, form: TableForm, layout: Layout, now_ms: int
) -> tuple[dict[str, Readings], list[BadRow]]:
    """The readings of a piece of a file by class, and its rows that cannot be read."""
    if form.sensor_column is not None and len(piece.rows):
        piece = _wanted(piece, _labels(piece.columns[form.sensor_column]), form)
    rows = _Rows(piece)
    if not len(piece.rows):
        return {}, rows.bad()
    table = _table(piece, form, layout, rows)
    rows.refuse(table.time_ms > now_ms + FUTURE_MS, "in_the_future", "the time is after now")
    rows.refuse(table.time_ms < OLDEST_MS, "before_1990", "the time cannot be when this was measured")
    rows.refuse(_silent(table.values.values(), len(piece.rows)), "no_values", "the row holds no value")
    number_of = {name: number for number, name in enumerate(plant.classes)}
    number = table.source.look_up(
        {source: number_of[asset.class_name] for source, asset in plant.asset_of_source.items()}
    )
    rows.refuse(number < 0, "unknown_source", "no asset of the plant has the source ", table.source.text)
    batches = dict[str, Readings]()
    for asset_class in plant.classes.values():
        of_class = number == number_of[asset_class.name]
        if of_class.any():
            batches[asset_class.name] = _of_class(asset_class, table, of_class, rows)
    return {name: readings for name, readings in batches.items() if len(readings)}, rows.bad()


class _Rows:
    """Which rows of a piece are good, and why the others are not: the first reason found counts."""

    def __init__(self, piece: Piece):
        self._piece = piece
        self.good = np.ones(len(piece.rows), dtype=bool)
        self._bad = [BadRow(row, "wrong_number_of_fields", text) for row, text in piece.malformed.items()]

    def refuse(
        self, mask: NDArray[np.bool_], reason: str, detail: str, shown: Callable[[], NDArray[Any]] | None = None
    ) -> None:
        """Refuse the rows under this mask; behind `detail` stands what `shown`, `[n]`, has for a row."""
        found = np.flatnonzero(mask & self.good)
        text = shown() if len(found) and shown is not None else None
        for i in found:
            said = detail if text is None else f"{detail}{text[i]!r}"
            self._bad.append(BadRow(int(self._piece.rows[i]), reason, said))
        self.good &= ~mask

    def bad(self) -> list[BadRow]:
        """The refused rows in the order of the file."""
        return sorted(self._bad)


def _wanted(piece: Piece, sensor: _Labels, form: TableForm) -> Piece:
    """A piece of a long table without the sensors that are to be ignored, whatever their values are."""
    wanted = sensor.look_up(dict.fromkeys(form.ignore, 1)) < 0
    if wanted.all():
        return piece
    columns = {name: column.filter(pa.array(wanted)) for name, column in piece.columns.items()}
    return Piece(columns, piece.rows[wanted], piece.malformed, piece.done)


def _table(piece: Piece, form: TableForm, layout: Layout, rows: _Rows) -> _Table:
    columns = piece.columns
    if form.source is None:
        source = _labels(columns[form.source_column])
    else:
        source = _Labels([form.source], np.zeros(len(piece.rows), dtype=np.int64))
    return _Table(
        form,
        source,
        _times(columns, form, rows),
        {name: _numbers(name, columns[name], layout, rows) for name in layout.names if holds_values(name, form)},
        None if form.sensor_column is None else _labels(columns[form.sensor_column]),
    )


def _silent(columns: Iterable[NDArray[np.float64]], n: int) -> NDArray[np.bool_]:
    """Which rows hold no value. `[n]`."""
    silent = np.ones(n, dtype=np.bool_)
    for column in columns:
        silent &= np.isnan(column)
        if not silent.any():  # mostly after the first
            break
    return silent


def _of_class(asset_class: AssetClass, table: _Table, of_class: NDArray[np.bool_], rows: _Rows) -> Readings:
    if table.sensor is None:
        return _of_wide(asset_class, table, of_class, rows)
    return _of_long(asset_class, table, table.sensor, of_class, rows)


def _of_wide(asset_class: AssetClass, table: _Table, of_class: NDArray[np.bool_], rows: _Rows) -> Readings:
    """One reading a row."""
    values = {table.form.rename.get(name, name): column for name, column in table.values.items()}
    for sensor in values.keys() - set(asset_class.sensor_names):
        detail = f"{sensor!r} is no sensor of class {asset_class.name}"
        rows.refuse(of_class & ~np.isnan(values[sensor]), "unknown_sensor", detail)
    kept = np.flatnonzero(of_class & rows.good)
    chosen = slice(None) if len(kept) == len(of_class) else kept
    absent = np.full(len(of_class), np.nan)
    made = np.stack([values.get(name, absent)[chosen] for name in asset_class.sensor_names], axis=1)
    return _readings(asset_class, table, kept, made)


def _of_long(
    asset_class: AssetClass, table: _Table, sensor: _Labels, of_class: NDArray[np.bool_], rows: _Rows
) -> Readings:
    """One reading for all rows of one source and time; of two values of one sensor the later counts."""
    place_of = {name: place for place, name in enumerate(asset_class.sensor_names)}
    place = sensor.look_up({name: place_of.get(table.form.rename.get(name, name), -1) for name in sensor.words})
    detail = f"expected a sensor of class {asset_class.name} (--rename, --ignore), not "
    rows.refuse(of_class & (place < 0), "unknown_sensor", detail, sensor.text)
    kept = np.flatnonzero(of_class & rows.good)
    (values,) = table.values.values()
    moments, moment = np.unique(table.time_ms[kept], return_inverse=True)
    key = table.source.code[kept] * len(moments) + moment
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    made = np.full((len(first), len(asset_class.sensors)), np.nan)
    made[row, place[kept]] = values[kept]
    return _readings(asset_class, table, kept[first], made)


def _readings(asset_class: AssetClass, table: _Table, kept: NDArray[np.intp], values: NDArray[np.float64]) -> Readings:
    """Values, brought into declared units, of the sources and times of these rows."""
    for place, sensor in enumerate(asset_class.sensors):
        if sensor.name in table.form.units:
            values[:, place] = conversion(table.form.units[sensor.name], sensor.unit)(values[:, place])
    flags = np.full(len(kept), ArrivalFlag.IMPORTED, dtype=np.uint8)
    source = np.array(table.source.words, dtype=object)[table.source.code[kept]]
    return Readings(asset_class.sensor_names, source, table.time_ms[kept], values, flags)


def _labels(column: Any) -> _Labels:
    encoded = pc.fill_null(pc.cast(column, pa.string()), "").dictionary_encode()
    return _Labels(encoded.dictionary.to_pylist(), np.asarray(encoded.indices, dtype=np.int64))


def _numbers(name: str, column: Any, layout: Layout, rows: _Rows) -> NDArray[np.float64]:
    """The values of a column, NaN where it is empty or infinite: something was divided by zero. `[n]`

    Rows with something else in it are refused.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = _written_numbers(name, column, layout, rows)
    elif pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    elif pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
        raise ConfigurationError(f"the column {name!r} does not hold numbers but {column.type}")
    else:
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if not -MOST <= np.fmin.reduce(values) <= np.fmax.reduce(values) <= MOST:  # a quick look, which mostly is enough
        values = np.where(np.isinf(values), np.nan, values)
        rows.refuse(np.abs(values) > MOST, "number_too_large", name)
    return values


def _written_numbers(name: str, column: Any, layout: Layout, rows: _Rows) -> NDArray[np.float64]:
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    if layout.decimal == ".":
        with suppress(pa.ArrowInvalid):  # a column without a fault, beside one that has some
            known = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
            return np.asarray(pc.cast(known, pa.float64()).to_numpy(zero_copy_only=False))
    numbers = text = trimmed.to_pandas()
    if layout.decimal == ",":
        numbers = text.str.replace(".", "?", regex=False).str.replace(",", ".", regex=False)
    values: NDArray[np.float64] = pd.to_numeric(numbers, errors="coerce").to_numpy(np.float64)
    absent = text.str.casefold().isin({"", *layout.missing}).to_numpy()
    stands = "point" if layout.decimal == "." else "comma"
    detail = f"{name}: expected a number with a decimal {stands} (--decimal), or a word for none (--missing), not "
    rows.refuse(np.isnan(values) & ~absent, "not_a_number", detail, text.to_numpy)
    return values


def _times(columns: Mapping[str, Any], form: TableForm, rows: _Rows) -> NDArray[np.int64]:
    """Milliseconds since 1970; rows whose time cannot be read are refused. `[n]`."""
    column = columns[form.time_column]
    if form.clock_column is None:
        return _column_of_times(column, form, rows)
    clock = pc.utf8_trim_whitespace(pc.cast(columns[form.clock_column], pa.string()))
    clock = pc.if_else(pc.equal(clock, ""), None, clock)  # the day alone would be its first moment
    behind_ms = pd.to_numeric(clock.to_pandas(), errors="coerce").to_numpy(np.float64)
    if np.isnan(behind_ms).all():
        return _column_of_times(pc.binary_join_element_wise(_dates(column), clock, " "), form, rows)
    sound = (behind_ms >= 0) & (behind_ms < _SECOND_MS)
    rows.refuse(~sound, "wrong_timestamp", "expected milliseconds, 0 to 999, not ", lambda: clock.to_numpy(False))
    return _column_of_times(column, form, rows) + np.where(sound, behind_ms, 0).astype(np.int64)


def _column_of_times(column: Any, form: TableForm, rows: _Rows) -> NDArray[np.int64]:
    """The same of a column that holds all of the time. `[n]`."""

    def text() -> NDArray[Any]:
        written: NDArray[Any] = pc.fill_null(pc.cast(column, pa.string()), "").to_numpy(zero_copy_only=False)
        return written

    if form.epoch_unit is not None:
        count = pd.to_numeric(pd.Series(text()), errors="coerce").to_numpy(np.float64)
        number = count / COUNTED_PER_MS[form.epoch_unit] + (form.count_from_ms or 0)
        rows.refuse(~(np.abs(number) < 2**53), "wrong_timestamp", "expected a number since 1970, not ", text)
        return np.where(rows.good, number, 0).round().astype(np.int64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        raise ConfigurationError(_NUMBERS)
    if pa.types.is_timestamp(column.type):
        moments = _stored_moments(column, form)
    else:
        moments = _written_moments(column, text, form, rows)
    known = moments.notna().to_numpy()
    rows.refuse(~known, "wrong_timestamp", _expected_time(form), text)
    return np.where(known, pd.DatetimeIndex(moments).as_unit("ms").asi8, 0)


def _dates(column: Any) -> Any:
    """Dates as text, without the midnight that spreadsheets and data bases write behind them. `[n]`."""
    return pc.replace_substring_regex(pc.cast(column, pa.string()), MIDNIGHT, "")


def _expected_time(form: TableForm) -> str:
    written = "2026-01-04T06:00:00Z" if form.time_format is None else form.time_format
    twice = "" if form.time_zone is None else f" that the clock of {form.time_zone} strikes once"
    return f"expected a time such as {written} (--time-format){twice}, not "


def _stored_moments(column: Any, form: TableForm) -> Moments:
    """Times that Parquet holds as such. `[n]`."""
    if column.type.tz is not None:
        return pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False).to_pandas()
    if form.time_zone is None:
        raise ConfigurationError(_NO_OFFSET)
    return _placed(column.to_pandas(), form.time_zone)


def _written_moments(column: Any, text: Callable[[], NDArray[Any]], form: TableForm, rows: _Rows) -> Moments:
    """Times that stand there as text; NaT where they are none. `[n]`."""
    if form.time_format is None:
        with suppress(pa.ArrowInvalid):
            return pc.cast(column, pa.timestamp("us", "UTC")).to_pandas()  # all of them with an offset
    series = pd.Series(text()).str.strip()
    if form.time_format is None and pd.to_numeric(series, errors="coerce").notna().all():
        raise ConfigurationError(_NUMBERS)
    aware, local = _read_moments(series, form)
    if form.time_zone is None:
        if local.notna().all():
            raise ConfigurationError(_NO_OFFSET)
        rows.refuse(local.notna().to_numpy(), "timestamp_without_zone", _NO_ZONE, text)
        return aware
    return aware.dt.as_unit("ms").fillna(_placed(local, form.time_zone).dt.as_unit("ms"))


def _read_moments(series: Any, form: TableForm) -> tuple[Moments, Moments]:
    """Times with an offset, and times without one; NaT where they are not. `[n]`."""
    if form.time_format is not None:
        has_offset = "%z" in form.time_format
        moments = pd.to_datetime(series, format=form.time_format, utc=has_offset, errors="coerce")
        none = pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns]" if has_offset else "datetime64[ns, UTC]")
        return (moments, none) if has_offset else (none, moments)
    series = series.str.replace(COMMA_IN_SECONDS, r"\1.\2", regex=True)
    with_offset = series.str.contains(_ENDS_WITH_OFFSET, na=False)
    aware = pd.to_datetime(series.where(with_offset), format="ISO8601", utc=True, errors="coerce")
    return aware, pd.to_datetime(series.where(~with_offset), format="ISO8601", errors="coerce")


def _placed(local: Moments, zone: ZoneInfo) -> Moments:
    """Local times in UTC; NaT in an hour that the clock strikes twice or never, since it does not say which."""
    return local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
