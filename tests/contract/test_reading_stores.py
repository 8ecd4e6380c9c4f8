"""What every reading store promises, run on each of them.

A real InfluxDB 2 is one of them where `PDM_TEST_INFLUX_URL`, `PDM_TEST_INFLUX_TOKEN` and `PDM_TEST_INFLUX_ORG` name it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxReadings, InfluxServer
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.clocks import ServiceClock
from pdm.forward import Forwarder
from pdm.plant import Sensor
from pdm.ports import DeadLetter, ImportProgress, ReadingStore, ReadingWriter, StoredDeadLetter
from pdm.readings import ArrivalFlag, Readings, merge
from pdm.state.schema import open_state
from tests.influx import ORG, TOKEN, InfluxDB, Proxy, named

NAN = float("nan")
FAR = 2**62
Row = tuple[str, int, float, float]


class Store(NamedTuple):
    writer: ReadingWriter
    reader: ReadingStore


Fresh = Callable[[], Store]


class CompactedAtOnce(ReadingLogWriter):
    """Has everything compacted after each commit."""

    def append(
        self, batches: Mapping[str, Readings], dead: Sequence[DeadLetter] = (), imported: ImportProgress | None = None
    ) -> None:
        super().append(batches, dead, imported)
        LogCompactor(self.path.parent).compact(FAR)


class Forwarding:
    """A `ReadingWriter` whose readings are in InfluxDB when `append` returns."""

    def __init__(self, folder: Path, link: InfluxLink):
        (folder / "readings").mkdir(parents=True)
        self._engine = open_state(f"sqlite:///{folder / 'state.db'}")
        spool, server = Spool(folder / "readings"), InfluxServer(link)
        self._log = SpoolWriter(folder / "readings" / "ingest.db", 10**9)
        letters = partial(ReadingLogWriter, folder / "readings" / "forward.db")
        self._forwarder = Forwarder(self._engine, spool, InfluxPoints(server), letters, ServiceClock(), 10**9)
        self.reader = InfluxReadings(server, self._engine, spool)

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        self._log.append(batches, dead, imported)
        self._forwarder.forward()

    def note_lost_session(self) -> None:
        self._log.note_lost_session()

    def import_progress(self, digest: str) -> ImportProgress | None:
        return self._log.import_progress(digest)

    def close(self) -> None:
        self._log.close()
        self._forwarder.stop()
        self._engine.dispose()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's InfluxDB behind the proxy."""
    server = InfluxDB(tmp_path_factory.mktemp("influx")).start()
    proxy = Proxy(server.port)
    yield proxy.url
    proxy.close()
    server.stop()


def influx_link(kind: str, request: pytest.FixtureRequest) -> InfluxLink:
    """A bucket of its own on a server."""
    bucket = f"test-{token_hex(6)}"
    if kind == "influx":
        return InfluxLink(request.getfixturevalue("debian"), ORG, bucket, TOKEN)
    server = named()
    if server is None:
        pytest.skip("no InfluxDB 2 named by PDM_TEST_INFLUX_URL, PDM_TEST_INFLUX_ORG and PDM_TEST_INFLUX_TOKEN")
    url, org, token = server
    return InfluxLink(url, org, bucket, token)


@pytest.fixture(params=["memory", "log", "compacted log", "influx", "influx2"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """Makes an empty store at each call."""
    opened: list[Store] = []
    number = count()

    def make() -> Store:
        folder = tmp_path / str(next(number))
        if request.param == "memory":
            memory = MemoryReadings()
            opened.append(Store(memory, memory))
        elif request.param in ("log", "compacted log"):
            writer = ReadingLogWriter if request.param == "log" else CompactedAtOnce
            opened.append(Store(writer(folder / "ingest.db"), ReadingLog(folder)))
        else:
            forwarding = Forwarding(folder, influx_link(request.param, request))
            opened.append(Store(forwarding, forwarding.reader))
        return opened[-1]

    yield make
    for store in opened:
        store.reader.close()
        store.writer.close()


@pytest.fixture
def store(fresh: Fresh) -> Store:
    return fresh()


def pumps(*rows: Row, flag: int = 0) -> dict[str, Readings]:
    source = np.array([row[0] for row in rows], dtype=object)
    values = np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), 2)
    times = np.array([row[1] for row in rows], dtype=np.int64)
    return {"pump": Readings(("temp", "vib"), source, times, values, np.full(len(rows), flag, dtype=np.uint8))}


def fans(*rows: tuple[str, int, float]) -> dict[str, Readings]:
    source = np.array([row[0] for row in rows], dtype=object)
    values = np.array([[row[2]] for row in rows])
    times = np.array([row[1] for row in rows], dtype=np.int64)
    return {"fan": Readings(("speed",), source, times, values, np.zeros(len(rows), dtype=np.uint8))}


def rows_of(readings: Readings) -> list[tuple[object, ...]]:
    return [
        (source, time, *(None if np.isnan(value) else value for value in values))
        for source, time, values in zip(
            readings.source, readings.time_ms.tolist(), readings.values.tolist(), strict=True
        )
    ]


def letter(payload: bytes = b"{", reason: str = "broken_json", at_ms: int = 1) -> DeadLetter:
    return DeadLetter("pdm/site/line/p1", payload, reason, "it ends too early", at_ms)


def test_an_empty_store_answers(store: Store) -> None:
    assert len(store.reader.window("pump", ["p1"], 0, 10)) == 0
    assert len(store.reader.changes("pump", "").source) == 0
    assert len(store.reader.tail("pump", "").readings) == 0
    assert store.reader.counts().readings == 0
    assert store.reader.dead_letters() == []


def test_a_window_holds_the_sources_asked_for_in_their_order_and_then_by_time(store: Store) -> None:
    store.writer.append(pumps(("p1", 2, 1.0, 1.0), ("p2", 1, 2.0, 2.0), ("p3", 1, 3.0, 3.0), ("p1", 1, 4.0, 4.0)))
    window = store.reader.window("pump", ["p2", "p1"], 0, 10)
    assert window.sensors == ("temp", "vib")
    assert rows_of(window) == [("p2", 1, 2.0, 2.0), ("p1", 1, 4.0, 4.0), ("p1", 2, 1.0, 1.0)]


def test_a_window_begins_with_its_start_and_ends_before_its_end(store: Store) -> None:
    store.writer.append(pumps(*(("p1", time, float(time), NAN) for time in range(6))))
    assert store.reader.window("pump", ["p1"], 2, 4).time_ms.tolist() == [2, 3]


def test_a_window_of_no_sources_or_of_unknown_ones_is_empty(store: Store) -> None:
    store.writer.append(pumps(("p1", 2, 1.0, 1.0)))
    assert len(store.reader.window("pump", [], 0, 10)) == 0
    assert len(store.reader.window("pump", ["never seen"], 0, 10)) == 0


def test_later_values_of_a_key_win_sensor_by_sensor_over_commits(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 2.0)))
    store.writer.append(pumps(("p1", 1, 3.0, NAN)))
    assert rows_of(store.reader.window("pump", ["p1"], 0, 10)) == [("p1", 1, 3.0, 2.0)]


def test_a_reading_sent_twice_counts_once_in_reads_and_twice_in_rows_written(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 2.0)))
    store.writer.append(pumps(("p1", 1, 1.0, 2.0)))
    assert len(store.reader.window("pump", ["p1"], 0, 10)) == 1
    assert store.reader.counts().readings == 2


def test_classes_are_apart(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0)) | fans(("f1", 1, 9.0)))
    assert rows_of(store.reader.window("fan", ["f1", "p1"], 0, 10)) == [("f1", 1, 9.0)]
    assert store.reader.changes("fan", "").source.tolist() == ["f1"]
    assert store.reader.counts().batches == 2


def test_a_sensor_added_to_a_class_stands_beside_the_old_ones(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 2.0)))
    flow = Readings(
        ("flow", "temp"), np.array(["p1"], object), np.array([2]), np.array([[7.0, 3.0]]), np.zeros(1, "u1")
    )
    store.writer.append({"pump": flow})
    window = store.reader.window("pump", ["p1"], 0, 10)
    assert window.sensors == ("temp", "vib", "flow")
    assert rows_of(window) == [("p1", 1, 1.0, 2.0, None), ("p1", 2, 3.0, None, 7.0)]
    assert store.reader.window("pump", ["p1"], 0, 2).sensors == ("temp", "vib", "flow")


def test_changes_tell_the_earliest_new_time_of_each_source_once(store: Store) -> None:
    store.writer.append(pumps(("p2", 5, 1.0, 1.0), ("p1", 7, 1.0, 1.0), ("p2", 3, 1.0, 1.0)))
    first = store.reader.changes("pump", "")
    assert first.source.tolist() == ["p1", "p2"]
    assert first.earliest_ms.tolist() == [7, 3]
    assert store.reader.changes("pump", first.cursor).source.tolist() == []
    store.writer.append(pumps(("p1", 9, 1.0, 1.0)))
    second = store.reader.changes("pump", first.cursor)
    assert (second.source.tolist(), second.earliest_ms.tolist()) == (["p1"], [9])


def test_an_old_cursor_still_tells_everything_since(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0)))
    cursor = store.reader.latest_cursor()
    for time in (4, 2, 3):
        store.writer.append(pumps(("p1", time, 1.0, 1.0)))
    assert store.reader.changes("pump", cursor).earliest_ms.tolist() == [2]
    assert store.reader.changes("pump", cursor).earliest_ms.tolist() == [2]


def test_the_tail_gives_readings_as_they_came_until_they_are_compacted(store: Store) -> None:
    store.writer.append(pumps(("p1", 9, 1.0, 1.0)))
    cursor = store.reader.latest_cursor()
    store.writer.append(pumps(("p2", 5, 2.0, 2.0), ("p1", 4, 3.0, 3.0)) | fans(("f1", 1, 9.0)))
    store.writer.append(pumps(("p2", 5, 4.0, 4.0)))
    tail = store.reader.tail("pump", cursor)
    compacted = [("p1", 4, 3.0, 3.0), ("p2", 5, 4.0, 4.0)]  # merged, and sorted within a compaction
    assert rows_of(tail.readings) in ([("p2", 5, 2.0, 2.0), *compacted], compacted)
    assert len(store.reader.tail("pump", tail.cursor).readings) == 0


def test_a_long_tail_comes_in_pieces_and_misses_nothing(store: Store) -> None:
    for time in range(7):
        store.writer.append(pumps(("p1", time, 1.0, 1.0), ("p2", time, 1.0, 1.0)) | fans(("f1", time, 9.0)))
    cursor, seen = "", list[int]()
    while len((tail := store.reader.tail("pump", cursor, limit=3)).readings):
        assert len(tail.readings) <= 4
        seen += tail.readings.time_ms.tolist()
        cursor = tail.cursor
    assert seen == [time for time in range(7) for _ in range(2)]


def test_late_readings_are_counted_and_never_read(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0), flag=ArrivalFlag.LATE))
    assert len(store.reader.window("pump", ["p1"], 0, 10)) == 0
    assert len(store.reader.changes("pump", "").source) == 0
    assert len(store.reader.tail("pump", "").readings) == 0
    counts = store.reader.counts()
    assert (counts.readings, counts.late) == (1, 1)


def test_flags_of_arrival_are_kept(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0), flag=ArrivalFlag.NO_TIMESTAMP))
    assert store.reader.window("pump", ["p1"], 0, 10).flags.tolist() == [ArrivalFlag.NO_TIMESTAMP]


def test_sessions_that_a_broker_has_lost_are_counted(store: Store) -> None:
    for _ in range(2):
        store.writer.note_lost_session()
    assert store.reader.counts().sessions_lost == 2


def test_equal_dead_letters_are_one_row_with_a_count(store: Store) -> None:
    store.writer.append({}, [letter(at_ms=1), letter(at_ms=2)])
    store.writer.append({}, [letter(at_ms=5), letter(reason="unknown_source", at_ms=4)])
    newest, other = store.reader.dead_letters()
    assert (newest.reason, newest.count, newest.first_seen_ms, newest.last_seen_ms) == ("broken_json", 3, 1, 5)
    assert (other.reason, other.count, other.payload, other.topic) == ("unknown_source", 1, b"{", "pdm/site/line/p1")
    assert store.reader.counts().dead_letters == 4
    assert len(store.reader.dead_letters(limit=1)) == 1


def test_dead_letters_are_read_in_pages_of_one_reason_without_gap_or_repeat(store: Store) -> None:
    store.writer.append({}, [letter(bytes([i]), at_ms=i // 4) for i in range(12)])
    store.writer.append({}, [letter(b"other", reason="unknown_source", at_ms=2)])
    found: list[StoredDeadLetter] = []
    while page := store.reader.dead_letters(
        5, "broken_json", (found[-1].last_seen_ms, found[-1].id) if found else None
    ):
        found += page
    assert [stored.last_seen_ms for stored in found] == [2] * 4 + [1] * 4 + [0] * 4
    assert {stored.payload for stored in found} == {bytes([i]) for i in range(12)}


TEMP, VIB = Sensor("temp", "K", "Temperature", low=-5.0, high=1e-7 + 100.0), Sensor("vib", "mm/s", "Vibration")


def down(store: Store, *sensors: Sensor, source: str = "p1", start: int = 0, end: int = 100) -> list[list[object]]:
    """Stretches of ten milliseconds: start, and by sensor count, mean, low and high."""
    found = store.reader.downsampled("pump", source, sensors, start, end, 10)
    columns = np.stack([found.counts, found.mean, found.low, found.high], axis=-1).tolist()
    return [[at, *row] for at, row in zip(found.time_ms.tolist(), columns, strict=True)]


def test_a_long_stretch_comes_as_means_with_low_and_high(store: Store) -> None:
    store.writer.append(pumps(("p1", 12, 1.0, 4.0), ("p1", 19, 2.0, NAN), ("p1", 20, 6.0, 8.0), ("p2", 12, 9.0, 9.0)))
    store.writer.append(pumps(("p1", 15, 6.0, -2.0)))
    expected = [[10, [3, 3.0, 1.0, 6.0], [2, 1.0, -2.0, 4.0]], [20, [1, 6.0, 6.0, 6.0], [1, 8.0, 8.0, 8.0]]]
    assert down(store, TEMP, VIB) == expected
    assert down(store, VIB) == [[at, vib] for at, _, vib in expected]


def test_a_stretch_begins_at_its_multiple_and_holds_no_more_than_was_asked_for(store: Store) -> None:
    store.writer.append(pumps(*(("p1", time, float(time), 0.0) for time in range(30))))
    assert down(store, TEMP, start=15, end=22) == [[10, [5, 17.0, 15.0, 19.0]], [20, [2, 20.5, 20.0, 21.0]]]


def test_what_a_sensor_cannot_report_or_did_not_is_left_out_of_means(store: Store) -> None:
    rows = [
        ("p1", 1, -9.0, 1.0),
        ("p1", 2, 3.0, NAN),
        ("p1", 3, 100.0, 2.0),
        ("p1", 4, 999.0, 3.0),
        ("p1", 31, NAN, NAN),
    ]
    store.writer.append(pumps(*rows, ("p1", 41, 999.0, 5.0)))
    first, last = down(store, TEMP, VIB)
    assert first == [0, [2, 51.5, 3.0, 100.0], [3, 2.0, 1.0, 3.0]]
    assert (last[0], last[2], np.isnan(last[1][1:]).all()) == (40, [1, 5.0, 5.0, 5.0], True)  # type: ignore[index]
    assert down(store, TEMP, VIB, source="p3") == []
    assert down(store) == []


def test_the_readings_of_one_source_and_time_are_deleted_and_no_others(store: Store) -> None:
    odd = """say "it's" (.*)"""
    store.writer.append(pumps(*((name, time, 1.0, NAN) for name in ("p1", odd, "p2") for time in (1, 2, 3))))
    store.writer.append(fans((odd, 2, 9.0)) | pumps((odd, 3, NAN, 2.0)))
    assert store.reader.delete("pump", "p1", 2, 3) == 1
    assert store.reader.delete("pump", odd, -FAR, FAR) >= 3
    assert store.reader.delete("pump", odd, -FAR, FAR) == 0
    assert store.reader.window("pump", ["p1", odd, "p2"], 0, 9).time_ms.tolist() == [1, 3, 1, 2, 3]
    assert len(store.reader.window("fan", [odd], 0, 9)) == 1
    assert store.reader.counts().readings == 11
    store.writer.append(pumps(("p1", 2, 5.0, 5.0)))
    assert store.reader.window("pump", ["p1"], 0, 9).time_ms.tolist() == [1, 2, 3]


def test_late_readings_are_deleted_with_the_others(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0), ("p2", 1, 1.0, 1.0), flag=ArrivalFlag.LATE))
    store.writer.append(pumps(("p1", 1, 1.0, 1.0)))
    in_memory = isinstance(store.reader, MemoryReadings)  # which does not keep late ones
    assert store.reader.delete("pump", "p1", 0, 9) == (1 if in_memory else 2)
    assert store.reader.delete("pump", "p1", 0, 9) == 0


def test_names_of_any_shape_are_kept(store: Store) -> None:
    names = ["a/b#+", "a b,c=d", 'say "yes"', "^(.*)$", "رقم ١", "🛠️", "'; DROP TABLE batches; --", "x" * 300]
    store.writer.append(pumps(*((name, 1, 1.0, 1.0) for name in names)))
    assert store.reader.window("pump", names, 0, 10).source.tolist() == names
    assert store.reader.changes("pump", "").source.tolist() == sorted(names)


def test_how_far_a_file_has_been_imported_is_kept_with_its_readings(store: Store) -> None:
    assert store.writer.import_progress("abc") is None
    half = ImportProgress("abc", "history.csv", rows=50, bad_rows=1, finished=False)
    store.writer.append(pumps(("p1", 1, 1.0, 1.0)), imported=half)
    assert store.writer.import_progress("abc") == half
    done = ImportProgress("abc", "history.csv", rows=90, bad_rows=2, finished=True)
    store.writer.append({}, imported=done)
    assert store.writer.import_progress("abc") == done


def test_what_a_window_gives_belongs_to_the_caller(store: Store) -> None:
    store.writer.append(pumps(("p1", 1, 1.0, 1.0)))
    store.reader.window("pump", ["p1"], 0, 10).values[:] = -1.0
    assert rows_of(store.reader.window("pump", ["p1"], 0, 10)) == [("p1", 1, 1.0, 1.0)]


VALUE = st.one_of(st.just(NAN), st.floats(-1e3, 1e3))
ROWS = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3"]), st.integers(0, 5), VALUE, VALUE), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(ROWS, max_size=4))
def test_any_cut_into_commits_reads_as_one_merge(fresh: Fresh, commits: list[list[Row]]) -> None:
    store = fresh()
    for rows in commits:
        store.writer.append(pumps(*rows))
    everything = merge(pumps(*(row for rows in commits for row in rows))["pump"])
    window = store.reader.window("pump", ["p1", "p2", "p3"], 0, 10)
    assert window.source.tolist() == everything.source.tolist()
    assert_array_equal(window.time_ms, everything.time_ms)
    if len(everything):
        assert_array_equal(window.values, everything.values)
