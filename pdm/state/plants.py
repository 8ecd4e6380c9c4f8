"""Versions of the plant and rule files, maintenance events, and the fleet that both make."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from pdm.errors import ConflictError, NotFoundError
from pdm.installations import MOVING, EventKind, Fleet, MaintenanceEvent, fleet_of, moved_serials
from pdm.plant import AssetClass, ExpectedLife, Plant
from pdm.plant.file import parse_plant
from pdm.rules.ruleset import Rule, Ruleset, parse_rules
from pdm.state.fleet_lives import OF_CLASS, FleetLife, fleet_lives_of
from pdm.state.schema import events, marks, next_number, plant_versions

_NEWEST = select(plant_versions).order_by(plant_versions.c.number.desc()).limit(1)
_LAST_EVENT = select(func.max(events.c.revision))
_MARKS_AFTER = select(marks).where(marks.c.number > bindparam("number")).order_by(marks.c.number)


class CurrentPlant(NamedTuple):
    """The plant and rules in force, and their version number.

    Attributes:
        plant: with declared lives as the fleet has corrected them; `declared` is without.
    """

    number: int
    plant: Plant
    rules: Ruleset
    declared: Plant

    def rules_of(self, asset_class: AssetClass) -> list[Rule]:
        """The rules that watch a class."""
        return [rule for rule in self.rules.rules if asset_class.name in rule.classes]


@lru_cache(maxsize=8)
def _parsed(number: int, plant_text: str, rules_text: str) -> CurrentPlant:
    plant = parse_plant(plant_text)
    return CurrentPlant(number, plant, parse_rules(rules_text, plant), plant)


@lru_cache(maxsize=8)
def _corrected(number: int, plant_text: str, rules_text: str, lives: tuple[FleetLife, ...]) -> CurrentPlant:
    current = _parsed(number, plant_text, rules_text)
    classes = {name: _with_lives(one, lives) for name, one in current.plant.classes.items()}
    return current._replace(plant=replace(current.plant, classes=classes))


def _with_lives(asset_class: AssetClass, lives: tuple[FleetLife, ...]) -> AssetClass:
    """A class with its declared lives corrected, as far as they are still declared as they were then."""
    known = {one.mode: one for one in lives if one.class_name == asset_class.name}

    def corrected(mode: str, declared: ExpectedLife | None) -> ExpectedLife | None:
        found = known.get(mode)
        if declared is None or found is None or declared != ExpectedLife(found.declared_mean, found.declared_sd):
            return declared
        return ExpectedLife(found.mean, found.sd, found.failures + found.censored)

    modes = [
        replace(mode, expected_life=corrected(mode.name, mode.expected_life)) for mode in asset_class.failure_modes
    ]
    whole = corrected(OF_CLASS, asset_class.expected_life)
    return replace(asset_class, failure_modes=tuple(modes), expected_life=whole)


def current_plant(connection: Connection) -> CurrentPlant:
    """The plant that was applied last.

    Raises:
        NotFoundError: none was applied yet.
    """
    row = connection.execute(_NEWEST).first()
    if row is None:
        raise NotFoundError("no plant yet: write one with `pdm-twin init` and store it with `pdm-twin apply`")
    lives = fleet_lives_of(connection)
    found = (row.number, row.plant_text, row.rules_text)
    return _corrected(*found, lives) if lives else _parsed(*found)


def store_plant(connection: Connection, plant_text: str, rules_text: str, at_ms: int) -> CurrentPlant:
    """Store a version of the files; a text equal to the current one is no new version."""
    plant = parse_plant(plant_text)
    rules = parse_rules(rules_text, plant)
    last = connection.execute(_NEWEST).first()
    if last is not None and (last.plant_text, last.rules_text) == (plant_text, rules_text):
        return _parsed(last.number, plant_text, rules_text)
    number = 1 if last is None else last.number + 1
    connection.execute(
        insert(plant_versions).values(
            number=number,
            version=f"{plant.version[:12]}-{rules.version[:12]}",
            effective_ms=at_ms,
            plant_text=plant_text,
            rules_text=rules_text,
        )
    )
    return _parsed(number, plant_text, rules_text)


def current_fleet(connection: Connection, current: CurrentPlant) -> Fleet:
    """The machines of the plant after all events that stand, kept until one changes.

    For reading transactions: what a writing one sees may be taken back, and must not be kept (`fleet_within`).
    """
    revision = connection.execute(_LAST_EVENT).scalar() or 0
    state = (current.number, current.plant.version, revision)
    known = _fleets.get(connection.engine)
    if known is None or known[0] != state:
        known = _fleets[connection.engine] = state, fleet_of(current.plant, standing_events(connection))
    return known[1]


_fleets: WeakKeyDictionary[Engine, tuple[tuple[int, str, int], Fleet]] = WeakKeyDictionary()


def add_event(connection: Connection, event_id: str, event: MaintenanceEvent, **noted: Any) -> int:
    """Store an event and mark what it changes. The same id twice with the same content counts once.

    Args:
        noted: who, recorded_ms, and optionally note.

    Returns:
        The revision of the stored event.

    Raises:
        ConflictError: the id was used for another event.
    """
    row = {
        "serial": event.serial,
        "kind": event.kind.value,
        "at_ms": event.at_ms,
        "mode": event.mode,
        "by_serial": event.by_serial,
        "source": event.source,
        "sensor": event.sensor,
        "value": event.value,
    }
    stored = connection.execute(select(events).where(events.c.id == event_id)).first()
    if stored is not None:
        if any(getattr(stored, key) != value for key, value in row.items()):
            raise ConflictError(f"event {event_id} was already reported with other content")
        return int(stored.revision)
    with _marking(connection, event):
        revision = next_number(connection, "revision")
        connection.execute(insert(events).values(id=event_id, revision=revision, **row, **noted))
    return revision


def void_event(connection: Connection, event_id: str, at_ms: int, who: str, reason: str = "") -> None:
    """Take an event back; what followed from it is made again."""
    row = connection.execute(select(events).where(events.c.id == event_id)).first()
    if row is None:
        raise NotFoundError(f"there is no event {event_id}")
    with _marking(connection, _event(row)):
        voided = {"voided_ms": at_ms, "voided_by": who, "voided_reason": reason}
        revision = next_number(connection, "revision")
        connection.execute(update(events).where(events.c.id == event_id).values(revision=revision, **voided))


def mark(connection: Connection, serial: str, earliest_ms: int, why: str) -> None:
    """Note that something changed about a machine from a time on, for the next tick to see."""
    number = next_number(connection, "mark")
    connection.execute(insert(marks).values(number=number, serial=serial, earliest_ms=earliest_ms, why=why))


def marks_after(connection: Connection, number: int) -> list[Any]:
    """Marks above a number, in order."""
    return list(connection.execute(_MARKS_AFTER, {"number": number}))


@contextmanager
def _marking(connection: Connection, event: MaintenanceEvent) -> Iterator[None]:
    """Mark the machine that an event is about, and every one that then sits, or sat, behind another source."""
    before = fleet_within(connection) if event.kind in MOVING else None
    yield
    moved = {} if before is None else moved_serials(before, fleet_within(connection))
    moved[event.serial] = min(event.at_ms, moved.get(event.serial, event.at_ms))
    for serial, earliest_ms in sorted(moved.items()):
        mark(connection, serial, earliest_ms, event.kind.value)


def fleet_within(connection: Connection) -> Fleet:
    """The machines after all events that stand, as a transaction sees them that may yet be taken back."""
    return fleet_of(current_plant(connection).plant, standing_events(connection))


def standing_events(connection: Connection, known_ms: int | None = None) -> list[MaintenanceEvent]:
    """Events that are not taken back, by the time at which they happened; as known by plant time `known_ms`."""
    query = select(events).where(events.c.voided_ms.is_(None))
    if known_ms is not None:
        voided_later = events.c.voided_ms.is_(None) | (events.c.voided_ms > known_ms)
        query = select(events).where(events.c.recorded_ms <= known_ms, voided_later)
    rows = connection.execute(query.order_by(events.c.at_ms, events.c.revision))
    return [_event(row) for row in rows]


def _event(row: Any) -> MaintenanceEvent:
    kind = EventKind(row.kind)
    return MaintenanceEvent(row.serial, kind, row.at_ms, row.mode, row.by_serial, row.source, row.sensor, row.value)
