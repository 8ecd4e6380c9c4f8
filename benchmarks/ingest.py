"""Readings in: what a message, an append and an import cost, and how fast they come back (P1 to P4, P6, P18).

    python -m benchmarks.ingest [--rounds 5] [--messages 20000]

Each figure is the median over interleaved rounds of a ratio measured side by side. The broker is a real mosquitto with
persistence off, so that its disk work does not hide ours; every message is acknowledged after it is on disk.
"""

import argparse
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from threading import Event
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from paho.mqtt.subscribeoptions import SubscribeOptions

from benchmarks.report import Figure, write_report
from pdm.adapters.mqtt import MqttIngest, MqttLink, new_client
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ServiceClock
from pdm.columns import pack, unpack
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.ingest.history import import_files
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor
from pdm.plant.wire import TableForm
from pdm.ports import DeadLetter, ImportProgress
from pdm.readings import Readings
from tests.mosquitto import Mosquitto

SENSORS = tuple(f"sensor_{i:02d}" for i in range(20))
SOURCES = tuple(f"machine{i:05d}" for i in range(10_000))
MESSAGES = 20_000
SENDING = 100  # sources that send by MQTT
MINUTE = 60_000
START = 1_767_225_600_000  # 2026-01-01
YEAR_MS = 365 * 86_400_000
INSERT = f"INSERT OR REPLACE INTO readings VALUES ({', '.join('?' * (len(SENSORS) + 2))})"  # noqa: S608, all ours

PLANT = Plant(
    "Benchmark",
    "EUR",
    ZoneInfo("UTC"),
    {
        "machine": AssetClass(
            "machine",
            "Machine",
            tuple(Sensor(name, "1", name) for name in SENSORS),
            (),
            LifeStep("hour", 60 * MINUTE),
            1000,
            0,
            (),
        )
    },
    {},
    {source: Asset(source, "machine", source, source, None) for source in SOURCES[:SENDING]},
    "0",
)


def batch(at_ms: int, rng: np.random.Generator) -> Readings:
    """One reading of every machine, in steps of 0.01 as sensors report. `[10000, 20]`."""
    n = len(SOURCES)
    values = np.round(rng.normal(50, 5, (n, len(SENSORS))), 2)
    return Readings(SENSORS, np.array(SOURCES, object), np.full(n, at_ms), values, np.zeros(n, np.uint8))


# P1, P2: messages


class CountingWriter(ReadingLogWriter):
    """Knows how many readings it has committed."""

    rows = 0

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        super().append(batches, dead, imported)
        self.rows += sum(map(len, batches.values()))


def discard(port: int, messages: int) -> None:
    """What paho costs by itself: a callback that throws the message away."""
    seen = 0

    def forget(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == messages:
            client.disconnect()

    client = new_client(MqttLink(port=port, client_id="discard"))
    client.on_message = forget
    client.loop_forever()


def store(port: int, readings: int) -> None:
    """The service's own way: decode, commit durably, acknowledge."""
    folder = Path(tempfile.mkdtemp(prefix="pdm-bench-"))
    writer = CountingWriter(folder / "ingest.db")
    clock = ServiceClock()
    receiver = MqttIngest(Ingest(Decoder(PLANT), writer, clock), MqttLink(port=port, client_id="store"), clock)

    def stop_at_the_end() -> None:
        if writer.rows >= readings:
            receiver.stop()

    receiver.run(stop_at_the_end)
    writer.close()
    shutil.rmtree(folder)


def receive(role: str, port: int, count: int) -> None:
    """In a process of its own: receive what the broker has kept, and say what it cost [CPU s]."""
    unpack(pack({"warm": np.zeros(1)}))  # loads what a process loads once
    began = time.process_time()
    (discard if role == "discard" else store)(port, count)
    print(time.process_time() - began)


def message(samples: int, rng: np.random.Generator) -> bytes:
    """What a gateway sends: one sample of 20 sensors, or several of each."""
    now_s = time.time()
    stamps = [
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s - age)) + f".{rng.integers(1000):03d}Z"
        for age in range(samples)
    ]
    columns = {name: np.round(rng.normal(50, 5, samples), 2).tolist() for name in SENSORS}
    if samples > 1:
        return msgspec.json.encode({"ts": stamps, "values": columns})
    return msgspec.json.encode({"ts": stamps[0], "values": {name: column[0] for name, column in columns.items()}})


def cpu_seconds(role: str, broker: Mosquitto, payloads: Sequence[bytes], samples: int) -> float:
    """CPU time to receive these messages, which wait at the broker."""
    make_session(role, broker)
    publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"))
    for number, payload in enumerate(payloads):
        publisher.publish(f"pdm/site/line/{SOURCES[number % SENDING]}", payload)
    publisher.flush()
    publisher.close()
    count = len(payloads) * (1 if role == "discard" else samples)
    command = [sys.executable, "-m", "benchmarks.ingest", "--receive", role, str(broker.port), str(count)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return float(answer.stdout.split()[-1])


def make_session(role: str, broker: Mosquitto) -> None:
    """Subscribe under the name of this role, so that the broker keeps messages for it."""
    subscribed = Event()
    client = new_client(MqttLink(port=broker.port, client_id=role))
    client.on_subscribe = lambda *_: subscribed.set()
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    client.subscribe("pdm/#", options=SubscribeOptions(qos=1))
    if not subscribed.wait(10):
        raise TimeoutError("the broker does not confirm the subscription")
    client.disconnect()
    client.loop_stop()


def measure_messages(rounds: int, messages: int, folder: Path) -> list[Figure]:
    rng = np.random.default_rng(1)
    single = [message(1, rng) for _ in range(500)]
    batched = [message(60, rng) for _ in range(20)]
    costs: list[tuple[float, float, float]] = []
    broker = Mosquitto(folder).start()
    try:
        for _ in range(rounds):
            singles = [single[i % len(single)] for i in range(messages)]
            many = [batched[i % len(batched)] for i in range(messages // 20)]
            costs.append(
                (
                    cpu_seconds("discard", broker, singles, 1) / messages,
                    cpu_seconds("store", broker, singles, 1) / messages,
                    cpu_seconds("store", broker, many, 60) / len(many) / 60,
                )
            )
    finally:
        broker.stop()
    discarded, stored, in_batches = (median(cost) * 1e6 for cost in zip(*costs, strict=True))
    return [
        Figure(
            "P1",
            "CPU of a message of 20 values, acknowledged after the durable commit, against a callback that forgets it",
            median(stored / discarded for discarded, stored, _ in costs),
            "x",
            bar=2.5,
            better="lower",
        ),
        Figure(
            "P2",
            "values a CPU second in messages of 60 samples, against one sample a message",
            median(stored / in_batches for _, stored, in_batches in costs),
            "x",
            bar=8,
        ),
        Figure("P1.discarded", "CPU of a message that is forgotten", discarded, "us"),
        Figure("P1.stored", "CPU of a message that is stored", stored, "us"),
        Figure("P2.sample", "CPU of a sample of 20 values in a message of 60", in_batches, "us"),
    ]


# P3, P4: appends


def wide_table(path: Path) -> sqlite3.Connection:
    """One row a reading, one column a sensor, keyed by source and time: a resend overwrites, a source reads fast."""
    table = sqlite3.connect(path, isolation_level=None)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute("PRAGMA synchronous = FULL")
    columns = ", ".join(f"{name} REAL" for name in SENSORS)
    key = "PRIMARY KEY (source, time_ms)"
    table.execute(f"CREATE TABLE readings (source TEXT, time_ms INTEGER, {columns}, {key}) WITHOUT ROWID")
    return table


def insert(table: sqlite3.Connection, readings: Readings) -> None:
    """One commit of wide rows."""
    rows = zip(readings.source.tolist(), readings.time_ms.tolist(), *readings.values.T.tolist(), strict=True)
    table.execute("BEGIN IMMEDIATE")
    table.executemany(INSERT, rows)
    table.execute("COMMIT")


def fill(table: sqlite3.Connection, hours: Sequence[Readings]) -> None:
    """Many readings at once, in the order of the key, which is kind to the table."""
    rows = (
        (source, int(part.time_ms[i]), *part.values[i].tolist()) for i, source in enumerate(SOURCES) for part in hours
    )
    table.execute("BEGIN IMMEDIATE")
    table.executemany(INSERT, rows)
    table.execute("COMMIT")


def append_framed(file: int, readings: Readings) -> None:
    """The least that a durable append can be: a body with its length and CRC, and one sync."""
    numbers = np.arange(len(readings), dtype=np.int32)
    body = pack({"source": numbers, "time_ms": readings.time_ms, "values": readings.values, "flags": readings.flags})
    os.write(file, struct.pack("<II", len(body), zlib.crc32(body)) + body)
    os.fdatasync(file)


def seconds(action: Callable[..., object], *arguments: object) -> float:
    """How long it takes."""
    began = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began


def cpu(action: Callable[..., object], *arguments: object) -> float:
    """How much CPU time it takes [s]."""
    began = time.process_time()
    action(*arguments)
    return time.process_time() - began


def measure_appends(rounds: int, folder: Path) -> list[Figure]:
    """Each minute one reading of every machine, after an hour of them."""
    rng = np.random.default_rng(2)
    with ExitStack() as stack:
        log = stack.enter_context(closing(ReadingLogWriter(folder / "log" / "a.db")))
        table = stack.enter_context(closing(wide_table(folder / "wide.db")))
        hour = [batch(START + minute * MINUTE, rng) for minute in range(60)]
        fill(table, hour)
        against_wide = []
        for minute in range(60, 60 + 2 * rounds):
            readings = batch(START + minute * MINUTE, rng)
            wide = cpu(insert, table, readings)
            against_wide.append(wide / cpu(log.append, {"machine": readings}))
    return [
        Figure(
            "P3",
            "CPU of appending 10,000 rows: wide SQLite rows keyed by source and time against the log",
            median(against_wide),
            "x",
            bar=25,
        )
    ]


def measure_durable_appends(rounds: int, folder: Path) -> list[Figure]:
    """A round is ten appends each, so that the log moves its WAL into the file about once in it."""
    rng = np.random.default_rng(2)
    with ExitStack() as stack:
        log = stack.enter_context(closing(ReadingLogWriter(folder / "durable" / "a.db")))
        framed = os.open(folder / "framed.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        stack.callback(os.close, framed)
        times: list[tuple[float, float]] = []
        for number in range(10 * (rounds + 1)):
            readings = batch(START + number * MINUTE, rng)
            times.append((seconds(append_framed, framed, readings), seconds(log.append, {"machine": readings})))
        one = readings.take(np.array([0]))
        small = median(seconds(log.append, {"machine": one}) for _ in range(200))
    per_round = np.array(times).reshape(rounds + 1, 10, 2).sum(axis=1)[1:]  # the first makes the files
    return [
        Figure(
            "P4",
            "speed of appending 10,000 rows to disk, checkpoints included, of a raw framed file with fdatasync",
            float(np.median(per_round[:, 0] / per_round[:, 1])),
            "of it",
            bar=0.4,
        ),
        Figure("P4.small", "a durable commit of one reading", small * 1000, "ms"),
    ]


# P6: reading back


def measure_reads(rounds: int, folder: Path) -> list[Figure]:
    """The last hour of 10,000 machines that report every minute, after another hour, as one sorted matrix.

    All three have their files open and have read them before, as the service has; the log also from scratch.
    """
    rng = np.random.default_rng(3)
    hours = [batch(START + minute * MINUTE, rng) for minute in range(120)]
    since, until = START + 60 * MINUTE, START + 120 * MINUTE
    query = f"SELECT * FROM readings WHERE time_ms >= {since} ORDER BY source, time_ms"  # noqa: S608, all ours
    with ExitStack() as stack:
        writer = stack.enter_context(closing(ReadingLogWriter(folder / "reads" / "a.db")))
        for readings in hours:
            writer.append({"machine": readings})
        log = stack.enter_context(closing(ReadingLog(folder / "reads")))
        duck = stack.enter_context(closing(duckdb.connect(folder / "duck.db", config={"threads": 2})))
        fill_duck(duck, hours)
        table = stack.enter_context(closing(wide_table(folder / "wide_reads.db")))
        fill(table, hours)

        def read_log() -> int:
            return len(log.window("machine", SOURCES, since, until))

        def read_log_cold() -> int:
            with closing(ReadingLog(folder / "reads")) as fresh:
                return len(fresh.window("machine", SOURCES, since, until))

        def read_duck() -> int:
            columns = duck.execute(query).fetchnumpy()
            return len(np.column_stack([columns[name] for name in SENSORS]))

        def read_wide() -> int:
            return len(np.array([row[2:] for row in table.execute(query)]))

        if {read_log(), read_log_cold(), read_duck(), read_wide()} != {60 * len(SOURCES)}:
            raise ValueError("they do not read the same")
        times = [[seconds(read) for read in (read_log, read_log_cold, read_duck)] for _ in range(rounds)]
        wide = [seconds(read_wide) / seconds(read_log) for _ in range(max(2, rounds // 2))]
        steps = [seconds(log.window, "machine", SOURCES, until - MINUTE, until) for _ in range(rounds)]
    what = "last hour of 10,000 machines into numpy"
    return [
        Figure("P6.duckdb", f"{what}, against DuckDB", median(duck / log for log, _, duck in times), "x", bar=2),
        Figure("P6.sqlite", f"{what}, against wide SQLite rows", median(wide), "x", bar=20),
        Figure("P6.cold", f"{what}, nothing in memory, against DuckDB", median(d / cold for _, cold, d in times), "x"),
        Figure("P6.step", "one reading of each of 10,000 machines", median(steps) * 1000, "ms"),
    ]


def fill_duck(duck: duckdb.DuckDBPyConnection, hours: Sequence[Readings]) -> None:
    parts = [
        pa.table({"source": part.source, "time_ms": part.time_ms} | dict(zip(SENSORS, part.values.T, strict=True)))
        for part in hours
    ]
    arrived = pa.concat_tables(parts)
    duck.register("arrived", arrived)
    duck.execute("CREATE TABLE readings AS SELECT * FROM arrived")
    duck.unregister("arrived")
    duck.execute("CHECKPOINT")


# P18: files


def measure_import(rounds: int, folder: Path) -> list[Figure]:
    """Ten million values of a hundred machines from one CSV file, durably into a log of their own."""
    file, n = folder / "history.csv", 500_000
    rng = np.random.default_rng(4)
    time_ms = np.repeat(START - YEAR_MS + np.arange(n // SENDING) * MINUTE, SENDING)
    stamps = pd.to_datetime(time_ms, unit="ms", utc=True).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {name: np.round(rng.normal(50, 5, n), 2) for name in SENSORS}
    pd.DataFrame({"source": np.tile(SOURCES[:SENDING], n // SENDING), "time": stamps} | values).to_csv(
        file, index=False
    )
    times: list[tuple[float, float, float, float]] = []
    for number in range(rounds + 1):
        with closing(ReadingLogWriter(folder / f"import{number}" / "import.db", large=True)) as log:
            both = timed(pd.read_csv, file) + timed(bring_in, file, log, folder)
        shutil.rmtree(folder / f"import{number}")
        times += [both] * bool(number)  # the first loads what a process loads once
    what = "import of ten million values from CSV, acknowledged after durable commits, against pandas.read_csv alone"
    return [
        Figure("P18", f"time of an {what}", median(b / a for a, _, b, _ in times), "x", bar=2, better="lower"),
        Figure("P18.cpu", f"CPU of an {what}", median(b / a for _, a, _, b in times), "x"),
        Figure("P18.values", "values imported a second", n * len(SENSORS) / median(b for _, _, b, _ in times), "/s"),
    ]


def bring_in(file: Path, log: ReadingLogWriter, folder: Path) -> None:
    done = import_files([file], log, PLANT, TableForm(), START, report=folder / "report.csv")
    if [(one.rows, one.bad_rows) for one in done] != [(500_000, 0)]:
        raise ValueError(f"not all was imported: {done}")


def timed(action: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """How long it takes, and how much CPU time [s]."""
    began, cpu_began = time.perf_counter(), time.process_time()
    action(*arguments)
    return time.perf_counter() - began, time.process_time() - cpu_began


def measure_ingest(rounds: int, folder: Path, messages: int = MESSAGES) -> list[Figure]:
    """P1 to P4, P6, P18."""
    return [
        *measure_messages(rounds, messages, folder),
        *measure_appends(rounds, folder),
        *measure_durable_appends(rounds, folder),
        *measure_reads(rounds, folder),
        *measure_import(rounds, folder),
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--messages", type=int, default=MESSAGES)
    options.add_argument("--receive", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.receive:
        role, port, count = given.receive
        receive(role, int(port), int(count))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as name:
        figures = measure_ingest(given.rounds, Path(name), given.messages)
    return 0 if write_report("ingest", figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
