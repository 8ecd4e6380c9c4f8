"""A folder into which files of readings are put: each is imported once it has come to rest, and moved away.

What is done twice does no harm: an import that was cut short goes on where it stopped, and a file that was imported and
not yet moved is moved only. So the folder survives a crash at any point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from threading import Event, Thread

import structlog

from pdm.errors import ConfigurationError, PdmError
from pdm.ingest.history import Imported, import_files
from pdm.plant import Plant
from pdm.plant.wire import TableForm
from pdm.ports import Clock, ReadingWriter

LOOK_S = 5.0
"""Time between two looks: a file is at rest if it is as large and as old at the second as at the first."""

ENDINGS = (".csv", ".csv.gz", ".parquet")
"""Files that are imported; all others, and hidden ones, stay where they are."""

DONE, FAILED = "done", "failed"

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a file: where it is now, how many rows were read, how many of them were bad, and why none."""

    path: Path
    rows: int = 0
    bad_rows: int = 0
    why: str = ""


class DropFolder:
    """Imports what is put into a folder.

    Args:
        open_log: opens the log that the readings go into.
        plant: the plant by which files are read, asked at each file.
    """

    def __init__(
        self, folder: Path, open_log: Callable[[], ReadingWriter], plant: Callable[[], Plant], clock: Clock
    ) -> None:
        self._folder = folder
        self._open_log = open_log
        self._plant = plant
        self._clock = clock
        self._seen: dict[Path, tuple[int, int]] = {}
        self._broken = False
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Look again and again in a thread of its own, until `stop`."""
        self._thread = Thread(target=self._run, name="drop folder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the file that is being imported, or within seconds: the next start goes on with it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(LOOK_S)

    def look(self) -> list[Moved]:
        """Import what has come to rest since the last look, the oldest first.

        Raises:
            StoreError: readings cannot be kept; the file stays.
            OSError: the folder cannot be read, or a file not moved.
        """
        for name in (DONE, FAILED):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        found = {path: _state(path) for path in self._folder.iterdir() if _is_ours(path)}
        rested = [path for path, state in found.items() if state[0] and self._seen.get(path) == state]
        self._seen = found
        return [self._take(path) for path in sorted(rested, key=lambda path: found[path][1])]

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                self.look()
            except (PdmError, OSError) as error:
                if not self._broken:
                    _log.error("drop folder out of service", folder=str(self._folder), why=str(error))
                self._broken = True
            else:
                if self._broken:
                    _log.info("drop folder in service again", folder=str(self._folder))
                self._broken = False

    def _take(self, path: Path) -> Moved:
        stamp = datetime.fromtimestamp(self._clock.plant_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        report = self._folder / f".{path.name}.report.csv"
        try:
            done = self._imported(path, report)
        except ConfigurationError as error:
            return self._moved(path, FAILED, stamp, report, Moved(path, why=str(error)))
        return self._moved(path, DONE, stamp, report, Moved(path, done.rows, done.bad_rows))

    def _imported(self, path: Path, report: Path) -> Imported:
        plant = self._plant()
        writer = self._open_log()
        try:
            form = form_of(plant, path.name)
            (done,) = import_files([path], writer, plant, form, self._clock.plant_ms(), report=report)
            return done
        finally:
            writer.close()

    def _moved(self, path: Path, where: str, stamp: str, report: Path, outcome: Moved) -> Moved:
        """Put a file away, after what there is to say about it: a crash between the two says it again."""
        target = self._folder / where / path.name
        if target.exists():
            target = target.with_name(f"{stamp}-{path.name}")
        if outcome.why:
            target.with_name(f"{target.name}.txt").write_text(f"{outcome.why}\n", encoding="utf-8")
        if report.exists():
            report.replace(target.with_name(f"{target.name}.report.csv"))
        path.replace(target)
        log = _log.warning if outcome.why else _log.info
        log("file " + ("refused" if outcome.why else "imported"), file=path.name, rows=outcome.rows, why=outcome.why)
        return Moved(target, outcome.rows, outcome.bad_rows, outcome.why)


def form_of(plant: Plant, name: str) -> TableForm:
    """How a file of this name is laid out: as the first form says whose pattern it fits, otherwise as usual."""
    return next((form for form in plant.files if fnmatch(name, form.name)), TableForm())


def _is_ours(path: Path) -> bool:
    return path.name.endswith(ENDINGS) and not path.name.startswith(".") and path.is_file() and not path.is_symlink()


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the last change; nothing where it has gone meanwhile."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
