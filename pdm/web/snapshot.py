"""What the state database says now, read once for each version of it: the ground that pages and API stand on.

Asking for the version is one cheap query, and it is asked at most every `LOOK_AGAIN_SECONDS`; only what changed is read
again. A write through this process expires the snapshot at once, so that people see what they did.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, func, select

from pdm.installations import Fleet
from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state import cohorts, plants, schema, told
from pdm.state.cohorts import StoredBeliefs
from pdm.state.plants import CurrentPlant

LOOK_AGAIN_SECONDS = 0.2

Rows = Mapping[str, Sequence[Row[Any]]]


class Version(NamedTuple):
    """What a snapshot is of: number of the plant file, last revision of any feed, last tick of each class."""

    plant: int
    revision: int
    ticks: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ClassBeliefs:
    """The stored beliefs of one class, and in which row each serial is."""

    asset_class: AssetClass
    stored: StoredBeliefs | None
    row_of: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """One consistent look; alerts, interventions and recommendations that are live, by serial.

    `made` keeps what was derived from this snapshot (answers as bytes among it): it goes when the snapshot goes.
    """

    version: Version
    current: CurrentPlant
    fleet: Fleet
    classes: Mapping[str, ClassBeliefs]
    alerts: Rows
    interventions: Rows
    recommendations: Rows
    made: dict[Any, Any] = field(default_factory=dict)


@dataclass
class _Kept:
    snapshot: Snapshot | None = None
    looked_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept: WeakKeyDictionary[Engine, _Kept] = WeakKeyDictionary()


def latest(services: Services) -> Snapshot:
    """The present snapshot; reads the database where it is older than `LOOK_AGAIN_SECONDS`.

    Raises:
        NotFoundError: no plant was applied yet.
    """
    kept = _of(services)
    with kept.lock:
        recent = at_hand(services)
        if recent is not None:
            return recent
        looked_at = time.monotonic()
        with schema.read(services.engine) as connection:
            kept.snapshot = _read(connection, kept.snapshot)
        kept.looked_at = looked_at
        return kept.snapshot


def at_hand(services: Services) -> Snapshot | None:
    """The snapshot if it can be had without the database."""
    kept = _of(services)
    return kept.snapshot if time.monotonic() - kept.looked_at < LOOK_AGAIN_SECONDS else None


def expire(services: Services) -> None:
    """Something was written: the next reader looks again."""
    _of(services).looked_at = float("-inf")


def _of(services: Services) -> _Kept:
    return _kept.setdefault(services.engine, _Kept())


def _read(connection: Connection, before: Snapshot | None) -> Snapshot:
    current = plants.current_plant(connection)
    ticks = tuple((name, cohorts.beliefs_tick(connection, name)) for name in sorted(current.plant.classes))
    version = Version(current.number, schema.last_number(connection, "revision"), ticks)
    if before is not None and before.version == version:
        return before
    same_records = before is not None and before.version.revision == version.revision
    records = (
        (before.alerts, before.interventions, before.recommendations)
        if same_records and before is not None
        else _records(connection)
    )
    classes = {name: _class_beliefs(connection, current, name, before, tick) for name, tick in ticks}
    return Snapshot(version, current, plants.current_fleet(connection, current), classes, *records)


def _records(connection: Connection) -> tuple[Rows, Rows, Rows]:
    advised = schema.recommendations
    standing = select(advised).where(advised.c.state == "open").order_by(advised.c.revision)
    return (
        _by_serial(told.live_alerts(connection)),
        _by_serial(told.open_interventions(connection)),
        _by_serial(connection.execute(standing).all()),
    )


def _class_beliefs(
    connection: Connection, current: CurrentPlant, name: str, before: Snapshot | None, tick: int
) -> ClassBeliefs:
    asset_class = current.plant.classes[name]
    known = None if before is None else before.classes.get(name)
    if known is not None and known.stored is not None and known.stored.tick == tick:
        return ClassBeliefs(asset_class, cohorts.as_declared(known.stored, asset_class), known.row_of)
    stored = cohorts.load_beliefs(connection, name)
    if stored is not None:
        stored = cohorts.as_declared(stored, asset_class)
    row_of = {} if stored is None else {serial: row for row, serial in enumerate(stored.beliefs.serial)}
    return ClassBeliefs(asset_class, stored, row_of)


def _by_serial(rows: Sequence[Row[Any]]) -> Rows:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.serial].append(row)
    return dict(found)


def count_by(connection: Connection, column: Any) -> dict[str, int]:
    """How many records have each value of a column."""
    return {str(value): number for value, number in connection.execute(select(column, func.count()).group_by(column))}
