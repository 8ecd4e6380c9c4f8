"""Kills a compaction at its statements, each time in a process of its own, and looks at what is left.

python -m tests.adapters.compaction_sweep SOUND KILLED EVERY
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Set
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter, compaction, day_file, manifest
from pdm.readings import Readings

DAY = 86_400_000
SOURCES = ["p1", "p2", "p3"]
OFTEN = 3  # a statement in a loop is swept so many times
TRACED = {module.__file__ for module in (compaction, manifest, day_file)}


def filled(folder: Path) -> MemoryReadings:
    """A store with a compacted day, and batches that correct it and go on behind it."""
    memory = MemoryReadings()
    with closing(ReadingLogWriter(folder / "a.db")) as a, closing(ReadingLogWriter(folder / "b.db")) as b:
        for number in range(6):
            values = np.array([[number, 1.0] if number % 2 else [np.nan, number]] * 3, dtype=np.float64)
            time_ms = np.array([1, 2 + number, DAY + number % 3])
            readings = Readings(
                ("temp", "vib"), np.array(SOURCES, dtype=object), time_ms, values, np.zeros(3, dtype=np.uint8)
            )
            for store in ((a, b)[number % 2], memory):
                store.append({"pump": readings})
            if number == 2:
                LogCompactor(folder).compact(2**62)
    return memory


def kill_everywhere(sound: Path, killed: Path, every: int, module: str = __name__) -> int:
    """Raises if a kill loses or doubles anything; returns at how many statements it was killed."""
    command = [sys.executable, "-m", module, str(sound), str(killed), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return int(done.stdout)


def look(folder: Path) -> list[Any]:
    """All that a reader sees."""
    with closing(ReadingLog(folder)) as reader:
        window = reader.window("pump", SOURCES, 0, 2**62)
        changes = reader.changes("pump", "")
        assert reader.counts().damaged == 0, reader._compacted.manifest.damaged
        counts = reader.counts()
        return [
            window.source.tolist(),
            window.time_ms.tolist(),
            np.nan_to_num(window.values, nan=-1.0).tolist(),
            [column.tolist() for column in changes[:3]],
            (counts.readings, counts.batches, counts.late),
        ]


def die_at(statement: int, act: Callable[[], object], traced: Set[str | None] = TRACED) -> None:
    """Do something, and end at once at this statement of it."""
    left, passed = statement, Counter[tuple[str, int]]()

    def at_line(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        nonlocal left
        at = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and passed[at] < OFTEN:
            passed[at] += 1
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    sys.settrace(lambda frame, event, _: at_line if frame.f_code.co_filename in traced else None)
    act()


def in_a_process(action: Callable[[], object]) -> int:
    """Its wait status. A fork, since it is done hundreds of times; nothing runs beside it here."""
    if not (child := os.fork()):
        try:
            action()
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(sound: Path, killed: Path, every: int) -> int:
    expected = look(sound)

    def check() -> None:
        assert look(killed) == expected, "after the kill"
        LogCompactor(killed).compact(2**62)
        assert look(killed) == expected, "after the compaction that follows"
        files = [path for path in killed.rglob("*") if ".parquet" in path.name]
        assert len(files) == 2, files

    return sweep(sound, killed, every, lambda: LogCompactor(killed, most_rows=4).compact(2**62), check)


def sweep(
    sound: Path,
    killed: Path,
    every: int,
    act: Callable[[], object],
    check: Callable[[], None],
    traced: Set[str | None] = TRACED,
) -> int:
    """Kill it at each `every`-th statement, on a copy each time, and check the copy; says how often, or what failed."""
    statement, kills, status = 1, -1, int(signal.SIGKILL)
    while status == signal.SIGKILL:
        statement, kills = statement + every, kills + 1
        shutil.rmtree(killed, ignore_errors=True)
        shutil.copytree(sound, killed)
        status = in_a_process(partial(die_at, statement, act, traced))
        if in_a_process(check):
            sys.stderr.write(f"killed at statement {statement}\n")
            return 1
    sys.stdout.write(f"{kills}\n")
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
