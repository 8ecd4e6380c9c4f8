"""The writing side of a reading log."""

import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.reading_log.dead_letters import DeadLetters
from pdm.adapters.reading_log.manifest import Manifest
from pdm.adapters.reading_log.schema import (
    DROPPED,
    DROPPED_MS,
    SESSIONS_LOST,
    SUFFIX,
    Head,
    Layout,
    open_to_write,
    row_crc,
    store_errors,
)
from pdm.columns import checksum, packed
from pdm.errors import DamagedRecordError, TakenError
from pdm.ports import DeadLetter, ImportProgress
from pdm.readings import ArrivalFlag, Readings


def wall_ms() -> int:
    """Milliseconds since the epoch by the clock of this machine."""
    return time.time_ns() // 1_000_000


class ReadingLogWriter:
    """Appends to one log (`ReadingWriter`); a second writer on the same file is refused. Threads may share it."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_ms, large: bool = False):
        """`large` says that commits are megabytes each, which large pages take in half the time."""
        if path.suffix != SUFFIX:
            raise ValueError(f"readers look for {SUFFIX} files, not for {path.name}")
        self.path = path
        self._clock = clock
        self._threads = Lock()
        self._file_lock = _take_lock(path)
        try:
            self._db, self.name = open_to_write(path, large=large)
        except BaseException:
            self._file_lock.close()
            raise
        self._dead_letters = DeadLetters(self._db)
        self._remembers = False
        self._sources: dict[str, int] = {}
        self._layouts: dict[Layout, int] = {}
        self._last_batch = 0
        self._committed_ms = 0

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        """Commit durably, or raise `StoreError` and keep nothing."""
        with self._threads, self._transaction():
            # never behind the commit before it, whatever the clock of the machine does: it orders later values
            self._committed_ms = max(self._committed_ms, self._clock())
            for class_name, readings in batches.items():
                late = (readings.flags & ArrivalFlag.LATE) != 0
                self._insert(class_name, readings.take(~late) if late.any() else readings, late=False)
                if late.any():
                    self._insert(class_name, readings.take(late), late=True)
            self._dead_letters.add(dead)
            if imported is not None:
                self._keep_progress(imported)

    def note_lost_session(self) -> None:
        """Count that the broker came back without what it should have kept for us."""
        with self._threads, self._transaction():
            self._db.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
                (SESSIONS_LOST,),
            )

    def import_progress(self, digest: str) -> ImportProgress | None:
        """How far the file with this digest has been imported."""
        with self._threads, store_errors(self.path):
            row = self._db.execute("SELECT * FROM imports WHERE digest = ?", (digest,)).fetchone()
            reached = dict(self._db.execute("SELECT name, time_ms FROM reached WHERE digest = ?", (digest,)))
        if row is None:
            return None
        digest, name, rows, bad_rows, finished = row
        return ImportProgress(digest, name, rows, bad_rows, bool(finished), reached)

    def close(self) -> None:
        """Close the log and let others write to it."""
        with self._threads:
            self._db.close()
            self._file_lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with store_errors(self.path):
                self._db.execute("BEGIN IMMEDIATE")
                if not self._remembers:
                    self._remember()
                yield
                self._db.execute("COMMIT")
        except BaseException:
            self._remembers = False
            with store_errors(self.path):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise

    def _remember(self) -> None:
        """Load what appending looks up; forgotten whenever a transaction fails."""
        self._sources = dict(self._db.execute("SELECT name, id FROM sources"))
        layouts = self._db.execute("SELECT class_name, sensors, late, id FROM layouts")
        self._layouts = {Layout(name, tuple(json.loads(text)), bool(late)): id_ for name, text, late, id_ in layouts}
        self._last_batch, self._committed_ms = self._latest()
        self._dead_letters.remember()
        self._remembers = True

    def _latest(self) -> tuple[int, int]:
        """The last batch and its time of commit, also where it is in a file by now.

        A log that went back (a restored backup) goes on behind what was compacted, not in numbers that count as such.
        """
        last = self._db.execute("SELECT id, committed_ms FROM batches ORDER BY id DESC LIMIT 1").fetchone() or (0, 0)
        counters = dict(self._db.execute("SELECT name, value FROM counters"))
        with closing(Manifest(self.path.parent)) as manifest:
            with suppress(DamagedRecordError):  # readers name it; readings go on coming in
                manifest.refresh()
            floor = manifest.floors.get(self.name, 0)
        return max(last[0], counters.get(DROPPED, 0), floor), max(last[1], counters.get(DROPPED_MS, 0))

    def _insert(self, class_name: str, readings: Readings, *, late: bool) -> None:
        if not len(readings):
            return
        body = packed(
            {
                "source": self._source_ids(readings.source),
                "time_ms": readings.time_ms,
                "values": readings.values,
                "flags": readings.flags,
            }
        )
        self._last_batch += 1
        head = Head(
            id=self._last_batch,
            layout=self._layout_id(Layout(class_name, readings.sensors, late)),
            committed_ms=self._committed_ms,
            first_ms=int(readings.time_ms.min()),
            last_ms=int(readings.time_ms.max()),
            rows=len(readings),
            body_crc=checksum(body),
        )
        self._db.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*head, row_crc(*head)))
        # room first, and then the bytes right into it: SQLite would copy a parameter twice
        self._db.execute("INSERT INTO bodies VALUES (?, zeroblob(?))", (head.id, len(body)))
        with self._db.blobopen("bodies", "body", head.id) as room:
            room.write(body)

    def _source_ids(self, source: NDArray[Any]) -> NDArray[np.int32]:
        """The numbers of the sources of each row, new ones noted. `[n]`."""
        names = source.tolist()
        try:
            return np.fromiter(map(self._sources.__getitem__, names), np.int32, len(names))
        except KeyError:
            self._note_sources(set(names) - self._sources.keys())
            return self._source_ids(source)

    def _note_sources(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            id_ = len(self._sources) + 1
            self._db.execute("INSERT INTO sources VALUES (?, ?, ?)", (id_, name, row_crc(id_, name)))
            self._sources[name] = id_

    def _layout_id(self, layout: Layout) -> int:
        if layout not in self._layouts:
            row = (len(self._layouts) + 1, layout.class_name, json.dumps(layout.sensors), int(layout.late))
            self._db.execute("INSERT INTO layouts VALUES (?, ?, ?, ?, ?)", (*row, row_crc(*row)))
            self._layouts[layout] = row[0]
        return self._layouts[layout]

    def _keep_progress(self, progress: ImportProgress) -> None:
        row = (progress.digest, progress.name, progress.rows, progress.bad_rows, int(progress.finished))
        self._db.execute("REPLACE INTO imports VALUES (?, ?, ?, ?, ?)", row)
        reached = [(progress.digest, name, time_ms) for name, time_ms in progress.reached_ms.items()]
        self._db.executemany("REPLACE INTO reached VALUES (?, ?, ?)", reached)


def _take_lock(path: Path) -> TextIO:
    """Hold the lock of this log until the file returned is closed, or this process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise TakenError(f"reading log {path.name}: another process writes to it") from None
    return file
