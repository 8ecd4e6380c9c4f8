"""CSV and Parquet files of readings, piece by piece, as Arrow columns."""

import csv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from pdm.errors import ConfigurationError

_BLOCK_BYTES = 8_000_000
_PARQUET_ROWS = 50_000
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Piece:
    """The next rows of a file.

    Attributes:
        columns: Arrow arrays by name, all of one length n.
        rows: `[n]` the number of each row as people count: the header of a CSV file is row 1.
        malformed: the text of lines among them that have too many or too few fields, by row.
        done: share of the file that has been read, 0 to 1.
    """

    columns: dict[str, Any]
    rows: NDArray[np.int64]
    malformed: dict[int, str]
    done: float


def column_names(path: Path) -> list[str]:
    """The columns of a file, without blanks around their names.

    Raises:
        ConfigurationError: it is neither CSV nor Parquet.
    """
    with _readable(path):
        if _is_parquet(path):
            return [name.strip() for name in parquet.read_schema(path).names]
        names = _header(path)[0]
    if path.suffix == ".parquet" or not all(name.replace("\t", " ").isprintable() for name in names):
        raise ConfigurationError("is neither CSV nor Parquet", file=path.name)
    return [name.strip() for name in names]


def read_pieces(path: Path, numbers: Collection[str], skip: int = 0) -> Iterator[Piece]:
    """The rows of a file, after the first `skip`; `numbers` names the columns that should hold numbers.

    Malformed rows count, blank ones do not. The last piece has no rows, only the malformed lines at the end, if any.

    Raises:
        ConfigurationError: the file is damaged.
    """
    with _readable(path):
        if _is_parquet(path):
            yield from _parquet_pieces(path, skip)
            return
        taken = skip
        try:
            for piece in _csv_pieces(path, skip, numbers):
                taken += len(piece.rows) + len(piece.malformed)
                yield piece
        except pa.ArrowInvalid:
            # a line is malformed or a cell is not a number: from here on one thread, which can tell the row, and
            # text, so that only that row is refused
            yield from _csv_pieces(path, taken)


def _csv_pieces(path: Path, skip: int, numbers: Collection[str] | None = None) -> Iterator[Piece]:
    """With `numbers`, fast, and `ArrowInvalid` at the first fault; without, all cells as text and faults told apart."""
    names, delimiter = _header(path)
    malformed: dict[int, str] = {}
    blank: list[int] = []

    def note(row: Any) -> str:
        malformed[row.number] = row.text
        return "skip"

    def unread(until: float) -> dict[int, str]:
        numbered = np.array([*malformed], dtype=np.int64)
        among = numbered[(numbered < until) & (_places(numbered, blank) > skip)]
        return {row: malformed[row] for row in among.tolist()}

    with pa.OSFile(str(path)) as file:
        reader = arrow_csv.open_csv(
            pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file,
            read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=numbers is not None),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                invalid_row_handler=note if numbers is None else None,
                ignore_empty_lines=False,  # they are rows as people count
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.float64() if name.strip() in (numbers or ()) else pa.string() for name in names},
                strings_can_be_null=True,
            ),
        )
        next_row = 2
        for batch in filter(len, reader):
            rows, full = _sound_rows(next_row, len(batch), malformed), _full(batch)
            next_row = int(rows[-1]) + 1
            blank += rows[~full].tolist()
            rows, batch = rows[full], batch.filter(pa.array(full))
            places = _places(rows, blank)
            new = int((places > skip).sum())
            if new:
                piece = Piece(_columns(batch[-new:]), rows[-new:], unread(rows[-1]), file.tell() / file.size())
                skip = int(places[-1])
                yield piece
        yield _end(unread(float("inf")))


def _places(rows: NDArray[np.int64], blank: Collection[int]) -> NDArray[np.int64]:
    """Where rows stand among those that are not blank, from 1: the header is not counted."""
    places: NDArray[np.int64] = rows - 1 - np.searchsorted(sorted(blank), rows)
    return places


def _full(batch: Any) -> NDArray[np.bool_]:
    """Which rows hold anything. `[n]`."""
    known = [column.is_valid().to_numpy(zero_copy_only=False) for column in batch.columns]
    full: NDArray[np.bool_] = np.any(known, axis=0)
    return full


def _sound_rows(first: int, n: int, malformed: Collection[int]) -> NDArray[np.int64]:
    """The numbers of the next n rows that are not malformed."""
    rows = np.arange(first, first + n + len(malformed))
    return rows[~np.isin(rows, [*malformed])][:n]


def _parquet_pieces(path: Path, skip: int) -> Iterator[Piece]:
    with parquet.ParquetFile(path) as file:
        total, before = file.metadata.num_rows, 0
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            rows = np.arange(before + 1, before + len(batch) + 1)[max(skip - before, 0) :]
            before += len(batch)
            if len(rows):
                yield Piece(_columns(batch[len(batch) - len(rows) :]), rows, {}, before / total)
        yield _end({})


def _end(malformed: dict[int, str]) -> Piece:
    return Piece({}, np.empty(0, np.int64), malformed, 1.0)


def _columns(batch: Any) -> dict[str, Any]:
    return dict(zip((name.strip() for name in batch.schema.names), batch.columns, strict=True))


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _header(path: Path) -> tuple[list[str], str]:
    """The column names of a CSV file, and the delimiter that their line shows."""
    with pa.OSFile(str(path)) as file:
        stream = pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file
        text = stream.read(100_000).decode("utf-8-sig", errors="replace")
    line = next(iter(text.splitlines()), "")
    delimiter = max(_DELIMITERS, key=line.count)
    return next(csv.reader([line], delimiter=delimiter), []), delimiter


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ConfigurationError(f"cannot be read as CSV or Parquet: {error}", file=path.name) from error
