"""The reading side: all logs of a folder as one store."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import NamedTuple

import numpy as np

from pdm.adapters.reading_log.log_file import LogFile
from pdm.adapters.reading_log.schema import SUFFIX, Head
from pdm.ports import Changes, StoreCounts, StoredDeadLetter, Tail
from pdm.readings import Readings, arrange, concatenate

_CACHE_BYTES = 256_000_000
_BATCH_OVERHEAD = 2_000  # objects around the arrays of a batch [bytes]
_NEVER = np.iinfo(np.int64).max


class _Stored(NamedTuple):
    """A batch where it stands."""

    log: LogFile
    head: Head

    @property
    def order(self) -> tuple[int, str, int]:
        """Of two values of one key the one of higher order wins."""
        return self.head.committed_ms, self.log.name, self.head.id


class ReadingLog:
    """Reads every log of a folder (`ReadingStore`), also while they are written. Threads may share it."""

    def __init__(self, folder: Path, *, cache_bytes: int = _CACHE_BYTES):
        self._folder = folder
        self._threads = RLock()
        self._logs: dict[Path, LogFile] = {}
        # ticks and pages read the same last batches again and again
        self._cache: OrderedDict[tuple[str, int], Readings] = OrderedDict()
        self._room = cache_bytes

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What arrived for a class since `cursor` ("" is the beginning)."""
        times: dict[str, tuple[int, int]] = {}
        with self._threads:
            logs = self._refreshed()
            seen = _seen(cursor, logs)
            for log in logs:
                for name, (first, last) in self._times(log, log.heads_of(class_name, after=seen[log.name])).items():
                    earliest, newest = times.get(name, (first, last))
                    times[name] = min(first, earliest), max(last, newest)
            latest = {log.name: log.last_id for log in logs}
        source = sorted(times)
        span = np.array([times[name] for name in source], dtype=np.int64).reshape(-1, 2)
        return Changes(np.array(source, dtype=object), span[:, 0], span[:, 1], json.dumps(seen | latest))

    def tail(self, class_name: str, cursor: str, limit: int = 100_000) -> Tail:
        """The next readings that arrived for a class since `cursor`, about `limit` at most; none when up to date."""
        with self._threads:
            logs = self._refreshed()
            seen = _seen(cursor, logs)
            waiting = _in_order(logs, lambda log: log.heads_of(class_name, after=seen[log.name]))
            count = 1 + int(np.searchsorted(np.cumsum([stored.head.rows for stored in waiting]), limit))
            readings = concatenate([self._named(stored) for stored in waiting[:count]])
            passed = {log.name: log.last_id for log in logs}
            for stored in reversed(waiting[count:]):
                passed[stored.log.name] = stored.head.id - 1
        return Tail(readings, json.dumps(seen | passed))

    def latest_cursor(self) -> str:
        """The cursor after everything that has arrived: to follow from now on."""
        with self._threads:
            return json.dumps({log.name: log.last_id for log in self._refreshed()})

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        with self._threads:
            logs = self._refreshed()
            sensors = tuple(dict.fromkeys(sensor for log in logs for sensor in log.sensors_of(class_name)))
            position = {log.name: log.positions(sources) for log in logs}
            stored = _in_order(logs, lambda log: log.heads_of(class_name, start_ms=start_ms, end_ms=end_ms))
            batches = [self._batch(batch) for batch in stored]
        places = [position[log.name][batch.source] for (log, _), batch in zip(stored, batches, strict=True)]
        return arrange(batches, places, sources, sensors, start_ms, end_ms)

    def counts(self) -> StoreCounts:
        """Totals over all logs."""
        with self._threads:
            logs = self._refreshed()
            counters = [log.counters() for log in logs]
            return StoreCounts(
                readings=sum(int(log.heads["rows"].sum()) for log in logs),
                dead_letters=sum(counter.get("dead_letters", 0) for counter in counters),
                batches=sum(len(log.heads) for log in logs),
                late=sum(log.late_rows() for log in logs),
                dead_letters_dropped=sum(counter.get("dead_letters_dropped", 0) for counter in counters),
                damaged=sum(len(log.damaged) for log in logs),
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

    def _refreshed(self) -> list[LogFile]:
        """The logs of the folder as they are now, in the order of their names."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path not in self._logs and (opened := LogFile.open(path)):
                self._logs[path] = opened
        logs = sorted(self._logs.values(), key=lambda log: log.name)
        for log in logs:
            log.refresh()
        return logs

    def _batch(self, stored: _Stored) -> Readings:
        """The readings of one batch, from memory if it was read lately; `source` holds numbers of its log."""
        key = (stored.log.name, stored.head.id)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        batch = stored.log.batch(stored.head)
        self._cache[key] = batch
        self._room -= _size(batch)
        while self._room < 0:
            self._room += _size(self._cache.popitem(last=False)[1])
        return batch

    def _named(self, stored: _Stored) -> Readings:
        """The readings of one batch with the names of their sources."""
        batch = self._batch(stored)
        return replace(batch, source=stored.log.names[batch.source])

    def _times(self, log: LogFile, heads: Iterable[Head]) -> dict[str, tuple[int, int]]:
        """Per source the earliest and the latest time in these batches."""
        earliest, latest = np.full(len(log.names), _NEVER), np.full(len(log.names), -_NEVER)
        for head in heads:
            batch = self._batch(_Stored(log, head))
            np.minimum.at(earliest, batch.source, batch.time_ms)
            np.maximum.at(latest, batch.source, batch.time_ms)
        found = np.flatnonzero(earliest < _NEVER)
        span = zip(earliest[found].tolist(), latest[found].tolist(), strict=True)
        return dict(zip(log.names[found].tolist(), span, strict=True))


def _in_order(logs: Iterable[LogFile], heads: Callable[[LogFile], Iterable[Head]]) -> list[_Stored]:
    """Batches of several logs in the order in which later values win."""
    return sorted((_Stored(log, head) for log in logs for head in heads(log)), key=lambda stored: stored.order)


def _seen(cursor: str, logs: Iterable[LogFile]) -> dict[str, int]:
    """The last batch read of each log. A log that went back (a restored backup) is read from its start."""
    told: dict[str, int] = json.loads(cursor) if cursor else {}
    known = {log.name: told.get(log.name, 0) for log in logs}
    return told | {log.name: known[log.name] if known[log.name] <= log.last_id else 0 for log in logs}


def _size(batch: Readings) -> int:
    return _BATCH_OVERHEAD + batch.values.nbytes + batch.time_ms.nbytes + batch.source.nbytes + batch.flags.nbytes
