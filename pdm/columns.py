"""Columns of a cohort as bytes and back: Arrow IPC of named numpy arrays, with a checksum.

Every stored block of the service (reading batches, steps, checkpoints, beliefs) has this form, so that pyarrow, pandas
and DuckDB can open what we keep.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pdm.errors import DamagedRecordError

Columns = dict[str, NDArray[Any]]


def pack(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Write equally long columns; a 2-D array `[rows, width]` becomes one fixed-size list a row."""
    return bytes(packed(columns).to_pybytes())


def packed(columns: Mapping[str, NDArray[Any]]) -> Any:
    """The same as an Arrow buffer, which spares large columns a copy."""
    arrays = {name: _to_arrow(np.asarray(values)) for name, values in columns.items()}
    batch = pa.record_batch(list(arrays.values()), names=list(arrays))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def unpack(body: bytes) -> Columns:
    """Read what `pack` wrote. Text comes back as object arrays of str, numbers in their own type (read-only)."""
    with pa.ipc.open_stream(body) as reader:
        batch = reader.read_next_batch()
    return {name: _to_numpy(batch.column(i)) for i, name in enumerate(batch.schema.names)}


def named_columns(
    values: NDArray[Any], names: Sequence[str], wanted: Sequence[str], missing: float = np.nan
) -> NDArray[Any]:
    """The columns `wanted` of values `[rows, len(names)]` stored under other names or in another order."""
    made = np.full((len(values), len(wanted)), missing, dtype=values.dtype)
    for column, name in enumerate(wanted):
        if name in names:
            made[:, column] = values[:, names.index(name)]
    return made


def checksum(body: bytes) -> int:
    """CRC-32 of a body, stored beside it."""
    return zlib.crc32(body)


def verified(body: bytes, crc: int, what: str) -> bytes:
    """The body itself, or `DamagedRecordError` naming `what`."""
    if checksum(body) != crc:
        raise DamagedRecordError(f"{what} fails its checksum: the stored bytes are damaged")
    return body


def _to_arrow(values: NDArray[Any]) -> Any:
    if values.ndim == 1:
        return pa.array(values, from_pandas=False)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), from_pandas=False)
    # not FixedSizeListArray.from_arrays, which refuses lists of no width: a class may have no modes, or no rules
    return pa.Array.from_buffers(pa.list_(flat.type, values.shape[1]), len(values), [None], children=[flat])


def _to_numpy(column: Any) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), width)
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
