"""`pdm-twin export`: readings, steps, prognoses and twins of a class as one Parquet or CSV file."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet
from sqlalchemy import Connection

from pdm.durations import DAY_MS
from pdm.errors import ConfigurationError, NotFoundError
from pdm.installations import NEVER_MS, Fleet, Life
from pdm.plant import AssetClass
from pdm.ports import ReadingStore
from pdm.prognosis import LEVELS, Basis, Refusal
from pdm.progress import progress_bar
from pdm.settings import Settings
from pdm.state.cohorts import StoredBeliefs, as_declared, load_beliefs
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import opened_state, read
from pdm.state.steps import history
from pdm.state.told import issued_prognoses
from pdm.wiring import reading_store
from pdm.words import harmless, listed

Format = Literal["parquet", "csv"]

_QUANTILES = tuple(f"rul_q{level:g}" for level in LEVELS)
"""Columns of the remaining life [life steps], each at its probability level."""

_TIME = pa.timestamp("ms", tz="UTC")


class Wanted(NamedTuple):
    """What is exported: a class, from a time on and before another; None is all there is."""

    class_name: str
    from_ms: int | None
    to_ms: int | None


def export_readings(settings: Settings, wanted: Wanted, out: Path, form: Format) -> int:
    """Every reading of a class once, merged, sorted by day, source and time; returns how many.

    Raises:
        ConfigurationError: there is no such class, or the file is there already.
        NotFoundError: there is nothing to export.
    """
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        _class_of(connection, wanted.class_name)
        with closing(reading_store(settings, engine)) as store, progress_bar() as bar:
            days = _days_of(store, wanted)
            return _write(out, form, bar.track(_of_days(store, wanted, days), total=len(days), description=out.name))


def export_steps(settings: Settings, wanted: Wanted, out: Path, form: Format) -> int:
    """Every step of the machines of a class as it stands now, sorted by serial and start; returns how many.

    Raises:
        ConfigurationError, NotFoundError: as for readings.
    """
    with opened_state(settings.state_url()) as engine, read(engine) as connection, progress_bar() as bar:
        asset_class = _class_of(connection, wanted.class_name)
        serials = list(current_fleet(connection, current_plant(connection)).serials_of(wanted.class_name))
        tables = (_steps_of(connection, asset_class, serial, wanted) for serial in serials)
        return _write(out, form, bar.track(tables, total=len(serials), description=out.name))


def export_prognoses(settings: Settings, wanted: Wanted, out: Path, form: Format) -> int:
    """Every issued prognosis of a class by serial and time, with how that life ended if it has; returns how many.

    Raises:
        ConfigurationError, NotFoundError: as for readings.
    """
    with opened_state(settings.state_url()) as engine, read(engine) as connection, progress_bar() as bar:
        _class_of(connection, wanted.class_name)
        fleet = current_fleet(connection, current_plant(connection))
        serials = fleet.serials_of(wanted.class_name)
        lives = fleet.all_lives_of(wanted.class_name)
        tables = (_prognoses_of(connection, serial, wanted, lives) for serial in serials)
        return _write(out, form, bar.track(tables, total=len(serials), description=out.name))


EXPORTS = {"readings": export_readings, "steps": export_steps, "prognoses": export_prognoses}
"""What stands in time, by name."""


def export_twins(settings: Settings, class_name: str, out: Path, form: Format) -> int:
    """What is believed of each machine of a class now, by serial; returns of how many.

    Raises:
        ConfigurationError, NotFoundError: as for readings.
    """
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        asset_class = _class_of(connection, class_name)
        stored = load_beliefs(connection, class_name)
        if stored is None:
            raise NotFoundError(f"there are no twins of class {class_name} before the first tick")
        fleet = current_fleet(connection, current_plant(connection))
        return _write(out, form, [_twins(as_declared(stored, asset_class), asset_class, fleet)])


def _class_of(connection: Connection, name: str) -> AssetClass:
    try:
        classes = current_plant(connection).plant.classes
    except NotFoundError as error:
        raise ConfigurationError(str(error)) from None
    if name not in classes:
        raise ConfigurationError(f"expected {listed(list(classes), 'or')}, not {name!r}", key="--class")
    return classes[name]


class _Days(NamedTuple):
    """The sources of a class, and from when to when they were heard."""

    sources: list[str]
    first_ms: int
    end_ms: int

    def __len__(self) -> int:
        return max(0, -(-self.end_ms // DAY_MS) - self.first_ms // DAY_MS)


def _days_of(store: ReadingStore, wanted: Wanted) -> _Days:
    heard = store.changes(wanted.class_name, "")
    if not len(heard.source):
        raise NotFoundError(f"there are no readings of class {wanted.class_name}")
    first_ms, last_ms = int(heard.earliest_ms.min()), int(heard.latest_ms.max())
    from_ms = first_ms if wanted.from_ms is None else max(first_ms, wanted.from_ms)
    to_ms = last_ms + 1 if wanted.to_ms is None else min(last_ms + 1, wanted.to_ms)
    return _Days(heard.source.tolist(), from_ms, to_ms)


def _of_days(store: ReadingStore, wanted: Wanted, days: _Days) -> Iterator[Any]:
    for begin in range(days.first_ms // DAY_MS * DAY_MS, days.end_ms, DAY_MS):
        span = max(begin, days.first_ms), min(begin + DAY_MS, days.end_ms)
        found = store.window(wanted.class_name, days.sources, *span)
        keys = {"source": pa.array(found.source, pa.string()), "time": pa.array(found.time_ms).cast(_TIME)}
        yield _table(keys, found.sensors, found.values)


def _steps_of(connection: Connection, asset_class: AssetClass, serial: str, wanted: Wanted) -> Any:
    steps = history(connection, asset_class, [serial])
    low = -(2**63) if wanted.from_ms is None else wanted.from_ms
    high = 2**63 - 1 if wanted.to_ms is None else wanted.to_ms
    steps = steps.take(np.flatnonzero((steps.start_ms >= low) & (steps.start_ms < high)))
    keys = {
        "serial": pa.array([serial] * len(steps), pa.string()),
        "start": pa.array(steps.start_ms).cast(_TIME),
        "end": pa.array(steps.end_ms).cast(_TIME),
        "share": pa.array(steps.share, from_pandas=True),
        "count": pa.array(steps.count),
    }
    values = steps.values if len(steps) else np.empty((0, len(asset_class.column_names)))
    return _table(keys, asset_class.column_names, values)


def _prognoses_of(connection: Connection, serial: str, wanted: Wanted, lives: Sequence[tuple[str, Life]]) -> pa.Table:
    issued = issued_prognoses(connection, serial, wanted.from_ms)
    issued = [row for row in issued if wanted.to_ms is None or row.issued_ms < wanted.to_ms]
    mine = [life for of_serial, life in lives if of_serial == serial]
    of_row = [next((life for life in mine if life.from_ms <= row.issued_ms < life.to_ms), None) for row in issued]
    ended = [life if life is not None and life.to_ms < NEVER_MS else None for life in of_row]
    texts = ("id", "serial", "target", "basis", "refusal", "model", "mode", "plant_version")
    keys = {name: pa.array([getattr(row, name) for row in issued], pa.string()) for name in texts}
    keys |= {
        "issued": _moments([row.issued_ms for row in issued]),
        "step_start": _moments([row.step_start_ms for row in issued]),
        "preferred": _moments([row.preferred_ms for row in issued]),
        "said_without_since": _moments([row.said_without_ms for row in issued]),
        "twin_revision": pa.array([row.twin_revision for row in issued], pa.int64()),
        "exposure": pa.array([row.exposure for row in issued], pa.float64()),
        "duty_rate": pa.array([row.duty_rate for row in issued], pa.float64()),
        "outcome": pa.array([life and ("failed" if life.failed else "ended") for life in ended], pa.string()),
        "outcome_mode": pa.array([life and life.mode for life in ended], pa.string()),
        "outcome_at": _moments([life.to_ms if life else None for life in ended]),
    }
    quantiles = np.array([row.quantiles for row in issued], dtype=np.float64).reshape(len(issued), len(LEVELS))
    return _table(keys, _QUANTILES, quantiles)


def _twins(stored: StoredBeliefs, asset_class: AssetClass, fleet: Fleet) -> pa.Table:
    believed, at_ms = stored.beliefs, stored.at_ms
    prognosis, serials = believed.prognosis, believed.serial.tolist()
    keys = {
        "serial": pa.array(serials, pa.string()),
        "source": pa.array([fleet.source_of(serial, at_ms) for serial in serials], pa.string()),
        "as_of": _moments([at_ms] * len(serials)),
        "in_service": pa.array(believed.in_service),
        "complete": pa.array(believed.complete),
        "steps": pa.array(believed.steps),
        "revision": pa.array(believed.revision),
        "last_step": _moments(believed.last_step_ms.tolist()),
        "last_reading": _moments(believed.last_reading_ms.tolist()),
        "exposure": pa.array(believed.exposure, from_pandas=True),
        "share": pa.array(believed.share, from_pandas=True),
        "duty_rate": pa.array(believed.duty_rate, from_pandas=True),
        "basis": pa.array([Basis(code).name.lower() for code in prognosis.basis.tolist()], pa.string()),
        "refusal": pa.array([Refusal(code).code for code in prognosis.refusal.tolist()], pa.string()),
        "preferred": _moments(believed.windows.preferred_ms.tolist()),
    }
    modes = [f"mode_{mode.name}" for mode in asset_class.failure_modes]
    values = np.column_stack([prognosis.quantiles, prognosis.mode, believed.latest])
    return _table(keys, (*_QUANTILES, *modes, *asset_class.column_names), values)


def _moments(times_ms: Sequence[int | None]) -> pa.Array:
    """Times; null for none, which is also stored as a negative one."""
    return pa.array([None if at is None or at < 0 else at for at in times_ms], pa.int64()).cast(_TIME)


def _table(keys: dict[str, Any], names: Sequence[str], values: NDArray[np.float64]) -> Any:
    """Columns of keys, then of values with null for NaN; a value that is called as a key has an underscore behind."""
    columns = dict(keys)
    for name, column in zip(names, values.T, strict=True):
        while name in columns:
            name += "_"
        columns[name] = pa.array(np.ascontiguousarray(column), from_pandas=True)
    return pa.table(columns)


def _write(out: Path, form: Format, tables: Iterable[Any]) -> int:
    """Write tables of one schema; the file is there once it is whole."""
    if out.exists():
        raise ConfigurationError("is there already", file=str(out))
    temporary, rows, writer = out.with_name(f".{out.name}.new"), 0, None
    try:
        for table in tables:
            made = _for_spreadsheets(table) if form == "csv" else table
            if writer is None:
                writer = _writer(temporary, form, made.schema)
            writer.write_table(made)
            rows += len(made)
        if writer is not None:
            writer.close()
        if not rows:
            raise NotFoundError("there is nothing to export in that time")
        temporary.rename(out)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _writer(path: Path, form: Format, schema: Any) -> Any:
    if form == "csv":
        return csv.CSVWriter(path, schema, write_options=csv.WriteOptions(quoting_style="needed"))
    return parquet.ParquetWriter(path, schema, compression="zstd")


def _for_spreadsheets(table: Any) -> Any:
    """Times as text with their offset; text that would be a formula quoted by an apostrophe."""
    for i, field in enumerate(table.schema):
        column = table.column(i)
        if pa.types.is_timestamp(field.type):
            stamps = np.datetime_as_string(column.cast(pa.timestamp("ms")).to_numpy(), unit="ms", timezone="UTC")
            absent = column.is_null().to_numpy()
            table = table.set_column(i, field.name, pa.array(stamps.astype(object), pa.string(), mask=absent))
        elif pa.types.is_string(field.type):
            texts = [text and harmless(text) for text in column.to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table
