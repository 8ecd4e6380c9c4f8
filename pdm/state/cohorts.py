"""What a tick keeps about a whole cohort: steps, beliefs, checkpoints, cursors, each as one packed block."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from pdm.beliefs import Beliefs, from_columns, names_behind, rearranged, to_columns
from pdm.columns import Columns, checksum, named_columns, pack, unpack, verified
from pdm.errors import DamagedRecordError
from pdm.plant import AssetClass
from pdm.state.schema import beliefs, checkpoints, cursors, step_batches
from pdm.steps import Steps, laid_over

CHECKPOINTS_KEPT = 2

_ADD_STEPS = insert(step_batches)
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


class StepBatch(NamedTuple):
    """Steps that one tick made, by serial."""

    tick: int
    columns: Columns


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


def store_steps(connection: Connection, asset_class: AssetClass, tick: int, at_ms: int, columns: Columns) -> None:
    body = pack(columns)
    row = {
        "tick": tick,
        "class_name": asset_class.name,
        "recorded_ms": at_ms,
        "columns": list(asset_class.column_names),
        "body": body,
        "crc": checksum(body),
    }
    connection.execute(_ADD_STEPS, row)


def step_batches_after(
    connection: Connection, asset_class: AssetClass, tick: int, known_ms: int | None = None
) -> Iterator[StepBatch]:
    """Steps made after a tick (and by plant time `known_ms`), in the order in which they were made.

    Values come in the columns that the class has now; NaN where a step was made before the class had a column.
    """
    query = select(step_batches).where(step_batches.c.class_name == asset_class.name, step_batches.c.tick > tick)
    if known_ms is not None:
        query = query.where(step_batches.c.recorded_ms <= known_ms)
    for row in connection.execute(query.order_by(step_batches.c.tick)):
        columns = unpack(verified(row.body, row.crc, f"steps of class {asset_class.name}, tick {row.tick}"))
        if row.columns != list(asset_class.column_names):
            columns["values"] = named_columns(columns["values"], row.columns, asset_class.column_names)
        yield StepBatch(row.tick, columns)


def history(
    connection: Connection,
    asset_class: AssetClass,
    serials: list[str],
    known_ms: int | None = None,
    from_tick: int = 0,
) -> Steps:
    """Steps of some machines as known by plant time `known_ms` (None: now); `row` counts in `serials`.

    Of equally keyed steps the one made last stands; a step that was taken back (`count` -1) is left out.
    """
    parts = []
    for batch in step_batches_after(connection, asset_class, from_tick, known_ms):
        found = np.isin(batch.columns["serial"], serials)
        if found.any():
            parts.append({name: values[found] for name, values in batch.columns.items()})
    if not parts:
        width = 0
        none = np.empty(0, dtype=np.int64)
        return Steps(none, none, none, np.empty(0), np.empty(0, dtype=np.int32), np.empty((0, width)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    row_of = {serial: row for row, serial in enumerate(serials)}
    row = np.array([row_of[serial] for serial in columns.pop("serial")], dtype=np.int64)
    return laid_over(Steps(row=row, **columns))


def store_checkpoint(connection: Connection, class_name: str, tick: int, frame: str, columns: Columns) -> None:
    """Keep a twin, drop all but the latest few before it."""
    body = pack(columns)
    connection.execute(
        insert(checkpoints).values(class_name=class_name, tick=tick, frame=frame, body=body, crc=checksum(body))
    )
    of_class = checkpoints.c.class_name == class_name
    newest = select(checkpoints.c.tick).where(of_class).order_by(checkpoints.c.tick.desc()).limit(CHECKPOINTS_KEPT)
    kept = connection.execute(newest).scalars().all()
    connection.execute(delete(checkpoints).where(of_class, checkpoints.c.tick < min(kept)))


def load_checkpoint(connection: Connection, class_name: str, frame: str) -> tuple[int, Columns] | None:
    """The newest undamaged twin of this frame and the tick that it is of."""
    query = select(checkpoints).where(checkpoints.c.class_name == class_name, checkpoints.c.frame == frame)
    for row in connection.execute(query.order_by(checkpoints.c.tick.desc())):
        try:
            return row.tick, unpack(verified(row.body, row.crc, "checkpoint"))
        except DamagedRecordError:
            continue  # a checkpoint is a cache: an older one, or none, gives the same twin
    return None


def _put(connection: Connection, table: Table, class_name: str, values: dict[str, Any]) -> None:
    if not connection.execute(_OF_CLASS[table], {"of_class": class_name, **values}).rowcount:
        connection.execute(insert(table).values(class_name=class_name, **values))
