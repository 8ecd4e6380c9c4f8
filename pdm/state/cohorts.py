"""What a tick keeps about a whole cohort: steps, beliefs, checkpoints, cursors, each as one packed block."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from pdm.beliefs import Beliefs, from_columns, names_behind, rearranged, to_columns
from pdm.columns import Columns, checksum, pack, unpack, verified
from pdm.errors import DamagedRecordError
from pdm.plant import AssetClass
from pdm.state.schema import beliefs, checkpoints, cursors

_OF_CLASS = {table: update(table).where(table.c.class_name == bindparam("of_class")) for table in (beliefs, cursors)}


class Cursors(NamedTuple):
    """What a class has already seen: the reading store's cursor and the number of the last mark."""

    readings: str
    marks: int


class StoredBeliefs(NamedTuple):
    """Beliefs with the tick and plant time that they are of, and the names behind their columns."""

    tick: int
    at_ms: int
    facts: dict[str, Any]
    beliefs: Beliefs


def load_cursors(connection: Connection, class_name: str) -> Cursors:
    row = connection.execute(select(cursors).where(cursors.c.class_name == class_name)).first()
    return Cursors("", 0) if row is None else Cursors(row.readings, row.marks)


def store_cursors(connection: Connection, class_name: str, cursor: Cursors) -> None:
    _put(connection, cursors, class_name, cursor._asdict())


def load_beliefs(connection: Connection, class_name: str) -> StoredBeliefs | None:
    """The latest beliefs of a class."""
    row = connection.execute(select(beliefs).where(beliefs.c.class_name == class_name)).first()
    if row is None:
        return None
    columns = unpack(verified(row.body, row.crc, f"beliefs of class {class_name}"))
    return StoredBeliefs(row.tick, row.at_ms, row.facts, from_columns(columns, row.facts["horizon"]))


def as_declared(stored: StoredBeliefs, asset_class: AssetClass) -> StoredBeliefs:
    """The same beliefs in the columns that the class has now; itself where it has not changed."""
    rules = stored.facts["rules"]
    made = rearranged(stored.beliefs, stored.facts, stored.beliefs.serial, asset_class, rules)
    if made is stored.beliefs:
        return stored
    return stored._replace(beliefs=made, facts=stored.facts | names_behind(asset_class, rules))


def beliefs_tick(connection: Connection, class_name: str) -> int:
    """The tick of the latest beliefs, 0 before any: cheap to ask before loading them."""
    return connection.execute(select(beliefs.c.tick).where(beliefs.c.class_name == class_name)).scalar() or 0


def store_beliefs(
    connection: Connection, class_name: str, tick: int, at_ms: int, facts: dict[str, Any], made: Beliefs
) -> None:
    body = pack(to_columns(made))
    row = {"tick": tick, "at_ms": at_ms, "facts": facts, "body": body, "crc": checksum(body)}
    _put(connection, beliefs, class_name, row)


def store_checkpoint(connection: Connection, class_name: str, tick: int, frame: str, columns: Columns) -> None:
    """Keep a twin, and of the older ones two and then one for each time that the distance doubles."""
    body = pack(columns)
    connection.execute(
        insert(checkpoints).values(class_name=class_name, tick=tick, frame=frame, body=body, crc=checksum(body))
    )
    of_class = checkpoints.c.class_name == class_name
    ticks = connection.execute(select(checkpoints.c.tick).where(of_class).order_by(checkpoints.c.tick.desc())).scalars()
    connection.execute(delete(checkpoints).where(of_class, checkpoints.c.tick.in_(_too_close(list(ticks)))))


def _too_close(ticks: list[int]) -> list[int]:
    """Of checkpoints, the newest first, those that are not worth their place.

    The oldest of each doubling distance stays: however late a reading is, one is near the time before it.
    """
    distance = [(ticks[0] - tick).bit_length() for tick in ticks]
    return [tick for number, tick in enumerate(ticks[2:-1], 2) if distance[number] == distance[number + 1]]


def has_checkpoint(connection: Connection, class_name: str, frame: str | None = None, tick: int | None = None) -> bool:
    """Whether there is a checkpoint of a class (of this frame, of this tick)."""
    query = select(checkpoints.c.tick).where(checkpoints.c.class_name == class_name)
    if frame is not None:
        query = query.where(checkpoints.c.frame == frame)
    if tick is not None:
        query = query.where(checkpoints.c.tick == tick)
    return connection.execute(query.limit(1)).first() is not None


def checkpoints_of(connection: Connection, class_name: str, frame: str) -> Iterator[tuple[int, Columns]]:
    """The undamaged twins of this frame and the ticks that they are of, the newest first."""
    query = select(checkpoints.c.tick).where(checkpoints.c.class_name == class_name, checkpoints.c.frame == frame)
    for tick in connection.execute(query.order_by(checkpoints.c.tick.desc())).scalars().all():
        of_tick = checkpoints.c.class_name == class_name, checkpoints.c.tick == tick
        row = connection.execute(select(checkpoints.c.body, checkpoints.c.crc).where(*of_tick)).one()
        try:
            yield tick, unpack(verified(row.body, row.crc, "checkpoint"))
        except DamagedRecordError:
            continue  # a checkpoint is a cache: an older one, or none, gives the same twin


def _put(connection: Connection, table: Table, class_name: str, values: dict[str, Any]) -> None:
    if not connection.execute(_OF_CLASS[table], {"of_class": class_name, **values}).rowcount:
        connection.execute(insert(table).values(class_name=class_name, **values))
