"""What only the log on disk has to survive: damage, crashes, full disks, several writers and readers."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.adapters.reading_log.dead_letters import DeadLetters
from pdm.errors import ConfigurationError, DamagedRecordError, StoreError
from pdm.ports import DeadLetter, ImportProgress
from pdm.readings import Readings, columns_of

NAN = float("nan")
SOURCES = [f"p{i}" for i in range(5)]


def pumps(time_ms: int, value: float, sources: list[str] = SOURCES) -> dict[str, Readings]:
    n = len(sources)
    values = np.column_stack([np.full(n, value), np.arange(n, dtype=np.float64)])
    times = np.full(n, time_ms, dtype=np.int64)
    return {"pump": Readings(("temp", "vib"), np.array(sources, object), times, values, np.zeros(n, dtype=np.uint8))}


def values_by_time(reader: ReadingLog) -> dict[int, float]:
    window = reader.window("pump", SOURCES, 0, 10**6)
    return dict(zip(window.time_ms.tolist(), columns_of(window, ("temp",))[:, 0].tolist(), strict=True))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ReadingLogWriter]:
    writer = ReadingLogWriter(tmp_path / "ingest.db")
    yield writer
    writer.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[ReadingLog]:
    reader = ReadingLog(tmp_path)
    yield reader
    reader.close()


def test_a_second_writer_on_the_same_log_is_refused(writer: ReadingLogWriter) -> None:
    with pytest.raises(StoreError, match=r"ingest\.db: another process writes to it"):
        ReadingLogWriter(writer.path)


def test_a_log_can_be_written_again_after_its_writer_closed(writer: ReadingLogWriter, reader: ReadingLog) -> None:
    writer.append(pumps(1, 1.0))
    writer.close()
    again = ReadingLogWriter(writer.path)
    again.append(pumps(2, 2.0))
    again.close()
    assert again.name == writer.name
    assert values_by_time(reader) == {1: 1.0, 2: 2.0}


def test_large_commits_get_large_pages_and_read_the_same(tmp_path: Path, reader: ReadingLog) -> None:
    with closing(ReadingLogWriter(tmp_path / "import.db", large=True)) as log:
        log.append(pumps(1, 1.0))
    assert int.from_bytes((tmp_path / "import.db").read_bytes()[16:18], "big") == 1  # stands for 65,536
    with closing(ReadingLogWriter(tmp_path / "import.db")) as log:
        log.append(pumps(2, 2.0))
    assert values_by_time(reader) == {1: 1.0, 2: 2.0}


def test_a_log_of_an_earlier_release_notes_how_far_a_bucket_was_read(writer: ReadingLogWriter) -> None:
    writer.close()
    with closing(sqlite3.connect(writer.path)) as db:
        db.execute("DROP TABLE reached")
    with closing(ReadingLogWriter(writer.path)) as log:
        log.append(
            pumps(1, 1.0), imported=ImportProgress("d", "b", 5, 0, finished=False, reached_ms={"p1": 1, "p2": 2})
        )
        log.append(pumps(2, 2.0), imported=ImportProgress("d", "b", 10, 0, finished=False, reached_ms={"p1": 3}))
    with closing(ReadingLogWriter(writer.path)) as log:
        assert log.import_progress("d") == ImportProgress("d", "b", 10, 0, False, {"p1": 3, "p2": 2})


def test_a_closed_log_can_be_read_by_a_new_reader(writer: ReadingLogWriter, reader: ReadingLog) -> None:
    writer.append(pumps(1, 1.0))
    writer.close()
    assert values_by_time(reader) == {1: 1.0}


def test_another_process_reads_what_has_been_committed_so_far(writer: ReadingLogWriter) -> None:
    code = (
        "import sys; from pathlib import Path; from pdm.adapters.reading_log import ReadingLog\n"
        "reader = ReadingLog(Path(sys.argv[1]))\n"
        "for line in sys.stdin: print(reader.counts().readings, flush=True)"
    )
    command = [sys.executable, "-c", code, str(writer.path.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for commits in range(1, 4):
            writer.append(pumps(commits, 1.0))
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline().strip() == str(5 * commits)
        other.stdin.close()


def test_several_logs_of_one_folder_are_one_store(tmp_path: Path, reader: ReadingLog) -> None:
    a = ReadingLogWriter(tmp_path / "a.db", clock=lambda: 100)
    b = ReadingLogWriter(tmp_path / "b.db", clock=lambda: 200)
    b.append(pumps(1, 2.0, ["p1"]))
    a.append(pumps(1, 1.0, ["p0", "p1"]))
    assert reader.window("pump", ["p0", "p1"], 0, 10).values[:, 0].tolist() == [1.0, 2.0]  # b committed later
    changes = reader.changes("pump", "")
    assert changes.source.tolist() == ["p0", "p1"]
    a.append(pumps(5, 3.0, ["p1"]))
    assert reader.changes("pump", changes.cursor).earliest_ms.tolist() == [5]
    assert reader.counts().readings == 4
    a.close()
    b.close()


def test_a_tail_over_several_logs_keeps_its_place_in_each(tmp_path: Path, reader: ReadingLog) -> None:
    now = iter(range(100))
    logs = [ReadingLogWriter(tmp_path / f"{name}.db", clock=lambda: next(now)) for name in "ab"]
    for time in range(6):
        logs[time % 2].append(pumps(time, 1.0, ["p0"]))
    cursor, seen = "", list[int]()
    while len((tail := reader.tail("pump", cursor, limit=2)).readings):
        seen += tail.readings.time_ms.tolist()
        cursor = tail.cursor
    assert seen == list(range(6))
    for log in logs:
        log.close()


def test_a_clock_that_goes_back_does_not_change_which_value_is_later(tmp_path: Path, reader: ReadingLog) -> None:
    now = iter([1000, 5])
    writer = ReadingLogWriter(tmp_path / "a.db", clock=lambda: next(now))
    writer.append(pumps(1, 1.0))
    writer.append(pumps(1, 2.0))
    assert values_by_time(reader) == {1: 2.0}
    writer.close()


def test_a_log_restored_from_an_older_copy_is_read_from_its_start(writer: ReadingLogWriter, tmp_path: Path) -> None:
    writer.append(pumps(1, 1.0))
    writer.close()
    old = writer.path.read_bytes()
    for time in (2, 3):
        again = ReadingLogWriter(writer.path)
        again.append(pumps(time, 1.0))
        again.close()
    with closing(ReadingLog(tmp_path)) as newer:
        ahead = newer.latest_cursor()
    writer.path.write_bytes(old)
    with closing(ReadingLog(tmp_path)) as older:
        assert older.changes("pump", ahead).earliest_ms.tolist() == [1] * 5


def test_a_full_disk_is_a_store_error_and_keeps_nothing_of_the_commit(
    writer: ReadingLogWriter, reader: ReadingLog
) -> None:
    writer.append(pumps(1, 1.0))
    pages = writer._db.execute("PRAGMA page_count").fetchone()[0]
    writer._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    many = [f"new{i}" for i in range(20_000)]
    with pytest.raises(StoreError, match="full") as caught:
        writer.append(pumps(2, 2.0) | {"fan": pumps(2, 2.0, many)["pump"]}, [DeadLetter("t", b"x", "r", "d", 1)])
    assert caught.value.retry_helps
    assert values_by_time(reader) == {1: 1.0}
    assert reader.counts().dead_letters == 0

    writer._db.execute("PRAGMA max_page_count = 1000000")  # somebody made room
    writer.append(pumps(2, 2.0) | {"fan": pumps(2, 2.0, many)["pump"]})
    assert values_by_time(reader) == {1: 1.0, 2: 2.0}
    assert reader.window("fan", [many[-1]], 0, 10).source.tolist() == [many[-1]]


def test_a_damaged_batch_is_skipped_named_and_counted_once(
    writer: ReadingLogWriter, reader: ReadingLog, capsys: pytest.CaptureFixture[str]
) -> None:
    for time in (1, 2, 3):
        writer.append(pumps(time, 1.0))
    writer._db.execute("UPDATE bodies SET body = zeroblob(length(body)) WHERE batch = 2")
    assert values_by_time(reader) == {1: 1.0, 3: 1.0}
    assert values_by_time(reader) == {1: 1.0, 3: 1.0}
    assert reader.counts().damaged == 1
    assert capsys.readouterr().out.count("what='batch 2'") == 1


def test_a_missing_batch_is_counted_as_damaged(writer: ReadingLogWriter, reader: ReadingLog) -> None:
    for time in (1, 2, 3):
        writer.append(pumps(time, 1.0))
    writer._db.execute("DELETE FROM batches WHERE id = 2")
    assert values_by_time(reader) == {1: 1.0, 3: 1.0}
    assert reader.counts().damaged == 1


def test_a_source_with_a_damaged_name_is_not_read_as_another(writer: ReadingLogWriter, reader: ReadingLog) -> None:
    writer.append(pumps(1, 1.0))
    (lost,) = writer._db.execute("SELECT name FROM sources WHERE id = 2").fetchone()
    writer._db.execute("UPDATE sources SET name = 'p9' WHERE id = 2")
    left = [name for name in SOURCES if name != lost]
    assert reader.window("pump", [*SOURCES, "p9"], 0, 10).source.tolist() == left
    assert reader.changes("pump", "").source.tolist() == left
    assert reader.tail("pump", "").readings.source.tolist() == left
    assert reader.counts().damaged == 1


def test_a_flipped_byte_never_turns_into_other_readings(writer: ReadingLogWriter, tmp_path: Path) -> None:
    for time in range(40):
        writer.append(pumps(time, float(time)))
    writer.close()
    sound = writer.path.read_bytes()
    places = np.random.default_rng(1).integers(len(sound) * 8, size=200).tolist()
    noticed = 0
    for place in places:
        torn = bytearray(sound)
        torn[place // 8] ^= 1 << place % 8
        writer.path.write_bytes(torn)
        reader = ReadingLog(tmp_path)
        try:
            found = values_by_time(reader)
            assert all(found[time] == float(time) for time in found)
            assert len(found) == 40 or reader.counts().damaged > 0
            noticed += reader.counts().damaged > 0
        except (StoreError, ConfigurationError):
            noticed += 1
        finally:
            reader.close()
    assert noticed > 20


def test_a_file_that_is_no_log_is_named(tmp_path: Path, reader: ReadingLog) -> None:
    (tmp_path / "holiday.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(DamagedRecordError, match=r"holiday\.db is damaged"):
        reader.counts()


def test_a_log_of_another_schema_version_is_refused(writer: ReadingLogWriter) -> None:
    writer._db.execute("UPDATE meta SET schema_version = 2")
    writer.close()
    with pytest.raises(ConfigurationError, match=r"ingest\.db: has schema version 2, this release reads version 1"):
        ReadingLogWriter(writer.path)


def test_the_oldest_dead_letters_make_room_and_are_counted(writer: ReadingLogWriter) -> None:
    db = writer._db
    letters = DeadLetters(db, most_rows=3, most_bytes=50)
    letters.remember()
    letters.add([DeadLetter("t", bytes([i]) * 10, "r", "d", i) for i in range(5)])
    assert [row[0][0] for row in db.execute("SELECT payload FROM dead_letters ORDER BY id")] == [2, 3, 4]
    letters.add([DeadLetter("t", b"x" * 40, "r", "d", 9)])
    assert [row[0][0] for row in db.execute("SELECT payload FROM dead_letters ORDER BY id")] == [4, ord("x")]
    assert dict(db.execute("SELECT * FROM counters")) == {"dead_letters": 6, "dead_letters_dropped": 4}


def test_ten_thousand_sources_are_one_small_read(writer: ReadingLogWriter, reader: ReadingLog) -> None:
    many = [f"machine {i}" for i in range(10_000)]
    for time in (1, 2):
        writer.append(pumps(time, float(time), many))
    window = reader.window("pump", many[::-1], 2, 3)
    assert window.source.tolist() == many[::-1]
    assert window.values[:, 1].tolist() == list(range(9_999, -1, -1))


def test_the_memory_for_batches_is_bounded(writer: ReadingLogWriter, tmp_path: Path) -> None:
    for time in range(20):
        writer.append(pumps(time, float(time)))
    reader = ReadingLog(tmp_path, cache_bytes=10_000)
    assert values_by_time(reader) == {time: float(time) for time in range(20)}
    assert 0 < len(reader._cache) < 5
    reader.close()
