import json
import tracemalloc
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.errors import StoreError, UnreadableMessageError
from pdm.ingest import Accepted, Ingest, Problem
from pdm.ingest.decode import Decoder, Samples
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
STAMP = "2026-11-22T10:00:00Z"


def plant(*sensors: str) -> Plant:
    pump = AssetClass(
        "pump", "Pump", tuple(Sensor(name, "1", name) for name in sensors), (), LifeStep("h", 3_600_000), 1000, 0, ()
    )
    assets = {f"S{i}": Asset(f"S{i}", "pump", f"slot{i}", f"p{i}", None) for i in range(5)}
    return Plant("Nord", "EUR", ZoneInfo("UTC"), {"pump": pump}, {}, assets, "0")


class PlantClock:
    """A clock that stands still."""

    def plant_ms(self) -> int:
        return NOW

    def wall_ms(self) -> int:
        return NOW


class FailingWriter(MemoryReadings):
    """A store that fails as often as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    def append(self, *arguments: object, **options: object) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        super().append(*arguments, **options)  # type: ignore[arg-type]


@pytest.fixture
def store() -> FailingWriter:
    return FailingWriter()


@pytest.fixture
def ingest(store: FailingWriter) -> Ingest:
    return Ingest(Decoder(plant("temp", "vib")), store, PlantClock())


def body(source: str = "p1", temp: object = 20.0, ts: str = STAMP) -> dict[str, object]:
    return {"source": source, "ts": ts, "values": {"temp": temp}}


def message(temp: object = 20.0, ts: str = STAMP) -> bytes:
    return json.dumps({"ts": ts, "values": {"temp": temp}}).encode()


def temps(store: MemoryReadings | ReadingLog, source: str = "p1") -> list[float]:
    window = store.window("pump", [source], 0, 2 * NOW)
    return window.values[:, window.sensors.index("temp")].tolist() if len(window) else []


def test_messages_are_kept_together_once_they_are_committed(ingest: Ingest, store: FailingWriter) -> None:
    ingest.add("pdm/a/b/p1", message(1), NOW)
    ingest.add("pdm/a/b/p2", message(2), NOW)
    assert store.counts().readings == 0
    assert ingest.commit() == 2
    assert (temps(store, "p1"), temps(store, "p2")) == ([1.0], [2.0])
    assert store.counts().batches == 1


def test_committing_nothing_is_no_commit(ingest: Ingest, store: FailingWriter) -> None:
    store.failures = 1
    assert ingest.commit() == 0
    assert store.failures == 1


def test_an_unreadable_message_is_a_dead_letter_and_the_rest_goes_on(ingest: Ingest, store: FailingWriter) -> None:
    ingest.add("pdm/a/b/p1", message(1), NOW)
    ingest.add("pdm/a/b/p1", b"{", NOW + 7)
    ingest.add("pdm/a/b/nobody", message(), NOW)
    ingest.add("pdm/a/b/p1", message(2), NOW)
    assert ingest.commit() == 2
    letters = {letter.reason: letter for letter in store.dead_letters()}
    assert set(letters) == {"broken_json", "unknown_source"}
    assert letters["broken_json"].payload == b"{"
    assert letters["broken_json"].topic == "pdm/a/b/p1"
    assert letters["broken_json"].last_seen_ms == NOW + 7


def test_of_a_huge_payload_only_the_beginning_is_kept(ingest: Ingest, store: FailingWriter) -> None:
    ingest.add("pdm/a/b/" + "x" * 60_000, b"y" * 10_000_000, NOW)
    ingest.add("pdm/a/b/p1", b"y" * 10_000_000, NOW)
    ingest.commit()
    for letter in store.dead_letters():
        assert len(letter.payload) == 64_000
        assert len(letter.topic) <= 500
        assert len(letter.detail) <= 500
    assert "10000000 bytes" in store.dead_letters(reason="too_large")[0].detail


def test_what_could_not_be_stored_waits_for_the_next_attempt(ingest: Ingest, store: FailingWriter) -> None:
    store.failures = 2
    ingest.add("pdm/a/b/p1", message(1), NOW)
    with pytest.raises(StoreError):
        ingest.commit()
    ingest.add("pdm/a/b/p2", message(2), NOW)
    with pytest.raises(StoreError):
        ingest.commit()
    assert ingest.waiting_bytes > 0
    assert ingest.commit() == 2
    assert ingest.waiting_bytes == 0
    assert (temps(store, "p1"), temps(store, "p2")) == ([1.0], [2.0])


def test_a_message_that_breaks_the_decoder_itself_is_a_dead_letter_too(store: FailingWriter) -> None:
    class BrokenDecoder(Decoder):
        def decode(self, topic: str, payload: bytes, now_ms: int) -> Samples:
            raise ZeroDivisionError("a mistake of ours")

    ingest = Ingest(BrokenDecoder(plant("temp")), store, PlantClock())
    ingest.add("pdm/a/b/p1", message(), NOW)
    ingest.commit()
    (letter,) = store.dead_letters()
    assert (letter.reason, letter.detail) == ("internal_error", "ZeroDivisionError('a mistake of ours')")


def test_a_new_version_of_the_plant_reads_the_next_group(ingest: Ingest, store: FailingWriter) -> None:
    flow = json.dumps({"ts": STAMP, "values": {"flow": 3}}).encode()
    ingest.add("pdm/a/b/p1", message(1), NOW)
    ingest.use(Decoder(plant("temp", "flow")))
    ingest.add("pdm/a/b/p1", flow, NOW)
    ingest.commit()
    assert store.dead_letters()[0].reason == "unknown_sensor"
    ingest.add("pdm/a/b/p1", flow, NOW)
    ingest.commit()
    window = store.window("pump", ["p1"], 0, 2 * NOW)
    assert window.sensors == ("temp", "vib", "flow")
    assert window.values[0].tolist()[::2] == [1.0, 3.0]


def test_one_reading_over_http(ingest: Ingest, store: FailingWriter) -> None:
    assert ingest.accept(json.dumps(body()).encode()) == Accepted(stored=1, late=0, problems=())
    assert temps(store) == [20.0]


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"readings": items}], ids=["list", "envelope"])
def test_many_readings_over_http(ingest: Ingest, store: FailingWriter, wrap: object) -> None:
    items = [body("p1", 1), body("p2", 2), body("p1", 3, "2026-11-22T09:00:00Z")]
    accepted = ingest.accept(b"\n " + json.dumps(wrap(items)).encode())  # type: ignore[operator]
    assert accepted.stored == 3
    assert (temps(store, "p1"), temps(store, "p2")) == ([3.0, 1.0], [2.0])


def test_problems_of_single_readings_are_told_and_kept_and_the_rest_is_stored(
    ingest: Ingest, store: FailingWriter
) -> None:
    items = [body("p1", 1), body("nobody"), body("p1", "hot"), {"values": {}}, 7, body("p2", 2)]
    accepted = ingest.accept(json.dumps(items).encode())
    assert accepted.stored == 2
    assert [(problem.index, problem.reason) for problem in accepted.problems] == [
        (1, "unknown_source"),
        (2, "wrong_type"),
        (3, "missing_field"),
        (4, "wrong_type"),
    ]
    assert accepted.problems[0] == Problem(1, "unknown_source", "no asset of the plant has the source 'nobody'")
    assert sorted(letter.reason for letter in store.dead_letters()) == sorted(p.reason for p in accepted.problems)
    assert {letter.topic for letter in store.dead_letters()} == {"http"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "broken_json"),
        (b"", "broken_json"),
        (b"[1, 2", "broken_json"),
        (b'{"readings": 7}', "wrong_type"),
        (b" " * 16_000_001, "too_large"),
        (b"[" * 200_000, "broken_json"),
        (b'{"readings": [{"source": "p1", "values": {"temp": NaN}}]}', "not_a_number"),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused_as_a_whole(
    ingest: Ingest, store: FailingWriter, raw: bytes, reason: str
) -> None:
    with pytest.raises(UnreadableMessageError) as caught:
        ingest.accept(raw)
    assert caught.value.reason == reason
    assert store.counts().dead_letters == 0


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"readings": items}], ids=["list", "envelope"])
def test_a_body_of_more_messages_than_anybody_sends_is_refused_as_a_whole(
    ingest: Ingest, store: FailingWriter, wrap: object
) -> None:
    most = [body()] * 10_000
    assert ingest.accept(json.dumps(wrap(most)).encode()).stored == 10_000  # type: ignore[operator]
    with pytest.raises(UnreadableMessageError, match="at most 10,000 messages in one body"):
        ingest.accept(json.dumps(wrap([*most, body("p2")])).encode())  # type: ignore[operator]
    assert temps(store, "p2") == []


@pytest.mark.parametrize("item", [b"{}", b"1", b"[]"])
def test_a_body_of_tiny_messages_takes_no_more_memory_than_its_size(ingest: Ingest, item: bytes) -> None:
    raw = b"[" + b",".join([item] * (2_000_000 // len(item))) + b"]"
    tracemalloc.start()
    with pytest.raises(UnreadableMessageError, match="too_many"):
        ingest.accept(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(raw)


def test_of_many_problems_the_first_hundred_are_listed_and_all_are_kept(ingest: Ingest, store: FailingWriter) -> None:
    accepted = ingest.accept(json.dumps([body(f"nobody{i}") for i in range(300)]).encode())
    assert [problem.index for problem in accepted.problems] == list(range(100))
    assert store.counts().dead_letters == 300


def test_late_readings_over_http_are_counted(ingest: Ingest, store: FailingWriter) -> None:
    accepted = ingest.accept(json.dumps([body(ts="2026-11-01T10:00:00Z"), body()]).encode())
    assert (accepted.stored, accepted.late) == (2, 1)
    assert temps(store) == [20.0]


def test_a_body_that_could_not_be_stored_is_not_accepted(ingest: Ingest, store: FailingWriter) -> None:
    store.failures = 1
    with pytest.raises(StoreError):
        ingest.accept(json.dumps(body()).encode())


def test_through_the_log_the_same_message_ten_times_counts_once(tmp_path: Path) -> None:
    writer = ReadingLogWriter(tmp_path / "ingest.db")
    ingest = Ingest(Decoder(plant("temp", "vib")), writer, PlantClock())
    for _ in range(10):
        ingest.add("pdm/a/b/p1", message(1), NOW)
        ingest.commit()
    reader = ReadingLog(tmp_path)
    assert temps(reader) == [1.0]
    reader.close()
    writer.close()
