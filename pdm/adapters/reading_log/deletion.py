"""Readings of one source are deleted: what is in the logs goes into files, and their days are written again without it.

One transaction of the manifest makes it true: killed anywhere, all of it is there or nothing is.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.reading_log.compacted import Compacted
from pdm.adapters.reading_log.compaction import Day, Kind, LogCompactor, Logs, disk_errors
from pdm.adapters.reading_log.day_file import Rows
from pdm.adapters.reading_log.manifest import DAY_MS, ManifestWriter, StoredDay
from pdm.errors import DamagedRecordError

_EVER_MS = 2**62


class _Asked(NamedTuple):
    """Readings of a source with start <= time < end, late ones too."""

    class_name: str
    source: str
    start_ms: int
    end_ms: int

    def rows_of(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows they are `[n]`."""
        time_ms, mine = rows.readings.time_ms, rows.names == self.source
        return np.asarray(mine[rows.readings.source] & (time_ms >= self.start_ms) & (time_ms < self.end_ms))

    def count_in(self, compacted: Compacted, file: StoredDay) -> int:
        """How many of them are in a file."""
        day = file.day_ms, file.day_ms + 1
        found = compacted.rows(file.class_name, [self.source], *day, late=bool(file.late))
        return sum(int(self.rows_of(rows).sum()) for rows in found)

    def files(self, compacted: Compacted) -> list[StoredDay]:
        """The files that may hold them."""
        mine = [file for late in (False, True) for file in compacted.manifest.of_class(self.class_name, late=late)]
        return [file for file in mine if file.day_ms < self.end_ms and file.day_ms + DAY_MS > self.start_ms]


def delete_readings(folder: Path, class_name: str, source: str, start_ms: int, end_ms: int) -> int:
    """Delete the readings of a source with start <= time < end, late ones too; returns how many there were.

    Raises:
        ConflictError: another process compacts these logs.
        DamagedRecordError: a file of that time is damaged. Nothing was deleted.
        StoreError: the disk is full. Nothing was deleted.
    """
    LogCompactor(folder).compact(_EVER_MS)
    asked = _Asked(class_name, source, start_ms, end_ms)
    with closing(ManifestWriter(folder)) as manifest, closing(Logs(folder)) as logs, disk_errors():
        files = asked.files(logs.compacted)
        _refuse_damaged(logs.compacted, files)
        counts = {file: asked.count_in(logs.compacted, file) for file in files}
        touched = [file for file in files if counts[file]]
        made = [day.finish() for file in touched if (day := _written_again(manifest, logs.compacted, file, asked))]
        manifest.replace(touched, made)
        manifest.clear_away()
    return sum(counts.values())


def _refuse_damaged(compacted: Compacted, files: Sequence[StoredDay]) -> None:
    for file in files:
        if not compacted.sound(file):
            raise DamagedRecordError(f"{file.path} is damaged: nobody knows what is in it")


def _written_again(manifest: ManifestWriter, compacted: Compacted, file: StoredDay, without: _Asked) -> Day | None:
    """A file without some readings; None if nothing would be in it."""
    day = None
    for rows in compacted.all_rows(file):
        kept = rows.take(np.flatnonzero(~without.rows_of(rows)))
        if len(kept.run):
            day = day or Day.begin(
                manifest, Kind(file.class_name, bool(file.late)), file.day_ms // DAY_MS, file.sensors
            )
            day.add(kept)
    return day
