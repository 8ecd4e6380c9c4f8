"""Readings to InfluxDB and back, beside what its clients do (P8, P9).

    python -m benchmarks.influx [--rounds 9] [--hours 3]

A thousand machines send twenty sensors once a minute; read is what came in the last five minutes, with hours of history
behind it. The server is Debian's InfluxDB 1.6 on the same machine, asked directly; written is through the proxy of the
tests, which is not measured. It has no Flux: P9 needs an InfluxDB 2, named by PDM_TEST_INFLUX_URL, PDM_TEST_INFLUX_ORG
and PDM_TEST_INFLUX_TOKEN.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from statistics import median

import numpy as np
import orjson
import pandas as pd
from influxdb_client import InfluxDBClient, Point

from benchmarks.report import Figure, write_report
from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxReadings, InfluxServer
from pdm.adapters.influx.points import lines, projected_lines
from pdm.adapters.reading_log.spool import Spool
from pdm.ports import Projection, SpoolPart
from pdm.readings import Readings
from pdm.state.forwarding import note_forwarded
from pdm.state.schema import opened_state, write
from tests.influx import ORG, TOKEN, InfluxDB, Proxy, named

SENSORS = tuple(f"sensor_{i:02d}" for i in range(20))
SOURCES = tuple(f"machine{i:04d}" for i in range(1_000))
MINUTE, HOUR = 60_000, 3_600_000
NEW = 5 * MINUTE
HOURS = 3  # of history


def minute(at_ms: int, rng: np.random.Generator) -> Readings:
    """One reading of every machine."""
    values = np.round(50 + 5 * rng.standard_normal((len(SOURCES), len(SENSORS))), 2)
    time_ms = np.full(len(SOURCES), at_ms)
    return Readings(SENSORS, np.array(SOURCES, object), time_ms, values, np.zeros(len(SOURCES), dtype=np.uint8))


def typical(rounds: int, *actions: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """The median seconds of each, in turns, so that a busy machine slows all of them."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for seconds, action in zip(taken, actions, strict=True):
            began = clock()
            action()
            seconds.append(clock() - began)
    return [median(seconds) for seconds in taken]


def by_points(readings: Readings) -> list[str]:
    """Lines as the client makes them."""
    made = []
    for source, at, row in zip(readings.source, readings.time_ms.tolist(), readings.values.tolist(), strict=True):
        point = Point("machine").tag("source", source).time(at, "ms").field("arrival_flags", 0.0)
        for name, value in zip(readings.sensors, row, strict=True):
            point.field(name, value)
        made.append(point.to_line_protocol())
    return made


def measure_encoding(rounds: int) -> list[Figure]:
    readings, count = minute(0, np.random.default_rng(1)), 10_000
    ours, theirs = typical(rounds, lambda: lines("machine", False, readings), lambda: by_points(readings))
    serials = np.array([f"M-{i:05d}" for i in range(count)], object)
    texts = {"refusal": np.full(count, "none", object), "source": serials}
    fields, values = tuple(f"field_{i}" for i in range(15)), np.random.default_rng(2).random((count, 15))
    twins = Projection("twin", "machine", serials, np.zeros(count, dtype=np.int64), fields, values, texts)
    (projected,) = typical(rounds, lambda: projected_lines(twins))
    return [
        Figure("P8", "lines of 1,000 machines x 20 sensors against Point.to_line_protocol", theirs / ours, "x", 8),
        Figure("P8.values", "values encoded a second", readings.values.size / ours / 1e6, "M"),
        Figure("twins", f"lines of the twins of {count:,} machines", projected * 1e3, "ms"),
    ]


def fill(points: InfluxPoints, hours: int, end_ms: int) -> None:
    """The last hours of all machines."""
    rng = np.random.default_rng(3)
    points.prepare()
    for at_ms in range(end_ms - hours * HOUR, end_ms, MINUTE):
        points.write(SpoolPart("machine", False, minute(at_ms, rng)))


def in_json(link: InfluxLink, since: int) -> pd.DataFrame:
    """The same rows as JSON into a frame, as the client for InfluxDB 1 does it."""
    with InfluxDBClient(url=link.url, token=link.token, org=link.org) as client:
        text = f'SELECT *, "source"::tag FROM "machine" WHERE time >= {since}ms'  # noqa: S608 - our own
        answer = client.api_client.call_api(
            "/query",
            "GET",
            query_params=[("db", link.bucket), ("epoch", "ms"), ("q", text)],
            header_params={"Accept": "application/json"},
            _preload_content=False,
            _return_http_data_only=True,
        )
        (series,) = orjson.loads(answer.data)["results"][0]["series"]
    return pd.DataFrame(series["values"], columns=series["columns"])


def by_pivot(link: InfluxLink, since: int) -> pd.DataFrame:
    """The same rows as the client's documentation reads them."""
    with InfluxDBClient(url=link.url, token=link.token, org=link.org) as client:
        found: pd.DataFrame = client.query_api().query_data_frame(
            f'from(bucket: "{link.bucket}") |> range(start: time(v: {since}000000))'
            ' |> filter(fn: (r) => r._measurement == "machine")'
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
        )
    return found


def measure_reads(rounds: int, hours: int, folder: Path, writing: InfluxLink, reading: InfluxLink) -> list[Figure]:
    """What is new, read in several ways; a real InfluxDB 2 if `writing` and `reading` are the same."""
    end_ms = time.time_ns() // 1_000_000 // MINUTE * MINUTE
    with ExitStack() as stack:
        sender, server = InfluxServer(writing), InfluxServer(reading)
        stack.callback(sender.close)
        fill(InfluxPoints(sender), hours, end_ms)
        engine = stack.enter_context(opened_state(f"sqlite:///{folder / 'state.db'}"))
        with write(engine) as connection:
            known = minute(0, np.random.default_rng(4))
            note_forwarded(connection, server.name, "machine", known, batches=1, late=False)
        (folder / "readings").mkdir()
        store = InfluxReadings(server, engine, Spool(folder / "readings"))
        stack.callback(store.close)
        since, flux = end_ms - NEW, writing == reading
        found = store.window("machine", SOURCES, since, end_ms)
        if len(found) != len(SOURCES) * NEW // MINUTE:
            raise RuntimeError(f"{len(found)} readings are new")
        ways = (
            lambda: store.window("machine", SOURCES, since, end_ms),
            lambda: in_json(reading, since),
            lambda: by_pivot(reading, since) if flux else None,
        )
        ours, theirs, frame = typical(rounds, *ways)
        our_cpu, their_cpu, _ = typical(rounds, *ways, clock=time.process_time)
    what = "what is new of 1,000 machines x 20 sensors"
    return [
        Figure(
            "P9",
            f"{what} against query_data_frame with a pivot",
            frame / ours if flux else None,
            "x",
            5,
            reason=NO_FLUX * (not flux),
        ),
        Figure("P9.json", f"{what} against the same rows as JSON into a frame", theirs / ours, "x"),
        Figure("P9.cpu", "of that the CPU of the client alone", their_cpu / our_cpu, "x"),
        Figure("P9.time", f"{what}, {hours} h of history behind it", ours * 1e3, "ms"),
    ]


NO_FLUX = "Debian's InfluxDB 1.6 has no Flux: name an InfluxDB 2 by PDM_TEST_INFLUX_URL, _ORG and _TOKEN"


def measure_server(rounds: int, hours: int, folder: Path) -> list[Figure]:
    bucket = f"bench-{token_hex(6)}"
    if (given := named()) is not None:
        url, org, token = given
        link = InfluxLink(url, org, bucket, token)
        return measure_reads(rounds, hours, folder, link, link)
    server = InfluxDB(folder / "influx").start()
    proxy = Proxy(server.port)
    try:
        writing, reading = (
            InfluxLink(url, ORG, bucket, TOKEN) for url in (proxy.url, f"http://127.0.0.1:{server.port}")
        )
        return measure_reads(rounds, hours, folder, writing, reading)
    finally:
        proxy.close()
        server.stop()


def measure_influx(rounds: int, folder: Path, hours: int = HOURS) -> list[Figure]:
    """P8, P9."""
    return measure_encoding(rounds) + measure_server(rounds, hours, folder)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--hours", type=int, default=HOURS)
    given = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as name:
        figures = measure_influx(given.rounds, Path(name), given.hours)
    return 0 if write_report("influx", figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
