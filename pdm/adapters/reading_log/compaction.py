"""Batches of the logs become one Parquet file for each class and day (UTC), sorted by source and time.

A run writes its files beside what is there, makes them true in one transaction of the manifest, and then clears away
what they replace. Killed anywhere it leaves either what was before or what is after; the next run clears away the rest.
Logs may be appended to meanwhile: their batches are dropped in short transactions under the write lock of SQLite, and
nothing else of a log is touched.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.reading_log.cache import Cache
from pdm.adapters.reading_log.compacted import Compacted
from pdm.adapters.reading_log.day_file import DayFileWriter, Rows
from pdm.adapters.reading_log.log_file import LogFile, Stored
from pdm.adapters.reading_log.manifest import DAY_MS, ManifestWriter, Run, StoredDay, Totals
from pdm.adapters.reading_log.schema import DROPPED, DROPPED_MS, SUFFIX, Head, connection, store_errors
from pdm.errors import StoreError
from pdm.ports import Compaction
from pdm.readings import Readings, columns_of, merge_rows

PARQUET, LATE = "parquet", "parquet-late"
"""Folders of compacted readings, and of those that came after the lateness window."""

_MOST_ROWS = 1_000_000  # held at once
_DROPPED_AT_ONCE = 100  # batches: an append waits no longer than for so many
_PAUSE_S = 0.002  # lets a waiting append in
_NO_CACHE = 0


class Kind(NamedTuple):
    """What shares a folder."""

    class_name: str
    late: bool


class _Block(NamedTuple):
    """What is merged at once: some days of all sources, or a share of the sources of one day."""

    first_day: int
    last_day: int
    share: int = 0
    shares: int = 1


@dataclass
class Work:
    """One run under way."""

    run: Run
    made: list[StoredDay] = field(default_factory=list)
    replaced: list[StoredDay] = field(default_factory=list)


class LogCompactor:
    """Compacts the logs of a folder, and removes what is no longer kept (`Compactor`). One process at a time does."""

    def __init__(self, folder: Path, *, most_rows: int = _MOST_ROWS) -> None:
        self._folder = folder
        self._most_rows = most_rows

    def compact(self, before_ms: int) -> Compaction:
        """Move every batch that was committed before this wall time into files.

        Raises:
            ConflictError: another process compacts these logs.
            StoreError: the disk is full; nothing has changed.
        """
        with closing(ManifestWriter(self._folder)) as manifest, closing(Logs(self._folder)) as logs:
            manifest.clear_away()
            logs.drop_compacted()
            waiting, floors = logs.waiting(before_ms, self._most(logs.names))
            if not waiting and not floors:
                return Compaction(0, 0, 0)
            work = Work(Run(logs.compacted.manifest.last_run + 1, _totals(waiting), floors))
            self._keep(manifest, logs, work, waiting)
            work.run.left_out |= logs.damaged_up_to(floors)
            manifest.add(work.run, work.made, work.replaced)
            manifest.clear_away()
            logs.drop_compacted()
        return Compaction(len(waiting), work.run.totals.rows, len(work.made))

    def expire(self, class_name: str, before_ms: int) -> int:
        """Remove the files of a class whose days ended by this time; returns how many."""
        with closing(ManifestWriter(self._folder)) as manifest, closing(Logs(self._folder)) as logs:
            files = [file for late in (False, True) for file in logs.compacted.manifest.of_class(class_name, late=late)]
            old = [file for file in files if file.day_ms + DAY_MS <= before_ms]
            if old:
                manifest.replace(old)
            manifest.clear_away()
        return len(old)

    def _most(self, logs: Sequence[str]) -> Mapping[str, int]:
        """Up to which batch of each log it may go; no bound for those that are not named."""
        return {}

    def _keep(self, manifest: ManifestWriter, logs: "Logs", work: Work, waiting: Sequence[Stored]) -> None:
        """Put what leaves the logs into files."""
        with disk_errors():
            for kind, stored in _by_kind(waiting).items():
                self._compact_kind(manifest, logs, work, kind, stored)

    def _compact_kind(
        self, manifest: ManifestWriter, logs: "Logs", work: Work, kind: Kind, stored: Sequence[Stored]
    ) -> None:
        """The files of the days of one class that these batches touch."""
        there = logs.files_of(kind, stored)
        merging = _Merging(logs, kind, stored, there, work.run.number)
        writers = dict[int, Day]()
        for block in _blocks(stored, there, self._most_rows):
            for day, rows in merging.merged(block):
                if day not in writers:
                    writers[day] = Day.begin(manifest, kind, day, rows.readings.sensors)
                writers[day].add(rows)
            if block.share == block.shares - 1:
                work.made += [writer.finish() for writer in writers.values()]
                work.replaced += [file for day in writers for file in there[day]]
                writers.clear()


class Day:
    """A file that is being written."""

    def __init__(self, writer: DayFileWriter, file: StoredDay) -> None:
        self._writer = writer
        self._file = file

    @staticmethod
    def begin(manifest: ManifestWriter, kind: Kind, day: int, sensors: tuple[str, ...]) -> "Day":
        folder = f"{LATE if kind.late else PARQUET}/{quote(kind.class_name, safe='')}"
        # the name is used once, so that readers of the file before it are not given another
        path = f"{folder}/{np.datetime64(day, 'D')}-{token_hex(4)}.parquet"
        file = StoredDay(path, kind.class_name, int(kind.late), day * DAY_MS, sensors, 0, 2**62, 0, 0)
        return Day(DayFileWriter(manifest.announce(path), sensors), file)

    def add(self, rows: Rows) -> None:
        self._writer.write(rows)
        file = self._file
        self._file = file._replace(
            rows=file.rows + len(rows.run),
            first_run=min(file.first_run, int(rows.run.min())),
            last_run=max(file.last_run, int(rows.run.max())),
        )

    def finish(self) -> StoredDay:
        return self._file._replace(file_crc=self._writer.finish())


class Logs:
    """The logs of a folder, and what is compacted of them so far."""

    def __init__(self, folder: Path) -> None:
        self.compacted = Compacted(folder, Cache(_NO_CACHE))
        self._logs = [log for path in sorted(folder.glob(f"*{SUFFIX}")) if (log := LogFile.open(path))]
        self._refresh()

    @property
    def names(self) -> list[str]:
        """The names of the logs."""
        return [log.name for log in self._logs]

    def waiting(self, before_ms: int, most: Mapping[str, int]) -> tuple[list[Stored], dict[str, int]]:
        """Batches that were committed before this time, in the order in which later values win; and by log the last.

        Args:
            most: by log the last batch that is looked at.
        """
        waiting, floors = list[Stored](), dict[str, int]()
        for log in self._logs:
            later = log.heads["id"][log.heads["committed_ms"] >= before_ms]
            floor = int(later.min()) - 1 if len(later) else log.last_id
            floor = min(floor, most.get(log.name, floor))
            if floor > self.compacted.manifest.floors.get(log.name, 0):
                floors[log.name] = floor
                heads = log.heads[log.heads["id"] <= floor]
                waiting += [Stored(log, Head(*head)) for head in heads.tolist()]
        return sorted(waiting, key=lambda stored: stored.order), floors

    def damaged_up_to(self, floors: Mapping[str, int]) -> set[tuple[str, int]]:
        """Batches that could not be read, and are not known as such yet."""
        found = {(log.name, id_) for log in self._logs for id_ in log.damaged_batches if id_ <= floors.get(log.name, 0)}
        return found - self.compacted.manifest.left_out

    def files_of(self, kind: Kind, stored: Sequence[Stored]) -> dict[int, list[StoredDay]]:
        """By day the sound files that these batches may change; a damaged one stays for whoever can mend it."""
        first, last = _days(stored)
        there = defaultdict[int, list[StoredDay]](list)
        for file in self.compacted.manifest.of_class(kind.class_name, late=kind.late):
            if first <= file.day_ms // DAY_MS <= last and self.compacted.sound(file):
                there[file.day_ms // DAY_MS].append(file)
        return there

    def drop_compacted(self) -> None:
        """Drop what is in files from the logs."""
        self._refresh()
        manifest = self.compacted.manifest
        for log in self._logs:
            left_out = {id_ for name, id_ in manifest.left_out if name == log.name}
            if log.dropped < manifest.floors.get(log.name, 0):
                _drop(log.path, log.dropped, manifest.floors[log.name], left_out)

    def close(self) -> None:
        for log in self._logs:
            log.close()
        self.compacted.manifest.close()

    def _refresh(self) -> None:
        for log in self._logs:
            log.refresh()
        self.compacted.refresh()
        for log in self._logs:
            log.forget(self.compacted.manifest.floors.get(log.name, 0), ())


class _Merging:
    """Batches of one class, merged with the files of their days."""

    def __init__(
        self, logs: Logs, kind: Kind, stored: Sequence[Stored], there: Mapping[int, Sequence[StoredDay]], run: int
    ) -> None:
        files = [file for day in sorted(there) for file in there[day]]
        parts = [file.sensors for file in files] + [
            stored_.log.layouts[stored_.head.layout].sensors for stored_ in stored
        ]
        names = {name for log in {stored_.log for stored_ in stored} for name in log.number}
        for file in files:
            names.update(name for rows in logs.compacted.all_rows(file, values=False) for name in rows.names)
        self._sensors = tuple(dict.fromkeys(sensor for sensors in dict.fromkeys(parts) for sensor in sensors))
        self._names = np.array(sorted(names), dtype=object)
        self._compacted, self._kind, self._stored, self._run = logs.compacted, kind, stored, run

    def merged(self, block: _Block) -> Iterator[tuple[int, Rows]]:
        """The rows of each day of a block that has new ones, sorted by source and time."""
        names = np.array_split(self._names, block.shares)[block.share]
        new = list(self._new(block, names.tolist()))
        days = np.unique(np.concatenate([part.time_ms // DAY_MS for part in new])) if new else np.empty(0, np.int64)
        if block.shares > 1:
            days = np.array([block.first_day])  # what one share leaves alone another may change
        for day in days.tolist():
            parts = [*self._old(day, names.tolist()), *(part.of_day(day) for part in new)]
            if rows := self._merge(parts, names):
                yield day, rows

    def _new(self, block: _Block, names: Sequence[str]) -> Iterator["_Part"]:
        start_ms, end_ms = block.first_day * DAY_MS, (block.last_day + 1) * DAY_MS
        for log, head in self._stored:
            if head.first_ms < end_ms and head.last_ms >= start_ms:
                batch = log.batch(head)
                place = log.positions(names)[batch.source]
                wanted = np.flatnonzero((place >= 0) & (batch.time_ms >= start_ms) & (batch.time_ms < end_ms))
                run = np.full(len(wanted), self._run, dtype=np.int32)
                yield self._part(batch.take(wanted), place[wanted], run)

    def _old(self, day: int, names: Sequence[str]) -> Iterator["_Part"]:
        place = {name: i for i, name in enumerate(names)}
        of_day = (day * DAY_MS, (day + 1) * DAY_MS)
        for rows in self._compacted.rows(self._kind.class_name, names, *of_day, late=self._kind.late):
            at = np.array([place.get(name, -1) for name in rows.names])[rows.readings.source]
            wanted = np.flatnonzero(at >= 0)
            yield self._part(rows.readings.take(wanted), at[wanted], rows.run[wanted])

    def _part(self, readings: Readings, place: NDArray[Any], run: NDArray[np.int32]) -> "_Part":
        return _Part(place, readings.time_ms, columns_of(readings, self._sensors), readings.flags, run)

    def _merge(self, parts: Sequence["_Part"], names: NDArray[Any]) -> Rows | None:
        place, time_ms, values, flags, run = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not len(place):
            return None
        merged = merge_rows(place, time_ms, values, flags)
        kept = merged.rows
        readings = Readings(self._sensors, place[kept].astype(np.int32), time_ms[kept], merged.values, merged.flags)
        return Rows(names, readings, run[kept])


class _Part(NamedTuple):
    """Rows from one place, in the order of their arrival."""

    place: NDArray[Any]  # [n] position of the source among those of the block
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]
    run: NDArray[np.int32]

    def of_day(self, day: int) -> "_Part":
        mine = self.time_ms // DAY_MS == day
        return self if mine.all() else _Part(*(column[mine] for column in self))


def _blocks(stored: Sequence[Stored], there: Mapping[int, Sequence[StoredDay]], most_rows: int) -> Iterator[_Block]:
    """All days of these batches in blocks that are merged at once, of about `most_rows` rows."""
    first, last = _days(stored)
    rows = np.zeros(last - first + 1)
    for _, head in stored:  # as if the times of a batch were spread evenly
        a, b = head.first_ms // DAY_MS - first, head.last_ms // DAY_MS - first + 1
        rows[a:b] += head.rows / (b - a)
    for day, files in there.items():
        rows[day - first] += sum(file.rows for file in files)
    begin = 0
    while begin < len(rows):
        end = max(begin + 1, int(np.searchsorted(np.cumsum(rows[begin:]), most_rows, side="right")) + begin)
        shares = max(1, int(np.ceil(rows[begin:end].sum() / most_rows)))
        yield from (_Block(first + begin, first + end - 1, share, shares) for share in range(shares))
        begin = end


def _days(stored: Sequence[Stored]) -> tuple[int, int]:
    """The first and the last day that these batches may touch."""
    return min(head.first_ms for _, head in stored) // DAY_MS, max(head.last_ms for _, head in stored) // DAY_MS


def _by_kind(stored: Iterable[Stored]) -> dict[Kind, list[Stored]]:
    found = defaultdict[Kind, list[Stored]](list)
    for one in stored:
        layout = one.log.layouts[one.head.layout]
        found[Kind(layout.class_name, layout.late)].append(one)
    return found


def _totals(stored: Sequence[Stored]) -> Totals:
    late = sum(head.rows for log, head in stored if log.layouts[head.layout].late)
    return Totals(sum(head.rows for _, head in stored), late, len(stored))


@contextmanager
def disk_errors() -> Iterator[None]:
    """What the disk refuses as an error of a store."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"compacted readings cannot be written: {error}") from error


def _drop(path: Path, above: int, floor: int, left_out: Set[int]) -> None:
    """Drop the batches up to `floor` but for damaged ones, in transactions so short that appends do not feel them."""
    with connection(path, "rw") as db, closing(db), store_errors(path):
        db.execute("PRAGMA synchronous = FULL")
        while above < floor:
            query = "SELECT id, committed_ms FROM batches WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
            rows = db.execute(query, (above, floor, _DROPPED_AT_ONCE)).fetchall()
            above = rows[-1][0] if len(rows) == _DROPPED_AT_ONCE else floor
            gone = [(id_,) for id_, _ in rows if id_ not in left_out]
            db.execute("BEGIN IMMEDIATE")
            db.executemany("DELETE FROM bodies WHERE batch = ?", gone)
            db.executemany("DELETE FROM batches WHERE id = ?", gone)
            for name, value in ((DROPPED, above), (DROPPED_MS, max((ms for _, ms in rows), default=0))):
                db.execute(
                    "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, ?)",
                    (name, value, value),
                )
            db.execute("COMMIT")
            time.sleep(_PAUSE_S)
