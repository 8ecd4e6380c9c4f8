"""Batches become files by class and day: what readers see before, after and in the middle of it."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.adapters.reading_log.day_file import DayFileWriter
from pdm.adapters.reading_log.manifest import ManifestWriter
from pdm.errors import ConflictError, StoreError
from pdm.ports import ReadingStore
from pdm.readings import ArrivalFlag, Readings
from tests.adapters.compaction_sweep import filled, kill_everywhere

NAN = float("nan")
DAY = 86_400_000
FAR = 2**62
SOURCES = ["p1", "p2", "p3"]
Row = tuple[str, int, float, float]


def pumps(*rows: Row, flag: int = 0) -> dict[str, Readings]:
    source = np.array([row[0] for row in rows], dtype=object)
    values = np.array([row[2:] for row in rows], dtype=np.float64).reshape(len(rows), 2)
    times = np.array([row[1] for row in rows], dtype=np.int64)
    return {"pump": Readings(("temp", "vib"), source, times, values, np.full(len(rows), flag, dtype=np.uint8))}


def rows_of(readings: Readings) -> list[tuple[Any, ...]]:
    columns = zip(readings.source.tolist(), readings.time_ms.tolist(), readings.values.tolist(), strict=True)
    return [(source, time, *(None if np.isnan(value) else value for value in row)) for source, time, row in columns]


def all_of(store: ReadingStore) -> list[tuple[Any, ...]]:
    return rows_of(store.window("pump", SOURCES, -FAR, FAR))


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if ".parquet" in path.name)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ReadingLogWriter]:
    with closing(ReadingLogWriter(tmp_path / "a.db")) as writer:
        yield writer


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[ReadingLog]:
    with closing(ReadingLog(tmp_path)) as reader:
        yield reader


def test_batches_become_one_file_a_class_and_day(writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path) -> None:
    for time in (1, DAY - 1, DAY, 3 * DAY):
        writer.append(pumps(("p2", time, 1.0, NAN), ("p1", time, 2.0, 3.0)))
    before = all_of(reader)
    done = LogCompactor(tmp_path).compact(FAR)
    assert (done.batches, done.rows, done.files) == (4, 8, 3)
    assert [path.name[:10] for path in files_in(tmp_path)] == ["1970-01-01", "1970-01-02", "1970-01-04"]
    assert writer._db.execute("SELECT count(*) FROM batches").fetchone() == (0,)
    assert writer._db.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    assert all_of(reader) == before
    assert LogCompactor(tmp_path).compact(FAR).files == 0


def test_only_what_was_committed_before_is_compacted(tmp_path: Path, reader: ReadingLog) -> None:
    now = iter([10, 20, 30])
    with closing(ReadingLogWriter(tmp_path / "a.db", clock=lambda: next(now))) as writer:
        for time in (1, 2, 3):
            writer.append(pumps(("p1", time, 1.0, 1.0)))
        assert LogCompactor(tmp_path).compact(30).batches == 2
        assert writer._db.execute("SELECT id FROM batches").fetchall() == [(3,)]
    assert len(all_of(reader)) == 3


def test_pandas_and_duckdb_read_the_files_as_they_lie(writer: ReadingLogWriter, tmp_path: Path) -> None:
    writer.append(pumps(("p2", 5, 1.5, NAN), ("p1", 7, 2.0, 3.0), ("p1", 6, 1.0, 1.0)))
    writer.append(pumps(("p1", DAY, 4.0, 4.0)))
    LogCompactor(tmp_path).compact(FAR)
    table = pd.read_parquet(tmp_path / "parquet" / "pump")
    assert list(table.columns) == ["source", "time", "temp", "vib", "_flags", "_run"]
    assert table["source"].tolist() == ["p1", "p1", "p2", "p1"]
    assert table["time"].tolist() == [pd.Timestamp(ms, unit="ms", tz="UTC") for ms in (6, 7, 5, DAY)]
    with closing(duckdb.connect()) as duck:
        query = "SELECT source, count(*), avg(vib) FROM read_parquet(?, union_by_name = true) GROUP BY 1 ORDER BY 1"
        found = duck.execute(query, [str(tmp_path / "parquet" / "pump" / "*.parquet")]).fetchall()
    assert found == [("p1", 3, pytest.approx(8 / 3)), ("p2", 1, None)]


@pytest.mark.parametrize("sensors", [("source", "time", "time_", "_run"), ("motor", "motor.temp", "motor:x-1", "温度")])
def test_sensors_of_any_name_are_kept(
    sensors: tuple[str, ...], writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    values = np.array([[1.0, 2.0, NAN, 4.0]])
    source = np.array(["p1"], dtype=object)
    writer.append({"pump": Readings(sensors, source, np.array([1]), values, np.zeros(1, dtype=np.uint8))})
    LogCompactor(tmp_path).compact(FAR)
    found = reader.window("pump", ["p1"], 0, 10)
    assert found.sensors == sensors
    assert_array_equal(found.values, values)
    assert reader.changes("pump", "").source.tolist() == ["p1"]


def test_a_late_correction_of_a_compacted_day_is_merged_at_the_next_compaction(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    writer.append(pumps(("p1", 1, 1.0, 2.0), ("p2", 1, 5.0, 5.0)))
    LogCompactor(tmp_path).compact(FAR)
    (first,) = files_in(tmp_path)
    writer.append(pumps(("p1", 1, NAN, 9.0)))
    expected = [("p1", 1, 1.0, 9.0), ("p2", 1, 5.0, 5.0)]
    assert all_of(reader) == expected
    LogCompactor(tmp_path).compact(FAR)
    (second,) = files_in(tmp_path)
    assert first != second
    assert all_of(reader) == expected
    assert reader.counts().readings == 3


def test_readings_that_came_too_late_are_kept_in_a_folder_of_their_own_and_never_read(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    writer.append(pumps(("p1", 1, 1.0, 2.0)))
    writer.append(pumps(("p1", 1, 7.0, 7.0), flag=ArrivalFlag.LATE))
    LogCompactor(tmp_path).compact(FAR)
    assert pd.read_parquet(tmp_path / "parquet-late" / "pump")["temp"].tolist() == [7.0]
    assert all_of(reader) == [("p1", 1, 1.0, 2.0)]
    assert len(reader.tail("pump", "").readings) == 1
    counts = reader.counts()
    assert (counts.readings, counts.late, counts.batches) == (2, 1, 2)


def test_a_cursor_older_than_a_compaction_is_told_what_that_changed_and_nothing_else(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    writer.append(pumps(("p1", 1, 1.0, 1.0), ("p2", 1, 1.0, 1.0)))
    LogCompactor(tmp_path).compact(FAR)
    cursor = reader.latest_cursor()
    writer.append(pumps(("p1", 5, 2.0, 2.0)))
    writer.append(pumps(("p3", DAY, 3.0, 3.0)))
    LogCompactor(tmp_path).compact(FAR)
    writer.append(pumps(("p3", 9, 4.0, 4.0)))
    changes = reader.changes("pump", cursor)
    assert changes.source.tolist() == ["p1", "p3"]
    assert changes.earliest_ms.tolist() == [5, 9]
    assert changes.latest_ms.tolist() == [5, DAY]
    assert rows_of(reader.tail("pump", cursor).readings) == [
        ("p1", 5, 2.0, 2.0),
        ("p3", DAY, 3.0, 3.0),
        ("p3", 9, 4.0, 4.0),
    ]
    assert len(reader.changes("pump", changes.cursor).source) == 0


def test_a_tail_in_small_pieces_misses_nothing_while_days_are_compacted_between_them(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    seen, cursor = set[tuple[Any, ...]](), ""
    for time in range(20):
        writer.append(pumps(*((source, time % 3 * DAY + time, float(time), 1.0) for source in SOURCES)))
        if time % 4 == 3:
            LogCompactor(tmp_path).compact(FAR)
        tail = reader.tail("pump", cursor, limit=2)
        seen |= set(rows_of(tail.readings))
        cursor = tail.cursor
    while len((tail := reader.tail("pump", cursor, limit=2)).readings):
        seen |= set(rows_of(tail.readings))
        cursor = tail.cursor
    assert seen == set(all_of(reader))


def test_a_log_that_was_wholly_compacted_goes_on_with_new_numbers_after_a_restart(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    writer.append(pumps(("p1", 1, 1.0, 1.0)))
    LogCompactor(tmp_path).compact(FAR)
    cursor = reader.latest_cursor()
    writer.close()
    with closing(ReadingLogWriter(tmp_path / "a.db")) as again:
        again.append(pumps(("p1", 1, 2.0, 2.0)))
    assert all_of(reader) == [("p1", 1, 2.0, 2.0)]
    assert reader.changes("pump", cursor).source.tolist() == ["p1"]
    assert reader.counts().damaged == 0


def test_a_log_restored_from_before_a_compaction_goes_on_behind_it(tmp_path: Path) -> None:
    with closing(ReadingLogWriter(tmp_path / "a.db")) as writer:
        writer.append(pumps(("p1", 1, 1.0, 1.0)))
    shutil.copy(tmp_path / "a.db", tmp_path / "copy")
    with closing(ReadingLogWriter(tmp_path / "a.db")) as writer:
        for time in (2, 3):
            writer.append(pumps(("p1", time, 1.0, 1.0)))
    LogCompactor(tmp_path).compact(FAR)
    shutil.copy(tmp_path / "copy", tmp_path / "a.db")
    with closing(ReadingLogWriter(tmp_path / "a.db")) as writer, closing(ReadingLog(tmp_path)) as reader:
        writer.append(pumps(("p1", 4, 1.0, 1.0)))
        assert [row[1] for row in all_of(reader)] == [1, 2, 3, 4]


def test_of_two_logs_the_later_commit_wins_sensor_by_sensor_also_when_compacted(
    tmp_path: Path, reader: ReadingLog
) -> None:
    now = iter(range(100))
    logs = [ReadingLogWriter(tmp_path / f"{name}.db", clock=lambda: next(now)) for name in "ab"]
    logs[0].append(pumps(("p1", 1, 1.0, 1.0)))
    logs[1].append(pumps(("p1", 1, 2.0, 2.0)))
    logs[0].append(pumps(("p1", 1, NAN, 3.0)))
    LogCompactor(tmp_path).compact(FAR)
    assert all_of(reader) == [("p1", 1, 2.0, 3.0)]
    for log in logs:
        log.close()


def test_a_day_too_large_for_memory_is_merged_in_shares(writer: ReadingLogWriter, tmp_path: Path) -> None:
    memory = MemoryReadings()
    for time in range(40):
        rows = pumps(*((source, time % 5 * (DAY // 2) + time, float(time), NAN) for source in SOURCES))
        for store in (writer, memory):
            store.append(rows)
        if time in (10, 30):
            LogCompactor(tmp_path, most_rows=4).compact(FAR)
    LogCompactor(tmp_path, most_rows=7).compact(FAR)
    with closing(ReadingLog(tmp_path)) as reader:
        assert all_of(reader) == all_of(memory)
    assert len(files_in(tmp_path)) == 3


def test_a_reader_in_the_middle_of_a_read_begins_again_when_it_is_compacted_away(
    writer: ReadingLogWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the batches are known they are dropped; then the files are known, and they are replaced."""
    for time in range(3):
        writer.append(pumps(("p1", time, 1.0, 1.0)))
    for _ in range(2):
        with closing(ReadingLog(tmp_path, cache_bytes=0)) as reader:
            refreshed, pending = reader._refreshed, [1]

            def compact_then(refreshed: Any = refreshed, pending: list[int] = pending) -> Any:
                logs = refreshed()
                if pending:
                    pending.pop()
                    writer.append(pumps(("p1", 1, 1.0, 1.0)))
                    LogCompactor(tmp_path).compact(FAR)
                return logs

            monkeypatch.setattr(reader, "_refreshed", compact_then)
            assert len(all_of(reader)) == 3
            assert reader.counts().damaged == 0


def test_appending_goes_on_while_days_are_compacted(writer: ReadingLogWriter, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pdm.adapters.reading_log import LogCompactor\n"
        "for _ in range(20): LogCompactor(Path(sys.argv[1])).compact(2**62)\n"
    )
    with (
        closing(ReadingLog(tmp_path)) as reader,
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as other,
    ):
        count = 0
        while other.poll() is None:
            writer.append(pumps(("p1", count, float(count), 1.0)))
            count += 1
            if count % 50 == 0:
                assert [row[1] for row in all_of(reader)] == list(range(count))
        assert other.returncode == 0
        assert [row[1:3] for row in all_of(reader)] == [(i, float(i)) for i in range(count)]
        assert reader.counts().readings == count
        assert reader.counts().damaged == 0


def test_a_full_disk_is_a_store_error_and_changes_nothing(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for time in (1, DAY):
        writer.append(pumps(("p1", time, 1.0, 1.0)))
    before = all_of(reader)
    finish, left = DayFileWriter.finish, [1]

    def full(self: DayFileWriter) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()
        return finish(self)

    monkeypatch.setattr(DayFileWriter, "finish", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        LogCompactor(tmp_path).compact(FAR)
    assert caught.value.retry_helps
    assert all_of(reader) == before
    monkeypatch.undo()  # somebody made room
    assert LogCompactor(tmp_path).compact(FAR).files == 2
    assert all_of(reader) == before
    assert len(files_in(tmp_path)) == 2


def test_two_compactions_at_once_are_refused(writer: ReadingLogWriter, tmp_path: Path) -> None:
    with closing(ManifestWriter(tmp_path)), pytest.raises(ConflictError, match="another process compacts"):
        LogCompactor(tmp_path).compact(FAR)


def test_old_days_of_a_class_are_removed_and_the_others_stay(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    for time in (1, DAY, 2 * DAY):
        writer.append(pumps(("p1", time, 1.0, 1.0)) | {"fan": pumps(("f1", time, 1.0, 1.0))["pump"]})
    writer.append(pumps(("p1", 1, 1.0, 1.0), flag=ArrivalFlag.LATE))
    compactor = LogCompactor(tmp_path)
    compactor.compact(FAR)
    assert compactor.expire("pump", 2 * DAY - 1) == 2
    assert [row[1] for row in all_of(reader)] == [DAY, 2 * DAY]
    assert len(reader.window("fan", ["f1"], 0, FAR)) == 3
    assert len(files_in(tmp_path)) == 5
    assert reader.counts().readings == 7


def test_a_damaged_batch_is_left_out_and_stays_where_it_is(
    writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path
) -> None:
    for time in range(3):
        writer.append(pumps(("p1", time, 1.0, 1.0)))
    writer._db.execute("UPDATE bodies SET body = zeroblob(length(body)) WHERE batch = 2")
    LogCompactor(tmp_path).compact(FAR)
    assert [row[1] for row in all_of(reader)] == [0, 2]
    assert reader.counts().damaged == 1
    assert writer._db.execute("SELECT id FROM batches").fetchall() == [(2,)]
    LogCompactor(tmp_path).compact(FAR)
    with closing(ReadingLog(tmp_path)) as fresh:
        assert fresh.counts().damaged == 1


def test_a_flipped_byte_of_a_file_is_named_and_the_file_skipped(
    writer: ReadingLogWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for time in (1, DAY):
        writer.append(pumps(*((source, time, 1.0, 2.0) for source in SOURCES)))
    LogCompactor(tmp_path).compact(FAR)
    path, _ = files_in(tmp_path)
    sound = path.read_bytes()
    for place in np.random.default_rng(1).integers(len(sound) * 8, size=200).tolist():
        torn = bytearray(sound)
        torn[place // 8] ^= 1 << place % 8
        path.write_bytes(torn)
        with closing(ReadingLog(tmp_path)) as reader:
            assert {row[1] for row in all_of(reader)} == {DAY}
            assert reader.counts().damaged == 1
    assert f"what=parquet/pump/{path.name}" in capsys.readouterr().out


def test_a_missing_file_is_named_and_counted(writer: ReadingLogWriter, reader: ReadingLog, tmp_path: Path) -> None:
    for time in (1, DAY):
        writer.append(pumps(("p1", time, 1.0, 2.0)))
    LogCompactor(tmp_path).compact(FAR)
    files_in(tmp_path)[0].unlink()
    assert [row[1] for row in all_of(reader)] == [DAY]
    assert reader.counts().damaged == 1


def test_a_damaged_file_stays_beside_what_comes_for_its_day(writer: ReadingLogWriter, tmp_path: Path) -> None:
    writer.append(pumps(("p1", 1, 1.0, 1.0)))
    LogCompactor(tmp_path).compact(FAR)
    (damaged,) = files_in(tmp_path)
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:-9])
    writer.append(pumps(("p1", 2, 2.0, 2.0)))
    LogCompactor(tmp_path).compact(FAR)
    with closing(ReadingLog(tmp_path)) as reader:
        assert [row[1] for row in all_of(reader)] == [2]
    damaged.write_bytes(sound)  # somebody had a backup
    with closing(ReadingLog(tmp_path)) as reader:
        assert [row[1] for row in all_of(reader)] == [1, 2]


def test_a_flipped_byte_of_the_manifest_never_turns_into_other_readings_or_removes_a_file(
    writer: ReadingLogWriter, tmp_path: Path
) -> None:
    for time in (1, DAY):
        writer.append(pumps(*((source, time, float(time), 2.0) for source in SOURCES)))
    LogCompactor(tmp_path).compact(FAR)
    manifest = tmp_path / "manifest.sqlite"
    sound, files = manifest.read_bytes(), files_in(tmp_path)
    with closing(ReadingLog(tmp_path)) as reader:
        true = set(all_of(reader))
    for place in np.random.default_rng(1).integers(len(sound) * 8, size=100).tolist():
        torn = bytearray(sound)
        torn[place // 8] ^= 1 << place % 8
        manifest.write_bytes(torn)
        try:
            with closing(ReadingLog(tmp_path)) as reader:
                found = set(all_of(reader))
                assert found <= true
                assert found == true or reader.counts().damaged > 0
            LogCompactor(tmp_path).compact(FAR)
        except StoreError:
            continue
        finally:
            assert files_in(tmp_path) == files


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_killed_anywhere_a_compaction_loses_nothing_and_counts_nothing_twice(tmp_path: Path, every: int) -> None:
    sound = tmp_path / "sound"
    memory = filled(sound)
    with closing(ReadingLog(sound)) as reader:
        assert all_of(reader) == all_of(memory)
    assert kill_everywhere(sound, tmp_path / "killed", every) > 500 // every


VALUE = st.one_of(st.just(NAN), st.floats(-1e3, 1e3))
TIME = st.integers(0, 5).map(lambda i: i % 3 * DAY + i)
ROWS = st.lists(st.tuples(st.sampled_from(SOURCES), TIME, VALUE, VALUE), min_size=1, max_size=6)
APPEND = st.tuples(st.sampled_from("ab"), ROWS, st.sampled_from([0, int(ArrivalFlag.LATE), int(ArrivalFlag.IMPORTED)]))
ACTION = st.one_of(APPEND, st.integers(1, 50), st.just("restart"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(ACTION, max_size=12))
def test_any_sequence_of_appends_compactions_and_restarts_reads_as_the_memory_store(
    tmp_path_factory: pytest.TempPathFactory, actions: list[Any]
) -> None:
    folder, memory, now = tmp_path_factory.mktemp("logs"), MemoryReadings(), [100]

    def clock() -> int:
        now[0] += 1
        return now[0]

    writers = {name: ReadingLogWriter(folder / f"{name}.db", clock=clock) for name in "ab"}
    reader, cursor = ReadingLog(folder), ""
    for action in actions:
        if action == "restart":
            for name, writer in writers.items():
                writer.close()
                writers[name] = ReadingLogWriter(folder / f"{name}.db", clock=clock)
        elif isinstance(action, int):
            LogCompactor(folder, most_rows=action).compact(now[0] - action % 3)
        else:
            log, rows, flag = action
            for store in (writers[log], memory):
                store.append(pumps(*rows, flag=flag))
    found, expected = (store.window("pump", SOURCES, 0, FAR) for store in (reader, memory))
    assert rows_of(found) == rows_of(expected)
    assert found.flags.tolist() == expected.flags.tolist()
    assert [column.tolist() for column in reader.changes("pump", cursor)[:3]] == [
        column.tolist() for column in memory.changes("pump", "")[:3]
    ]
    told, meant = reader.counts(), memory.counts()
    assert (told.readings, told.late, told.damaged) == (meant.readings, meant.late, 0)
    reader.close()
    for writer in writers.values():
        writer.close()
    shutil.rmtree(folder)
