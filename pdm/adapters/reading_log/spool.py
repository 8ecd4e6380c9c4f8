"""Reading logs as a spool: what is still to be forwarded to another store, and the bound of it."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm import durable
from pdm.adapters.reading_log.compacted import Part, Place
from pdm.adapters.reading_log.log_file import LogFile, Stored
from pdm.adapters.reading_log.manifest import StoredDay
from pdm.adapters.reading_log.reader import DAYS, ReadingLog, in_order, seen_of
from pdm.adapters.reading_log.schema import Head, store_errors
from pdm.adapters.reading_log.writer import ReadingLogWriter
from pdm.errors import StoreError
from pdm.ports import DeadLetter, ImportProgress, SpoolBlock, SpoolPart, Waiting
from pdm.readings import Readings, concatenate

_BATCH_BYTES, _ROW_BYTES = 1_000, 13
"""Of a batch beside its rows, and of a row beside its values."""

_CACHE_BYTES = 10_000_000  # a row group of a file is several blocks

NAME = "spool-name"
POSITION = "forwarded.json"
"""Tells the writers how far their logs have been forwarded; never ahead of what the state database knows."""


class _Passed(NamedTuple):
    """Up to where compacted readings have been forwarded: compaction by compaction, then class by class."""

    run: int
    class_name: str
    late: int
    day_ms: int
    source: str
    time_ms: int

    @staticmethod
    def before(run: int) -> "_Passed":
        """Before everything that this compaction changed."""
        return _Passed(run, "", 0, -(2**63), "", -(2**63))

    @property
    def place(self) -> Place:
        """The place within the class."""
        return Place(self.run, self.day_ms, self.source, self.time_ms)


class Spool(ReadingLog):
    """The logs of a folder, from which blocks are taken: what is compacted, then batches in the order of commits."""

    def __init__(self, folder: Path, *, kept_ms: int | None = None):
        """`kept_ms` is how long the other store keeps readings: compacted days beyond it are passed over."""
        super().__init__(folder, cache_bytes=_CACHE_BYTES)
        self._position = folder / POSITION
        self._kept_ms = kept_ms

    @cached_property
    def name(self) -> str:
        """Tells these logs from those of other hosts; it stays in their folder."""
        kept = self._position.with_name(NAME)
        with suppress(FileExistsError):
            durable.create(kept, token_hex(8).encode())
        return kept.read_text()

    def next_block(self, cursor: str, limit: int) -> SpoolBlock | None:
        """The next readings after a cursor ("" is the beginning), about `limit`, late ones too; None if there are
        none."""
        return self._read(lambda: self._next_block(cursor, limit))

    def _next_block(self, cursor: str, limit: int) -> SpoolBlock | None:
        logs = self._refreshed()
        seen, passed = seen_of(cursor, logs), _passed(cursor)
        if (of_days := self._next_of_days(passed, limit)) is not None:
            part, end = of_days
            # batches that were forwarded before the days that they are newer than are forwarded again
            return SpoolBlock((part,), json.dumps(({} if passed is None else seen) | {DAYS: end}))
        waiting = in_order(logs, lambda log: _first_heads(log, seen[log.name], limit))
        if not waiting:
            return None
        count = 1 + int(np.searchsorted(np.cumsum([stored.head.rows for stored in waiting]), limit))
        taken = waiting[:count]
        seen |= {stored.log.name: stored.head.id for stored in taken}
        return SpoolBlock(self._parts(taken), json.dumps(seen | ({} if passed is None else {DAYS: passed})))

    def waiting(self, cursor: str) -> Waiting:
        """How much is there after a cursor, and since when; `bytes` are those of the logs alone."""
        rows, oldest_ms, size = 0, 0, 0
        with self._threads:
            logs = self._refreshed()
            seen = seen_of(cursor, logs)
            for log in logs:
                heads = log.heads[np.searchsorted(log.heads["id"], seen[log.name], side="right") :]
                if len(heads):
                    rows += int(heads["rows"].sum())
                    first_ms = int(heads["committed_ms"][0])
                    oldest_ms = min(first_ms, oldest_ms or first_ms)
                    size += int(_sizes(heads["rows"], _widths(log)[heads["layout"]]).sum())
            for file in self._days(_passed(cursor)):
                rows += file.rows
                oldest_ms = min(file.day_ms, oldest_ms or file.day_ms)
        return Waiting(rows, size, oldest_ms)

    def note_forwarded(self, cursor: str) -> None:
        """Tell the writers; lost in a crash it is told again with the next block."""
        made = self._position.with_suffix(".tmp")
        made.write_text(cursor)
        made.replace(self._position)

    def _next_of_days(self, passed: _Passed | None, limit: int) -> tuple[SpoolPart, _Passed] | None:
        """The next compacted readings, and the place after them."""
        following = self._following(passed)
        if (found := next(following, None)) is None:
            return None
        class_name, late, part = found
        cut = part.cut(limit)
        if len(cut.rows.run) == len(part.rows.run) and next(following, None) is None:
            end = _Passed.before(part.run + 1)
        else:
            end = _Passed(part.run, class_name, late, *cut.end[1:])
        return SpoolPart(class_name, bool(late), cut.rows.named(), 0), end

    def _following(self, passed: _Passed | None) -> Iterator[tuple[str, int, Part]]:
        """Compacted readings after a place, each once, with their class and whether they came late."""
        files, after = self._days(passed), passed or _Passed.before(0)
        kinds = sorted({(file.class_name, file.late) for file in files})
        for run in range(after.run, max((file.last_run for file in files), default=0) + 1):
            for kind in kinds:
                if (run, *kind) >= after[:3]:
                    place = after.place if (run, *kind) == after[:3] else _Passed.before(run).place
                    mine = [file for file in files if (file.class_name, file.late) == kind]
                    for part in self._compacted.of_run(mine, run, place):
                        yield *kind, part

    def _days(self, passed: _Passed | None) -> list[StoredDay]:
        """The files that hold something after a place, without those that are older than the other store keeps."""
        since_ms = -(2**63) if self._kept_ms is None else int(time.time() * 1000) - self._kept_ms
        run = 0 if passed is None else passed.run
        return [file for file in self._compacted.manifest.files if file.last_run >= run and file.day_ms >= since_ms]

    def _parts(self, taken: Sequence[Stored]) -> tuple[SpoolPart, ...]:
        """Batches put together by class, late ones apart."""
        together: dict[tuple[str, bool], list[Readings]] = {}
        for stored in taken:
            layout = stored.log.layouts[stored.head.layout]
            together.setdefault((layout.class_name, layout.late), []).append(self._named(stored))
        return tuple(SpoolPart(*key, concatenate(parts), len(parts)) for key, parts in together.items())


class SpoolWriter(ReadingLogWriter):
    """A writer that takes no more while too much waits to be forwarded: what is not taken is not acknowledged."""

    def __init__(self, path: Path, most_bytes: int, *, large: bool = False):
        super().__init__(path, large=large)
        self._most_bytes = most_bytes
        self._position = path.parent / POSITION
        self._told_ns = -1
        self._forwarded = self._noted = self._waiting_bytes = 0
        self._waiting: deque[tuple[int, int]] = deque()  # number and bytes of each batch that waits

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        """Commit durably, or raise `StoreError` and keep nothing; also when the spool is full."""
        if batches:
            with self._threads:
                self._look()
            if self._waiting_bytes >= self._most_bytes:
                waiting_mb = self._waiting_bytes / 1e6
                raise StoreError(
                    f"the spool is full: {waiting_mb:,.1f} MB wait for InfluxDB, more is not taken until then"
                )
        super().append(batches, dead, imported)

    def _look(self) -> None:
        """Count what has been added since the last look, and no more what has been forwarded."""
        told_ns = self._position.stat().st_mtime_ns if self._position.exists() else 0
        if told_ns != self._told_ns:
            self._forwarded = json.loads(self._position.read_text()).get(self.name, 0) if told_ns else 0
            self._told_ns = told_ns
        with store_errors(self.path):
            new = self._db.execute(
                "SELECT b.id, b.rows, l.sensors FROM batches b JOIN layouts l ON l.id = b.layout WHERE b.id > ?",
                (max(self._noted, self._forwarded),),
            ).fetchall()
        for self._noted, rows, sensors in new:
            size = int(_sizes(rows, len(json.loads(sensors))))
            self._waiting.append((self._noted, size))
            self._waiting_bytes += size
        while self._waiting and self._waiting[0][0] <= self._forwarded:
            self._waiting_bytes -= self._waiting.popleft()[1]


def _passed(cursor: str) -> _Passed | None:
    """How far compacted readings have been forwarded; None if nobody has looked at them yet."""
    told = json.loads(cursor).get(DAYS) if cursor else None
    return told and _Passed(*told)


def _first_heads(log: LogFile, after: int, limit: int) -> list[Head]:
    """The first batches after a number with `limit` readings between them."""
    heads = log.heads[np.searchsorted(log.heads["id"], after, side="right") :][:limit]
    count = 1 + int(np.searchsorted(np.cumsum(heads["rows"]), limit))
    return [Head(*row) for row in heads[:count].tolist()]


def _widths(log: LogFile) -> NDArray[np.int64]:
    """How many sensors each layout of a log has, by number."""
    widths = np.zeros(max(log.layouts, default=0) + 1, dtype=np.int64)
    for number, layout in log.layouts.items():
        widths[number] = len(layout.sensors)
    return widths


def _sizes(rows: Any, sensors: Any) -> Any:
    """About how many bytes batches take on disk, by their readings and sensors."""
    return _BATCH_BYTES + rows * (_ROW_BYTES + 8 * sensors)
