"""History from CSV and Parquet files: one row a sample, one column a sensor, resumable, bad rows to a report."""

import csv
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pdm.errors import ConfigurationError, UnreadableMessageError
from pdm.ingest.files import Layout, Piece, holds_values, layout_of, read_pieces, stem_of
from pdm.ingest.rows import BadRow, read_rows
from pdm.plant import Plant
from pdm.plant.wire import OF_FILE, TableForm
from pdm.ports import ImportProgress, ReadingWriter
from pdm.readings import Readings
from pdm.units import conversion
from pdm.words import harmless

T = TypeVar("T")

_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons"}

Progress = Callable[[Path, float], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file, in this run and those before."""

    path: Path
    rows: int
    bad_rows: int
    already: bool  # a run before had finished it
    read_as: str = ""  # how it was understood, in words


def import_files(
    paths: Sequence[Path],
    writer: ReadingWriter,
    plant: Plant,
    form: TableForm,
    now_ms: int,
    *,
    report: Path,
    progress: Progress = lambda path, done: None,
) -> list[Imported]:
    """Import files one after another.

    Each piece of a file is committed with how far it brought the file, so a run that was cut short goes on where it
    stopped. The same file in the same form under the same plant is not imported again, whatever its name.

    Args:
        report: CSV file to which bad rows are added; made if there are any.
        progress: told what share of a file is done, 0 to 1.

    Raises:
        ConfigurationError: a file cannot be read, or its columns do not fit; the files before it are imported.
        StoreError: the store failed; a rerun goes on from there.
    """
    return [_import_file(path, writer, plant, form, now_ms, report, progress) for path in paths]


def _import_file(
    path: Path, writer: ReadingWriter, plant: Plant, form: TableForm, now_ms: int, report: Path, progress: Progress
) -> Imported:
    form = replace(form, source=stem_of(path)) if form.source == OF_FILE else form
    ahead = _ahead(_readings_of(path, plant, form, now_ms, 0))  # mostly nothing is there yet
    digest = _digest(path, form, plant)
    reached = writer.import_progress(digest) or ImportProgress(digest, path.name, 0, 0, finished=False)
    if reached.finished:
        return Imported(path, reached.rows, reached.bad_rows, already=True)
    if reached.rows:
        ahead = _ahead(_readings_of(path, plant, form, now_ms, reached.rows))
    for layout, piece, batches, bad in ahead:
        add_to_report(report, path.name, bad)
        reached = ImportProgress(
            digest,
            path.name,
            rows=reached.rows + len(piece.rows) + len(piece.malformed),
            bad_rows=reached.bad_rows + len(bad),
            finished=not len(piece.rows),
        )
        writer.append(batches, imported=reached)
        progress(path, piece.done)
        done = Imported(path, reached.rows, reached.bad_rows, already=False, read_as=_read_as(layout, form))
    return done


def _read_as(layout: Layout, form: TableForm) -> str:
    """What a file was taken for: people see a wrong guess at once."""
    sensors = [f"{name} as {form.rename[name]}" if name in form.rename else name for name in layout.names]
    values = [said for said, name in zip(sensors, layout.names, strict=True) if holds_values(name, form)]
    said = [f"one value a row, of the sensor under {form.sensor_column}" if form.sensor_column else ", ".join(values)]
    if layout.delimiter:
        stands = "point" if layout.decimal == "." else "comma"
        said += [f"cells between {_DELIMITERS.get(layout.delimiter, layout.delimiter)}", f"decimal {stands}"]
    said += [f"times without an offset in {form.time_zone}"] if form.time_zone else []
    return "; ".join(said)


def _digest(path: Path, form: TableForm, plant: Plant) -> str:
    """What the outcome of an import depends on."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise ConfigurationError(f"cannot be opened: {error.strerror}", file=path.name) from error
    digest.update(f"{form}{plant.version}".encode())
    return digest.hexdigest()


def _readings_of(
    path: Path, plant: Plant, form: TableForm, now_ms: int, skip: int
) -> Iterator[tuple[Layout, Piece, dict[str, Readings], list[BadRow]]]:
    """What a file holds after its first `skip` rows, piece by piece."""
    layout = layout_of(path, form)
    _check_fit(path, layout, plant, form)
    columns = [name for name in layout.names if holds_values(name, form)]
    try:
        for piece in _ahead(read_pieces(path, layout, columns, skip)):
            yield layout, piece, *read_rows(piece, plant, form, layout, now_ms)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, file=path.name) from error


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same one after another, the first made from now on, each other one while the one before is in use."""
    worker = ThreadPoolExecutor(1)
    first = worker.submit(next, items, None)

    def rest(coming: Future[T | None]) -> Iterator[T]:
        with worker:
            while (item := coming.result()) is not None:
                coming = worker.submit(next, items, None)
                yield item

    return rest(first)


def _check_fit(path: Path, layout: Layout, plant: Plant, form: TableForm) -> None:
    """Refuse a file whose columns mean nothing, or two things."""
    names, known = layout.names, {name for one in plant.classes.values() for name in one.sensor_names}
    for column, option in _keys(form).items():
        if column not in names:
            raise ConfigurationError(f"has no column {column!r} ({option}); it has {', '.join(names)}", file=path.name)
    columns = {name: form.rename.get(name, name) for name in names if holds_values(name, form)}
    if form.sensor_column is not None:
        columns = dict(form.rename)
    if unknown := sorted(name for name, sensor in columns.items() if sensor not in known):
        raise ConfigurationError(_unknown(unknown, known, form), file=path.name)
    if len(set(names)) < len(names) or (form.sensor_column is None and len(set(columns.values())) < len(columns)):
        raise ConfigurationError("two columns hold the same sensor", file=path.name)
    _check_units(path, plant, form, known)


def _keys(form: TableForm) -> dict[str, str]:
    """The columns that there must be, and the options that name them."""
    source = {form.source_column: "--source-column"} if form.source is None else {}
    keys = source | {form.time_column: "--time-column"}
    if form.clock_column is not None:
        keys |= {form.clock_column: "--clock-column"}
    if form.sensor_column is not None:
        keys |= {form.sensor_column: "--sensor-column", form.value_column: "--value-column"}
    return keys


def _unknown(unknown: Sequence[str], known: Collection[str], form: TableForm) -> str:
    long = ", or say which column names the sensors (--sensor-column)" if form.sensor_column is None else ""
    detail = f"the columns {', '.join(unknown)} hold no sensor of the plant; rename or ignore them"
    return f"{detail} (--rename, --ignore){long}; sensors: {', '.join(sorted(known))}"


def _check_units(path: Path, plant: Plant, form: TableForm, known: Collection[str]) -> None:
    if unknown := [sensor for sensor in form.units if sensor not in known]:
        raise ConfigurationError(f"unit of {unknown[0]}: the plant has no such sensor (--unit)", file=path.name)
    for asset_class in plant.classes.values():
        for sensor in asset_class.sensors:
            try:
                conversion(form.units.get(sensor.name, sensor.unit), sensor.unit)
            except UnreadableMessageError as error:
                raise ConfigurationError(f"unit of {sensor.name}: {error.detail}", file=path.name) from error


def add_to_report(report: Path, name: str, bad: Sequence[BadRow]) -> None:
    """Add bad rows to the report. It is written before the commit: an interrupted run repeats some, and loses none."""
    if not bad:
        return
    new = not report.exists()
    with report.open("a", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        if new:
            lines.writerow(("file", "row", "reason", "detail"))
        lines.writerows((name, row.row, row.reason, harmless(row.detail)) for row in bad)
