"""`pdm-twin import events`: work orders of a maintenance system, exported as CSV, become events by a map.

The map says which columns hold what, and which rows mean which event; one row may mean several (a breakdown is a
failure when it began and a repair when it was finished). Rows that mean nothing to the map are counted and reported,
never guessed at. Events have derived ids: importing a file again, or a longer export, adds only what is new.
"""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

import pandas as pd
from pydantic import Field, model_validator
from sqlalchemy import Connection

from pdm import respond
from pdm.clocks import ServiceClock
from pdm.durations import HOUR_MS
from pdm.errors import ConfigurationError, ConfigurationFileError, PdmError
from pdm.ingest.files import encoding_of
from pdm.installations import ALWAYS_MS, EventKind, Fleet, MaintenanceEvent, fleet_of
from pdm.plant import Plant
from pdm.plant.entries import Zone
from pdm.plant.entry_types import Entry, OneOrMore
from pdm.plant.marked_yaml import Document, did_you_mean
from pdm.progress import progress_bar
from pdm.settings import Settings
from pdm.state.plants import current_plant, standing_events
from pdm.state.schema import opened_state, write
from pdm.words import harmless

REPORT = "import-events-report.csv"
"""Rows that became no event, with the reason, in the data folder."""

FIRST_LINE = 2  # the line of the first row of a file, after the names of its columns


Row = Mapping[str, str]
"""The cells of a row by column."""


class NameEntry(Entry):
    """The failure mode or the sensor of an event: a column, and what its values are called in the plant file; or one
    name for all rows."""

    column: str | None = None
    values: Mapping[str, str] = {}
    always: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_its_name(cls, data: Any) -> Any:
        return {"always": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.column is None) == (self.always is None):
            raise ValueError("expected a name for all rows, or {column: ..., values: {...}}")
        return self

    def name(self, row: Row) -> str | None:
        if self.column is None:
            return self.always
        said = row[self.column] or None
        return None if said is None else self.values.get(said, said)


class AgeEntry(Entry):
    """How long a machine had run by an event: a column with hours or cycles, and how many of them an hour brings."""

    column: str
    per_hour: float = Field(default=1.0, gt=0, description="how much is counted in an hour")

    def ms(self, row: Row) -> int | None:
        if not (said := row[self.column]):
            return None
        try:
            return round(float(said.replace(",", ".")) / self.per_hour * HOUR_MS)
        except ValueError:
            raise ValueError(f"{self.column}: expected a number without grouped thousands, not {said!r}") from None


class MappedEvent(Entry):
    """One event that a row may mean."""

    kind: EventKind
    at: OneOrMore[str] = Field(description="column with its time, or a list of the date and the time of day")
    where: Mapping[str, OneOrMore[str]] = {}
    mode: NameEntry | None = None
    sensor: NameEntry | None = None
    by_serial: str | None = None
    source: str | None = None
    age: AgeEntry | None = None

    def fits(self, row: Row) -> bool:
        return bool(row[self.at[0]]) and all(row[column] in values for column, values in self.where.items())


class EventMap(Entry):
    """A map of the columns of work orders to events."""

    id: str | None = Field(default=None, description="column that numbers the work orders")
    machine: str = Field(description="column with a serial, a slot or a key of another system")
    events: OneOrMore[MappedEvent]
    note: str | None = None
    time_zone: Zone | None = None
    time_format: str | None = None

    def columns(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every column that the map names, and where it does."""
        for key in ("id", "machine", "note"):
            if (column := getattr(self, key)) is not None:
                yield (key,), column
        for number, event in enumerate(self.events):
            yield from ((("events", number, "at"), column) for column in event.at)
            for key in ("by_serial", "source"):
                if (column := getattr(event, key)) is not None:
                    yield ("events", number, key), column
            yield from ((("events", number, "where", column), column) for column in event.where)
            for key in ("mode", "sensor", "age"):
                if (entry := getattr(event, key)) is not None and entry.column is not None:
                    yield ("events", number, key, "column"), entry.column


class Problem(NamedTuple):
    """A row, or an event of it, that was not taken in."""

    line: int
    order: str
    reason: str


class Found(NamedTuple):
    """An event that a row means; `age_ms` is how long the machine had run by then, None if the row does not say."""

    line: int
    order: str
    event: MaintenanceEvent
    note: str | None
    age_ms: int | None = None

    @property
    def id(self) -> str:
        """The same for the same event of the same work order, whatever file it comes in; without a number of the
        order, of the same time."""
        order = self.order or str(self.event.at_ms)
        named = [order, self.event.serial, self.event.kind, *filter(None, [self.event.sensor])]
        return hashlib.sha256("|".join(named).encode()).hexdigest()[:32]


class EventsImported(NamedTuple):
    """What became of a file."""

    rows: int
    events: int
    problems: list[Problem]


def import_events(settings: Settings, path: Path, map_path: Path) -> EventsImported:
    """Take in the work orders of a file, while the service runs or while it does not.

    Raises:
        ConfigurationError: the map or the file cannot be read, or the map names columns that the file does not have.
    """
    columns, rows = read_rows(path)
    event_map = _read_map(map_path, columns)
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        current = current_plant(connection)
        found, problems = _events(current.plant, event_map, rows)
        found = _with_births(fleet_of(current.plant, standing_events(connection)), found)
        with progress_bar() as bar:
            taken = _take(connection, found, problems, lambda every: bar.track(every, description=path.name))
    _write_report(settings.data_dir / REPORT, sorted(problems))
    return EventsImported(len(rows), taken, sorted(problems))


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Names of the columns, and every cell as the text that it is; comma, semicolon or tab between them."""
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            sep=None,
            engine="python",
            encoding=encoding_of(path),
            encoding_errors="replace",
        )
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigurationError(f"cannot be read as CSV: {error}", file=str(path)) from None
    names = [str(name).strip() for name in table.columns]
    return names, [
        dict(zip(names, (cell.strip() for cell in cells), strict=True)) for cells in table.itertuples(index=False)
    ]


def _read_map(path: Path, columns: list[str]) -> EventMap:
    try:
        document = Document(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", file=str(path)) from None
    event_map = document.entry(EventMap)
    for place, column in () if event_map is None else event_map.columns():
        if column not in columns:
            document.refuse(place, f"the file has no column {column!r}{did_you_mean(column, columns)}")
    if document.errors or event_map is None:
        raise ConfigurationFileError(document.errors)
    return event_map


def _events(plant: Plant, event_map: EventMap, rows: list[Row]) -> tuple[list[Found], list[Problem]]:
    """What the rows mean, the oldest event first."""
    machines, zone = _machines(plant), event_map.time_zone or plant.time_zone
    found, problems = list[Found](), list[Problem]()
    for line, row in enumerate(rows, FIRST_LINE):
        order = row[event_map.id] if event_map.id else ""
        serial = machines.get(row[event_map.machine])
        fitting = [event for event in event_map.events if event.fits(row)]
        if serial is None:
            problems.append(Problem(line, order, f"no machine of the plant is called {row[event_map.machine]!r}"))
            continue
        if not fitting:
            problems.append(Problem(line, order, "no event of the map fits"))
        for event in fitting:
            try:
                made = _event(event, row, serial, zone, event_map.time_format)
                note = row[event_map.note] if event_map.note else None
                found.append(Found(line, order, made, note, event.age.ms(row) if event.age else None))
            except ValueError as error:
                problems.append(Problem(line, order, f"{event.kind}: {error}"))
    return sorted(found, key=lambda one: one.event.at_ms), problems


def _with_births(fleet: Fleet, found: list[Found]) -> list[Found]:
    """The same, and where an event tells the age of a life of which nobody knows the start, that it began then.

    The oldest event comes first.
    """
    made = list[Found]()
    for one in found:
        serial, at_ms = one.event.serial, one.event.at_ms
        lives = [life for name, life in fleet.all_lives_of(fleet.assets[serial].class_name) if name == serial]
        mine = [other.event for other in (*found, *made) if other.event.serial == serial]
        ends = [life.to_ms for life in lives if life.failed] + [e.at_ms for e in mine if e.kind == EventKind.FAILED]
        starts = [life.from_ms for life in lives if life.start_known]
        starts += [event.at_ms for event in mine if event.kind == EventKind.REPAIRED]
        since_ms = max((end_ms for end_ms in ends if end_ms < at_ms), default=ALWAYS_MS)
        if one.age_ms is not None and not any(since_ms <= start_ms < at_ms for start_ms in starts):
            born_ms = max(at_ms - one.age_ms, since_ms + 1)
            event = MaintenanceEvent(serial, EventKind.REPAIRED, born_ms)
            made.append(one._replace(order=one.order and f"{one.order} new", event=event, age_ms=None))
    return sorted([*found, *made], key=lambda one: one.event.at_ms)


def _machines(plant: Plant) -> dict[str, str]:
    """Serial of each machine by all its names; a name that several have is nobody's."""
    names: dict[str, set[str]] = {}
    for asset in plant.assets.values():
        keys = (value for system in asset.external.values() for value in system.values())
        for name in {asset.serial, asset.slot or "", *keys} - {""}:
            names.setdefault(name, set()).add(asset.serial)
    return {name: next(iter(serials)) for name, serials in names.items() if len(serials) == 1}


def _event(event: MappedEvent, row: Row, serial: str, zone: ZoneInfo, time_format: str | None) -> MaintenanceEvent:
    return MaintenanceEvent(
        serial=serial,
        kind=event.kind,
        at_ms=_time_ms(" ".join(filter(None, (row[column] for column in event.at))), zone, time_format),
        mode=event.mode.name(row) if event.mode else None,
        by_serial=row[event.by_serial] if event.by_serial else None,
        source=row[event.source] if event.source else None,
        sensor=event.sensor.name(row) if event.sensor else None,
    )


def _time_ms(text: str, zone: ZoneInfo, time_format: str | None) -> int:
    """Of the two hours when clocks go back, the first."""
    try:
        at = datetime.fromisoformat(text) if time_format is None else datetime.strptime(text, time_format)  # noqa: DTZ007
    except ValueError:
        expected = "such as 2026-01-04 06:00; time_format says another form" if time_format is None else time_format
        raise ValueError(f"expected a time {expected}, not {text!r}") from None
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def _take(
    connection: Connection, found: list[Found], problems: list[Problem], track: Callable[[list[Found]], Iterable[Found]]
) -> int:
    """Report the events as people would; returns how many stand."""
    act, taken = respond.Act(who="import", at_ms=ServiceClock().plant_ms()), 0
    for one in track(found):
        try:
            respond.record_event(connection, one.id, one.event, act, one.note)
            taken += 1
        except PdmError as error:
            problems.append(Problem(one.line, one.order, f"{one.event.kind}: {error}"))
    return taken


def _write_report(path: Path, problems: list[Problem]) -> None:
    path.unlink(missing_ok=True)
    if problems:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Problem._fields)
            writer.writerows((line, harmless(order), harmless(reason)) for line, order, reason in problems)
