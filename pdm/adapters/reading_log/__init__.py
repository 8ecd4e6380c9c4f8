"""The embedded reading store: one SQLite (WAL) log for each ingesting process, any number of reading processes, and
Parquet files of the days that are compacted.

A commit is one columnar Arrow batch for each class of machines. A batch names its sources by number and its sensors by
layout; both tables travel in the same log. SQLite itself does not notice a flipped byte, so every row that readings
depend on carries a CRC: a damaged batch is named, counted and skipped, never read as something else.
"""

from pdm.adapters.reading_log.compaction import LogCompactor
from pdm.adapters.reading_log.reader import ReadingLog
from pdm.adapters.reading_log.thinning import LogThinner
from pdm.adapters.reading_log.writer import ReadingLogWriter

__all__ = ["LogCompactor", "LogThinner", "ReadingLog", "ReadingLogWriter"]
