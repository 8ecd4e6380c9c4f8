"""The rows of the state database as Arrow streams and back: the same bytes from every kind of database.

JSON travels as the text that is stored, so that nothing is rounded and nothing that is null becomes missing.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
from sqlalchemy import JSON, Connection, Table, cast, column, insert, select, table
from sqlalchemy.types import Boolean, Float, Integer, LargeBinary, String, Text, TypeEngine

from pdm.errors import DamagedRecordError

_ROWS = 1_000
_LARGE_ROWS = 10  # those of the tables with packed blocks, which may be many megabytes each

_ARROW_TYPES: tuple[tuple[type, pa.DataType], ...] = (
    (Integer, pa.int64()),
    (Float, pa.float64()),
    (Boolean, pa.bool_()),
    (LargeBinary, pa.binary()),
    (JSON, pa.large_string()),
    (String, pa.large_string()),
)


def dump(connection: Connection, which: Table, file: BinaryIO) -> int:
    """Write the rows of a table as they are in the transaction of the connection; returns how many."""
    schema = pa.schema([(c.name, _arrow_type(c.type)) for c in which.c])
    as_stored = (cast(c, Text).label(c.name) if isinstance(c.type, JSON) else c for c in which.c)
    query = select(*as_stored).order_by(*which.primary_key)
    large = any(isinstance(c.type, LargeBinary) for c in which.c)
    streamed = connection.execute(query.execution_options(yield_per=_LARGE_ROWS if large else _ROWS))
    count = 0
    with pa.ipc.new_stream(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for rows in streamed.partitions():
            named = [dict(row._mapping) for row in rows]
            writer.write_batch(pa.RecordBatch.from_pylist(named, schema))
            count += len(rows)
    return count


def load(connection: Connection, name: str, file: BinaryIO) -> int:
    """Add the rows that `dump` wrote to a table; returns how many.

    Raises:
        DamagedRecordError: the file is none that `dump` wrote.
    """
    count = 0
    for batch in _batches(name, file):
        # columns without a type: the database takes text as JSON, SQLAlchemy would make it a JSON string first
        rows = table(name, *map(column, batch.schema.names))
        connection.execute(insert(rows), batch.to_pylist())
        count += batch.num_rows
    return count


def _batches(name: str, file: BinaryIO) -> Iterator[pa.RecordBatch]:
    try:
        with pa.ipc.open_stream(file) as reader:
            yield from (batch for batch in reader if batch.num_rows)
    except pa.ArrowInvalid as error:
        raise DamagedRecordError(f"the rows of {name} cannot be read: {error}") from error


def _arrow_type(type_: TypeEngine[Any]) -> pa.DataType:
    return next(arrow for kind, arrow in _ARROW_TYPES if isinstance(type_, kind))
