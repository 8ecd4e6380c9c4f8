"""The reading side: what is new from the marks of the forwarder, readings by InfluxQL."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv
from sqlalchemy import Engine

from pdm.adapters.influx.names import FLAGS, SOURCE, any_of, choices, field, identifier, instant, measurement, number
from pdm.adapters.influx.server import InfluxServer
from pdm.adapters.reading_log.spool import Spool
from pdm.errors import StoreError
from pdm.plant import Sensor
from pdm.ports import Changes, StoreCounts, StoredDeadLetter, Tail
from pdm.readings import Downsampled, Readings, arrange, concatenate, downsampled
from pdm.state.forwarding import (
    forward_cursor,
    last_mark,
    marked_after,
    next_mark,
    other_hosts_forward,
    parked_count,
    sensors_forwarded,
    totals_forwarded,
)
from pdm.state.schema import read

BEHIND_MS = 60_000
"""What waits in the logs for longer keeps ticks waiting too: they would take for a gap what is only on its way."""


_TAG = f"{identifier(SOURCE)}::tag"
_TAKEN = ("count", "mean", "min", "max")

_AND_TAIL = " and "  # between the two halves of a cursor for `changes` and for `tail`


class InfluxReadings:
    """A `ReadingStore` on a bucket. Threads may share it."""

    def __init__(self, server: InfluxServer, engine: Engine, spool: Spool):
        self._server = server
        self._engine = engine
        self._spool = spool

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What the forwarder has noted for a class since `cursor` ("" is the beginning).

        Raises:
            StoreError: readings that came longer ago than `BEHIND_MS` are not in the store yet.
        """
        with read(self._engine) as connection:
            position = forward_cursor(connection, self._server.name, self._spool.name)
            marked = marked_after(connection, class_name, _mark_of(cursor))
        waiting = self._spool.waiting(position)
        if waiting.rows and time.time() * 1000 - waiting.oldest_ms > BEHIND_MS:
            raise StoreError(f"InfluxDB is behind: {waiting.rows:,} readings wait in the logs until it takes them")
        return Changes(marked.source, marked.earliest_ms, marked.latest_ms, str(marked.number))

    def tail(self, class_name: str, cursor: str, limit: int = 100_000) -> Tail:
        """The next readings that arrived for a class since `cursor`, about `limit` at most: from the logs and, where
        other hosts have some, too, what they have forwarded. It may come twice."""
        number, _, position = cursor.partition(_AND_TAIL)
        found = self._spool.tail(class_name, position, limit)
        readings, mark = found.readings, _mark_of(number)
        if not len(readings):
            readings, mark = self._from_other_hosts(class_name, mark, limit)
        return Tail(readings, f"{mark}{_AND_TAIL}{found.cursor}")

    def _from_other_hosts(self, class_name: str, number: int, limit: int) -> tuple[Readings, int]:
        """About `limit` of the readings that were marked after a mark, and the number of the last mark among them."""
        found = list[Readings]()
        while sum(map(len, found)) < limit:
            with read(self._engine) as connection:
                shared = other_hosts_forward(connection, self._server.name, self._spool.name)
                marked = next_mark(connection, class_name, number) if shared else None
            if marked is None:
                break
            first, last = int(marked.earliest_ms.min()), int(marked.latest_ms.max())
            found.append(self.window(class_name, marked.source.tolist(), first, last + 1))
            number = marked.number
        return concatenate(found), number

    def latest_cursor(self) -> str:
        """The cursor after everything that has arrived: to follow from now on, by `changes` or by `tail`."""
        with read(self._engine) as connection:
            return f"{last_mark(connection)}{_AND_TAIL}{self._spool.latest_cursor()}"

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        with read(self._engine) as connection:
            sensors = sensors_forwarded(connection, self._server.name, class_name)
        position = {name: i for i, name in enumerate(sources)}
        parts, places = [], []
        for chosen in choices(sources) if sensors else ():
            statement = _selection(class_name, sensors, chosen, start_ms, end_ms)
            part, number, names = _parsed(self._server.query(statement), sensors)
            places.append(np.array([position.get(name, -1) for name in names], dtype=np.int64)[number])
            parts.append(part)
        return arrange(parts, places, sources, sensors, start_ms, end_ms)

    def downsampled(
        self, class_name: str, source: str, sensors: Sequence[Sensor], start_ms: int, end_ms: int, every_ms: int
    ) -> Downsampled:
        """What these sensors of a source said, over stretches of `every_ms`; the server takes them together."""
        of_time = _stretch(start_ms, end_ms, [source])
        parts = [_means(class_name, column, sensor, of_time, every_ms) for column, sensor in enumerate(sensors)]
        return _parsed_means(self._server.query("; ".join(parts)) if parts else b"", len(sensors))

    def delete(self, class_name: str, source: str, start_ms: int, end_ms: int) -> int:
        """Delete the readings of a source with start <= time < end, late ones too; returns how many there were.

        Raises:
            StoreError: readings wait in the logs, which would come after it.
        """
        with read(self._engine) as connection:
            position = forward_cursor(connection, self._server.name, self._spool.name)
            parked = parked_count(connection, self._server.name)
        if (waiting := self._spool.waiting(position).rows) or parked:
            raise StoreError(f"{waiting:,} readings and {parked} parked blocks wait for InfluxDB: delete after them")
        where = _stretch(start_ms, end_ms, [source])
        counted = [self._server.query(_count(class_name, late, where)) for late in (False, True)]
        self._server.delete(class_name, source, start_ms, end_ms)
        return sum(int(rows.rsplit(b",", 1)[1]) for rows in counted if rows)

    def counts(self) -> StoreCounts:
        """What has been forwarded, and the dead letters of the logs."""
        with read(self._engine) as connection:
            forwarded = totals_forwarded(connection, self._server.name)
        logs = self._spool.counts()
        return StoreCounts(
            readings=forwarded.rows,
            dead_letters=logs.dead_letters,
            batches=forwarded.batches,
            late=forwarded.late,
            dead_letters_dropped=logs.dead_letters_dropped,
            sessions_lost=logs.sessions_lost,
            damaged=logs.damaged,
        )

    def dead_letters(
        self, limit: int = 100, reason: str | None = None, after: tuple[int, str] | None = None
    ) -> list[StoredDeadLetter]:
        """Newest first."""
        return self._spool.dead_letters(limit, reason, after)

    def close(self) -> None:
        """Let go of the server and of the logs."""
        self._server.close()
        self._spool.close()


def _mark_of(cursor: str) -> int:
    """The mark of a cursor. That of another store is of no use here: everything is new."""
    number = cursor.partition(_AND_TAIL)[0]
    return int(number) if number.isdigit() else 0


def _selection(class_name: str, sensors: Sequence[str], sources: Sequence[str], start_ms: int, end_ms: int) -> str:
    """The query for readings of some sources, one row a reading."""
    columns = ", ".join(identifier(name) for name in [*map(field, sensors), FLAGS])
    of_class = identifier(measurement(class_name, late=False))
    return f"SELECT {columns}, {_TAG} FROM {of_class} WHERE {_stretch(start_ms, end_ms, sources)}"  # noqa: S608 - quoted


def _stretch(start_ms: int, end_ms: int, sources: Sequence[str]) -> str:
    return f"time >= {instant(start_ms)} AND time < {instant(end_ms)} AND {_TAG} =~ {any_of(sources)}"


def _count(class_name: str, late: bool, where: str) -> str:
    """The query for how many readings there are: each has its flags."""
    return f'SELECT count("{FLAGS}") FROM {identifier(measurement(class_name, late))} WHERE {where}'  # noqa: S608 - quoted


def _means(class_name: str, column: int, sensor: Sensor, of_time: str, every_ms: int) -> str:
    """The query for what one sensor said over stretches of time, in columns that carry its number."""
    value = identifier(field(sensor.name))
    columns = ", ".join(f'{function}({value}) AS "{function}{column}"' for function in _TAKEN)
    bounds = [
        f"{value} {sign} {number(bound)}"
        for sign, bound in ((">=", sensor.low), ("<=", sensor.high))
        if bound is not None
    ]
    where = " AND ".join([of_time, *bounds])
    of_class = identifier(measurement(class_name, late=False))
    return f"SELECT {columns} FROM {of_class} WHERE {where} GROUP BY time({every_ms}ms) fill(none)"  # noqa: S608 - quoted


def _parsed_means(answer: bytes, width: int) -> Downsampled:
    """Stretches from the CSV of several `_means`, those without an answer left out by the server."""
    found = dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]]()
    for rows in answer.split(b"\n\n") if answer else ():
        head = rows.partition(b"\n")[0].decode().split(",")
        column = int(head[3].removeprefix(_TAKEN[0]))
        types = dict.fromkeys(head[3:], pa.float64()) | {"time": pa.int64()}
        table = _table(rows, csv.ReadOptions(), types)
        values = np.column_stack([table.column(name).to_numpy() for name in head[3:]])
        found[column] = table.column("time").to_numpy(), values
    time_ms = np.unique(np.concatenate([at for at, _ in found.values()] or [np.empty(0, dtype=np.int64)]))
    taken = np.zeros((len(_TAKEN), len(time_ms), width))
    for column, (at, values) in found.items():
        taken[:, np.searchsorted(time_ms, at), column] = values.T
    counts, mean, low, high = taken
    return downsampled(time_ms, counts, mean * counts, low, high)


def _parsed(rows: bytes, sensors: Sequence[str]) -> tuple[Readings, NDArray[np.int64], list[str]]:
    """Readings from CSV in the columns of `_selection`; for each row the number of its source, and their names."""
    if not rows:
        return Readings.empty(sensors), np.empty(0, dtype=np.int64), []
    numbers = [str(i) for i in range(len(sensors))]
    types: dict[str, Any] = dict.fromkeys([*numbers, FLAGS], pa.float64())
    types |= {"time": pa.int64(), SOURCE: pa.dictionary(pa.int32(), pa.string())}
    names = ["name", "tags", "time", *numbers, FLAGS, SOURCE]
    table = _table(rows, csv.ReadOptions(column_names=names, skip_rows=1), types)
    source = table.column(SOURCE).unify_dictionaries().combine_chunks()
    number = np.asarray(source.indices, dtype=np.int64)
    names = source.dictionary.to_pylist()
    values = np.empty((len(number), len(sensors)))
    for column, name in enumerate(numbers):
        values[:, column] = table.column(name).to_numpy()
    flags = np.nan_to_num(table.column(FLAGS).to_numpy()).astype(np.uint8)
    return Readings(tuple(sensors), source, table.column("time").to_numpy(), values, flags), number, names


def _table(rows: bytes, form: Any, types: dict[str, Any]) -> Any:
    """These columns of CSV."""
    convert = csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[""])
    try:
        return csv.read_csv(pa.BufferReader(rows), form, convert_options=convert).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise StoreError(f"an answer of InfluxDB cannot be read: {error}") from None
