"""Kills a thinning of logs at its statements, as compaction_sweep kills a compaction.

python -m tests.adapters.thinning_sweep SOUND KILLED EVERY
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from pdm.adapters.reading_log import LogThinner, ReadingLogWriter, compaction, manifest, thinning
from pdm.adapters.reading_log.spool import Spool
from pdm.readings import Readings
from tests.adapters.compaction_sweep import sweep

TRACED = {module.__file__ for module in (compaction, manifest, thinning)}


def forwarded(folder: Path) -> str:
    """The cursor after everything but the last two batches."""
    with closing(Spool(folder)) as spool:
        cursors = [""]
        while (block := spool.next_block(cursors[-1], 1)) is not None:
            cursors.append(block.cursor)
    return cursors[-3]


def look(folder: Path, cursor: str) -> list[Any]:
    """All that whoever forwards, and a page that follows, see behind a cursor."""
    found = list[Any]()
    with closing(Spool(folder)) as spool:
        found += [spool.waiting(cursor), spool.counts(), told(spool.tail("pump", cursor).readings)]
        while (block := spool.next_block(cursor, 1)) is not None:
            found += [(part.class_name, part.late, told(part.readings)) for part in block.parts]
            cursor = block.cursor
    return found


def told(readings: Readings) -> list[Any]:
    return [readings.source.tolist(), readings.time_ms.tolist(), np.nan_to_num(readings.values, nan=-1.0).tolist()]


def append(folder: Path) -> None:
    """One more reading, by a new start of a writer."""
    one = np.ones(1)
    new = Readings(("temp", "vib"), np.array(["p9"], object), one.astype(int), np.ones((1, 2)), one.astype("u1"))
    with closing(ReadingLogWriter(folder / "a.db")) as log:
        log.append({"pump": new})


def main(sound: Path, killed: Path, every: int) -> int:
    cursor = forwarded(sound)
    expected = look(sound, cursor)
    assert len(expected) == 5, expected

    def thin() -> None:
        LogThinner(killed, lambda: cursor).compact(2**62)

    def check() -> None:
        assert look(killed, cursor) == expected, "after the kill"
        thin()
        assert look(killed, cursor) == expected, "after the thinning that follows"
        with closing(Spool(killed)) as spool:
            assert sum(len(log.heads) for log in spool._refreshed()) == 2, "batches are left"
        append(killed)
        assert len(look(killed, cursor)) == len(expected) + 1, "what comes next is not seen"

    return sweep(sound, killed, every, thin, check, TRACED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
