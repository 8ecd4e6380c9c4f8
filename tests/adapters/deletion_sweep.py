"""Kills a deletion at its statements, as compaction_sweep kills a compaction.

python -m tests.adapters.deletion_sweep SOUND KILLED EVERY
"""

import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from pdm.adapters.reading_log import ReadingLog, compaction, day_file, deletion, manifest
from pdm.adapters.reading_log.deletion import delete_readings
from tests.adapters.compaction_sweep import DAY, look, sweep

TRACED = {module.__file__ for module in (compaction, manifest, day_file, deletion)}


def delete(folder: Path) -> int:
    return delete_readings(folder, "pump", "p2", 0, DAY)


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".parquet" in path.name]


def main(sound: Path, killed: Path, every: int) -> int:
    before = look(sound)
    shutil.copytree(sound, killed)
    assert delete(killed) > 0
    after = look(killed)
    assert after != before

    def check() -> None:
        found: list[Any] = look(killed)
        assert found in (before, after), "after the kill"
        delete(killed)
        assert look(killed) == after, "after the deletion that follows"
        assert len(files_in(killed)) == 2, files_in(killed)
        with closing(ReadingLog(killed)) as reader:
            assert reader.counts().damaged == 0

    return sweep(sound, killed, every, lambda: delete(killed), check, TRACED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
