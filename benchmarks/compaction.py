"""What readings take on disk, and how fast they are read, before and after they are compacted (P5, P7).

    python -m benchmarks.compaction [--rounds 9] [--days 365]

A hundred machines send twenty sensors once a minute, in steps of 0.01 as sensors report, spread as white noise: real
signals repeat themselves more and take less. All reads come from files that the system has in memory, none from the
memory of the process.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.report import Figure, write_report
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.readings import Readings

SENSORS = tuple(f"sensor_{i:02d}" for i in range(20))
SOURCES = tuple(f"machine{i:03d}" for i in range(100))
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_767_225_600_000  # 2026-01-01
FAR = 2**62
VALUES_A_DAY = len(SOURCES) * len(SENSORS) * 1440


def batches(start_ms: int, end_ms: int, every_ms: int, rng: np.random.Generator) -> Iterator[Readings]:
    """The readings of all machines of every minute, one batch for each stretch of `every_ms`."""
    minutes = every_ms // MINUTE
    source = np.tile(np.array(SOURCES, dtype=object), minutes)
    for begin in range(start_ms, end_ms, every_ms):
        values = np.round(50 + 5 * rng.standard_normal((len(source), len(SENSORS))), 2)
        time_ms = np.repeat(begin + MINUTE * np.arange(minutes), len(SOURCES))
        yield Readings(SENSORS, source, time_ms, values, np.zeros(len(source), dtype=np.uint8))


def size_of(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure_reads(rounds: int, folder: Path) -> list[Figure]:
    """Two days that came minute by minute, read before and after, and beside a DuckDB file sorted by machine."""
    days, rng = 2, np.random.default_rng(1)
    end = START + days * DAY
    with ExitStack() as stack:
        log = folder / "log"
        writer = stack.enter_context(closing(ReadingLogWriter(log / "a.db")))
        duck = stack.enter_context(closing(duckdb.connect(folder / "duck.db", config={"threads": 2})))
        for day in range(days):
            came = list(batches(START + day * DAY, START + (day + 1) * DAY, MINUTE, rng))
            for readings in came:
                writer.append({"machine": readings})
            fill_duck(duck, came)
        duck.execute("CREATE TABLE sorted AS SELECT * FROM readings ORDER BY source, time_ms")
        duck.execute("DROP TABLE readings")
        duck.execute("CHECKPOINT")
        reader = stack.enter_context(closing(ReadingLog(log, cache_bytes=0)))
        last = f"SELECT * FROM sorted WHERE source = '{SOURCES[50]}' AND time_ms >= {end - DAY} ORDER BY time_ms"  # noqa: S608

        def one_day() -> int:
            return len(reader.window("machine", [SOURCES[50]], end - DAY, end))

        def last_hour() -> int:
            return len(reader.window("machine", SOURCES, end - HOUR, end))

        def duck_day() -> int:
            columns = duck.execute(last).fetchnumpy()
            return len(np.column_stack([columns[name] for name in SENSORS]))

        before = [(seconds(one_day), seconds(last_hour)) for _ in range(rounds)]
        in_log = size_of(log, "a.db*")
        began = time.process_time()
        LogCompactor(log).compact(FAR)
        cpu = (time.process_time() - began) / days
        if not one_day() == duck_day() == 1440 or last_hour() != 60 * len(SOURCES):
            raise ValueError("they do not read the same")
        after = [(seconds(one_day), seconds(last_hour), seconds(duck_day)) for _ in range(rounds)]
        in_files = size_of(log, "*.parquet")
        duck.execute(f"ATTACH '{folder / 'alone.db'}' AS alone")  # a file that was never more than this table
        duck.execute("CREATE TABLE alone.readings AS SELECT * FROM sorted")
        duck.execute("DETACH alone")
        in_duck = size_of(folder, "alone.db")
    day_before, hour_before = (median(times) for times in zip(*before, strict=True))
    return [
        Figure(
            "P5",
            "24 h of one machine from compacted files, against DuckDB on the same rows sorted by machine",
            median(ours / theirs for ours, _, theirs in after),
            "x its time",
            bar=2,
            better="lower",
        ),
        Figure("P7", "bytes after compaction, against a DuckDB file", in_files / in_duck, "x", bar=1, better="lower"),
        Figure("P7.log", "bytes in the log before, against after compaction", in_log / in_files, "x"),
        Figure(
            "P5.log",
            "24 h of one machine, minute by minute in the log, against compacted",
            day_before / median(ours for ours, _, _ in after),
            "x",
        ),
        Figure(
            "P6.compacted",
            "last hour of 100 machines in the log, against compacted",
            hour_before / median(hour for _, hour, _ in after),
            "x",
        ),
        Figure("P5.ms", "24 h of one machine from compacted files", 1000 * median(ours for ours, _, _ in after), "ms"),
        Figure("P7.cpu", "CPU of compacting a day of 100 machines", cpu, "s"),
    ]


def fill_duck(duck: duckdb.DuckDBPyConnection, came: list[Readings]) -> None:
    parts = [
        pa.table({"source": part.source, "time_ms": part.time_ms} | dict(zip(SENSORS, part.values.T, strict=True)))
        for part in came
    ]
    arrived = pa.concat_tables(parts)
    duck.register("arrived", arrived)
    duck.execute("CREATE TABLE IF NOT EXISTS readings AS SELECT * FROM arrived LIMIT 0")
    duck.execute("INSERT INTO readings SELECT * FROM arrived")
    duck.unregister("arrived")


def measure_year(days: int, folder: Path) -> list[Figure]:
    """Hours that are committed at once, so that a year is there in minutes; its files are those of any other way in."""
    rng = np.random.default_rng(2)
    with closing(ReadingLogWriter(folder / "year" / "a.db")) as writer:
        for begin in range(0, days, 5):
            end = min(begin + 5, days)
            for readings in batches(START + begin * DAY, START + end * DAY, HOUR, rng):
                writer.append({"machine": readings})
            LogCompactor(folder / "year").compact(FAR)
    size = size_of(folder / "year", "*.parquet")
    manifest = size_of(folder / "year", "manifest.sqlite*")
    return [
        Figure("year", f"{days} days of 100 machines, 20 sensors, once a minute", size / 1e9, "GB"),
        Figure("year.value", "a value of these after compaction", size / days / VALUES_A_DAY, "bytes"),
        Figure(
            "year.log",
            "the log that they all went through, and the manifest",
            (size_of(folder / "year", "a.db*") + manifest) / 1e6,
            "MB",
        ),
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--days", type=int, default=365)
    given = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as name:
        figures = [*measure_reads(given.rounds, Path(name)), *measure_year(given.days, Path(name))]
    return 0 if write_report("compaction", figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
