"""A compacted file: the readings of one class on one day (UTC), sorted by source and then by time, as Parquet.

Columns: `source`, `time` (UTC), one for each sensor (null where it said nothing), `_flags` (`ArrivalFlag`), and `_run`,
the compaction that changed the row last. A row group holds whole sources, so that one machine is read without the rest.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from pdm import durable
from pdm.errors import DamagedRecordError
from pdm.readings import Readings

GROUP_ROWS = 16_384
"""A row group ends with the source that reaches this."""

_FEW_VALUES = 0.5
_CHUNK_BYTES = 1 << 20
_TIME = pa.timestamp("ms", tz="UTC")


class Rows(NamedTuple):
    """Rows of a file in the order of source and time.

    Attributes:
        names: `[s]` object array of source names.
        readings: `[n]` rows whose `source` holds positions in `names`.
        run: `[n]` int32, the compaction that changed a row last.
    """

    names: NDArray[Any]
    readings: Readings
    run: NDArray[np.int32]

    def take(self, rows: NDArray[Any]) -> "Rows":
        """These rows (indices)."""
        return Rows(self.names, self.readings.take(rows), self.run[rows])

    def named(self) -> Readings:
        """The readings with the names of their sources."""
        return replace(self.readings, source=self.names[self.readings.source])


class DayFileWriter:
    """Writes one file under a name that no reader looks for; `finish` puts it into its place."""

    def __init__(self, path: Path, sensors: Sequence[str]) -> None:
        self._path = path
        self._sensors = tuple(sensors)
        self._columns = _column_names(sensors)
        self._writer: Any = None

    def write(self, rows: Rows) -> None:
        """Add rows, all of them behind those before."""
        for part in _groups(rows):
            table = self._table(part)
            if self._writer is None:
                self._writer = self._open(table.schema, part.readings.values)
            self._writer.write_table(table, row_group_size=len(table))

    def finish(self) -> int:
        """Put the file into its place, so that it survives a crash from now on; returns its CRC-32."""
        self._writer.close()
        temporary = temporary_name(self._path)
        durable.sync(temporary)
        crc = file_crc(temporary)
        temporary.rename(self._path)
        durable.sync(self._path.parent)
        return crc

    def _open(self, schema: Any, values: NDArray[np.float64]) -> Any:
        # sensors report in steps (0.01 K), so few values come again and again: a dictionary of them takes a third of
        # what byte streams take; of numbers that hardly repeat it takes half as much again
        repeating = [name for name, column in zip(self._columns, values.T, strict=True) if _repeats(column)]
        streams = [name for name in self._columns if name not in repeating]
        return parquet.ParquetWriter(
            temporary_name(self._path),
            schema,
            compression="zstd",
            use_dictionary=["source", "_flags", "_run", *repeating],
            use_byte_stream_split=streams or False,
            column_encoding={"time": "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        )

    def _table(self, rows: Rows) -> Any:
        readings = rows.readings
        number, source = np.unique(readings.source, return_inverse=True)
        names = pa.array(rows.names[number], pa.string())
        columns = {
            "source": pa.DictionaryArray.from_arrays(source, names).cast(pa.string()),
            "time": pa.array(readings.time_ms).cast(_TIME),
            **{
                name: pa.array(np.ascontiguousarray(column), from_pandas=True)
                for name, column in zip(self._columns, readings.values.T, strict=True)
            },
            "_flags": pa.array(readings.flags),
            "_run": pa.array(rows.run),
        }
        return pa.table(columns)


class DayFile:
    """A file as its readers see it: opened anew for each read, so that none stands in the way of its removal."""

    def __init__(self, path: Path, sensors: tuple[str, ...], crc: int) -> None:
        """Check the whole file once.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedRecordError: it is not what was written.
        """
        self._path = path
        self._sensors = sensors
        if file_crc(path) != crc:
            raise DamagedRecordError(f"{path.name} fails its checksum: the stored bytes are damaged")
        with _damage(path), parquet.ParquetFile(path) as file:
            self._metadata = file.metadata
        bounds = [self._metadata.row_group(i).column(0).statistics for i in range(self._metadata.num_row_groups)]
        self._first = [one.min for one in bounds]
        self._last = [one.max for one in bounds]

    def groups(self, source: str = "") -> range:
        """The numbers of the row groups that hold this source or later ones, in the order of their sources."""
        return range(bisect_left(self._last, source), len(self._last))

    def groups_of(self, sources: Sequence[str]) -> list[int]:
        """Row groups that may hold one of these sources, which are sorted."""
        at = np.searchsorted(np.array(sources, dtype=object), np.array(self._first, dtype=object))
        return [i for i, place in enumerate(at.tolist()) if place < len(sources) and sources[place] <= self._last[i]]

    def read(self, group: int, *, values: bool = True) -> Rows:
        """One row group; without `values` its sensors are left out.

        Raises:
            FileNotFoundError, DamagedRecordError: as when it was opened.
        """
        ours = ["source", "time", "_flags", "_run"]
        with _damage(self._path), self._open() as file:
            table = file.read_row_group(group, columns=None if values else ours).combine_chunks()
        source, time_ms, flags, run = (table.column(name) for name in ours)
        sensors = table.columns[2:-2]
        width = len(sensors)
        found = np.empty((len(table), width))
        for j, sensor in enumerate(sensors):
            found[:, j] = sensor.to_numpy()
        names = np.array(source.chunk(0).dictionary.to_pylist(), dtype=object)
        readings = Readings(
            self._sensors[:width],
            source.chunk(0).indices.to_numpy().astype(np.int32),
            time_ms.cast(pa.int64()).to_numpy(),
            found,
            flags.to_numpy(),
        )
        return Rows(names, readings, run.to_numpy())

    def _open(self) -> Any:
        return parquet.ParquetFile(
            self._path, metadata=self._metadata, read_dictionary=["source"], page_checksum_verification=True
        )


def temporary_name(path: Path) -> Path:
    """What a file is called until it is whole."""
    return path.with_name(f".{path.name}.new")


def file_crc(path: Path) -> int:
    """CRC-32 of the bytes of a file."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _groups(rows: Rows) -> Iterator[Rows]:
    """Whole sources, about `GROUP_ROWS` at a time."""
    readings = rows.readings
    ends = np.append(np.flatnonzero(np.diff(readings.source)) + 1, len(readings))
    start = 0
    while start < len(readings):
        at = int(np.searchsorted(ends, start + GROUP_ROWS))
        end = int(ends[min(at, len(ends) - 1)])
        yield rows.take(np.arange(start, end))
        start = end


def _repeats(column: NDArray[np.float64]) -> bool:
    return len(np.unique(column)) <= max(1, _FEW_VALUES * len(column))


def _column_names(sensors: Sequence[str]) -> list[str]:
    """Columns of the sensors; one that is called as a column of ours gets an underscore behind it."""
    names = ["source", "time", "_flags", "_run"]
    for sensor in sensors:
        name = sensor
        while name in names:
            name += "_"
        names.append(name)
    return names[4:]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Errors of Parquet as damage of a record, naming the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DamagedRecordError(f"{path.name} is damaged: {error}") from error
