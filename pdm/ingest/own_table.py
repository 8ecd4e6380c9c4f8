"""What a table of readings shows about the machines that made it, before there is a plant: times, machines, sensors.

Everything here is a proposal to people. What is not certain is left out or marked, never made up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from pdm.errors import ConfigurationError
from pdm.ingest.files import Layout, layout_of, spellings
from pdm.plant.wire import EpochUnit, TableForm
from pdm.units import is_unit

MOST_ROWS = 1_000_000
"""Of a table so many are looked at."""

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
_NAMES_OF_SENSORS = ("sensor", "tag", "parameter", "variable", "signal", "channel", "measurement", "messstelle")
_VALUES = ("value", "val", "wert", "reading")
_LABELS = re.compile(r"(?i)fail|anomal|fault|label|target|changepoint|\brul\b|remaining|breakdown|^class$|alarm")
_FORMATS: tuple[str, ...] = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")
_FORMATS += ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y/%m/%d %H:%M:%S")
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_EPOCHS: dict[EpochUnit, float] = {"s": 1e9, "ms": 1e12, "us": 1e15, "ns": 1e18}  # of about 2001; a thousandfold apart
_UNITS = {"c": "degC", "degc": "degC", "celsius": "degC", "°c": "degC", "f": "degF", "degf": "degF", "k": "kelvin"}
_UNITS |= {"bar": "bar", "mbar": "mbar", "pa": "Pa", "kpa": "kPa", "mpa": "MPa", "psi": "psi", "rpm": "rpm"}
_UNITS |= {"a": "A", "ma": "mA", "v": "V", "kv": "kV", "w": "W", "kw": "kW", "hz": "Hz", "khz": "kHz", "nm": "Nm"}
_UNITS |= {"ohm": "ohm", "mohm": "mohm", "kohm": "kohm", "ah": "A*h", "kwh": "kWh", "°f": "degF"}
_UNITS |= {"mm/s": "mm/s", "m/s": "m/s", "g": "g_0", "l/min": "l/min", "m3/h": "m3/h", "%": "%", "mm": "mm", "um": "um"}
_IN_BRACKETS = re.compile(r"[\[(]([^\])]{1,12})[\])]")
_NO_NAME = re.compile(r"[^\w.:-]+")
_UNSAID = TableForm()
_NO_NUMBERS = "no numbers"
_MOST_MACHINES = 5_000
_MOSTLY = 0.95  # of the cells say what a column is
_STATISTICS = ("min", "max", "mean", "avg", "std", "sd", "ph")  # in brackets, but no units


@dataclass(frozen=True, slots=True)
class SeenSensor:
    """One sensor of a table.

    Attributes:
        name: as a plant file may call it; `column`: as the table does.
        unit: read off the name of its column; empty if that says none.
        low, high: what it read.
        missing: share of the rows without a value.
    """

    name: str
    column: str
    unit: str
    low: float
    high: float
    missing: float


@dataclass(frozen=True)
class Look:
    """What a table turned out to be.

    Attributes:
        form: how `import readings` has to read it.
        machines: the sources, by name.
        sensors: what can be watched.
        rows: that were looked at.
        first_ms, last_ms: the span of its times.
        every_ms: the usual time from one row of a machine to the next.
        since_ms: the first time of each machine.
        left_out: why columns are no sensors, by column.
        labels: how many rows of the columns that look like failures or other labels are not zero.
    """

    form: TableForm
    machines: tuple[str, ...]
    sensors: tuple[SeenSensor, ...]
    rows: int
    first_ms: int
    last_ms: int
    every_ms: int
    since_ms: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


def look_at(path: Path, form: TableForm) -> Look:
    """Find out what a CSV or Parquet file holds.

    Args:
        form: what people have said of it already; a column that they name is taken as it is.

    Raises:
        ConfigurationError: it cannot be read, or it holds no times, no sensors, or times that can mean two things.
    """
    table = _read(path, layout_of(path, form))
    time_column = _time_column(path, table, form)
    form, times = _with_times(path, table[time_column], replace(form, time_column=time_column))
    form, machines = _with_machines(path, table, times, form)
    if (long := _long(table, form)) is not None:
        form = replace(form, sensor_column=long[0], value_column=long[1])
        return _look(path, form, *_widened(table, form, times, machines))
    table = table.drop(columns=[form.time_column, form.source_column], errors="ignore")
    return _look(path, form, table, times, machines)


def _read(path: Path, layout: Layout) -> Any:
    if not layout.delimiter:
        with parquet.ParquetFile(path) as file:
            table = next(file.iter_batches(MOST_ROWS), file.schema_arrow.empty_table()).to_pandas()
    else:
        table = pd.read_csv(
            path,
            sep=layout.delimiter,
            decimal=layout.decimal,
            na_values=spellings(layout.missing),
            nrows=MOST_ROWS,
            on_bad_lines="skip",
            skipinitialspace=True,
            low_memory=False,
            encoding=layout.encoding,
            encoding_errors="replace",
        )
    table.columns = [str(name).strip() for name in table.columns]
    if table.empty:
        raise ConfigurationError("holds no rows", file=path.name)
    return table


def _time_column(path: Path, table: Any, form: TableForm) -> str:
    if form.time_column in table.columns:
        return form.time_column
    if form.time_column != _UNSAID.time_column:
        raise ConfigurationError(f"has no column {form.time_column!r}: it has {', '.join(table)}", file=path.name)
    named = [name for name in table.columns if name.casefold() in _TIMES]
    others = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    for name in [*named, *others]:
        if name in named or _moments(table[name].head(1000), form) is not None:
            return str(name)
    said = f"no column of {', '.join(table)} holds times: a forecast needs to know when (--time-column names it)"
    raise ConfigurationError(said, file=path.name)


def _with_times(path: Path, column: Any, form: TableForm) -> tuple[TableForm, Any]:
    """The form that reads these times, and the times in UTC."""
    found = _moments(column, form)
    if found is None:
        said = f"times such as {str(column.iloc[0])!r} in {form.time_column!r} are not understood: say --time-format"
        raise ConfigurationError(said, file=path.name)
    return found


def _moments(column: Any, form: TableForm) -> tuple[TableForm, Any] | None:
    """How a column has to be read to hold times, and the times; None if it does not hold any."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return _in_utc(column, form)
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().mean() > _MOSTLY:
        typical = float(numbers.abs().median())
        unit = form.epoch_unit or next((u for u, first in _EPOCHS.items() if 0.5 * first < typical < 5 * first), None)
        if unit is None:
            return None
        return replace(form, epoch_unit=unit), pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")
    text = column.astype("string").str.strip()
    written = [_written(text, name) for name in ([form.time_format] if form.time_format else [None, *_FORMATS])]
    fitting = [(name, moments) for name, moments in written if moments.notna().mean() > _MOSTLY]
    if not fitting:
        return None
    if len(fitting) > 1 and not fitting[0][1].equals(fitting[1][1]) and fitting[0][0] is not None:
        names = " or ".join(str(name) for name, _ in fitting[:2])
        raise ConfigurationError(f"times such as {text.iloc[0]!r} may be {names}: say which (--time-format)")
    return _in_utc(fitting[0][1], replace(form, time_format=fitting[0][0]))


def _written(text: Any, time_format: str | None) -> tuple[str | None, Any]:
    aware = bool(text.str.contains(_OFFSET).mean() > _MOSTLY) and time_format is None
    return time_format, pd.to_datetime(text, format=time_format or "ISO8601", utc=aware, errors="coerce")


def _in_utc(moments: Any, form: TableForm) -> tuple[TableForm, Any]:
    if moments.dt.tz is not None:
        return form, moments.dt.tz_convert("UTC")
    zone = form.time_zone or ZoneInfo("UTC")
    placed = moments.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    return replace(form, time_zone=zone), placed


def _with_machines(path: Path, table: Any, times: Any, form: TableForm) -> tuple[TableForm, Any]:
    """The form that finds the machine of each row, and the machines `[n]`."""
    if form.source is not None:
        return form, pd.Series(form.source, index=table.index)
    if form.source_column not in table.columns:
        if form.source_column != _UNSAID.source_column:
            raise ConfigurationError(f"has no column {form.source_column!r}", file=path.name)
        column = _machine_column(table, times, form)
        if column is None:
            source = _NO_NAME.sub("_", path.name.split(".")[0]).strip("_") or "machine"
            return replace(form, source=source), pd.Series(source, index=table.index)
        form = replace(form, source_column=column)
    return form, table[form.source_column].astype("string").str.strip()


def _machine_column(table: Any, times: Any, form: TableForm) -> str | None:
    """The column that tells the machines apart: by its name or, where times run backwards in the whole table, the one
    with the fewest names within which they do not."""
    others = [name for name in table.columns if name not in (form.time_column, form.sensor_column)]
    naming = [name for name in others if _names_machines(table[name])]
    named = [name for name in naming if name.casefold() in _MACHINES]
    if named:
        return str(named[0])
    long = _long(table, form)
    within = [table[long[0]]] if long else []
    ordering = [name for name in naming if name.casefold() not in _NAMES_OF_SENSORS and table[name].nunique() > 1]
    most = (1 - _MOSTLY) * _backwards(times, within)
    telling = [name for name in ordering if _backwards(times, [*within, table[name]]) < most]
    return min(telling, key=lambda name: table[name].nunique(), default=None)


def _backwards(times: Any, within: list[Any]) -> int:
    """How many rows are not later than the row before, of the same group where there are any."""
    steps = times.groupby(within, sort=False).diff() if within else times.diff()
    return int((steps <= pd.Timedelta(0)).sum())


def _names_machines(column: Any) -> bool:
    """Whether a column repeats a few names: one of its own in each row counts rows."""
    kinds = column.nunique()
    return bool(kinds <= min(_MOST_MACHINES, max(1, len(column) // 5)) and not pd.api.types.is_float_dtype(column))


def _long(table: Any, form: TableForm) -> tuple[str, str] | None:
    """The columns with the sensor and the value of a row, if each row has one value."""
    if form.sensor_column is not None:
        return form.sensor_column, form.value_column
    names = [name for name in table.columns if name.casefold() in _NAMES_OF_SENSORS and name != form.source_column]
    values = [name for name in table.columns if name.casefold() in _VALUES]
    return (names[0], values[0]) if names and values and _names_machines(table[names[0]]) else None


def _widened(table: Any, form: TableForm, times: Any, machines: Any) -> tuple[Any, Any, Any]:
    """A table with one value a row as one with a column for each sensor, its times and machines."""
    value = pd.to_numeric(table[form.value_column], errors="coerce")
    long = pd.DataFrame({"machine": machines, "time": times, "sensor": table[form.sensor_column], "value": value})
    wide = long.pivot_table(index=["machine", "time"], columns="sensor", values="value", aggfunc="last").reset_index()
    wide.columns = [str(name) for name in wide.columns]
    return wide.drop(columns=["machine", "time"]), wide["time"], wide["machine"]


def _look(path: Path, form: TableForm, table: Any, times: Any, machines: Any) -> Look:
    sensors, left_out, labels = list[SeenSensor](), dict[str, str](), dict[str, int]()
    for name in table.columns:
        if name in form.ignore:
            continue
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        if why := _no_sensor(name, values):
            hint = f"; if it names the machines: --source-column {name!r}"
            left_out[name] = why + (hint if form.source and _names_machines(table[name]) and why == _NO_NUMBERS else "")
            if _LABELS.search(name):
                labels[name] = int(np.count_nonzero(np.nan_to_num(values)))
            continue
        sensors.append(_sensor(name, values, [*form.rename.values(), *(one.name for one in sensors)]))
    if not sensors:
        raise ConfigurationError(f"none of its columns ({', '.join(table)}) looks like a sensor", file=path.name)
    renamed = {one.column: one.name for one in sensors if one.column != one.name}
    known = times.notna() & machines.notna()
    steps = times[known].groupby(machines[known]).diff().dropna()
    steps = steps[steps > pd.Timedelta(0)]
    ms = times[known].astype("datetime64[ms, UTC]").astype("int64")
    since = {str(machine): int(first) for machine, first in ms.groupby(machines[known]).min().items()}
    return Look(
        form=replace(form, rename={**form.rename, **renamed}, ignore=(*form.ignore, *left_out)),
        machines=tuple(sorted(machines[known].unique().tolist())),
        sensors=tuple(sensors),
        rows=int(known.sum()),
        first_ms=int(ms.min()),
        last_ms=int(ms.max()),
        every_ms=int(steps.median() / pd.Timedelta(milliseconds=1)) if len(steps) else 0,
        since_ms=since,
        left_out=left_out,
        labels=labels,
    )


def _no_sensor(name: str, values: Any) -> str:
    """Why a column is no sensor; empty if it is one."""
    known = values[np.isfinite(values)]
    if len(known) < 0.5 * len(values) and len(known) < 100:
        return _NO_NUMBERS
    if _LABELS.search(name):
        return "looks like a label: report failures as events"
    if known.min() == known.max():
        return f"always {known[0]:g}"
    if len(known) > 20 and bool((np.diff(known) == 1).mean() > _MOSTLY):
        return "counts the rows"
    return ""


def _sensor(column: str, values: Any, taken: Sequence[str]) -> SeenSensor:
    unit, plain = "", column
    if found := _IN_BRACKETS.search(column):
        unit, plain = _unit(found[1].strip()), column[: found.start()] + column[found.end() :]
    elif (last := re.split(r"[_ ]", column)[-1].casefold()) in _UNITS and last != column.casefold():
        unit = _UNITS[last] if len(last) > 1 or not last.isalpha() else ""
    name = _NO_NAME.sub("_", plain.strip()).strip("_.:-")[:60] or "sensor"
    if name in taken:
        name = next(made for number in range(2, 1_000) if (made := f"{name}_{number}") not in taken)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return SeenSensor(name, column, unit, low, high, float(np.isnan(values).mean()))


def _unit(text: str) -> str:
    """The unit that stands in brackets; empty if it is none."""
    folded = text.casefold()
    if folded in _UNITS or folded in _STATISTICS:
        return _UNITS.get(folded, "")
    return next((one for one in (text, folded) if is_unit(one)), "")
