"""Readings, twins and prognoses as lines that InfluxDB takes, a block encoded in one go."""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
import orjson
from numpy.typing import NDArray

from pdm.adapters.influx.names import (
    FLAGS,
    SERIAL,
    SOURCE,
    field,
    in_line,
    literal,
    measurement,
    projected,
    unwritable,
)
from pdm.adapters.influx.server import InfluxServer
from pdm.errors import RefusedWriteError
from pdm.ports import Projection, SpoolPart
from pdm.readings import Readings


class InfluxPoints:
    """The writing side of a bucket (`PointStore`, `ProjectionStore`)."""

    def __init__(self, server: InfluxServer):
        self._server = server
        self.name = server.name

    def prepare(self) -> None:
        """Have the bucket there, with its retention."""
        self._server.prepare_bucket()

    def write(self, part: SpoolPart) -> None:
        """Write readings; writing them again changes nothing.

        Raises:
            RefusedWriteError: not all of it can be written, now or later; some of it may have been.
            FailedWriteError: the server failed on it.
            BusyStoreError: it asks to wait.
            StoreError: it does not answer, or refuses us.
        """
        self._server.write(lines(part.class_name, part.late, part.readings))

    def project(self, points: Projection) -> None:
        """Write twins or prognoses; errors as `write`."""
        if made := projected_lines(points):
            self._server.write(made)


def lines(class_name: str, late: bool, readings: Readings) -> bytes:
    """One line a reading.

    Raises:
        RefusedWriteError: a source has a name that cannot be written.
    """
    sources = readings.source.tolist()
    for source in set(sources):
        if (why := unwritable(source)) is not None:
            raise RefusedWriteError("unwritable_name", why)
    names = [*map(field, readings.sensors), FLAGS]
    values = np.column_stack([readings.values, readings.flags])
    return _encoded((measurement(class_name, late), SOURCE), sources, names, values, readings.time_ms)


def projected_lines(points: Projection) -> bytes:
    """One line a point of a machine whose serial can be written."""
    writable = np.array([unwritable(serial) is None for serial in points.serial.tolist()], dtype=bool)
    made = points.take(writable)
    columns = [[f",{in_line(name)}={literal(text)}" for text in texts.tolist()] for name, texts in made.texts.items()]
    told = map("".join, zip(repeat(""), *columns, strict=False))
    series = projected(made.class_name, made.kind), SERIAL
    return _encoded(series, made.serial.tolist(), made.fields, made.values, made.time_ms, told)


def _encoded(
    series: tuple[str, str],
    tags: Sequence[str],
    names: Sequence[str],
    values: NDArray[np.float64],
    time_ms: NDArray[np.int64],
    texts: Iterable[str] = repeat(""),
) -> bytes:
    """Lines of one measurement and tag. What is no finite number is left out: one such would cost the whole block.

    Args:
        tags, values, time_ms: `[n]`, `[n, k]` and `[n]`; some value of each row is finite.
        texts: what stands behind the values of each row.
    """
    if not len(tags):
        return b""
    head = f"{in_line(series[0])},{series[1]}="
    prefix = {tag: head + in_line(tag) for tag in set(tags)}
    written = [in_line(name) for name in names]
    whole = f"%s {','.join(name.replace('%', '%%') + '=%s' for name in written)}%s %s"
    # one call for all numbers: `[[1.5,2.0],[null,3.0]]`, null for what is not finite
    encoded = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    rows = map(str.split, encoded[2:-2].decode().split("],["), repeat(","))
    gaps = np.any(~np.isfinite(values), axis=1).tolist()
    made = zip(tags, rows, gaps, texts, time_ms.tolist(), strict=False)
    return "\n".join(
        [
            f"{prefix[tag]} {_known(written, row)}{told} {at}" if gap else whole % (prefix[tag], *row, told, at)
            for tag, row, gap, told, at in made
        ]
    ).encode()


def _known(names: Sequence[str], row: Sequence[str]) -> str:
    """The fields of a row with gaps."""
    return ",".join([f"{name}={value}" for name, value in zip(names, row, strict=True) if value != "null"])
