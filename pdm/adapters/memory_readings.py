"""The reading store in memory: the same promises as the log, without the disk. For tests, benchmarks and notebooks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pdm.plant import Sensor
from pdm.ports import Changes, DeadLetter, ImportProgress, StoreCounts, StoredDeadLetter, Tail
from pdm.readings import ArrivalFlag, Downsampled, Readings, arrange, concatenate, downsample, merge


class _Batch(NamedTuple):
    class_name: str
    first_ms: int
    last_ms: int
    readings: Readings


class MemoryReadings:
    """A `ReadingWriter` and `ReadingStore` in one. A cursor is the number of batches seen."""

    def __init__(self) -> None:
        self._batches: list[_Batch] = []
        self._sensors: dict[str, dict[str, None]] = {}  # by class, in the order of their first appearance
        self._rows = 0
        self._late_rows = 0
        self._sessions_lost = 0
        self._dead: dict[tuple[str, bytes, str], StoredDeadLetter] = {}
        self._imports: dict[str, ImportProgress] = {}

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        """Keep all that is given."""
        for class_name, readings in batches.items():
            late = (readings.flags & ArrivalFlag.LATE) != 0
            self._rows += len(readings)
            self._late_rows += int(late.sum())
            if not late.all():
                self._keep(class_name, readings.take(~late))
        for letter in dead:
            self._bury(letter)
        if imported is not None:
            before = self._imports.get(imported.digest, imported).reached_ms
            self._imports[imported.digest] = replace(imported, reached_ms={**before, **imported.reached_ms})

    def note_lost_session(self) -> None:
        """Count that the broker came back without what it should have kept for us."""
        self._sessions_lost += 1

    def import_progress(self, digest: str) -> ImportProgress | None:
        """How far the file with this digest has been imported."""
        return self._imports.get(digest)

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What arrived for a class since `cursor` ("" is the beginning)."""
        batches = self._batches[int(cursor or 0) :]
        arrived = merge(concatenate([batch.readings for batch in batches if batch.class_name == class_name]))
        other = arrived.source[1:] != arrived.source[:-1]
        first, last = (np.flatnonzero(edge[: len(arrived)]) for edge in (np.r_[True, other], np.r_[other, True]))
        return Changes(arrived.source[first], arrived.time_ms[first], arrived.time_ms[last], self.latest_cursor())

    def tail(self, class_name: str, cursor: str, limit: int = 100_000) -> Tail:
        """The next readings that arrived for a class since `cursor`, about `limit` at most; none when up to date."""
        parts: list[Readings] = []
        position = int(cursor or 0)
        while position < len(self._batches) and sum(map(len, parts)) < limit:
            if self._batches[position].class_name == class_name:
                parts.append(self._batches[position].readings)
            position += 1
        return Tail(concatenate(parts), str(position))

    def latest_cursor(self) -> str:
        """The cursor after everything that has arrived: to follow from now on."""
        return str(len(self._batches))

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        position = {name: i for i, name in enumerate(sources)}
        during = [
            batch.readings
            for batch in self._batches
            if batch.last_ms >= start_ms and batch.first_ms < end_ms and batch.class_name == class_name
        ]
        places = [
            np.fromiter((position.get(name, -1) for name in readings.source.tolist()), np.int64, len(readings))
            for readings in during
        ]
        return arrange(during, places, sources, tuple(self._sensors.get(class_name, ())), start_ms, end_ms)

    def downsampled(
        self, class_name: str, source: str, sensors: Sequence[Sensor], start_ms: int, end_ms: int, every_ms: int
    ) -> Downsampled:
        """What these sensors of a source said, over stretches of `every_ms`."""
        return downsample(self.window(class_name, [source], start_ms, end_ms), sensors, every_ms)

    def delete(self, class_name: str, source: str, start_ms: int, end_ms: int) -> int:
        """Delete the readings of a source with start <= time < end; returns how many there were."""
        deleted = 0
        for place, batch in enumerate(self._batches):
            readings = batch.readings
            gone = (readings.source == source) & (readings.time_ms >= start_ms) & (readings.time_ms < end_ms)
            if batch.class_name == class_name and gone.any():
                self._batches[place] = batch._replace(readings=readings.take(~gone))
                deleted += int(gone.sum())
        return deleted

    def counts(self) -> StoreCounts:
        """Totals since the beginning."""
        return StoreCounts(
            readings=self._rows,
            dead_letters=sum(letter.count for letter in self._dead.values()),
            batches=len(self._batches),
            late=self._late_rows,
            sessions_lost=self._sessions_lost,
        )

    def dead_letters(
        self, limit: int = 100, reason: str | None = None, after: tuple[int, str] | None = None
    ) -> list[StoredDeadLetter]:
        """Newest first."""
        letters = [letter for letter in self._dead.values() if reason in (None, letter.reason)]
        if after is not None:
            letters = [letter for letter in letters if letter.place > (-after[0], after[1])]
        return sorted(letters, key=lambda letter: letter.place)[:limit]

    def close(self) -> None:
        """Nothing to close."""

    def _keep(self, class_name: str, readings: Readings) -> None:
        first_ms, last_ms = int(readings.time_ms.min()), int(readings.time_ms.max())
        self._batches.append(_Batch(class_name, first_ms, last_ms, readings))
        self._sensors.setdefault(class_name, {}).update(dict.fromkeys(readings.sensors))

    def _bury(self, letter: DeadLetter) -> None:
        key = (letter.topic, letter.payload, letter.reason)
        first = self._dead.get(key)
        if first is None:
            first = StoredDeadLetter(
                id=str(len(self._dead) + 1),
                topic=letter.topic,
                payload=letter.payload,
                reason=letter.reason,
                detail=letter.detail,
                first_seen_ms=letter.at_ms,
                last_seen_ms=letter.at_ms,
                count=0,
            )
        self._dead[key] = replace(first, last_seen_ms=letter.at_ms, count=first.count + 1)
