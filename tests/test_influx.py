"""InfluxDB as it answers and as it fails: Debian's server behind a proxy (tests/influx.py). What a store of readings
promises in general is in tests/contract."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Thread

import numpy as np
import pytest

from pdm import forward
from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxReadings, InfluxServer, names, store
from pdm.adapters.influx.points import lines
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.clocks import ServiceClock
from pdm.errors import BusyStoreError, FailedWriteError, RefusedWriteError, StoreError
from pdm.forward import Forwarder
from pdm.plant import Sensor
from pdm.ports import SpoolPart
from pdm.readings import ArrivalFlag, Readings
from pdm.state.schema import open_state
from tests.influx import CUT, ORG, TOKEN, Fault, InfluxDB, Proxy, Reply, Request, error

NAN = float("nan")
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    started = InfluxDB(tmp_path_factory.mktemp("influx")).start()
    yield started
    started.stop()


@pytest.fixture
def proxy(server: InfluxDB) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture
def link(proxy: Proxy) -> InfluxLink:
    return InfluxLink(proxy.url, ORG, f"test-{token_hex(6)}", TOKEN, timeout_ms=5_000)


class Bench:
    """A host: a log, what forwards it, and what reads the bucket."""

    def __init__(self, folder: Path, link: InfluxLink, logs_name: str = "readings"):
        logs = folder / logs_name
        logs.mkdir()
        self.engine, self.spool = open_state(f"sqlite:///{folder / 'state.db'}"), Spool(logs)
        self.server = InfluxServer(link)
        self.points = InfluxPoints(self.server)
        self.log, letters = SpoolWriter(logs / "ingest.db", 10**9), partial(ReadingLogWriter, logs / "forward.db")
        self.forwarder = Forwarder(self.engine, self.spool, self.points, letters, ServiceClock(), 10**9)
        self.reader = InfluxReadings(self.server, self.engine, self.spool)

    def take(self, readings: Readings) -> None:
        self.log.append({"pump": readings})

    def numbers(self, source: str = "p1") -> list[float]:
        """Values of the first sensor in the order of their times."""
        window = self.reader.window("pump", [source], -(2**62), 2**62)
        return window.values[:, 0].tolist() if len(window) else []

    def close(self) -> None:
        self.forwarder.stop()
        self.log.close()
        self.reader.close()
        self.engine.dispose()


@pytest.fixture
def bench(tmp_path: Path, link: InfluxLink) -> Iterator[Bench]:
    made = Bench(tmp_path, link)
    yield made
    made.close()


def pumps(*rows: tuple[object, ...], sensors: tuple[str, ...] = ("temp", "vib"), flag: int = 0) -> Readings:
    source = np.array([row[0] for row in rows], dtype=object)
    times = np.array([row[1] for row in rows], dtype=np.int64)
    values = np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), len(sensors))
    return Readings(sensors, source, times, values, np.full(len(rows), flag, dtype=np.uint8))


def part(readings: Readings) -> SpoolPart:
    return SpoolPart("pump", False, readings)


def to(path: str, reply: Reply, times: int = 10**9) -> Fault:
    """Answer requests to a path with this, so often."""
    left = [times]

    def fault(request: Request) -> Reply | None:
        if request.path != path or not left[0]:
            return None
        left[0] -= 1
        return reply

    return fault


def wait_until(condition: Callable[[], object], otherwise: str, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def test_a_line_holds_what_is_known_as_floats_and_its_names_escaped() -> None:
    made = lines("pump", False, pumps(("a b,c=d", 7, 1.0, NAN), ("p2", -1, -0.0, 1e308), ("ü", 2, NAN, NAN)))
    assert made.decode().splitlines() == [
        r"pump,source=a\ b\,c\=d temp=1.0,arrival_flags=0.0 7",
        "pump,source=p2 temp=-0.0,vib=1e+308,arrival_flags=0.0 -1",
        "pump,source=ü arrival_flags=0.0 2",
    ]


def test_what_is_no_finite_number_is_left_out_of_a_line() -> None:
    made = lines("pump", True, pumps(("p1", 7, np.inf, 2.5), flag=ArrivalFlag.LATE))
    assert made == b"pump.late,source=p1 vib=2.5,arrival_flags=4.0 7"


def test_sensors_are_told_from_what_the_store_adds() -> None:
    odd = pumps(("p1", 7, 1.0, 2.0, 3.0), sensors=("time", "a:b", "source"))
    assert lines("pump", False, odd) == b"pump,source=p1 .time=1.0,a:b=2.0,.source=3.0,arrival_flags=0.0 7"


@pytest.mark.parametrize("name", ["", "a\\b", "ends in\\", "two\nlines", "tab\t"])
def test_a_name_that_would_break_a_line_is_refused(name: str) -> None:
    with pytest.raises(RefusedWriteError, match="unwritable_name: "):
        lines("pump", False, pumps((name, 7, 1.0, 2.0)))


def test_sensors_of_any_name_come_back(bench: Bench) -> None:
    sensors = ("time", "source", "arrival_flags", "name", "inf", "a:b-c.d", "größe")
    bench.take(pumps(("p1", 7, *range(1, 8)), sensors=sensors))
    bench.forwarder.forward()
    window = bench.reader.window("pump", ["p1"], 0, 10)
    assert (window.sensors, window.values.tolist()) == (sensors, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]])


def test_every_bit_of_a_number_comes_back(bench: Bench) -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=500) * 10.0 ** random.integers(-290, 290, 500)
    values[:4] = [0.1, 5e-324, 1.7976931348623157e308, -0.0]
    bench.take(pumps(*((f"p{i}", i, value, i) for i, value in enumerate(values))))
    bench.forwarder.forward()
    window = bench.reader.window("pump", [f"p{i}" for i in range(500)], 0, 1_000)
    assert window.values[:, 0].tobytes() == values.tobytes()


def test_a_whole_cohort_is_read_in_few_queries(bench: Bench, proxy: Proxy) -> None:
    sources = [f"station/{i:04}" for i in range(3_000)]
    bench.take(pumps(*((source, i, i, 0.0) for i, source in enumerate(sources))))
    bench.forwarder.forward()
    proxy.queries.clear()
    window = bench.reader.window("pump", sources, 0, 10_000)
    assert window.values[:, 0].tolist() == list(range(3_000))
    assert len(proxy.queries) == 2


def test_a_long_stretch_is_taken_together_by_the_server(bench: Bench, proxy: Proxy) -> None:
    bench.take(pumps(*(("p1", time, time, 1.0) for time in range(20_000))))
    bench.forwarder.forward()
    proxy.answered.clear()
    sensors = Sensor("temp", "K", "Temperature", low=0.0), Sensor("vib", "mm/s", "Vibration")
    found = bench.reader.downsampled("pump", "p1", sensors, 0, 20_000, 5_000)
    assert found.mean[:, 0].tolist() == [2499.5, 7499.5, 12499.5, 17499.5]
    assert len(proxy.answered) == 1
    assert proxy.answered[0] < 1_000


def test_a_block_of_readings_is_one_write(bench: Bench, proxy: Proxy) -> None:
    for turn in range(20):
        bench.take(pumps(*((f"p{i}", turn, i, 0.0) for i in range(100))))
    bench.forwarder.forward()
    assert [body.count(b"\n") + 1 for body in proxy.writes] == [2_000]


def test_hosts_forward_their_own_logs_and_each_sees_what_the_other_has_taken(tmp_path: Path, link: InfluxLink) -> None:
    north, south = Bench(tmp_path, link, "north"), Bench(tmp_path, link, "south")
    ticks, pages = north.reader.latest_cursor(), south.reader.latest_cursor()
    south.take(pumps(("p1", 1_000, 1.0, 2.0)))
    south.forwarder.forward()
    for number in range(2, 5):
        north.take(pumps(("p1", 1_000 * number, number, 2.0), ("p2", 1_000 * number, number, 2.0)))
        north.forwarder.forward()
        south.forwarder.forward()
    assert north.numbers() == south.numbers() == [1, 2, 3, 4]
    assert (north.reader.counts().readings, north.spool.waiting(north.forwarder.cursor()).rows) == (7, 0)
    changes = north.reader.changes("pump", ticks)
    assert dict(zip(changes.source, changes.earliest_ms.tolist(), strict=True)) == {"p1": 1_000, "p2": 2_000}
    seen = set[tuple[str, int]]()
    while len((tail := south.reader.tail("pump", pages, limit=1)).readings):
        seen |= set(zip(tail.readings.source, tail.readings.time_ms.tolist(), strict=True))
        pages = tail.cursor
    assert seen == {("p1", time_ms) for time_ms in (1_000, 2_000, 3_000, 4_000)} | {
        ("p2", time_ms) for time_ms in (2_000, 3_000, 4_000)
    }
    for host in (north, south):
        host.close()


def test_what_waits_on_one_host_is_known_on_all(tmp_path: Path, link: InfluxLink) -> None:
    north, south = Bench(tmp_path, link, "north"), Bench(tmp_path, link, "south")
    for host in (north, south):
        host.forwarder.forward()
    north.take(pumps(("p1", 1_000, 1.0, 2.0), ("p2", 1_000, 1.0, 2.0)))
    south.take(pumps(("p1", 2_000, 1.0, 2.0)))
    north.forwarder.background.problem = "InfluxDB does not answer"
    north.forwarder._tell()
    assert south.forwarder.waiting().rows == 3
    (sentence,) = south.forwarder.degraded()
    assert sentence.endswith("InfluxDB does not answer; 2 readings wait in its logs")
    north.forwarder.background.problem = None
    north.forwarder.forward()
    north.forwarder._tell()
    assert (south.forwarder.waiting().rows, south.forwarder.degraded()) == (1, [])
    for host in (north, south):
        host.close()


def test_late_readings_are_stored_apart(bench: Bench) -> None:
    bench.take(pumps(("p1", 7, 1.0, 2.0), flag=ArrivalFlag.LATE))
    bench.forwarder.forward()
    assert bench.numbers() == []
    assert b"p1" in bench.server.query('SELECT * FROM "pump.late"')


def test_a_bucket_that_is_not_there_is_an_error_and_not_an_empty_answer(bench: Bench, proxy: Proxy) -> None:
    with pytest.raises(StoreError, match="the answer has no end"):
        bench.server.query('SELECT "temp" FROM "pump"')


def test_an_answer_that_breaks_off_is_an_error(bench: Bench, proxy: Proxy) -> None:
    bench.take(pumps(("p1", 7, 1.0, 2.0)))
    bench.forwarder.forward()
    whole = b"name,tags,time,0,1,arrival_flags,source\npump,,7,1,2,0,p1\n"
    for broken in (Reply(200, whole), Reply(200, b""), Reply(CUT, whole), error(500, "internal error", "oh")):
        proxy.faults = [to("/query", broken)]
        with pytest.raises(StoreError):
            bench.reader.window("pump", ["p1"], 0, 10)
    proxy.faults = [to("/query", Reply(200, whole + b"\nname,tags,name\ndatabases,,test\n"))]
    assert bench.numbers() == [1.0]


def test_an_answer_of_another_form_is_an_error(bench: Bench, proxy: Proxy) -> None:
    bench.take(pumps(("p1", 7, 1.0, 2.0)))
    bench.forwarder.forward()
    end = b"\n\nname,tags,name\ndatabases,,test\n"
    for odd in (b"name,tags,time,0,1,f,source\npump,,7,one,2,0,p1", b"<html>\n<p>Sign in</p>", b"name,tags\nx,y,z"):
        proxy.faults = [to("/query", Reply(200, odd + end))]
        with pytest.raises(StoreError, match="cannot be read"):
            bench.reader.window("pump", ["p1"], 0, 10)


def test_an_answer_that_is_too_large_is_an_error(bench: Bench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdm.adapters.influx.server.LARGEST_ANSWER", 1_000)
    proxy.faults = [to("/query", Reply(200, b"x" * 10_000))]
    with pytest.raises(StoreError, match="too large or too slow"):
        bench.server.query('SELECT "temp" FROM "pump"')


def test_a_wrong_token_is_said_without_showing_it(link: InfluxLink) -> None:
    canary = InfluxServer(InfluxLink(link.url, link.org, link.bucket, "canary"))
    with pytest.raises(StoreError, match="refuses the token") as caught:
        canary.write(b"pump,source=p1 temp=1 1")
    assert not isinstance(caught.value, RefusedWriteError | FailedWriteError)
    assert "canary" not in str(caught.value) + repr(InfluxLink("", "", "", "canary"))
    canary.close()


@pytest.mark.parametrize(
    ("status", "header", "low", "high"),
    [
        (429, "7", 6.0, 7.0),
        (503, (datetime.now(UTC) + timedelta(days=2)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 299.0, 300.0),
        (503, "999999999999", 299.0, 300.0),
        (503, "soon", None, None),
        (503, None, None, None),
    ],
    ids=["seconds", "a date", "too long", "no time", "nothing"],
)
def test_a_server_that_asks_to_wait_says_how_long(
    bench: Bench, proxy: Proxy, status: int, header: str | None, low: float | None, high: float | None
) -> None:
    bench.points.prepare()
    proxy.faults = [
        to(
            "/api/v2/write",
            error(status, "too many requests", "slow down", *([("Retry-After", header)] if header else [])),
        )
    ]
    with pytest.raises(BusyStoreError) as caught:
        bench.points.write(part(pumps(("p1", 7, 1.0, 2.0))))
    waited = caught.value.retry_after_s
    assert waited is None if low is None or high is None else low <= (waited or 0.0) <= high


def test_a_conflict_of_types_costs_the_readings_that_it_is_about_and_no_others(bench: Bench) -> None:
    bench.points.prepare()
    bench.server.write(b"pump,source=old vib=1i 1")  # somebody else wrote an integer, so no float is ever taken
    bench.take(pumps(*(("p1", time, time, NAN) for time in range(40)), ("p2", 7, 3.0, 4.0)))
    bench.forwarder.forward()
    assert bench.numbers() == list(range(40))
    (letter,) = bench.reader.dead_letters()
    assert (letter.topic, letter.payload) == ("pump/p2", b'{"ts":7,"values":{"temp":3.0,"vib":4.0}}')
    assert letter.reason == "type_conflict"
    assert "already exists as type integer" in letter.detail


def test_a_name_that_cannot_be_written_costs_its_own_readings(bench: Bench) -> None:
    bench.take(pumps(("p1", 7, 1.0, 2.0), ("a\\b", 7, 3.0, 4.0), ("p2", 7, 5.0, 6.0)))
    bench.forwarder.forward()
    assert (bench.numbers("p1"), bench.numbers("p2")) == ([1.0], [5.0])
    (letter,) = bench.reader.dead_letters()
    assert letter.reason == "unwritable_name"


def test_readings_older_than_the_bucket_keeps_become_dead_letters(tmp_path: Path, link: InfluxLink) -> None:
    now_ms = time.time_ns() // 1_000_000
    bench = Bench(tmp_path, InfluxLink(link.url, link.org, link.bucket, TOKEN, retention_ms=2 * DAY_MS))
    bench.take(pumps(("p1", now_ms, 1.0, 2.0), ("p1", now_ms - 9 * DAY_MS, 3.0, 4.0)))
    bench.forwarder.forward()
    assert bench.numbers() == [1.0]
    assert [letter.reason for letter in bench.reader.dead_letters()] == ["outside_retention"]
    bench.close()


def test_nothing_is_deleted_that_would_come_again_from_the_logs(bench: Bench) -> None:
    bench.take(pumps(("p1", 7, 1.0, 2.0)))
    with pytest.raises(StoreError, match="1 readings and 0 parked blocks wait for InfluxDB: delete after them"):
        bench.reader.delete("pump", "p1", 0, 10)
    bench.forwarder.forward()
    assert bench.reader.delete("pump", "p1", 0, 10) == 1
    assert bench.numbers() == []


def test_a_bucket_that_was_removed_is_made_again(bench: Bench, link: InfluxLink, proxy: Proxy) -> None:
    bench.take(pumps(("p1", 1, 1.0, 2.0)))
    bench.forwarder.forward()
    proxy._run(f'DROP DATABASE "{link.bucket}"')
    bench.take(pumps(("p1", 2, 3.0, 4.0)))
    bench.forwarder.start()
    wait_until(lambda: bench.forwarder.waiting().rows == 0, "it is not made again")
    assert bench.numbers() == [3.0]


def test_a_token_for_the_bucket_alone_is_enough(bench: Bench, proxy: Proxy) -> None:
    bench.points.prepare()
    proxy.faults = [to("/api/v2/buckets", error(403, "forbidden", "insufficient permissions"))]
    bench.take(pumps(("p1", 1, 1.0, 2.0)))
    bench.forwarder.forward()
    assert bench.numbers() == [1.0]


def test_a_tick_waits_for_what_waits_in_the_logs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.take(pumps(("p1", 1, 1.0, 2.0)))
    assert bench.reader.changes("pump", "").source.tolist() == []
    monkeypatch.setattr(store, "BEHIND_MS", -1)
    with pytest.raises(StoreError, match="InfluxDB is behind: 1 readings wait"):
        bench.reader.changes("pump", "")
    bench.forwarder.forward()
    assert bench.reader.changes("pump", "").source.tolist() == ["p1"]


def test_a_cursor_of_the_logs_begins_anew(bench: Bench) -> None:
    bench.take(pumps(("p1", 1, 1.0, 2.0)))
    bench.forwarder.forward()
    assert bench.reader.changes("pump", bench.spool.latest_cursor()).source.tolist() == ["p1"]


def test_a_block_that_the_server_fails_on_is_parked(
    bench: Bench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "BLOCK_ROWS", 1)

    def poison(request: Request) -> Reply | None:
        broken = request.path == "/api/v2/write" and b"temp=2.0" in request.body
        return error(500, "internal error", "An internal error has occurred - check server logs") if broken else None

    proxy.faults = [poison]
    for value in (1.0, 2.0, 3.0):
        bench.take(pumps(("p1", int(value), value, 0.0)))
    bench.forwarder.start()
    wait_until(lambda: bench.forwarder.waiting().rows == 0, "the rest does not go on")
    assert bench.numbers() == [1.0, 3.0]
    assert bench.forwarder.degraded() == ["blocks that InfluxDB fails on are parked: 1"]


class Load:
    """A thousand readings a second into the log, with numbers as values, until told to stop."""

    def __init__(self, bench: Bench):
        self.acknowledged = 0
        self._bench, self._going = bench, True
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._going = False
        self._thread.join()

    def _run(self) -> None:
        while self._going:
            numbers = range(self.acknowledged, self.acknowledged + 20)
            self._bench.take(pumps(*(("p1", number, float(number), 0.0) for number in numbers)))
            self.acknowledged += 20
            time.sleep(0.02)


def test_a_server_killed_under_load_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    server = InfluxDB(tmp_path / "influx").start()
    proxy = Proxy(server.port)
    bench = Bench(tmp_path, InfluxLink(proxy.url, ORG, "readings", TOKEN, timeout_ms=5_000))
    bench.forwarder.start()
    load = Load(bench)
    for pause_s in (0.7, 0.5, 0.6):
        time.sleep(pause_s)
        server.kill()
        time.sleep(0.4)
        server.start()
    load.stop()
    wait_until(lambda: bench.forwarder.waiting().rows == 0, "it does not catch up")
    assert load.acknowledged > 1_000
    assert bench.numbers() == list(range(load.acknowledged))
    assert bench.reader.counts().readings == load.acknowledged
    assert bench.reader.changes("pump", "").earliest_ms.tolist() == [0]
    assert (bench.reader.counts().dead_letters, bench.forwarder.degraded()) == (0, [])
    bench.close()
    proxy.close()
    server.stop()


def test_a_server_that_is_away_for_a_while_finds_everything_when_it_is_back(tmp_path: Path) -> None:
    server = InfluxDB(tmp_path / "influx").start()
    proxy = Proxy(server.port)
    bench = Bench(tmp_path, InfluxLink(proxy.url, ORG, "readings", TOKEN, timeout_ms=5_000))
    bench.forwarder.start()
    load = Load(bench)
    wait_until(lambda: bench.reader.counts().readings, "it does not begin")
    server.stop()
    before = load.acknowledged
    wait_until(lambda: load.acknowledged > before + 1_000, "ingest waits for the server")
    waiting = bench.forwarder.waiting()
    assert waiting.rows > 900
    assert waiting.bytes < 200 * waiting.rows
    assert "readings wait in the logs" in bench.forwarder.degraded()[0]
    with pytest.raises(StoreError):
        bench.numbers()
    server.start()
    load.stop()
    wait_until(lambda: bench.forwarder.waiting().rows == 0, "it does not catch up")
    assert bench.numbers() == list(range(load.acknowledged))
    assert bench.forwarder.degraded() == []
    bench.close()
    proxy.close()
    server.stop()


def test_names_in_queries_match_themselves_and_nothing_else() -> None:
    assert names.any_of(["a.b", "c/d", "(e|f)", "^g$"]) == r"/^(a\.b|c\/d|\(e\|f\)|\^g\$)$/"
    assert names.identifier('say "yes" \\') == '"say \\"yes\\" \\\\"'
    groups = list(names.choices([f"{i:0300}" for i in range(1_000)]))
    assert [name for group in groups for name in group] == [f"{i:0300}" for i in range(1_000)]
    assert max(sum(map(len, group)) for group in groups) <= 20_000
