"""Logs in front of another store: what it has goes from them; what was compacted before is forwarded as well."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import LogCompactor, LogThinner, ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool
from pdm.adapters.reading_log.thinning import KEPT_MS
from pdm.ports import DeadLetter
from pdm.readings import ArrivalFlag, Readings
from tests.adapters import thinning_sweep
from tests.adapters.compaction_sweep import SOURCES, filled, kill_everywhere

DAY = 86_400_000
FAR = 2**62


class Logs:
    """A log whose commits have the times that are set, and a spool that forwards into memory."""

    def __init__(self, folder: Path):
        self.folder, self.now_ms, self.cursor = folder, 0, ""
        self.log = ReadingLogWriter(folder / "a.db", clock=lambda: self.now_ms)
        self.spool, self.store = Spool(folder), MemoryReadings()

    def take(self, *values: float, time_ms: int = 1, class_name: str = "pump", late: bool = False) -> None:
        count = len(values)
        flags = np.full(count, ArrivalFlag.LATE if late else 0, dtype=np.uint8)
        times = time_ms + np.arange(count)
        self.log.append(
            {class_name: Readings(("temp",), np.full(count, "p1", object), times, np.array([values]).T, flags)}
        )

    def forward(self, limit: int = 1_000) -> list[int]:
        """Forward all that waits; returns the sizes of the blocks."""
        sizes = list[int]()
        while (block := self.spool.next_block(self.cursor, limit)) is not None:
            for part in block.parts:
                self.store.append({part.class_name: part.readings})
            sizes.append(sum(len(part.readings) for part in block.parts))
            self.cursor = block.cursor
        assert self.spool.waiting(self.cursor).rows == 0
        return sizes

    def thin(self, before_ms: int = FAR) -> int:
        """How many batches went."""
        return LogThinner(self.folder, lambda: self.cursor).compact(before_ms).batches

    def values(self, class_name: str = "pump") -> list[float]:
        """What has been forwarded, by time."""
        window = self.store.window(class_name, ["p1"], -FAR, FAR)
        return window.values[:, 0].tolist() if len(window) else []

    def batches(self) -> int:
        found: int = self.log._db.execute("SELECT count(*) FROM bodies").fetchone()[0]
        return found

    def close(self) -> None:
        self.log.close()
        self.spool.close()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    made.close()


def test_what_has_been_forwarded_goes_after_a_day_and_nothing_else_does(logs: Logs) -> None:
    logs.take(1.0)
    assert logs.thin() == 0
    logs.forward()
    logs.now_ms = DAY
    logs.take(2.0, time_ms=2)
    logs.forward()
    logs.take(3.0, time_ms=3)
    before = logs.spool.counts()
    assert logs.thin(DAY + KEPT_MS) == 1
    assert logs.batches() == 2
    assert logs.spool.counts() == before
    assert logs.thin() == 1
    assert logs.forward() == [1]
    assert logs.values() == [1.0, 2.0, 3.0]


def test_dead_letters_stay(logs: Logs) -> None:
    logs.take(1.0)
    logs.log.append({}, [DeadLetter("t", b"{", "broken_json", "it ends too early", 1)])
    logs.forward()
    assert logs.thin() == 1
    assert [letter.topic for letter in logs.spool.dead_letters()] == ["t"]


def test_a_page_that_follows_the_log_misses_nothing_of_what_is_left(logs: Logs) -> None:
    logs.take(1.0)
    cursor = logs.spool.latest_cursor()
    logs.take(2.0, time_ms=2)
    logs.forward()
    logs.now_ms = DAY
    logs.take(3.0, time_ms=3)
    assert logs.thin(DAY + KEPT_MS) == 2
    tail = logs.spool.tail("pump", cursor)
    assert tail.readings.values[:, 0].tolist() == [3.0]
    assert len(logs.spool.tail("pump", tail.cursor).readings) == 0


def test_a_damaged_batch_stays_and_is_counted(logs: Logs) -> None:
    logs.take(1.0)
    logs.take(2.0, time_ms=2)
    logs.log._db.execute("UPDATE bodies SET body = x'00' WHERE batch = 1")
    logs.forward()
    assert logs.thin() == 2
    assert logs.batches() == 1
    with closing(Spool(logs.folder)) as anew:
        assert anew.counts().damaged == 1


def test_a_log_that_thins_is_written_on_and_knows_what_waits(logs: Logs) -> None:
    logs.take(1.0)
    logs.forward()
    logs.thin()
    logs.close()
    logs.log, logs.spool = ReadingLogWriter(logs.folder / "a.db"), Spool(logs.folder)
    logs.take(2.0, time_ms=2)
    assert logs.forward() == [1]


def test_days_that_are_in_files_are_forwarded_before_batches_and_each_reading_once(logs: Logs) -> None:
    for turn in range(3):
        for class_name in ("fan", "pump"):
            logs.take(*(float(turn) for _ in range(5)), time_ms=turn * DAY // 2, class_name=class_name)
        logs.take(9.0, late=True)
        LogCompactor(logs.folder).compact(FAR)
    logs.take(7.0, time_ms=0)
    assert logs.spool.waiting("").rows == 32
    sizes = logs.forward(limit=4)
    assert (sum(sizes), max(sizes)) == (32, 4)
    assert logs.values() == [7.0, *[0.0] * 4, *[1.0] * 5, *[2.0] * 5]
    assert logs.values("fan") == [*[0.0] * 5, *[1.0] * 5, *[2.0] * 5]
    assert logs.store.counts().late == 1
    assert Spool(logs.folder).waiting(logs.cursor).rows == 0


def test_batches_that_were_forwarded_before_older_files_are_forwarded_again(logs: Logs) -> None:
    logs.take(1.0)
    LogCompactor(logs.folder).compact(FAR)
    logs.take(2.0)
    logs.cursor = logs.spool.latest_cursor()  # of a version that did not look at files
    assert logs.forward() == [1, 1]
    assert logs.values() == [2.0]


def test_days_that_are_compacted_in_between_are_forwarded_too(logs: Logs) -> None:
    logs.take(1.0, time_ms=5 * DAY, class_name="pump")
    LogCompactor(logs.folder).compact(FAR)
    logs.forward()
    logs.take(2.0, time_ms=2 * DAY, class_name="fan")
    logs.take(3.0, time_ms=5 * DAY, class_name="pump")
    LogCompactor(logs.folder).compact(FAR)
    logs.forward()
    assert (logs.values("fan"), logs.values("pump")) == ([2.0], [3.0])


def test_days_that_the_other_store_would_not_keep_are_passed_over(logs: Logs) -> None:
    logs.take(1.0, time_ms=5 * DAY)
    LogCompactor(logs.folder).compact(FAR)
    logs.spool = Spool(logs.folder, kept_ms=400 * DAY)
    assert logs.forward() == []


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_anywhere_a_thinning_loses_nothing_and_counts_nothing_twice(tmp_path: Path, every: int) -> None:
    (sound := tmp_path / "sound").mkdir()
    filled(sound)
    assert len(SOURCES) == 3
    assert kill_everywhere(sound, tmp_path / "killed", every, thinning_sweep.__name__) > 200 // every
    shutil.rmtree(tmp_path / "killed")
