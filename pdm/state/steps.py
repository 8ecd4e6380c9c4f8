"""The steps of machines: as one block a tick while they are new, afterwards as blocks of one machine each.

A tick writes the steps of all machines at once, and ticks and restarts read the newest: one block a tick. Whoever looks
at one machine years later wants all of its steps and no others: merging turns many blocks of a class into one of each
machine. Steps that were made again stay beside what they were, each with the tick that made it.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from pdm.columns import Columns, checksum, named_columns, pack, unpack, verified
from pdm.plant import AssetClass
from pdm.state.schema import step_batches, step_chunks
from pdm.steps import Steps, joined, laid_over

MERGE_BYTES, MERGE_BATCHES = 64_000_000, 256
"""So many bytes, or batches, that are not merged yet are worth a merge."""

MACHINES_AT_ONCE = 500

_ADD_BATCH, _ADD_CHUNK = insert(step_batches), insert(step_chunks)


class Asked(NamedTuple):
    """Which steps: made after a tick; by plant time `known_ms` (None: until now); not before plant time `since_ms`."""

    after_tick: int = 0
    known_ms: int | None = None
    since_ms: int | None = None


EVERY = Asked()


def store_steps(connection: Connection, asset_class: AssetClass, tick: int, at_ms: int, columns: Columns) -> None:
    """Keep what one tick made."""
    row = {"tick": tick, "class_name": asset_class.name, "recorded_ms": at_ms}
    connection.execute(_ADD_BATCH, row | _packed(columns, asset_class.column_names))


def latest_tick(connection: Connection, class_name: str, known_ms: int | None = None) -> int:
    """The last tick that made a step of the class (by plant time `known_ms`), 0 for none."""
    query = select(func.max(step_batches.c.tick)).where(step_batches.c.class_name == class_name)
    if known_ms is not None:
        query = query.where(step_batches.c.recorded_ms <= known_ms)
    return int(connection.execute(query).scalar() or 0)


def history(connection: Connection, asset_class: AssetClass, serials: Sequence[str], asked: Asked = EVERY) -> Steps:
    """Steps of some machines as they stood; `row` counts in `serials`."""
    return laid_over(made(connection, asset_class, serials, asked))


def made(connection: Connection, asset_class: AssetClass, serials: Sequence[str], asked: Asked = EVERY) -> Steps:
    """Steps of some machines, those of each in the order in which they were made, taken back (`count` -1) ones too."""
    none = np.empty(0, dtype=np.int64)
    nothing = Steps(none, none, none, np.empty(0), np.empty(0, dtype=np.int32), np.empty((0, 0)))
    return joined([nothing, *parts(connection, asset_class, serials, asked)])


def parts(
    connection: Connection, asset_class: AssetClass, serials: Sequence[str], asked: Asked = EVERY
) -> Iterator[Steps]:
    """The same, bit by bit: merged steps of some machines at a time, then tick by tick."""
    row_of = {serial: row for row, serial in enumerate(serials)}
    for begin in range(0, len(serials), MACHINES_AT_ONCE):
        some = list(serials[begin : begin + MACHINES_AT_ONCE])
        chunks = connection.execute(_chunks(asset_class.name, some, asked))
        found = [_of_chunk(asset_class, row, row_of[row.serial], asked) for row in chunks]
        if found:
            yield joined(found)
    for row in connection.execute(_batches(asset_class.name, asked)):
        columns = _unpacked(asset_class, row, f"tick {row.tick}")
        of_row = np.array([row_of.get(serial, -1) for serial in columns.pop("serial")], dtype=np.int64)
        if (of_row >= 0).any():
            yield Steps(row=of_row, **columns).take(of_row >= 0)


def merge(connection: Connection, class_name: str) -> int:
    """Turn the batches of a class into chunks of one machine each, if there are many; returns how many it merged."""
    whole = step_batches.c.class_name == class_name, step_batches.c.body.is_not(None)
    size = select(func.count(), func.coalesce(func.sum(func.length(step_batches.c.body)), 0))
    count, stored = connection.execute(size.where(*whole)).one()
    if count < MERGE_BATCHES and stored < MERGE_BYTES:
        return 0
    batches = connection.execute(select(step_batches).where(*whole).order_by(step_batches.c.tick)).all()
    names = list(dict.fromkeys(name for batch in batches for name in batch.columns))
    for chunk in _merged(class_name, batches, names):
        connection.execute(_ADD_CHUNK, chunk)
    connection.execute(update(step_batches).where(*whole).values(body=None, crc=None))
    return len(batches)


def _merged(class_name: str, batches: Sequence[Row[Any]], names: list[str]) -> Iterator[dict[str, Any]]:
    """One chunk for each machine in some batches, with all columns that any of them has."""
    blocks = [_named(batch, names, f"class {class_name}, tick {batch.tick}") for batch in batches]
    lengths = [len(block["serial"]) for block in blocks]
    every = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    every["tick"] = np.repeat([batch.tick for batch in batches], lengths)
    every["recorded_ms"] = np.repeat([batch.recorded_ms for batch in batches], lengths)
    serial, first = np.unique(every.pop("serial").astype(str), return_inverse=True)
    order = np.argsort(first, kind="stable")
    ends = np.cumsum(np.bincount(first))
    last = {"last_tick": batches[-1].tick, "last_recorded_ms": max(batch.recorded_ms for batch in batches)}
    for name, rows in zip(serial.tolist(), np.split(order, ends[:-1]), strict=True):
        mine = {column: values[rows] for column, values in every.items()}
        yield {"class_name": class_name, "serial": name} | last | _packed(mine, names)


def _chunks(class_name: str, serials: list[str], asked: Asked) -> Select[Any]:
    query = select(step_chunks).where(
        step_chunks.c.class_name == class_name,
        step_chunks.c.serial.in_(serials),
        step_chunks.c.last_tick > asked.after_tick,
    )
    if asked.since_ms is not None:
        query = query.where(step_chunks.c.last_recorded_ms >= asked.since_ms)
    return query.order_by(step_chunks.c.serial, step_chunks.c.last_tick)


def _batches(class_name: str, asked: Asked) -> Select[Any]:
    query = select(step_batches).where(
        step_batches.c.class_name == class_name,
        step_batches.c.tick > asked.after_tick,
        step_batches.c.body.is_not(None),
    )
    if asked.known_ms is not None:
        query = query.where(step_batches.c.recorded_ms <= asked.known_ms)
    if asked.since_ms is not None:
        query = query.where(step_batches.c.recorded_ms >= asked.since_ms)
    return query.order_by(step_batches.c.tick)


def _of_chunk(asset_class: AssetClass, chunk: Row[Any], row: int, asked: Asked) -> Steps:
    columns = _unpacked(asset_class, chunk, f"machine {chunk.serial}")
    tick, recorded_ms = columns.pop("tick"), columns.pop("recorded_ms")
    wanted = tick > asked.after_tick
    if asked.known_ms is not None:
        wanted &= recorded_ms <= asked.known_ms
    if asked.since_ms is not None:
        wanted &= recorded_ms >= asked.since_ms
    here = {name: values[wanted] for name, values in columns.items()}
    return Steps(row=np.full(int(wanted.sum()), row, dtype=np.int64), **here)


def _unpacked(asset_class: AssetClass, stored: Row[Any], what: str) -> Columns:
    """A block with the columns that the class has now; NaN where it was made before the class had a column."""
    return _named(stored, asset_class.column_names, f"class {asset_class.name}, {what}")


def _named(stored: Row[Any], names: Sequence[str], what: str) -> Columns:
    columns = unpack(verified(stored.body, stored.crc, f"steps of {what}"))
    if stored.columns != list(names):
        columns["values"] = named_columns(columns["values"], stored.columns, names)
    return columns


def _packed(columns: Columns, names: Sequence[str]) -> dict[str, Any]:
    body = pack(columns)
    return {"columns": list(names), "body": body, "crc": checksum(body)}
