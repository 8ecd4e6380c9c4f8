"""The drop folder: files that appear are imported once they have come to rest, and moved away."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ReplayClock
from pdm.errors import StoreError
from pdm.ingest import drop
from pdm.ingest.drop import DropFolder
from pdm.plant.difference import difference
from pdm.plant.file import parse_plant
from tests.small_plant import PLANT
from tests.test_wire_file import FIRST, complaints

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z

GOOD = "time,source,speed,vibration\n2026-11-22T09:00:00Z,fan1,1498,2.9\n2026-11-22T09:10:00Z,fan1,1499,3.0\n"
FILES = """files:
  - {name: "export_*.csv", source: fan2, time_column: stamp, time_zone: Europe/Berlin, rename: {n: speed}, ignore: who}
  - {unit: {vibration: in/s}}
"""


class Folder:
    """A folder that is looked at by hand."""

    def __init__(self, root: Path, text: str = PLANT):
        self.path = root / "drop"
        self.path.mkdir(exist_ok=True)
        self.readings = root / "readings"
        self.readings.mkdir(exist_ok=True)
        self.plant = parse_plant(text)
        self.start()

    def start(self) -> None:
        self.drop = DropFolder(
            self.path, lambda: ReadingLogWriter(self.readings / "drop.db"), lambda: self.plant, ReplayClock(NOW)
        )

    def put(self, name: str, text: str) -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def look(self, times: int = 2) -> list[tuple[str, int, int]]:
        moved = [moved for _ in range(times) for moved in self.drop.look()]
        return [(str(one.path.relative_to(self.path)), one.rows, one.bad_rows) for one in moved]

    def speeds(self, source: str = "fan1") -> list[float]:
        log = ReadingLog(self.readings)
        window = log.window("fan", [source], 0, 2 * NOW)
        found = window.values[:, window.sensors.index("speed")].tolist() if len(window) else []
        log.close()
        return found

    @property
    def files(self) -> set[str]:
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_imported_once_it_has_come_to_rest(folder: Folder) -> None:
    folder.put("a.csv", GOOD)
    assert folder.look(1) == []
    assert folder.look(1) == [("done/a.csv", 2, 0)]
    assert folder.speeds() == [1498.0, 1499.0]
    assert folder.files == {"done/a.csv"}
    assert folder.look() == []


def test_a_file_that_still_grows_is_left_alone(folder: Folder) -> None:
    path = folder.put("a.csv", GOOD[:70])
    assert folder.look(1) == []
    path.write_text(GOOD)
    assert folder.look(1) == []
    assert folder.look(1) == [("done/a.csv", 2, 0)]


def test_a_file_that_is_written_over_with_as_many_bytes_is_left_alone(folder: Folder) -> None:
    path = folder.put("a.csv", GOOD)
    folder.look(1)
    os.utime(path, ns=(0, 1))
    assert folder.look(1) == []


def test_an_empty_a_hidden_and_a_foreign_file_stay_where_they_are(folder: Folder) -> None:
    for name in (".a.csv", "a.csv.part", "notes.txt"):
        folder.put(name, GOOD)
    folder.put("empty.csv", "")
    (folder.path / "link.csv").symlink_to(folder.path / "notes.txt")
    assert folder.look(3) == []
    assert folder.speeds() == []


def test_bad_rows_are_reported_beside_the_file(folder: Folder) -> None:
    folder.put("a.csv", GOOD + "2026-11-22T09:20:00Z,fan9,1,1\n")
    assert folder.look() == [("done/a.csv", 3, 1)]
    report = (folder.path / "done" / "a.csv.report.csv").read_text()
    assert report.splitlines() == [
        "file,row,reason,detail",
        "a.csv,4,unknown_source,no asset of the plant has the source 'fan9'",
    ]
    assert folder.files == {"done/a.csv", "done/a.csv.report.csv"}


def test_a_file_that_does_not_fit_is_put_apart_with_the_reason(folder: Folder) -> None:
    folder.put("a.csv", "time,source,temperature\n2026-11-22T09:00:00Z,fan1,1\n")
    folder.put("b.parquet", "no parquet")
    assert sorted(folder.look()) == [("failed/a.csv", 0, 0), ("failed/b.parquet", 0, 0)]
    assert "temperature hold no sensor of the plant" in (folder.path / "failed" / "a.csv.txt").read_text()
    assert folder.files == {f"failed/{name}" for name in ("a.csv", "a.csv.txt", "b.parquet", "b.parquet.txt")}


def test_a_name_that_comes_again_does_not_replace_the_file_before(folder: Folder) -> None:
    folder.put("a.csv", GOOD)
    folder.look()
    folder.put("a.csv", GOOD.replace("1498", "1400"))
    assert folder.look() == [("done/20261122T100000-a.csv", 2, 0)]
    assert folder.speeds() == [1400.0, 1499.0]


def test_a_file_is_laid_out_as_the_plant_says(tmp_path: Path) -> None:
    folder = Folder(tmp_path, PLANT + FILES)
    folder.put("export_7.csv", "stamp,n,who\n2026-11-22 10:30:00,1498,Ada\n")
    folder.put("other.csv", GOOD)
    assert sorted(folder.look()) == [("done/export_7.csv", 1, 0), ("done/other.csv", 2, 0)]
    assert folder.speeds("fan2") == [1498.0]
    log = ReadingLog(folder.readings)
    assert log.window("fan", ["fan2"], 0, NOW).time_ms.tolist() == [NOW - 30 * 60_000]
    assert log.window("fan", ["fan1"], 0, NOW).values[0].tolist() == [1498.0, pytest.approx(2.9 * 25.4)]
    log.close()


@pytest.mark.parametrize(
    ("owner", "step", "nth"), [(ReadingLogWriter, "append", 1), (Path, "replace", 1), (Path, "replace", 2)]
)
def test_a_crash_at_any_point_loses_nothing_and_counts_nothing_twice(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, nth: int
) -> None:
    folder.put("a.csv", GOOD + "2026-11-22T09:20:00Z,fan9,1,1\n")
    real, calls = getattr(owner, step), 0

    def crash(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    folder.look(1)
    monkeypatch.setattr(owner, step, crash)
    with pytest.raises(KeyboardInterrupt):
        folder.look(1)
    folder.start()
    assert folder.look()[0][0] == "done/a.csv"
    assert folder.speeds() == [1498.0, 1499.0]
    assert folder.files == {"done/a.csv", "done/a.csv.report.csv"}


def test_a_full_disk_leaves_the_file_for_the_next_look(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("a.csv", GOOD)

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    folder.look(1)
    with monkeypatch.context() as broken:
        broken.setattr(ReadingLogWriter, "append", full)
        with pytest.raises(StoreError):
            folder.look(1)
    assert folder.files == {"a.csv"}
    assert folder.look(1) == [("done/a.csv", 2, 0)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_looks_by_itself_and_says_once_that_it_cannot(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop, "LOOK_S", 0.05)
    away = folder.path.with_name("away")
    folder.path.rename(away)
    folder.path.write_text("a file where the folder was")
    with capture_logs() as logs:
        folder.drop.start()
        time.sleep(0.4)
        folder.path.unlink()
        away.rename(folder.path)
        folder.put("a.csv", GOOD)
        wait_for(lambda: "done/a.csv" in folder.files)
        folder.drop.stop()
    assert [log["event"] for log in logs].count("drop folder out of service") == 1


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{source: fan9}", "source: there is no source 'fan9'; did you mean 'fan3'?"),
        ("{rename: {n: sped}}", "rename.n: there is no sensor 'sped'; did you mean 'speed'?"),
        ("{unit: {speed: bar}}", "unit.speed: 'bar' cannot be converted into 'rpm'"),
        ("{time_zone: Berlin}", "time_zone: expected a time zone such as Europe/Berlin, not 'Berlin'"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_its_line_and_key(entry: str, complaint: str) -> None:
    (said,) = complaints(f"files:\n  - {entry}\n")
    assert said.startswith(f"{FIRST}: files[0].{complaint}")


def test_a_change_of_a_layout_is_told_before_it_is_applied() -> None:
    was, becomes = parse_plant(PLANT + FILES), parse_plant(PLANT + FILES.replace("fan2", "fan3"))
    assert difference(was, becomes) == ["files export_*.csv: source was fan2, becomes fan3"]
