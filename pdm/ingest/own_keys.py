"""Which columns of a table that nobody has described tell the time of a row and the machine that it is of."""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from pdm.errors import ConfigurationError
from pdm.ingest.rows import COMMA_IN_SECONDS, COUNTED_PER_MS, MIDNIGHT
from pdm.plant.wire import OF_FILE, EpochUnit, TableForm, TableUnit

MOSTLY = 0.95
"""Of the cells or rows: so many say what a column is."""

_TIMES = ("time", "timestamp", "ts", "datetime", "date", "date_time", "zeit", "zeitstempel", "datum")
_MACHINES: tuple[str, ...] = (
    "source",
    "machine",
    "machineid",
    "machine_id",
    "asset",
    "asset_id",
    "unit",
    "unit_id",
    "equipment",
)
_MACHINES += ("serial", "serial_number", "device", "device_id", "pump", "engine", "id", "maschine", "anlage")
_KINDS = frozenset(
    [
        *("machine", "asset", "unit", "equipment", "device", "serial", "sn", "pump", "engine", "motor", "bearing"),
        *("cell", "battery", "tool", "drive", "disk", "disc", "chiller", "compressor", "fan", "turbine", "valve"),
        *("robot", "press", "vehicle", "truck", "gearbox", "maschine", "anlage", "gerät", "pumpe", "lager", "zelle"),
        *("akku", "batterie", "werkzeug", "ventilator", "kompressor", "getriebe", "fahrzeug"),
    ]
)
_NUMBERING = frozenset(["id", "no", "nr", "nummer", "number", "name", "serial", "key"])
_COUNTING: dict[str, TableUnit | None] = {
    **dict.fromkeys(["s", "sec", "secs", "second", "seconds", "sekunde", "sekunden"], "s"),
    **dict.fromkeys(["min", "minute", "minutes", "minuten"], "min"),
    **dict.fromkeys(["h", "hr", "hrs", "hour", "hours", "std", "stunde", "stunden"], "h"),
    **dict.fromkeys(["d", "day", "days", "tag", "tage"], "d"),
    **dict.fromkeys(["cycle", "cycles", "zyklus", "zyklen", "flight", "flights", "stroke", "strokes", "cut", "cuts"]),
    **dict.fromkeys(["shot", "shots", "run", "batch", "time", "zeit", "elapsed", "step", "steps", "index", "count"]),
}
_OF_A_COUNT = frozenset(["running", "operating", "total", "test", "age", "since", "start", "of", "in", "from", "on"])
_RUNS = {"zyklus": "cycle", "zyklen": "cycle"} | {
    word + plural: word for word in ("cycle", "flight", "stroke", "cut", "shot") for plural in ("", "s")
}
_FORMATS: tuple[str, ...] = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")
_FORMATS += ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S")
_FORMATS += ("%Y/%m/%d %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d.%m.%y %H:%M:%S", "%d.%m.%y %H:%M")
_FORMATS += ("%d-%b-%y %H:%M:%S", "%d-%b-%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%Y%m%d %H:%M:%S", "%Y%m%d %H:%M")
_FORMATS += ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_DATE = r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\d{1,2}[-. ][^\W\d]{3,9}[-. ]\d{2,4}|(?:19|20)\d{6}"
_TIME_OF_DAY = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?"
_MILLISECONDS = frozenset(["ms", "msec", "msecs", "millis", "millisecond", "milliseconds", "millisekunden"])
_EPOCHS: dict[EpochUnit, float] = {"s": 1e9, "ms": 1e12, "us": 1e15, "ns": 1e18}  # of about 2001; a thousandfold apart
_ORIGINS = tuple(round(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2020, 2000, 1990))
_FEWEST_BLOCKS = 3
_MOST_MACHINES = 5_000
_UNSAID = TableForm()


@dataclass(frozen=True, slots=True)
class Keys:
    """Of a table with n rows.

    Attributes:
        form: how its times and machines have to be read.
        times: `[n]` in UTC.
        machines: `[n]` their names.
    """

    form: TableForm
    times: Any
    machines: Any


def find_keys(path: Path, table: Any, files: Any, form: TableForm, within: Collection[str] = ()) -> Keys:
    """The times and the machines of a table.

    Args:
        files: `[n]` the name of the file of each row: machines, if there are several and no column tells them apart.
        within: columns that tell rows of one time and machine apart, such as the sensor where each row has one value.

    Raises:
        ConfigurationError: it has no times, or times that can mean two things.
    """
    form = _with_clock(path, table, form)
    column = _time_column(path, table, form)
    form = replace(form, time_column=column)
    cells, behind = _whole_times(table, form)
    counted = numbers(cells)
    unsaid = form.time_format is None and form.count_from_ms is None
    if unsaid and counts(counted) and _unit_since_1970(counted) is None:
        form, times = _counted(column, counted, form)
    else:
        form, times = _with_times(path, cells, form)
    times = times if behind is None else times + pd.to_timedelta(behind, unit="ms")
    form, machines = _with_machines(path, table, files, times, form, within)
    return Keys(form, times, machines)


def words(name: str) -> list[str]:
    """The words of the name of a column, in small letters: `ToolNo`, `Cell ID`, `tool_no`."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-zäöü])(?=[A-Z])", " ", name).casefold())


def what_a_row_is(name: str) -> str:
    """Of what one row was made, as the name of a column that counts rows says it; otherwise a reading."""
    return next((_RUNS[word] for word in words(name) if word in _RUNS), "reading")


def numbers(column: Any) -> Any:
    """A column as numbers, NaN where it holds none."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.Series(np.nan, index=column.index)
    return pd.to_numeric(column, errors="coerce")


def names_machines(column: Any) -> bool:
    """Whether a column repeats a few names: one of its own in each row counts rows."""
    kinds = column.nunique()
    return bool(kinds <= min(_MOST_MACHINES, max(1, len(column) // 5)) and not pd.api.types.is_float_dtype(column))


def numbers_things(name: str, column: Any) -> bool:
    """Whether a column of whole numbers names something rather than measure it."""
    return pd.api.types.is_integer_dtype(column) and bool({"id", "no", "nr"} & set(words(name)))


def counts(values: Any) -> bool:
    """Whether numbers never fall, but where another machine begins."""
    steps = values.diff().iloc[1:]
    return bool(values.notna().mean() > MOSTLY and (steps > 0).any() and (steps >= 0).mean() > 0.8)


def _unit_since_1970(values: Any) -> EpochUnit | None:
    """What numbers count if they are times since 1970."""
    typical = float(values.abs().median())
    return next((unit for unit, first in _EPOCHS.items() if 0.5 * first < typical < 5 * first), None)


def _with_clock(path: Path, table: Any, form: TableForm) -> TableForm:
    """The same where times stand in two columns: a date and a time of day, or seconds and milliseconds."""
    if form.clock_column is not None:
        if form.clock_column not in table.columns:
            raise ConfigurationError(f"has no column {form.clock_column!r}: it has {', '.join(table)}", file=path.name)
        return form
    said = form.time_column != _UNSAID.time_column
    clocks = [name for name in table.columns if _all_like(table[name], _TIME_OF_DAY)]
    dates = [name for name in table.columns if _all_like(_dates(table[name].head(1000)), _DATE)]
    whole = [name for name in table.columns if name.casefold() in _TIMES and name not in (*clocks, *dates)]
    dates = [name for name in dates if name == form.time_column or not (said or whole)]
    if clocks and dates:
        return replace(form, time_column=str(dates[0]), clock_column=str(clocks[0]))
    milliseconds = [name for name in table.columns if _called_milliseconds(name) and _below_a_second(table[name])]
    return replace(form, clock_column=str(milliseconds[0])) if milliseconds else form


def _all_like(column: Any, pattern: str) -> bool:
    return bool(column.head(1000).astype("string").str.strip().str.fullmatch(pattern).fillna(False).mean() > MOSTLY)


def _dates(column: Any) -> Any:
    return column.astype("string").str.strip().str.replace(MIDNIGHT, "", regex=True)


def _called_milliseconds(name: str) -> bool:
    return bool(words(name)) and set(words(name)) <= _MILLISECONDS


def _below_a_second(column: Any) -> bool:
    return pd.api.types.is_integer_dtype(column) and bool(column.between(0, 999).all() and column.nunique() > 1)


def _whole_times(table: Any, form: TableForm) -> tuple[Any, Any]:
    """The times as one column, and the milliseconds that are to be added, None if they stand in it."""
    column = table[form.time_column]
    if form.clock_column is None:
        return column, None
    clock = table[form.clock_column]
    if pd.api.types.is_numeric_dtype(clock):
        return column, clock
    return _dates(column) + " " + clock.astype("string").str.strip(), None


def _time_column(path: Path, table: Any, form: TableForm) -> str:
    if form.time_column in table.columns:
        return form.time_column
    if form.time_column != _UNSAID.time_column:
        raise ConfigurationError(f"has no column {form.time_column!r}: it has {', '.join(table)}", file=path.name)
    named = [name for name in table.columns if name.casefold() in _TIMES]
    others = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    counting = [name for name in table.columns if _called_a_count(name) and counts(numbers(table[name]))]
    for name in [*named, *others]:
        if name in named or moments_of(table[name].head(1000), form) is not None:
            return str(name)
    since_1970 = [name for name in table.columns if counts(made := numbers(table[name])) and _unit_since_1970(made)]
    if since_1970 or counting:
        return str([*since_1970, *counting][0])
    said = (
        f"no column of {', '.join(table)} holds times, or counts cycles or hours of each machine: a forecast needs to "
        "know what came after what (--time-column names it)"
    )
    raise ConfigurationError(said, file=path.name)


def _called_a_count(name: str) -> bool:
    """Whether a column is called after what it counts, such as `Cycle no.` or `Running time [h]`, and after no more."""
    said = set(words(name))
    return bool(said & _COUNTING.keys()) and said <= _COUNTING.keys() | _NUMBERING | _OF_A_COUNT


def _counted(column: str, counted: Any, form: TableForm) -> tuple[TableForm, Any]:
    """The form that reads a column that counts from the start of each machine, and the times that this makes up."""
    said = [_COUNTING[word] for word in words(column) if word in _COUNTING]
    unit: TableUnit = form.epoch_unit or next(filter(None, said), None) or "h"
    now_ms, longest_ms = time.time() * 1000, float(counted.max()) / COUNTED_PER_MS[unit]
    from_ms = next((origin for origin in _ORIGINS if origin + longest_ms < now_ms), _ORIGINS[-1])
    form = replace(form, epoch_unit=unit, count_from_ms=from_ms)
    return form, _since(counted, form)


def _with_times(path: Path, column: Any, form: TableForm) -> tuple[TableForm, Any]:
    """The form that reads these times, and the times in UTC."""
    found = moments_of(column, form)
    if found is not None:
        return found
    first = str(column.iloc[0])
    said = f"times such as {first!r} in {form.time_column!r} are not understood: say --time-format"
    if re.fullmatch(_TIME_OF_DAY, first.strip()):
        said = (
            f"{form.time_column!r} holds times of day such as {first!r}, and no column was found that holds their date"
        )
    raise ConfigurationError(said, file=path.name)


def moments_of(column: Any, form: TableForm) -> tuple[TableForm, Any] | None:
    """How a column has to be read to hold times, and the times; None if it does not hold any."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return _in_utc(column, form)
    values = numbers(column)
    if values.notna().mean() > MOSTLY and form.time_format is None:
        if (unit := form.epoch_unit or _unit_since_1970(values)) is None:
            return None
        form = replace(form, epoch_unit=unit)
        return form, _since(values, form)
    text = column.astype("string").str.strip()
    likely = [form.time_format] if form.time_format else list(filter(_fits(text.head(1000)), [None, *_FORMATS]))
    written = [_written(text, name) for name in likely]
    fitting = [(name, moments) for name, moments in written if moments.notna().mean() > MOSTLY]
    if not fitting:
        return None
    if len(fitting) > 1 and not fitting[0][1].equals(fitting[1][1]) and fitting[0][0] is not None:
        names = " or ".join(str(name) for name, _ in fitting[:2])
        raise ConfigurationError(f"times such as {text.iloc[0]!r} may be {names}: say which (--time-format)")
    return _in_utc(fitting[0][1], replace(form, time_format=fitting[0][0]))


def _fits(text: Any) -> Callable[[str | None], bool]:
    """Whether times in text are written in a form."""
    return lambda time_format: bool(_written(text, time_format)[1].notna().mean() > 0.5)


def _since(values: Any, form: TableForm) -> Any:
    unit = form.epoch_unit or "ms"
    since_ms = values / COUNTED_PER_MS[unit] + (form.count_from_ms or 0)
    return pd.to_datetime(since_ms, unit="ms", utc=True, errors="coerce")


def _written(text: Any, time_format: str | None) -> tuple[str | None, Any]:
    text = text.str.replace(COMMA_IN_SECONDS, r"\1.\2", regex=True) if time_format is None else text
    aware = bool(text.str.contains(_OFFSET).fillna(False).mean() > MOSTLY) and time_format is None
    return time_format, pd.to_datetime(text, format=time_format or "ISO8601", utc=aware, errors="coerce")


def _in_utc(moments: Any, form: TableForm) -> tuple[TableForm, Any]:
    if moments.dt.tz is not None:
        return form, moments.dt.tz_convert("UTC")
    zone = form.time_zone or ZoneInfo("UTC")
    placed = moments.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    return replace(form, time_zone=zone), placed


def _with_machines(
    path: Path, table: Any, files: Any, times: Any, form: TableForm, within: Collection[str]
) -> tuple[TableForm, Any]:
    """The form that finds the machine of each row, and the machines `[n]`."""
    if form.source == OF_FILE:
        return form, files
    if form.source is not None:
        return form, pd.Series(form.source, index=table.index)
    if form.source_column not in table.columns:
        if form.source_column != _UNSAID.source_column:
            raise ConfigurationError(f"has no column {form.source_column!r}", file=path.name)
        column = _machine_column(table, times, form, within)
        if column is None and files.nunique() > 1:
            return replace(form, source=OF_FILE), files
        if column is None:
            source = re.sub(r"[^\w.:-]+", "_", path.name.split(".")[0]).strip("_") or "machine"
            return replace(form, source=source), pd.Series(source, index=table.index)
        form = replace(form, source_column=column)
    return form, table[form.source_column].astype("string").str.strip()


def _machine_column(table: Any, times: Any, form: TableForm, within: Collection[str]) -> str | None:
    """The column that tells the machines apart: by its name or, where times run backwards in the whole table, the one
    with the fewest names within which they do not, or one of names that each stand in a stretch of their own."""
    others = [name for name in table.columns if name not in (form.time_column, form.clock_column, *within)]
    naming = [name for name in others if names_machines(table[name])]
    if named := names_of_machines(table[naming]):
        return named
    fresh = ~table.duplicated()
    times, table = times[fresh], table[fresh]
    groups = [table[name] for name in within]
    ordering = [name for name in naming if table[name].nunique() > 1]
    most = (1 - MOSTLY) * _backwards(times, groups)
    telling = [name for name in ordering if _backwards(times, [*groups, table[name]]) < most]
    telling = sorted(telling, key=lambda name: table[name].nunique()) or list(filter(_in_blocks(table), ordering))
    return telling[0] if telling else None


def names_of_machines(table: Any) -> str:
    """The column that is called after machines; empty if none is."""
    named = [name for name in table.columns if name.casefold() in _MACHINES]
    named += [name for name in table.columns if _called_after_machines(name, table[name])]
    return str(named[0]) if named else ""


def _called_after_machines(name: str, column: Any) -> bool:
    """Whether a column is called after a kind of machine, and its cells are names rather than measurements of it."""
    said = set(words(name))
    plain = said <= _KINDS | _NUMBERING and bool(said & _KINDS)
    return plain and bool(said & _NUMBERING or not pd.api.types.is_numeric_dtype(column))


def _in_blocks(table: Any) -> Any:
    """Whether each name of a column stands in one stretch of rows, and most have a number, as names of machines do."""

    def holds(name: str) -> bool:
        code, kinds = pd.factorize(table[name].astype("string"))
        blocks = 1 + np.count_nonzero(np.diff(code))
        numbered = sum(bool(re.search(r"\d", kind)) for kind in kinds)
        return not pd.api.types.is_numeric_dtype(table[name]) and bool(
            _FEWEST_BLOCKS <= len(kinds) == blocks and numbered > MOSTLY * len(kinds)
        )

    return holds


def _backwards(times: Any, within: list[Any]) -> int:
    """How many rows are not later than the row before, of the same group where there are any."""
    steps = times.groupby(within, sort=False).diff() if within else times.diff()
    return int((steps <= pd.Timedelta(0)).sum())
