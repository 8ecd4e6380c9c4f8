"""A bucket that others write live is followed: Debian's server behind a proxy (tests/influx.py)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdm import wiring
from pdm.adapters.influx import InfluxBucket, InfluxServer
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ReplayClock
from pdm.doctor import Level, examine
from pdm.errors import StoreError
from pdm.ingest import adopt, bucket
from pdm.ingest.adopt import AdoptedBucket
from pdm.plant.file import parse_plant
from pdm.ports import ReadingWriter
from pdm.settings import Settings, load_settings
from pdm.state.schema import open_state
from tests.influx import TOKEN, InfluxDB, Proxy, Reply, error
from tests.small_plant import PLANT, RULES
from tests.test_import_bucket import LINES, Bench, Interrupted, plant_folder

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    started = InfluxDB(tmp_path_factory.mktemp("influx")).start()
    yield started
    started.stop()


class Followed(Bench):
    """A bucket and what follows it, looked at by hand."""

    def __init__(self, folder: Path, proxy: Proxy):
        super().__init__(folder, proxy)
        self.clock = ReplayClock(NOW)
        self.logs = folder / "readings"
        self.start(lambda: ReadingLogWriter(self.logs / "adopted.db"))

    def start(self, open_log: Callable[[], ReadingWriter]) -> None:
        """Begin as after a restart."""
        self.adopted = AdoptedBucket(
            InfluxBucket(InfluxServer(self.link)),
            (),
            open_log,
            lambda: self.plant,
            self.clock,
            interval_ms=1_000,
            overlap_ms=15 * MINUTE,
        )

    def restart(self) -> None:
        self.adopted.close()
        self.start(lambda: ReadingLogWriter(self.logs / "adopted.db"))

    def put(self, source: str, *minutes: int, value: float | None = None) -> None:
        """Samples so many minutes before NOW, or after it."""
        self.write(
            "\n".join(f"modbus,host={source} n={at if value is None else value} {NOW + at * MINUTE}" for at in minutes)
        )

    def taken(self, source: str = "fan1") -> list[int]:
        log = ReadingLog(self.logs)
        found = log.window("fan", [source], 0, 2 * NOW)
        log.close()
        return [(at - NOW) // MINUTE for at in found.time_ms.tolist()]

    def stored(self) -> int:
        """Rows, with those that were stored twice."""
        log = ReadingLog(self.logs)
        count = log.counts().readings
        log.close()
        return count


@pytest.fixture
def followed(tmp_path: Path, server: InfluxDB) -> Iterator[Followed]:
    proxy = Proxy(server.port)
    made = Followed(tmp_path, proxy)
    yield made
    made.adopted.close()
    made.bucket.close()
    proxy.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_new_is_taken_once(followed: Followed) -> None:
    followed.put("fan1", -20, -10, 0)
    followed.put("fan2", -10)
    assert followed.adopted.look() == 4
    assert followed.adopted.look() == 0
    followed.put("fan1", 1)
    followed.put("fan2", 1)
    assert followed.adopted.look() == 2
    assert (followed.taken("fan1"), followed.taken("fan2")) == ([-20, -10, 0, 1], [-10, 1])
    assert followed.stored() == 6


def test_a_reading_out_of_order_is_found_within_the_overlap(followed: Followed) -> None:
    followed.put("fan1", -60, 0)
    followed.adopted.look()
    followed.put("fan1", -14, -16)
    assert followed.adopted.look() == 1
    assert followed.taken() == [-60, -14, 0]  # one older than the overlap is left to an import, as the page says


def test_a_correction_within_the_overlap_is_taken(followed: Followed) -> None:
    followed.put("fan1", -5, 0)
    followed.write(f"modbus,host=fan1 vib=0 {NOW}")
    followed.adopted.look()
    followed.put("fan1", -5, value=7)
    assert followed.adopted.look() == 1
    followed.write(f"modbus,host=fan1 vib=1 {NOW - 5 * MINUTE}")  # another field of the same reading
    assert followed.adopted.look() == 1
    assert followed.adopted.look() == 0


def test_a_machine_that_was_silent_for_hours_hands_in_all_of_them(followed: Followed) -> None:
    followed.put("fan1", -300)
    followed.put("fan2", -300)
    followed.adopted.look()
    followed.put("fan2", *range(-299, 1))
    assert followed.adopted.look() == 300
    followed.put("fan1", *range(-299, 1))  # its gateway was offline
    assert followed.adopted.look() == 300
    assert followed.taken("fan1") == followed.taken("fan2") == list(range(-300, 1))
    assert followed.stored() == 602


def test_it_begins_with_what_is_not_too_old_to_change_a_step(followed: Followed) -> None:
    followed.put("fan1", -8 * 24 * 60, -6 * 24 * 60, 0)
    followed.adopted.look()
    assert followed.taken() == [-6 * 24 * 60, 0]


def test_after_a_restart_nothing_is_lost_and_no_more_than_the_overlap_read_again(followed: Followed) -> None:
    followed.put("fan1", *range(-60, 1))
    followed.adopted.look()
    followed.put("fan1", *range(1, 4))
    followed.restart()
    assert followed.adopted.look() == 3 + 16
    assert followed.taken() == list(range(-60, 4))


def test_a_commit_that_fails_is_made_at_the_next_look(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "MOST_VALUES", 20)
    followed.put("fan1", *range(-60, 1))
    for failing in range(10):
        store = Interrupted(failing)
        followed.start(lambda store=store: store)  # type: ignore[misc]
        try:
            followed.adopted.look()
            break
        except StoreError:
            followed.adopted.look()
        assert store.counts().readings == 61
        assert followed.adopted.look() == 0
    assert failing > 2


def test_machines_that_are_added_on_either_side_are_found(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "MAP_EVERY_MS", 0)
    followed.put("fan1", 0)
    followed.adopted.look()
    followed.put("fan2", 0)
    followed.put("newcomer", 0)
    assert followed.adopted.look() == 1
    followed.plant = parse_plant(PLANT.replace("source: fan3", "source: newcomer") + LINES)
    assert followed.adopted.look() == 1
    assert followed.taken("newcomer") == [0]


def test_a_bucket_of_other_things_is_a_problem_and_no_silence(followed: Followed) -> None:
    followed.write(f"cpu,host=a usage=1 {NOW}")
    with pytest.raises(StoreError, match=r"holds nothing of this plant .*cpu,host=a"):
        followed.adopted.look()


def test_nothing_is_written_to_the_bucket_and_an_answer_without_its_end_moves_nothing(followed: Followed) -> None:
    followed.put("fan1", -1, 0)
    methods = set[str]()
    followed.proxy.faults.append(lambda request: methods.add(request.method))
    followed.proxy.faults.append(
        lambda request: Reply(200, b"name,tags,time,n\n") if "GROUP BY" in request.query["q"] else None
    )
    with pytest.raises(StoreError, match="the answer has no end"):
        followed.adopted.look()
    followed.proxy.faults.pop()
    assert followed.adopted.look() == 2
    assert methods == {"GET"}


def test_settings_alone_adopt_a_bucket(followed: Followed) -> None:
    folder = plant_folder(followed).data_dir
    given = {"url": followed.proxy.url, "bucket": followed.link.bucket, "token_file": followed.folder / "token"}
    settings = load_settings(given={"data_dir": folder, "adopt": given | {"interval": "20 ms"}})
    followed.put("fan1", -1, 0)
    followed.proxy.faults.append(lambda request: error(503, "unavailable", "starting"))
    engine = open_state(settings.state_url())
    adopted = wiring.adopted_bucket(settings, engine, followed.clock)
    assert adopted is not None
    try:
        until(lambda: any("starting" in said for said in adopted.degraded()))
        followed.proxy.faults.clear()
        followed.logs = settings.readings_folder()
        until(lambda: followed.taken() == [-1, 0])
        until(lambda: not adopted.degraded())
    finally:
        adopted.close()
        engine.dispose()
    assert wiring.adopted_bucket(Settings(), engine, followed.clock) is None


def test_doctor_says_what_an_adopted_bucket_holds_of_the_plant(followed: Followed) -> None:
    for name, text in (("plant", PLANT + LINES), ("rules", RULES), ("token", TOKEN)):
        (followed.folder / f"{name}.yaml").write_text(text)
    files = {name: followed.folder / f"{name}.yaml" for name in ("plant", "rules")}
    given = {"url": followed.proxy.url, "bucket": followed.link.bucket, "token_file": followed.folder / "token.yaml"}
    settings = load_settings(given={"data_dir": followed.folder, "adopt": given, **files})

    def said() -> tuple[str, str]:
        return next((one.level, one.found) for one in examine(settings) if one.what == "adopted bucket")

    followed.write(f"modbus,host=a n=1 {NOW}")
    level, found = said()
    assert level == Level.FAULT
    assert "holds readings of 0 sources; 1 remark, the first: modbus,host=a:" in found
    followed.put("fan1", 0)
    assert said()[0] == Level.OK
    assert "holds readings of 1 source;" in said()[1]
