"""History from CSV and Parquet files: one row a sample, one column a sensor, resumable, bad rows to a report."""

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdm.errors import ConfigurationError, UnreadableMessageError
from pdm.ingest.files import column_names, read_pieces
from pdm.ingest.rows import BadRow, TableForm, read_rows
from pdm.plant import Plant
from pdm.ports import ImportProgress, ReadingWriter
from pdm.units import conversion
from pdm.words import harmless

Progress = Callable[[Path, float], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file, in this run and those before."""

    path: Path
    rows: int
    bad_rows: int
    already: bool  # a run before had finished it


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
    digest = _digest(path, form, plant)
    reached = writer.import_progress(digest) or ImportProgress(digest, path.name, 0, 0, finished=False)
    if reached.finished:
        return Imported(path, reached.rows, reached.bad_rows, already=True)
    sensors = _sensors_of_columns(path, plant, form)
    for piece in read_pieces(path, sensors, skip=reached.rows):
        try:
            batches, bad = read_rows(piece, plant, form, sensors, now_ms)
        except ConfigurationError as error:
            raise ConfigurationError(error.message, file=path.name) from error
        _add_to(report, path, bad)
        reached = ImportProgress(
            digest,
            path.name,
            rows=reached.rows + len(piece.rows) + len(piece.malformed),
            bad_rows=reached.bad_rows + len(bad),
            finished=not len(piece.rows),
        )
        writer.append(batches, imported=reached)
        progress(path, piece.done)
    return Imported(path, reached.rows, reached.bad_rows, already=False)


def _digest(path: Path, form: TableForm, plant: Plant) -> str:
    """What the outcome of an import depends on."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise ConfigurationError(f"cannot be opened: {error.strerror}", file=path.name) from error
    digest.update(f"{form}{plant.version}".encode())
    return digest.hexdigest()


def _sensors_of_columns(path: Path, plant: Plant, form: TableForm) -> dict[str, str]:
    """The sensor that each column of values holds."""
    names = column_names(path)
    keys = {form.time_column} | (set() if form.source else {form.source_column})
    known = {sensor for asset_class in plant.classes.values() for sensor in asset_class.sensor_names}
    sensors = {name: form.rename.get(name, name) for name in names if name not in keys | set(form.ignore)}
    if missing := sorted(keys - set(names)):
        raise ConfigurationError(f"has no column {missing[0]!r}; it has {', '.join(names)}", file=path.name)
    if unknown := sorted(name for name, sensor in sensors.items() if sensor not in known):
        detail = f"the columns {', '.join(unknown)} hold no sensor of the plant; rename or ignore them"
        raise ConfigurationError(f"{detail} (sensors: {', '.join(sorted(known))})", file=path.name)
    if len(set(names)) < len(names) or len(set(sensors.values())) < len(sensors):
        raise ConfigurationError("two columns hold the same sensor", file=path.name)
    _check_units(path, plant, form)
    return sensors


def _check_units(path: Path, plant: Plant, form: TableForm) -> None:
    for asset_class in plant.classes.values():
        for sensor in asset_class.sensors:
            try:
                conversion(form.units.get(sensor.name, sensor.unit), sensor.unit)
            except UnreadableMessageError as error:
                raise ConfigurationError(f"unit of {sensor.name}: {error.detail}", file=path.name) from error


def _add_to(report: Path, path: Path, bad: Sequence[BadRow]) -> None:
    """Add bad rows to the report. It is written before the commit: an interrupted run repeats some, and loses none."""
    if not bad:
        return
    new = not report.exists()
    with report.open("a", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        if new:
            lines.writerow(("file", "row", "reason", "detail"))
        lines.writerows((path.name, row.row, row.reason, harmless(row.detail)) for row in bad)
