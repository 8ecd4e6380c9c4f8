"""CSV and Parquet files of readings, piece by piece, as Arrow columns."""

import codecs
import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from pdm.errors import ConfigurationError
from pdm.plant.wire import Decimal, TableForm

MISSING = (
    *("-", "--", "---", "?", "nan", "na", "n/a", "#n/a", "null", "none", "no data", "bad", "bad input"),
    *("i/o timeout", "comm fail", "not connect", "scan off", "pt created", "shutdown"),
)
"""Words of historians and spreadsheets that stand for no value, however they are capitalized."""

_BLOCK_BYTES = 8_000_000
_PARQUET_ROWS = 50_000
_DELIMITERS = ",;\t|"
_TABLES = (".csv", ".csv.gz", ".parquet")
_SAMPLE_BYTES = 100_000
_WITH_COMMA = re.compile(r"[-+]?\d+,\d+")
_WITH_POINT = re.compile(r"[-+]?\d*\.\d+")
_MAY_BE_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_DATED = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:(?:\.\d{3})+,|(?:,\d{3})+\.)\d+")


class Layout(NamedTuple):
    """How a file turned out to be laid out.

    Attributes:
        names: of its columns, without blanks around them.
        delimiter: between the cells of a CSV file; empty for Parquet.
        decimal: of its numbers.
        missing: words that stand for no value, in small letters.
        encoding: of the text of a CSV file.
    """

    names: tuple[str, ...]
    delimiter: str = ""
    decimal: Decimal = "."
    missing: tuple[str, ...] = MISSING
    encoding: str = "utf-8-sig"


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


def files_in(path: Path) -> list[Path]:
    """The tables in a folder, by name; a file itself.

    Raises:
        ConfigurationError: there is none in it.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.name.casefold().endswith(_TABLES) and file.is_file())
    if not found:
        raise ConfigurationError(f"holds no tables ({', '.join(_TABLES)})", file=str(path))
    return found


def stem_of(path: Path) -> str:
    """The name of a table without its ending."""
    return re.sub(r"(?i)\.(csv|csv\.gz|parquet)$", "", path.name)


def layout_of(path: Path, form: TableForm) -> Layout:
    """How a file is laid out: as the form says, and where that says nothing as its beginning shows.

    Raises:
        ConfigurationError: it is neither CSV nor Parquet, or its numbers can mean two things.
    """
    with _readable(path):
        if _is_parquet(path):
            return Layout(tuple(name.strip() for name in parquet.read_schema(path).names))
        encoding = encoding_of(path)
        lines = _first_lines(path, encoding)
    delimiter = form.delimiter or max(_DELIMITERS, key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    names = tuple(name.strip() for name in rows[0])
    if path.suffix == ".parquet" or not all(name.replace("\t", " ").isprintable() for name in rows[0]):
        raise ConfigurationError("is neither CSV nor Parquet", file=path.name)
    if _stands_above(lines):
        said = f"the first row has to name the columns: what stands above them, such as {lines[0]!r}, has to go"
        raise ConfigurationError(said, file=path.name)
    if values := next(filter(_DATED.match, names), None):
        said = f"the first row has to name the columns, and one row after it each sample: it holds {values!r}"
        raise ConfigurationError(said, file=path.name)
    places = [place for place, name in enumerate(names) if holds_values(name, form)]
    cells = [row[place].strip() for row in rows[1:] for place in places if place < len(row)]
    try:
        decimal = form.decimal or _decimal(cells)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, file=path.name) from None
    missing = (*MISSING, *(word.strip().casefold() for word in form.missing))
    return Layout(names, delimiter, decimal, missing, encoding)


def _stands_above(lines: Sequence[str]) -> bool:
    """Whether the first line has no cells, and most others do."""
    rest = [line for line in lines[1:] if line.strip()]
    parted = (sum(delimiter in line for line in rest) for delimiter in _DELIMITERS)
    return not any(delimiter in lines[0] for delimiter in _DELIMITERS) and 2 * max(parted) > len(rest) > 1


def holds_values(name: str, form: TableForm) -> bool:
    """Whether a column holds numbers of sensors."""
    if form.sensor_column is not None:
        return name == form.value_column
    keys = {form.time_column, form.clock_column} | ({form.source_column} if form.source is None else set())
    return name not in keys and name not in form.ignore


def _decimal(cells: Sequence[str]) -> Decimal:
    """What the numbers of a file show to stand before their tenths."""
    if grouped := next(filter(_GROUPED.fullmatch, cells), None):
        raise ConfigurationError(f"numbers such as {grouped!r} group their thousands: expected them without that")
    commas = list(filter(_WITH_COMMA.fullmatch, cells))
    if not commas or any(map(_WITH_POINT.fullmatch, cells)):
        return "."
    if all(map(_MAY_BE_THOUSANDS.fullmatch, commas)):
        meanings = (
            f"numbers such as {commas[0]!r} may mean {commas[0].replace(',', '.')} or {commas[0].replace(',', '')}"
        )
        raise ConfigurationError(f"{meanings}: say what stands before the tenths (--decimal)")
    return ","


def read_pieces(path: Path, layout: Layout, numbers: Collection[str], skip: int = 0) -> Iterator[Piece]:
    """The rows of a file, after the first `skip`; `numbers` names the columns that should hold numbers.

    Malformed rows count, blank ones do not. The last piece has no rows, only the malformed lines at the end, if any.

    Raises:
        ConfigurationError: the file is damaged.
    """
    with _readable(path):
        yield from _parquet_pieces(path, skip) if _is_parquet(path) else _csv_pieces(path, layout, skip, numbers)


def _csv_pieces(path: Path, layout: Layout, skip: int, numbers: Collection[str]) -> Iterator[Piece]:
    # with the blanks around them
    names = next(csv.reader(_first_lines(path, layout.encoding), delimiter=layout.delimiter), [])
    malformed: dict[int, str] = {}
    line = 1  # the first of the block
    for block, done in _blocks(path, layout.encoding):
        table, faults = _rows_of(block, layout, names, line, numbers)
        first = max(line, 2)
        line = first + len(table) + len(faults)
        rows, full = _sound_rows(first, len(table), faults), _full(table)
        if not full.all():
            rows, table = rows[full], table.filter(pa.array(full))
        counted = np.sort(np.concatenate([rows, np.array([*faults], dtype=np.int64)]))
        since = np.append(counted, line)[min(skip, len(counted))]
        skip -= min(skip, len(counted))
        malformed |= {row: text for row, text in faults.items() if row >= since}
        if new := int((rows >= since).sum()):
            yield Piece(_columns(table[-new:].combine_chunks().to_batches()[0]), rows[-new:], malformed, done)
            malformed = {}
    yield _end(malformed)


def _blocks(path: Path, encoding: str) -> Iterator[tuple[Any, float]]:
    """Whole lines of a CSV file in UTF-8, always in the same memory, and what share of the file has been read."""
    text, filled = bytearray(_BLOCK_BYTES), 0
    room = memoryview(text)
    with pa.OSFile(str(path)) as file:
        stream = pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file
        if encoding != "utf-8-sig":
            stream = pa.transcoding_input_stream(stream, encoding, "utf8")
        while (got := stream.readinto(room[filled:])) or filled:
            filled += got
            if got and filled < len(room):
                continue
            if not got and text[filled - 1] not in b"\r\n":  # a header alone is a line, too
                text[filled], filled = ord("\n"), filled + 1
            end = _end_of_lines(text, filled) if got else filled
            if not end:
                raise pa.ArrowInvalid(f"a line is longer than {len(room)} bytes")
            yield room[:end], file.tell() / file.size()
            room[: filled - end] = room[end:filled]
            filled -= end


def _end_of_lines(text: bytearray, filled: int) -> int:
    """Where the last whole line ends, 0 if none does. A line break between quotes ends none."""
    end = text.rfind(b"\n", 0, filled) + 1 or text.rfind(b"\r", 0, filled) + 1
    whole, quoted = end, text.count(b'"', 0, end) % 2
    while whole and quoted:
        line = text.rfind(b"\n", 0, whole - 1) + 1
        quoted ^= text.count(b'"', line, whole) % 2
        whole = line
    return whole or end  # a quote that nothing closes


def _rows_of(
    block: Any, layout: Layout, names: list[str], line: int, numbers: Collection[str]
) -> tuple[Any, dict[int, str]]:
    """The rows of a block that begins with this line, and its malformed lines by row.

    Where a line is malformed or a cell is not a number, one thread reads them, which can tell the row, and as text, so
    that only that row is refused.
    """
    malformed: dict[int, str] = {}

    def note(row: Any) -> str:
        malformed[line + row.number - 1] = row.text
        return "skip"

    def read(numbers: Collection[str], note: Callable[[Any], str] | None) -> Any:
        return arrow_csv.read_csv(
            pa.BufferReader(block),
            read_options=arrow_csv.ReadOptions(
                block_size=len(block), use_threads=note is None, column_names=names, skip_rows=int(line == 1)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=layout.delimiter,
                invalid_row_handler=note,
                ignore_empty_lines=False,  # they are rows as people count
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.float64() if name.strip() in numbers else pa.string() for name in names},
                null_values=["", *spellings(layout.missing)],
                decimal_point=layout.decimal,
            ),
        )

    try:
        return read(numbers, None), malformed
    except pa.ArrowInvalid:
        return read((), note), malformed


def _full(batch: Any) -> NDArray[np.bool_]:
    """Which rows hold anything. `[n]`."""
    full = np.zeros(len(batch), dtype=np.bool_)
    for column in batch.columns:
        known = pc.not_equal(column, "") if pa.types.is_string(column.type) else column.is_valid()
        full |= known.to_numpy(zero_copy_only=False)
        if full.all():  # mostly after the first
            break
    return full


def spellings(words: Sequence[str]) -> list[str]:
    """Words as they are mostly written; any other spelling takes the slower way."""
    return list(dict.fromkeys(made for word in words for made in (word, word.upper(), word.title(), word.capitalize())))


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


def _first_lines(path: Path, encoding: str) -> list[str]:
    """The beginning of a CSV file, its header at least."""
    text = _beginning(path, _SAMPLE_BYTES).decode(encoding, errors="replace")
    lines = text.splitlines() or [""]
    return lines[:-1] if len(lines) > 1 and len(text) > _SAMPLE_BYTES // 2 else lines  # the last may be cut


def encoding_of(path: Path) -> str:
    """How the text of a file is encoded, as its beginning shows: as UTF-8 or UTF-16, or as Windows of western Europe
    writes it, in which every byte but five means something."""
    start = _beginning(path, _BLOCK_BYTES)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start.isascii():
        return "utf-8-sig"
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return "latin-1" if any(byte in start for byte in b"\x81\x8d\x8f\x90\x9d") else "cp1252"
    return "utf-8-sig"


def _beginning(path: Path, size: int) -> bytes:
    with pa.OSFile(str(path)) as file:
        stream = pa.CompressedInputStream(file, "gzip") if path.suffix == ".gz" else file
        start: bytes = stream.read(size)
    return start


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ConfigurationError(f"cannot be read as CSV or Parquet: {error}", file=path.name) from error
