"""What a table of readings shows about the machines that made it, before there is a plant: times, machines, sensors.

Everything here is a proposal to people. What is not certain is left out or marked, never made up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

from pdm.errors import ConfigurationError
from pdm.ingest.files import Layout, files_in, layout_of, spellings, stem_of
from pdm.ingest.own_ages import Ages, find_ages
from pdm.ingest.own_keys import MOSTLY, find_keys, names_machines, numbers, numbers_things, what_a_row_is
from pdm.plant.wire import TableForm
from pdm.units import is_unit

MOST_ROWS = 1_000_000
"""Of a table so many are looked at."""

_NAMES_OF_SENSORS = ("sensor", "tag", "parameter", "variable", "signal", "channel", "measurement", "messstelle")
_VALUES = ("value", "val", "wert", "reading")
_LABELS = re.compile(r"(?i)fail|anomal|fault|label|target|changepoint|\brul\b|remaining|breakdown|^class$|alarm")
_UNITS = {"c": "degC", "degc": "degC", "celsius": "degC", "°c": "degC", "f": "degF", "degf": "degF", "k": "kelvin"}
_UNITS |= {"bar": "bar", "mbar": "mbar", "pa": "Pa", "kpa": "kPa", "mpa": "MPa", "psi": "psi", "rpm": "rpm"}
_UNITS |= {"a": "A", "ma": "mA", "v": "V", "kv": "kV", "w": "W", "kw": "kW", "hz": "Hz", "khz": "kHz", "nm": "Nm"}
_UNITS |= {"ohm": "ohm", "mohm": "mohm", "kohm": "kohm", "ah": "A*h", "kwh": "kWh", "°f": "degF"}
_UNITS |= {"mm/s": "mm/s", "m/s": "m/s", "g": "g_0", "l/min": "l/min", "m3/h": "m3/h", "%": "%", "mm": "mm", "um": "um"}
_IN_BRACKETS = re.compile(r"[\[(]([^\])]{1,12})[\])]")
_NAMELESS = re.compile(r"Unnamed: \d+$")
_NO_NAME = re.compile(r"[^\w.:-]+")
_NO_NUMBERS = "no numbers"
_COUNTS = "counts the rows"
_COUNTS_LIFE = "counts what each machine has run: its age"
_FOR_NONE = (99, 999, 9999, 99999, 999999, 99.9, 999.9, 9999.9, 999.99, 9999.99, 32767, 32768, 65535, 6999)
_CIRCLE = 360.0
_SECOND_MS = 1000
_STATISTICS = ("min", "max", "mean", "avg", "std", "sd", "ph")  # in brackets, but no units


@dataclass(frozen=True, slots=True)
class SeenSensor:
    """One sensor of a table.

    Attributes:
        name: as a plant file may call it; `column`: as the table does.
        unit: read off the name of its column; empty if that says none.
        low, high: what it read, but for `no_value`.
        no_value: a number that stands for none, such as -9999; None if there is none.
        missing: share of the rows without a value.
    """

    name: str
    column: str
    unit: str
    low: float
    high: float
    missing: float
    no_value: float | None = None


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
        row: what was done once for each row, such as a cycle, if a column counts that; otherwise `reading`.
        since_ms, until_ms: the first and the last time of each machine.
        failed_ms: when machines failed, as one of the `labels` says: by a date, the same in all rows of a machine, or
            by a mark in its last row and in no other.
        new: machines of which people say that they were new at their first row.
        ages: how old the machines are, if a column counts that.
        groups: the group of each machine that has one, if people have said which column names it.
        left_out: why columns are no sensors, by column.
        cut: whether the table goes on beyond the rows that were looked at.
        labels: how many rows of the columns that look like failures or other labels are not zero.
    """

    form: TableForm
    machines: tuple[str, ...]
    sensors: tuple[SeenSensor, ...]
    rows: int
    first_ms: int
    last_ms: int
    every_ms: int
    since_ms: dict[str, int]
    until_ms: dict[str, int]
    row: str = "reading"
    failed_ms: dict[str, int] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    ages: Ages | None = None
    groups: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    cut: bool = False

    def run_to_failure(self) -> "Look":
        """The same where people say that each machine was new at its first row and failed after its last."""
        failed_ms = {machine: last + _SECOND_MS for machine, last in self.until_ms.items()}
        return replace(self, failed_ms=failed_ms, new=self.machines)


def look_at(path: Path, form: TableForm, group_column: str | None = None) -> Look:
    """Find out what a CSV or Parquet file holds, or what those in a folder do together.

    Args:
        form: what people have said of it already; a column that they name is taken as it is.
        group_column: names the group of the machine of each row.

    Raises:
        ConfigurationError: it cannot be read, or it holds no times, no sensors, or times that can mean two things, or
            a machine has more than one group.
    """
    files = files_in(path)
    form = form if group_column is None else replace(form, ignore=(*form.ignore, group_column))
    most = max(1, MOST_ROWS // len(files))
    tables = {file: _read(file, layout_of(file, form), most) for file in files}
    table = pd.concat(tables.values(), ignore_index=True)
    names = np.repeat([stem_of(file) for file in files], [len(one) for one in tables.values()])
    cut = any(len(one) == most for one in tables.values())
    grouping = None if group_column is None else _taken(path, table, form, group_column)
    long = _long(table, form)
    keys = find_keys(path, table, pd.Series(names, dtype="string"), form, [long[0]] if long else [])
    groups = {} if grouping is None else _groups(path, grouping, keys.machines)
    if long is not None:
        form = replace(keys.form, sensor_column=long[0], value_column=long[1])
        return replace(_look(path, form, *_widened(table, form, keys.times, keys.machines)), cut=cut, groups=groups)
    told = [keys.form.time_column, keys.form.clock_column, keys.form.source_column]
    table = table.drop(columns=[name for name in told if name in table.columns])
    return replace(_look(path, keys.form, table, keys.times, keys.machines), cut=cut, groups=groups)


def _read(path: Path, layout: Layout, most: int) -> Any:
    if not layout.delimiter:
        with parquet.ParquetFile(path) as file:
            table = next(file.iter_batches(most), file.schema_arrow.empty_table()).to_pandas()
    else:
        table = pd.read_csv(
            path,
            sep=layout.delimiter,
            decimal=layout.decimal,
            na_values=spellings(layout.missing),
            nrows=most,
            on_bad_lines="skip",
            skipinitialspace=True,
            low_memory=False,
            encoding=layout.encoding,
            encoding_errors="replace",
        )
    nameless = layout.names.count("") == 1  # an index, or a delimiter at the end of each row
    table.columns = ["" if nameless and _NAMELESS.match(str(name)) else str(name).strip() for name in table.columns]
    if table.empty:
        raise ConfigurationError("holds no rows", file=path.name)
    return table.reset_index(drop=True)


def _taken(path: Path, table: Any, form: TableForm, column: str) -> Any:
    """The column of groups as text, taken out of the table."""
    if column not in table.columns:
        raise ConfigurationError(f"has no column {column!r}: it has {', '.join(table)}", file=path.name)
    if column in (form.time_column, form.clock_column, form.source_column):
        said = f"{column!r} tells the time or the machine of a row: expected groups in another column"
        raise ConfigurationError(said, file=path.name)
    return table.pop(column).convert_dtypes().astype("string").str.strip().replace("", pd.NA)


def _groups(path: Path, groups: Any, machines: Any) -> dict[str, str]:
    """The group of each machine of which a row names one.

    Raises:
        ConfigurationError: rows of a machine name several.
    """
    named = groups.groupby(machines).unique().map(lambda names: sorted(names.dropna()))
    for machine, names in named.items():
        if len(names) > 1:
            said = f"{groups.name!r} names several groups of {machine} ({', '.join(names[:3])})"
            raise ConfigurationError(f"{said}: expected the same in all rows of a machine", file=path.name)
    return {str(machine): str(names[0]) for machine, names in named.items() if names}


def _long(table: Any, form: TableForm) -> tuple[str, str] | None:
    """The columns with the sensor and the value of a row, if each row has one value."""
    if form.sensor_column is not None:
        return form.sensor_column, form.value_column
    names = [name for name in table.columns if name.casefold() in _NAMES_OF_SENSORS and name != form.source_column]
    values = [name for name in table.columns if name.casefold() in _VALUES]
    return (names[0], values[0]) if names and values and names_machines(table[names[0]]) else None


def _widened(table: Any, form: TableForm, times: Any, machines: Any) -> tuple[Any, Any, Any]:
    """A table with one value a row as one with a column for each sensor, its times and machines."""
    value = pd.to_numeric(table[form.value_column], errors="coerce")
    long = pd.DataFrame({"machine": machines, "time": times, "sensor": table[form.sensor_column], "value": value})
    wide = long.pivot_table(index=["machine", "time"], columns="sensor", values="value", aggfunc="last").reset_index()
    wide.columns = [str(name) for name in wide.columns]
    return wide.drop(columns=["machine", "time"]), wide["time"], wide["machine"]


def _look(path: Path, form: TableForm, table: Any, times: Any, machines: Any) -> Look:
    sensors, left_out, labels = list[SeenSensor](), dict[str, str](), dict[str, int]()
    failed, row = dict[str, int](), what_a_row_is(form.time_column) if form.count_from_ms is not None else "reading"
    ages = find_ages(table, times, machines)
    for name in table.columns:
        if name in form.ignore:
            continue
        values = numbers(table[name]).to_numpy(np.float64)
        counts_life = _COUNTS_LIFE if ages is not None and name == ages.column else ""
        if why := _no_sensor(name, table[name], values, machines) or counts_life:
            left_out[name] = why + (_what_it_names(form, table[name], machines) if why == _NO_NUMBERS else "")
            if _LABELS.search(name):
                labels[name] = int(np.count_nonzero(np.nan_to_num(values)))
                failed |= _dated(table[name], machines) or _marked_at_the_end(values, times, machines)
            if why == _COUNTS and row == "reading":
                row = what_a_row_is(name)
            continue
        sensors.append(_sensor(name, values, [*form.rename.values(), *(one.name for one in sensors)]))
    if not sensors:
        said = f"none of its columns ({', '.join(table)}) looks like a sensor: a forecast needs readings"
        raise ConfigurationError(f"{said}; failures and repairs come beside them (import events)", file=path.name)
    renamed = {one.column: one.name for one in sensors if one.column != one.name}
    known = times.notna() & machines.notna()
    steps = times[known].groupby(machines[known]).diff().dropna()
    steps = steps[steps > pd.Timedelta(0)]
    ms = times[known].astype("datetime64[ms, UTC]").astype("int64")
    edges = ms.groupby(machines[known]).agg(["min", "max"])
    return Look(
        form=replace(form, rename={**form.rename, **renamed}, ignore=(*form.ignore, *left_out)),
        machines=tuple(sorted(machines[known].unique().tolist())),
        sensors=tuple(sensors),
        rows=int(known.sum()),
        first_ms=int(ms.min()),
        last_ms=int(ms.max()),
        every_ms=int(steps.median() / pd.Timedelta(milliseconds=1)) if len(steps) else 0,
        since_ms={str(machine): int(first) for machine, first in edges["min"].items()},
        until_ms={str(machine): int(last) for machine, last in edges["max"].items()},
        row=row,
        failed_ms=failed,
        ages=ages,
        left_out=left_out,
        labels=labels,
    )


def _dated(column: Any, machines: Any) -> dict[str, int]:
    """When machines failed, if a column holds a date for some of them, and one for each."""
    if pd.api.types.is_numeric_dtype(column):
        return {}
    dates = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce").dropna()
    of_machine = dates.groupby(machines[dates.index])
    single = len(dates) == column.notna().sum() and bool((of_machine.nunique() == 1).all())
    return {str(name): round(date.timestamp() * 1000) for name, date in of_machine.first().items()} if single else {}


def _marked_at_the_end(values: Any, times: Any, machines: Any) -> dict[str, int]:
    """The machines whose last row is marked, after which they failed; none where another row is."""
    marked = pd.Series(np.nan_to_num(values) != 0, index=machines.index)
    last = pd.Series(times, index=machines.index).groupby(machines).transform("max") == times
    if (marked & ~last).any():
        return {}
    ends = times[marked & last].astype("datetime64[ms, UTC]").astype("int64") + _SECOND_MS
    return dict(zip(machines[ends.index].astype(str), ends.tolist(), strict=True))


def _no_sensor(name: str, column: Any, values: Any, machines: Any) -> str:
    """Why a column is no sensor; empty if it is one."""
    known = values[np.isfinite(values)]
    if len(known) < 0.5 * len(values) and len(known) < 100:
        return _NO_NUMBERS
    if _LABELS.search(name):
        return "looks like a label: report failures as events"
    if known.min() == known.max():
        return f"always {known[0]:g}"
    if len(known) > 20 and _counts_rows(values, machines):
        return _COUNTS
    if _goes_round(values, machines):
        return "an angle that goes round: its mean says nothing"
    if numbers_things(name, column):
        return f"numbers something; if it names the machines: --source-column {name!r}"
    return ""


def _what_it_names(form: TableForm, column: Any, machines: Any) -> str:
    """How to say that a column without numbers names the machines, or what some of them share."""
    if form.source and names_machines(column):
        return f"; if it names the machines: --source-column {column.name!r}"
    shared = 1 < column.nunique() < machines.nunique() and (column.groupby(machines).nunique() <= 1).all()
    return f"; if machines share it: --group-column {column.name!r}" if shared else ""


def _goes_round(values: Any, machines: Any) -> bool:
    """Whether values lie on a whole circle, and step over its end."""
    low, high = np.nanmin(values), np.nanmax(values)
    circle = low >= -_CIRCLE / 2 and high <= _CIRCLE and high - low > 0.95 * _CIRCLE
    steps = pd.Series(values, index=machines.index).groupby(machines).diff().abs()
    over = steps > 0.8 * _CIRCLE
    return bool(circle and over.any() and (steps[~over] < _CIRCLE / 4).mean() > MOSTLY)


def _counts_rows(values: Any, machines: Any) -> bool:
    steps = pd.Series(values, index=machines.index).groupby(machines).diff().dropna()
    return bool((steps == 1).mean() > MOSTLY) if len(steps) else False


def _sensor(column: str, values: Any, taken: Sequence[str]) -> SeenSensor:
    unit, plain = "", column
    if found := _IN_BRACKETS.search(column):
        unit, plain = _unit(found[1].strip()), column[: found.start()] + column[found.end() :]
    elif (last := re.split(r"[_ ]", column)[-1].casefold()) in _UNITS and last != column.casefold():
        unit = _UNITS[last] if len(last) > 1 or not last.isalpha() else ""
    name = _NO_NAME.sub("_", plain.strip()).strip("_.:-")[:60] or "sensor"
    if name in taken:
        name = next(made for number in range(2, 1_000) if (made := f"{name}_{number}") not in taken)
    no_value = _no_value(values)
    values = values if no_value is None else np.where(values == no_value, np.nan, values)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return SeenSensor(name, column, unit, low, high, float(np.isnan(values).mean()), no_value)


def _no_value(values: Any) -> float | None:
    """A number such as -9999 that repeats far away from all others."""
    known = values[np.isfinite(values)]
    for end in (known.min(), known.max()):
        others = known[known != end]
        far = len(others) and abs(end - np.median(others)) > 3 * np.abs(others - np.median(others)).max()
        if far and len(others) < len(known) - 1 and abs(end) in _FOR_NONE:
            return float(end)
    return None


def _unit(text: str) -> str:
    """The unit that stands in brackets; empty if it is none."""
    folded = text.casefold()
    if folded in _UNITS or folded in _STATISTICS:
        return _UNITS.get(folded, "")
    return next((one for one in (text, folded) if is_unit(one)), "")
