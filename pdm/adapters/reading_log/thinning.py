"""Batches that another store has go from the logs, in the way in which those go that are in files.

A run without files is made true in one transaction of the manifest, and then the batches are dropped: killed anywhere,
readers of the logs find all of them or none, and the totals count them ever after.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pdm.adapters.reading_log.compaction import LogCompactor, Logs, Work
from pdm.adapters.reading_log.log_file import Stored
from pdm.adapters.reading_log.manifest import DAY_MS, ManifestWriter
from pdm.ports import Compaction

KEPT_MS = DAY_MS
"""How long batches stay in a log after their commit, whoever else has them."""


class LogThinner(LogCompactor):
    """Keeps the logs of a folder small that are the spool in front of another store (`Compactor`)."""

    def __init__(self, folder: Path, forwarded: Callable[[], str]) -> None:
        """`forwarded` tells the cursor up to which that store has what the logs hold."""
        super().__init__(folder)
        self._forwarded = forwarded

    def compact(self, before_ms: int) -> Compaction:
        """Drop every batch that was committed a day before this wall time and has been forwarded since.

        Raises:
            ConflictError: another process thins or compacts these logs.
        """
        return super().compact(before_ms - KEPT_MS)

    def _most(self, logs: Sequence[str]) -> Mapping[str, int]:
        cursor = self._forwarded()
        passed = json.loads(cursor) if cursor else {}
        return {name: passed.get(name, 0) for name in logs}

    def _keep(self, manifest: ManifestWriter, logs: Logs, work: Work, waiting: Sequence[Stored]) -> None:
        """Look at all of it: what is damaged was not forwarded either, and stays where it is."""
        for log, head in waiting:
            log.batch(head)
