"""The reading side: what is new from the marks of the forwarder, readings by InfluxQL."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv
from sqlalchemy import Engine

from pdm.adapters.influx.names import FLAGS, SOURCE, any_of, choices, field, identifier, instant, measurement
from pdm.adapters.influx.server import InfluxServer
from pdm.adapters.reading_log.spool import Spool
from pdm.errors import StoreError
from pdm.ports import Changes, StoreCounts, StoredDeadLetter, Tail
from pdm.readings import Readings, arrange
from pdm.state.forwarding import forward_cursor, last_mark, marked_after, sensors_forwarded, totals_forwarded
from pdm.state.schema import read

BEHIND_MS = 60_000
"""What waits in the logs for longer keeps ticks waiting too: they would take for a gap what is only on its way."""


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
        """The next readings that arrived for a class since `cursor`, about `limit` at most; from the logs."""
        _, of_tail, position = cursor.partition(_AND_TAIL)
        return self._spool.tail(class_name, position if of_tail else cursor, limit)

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
    stretch = f"time >= {instant(start_ms)} AND time < {instant(end_ms)}"
    tag, of_class = f"{identifier(SOURCE)}::tag", identifier(measurement(class_name, late=False))
    return f"SELECT {columns}, {tag} FROM {of_class} WHERE {stretch} AND {tag} =~ {any_of(sources)}"  # noqa: S608 - quoted


def _parsed(rows: bytes, sensors: Sequence[str]) -> tuple[Readings, NDArray[np.int64], list[str]]:
    """Readings from CSV in the columns of `_selection`; for each row the number of its source, and their names."""
    if not rows:
        return Readings.empty(sensors), np.empty(0, dtype=np.int64), []
    numbers = [str(i) for i in range(len(sensors))]
    types: dict[str, Any] = dict.fromkeys([*numbers, FLAGS], pa.float64())
    types |= {"time": pa.int64(), SOURCE: pa.dictionary(pa.int32(), pa.string())}
    try:
        table = csv.read_csv(
            pa.BufferReader(rows),
            csv.ReadOptions(column_names=["name", "tags", "time", *numbers, FLAGS, SOURCE], skip_rows=1),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[""]),
        ).combine_chunks()
    except pa.ArrowInvalid as error:
        raise StoreError(f"an answer of InfluxDB cannot be read: {error}") from None
    source = table.column(SOURCE).unify_dictionaries().combine_chunks()
    number = np.asarray(source.indices, dtype=np.int64)
    names = source.dictionary.to_pylist()
    values = np.empty((len(number), len(sensors)))
    for column, name in enumerate(numbers):
        values[:, column] = table.column(name).to_numpy()
    flags = np.nan_to_num(table.column(FLAGS).to_numpy()).astype(np.uint8)
    return Readings(tuple(sensors), source, table.column("time").to_numpy(), values, flags), number, names
