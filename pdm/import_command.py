"""`pdm-twin import readings`: files and buckets into a log of their own, with a progress bar."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.progress import TaskID

from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError, NotFoundError
from pdm.ingest.bucket import ImportedMeasurement, import_bucket
from pdm.ingest.decode import OLDEST_MS
from pdm.ingest.files import files_in
from pdm.ingest.history import Imported, import_files
from pdm.plant import Plant
from pdm.plant.wire import TableForm
from pdm.progress import progress_bar
from pdm.settings import Settings, read_secret
from pdm.state.plants import current_plant
from pdm.state.schema import opened_state, read
from pdm.wiring import foreign_bucket, open_log

REPORT = "import-report.csv"
"""Bad rows are added to this file in the data folder."""


def import_into_log(settings: Settings, paths: Sequence[Path], form: TableForm) -> list[Imported]:
    """Import files, and those in folders, while the service runs or while it does not; its next tick takes them up.

    Raises:
        ConfigurationError: there is no plant yet, or a file does not fit it.
        StoreError: the disk is full, or another import is under way.
    """
    plant, paths = _plant(settings), [file for path in paths for file in files_in(path)]
    writer = open_log(settings, "import", large=True)
    try:
        with progress_bar() as bar:
            tasks: dict[Path, TaskID] = {path: bar.add_task(path.name, total=1.0) for path in paths}
            return import_files(
                paths,
                writer,
                plant,
                form,
                ServiceClock().plant_ms(),
                report=settings.data_dir / REPORT,
                progress=lambda path, done: bar.update(tasks[path], completed=done),
            )
    finally:
        writer.close()


class Bucket(NamedTuple):
    """A bucket of InfluxDB that others write, and what of it is wanted: `measurements` (none: all), from when to when
    (None: all there is)."""

    url: str
    org: str
    name: str
    token_file: Path
    measurements: tuple[str, ...]
    from_ms: int | None
    to_ms: int | None


def import_bucket_into_log(settings: Settings, bucket: Bucket) -> list[ImportedMeasurement]:
    """Import a bucket, likewise.

    Raises:
        ConfigurationError: there is no plant yet, the token cannot be read, or the bucket holds nothing of the plant.
        StoreError: InfluxDB does not answer, the disk is full, or another import is under way.
    """
    plant, token = _plant(settings), read_secret(str(bucket.token_file), None)
    with (
        closing(open_log(settings, "import", large=True)) as writer,
        closing(foreign_bucket(bucket.url, bucket.org, bucket.name, token)) as source,
        progress_bar() as bar,
    ):
        tasks = dict[str, TaskID]()

        def show(measurement: str, done: float) -> None:
            if measurement not in tasks:
                tasks[measurement] = bar.add_task(measurement, total=1.0)
            bar.update(tasks[measurement], completed=done)

        return import_bucket(
            source,
            bucket.measurements,
            writer,
            plant,
            ServiceClock().plant_ms(),
            report=settings.data_dir / REPORT,
            from_ms=OLDEST_MS if bucket.from_ms is None else bucket.from_ms,
            to_ms=bucket.to_ms,
            progress=show,
        )


def _plant(settings: Settings) -> Plant:
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        try:
            return current_plant(connection).plant
        except NotFoundError as error:
            raise ConfigurationError(str(error)) from None
