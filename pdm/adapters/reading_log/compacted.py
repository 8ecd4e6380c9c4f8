"""What is compacted, as its readers see it: the files that the manifest names, row groups on demand."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pdm.adapters.reading_log.cache import Cache
from pdm.adapters.reading_log.day_file import DayFile, Rows
from pdm.adapters.reading_log.manifest import DAY_MS, Manifest, StoredDay
from pdm.adapters.reading_log.schema import CompactedMeanwhileError
from pdm.errors import DamagedRecordError


class Place(NamedTuple):
    """A row among those that compactions changed, which are told in this order."""

    run: int
    day_ms: int
    source: str
    time_ms: int

    @staticmethod
    def behind(run: int) -> "Place":
        """Behind everything of this compaction and those before it."""
        return Place(run + 1, -(2**63), "", -(2**63))


class Part(NamedTuple):
    """Rows of one file that one compaction changed."""

    run: int
    day_ms: int
    rows: Rows

    def cut(self, count: int) -> "Part":
        """At most this many rows."""
        return self._replace(rows=self.rows.take(np.arange(min(count, len(self.rows.run)))))

    def span(self) -> dict[str, tuple[int, int]]:
        """Per source the earliest and the latest time."""
        number, time_ms = self.rows.readings.source, self.rows.readings.time_ms
        first = np.flatnonzero(np.diff(number, prepend=-1))  # sorted by source and time
        names = self.rows.names[number[first]].tolist()
        ends = zip(time_ms[first].tolist(), time_ms[np.append(first[1:], len(number)) - 1].tolist(), strict=True)
        return dict(zip(names, ends, strict=True))

    @property
    def end(self) -> Place:
        """The place of its last row."""
        readings = self.rows.readings
        return Place(self.run, self.day_ms, str(self.rows.names[readings.source[-1]]), int(readings.time_ms[-1]))


class Compacted:
    """The files of a folder. A damaged one is named, counted and skipped."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.manifest = Manifest(folder)
        self._folder = folder
        self._cache = cache
        self._opened: dict[str, DayFile] = {}

    def refresh(self) -> None:
        """Take note of what has been compacted since."""
        self.manifest.refresh()
        if len(self._opened) > len(self.manifest.files):  # some of them are gone
            there = {file.path for file in self.manifest.files}
            self._opened = {path: opened for path, opened in self._opened.items() if path in there}

    def rows(
        self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int, *, late: bool = False
    ) -> Iterator[Rows]:
        """Row groups that may hold readings of these sources with start <= time < end.

        Raises:
            CompactedMeanwhileError: a file has been replaced; begin again.
        """
        wanted = sorted(sources)
        for file in self.manifest.of_class(class_name, late=late):
            if file.day_ms < end_ms and file.day_ms + DAY_MS > start_ms and (opened := self._open(file)):
                for group in opened.groups_of(wanted):
                    yield from self._read(file, opened, group)

    def all_rows(self, file: StoredDay, *, source: str = "", values: bool = True) -> Iterator[Rows]:
        """All row groups of a file that hold this source or later ones; without `values` who was heard when."""
        if opened := self._open(file):
            for group in opened.groups(source):
                yield from self._read(file, opened, group, values=values)

    def sound(self, file: StoredDay) -> bool:
        """Whether a file can be read."""
        return self._open(file) is not None

    def following(self, class_name: str, place: Place, *, values: bool = True) -> Iterator[Part]:
        """What compactions changed behind a place, in the order of `Place`."""
        files = self.manifest.of_class(class_name)
        for run in range(place.run, self.manifest.last_run + 1):
            yield from self.of_run(files, run, place, values=values)

    def of_run(self, files: Iterable[StoredDay], run: int, place: Place, *, values: bool = True) -> Iterator[Part]:
        """What one compaction changed in these files of a class behind a place, in the order of `Place`."""
        for file in files:
            if file.first_run <= run <= file.last_run and (run, file.day_ms) >= place[:2]:
                source = place.source if (run, file.day_ms) == place[:2] else ""
                for rows in self.all_rows(file, source=source, values=values):
                    part = _behind(Part(run, file.day_ms, rows), place)
                    if len(part.rows.run):
                        yield part

    def _open(self, file: StoredDay) -> DayFile | None:
        if file.path not in self._opened and file.path not in self.manifest.damaged:
            try:
                self._opened[file.path] = DayFile(self._folder / file.path, file.sensors, file.file_crc)
            except FileNotFoundError:
                self._missing(file)
            except DamagedRecordError as error:
                self.manifest.quarantine(file.path, str(error))
        return None if file.path in self.manifest.damaged else self._opened[file.path]

    def _read(self, file: StoredDay, opened: DayFile, group: int, *, values: bool = True) -> Iterator[Rows]:
        """One row group; none if it is damaged."""
        try:
            yield self._cache.get((file.path, group, values), lambda: opened.read(group, values=values))
        except FileNotFoundError:
            self._missing(file)
        except DamagedRecordError as error:
            self.manifest.quarantine(file.path, str(error))

    def _missing(self, file: StoredDay) -> None:
        """A file that is not there has been replaced, or is lost."""
        self.manifest.refresh()
        if file not in self.manifest.files:
            raise CompactedMeanwhileError(file.path)
        self.manifest.quarantine(file.path, "the file is missing")


def _behind(part: Part, place: Place) -> Part:
    """The rows of a part that its compaction changed and that lie behind a place."""
    readings, names = part.rows.readings, part.rows.names
    wanted = part.rows.run == part.run
    if (part.run, part.day_ms) == place[:2]:
        after = np.array([name > place.source for name in names])[readings.source]
        same = np.array([name == place.source for name in names])[readings.source]
        wanted &= after | (same & (readings.time_ms > place.time_ms))
    return part._replace(rows=part.rows.take(np.flatnonzero(wanted)))
