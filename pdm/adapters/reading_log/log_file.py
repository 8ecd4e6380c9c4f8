"""One reading log as its readers see it: read-only, heads of batches in memory, bodies on demand."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from pdm.adapters.reading_log.schema import (
    DROPPED,
    CompactedMeanwhileError,
    Head,
    Layout,
    open_to_read,
    row_crc,
    store_errors,
)
from pdm.columns import unpack, verified
from pdm.errors import DamagedRecordError
from pdm.ports import StoredDeadLetter
from pdm.readings import Readings

_EVER = np.iinfo(np.int64)
_HEAD = np.dtype([(name, np.int64) for name in Head._fields])

log = structlog.get_logger()


class LogFile:
    """One log. Batches are `Readings` whose `source` holds the number of a source in this log.

    Attributes:
        name: the name that the log was made with.
        names: `[s]` object array, the source of each number; None where there is none (0) or its row is damaged.
        number: the other way round.
        layouts: classes and value columns by number.
        heads: `[b]` structured array with the fields of `Head`, in the order of commit.
        last_id: number of the latest batch.
        dropped: up to this batch they have gone into files, and are no longer here.
        damaged: what failed its checksum.
        damaged_batches: those among it that are batches.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, name: str):
        self.path = path
        self.name = name
        self.names: NDArray[Any] = np.array([None], dtype=object)
        self.number: dict[str, int] = {}
        self.layouts: dict[int, Layout] = {}
        self.heads = np.empty(0, dtype=_HEAD)
        self.last_id = self.dropped = 0
        self.damaged: set[str] = set()
        self.damaged_batches: set[int] = set()
        self._db = db

    @staticmethod
    def open(path: Path) -> "LogFile | None":
        """The log in this file; None while its writer is still making it."""
        opened = open_to_read(path)
        return opened and LogFile(path, *opened)

    def refresh(self) -> None:
        """Take note of what has been committed since."""
        with store_errors(self.path):
            # SQLite keeps the last number apart from the rows; read before them, it is never ahead of a sound table
            promised = self._db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'batches'").fetchone()[0]
            rows = self._db.execute("SELECT * FROM batches WHERE id > ? ORDER BY id", (self.last_id,)).fetchall()
            if rows:
                # read after the heads, so that whatever they name is there
                self._refresh_layouts()
                self._refresh_sources()
            self._refresh_dropped()  # after the heads, which cannot be missed then
        if (promised or 0) > max(self.last_id, self.dropped, rows[-1][0] if rows else 0):
            self._quarantine(f"batches up to {promised}", "some are missing")
        if rows:
            self._note(rows)

    def _note(self, rows: list[tuple[Any, ...]]) -> None:
        sound = [row[:-1] for row in rows if row_crc(*row[:-1]) == row[-1] and row[1] in self.layouts]
        last_id = sound[-1][0] if sound else self.last_id
        seen = {row[0] for row in rows} | set(range(max(self.last_id, self.dropped) + 1, last_id))
        for id_ in sorted(seen - {row[0] for row in sound}):
            self._quarantine_batch(id_, "its head or layout is damaged")
        self.heads = np.concatenate([self.heads, np.array(sound, dtype=_HEAD)])
        self.last_id = last_id

    def forget(self, floor: int, left_out: Iterable[int]) -> None:
        """Pass over what is in files: batches up to `floor`, but for damaged ones, which nobody has."""
        if floor < self.dropped:
            self._quarantine(f"batches up to {self.dropped}", "the files that they went into are not known")
        for id_ in left_out:
            self._quarantine_batch(id_, "it was damaged when its day was compacted")
        self.heads = self.heads[np.searchsorted(self.heads["id"], floor, side="right") :]
        self.last_id = max(self.last_id, floor)

    def heads_of(
        self, class_name: str, *, after: int = 0, start_ms: int = _EVER.min, end_ms: int = _EVER.max
    ) -> list[Head]:
        """Batches of a class that came in time, after this number, and may hold readings in start <= time < end."""
        heads = self.heads[np.searchsorted(self.heads["id"], after, side="right") :]
        during = (heads["last_ms"] >= start_ms) & (heads["first_ms"] < end_ms)
        found = [Head(*head) for head in heads[during].tolist()]
        mine = {id_ for id_, layout in self.layouts.items() if layout.class_name == class_name and not layout.late}
        return [head for head in found if head.layout in mine]

    def sensors_of(self, class_name: str) -> list[str]:
        """Every sensor that a class has had, in the order in which they appeared."""
        mine = [layout.sensors for _, layout in sorted(self.layouts.items()) if layout.class_name == class_name]
        return [sensor for sensors in mine for sensor in sensors]

    def late_rows(self) -> int:
        """Readings that came after the lateness window."""
        late = [id_ for id_, layout in self.layouts.items() if layout.late]
        return int(self.heads["rows"][np.isin(self.heads["layout"], late)].sum())

    def batch(self, head: Head) -> Readings:
        """The readings of one batch; none if it is damaged."""
        sensors = self.layouts[head.layout].sensors
        nothing = replace(Readings.empty(sensors), source=np.empty(0, dtype=np.int32))
        what = f"batch {head.id}"
        if what in self.damaged:
            return nothing
        try:
            with store_errors(self.path):
                row = self._db.execute("SELECT body FROM bodies WHERE batch = ?", (head.id,)).fetchone()
                self._refresh_dropped()
            if row is None and head.id <= self.dropped:
                raise CompactedMeanwhileError(what)
            body = row[0] if row and isinstance(row[0], bytes) else b""
            columns = unpack(verified(body, head.body_crc, what))
            return self._named(Readings(sensors, **columns))
        except DamagedRecordError as error:
            self._quarantine_batch(head.id, str(error))
            return nothing

    def positions(self, sources: Sequence[str]) -> NDArray[np.int64]:
        """For each number of this log its position in `sources`; -1 where it is not wanted. `[s]`."""
        position = np.full(len(self.names), -1)
        position[[self.number.get(name, 0) for name in sources]] = np.arange(len(sources))
        position[0] = -1
        return position

    def counters(self) -> dict[str, int]:
        """Totals that no batch carries."""
        with store_errors(self.path):
            return dict(self._db.execute("SELECT name, value FROM counters"))

    def dead_letters(self, limit: int, reason: str | None, after: tuple[int, str] | None) -> list[StoredDeadLetter]:
        """The latest, or those that follow."""
        last_seen_ms, last_id = after or (_EVER.max, "")
        with store_errors(self.path):
            rows = self._db.execute(
                "SELECT :log || ':' || id AS letter, topic, payload, reason, detail, first_seen_ms, last_seen_ms, count"
                " FROM dead_letters WHERE reason = coalesce(:reason, reason)"
                " AND (last_seen_ms < :ms OR (last_seen_ms = :ms AND letter > :id))"
                " ORDER BY last_seen_ms DESC, letter LIMIT :limit",
                {"log": self.name, "reason": reason, "ms": int(last_seen_ms), "id": last_id, "limit": limit},
            ).fetchall()
        return [StoredDeadLetter(*row) for row in rows]

    def close(self) -> None:
        self._db.close()

    def _refresh_layouts(self) -> None:
        for *row, crc in self._db.execute("SELECT * FROM layouts WHERE id > ?", (max(self.layouts, default=0),)):
            if row_crc(*row) == crc:
                id_, class_name, sensors, late = row
                self.layouts[id_] = Layout(class_name, tuple(json.loads(sensors)), bool(late))
            else:
                self._quarantine(f"layout {row[0]}", "it fails its checksum")

    def _refresh_sources(self) -> None:
        rows = self._db.execute("SELECT * FROM sources WHERE id >= ? ORDER BY id", (len(self.names),)).fetchall()
        sound = {id_: name for id_, name, crc in rows if row_crc(id_, name) == crc}
        added = range(len(self.names), max(sound, default=-1) + 1)
        for id_ in added:
            if id_ not in sound:
                self._quarantine(f"source {id_}", "its name is damaged")
        self.names = np.concatenate([self.names, np.array([sound.get(id_) for id_ in added], dtype=object)])
        self.number.update({name: id_ for id_, name in sound.items()})

    def _named(self, batch: Readings) -> Readings:
        """The rows of a batch whose source has a name."""
        if batch.source.max() >= len(self.names):
            raise DamagedRecordError("the name of a source is missing")
        if len(self.number) == len(self.names) - 1:
            return batch
        return batch.take(np.array([name is not None for name in self.names])[batch.source])

    def _refresh_dropped(self) -> None:
        row = self._db.execute("SELECT value FROM counters WHERE name = ?", (DROPPED,)).fetchone()
        self.dropped = row[0] if row else 0

    def _quarantine(self, what: str, why: str) -> None:
        """Name and count what is damaged, once."""
        if what not in self.damaged:
            self.damaged.add(what)
            log.error("reading log damaged", log=self.path.name, what=what, why=why)

    def _quarantine_batch(self, id_: int, why: str) -> None:
        self.damaged_batches.add(id_)
        self._quarantine(f"batch {id_}", why)


class Stored(NamedTuple):
    """A batch where it stands."""

    log: LogFile
    head: Head

    @property
    def order(self) -> tuple[int, str, int]:
        """Of two values of one key the one of higher order wins."""
        return self.head.committed_ms, self.log.name, self.head.id
