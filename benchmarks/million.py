"""A million readings by `import readings` into each store: stored is what was sent, and retention deletes it.

    python -m benchmarks.million

The embedded store, and Debian's InfluxDB 1.6 behind the proxy of the tests, through the log and the forwarder in front
of it. In InfluxDB the setting `influx.retention` deletes, in files the daily job.
"""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.ingest import MINUTE, PLANT, SENDING, SENSORS, SOURCES
from benchmarks.report import Figure, write_report
from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxServer
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.clocks import ServiceClock
from pdm.durations import DAY_MS
from pdm.forward import Forwarder
from pdm.ingest.history import import_files
from pdm.plant.wire import TableForm
from pdm.state.schema import open_state
from tests.influx import ORG, TOKEN, InfluxDB, Proxy

ROWS = 1_000_000
FIELDS = SENSORS[:5]
BUCKET = "million"


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as name:
        folder = Path(name)
        file = folder / "history.csv"
        first_ms = write_history(file)
        figures = [*embedded(folder / "logs", file, first_ms), *forwarded(folder / "influx", file)]
    return 0 if write_report("million", figures, time.monotonic() - began) else 1


def write_history(file: Path) -> int:
    """A week of a hundred machines, from 20 days ago on; returns its first time."""
    rng = np.random.default_rng(5)
    first_ms = (time.time_ns() // 1_000_000 - 20 * DAY_MS) // DAY_MS * DAY_MS
    time_ms = np.repeat(first_ms + np.arange(ROWS // SENDING) * MINUTE, SENDING)
    stamps = pd.to_datetime(time_ms, unit="ms", utc=True).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = {name: np.round(rng.normal(50, 5, ROWS), 2) for name in FIELDS}
    keys = {"source": np.tile(SOURCES[:SENDING], ROWS // SENDING), "time": stamps}
    pd.DataFrame(keys | values).to_csv(file, index=False)
    return first_ms


def bring_in(file: Path, log: ReadingLogWriter) -> float:
    """Import the file; how long it takes [s]."""
    began, now_ms = time.perf_counter(), time.time_ns() // 1_000_000
    (done,) = import_files([file], log, PLANT, TableForm(), now_ms, report=file.with_suffix(".report"))
    if (done.rows, done.bad_rows) != (ROWS, 0):
        raise ValueError(f"not all was imported: {done}")
    return time.perf_counter() - began


def embedded(folder: Path, file: Path, first_ms: int) -> list[Figure]:
    with closing(ReadingLogWriter(folder / "import.db", large=True)) as log:
        took = bring_in(file, log)
    stored = rows_in(folder, first_ms)
    compactor = LogCompactor(folder)
    compactor.compact(2**62)
    compacted = rows_in(folder, first_ms)
    compactor.expire("machine", first_ms + 30 * DAY_MS)
    return [
        exactly("million.log", "readings in the embedded store, of a million that were imported", stored, ROWS),
        Figure("million.log.time", "import into the embedded store", took, "s"),
        exactly("million.log.compacted", "of them in files once they are compacted", compacted, ROWS),
        exactly("million.log.expired", "of them after retention", rows_in(folder, first_ms), 0),
    ]


def rows_in(folder: Path, first_ms: int) -> int:
    """Readings by source and time, day by day."""
    with closing(ReadingLog(folder)) as log:
        days = range(first_ms, first_ms + 30 * DAY_MS, DAY_MS)
        return sum(len(log.window("machine", SOURCES[:SENDING], day, day + DAY_MS)) for day in days)


def forwarded(folder: Path, file: Path) -> list[Figure]:
    logs = folder / "readings"
    logs.mkdir(parents=True)
    database = InfluxDB(folder / "server", retention_check="1s").start()
    proxy = Proxy(database.port)
    server = InfluxServer(InfluxLink(proxy.url, ORG, BUCKET, TOKEN))
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    try:
        with closing(SpoolWriter(logs / "import.db", 10**10, large=True)) as log:
            took = bring_in(file, log)
        letters = ReadingLogWriter(logs / "forward.db")
        forwarder = Forwarder(engine, Spool(logs), InfluxPoints(server), lambda: letters, ServiceClock(), 10**10)
        began = time.perf_counter()
        forwarder.forward()
        on = time.perf_counter() - began
        stored = points_in(server)
        with closing(InfluxServer(InfluxLink(proxy.url, ORG, BUCKET, TOKEN, retention_ms=2 * DAY_MS))) as shorter:
            shorter.prepare_bucket()
        left = points_until(server, 0)
        forwarder.stop()
    finally:
        engine.dispose()
        server.close()
        proxy.close()
        database.stop()
    return [
        exactly("million.influx", "readings in InfluxDB, of a million that were imported", stored, ROWS),
        Figure("million.influx.time", "import into the log in front of it", took, "s"),
        Figure("million.influx.forwarded", "on from the log to InfluxDB", on, "s"),
        exactly("million.influx.expired", "of them after retention", left, 0),
    ]


def points_in(server: InfluxServer) -> int:
    """How many points the bucket holds: each has its flags."""
    answer = server.query('SELECT count("arrival_flags") FROM "machine"').decode()
    return int(answer.splitlines()[1].split(",")[-1]) if answer else 0


def points_until(server: InfluxServer, count: int) -> int:
    """Points in the bucket once they are so many, or after a minute."""
    deadline = time.monotonic() + 60
    while (found := points_in(server)) != count and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def exactly(name: str, what: str, found: int, wanted: int) -> Figure:
    """A count that has to be this one: what is missing or too much is 0."""
    return Figure(name, f"{what}: {found:,}; off by", abs(found - wanted), bar=0, better="lower")


if __name__ == "__main__":
    sys.exit(main())
