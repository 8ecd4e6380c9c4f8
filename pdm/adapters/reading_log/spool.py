"""Reading logs as a spool: what is still to be forwarded to another store, and the bound of it."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.reading_log.log_file import LogFile
from pdm.adapters.reading_log.reader import ReadingLog, Stored, in_order, seen_of
from pdm.adapters.reading_log.schema import Head, store_errors
from pdm.adapters.reading_log.writer import ReadingLogWriter
from pdm.errors import StoreError
from pdm.ports import DeadLetter, ImportProgress, SpoolBlock, SpoolPart, Waiting
from pdm.readings import Readings, concatenate

_BATCH_BYTES, _ROW_BYTES = 1_000, 13
"""Of a batch beside its rows, and of a row beside its values."""

POSITION = "forwarded.json"
"""Tells the writers how far their logs have been forwarded; never ahead of what the state database knows."""


class Spool(ReadingLog):
    """The logs of a folder, from which blocks are taken in the order of their commits."""

    def __init__(self, folder: Path):
        super().__init__(folder, cache_bytes=0)
        self._position = folder / POSITION

    def next_block(self, cursor: str, limit: int) -> SpoolBlock | None:
        """The next batches after a cursor ("" is the beginning), about `limit` readings, late ones too; None if there
        are none."""
        with self._threads:
            logs = self._refreshed()
            seen = seen_of(cursor, logs)
            waiting = in_order(logs, lambda log: _first_heads(log, seen[log.name], limit))
            if not waiting:
                return None
            count = 1 + int(np.searchsorted(np.cumsum([stored.head.rows for stored in waiting]), limit))
            taken = waiting[:count]
            passed = {stored.log.name: stored.head.id for stored in taken}
            return SpoolBlock(self._parts(taken), json.dumps(seen | passed))

    def waiting(self, cursor: str) -> Waiting:
        """How much is committed after a cursor, and since when."""
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
        return Waiting(rows, size, oldest_ms)

    def note_forwarded(self, cursor: str) -> None:
        """Tell the writers; lost in a crash it is told again with the next block."""
        made = self._position.with_suffix(".tmp")
        made.write_text(cursor)
        made.replace(self._position)

    def _parts(self, taken: Sequence[Stored]) -> tuple[SpoolPart, ...]:
        """Batches put together by class, late ones apart."""
        together: dict[tuple[str, bool], list[Readings]] = {}
        for stored in taken:
            layout = stored.log.layouts[stored.head.layout]
            together.setdefault((layout.class_name, layout.late), []).append(self._named(stored))
        return tuple(SpoolPart(*key, concatenate(parts), len(parts)) for key, parts in together.items())


class SpoolWriter(ReadingLogWriter):
    """A writer that takes no more while too much waits to be forwarded: what is not taken is not acknowledged."""

    def __init__(self, path: Path, most_bytes: int):
        super().__init__(path)
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
