"""A bucket that others write live: new readings in it are taken into a log of our own, and it is never written to.

Each source has a cursor, the time of its newest reading, kept with the readings in one commit. A look begins an overlap
before it, so that readings out of order are found; those of the overlap that were taken already are passed over.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import structlog

from pdm.background import Background
from pdm.errors import StoreError
from pdm.ingest.bucket import Mapped, map_measurement, readings_of, windows
from pdm.ingest.decode import FUTURE_MS
from pdm.plant import LATENESS_MS, Plant
from pdm.ports import Clock, ImportProgress, Points, PointSource, ReadingWriter
from pdm.readings import ArrivalFlag, Readings, concatenate, merge

LOOK_MS = 30_000
"""Time between two looks, unless settings say otherwise."""

OVERLAP_MS = 15 * 60_000
"""How far before the newest reading of its source one is still looked for, unless settings say otherwise."""

MAP_EVERY_MS = 10 * 60_000
"""How often it is found out anew what the bucket holds: machines are added to it."""

_log = structlog.stdlib.get_logger(__name__)


class AdoptedBucket:
    """Takes what is new in a bucket.

    Attributes:
        background: looks again and again.

    Args:
        measurements: those that are read; all if none is named.
        open_log: opens the log that readings go into.
        plant: the plant by which they are named, asked at each look.
        interval_ms: time between two looks.
        overlap_ms: how far before the newest reading of its source one may be that is still found.
    """

    def __init__(
        self,
        bucket: PointSource,
        measurements: Sequence[str],
        open_log: Callable[[], ReadingWriter],
        plant: Callable[[], Plant],
        clock: Clock,
        *,
        interval_ms: int,
        overlap_ms: int,
    ):
        self.background = Background("adopted bucket", self._look, interval_ms / 1000)
        self._bucket, self._measurements = bucket, measurements
        self._open_log, self._plant, self._clock, self._overlap_ms = open_log, plant, clock, overlap_ms
        self._writer: ReadingWriter | None = None
        self._mapped: list[Mapped] = []
        self._mapped_for, self._mapped_ms = "", 0
        self._seen: dict[str, Readings] = {}  # by class: what was taken that a look may find again

    def close(self) -> None:
        """Look no more, and let go of bucket and log."""
        self.background.stop()
        self._bucket.close()
        if self._writer is not None:
            self._writer.close()

    def degraded(self) -> list[str]:
        """What is wrong with it, in sentences."""
        problem = self.background.problem
        return [] if problem is None else [f"adopted bucket: {problem}"]

    def look(self) -> int:
        """Take what is new; returns how many readings that were.

        Raises:
            StoreError: the bucket does not answer, holds nothing of the plant, or readings cannot be kept.
        """
        self._writer = self._writer or self._open_log()
        self._map(self._plant())
        return sum(self._take(mapped, self._writer) for mapped in self._mapped)

    def _look(self) -> int:
        self.look()
        return 0  # whatever came, the bucket of others is asked no sooner

    def _map(self, plant: Plant) -> None:
        now_ms = self._clock.wall_ms()
        # sooner than the overlap ends: what a new field has said until then is still found
        every_ms = min(MAP_EVERY_MS, self._overlap_ms // 2)
        if plant.version == self._mapped_for and now_ms - self._mapped_ms < every_ms:
            return
        names = self._measurements or self._bucket.measurements()
        found = [map_measurement(self._bucket, name, plant) for name in names]
        remarks = [remark for mapped in found for remark in mapped.remarks]
        if not any(mapped.wanted.fields for mapped in found):
            why = f", for example {remarks[0].what}: {remarks[0].detail}" if remarks else ""
            raise StoreError(f"{self._bucket.name} holds nothing of this plant (`lines` in plant.yaml){why}")
        if remarks and plant.version != self._mapped_for:
            first = [f"{remark.what}: {remark.detail}" for remark in remarks[:5]]
            _log.warning("not all of the adopted bucket is read", remarks=len(remarks), first=first)
        self._mapped = [mapped for mapped in found if mapped.wanted.fields]
        self._mapped_for, self._mapped_ms = plant.version, now_ms

    def _take(self, mapped: Mapped, writer: ReadingWriter) -> int:
        measurement, now_ms = mapped.wanted.measurement, self._clock.plant_ms()
        digest = hashlib.sha256(f"adopted {self._bucket.name} {measurement}".encode()).hexdigest()
        progress = writer.import_progress(digest) or ImportProgress(digest, measurement, 0, 0, finished=False)
        reached, taken = dict(progress.reached_ms), 0
        starts = {source: self._start_ms(reached.get(source), now_ms) for source in mapped.sources}
        for group in _alike(starts, now_ms):
            chosen, start_ms = mapped.of_sources(group), min(starts[source] for source in group)
            for _, points in windows(self._bucket, chosen, start_ms, now_ms + FUTURE_MS):
                if self.background.stopping.is_set():
                    return taken
                batches, bad_values = self._new(points, chosen, starts)
                rows, moved = sum(map(len, batches.values())), _newest(batches.values(), reached)
                progress = replace(
                    progress, rows=progress.rows + rows, bad_rows=progress.bad_rows + bad_values, reached_ms=moved
                )
                if batches:
                    writer.append(batches, imported=progress)
                reached |= moved
                self._remember(batches, reached)
                taken += rows
        return taken

    def _start_ms(self, reached_ms: int | None, now_ms: int) -> int:
        """From when on a source is read: what is older than readings may be is left to an import."""
        oldest = now_ms - LATENESS_MS
        return oldest if reached_ms is None else max(reached_ms - self._overlap_ms, oldest)

    def _new(self, points: Points, mapped: Mapped, starts: Mapping[str, int]) -> tuple[dict[str, Readings], int]:
        """The readings among points that were not taken before, by class, and how many values are none."""
        batches, bad = readings_of(points, mapped, ArrivalFlag.NONE)
        found = dict[str, Readings]()
        for name, readings in batches.items():
            begin = np.array([starts[source] for source in readings.source.tolist()], dtype=np.int64)
            new = _unseen(readings.take(readings.time_ms >= begin), self._seen.get(name))
            if len(new):
                found[name] = new
        return found, len(bad)

    def _remember(self, batches: Mapping[str, Readings], reached: Mapping[str, int]) -> None:
        """Keep what was taken, as long as the next look may find it again."""
        for name, readings in batches.items():
            before = [self._seen[name]] if name in self._seen else []
            seen = merge(concatenate([*before, readings]))
            newest = np.array([reached[source] for source in seen.source.tolist()], dtype=np.int64)
            self._seen[name] = seen.take(seen.time_ms >= newest - self._overlap_ms)


def _alike(starts: Mapping[str, int], now_ms: int) -> Iterator[list[str]]:
    """Sources in groups that are read from about the same time on: one that was silent for days drags no other back."""
    groups = dict[int, list[str]]()
    for source, start_ms in starts.items():
        groups.setdefault(max(now_ms - start_ms, 1).bit_length(), []).append(source)
    yield from groups.values()


def _unseen(found: Readings, seen: Readings | None) -> Readings:
    """Readings that say anything that those seen before do not say."""
    if seen is None or not len(found):
        return found
    keys, known = (pd.MultiIndex.from_arrays([one.source, one.time_ms]) for one in (found, seen))
    place = known.get_indexer(keys)
    same = np.isnan(found.values) | (found.values == seen.values[place])
    return found.take((place < 0) | ~same.all(axis=1))


def _newest(batches: Iterable[Readings], reached: Mapping[str, int]) -> dict[str, int]:
    """The cursors that readings move forward."""
    newest = dict[str, int]()
    for readings in batches:
        for source, time_ms in zip(readings.source.tolist(), readings.time_ms.tolist(), strict=True):
            newest[source] = max(time_ms, newest.get(source, 0))
    return {source: time_ms for source, time_ms in newest.items() if time_ms > reached.get(source, 0)}
