"""What has been forwarded to another store: how far, what was new in it, what is parked, and what is projected.

All of a block is noted in one transaction. A mark holds the sources of one class that a block had readings of, with
the earliest and the latest time of each; marks are numbered, so that "what is new since" is never a search. Marks that
the ticks have seen are drawn together, which can only tell a source to be new from an earlier time on.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from pdm.columns import checksum, pack, unpack, verified
from pdm.readings import Readings, concatenate, merge
from pdm.state.schema import cursors, last_number, metadata, next_number

MOST_MARKS = 200
"""Of one class, seen by its ticks, before they are drawn together."""

_COUNTER = "reading_mark"

forward_cursors = Table(
    "forward_cursors",
    metadata,
    Column("store", String, primary_key=True),
    Column("cursor", Text, nullable=False),
)

forwarded = Table(
    "forwarded",
    metadata,
    Column("store", String, primary_key=True),
    Column("class_name", String, primary_key=True),
    Column("sensors", JSON, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("late", BigInteger, nullable=False),
    Column("batches", BigInteger, nullable=False),
)

reading_marks = Table(
    "reading_marks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

parked_blocks = Table(
    "parked_blocks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("store", String, nullable=False),
    Column("class_name", String, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("sensors", JSON, nullable=False),
    Column("why", Text, nullable=False),
    Column("parked_ms", BigInteger, nullable=False),
    Column("tried_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

projected = Table(
    "projected",
    metadata,
    Column("store", String, primary_key=True),
    Column("series", String, primary_key=True),
    Column("tick", BigInteger, nullable=False),
)


spools = Table(
    "spools",
    metadata,
    Column("store", String, primary_key=True),
    Column("spool", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("oldest_ms", BigInteger, nullable=False),
    Column("problem", Text),
)


class Backlog(NamedTuple):
    """What the host of some logs has last said of what waits in them.

    Attributes:
        oldest_ms: when the first of it was committed (wall time).
        problem: why nothing moves on, None if it does.
    """

    host: str
    rows: int
    bytes: int
    oldest_ms: int
    problem: str | None


class Totals(NamedTuple):
    """What has been forwarded so far: readings (resends and late ones among them), batches, late readings."""

    rows: int
    batches: int
    late: int


class Marked(NamedTuple):
    """Per source the earliest and the latest time of what is new, and the number of the last mark."""

    source: NDArray[Any]  # [m] object array of names, each once, sorted
    earliest_ms: NDArray[np.int64]  # [m]
    latest_ms: NDArray[np.int64]  # [m]
    number: int


class Parked(NamedTuple):
    """Readings that the store failed on again and again, while others went through."""

    number: int
    class_name: str
    late: bool
    readings: Readings
    why: str
    tried_ms: int


def forward_cursor(connection: Connection, store: str, spool: str) -> str:
    """Up to where a store has what the logs of a folder hold; "" before the first block."""
    found = connection.execute(select(forward_cursors.c.cursor).where(_way(store, spool))).scalar()
    return found or ""


def store_forward_cursor(connection: Connection, store: str, spool: str, cursor: str) -> None:
    if not connection.execute(update(forward_cursors).where(_way(store, spool)).values(cursor=cursor)).rowcount:
        connection.execute(insert(forward_cursors).values(store=f"{spool} to {store}", cursor=cursor))


def other_hosts_forward(connection: Connection, store: str, spool: str) -> bool:
    """Whether a store gets readings from other logs than these, too."""
    others = forward_cursors.c.store.endswith(f" to {store}", autoescape=True) & ~_way(store, spool)
    return connection.execute(select(forward_cursors.c.store).where(others).limit(1)).first() is not None


def tell_backlog(connection: Connection, store: str, spool: str, backlog: Backlog) -> None:
    """Say what waits in the logs of a host."""
    ours = update(spools).where(spools.c.store == store, spools.c.spool == spool)
    if not connection.execute(ours.values(**backlog._asdict())).rowcount:
        connection.execute(insert(spools).values(store=store, spool=spool, **backlog._asdict()))


def backlogs_elsewhere(connection: Connection, store: str, spool: str) -> list[Backlog]:
    """What waits in other logs than these."""
    columns = (spools.c[name] for name in Backlog._fields)
    others = select(*columns).where(spools.c.store == store, spools.c.spool != spool, spools.c.rows > 0)
    return [Backlog(*row) for row in connection.execute(others.order_by(spools.c.host))]


def _way(store: str, spool: str) -> ColumnElement[bool]:
    """The row of one folder of logs and the store that they are forwarded to."""
    return forward_cursors.c.store == f"{spool} to {store}"


def projected_ticks(connection: Connection, store: str) -> dict[str, int]:
    """The last tick of which a store has each series of projections."""
    of_store = select(projected.c.series, projected.c.tick).where(projected.c.store == store)
    return {row.series: row.tick for row in connection.execute(of_store)}


def store_projected(connection: Connection, store: str, series: str, tick: int) -> None:
    of_series = update(projected).where(projected.c.store == store, projected.c.series == series)
    if not connection.execute(of_series.values(tick=tick)).rowcount:
        connection.execute(insert(projected).values(store=store, series=series, tick=tick))


def note_forwarded(
    connection: Connection, store: str, class_name: str, readings: Readings, *, batches: int, late: bool
) -> None:
    """Count readings of so many batches, and mark what is new in them; late ones are counted alone."""
    of_class = (forwarded.c.store == store) & (forwarded.c.class_name == class_name)
    row = connection.execute(select(forwarded).where(of_class)).first()
    known = [] if row is None else row.sensors
    before = Totals(0, 0, 0) if row is None else Totals(row.rows, row.batches, row.late)
    count = len(readings)
    values = {
        "sensors": list(dict.fromkeys([*known, *readings.sensors])),
        "rows": before.rows + count,
        "batches": before.batches + (0 if late else batches),
        "late": before.late + (count if late else 0),
    }
    if row is None:
        connection.execute(insert(forwarded).values(store=store, class_name=class_name, **values))
    else:
        connection.execute(update(forwarded).where(of_class).values(**values))
    if not late:
        mark_readings(connection, class_name, readings)


def mark_readings(connection: Connection, class_name: str, readings: Readings) -> None:
    """Mark readings as new in the store."""
    new = Marked(readings.source, readings.time_ms, readings.time_ms, next_number(connection, _COUNTER))
    _add_mark(connection, class_name, _spans([new]))
    _draw_together(connection, class_name)


def marked_after(connection: Connection, class_name: str, number: int) -> Marked:
    """What is new for a class after a mark."""
    # a mark is there once its number is, both being of one transaction
    last = last_mark(connection)
    after = (reading_marks.c.class_name == class_name) & (reading_marks.c.number > number)
    spans = [_opened(row) for row in connection.execute(select(reading_marks).where(after))]
    return _spans(spans)._replace(number=max(last, number))


def next_mark(connection: Connection, class_name: str, number: int) -> Marked | None:
    """The first mark of a class after another one."""
    after = (reading_marks.c.class_name == class_name) & (reading_marks.c.number > number)
    row = connection.execute(select(reading_marks).where(after).order_by(reading_marks.c.number).limit(1)).first()
    return None if row is None else _opened(row)


def last_mark(connection: Connection) -> int:
    """The number of the last mark of all classes, 0 before the first."""
    return last_number(connection, _COUNTER)


def sensors_forwarded(connection: Connection, store: str, class_name: str) -> tuple[str, ...]:
    """Every sensor that a class has had, in the order in which they appeared."""
    of_class = (forwarded.c.store == store) & (forwarded.c.class_name == class_name)
    return tuple(connection.execute(select(forwarded.c.sensors).where(of_class)).scalar() or ())


def totals_forwarded(connection: Connection, store: str) -> Totals:
    """Totals over all classes."""
    sums = (func.sum(column) for column in (forwarded.c.rows, forwarded.c.batches, forwarded.c.late))
    row = connection.execute(select(*sums).where(forwarded.c.store == store)).one()
    return Totals(*(int(value or 0) for value in row))


def park(
    connection: Connection, store: str, class_name: str, readings: Readings, *, late: bool, why: str, now_ms: int
) -> None:
    """Put readings aside."""
    connection.execute(
        insert(parked_blocks).values(
            number=next_number(connection, "parked_block"),
            store=store,
            class_name=class_name,
            late=late,
            why=why,
            parked_ms=now_ms,
            tried_ms=now_ms,
            **_packed(readings),
        )
    )


def parked_count(connection: Connection, store: str) -> int:
    """How many blocks are parked."""
    query = select(func.count()).select_from(parked_blocks).where(parked_blocks.c.store == store)
    return int(connection.execute(query).scalar_one())


def parked(connection: Connection, store: str) -> list[Parked]:
    """What is parked, the oldest first."""
    query = select(parked_blocks).where(parked_blocks.c.store == store).order_by(parked_blocks.c.number)
    found = []
    for row in connection.execute(query):
        columns = unpack(verified(row.body, row.crc, f"parked block {row.number}"))
        readings = Readings(tuple(row.sensors), **columns)
        found.append(Parked(row.number, row.class_name, row.late, readings, row.why, row.tried_ms))
    return found


def park_again(connection: Connection, number: int, why: str, now_ms: int) -> None:
    """Note that another try has failed."""
    connection.execute(update(parked_blocks).where(parked_blocks.c.number == number).values(why=why, tried_ms=now_ms))


def unpark(connection: Connection, number: int) -> None:
    connection.execute(delete(parked_blocks).where(parked_blocks.c.number == number))


def lay_over_parked(connection: Connection, store: str, class_name: str, readings: Readings, *, late: bool) -> None:
    """Let values that came later win over parked ones of the same key, whichever the store gets first."""
    for aside in parked(connection, store):
        if (aside.class_name, aside.late) != (class_name, late):
            continue
        keys = set(_keys(aside.readings))
        same = np.array([key in keys for key in _keys(readings)], dtype=bool)
        if same.any():
            made = merge(concatenate([aside.readings, readings.take(same)]))
            of_block = update(parked_blocks).where(parked_blocks.c.number == aside.number)
            connection.execute(of_block.values(**_packed(made)))


def _keys(readings: Readings) -> list[tuple[str, int]]:
    return list(zip(readings.source.tolist(), readings.time_ms.tolist(), strict=True))


def _packed(readings: Readings) -> dict[str, object]:
    columns = {name: getattr(readings, name) for name in ("source", "time_ms", "values", "flags")}
    body = pack(columns)
    return {"sensors": list(readings.sensors), "body": body, "crc": checksum(body)}


def _spans(parts: Sequence[Marked]) -> Marked:
    """Per source the earliest and the latest of all parts."""
    if not parts:
        nothing = np.empty(0, dtype=np.int64)
        return Marked(np.empty(0, dtype=object), nothing, nothing, 0)
    names, group = np.unique(np.concatenate([part.source for part in parts]).astype(str), return_inverse=True)
    bounds = np.iinfo(np.int64)
    earliest, latest = np.full(len(names), bounds.max), np.full(len(names), bounds.min)
    np.minimum.at(earliest, group, np.concatenate([part.earliest_ms for part in parts]))
    np.maximum.at(latest, group, np.concatenate([part.latest_ms for part in parts]))
    return Marked(names.astype(object), earliest, latest, parts[-1].number)


def _add_mark(connection: Connection, class_name: str, mark: Marked) -> None:
    body = pack({"source": mark.source, "earliest_ms": mark.earliest_ms, "latest_ms": mark.latest_ms})
    row = {"number": mark.number, "class_name": class_name, "body": body, "crc": checksum(body)}
    connection.execute(insert(reading_marks).values(**row))


def _opened(row: Any) -> Marked:
    return Marked(**unpack(verified(row.body, row.crc, f"reading mark {row.number}")), number=row.number)


def _draw_together(connection: Connection, class_name: str) -> None:
    """Make one mark of those that the ticks of a class have seen, once there are many."""
    seen = connection.execute(select(cursors.c.readings).where(cursors.c.class_name == class_name)).scalar() or ""
    if not seen.isdigit():
        return
    old = (reading_marks.c.class_name == class_name) & (reading_marks.c.number <= int(seen))
    if connection.execute(select(func.count()).select_from(reading_marks).where(old)).scalar_one() <= MOST_MARKS:
        return
    rows = connection.execute(select(reading_marks).where(old).order_by(reading_marks.c.number)).all()
    connection.execute(delete(reading_marks).where(old))
    _add_mark(connection, class_name, _spans([_opened(row) for row in rows]))
