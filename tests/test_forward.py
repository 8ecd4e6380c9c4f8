"""Forwarding, on a store that misbehaves as it is told; a real one is in test_influx.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from pdm import forward
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import LogThinner
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.errors import BusyStoreError, FailedWriteError, RefusedWriteError, StoreError
from pdm.forward import Forwarder
from pdm.ports import SpoolPart
from pdm.readings import ArrivalFlag, Readings
from pdm.state import forwarding
from pdm.state.schema import cursors, open_state, read, write

NAN = float("nan")
Row = tuple[str, int, float]


@dataclass
class Points:
    """A `PointStore` in memory; `trouble` raises what is to go wrong with a write."""

    trouble: Callable[[SpoolPart], None] = lambda part: None
    values: dict[tuple[str, bool, str, int, str], float] = field(default_factory=dict)
    writes: int = 0
    name: str = "points"

    def prepare(self) -> None:
        pass

    def write(self, part: SpoolPart) -> None:
        self.writes += 1
        self.trouble(part)
        found = part.readings
        for source, time_ms, row in zip(found.source, found.time_ms.tolist(), found.values.tolist(), strict=True):
            for sensor, value in zip(found.sensors, row, strict=True):
                if value == value:
                    self.values[part.class_name, part.late, source, time_ms, sensor] = value

    def of(self, source: str, sensor: str = "temp") -> dict[int, float]:
        """Values of one sensor by time."""
        found = {
            key[3]: value for key, value in self.values.items() if (*key[:3], key[4]) == ("pump", False, source, sensor)
        }
        return dict(sorted(found.items()))


class Clock:
    """Both clocks show what they are set to."""

    now_ms = 1_000

    def plant_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms


class Bench:
    """A log, its forwarder, and the store behind it."""

    def __init__(self, folder: Path, most_bytes: int = 10**9):
        folder.mkdir(parents=True, exist_ok=True)
        self.points, self.letters, self.clock = Points(), MemoryReadings(), Clock()
        self.log, self.spool = SpoolWriter(folder / "ingest.db", most_bytes), Spool(folder)
        self.engine = open_state(f"sqlite:///{folder / 'state' / 'state.db'}")
        self.forwarder = self.make(most_bytes)

    def make(self, most_bytes: int = 10**9) -> Forwarder:
        return Forwarder(self.engine, self.spool, self.points, lambda: self.letters, self.clock, most_bytes)

    def take(self, *rows: Row, late: bool = False) -> None:
        """Readings arrive in one commit."""
        self.log.append({"pump": pumps(*rows, late=late)})

    def news(self, number: int = 0) -> dict[str, int]:
        """The earliest new time by source after a mark."""
        with read(self.engine) as connection:
            found = forwarding.marked_after(connection, "pump", number)
        return dict(zip(found.source.tolist(), found.earliest_ms.tolist(), strict=True))

    def close(self) -> None:
        self.log.close()
        self.spool.close()
        self.engine.dispose()


def pumps(*rows: Row, late: bool = False) -> Readings:
    source = np.array([row[0] for row in rows], dtype=object)
    times = np.array([row[1] for row in rows], dtype=np.int64)
    values = np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), 1)
    return Readings(
        ("temp",), source, times, values, np.full(len(rows), ArrivalFlag.LATE if late else 0, dtype=np.uint8)
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def values_above(limit: float) -> Callable[[SpoolPart], None]:
    """Refuse whatever holds a value above a limit."""

    def trouble(part: SpoolPart) -> None:
        if (part.readings.values > limit).any():
            raise RefusedWriteError("type_conflict", "not above the limit")

    return trouble


def times(first_ms: int, last_ms: int) -> Callable[[SpoolPart], None]:
    """Fail on whatever holds a reading of this stretch of time."""

    def trouble(part: SpoolPart) -> None:
        if ((part.readings.time_ms >= first_ms) & (part.readings.time_ms <= last_ms)).any():
            raise FailedWriteError("500 internal error")

    return trouble


def nothing(_: SpoolPart) -> None:
    pass


def test_what_waits_is_forwarded_once_and_marked(bench: Bench) -> None:
    bench.take(("p1", 5, 1.0), ("p2", 7, 2.0))
    bench.take(("p1", 3, 3.0))
    assert bench.forwarder.forward() == 3
    assert bench.forwarder.forward() == 0
    assert (bench.points.of("p1"), bench.points.of("p2")) == ({3: 3.0, 5: 1.0}, {7: 2.0})
    assert bench.news() == {"p1": 3, "p2": 7}
    assert bench.forwarder.waiting().rows == 0


def test_a_new_start_goes_on_where_the_last_one_stopped(bench: Bench) -> None:
    bench.take(("p1", 1, 1.0))
    bench.forwarder.forward()
    bench.take(("p1", 2, 2.0))
    assert bench.make().forward() == 1


def test_a_long_backlog_goes_in_blocks_and_later_values_win(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "BLOCK_ROWS", 3)
    for turn in range(5):
        bench.take(("p1", 1, float(turn)), ("p1", 2 + turn, 1.0))
    assert bench.forwarder.forward() == 10
    assert bench.points.writes == 3
    assert bench.points.of("p1")[1] == 4.0


def test_late_readings_are_kept_apart_and_never_marked(bench: Bench) -> None:
    bench.take(("p1", 1, 1.0), late=True)
    bench.forwarder.forward()
    assert list(bench.points.values) == [("pump", True, "p1", 1, "temp")]
    assert bench.news() == {}


def test_a_store_that_does_not_answer_loses_nothing_and_marks_nothing(bench: Bench) -> None:
    def away(_: SpoolPart) -> None:
        raise StoreError("it does not answer")

    bench.take(("p1", 1, 1.0))
    bench.points.trouble = away
    for _ in range(5):
        with pytest.raises(StoreError):
            bench.forwarder.forward()
    assert (bench.forwarder.waiting().rows, bench.news()) == (1, {})
    bench.points.trouble = nothing
    assert bench.forwarder.forward() == 1
    assert bench.news() == {"p1": 1}


def test_what_is_refused_is_found_by_halving_and_becomes_a_dead_letter(bench: Bench) -> None:
    bench.take(*(("p1", time, 1.0) for time in range(100)), ("p2", 7, 99.0))
    bench.points.trouble = values_above(50.0)
    bench.forwarder.forward()
    assert len(bench.points.of("p1")) == 100
    (letter,) = bench.letters.dead_letters()
    assert (letter.topic, letter.payload) == ("pump/p2", b'{"ts":7,"values":{"temp":99.0}}')
    assert (letter.reason, letter.detail) == ("type_conflict", "not above the limit")
    assert bench.points.writes < 20


def test_a_block_that_alone_fails_is_parked_and_the_rest_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "BLOCK_ROWS", 1)
    for time in range(1, 5):
        bench.take(("p1", time, float(time)))
    bench.points.trouble = times(2, 2)
    for _ in range(forward.FAILURES_TO_SUSPECT - 1):
        with pytest.raises(FailedWriteError):
            bench.forwarder.forward()
    bench.forwarder.forward()
    assert bench.points.of("p1") == {1: 1.0, 3: 3.0, 4: 4.0}
    assert bench.forwarder.degraded() == ["blocks that InfluxDB fails on are parked: 1"]


def test_a_store_that_fails_on_everything_parks_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "BLOCK_ROWS", 1)
    for time in range(3):
        bench.take(("p1", time, 1.0))
    bench.points.trouble = times(0, 9)
    for _ in range(5):
        with pytest.raises(FailedWriteError):
            bench.forwarder.forward()
    bench.points.trouble = nothing
    assert bench.forwarder.forward() == 3


def test_a_parked_block_is_tried_again_and_does_not_set_back_what_was_corrected_since(bench: Bench) -> None:
    park(bench, ("p1", 1, 1.0), ("p1", 2, 2.0))
    bench.points.trouble = nothing
    bench.take(("p1", 2, 20.0))
    bench.forwarder.forward()
    with read(bench.engine) as connection:
        last = forwarding.last_mark(connection)
    bench.clock.now_ms += forward.TRY_PARKED_MS
    bench.forwarder.forward()
    assert bench.points.of("p1") == {1: 1.0, 2: 20.0, 9: 9.0}
    assert bench.news(last) == {"p1": 1}
    assert bench.forwarder.degraded() == []


def park(bench: Bench, *rows: Row) -> None:
    """Have these rows parked, with one more reading of p1 after them."""
    bench.take(*rows)
    bench.take(("p1", 9, 9.0))
    bench.points.trouble = times(min(row[1] for row in rows), max(row[1] for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "BLOCK_ROWS", len(rows))
        for _ in range(forward.FAILURES_TO_SUSPECT - 1):
            with pytest.raises(FailedWriteError):
                bench.forwarder.forward()
        bench.forwarder.forward()


def test_a_store_that_asks_to_wait_is_left_alone_for_so_long(bench: Bench) -> None:
    error = BusyStoreError("too many requests", 17.0)
    assert bench.forwarder.background.failed(error) == 17.0
    assert bench.forwarder.background.failed(BusyStoreError("too many requests", None)) <= 1.0
    assert bench.forwarder.background.problem == "too many requests"


def fill(bench: Bench) -> None:
    for time in range(100):
        bench.take(("p1", time, 1.0))


def test_a_full_spool_takes_nothing_more_says_so_and_recovers_by_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path, most_bytes=5_000)
    with pytest.raises(StoreError, match="the spool is full"):
        fill(bench)
    taken = bench.forwarder.waiting().rows
    assert 2 < taken < 10
    assert bench.forwarder.degraded() == [
        "the spool is full: no readings are acknowledged until InfluxDB has taken some"
    ]
    bench.log.append({}, [])  # what is no reading still finds its place
    assert bench.forwarder.forward() == taken
    bench.take(("p1", 200, 1.0))
    assert bench.forwarder.degraded() == []
    bench.close()


def test_a_writer_that_starts_anew_knows_what_still_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, most_bytes=5_000)
    with pytest.raises(StoreError):
        fill(bench)
    bench.log.close()
    bench.log = SpoolWriter(tmp_path / "ingest.db", 5_000)
    with pytest.raises(StoreError):
        bench.take(("p1", 200, 1.0))
    bench.forwarder.forward()
    bench.take(("p1", 200, 1.0))
    bench.close()


def test_many_marks_are_drawn_together_once_the_ticks_have_seen_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MOST_MARKS", 3)
    for time in range(1, 9):
        bench.take((f"p{time % 2}", time, 1.0))
        bench.forwarder.forward()
        with write(bench.engine) as connection:
            connection.execute(cursors.delete())
            connection.execute(cursors.insert().values(class_name="pump", readings=str(time - 1), marks=0))
    with read(bench.engine) as connection:
        assert len(connection.execute(forwarding.reading_marks.select()).all()) <= 5
    assert bench.news() == {"p0": 2, "p1": 1}
    assert bench.news(7) == {"p0": 8}


def test_what_was_forwarded_goes_from_the_logs_by_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.clock.now_ms = 2**50  # a day later, as the log has it
    forwarder = Forwarder(
        bench.engine,
        bench.spool,
        bench.points,
        lambda: bench.letters,
        bench.clock,
        10**9,
        partial(LogThinner, tmp_path),
    )
    bench.take(("p1", 1, 1.0))
    forwarder.forward()
    bench.take(("p1", 2, 1.0))
    forwarder.start()
    deadline = monotonic() + 10
    while bench.log._db.execute("SELECT min(id) FROM batches").fetchone() == (1,):
        assert monotonic() < deadline
        sleep(0.01)
    forwarder.stop()
    bench.close()


def test_the_thread_forwards_what_arrives_and_stops_when_told(bench: Bench) -> None:
    bench.forwarder.start()
    bench.take(("p1", 1, 1.0))
    deadline = monotonic() + 10
    while not bench.points.of("p1"):
        assert monotonic() < deadline
        sleep(0.01)
    bench.forwarder.stop()
    bench.take(("p1", 2, 1.0))
    sleep(2 * forward.LOOK_S)
    assert bench.points.of("p1") == {1: 1.0}
