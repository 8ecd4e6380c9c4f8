"""Readings as lines that InfluxDB takes, a block encoded in one go."""

import numpy as np
import orjson

from pdm.adapters.influx.names import FLAGS, SOURCE, field, in_line, measurement, unwritable
from pdm.adapters.influx.server import InfluxServer
from pdm.errors import RefusedWriteError
from pdm.ports import SpoolPart
from pdm.readings import Readings


class InfluxPoints:
    """The writing side of a bucket (`PointStore`)."""

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


def lines(class_name: str, late: bool, readings: Readings) -> bytes:
    """One line a reading. What is no finite number is left out: one such value would cost the whole block.

    Raises:
        RefusedWriteError: a source has a name that cannot be written.
    """
    prefix = {source: _prefix(class_name, late, source) for source in set(readings.source.tolist())}
    names = [in_line(field(sensor)) for sensor in readings.sensors] + [FLAGS]
    values = np.column_stack([readings.values, readings.flags])
    rows = values.tolist()
    if np.isfinite(values).all():
        fields = [dict(zip(names, row, strict=True)) for row in rows]
    else:
        known = np.isfinite(values).tolist()
        fields = [
            {name: value for name, value, there in zip(names, row, is_known, strict=True) if there}
            for row, is_known in zip(rows, known, strict=True)
        ]
    # JSON of numbers by name is what a line wants, but for quotes and colons: `{"a":1.5,"b":2.0}` to `a=1.5,b=2.0`
    encoded = orjson.dumps(fields)[2:-2].replace(b'":', b"=").replace(b'"', b"").decode().split("},{")
    made = zip(readings.source.tolist(), encoded, readings.time_ms.tolist(), strict=True)
    return "\n".join([f"{prefix[source]} {text} {time_ms}" for source, text, time_ms in made]).encode()


def _prefix(class_name: str, late: bool, source: str) -> str:
    if (why := unwritable(source)) is not None:
        raise RefusedWriteError("unwritable_name", why)
    return f"{in_line(measurement(class_name, late))},{SOURCE}={in_line(source)}"
