"""A bucket that others write, read by InfluxQL: what is in it, and its points from time to time. Nothing is written."""

import re
from collections.abc import Sequence
from csv import reader
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pdm.adapters.influx.names import any_of, choices, identifier, in_line, instant
from pdm.adapters.influx.server import InfluxServer
from pdm.errors import StoreError
from pdm.ports import Points, PointsWanted

_COUNTED = re.compile(r"count(_\d+)?")


class InfluxBucket:
    """A `PointSource`. Threads may share it."""

    def __init__(self, server: InfluxServer):
        self._server = server
        self.name = server.name

    def measurements(self) -> list[str]:
        """Their names, sorted."""
        return sorted(set(self._table("SHOW MEASUREMENTS").get("name_1", [])))

    def fields(self, measurement: str) -> dict[str, tuple[str, ...]]:
        """The fields of a measurement, each with its types: one in each shard, `float`, `integer`, `string`, ..."""
        table = self._table(f"SHOW FIELD KEYS FROM {identifier(measurement)}")
        found = dict[str, tuple[str, ...]]()
        for name, kind in zip(table.get("fieldKey", []), table.get("fieldType", []), strict=True):
            found[name] = (*found.get(name, ()), kind)
        return found

    def series(self, measurement: str) -> list[str]:
        """Measurement and tags of each series, as line protocol begins."""
        return self._table(f"SHOW SERIES FROM {identifier(measurement)}").get("key", [])

    def next_ms(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> int | None:
        """The time of the first point with start <= time < end; None if there is none."""
        found = self._table(f"{_selection(wanted, _fields(wanted), start_ms, end_ms)} ORDER BY time ASC LIMIT 1")
        return int(found["time"][0]) if found.get("time") else None

    def count(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> int:
        """How many values there are with start <= time < end."""
        counted = ", ".join(f"count({field})" for field in _fields(wanted).split(", "))
        table = self._table(_selection(wanted, counted, start_ms, end_ms))
        return sum(int(values[0] or 0) for name, values in table.items() if _COUNTED.fullmatch(name) and values)

    def points(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> Points:
        """All of them with start <= time < end, sorted by series and time."""
        rows = self._server.query(f"{_selection(wanted, _fields(wanted), start_ms, end_ms)} GROUP BY *")
        return _points(rows, wanted)

    def close(self) -> None:
        """Let go of the server."""
        self._server.close()

    def _table(self, statement: str) -> dict[str, list[str]]:
        """An answer column by column; a name that stands twice has a number behind it."""
        rows = self._server.query(statement)
        if not rows:
            return {}
        options = csv.ConvertOptions(strings_can_be_null=False, quoted_strings_can_be_null=False)
        header = next(reader([rows.split(b"\n", 1)[0].decode()]))
        names = [name if name not in header[:place] else f"{name}_1" for place, name in enumerate(header)]
        options.column_types = dict.fromkeys(names, pa.string())
        return _parsed(rows, names, options).to_pydict()  # type: ignore[no-any-return]


def _fields(wanted: PointsWanted) -> str:
    # a field that was written as an integer in one shard and as a float in another comes as one column of floats
    return ", ".join(f"{identifier(name)}::float" for name in wanted.fields)


def _selection(wanted: PointsWanted, columns: str, start_ms: int, end_ms: int) -> str:
    conditions = [f"time >= {instant(start_ms)} AND time < {instant(end_ms)}"]
    for tag, values in wanted.tags.items():
        if len([*choices(values)]) == 1:  # otherwise all are read, and what is not wanted left out later
            conditions.append(f"{identifier(tag)}::tag =~ {any_of(values)}")
    where = " AND ".join(conditions)
    return f"SELECT {columns} FROM {identifier(wanted.measurement)} WHERE {where}"  # noqa: S608 - quoted


def _points(rows: bytes, wanted: PointsWanted) -> Points:
    n_fields = len(wanted.fields)
    if not rows:
        return Points([], np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, n_fields)))
    numbers = [str(i) for i in range(n_fields)]
    types: dict[str, Any] = dict.fromkeys(numbers, pa.float64())
    types |= {"time": pa.int64(), "tags": pa.dictionary(pa.int32(), pa.string())}
    options = csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[""])
    table = _parsed(rows, ["name", "tags", "time", *numbers], options).combine_chunks()
    tags = table.column("tags").unify_dictionaries().combine_chunks()
    values = np.empty((len(table), n_fields))
    for place, name in enumerate(numbers):
        values[:, place] = table.column(name).to_numpy()
    head = in_line(wanted.measurement).replace("\\=", "=")  # in a measurement it stands for itself
    series = [f"{head},{text}" if text else head for text in tags.dictionary.to_pylist()]
    return Points(series, np.asarray(tags.indices, dtype=np.int64), table.column("time").to_numpy(), values)


def _parsed(rows: bytes, names: Sequence[str], options: csv.ConvertOptions) -> Any:
    parsing = csv.ParseOptions(newlines_in_values=True)
    try:
        return csv.read_csv(
            pa.BufferReader(rows), csv.ReadOptions(column_names=list(names), skip_rows=1), parsing, options
        )
    except pa.ArrowInvalid as error:
        raise StoreError(f"an answer of InfluxDB cannot be read: {error}") from None
