"""The manifest of compacted readings: which files hold what, and up to where each log has gone into them.

One transaction of it makes a compaction true. Before it readers read the batches, after it the files; what is left of
the other side counts for nothing and is cleared away.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from pdm.adapters.reading_log.schema import connection, row_crc, store_errors
from pdm.errors import ConflictError

MANIFEST = "manifest.sqlite"
DAY_MS = 86_400_000

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, rows INTEGER NOT NULL, late_rows INTEGER NOT NULL,
    batches INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS floors (run INTEGER NOT NULL, log TEXT NOT NULL, batch INTEGER NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (run, log)) STRICT;
CREATE TABLE IF NOT EXISTS left_out (log TEXT NOT NULL, batch INTEGER NOT NULL, PRIMARY KEY (log, batch)) STRICT;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, class_name TEXT NOT NULL, late INTEGER NOT NULL,
    day_ms INTEGER NOT NULL, sensors TEXT NOT NULL, rows INTEGER NOT NULL, first_run INTEGER NOT NULL,
    last_run INTEGER NOT NULL, file_crc INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS doomed (path TEXT PRIMARY KEY) STRICT;
"""
# doomed: files that nobody reads, of a run that has not ended or replaced by one that has

log = structlog.get_logger()


class StoredDay(NamedTuple):
    """A file of one class and day.

    Attributes:
        path: relative to the folder of the logs.
        late: it holds readings that came after the lateness window.
        first_run, last_run: the compactions that changed rows of it.
    """

    path: str
    class_name: str
    late: int
    day_ms: int
    sensors: tuple[str, ...]
    rows: int
    first_run: int
    last_run: int
    file_crc: int

    @property
    def row(self) -> tuple[Any, ...]:
        """As it stands in the table."""
        fields = self._replace(sensors=json.dumps(self.sensors))  # type: ignore[arg-type]
        return (*fields, row_crc(*fields))


class Totals(NamedTuple):
    """What went into files, resends included."""

    rows: int
    late_rows: int
    batches: int


@dataclass
class Run:
    """A compaction.

    Attributes:
        floors: by name of a log the last batch that is in files.
        left_out: damaged batches that could not be taken along, by log; they stay where they are.
    """

    number: int
    totals: Totals
    floors: dict[str, int]
    left_out: set[tuple[str, int]] = field(default_factory=set)


class Manifest:
    """The manifest as readers see it. Without a compaction so far there is none, and it is empty.

    Attributes:
        files: in the order of class and day.
        runs: in their order.
        floors: by name of a log the last batch that is in files.
        left_out: damaged batches that no file holds, as log and number.
        damaged: what failed its checksum.
    """

    def __init__(self, folder: Path) -> None:
        self.files: list[StoredDay] = []
        self.runs: list[Run] = []
        self.floors: dict[str, int] = {}
        self.left_out: set[tuple[str, int]] = set()
        self.damaged: set[str] = set()
        self._path = folder / MANIFEST
        self._db: sqlite3.Connection | None = None
        self._version = -1

    def refresh(self) -> None:
        """Take note of what has been compacted since."""
        if self._db is None:
            if not self._path.exists():
                return
            with connection(self._path, "ro") as self._db:
                self._db.text_factory = lambda text: text.decode(errors="replace")
        with store_errors(self._path):
            # the version of this connection changes with every commit of another
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version and self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._load(self._db)
                self._version = version

    def of_class(self, class_name: str, *, late: bool = False) -> list[StoredDay]:
        """The files of a class in the order of their days."""
        return [file for file in self.files if file.class_name == class_name and file.late == late]

    @property
    def last_run(self) -> int:
        """The latest compaction, 0 before any."""
        return self.runs[-1].number if self.runs else 0

    def seen(self, known: Mapping[str, int]) -> int:
        """The last compaction that holds nothing new to whom knows these batches of each log."""
        whole = 0
        for run in self.runs:
            if any(known.get(name, 0) < batch for name, batch in run.floors.items()):
                break
            whole = run.number
        return whole

    def quarantine(self, what: str, why: str) -> None:
        """Name and count what is damaged, once."""
        if what not in self.damaged:
            self.damaged.add(what)
            log.error("compacted readings damaged", what=what, why=why)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def _load(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")
        try:
            rows = {
                table: db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
                for table in ("runs", "floors", "left_out", "files")
            }
        finally:
            db.execute("ROLLBACK")
        self.left_out = set(rows["left_out"])
        self.files = sorted(
            (_day(row) for row in self._sound("files", rows["files"])), key=lambda file: (file.class_name, file.day_ms)
        )
        self.runs = [Run(number, Totals(*totals), {}) for number, *totals in self._sound("runs", sorted(rows["runs"]))]
        at = {run.number: run for run in self.runs}
        for number, name, batch in self._sound("floors", rows["floors"]):
            if number in at:
                at[number].floors[name] = batch
                self.floors[name] = max(batch, self.floors.get(name, 0))

    def _sound(self, table: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows of a table that pass their checksum, without it."""
        for *row, crc in rows:
            if row_crc(*row) == crc:
                yield tuple(row)
            else:
                self.quarantine(f"{table}: {row[0]}", "its row fails its checksum")


class ManifestWriter:
    """The manifest as the one compacting process writes it.

    Raises:
        ConflictError: another process compacts these logs.
        StoreError: the disk is full, or the manifest cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / MANIFEST
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / f"{MANIFEST}.lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with connection(self._path, "rwc") as self._db:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(f"BEGIN; {_TABLES} COMMIT;")
        except BlockingIOError:
            self._lock.close()
            raise ConflictError("another process compacts these readings") from None
        except BaseException:
            self._lock.close()
            raise

    def announce(self, path: str) -> Path:
        """Note a file before it is written, so that it is cleared away unless `add` makes it count."""
        with self._transaction():
            self._db.execute("INSERT INTO doomed VALUES (?)", (path,))
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def add(self, run: Run, made: Iterable[StoredDay], replaced: Iterable[StoredDay]) -> None:
        """Make a compaction true: from now on readers read its files, and no longer the batches that went into them."""
        totals = (run.number, *run.totals)
        floors = [(run.number, name, batch) for name, batch in run.floors.items()]
        with self._transaction():
            self._db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*totals, row_crc(*totals)))
            self._db.executemany("INSERT INTO floors VALUES (?, ?, ?, ?)", [(*row, row_crc(*row)) for row in floors])
            self._db.executemany("INSERT INTO left_out VALUES (?, ?)", sorted(run.left_out))
            self._replace(made, replaced)

    def replace(self, files: Iterable[StoredDay], by: Iterable[StoredDay] = ()) -> None:
        """Readers no longer read these files, but others, in which there is nothing new."""
        with self._transaction():
            self._replace(by, files)

    def clear_away(self) -> None:
        """Remove the files that nobody reads."""
        for (path,) in self._db.execute("SELECT path FROM doomed").fetchall():
            file = self._folder / path
            file.unlink(missing_ok=True)
            file.with_name(f".{file.name}.new").unlink(missing_ok=True)
            with self._transaction():
                self._db.execute("DELETE FROM doomed WHERE path = ?", (path,))

    def close(self) -> None:
        """Let others compact."""
        self._db.close()
        self._lock.close()

    def _replace(self, made: Iterable[StoredDay], replaced: Iterable[StoredDay]) -> None:
        for file in made:
            marks = ", ".join("?" * len(file.row))
            self._db.execute(f"INSERT INTO files VALUES ({marks})", file.row)  # noqa: S608 - our own names
            self._db.execute("DELETE FROM doomed WHERE path = ?", (file.path,))
        for file in replaced:
            self._db.execute("DELETE FROM files WHERE path = ?", (file.path,))
            self._db.execute("INSERT INTO doomed VALUES (?)", (file.path,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with store_errors(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _day(row: tuple[Any, ...]) -> StoredDay:
    file = StoredDay(*row)
    return file._replace(sensors=tuple(json.loads(str(file.sensors))))
