"""`pdm-twin import readings`: files into a log of their own, with a progress bar."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import TaskID

from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError, NotFoundError
from pdm.ingest.history import Imported, import_files
from pdm.plant import Plant
from pdm.plant.wire import TableForm
from pdm.progress import progress_bar
from pdm.settings import Settings
from pdm.state.plants import current_plant
from pdm.state.schema import opened_state, read
from pdm.wiring import open_log

REPORT = "import-report.csv"
"""Bad rows are added to this file in the data folder."""


def import_into_log(settings: Settings, paths: Sequence[Path], form: TableForm) -> list[Imported]:
    """Import files while the service runs or while it does not; its next tick takes them up.

    Raises:
        ConfigurationError: there is no plant yet, or a file does not fit it.
        StoreError: the disk is full, or another import is under way.
    """
    plant = _plant(settings)
    writer = open_log(settings, "import")
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


def _plant(settings: Settings) -> Plant:
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        try:
            return current_plant(connection).plant
        except NotFoundError as error:
            raise ConfigurationError(str(error)) from None
