"""The reading side: all logs of a folder as one store."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.reading_log.cache import Cache
from pdm.adapters.reading_log.compacted import Compacted, Place
from pdm.adapters.reading_log.deletion import delete_readings
from pdm.adapters.reading_log.log_file import LogFile, Stored
from pdm.adapters.reading_log.schema import SESSIONS_LOST, SUFFIX, CompactedMeanwhileError, Head
from pdm.plant import Sensor
from pdm.ports import Changes, StoreCounts, StoredDeadLetter, Tail
from pdm.readings import Downsampled, Readings, arrange, concatenate, downsample

T = TypeVar("T")

_CACHE_BYTES = 256_000_000
_NEVER = np.iinfo(np.int64).max
_PLACE, DAYS = "compacted", "days"  # beside the names of logs, which end in a number, in cursors of tails and spools


class ReadingLog:
    """Reads every log of a folder, and what was compacted of them (`ReadingStore`), also while they are written and
    compacted. Threads may share it.

    A reading is in a batch of a log or in a compacted file, never in neither. What is compacted comes before every
    batch that is not, in the order in which later values win.
    """

    def __init__(self, folder: Path, *, cache_bytes: int = _CACHE_BYTES):
        self._folder = folder
        self._threads = RLock()
        self._logs: dict[Path, LogFile] = {}
        self._cache = Cache(cache_bytes)
        self._compacted = Compacted(folder, self._cache)

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What arrived for a class since `cursor` ("" is the beginning)."""
        return self._read(lambda: self._changes(class_name, cursor))

    def _changes(self, class_name: str, cursor: str) -> Changes:
        times: dict[str, tuple[int, int]] = {}
        logs = self._refreshed()
        seen = seen_of(cursor, logs)
        manifest = self._compacted.manifest
        parts = self._compacted.following(class_name, Place.behind(manifest.seen(seen)), values=False)
        spans = [part.span() for part in parts]
        spans += [self._times(log, log.heads_of(class_name, after=seen[log.name])) for log in logs]
        for of_part in spans:
            for name, (first, last) in of_part.items():
                earliest, newest = times.get(name, (first, last))
                times[name] = min(first, earliest), max(last, newest)
        source = sorted(times)
        span = np.array([times[name] for name in source], dtype=np.int64).reshape(-1, 2)
        return Changes(np.array(source, dtype=object), span[:, 0], span[:, 1], json.dumps(seen | self._latest(logs)))

    def tail(self, class_name: str, cursor: str, limit: int = 100_000) -> Tail:
        """The next readings that arrived for a class since `cursor`, about `limit` at most; none when up to date.

        What was compacted before it was asked for comes merged, and some of it again if the cursor knew a part.
        """
        return self._read(lambda: self._tail(class_name, cursor, limit))

    def _tail(self, class_name: str, cursor: str, limit: int) -> Tail:
        logs = self._refreshed()
        seen = seen_of(cursor, logs)
        place = _place(cursor) or Place.behind(self._compacted.manifest.seen(seen))
        parts: list[Readings] = []
        for part in self._compacted.following(class_name, place):
            cut = part.cut(limit)
            parts.append(cut.rows.named())
            if (limit := limit - len(parts[-1])) <= 0:
                return Tail(concatenate(parts), json.dumps(seen | {_PLACE: cut.end}))
        floors = self._compacted.manifest.floors
        seen |= {name: max(floor, seen.get(name, 0)) for name, floor in floors.items()}
        waiting = in_order(logs, lambda log: log.heads_of(class_name, after=seen[log.name]))
        count = 1 + int(np.searchsorted(np.cumsum([stored.head.rows for stored in waiting]), limit))
        readings = concatenate([*parts, *(self._named(stored) for stored in waiting[:count])])
        passed = self._latest(logs)
        for stored in reversed(waiting[count:]):
            passed[stored.log.name] = stored.head.id - 1
        return Tail(readings, json.dumps(seen | passed))

    def latest_cursor(self) -> str:
        """The cursor after everything that has arrived: to follow from now on."""
        with self._threads:
            return json.dumps(self._latest(self._refreshed()))

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        batches, places, sensors = self._read(lambda: self._stored(class_name, sources, start_ms, end_ms))
        return arrange(batches, places, sources, sensors, start_ms, end_ms)

    def downsampled(
        self, class_name: str, source: str, sensors: Sequence[Sensor], start_ms: int, end_ms: int, every_ms: int
    ) -> Downsampled:
        """What these sensors of a source said, over stretches of `every_ms`."""
        return downsample(self.window(class_name, [source], start_ms, end_ms), sensors, every_ms)

    def _stored(
        self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int
    ) -> tuple[list[Readings], list[NDArray[Any]], tuple[str, ...]]:
        """All that may hold such readings, in the order in which later values win; the position in `sources` of each
        row; the sensors of the class."""
        logs = self._refreshed()
        position = {log.name: log.positions(sources) for log in logs}
        stored = in_order(logs, lambda log: log.heads_of(class_name, start_ms=start_ms, end_ms=end_ms))
        groups = list(self._compacted.rows(class_name, sources, start_ms, end_ms))
        batches = [self._batch(batch) for batch in stored]
        at = {name: i for i, name in enumerate(sources)}
        places = [np.array([at.get(name, -1) for name in rows.names])[rows.readings.source] for rows in groups]
        places += [position[log.name][batch.source] for (log, _), batch in zip(stored, batches, strict=True)]
        return [rows.readings for rows in groups] + batches, places, self._sensors_of(class_name, logs)

    def _sensors_of(self, class_name: str, logs: Iterable[LogFile]) -> tuple[str, ...]:
        """Every sensor that a class has had, in the order in which they appeared."""
        files = self._compacted.manifest.of_class(class_name)
        named = [log.sensors_of(class_name) for log in logs] + [file.sensors for file in files]
        return tuple(dict.fromkeys(sensor for sensors in named for sensor in sensors))

    def delete(self, class_name: str, source: str, start_ms: int, end_ms: int) -> int:
        """Delete the readings of a source with start <= time < end, late ones too; returns how many there were.

        What is in the logs goes into files first.

        Raises:
            ConflictError: another process compacts these logs.
            DamagedRecordError: a file of that time is damaged. Nothing was deleted.
        """
        return delete_readings(self._folder, class_name, source, start_ms, end_ms)

    def counts(self) -> StoreCounts:
        """Totals over all logs."""
        with self._threads:
            logs = self._refreshed()
            counters = [log.counters() for log in logs]
            manifest = self._compacted.manifest
            compacted = [run.totals for run in manifest.runs]
            return StoreCounts(
                readings=sum(int(log.heads["rows"].sum()) for log in logs) + sum(total.rows for total in compacted),
                dead_letters=sum(counter.get("dead_letters", 0) for counter in counters),
                batches=sum(len(log.heads) for log in logs) + sum(total.batches for total in compacted),
                late=sum(log.late_rows() for log in logs) + sum(total.late_rows for total in compacted),
                dead_letters_dropped=sum(counter.get("dead_letters_dropped", 0) for counter in counters),
                sessions_lost=sum(counter.get(SESSIONS_LOST, 0) for counter in counters),
                damaged=sum(len(log.damaged) for log in logs) + len(manifest.damaged),
            )

    def dead_letters(
        self, limit: int = 100, reason: str | None = None, after: tuple[int, str] | None = None
    ) -> list[StoredDeadLetter]:
        """Newest first."""
        with self._threads:
            letters = [letter for log in self._refreshed() for letter in log.dead_letters(limit, reason, after)]
        return sorted(letters, key=lambda letter: letter.place)[:limit]

    def close(self) -> None:
        """Close every log."""
        with self._threads:
            for log in self._logs.values():
                log.close()
            self._logs.clear()
            self._compacted.manifest.close()

    def _read(self, once: Callable[[], T]) -> T:
        """Read, again from the beginning where a compaction has moved what was being read."""
        with self._threads:
            while True:
                try:
                    return once()
                except CompactedMeanwhileError:
                    continue

    def _refreshed(self) -> list[LogFile]:
        """The logs of the folder as they are now, in the order of their names."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path not in self._logs and (opened := LogFile.open(path)):
                self._logs[path] = opened
        logs = sorted(self._logs.values(), key=lambda log: log.name)
        for log in logs:
            log.refresh()
        self._compacted.refresh()  # after the logs: what has left them by now is in the files that are known then
        manifest = self._compacted.manifest
        for log in logs:
            left_out = [id_ for name, id_ in manifest.left_out if name == log.name]
            log.forget(manifest.floors.get(log.name, 0), left_out)
        return logs

    def _latest(self, logs: Iterable[LogFile]) -> dict[str, int]:
        """The last batch of each log."""
        return dict(self._compacted.manifest.floors) | {log.name: log.last_id for log in logs}

    def _batch(self, stored: Stored) -> Readings:
        """The readings of one batch, from memory if it was read lately; `source` holds numbers of its log."""
        return self._cache.get((stored.log.name, stored.head.id), lambda: stored.log.batch(stored.head))

    def _named(self, stored: Stored) -> Readings:
        """The readings of one batch with the names of their sources."""
        batch = self._batch(stored)
        return replace(batch, source=stored.log.names[batch.source])

    def _times(self, log: LogFile, heads: Iterable[Head]) -> dict[str, tuple[int, int]]:
        """Per source the earliest and the latest time in these batches."""
        earliest, latest = np.full(len(log.names), _NEVER), np.full(len(log.names), -_NEVER)
        for head in heads:
            batch = self._batch(Stored(log, head))
            np.minimum.at(earliest, batch.source, batch.time_ms)
            np.maximum.at(latest, batch.source, batch.time_ms)
        found = np.flatnonzero(earliest < _NEVER)
        span = zip(earliest[found].tolist(), latest[found].tolist(), strict=True)
        return dict(zip(log.names[found].tolist(), span, strict=True))


def in_order(logs: Iterable[LogFile], heads: Callable[[LogFile], Iterable[Head]]) -> list[Stored]:
    """Batches of several logs in the order in which later values win."""
    return sorted((Stored(log, head) for log in logs for head in heads(log)), key=lambda stored: stored.order)


def seen_of(cursor: str, logs: Iterable[LogFile]) -> dict[str, int]:
    """The last batch read of each log. A log that went back (a restored backup) is read from its start."""
    told: dict[str, int] = json.loads(cursor) if cursor else {}
    for name in (_PLACE, DAYS):
        told.pop(name, None)
    known = {log.name: told.get(log.name, 0) for log in logs}
    return told | {log.name: known[log.name] if known[log.name] <= log.last_id else 0 for log in logs}


def _place(cursor: str) -> Place | None:
    """Where a tail stopped among what is compacted; None if it is not in the middle of it."""
    place = json.loads(cursor).get(_PLACE) if cursor else None
    return place and Place(*place)
