"""Drills of outages: broker, InfluxDB and state database away, killed or locked, while readings go on coming."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import numpy as np
import orjson

from benchmarks.chaos_load import (
    BY_HTTP,
    SOURCES,
    Counted,
    Gateway,
    counted_in_steps,
    numbers_in,
    numbers_in_logs,
    plant_of_many,
)
from benchmarks.chaos_terms import Terms, all_of, broker_in, none, rss_mb, timed
from benchmarks.report import Figure
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ServiceClock
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.plant.file import parse_plant
from pdm.settings import load_settings
from pdm.state.schema import open_state
from pdm.wiring import reading_store
from tests.influx import ORG, TOKEN, InfluxDB, Proxy
from tests.mosquitto import Mosquitto
from tests.postgres import Postgres
from tests.system.drill import subscribe_once
from tests.system.service import DAY_MS, Service, looked_for, wait_until
from tests.system.test_postgres import Visitors

BROKER_RATE = 50.0  # a broker that keeps what it acknowledges writes all of it at every message
INFLOW = 1_000.0  # readings a second while InfluxDB is away
WARM_S = 30.0  # until both processes have loaded what they work with
SPOOL_MB = 1


def c4(folder: Path, terms: Terms) -> list[Figure]:
    """The broker killed 20 times under load, away for minutes, and once without what it kept for us."""
    kills, back = 20, list[float]()
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(folder / "broker", durable=True))
        service = stack.enter_context(_listening(folder, broker))
        control = stack.enter_context(Control(broker))
        gateway = Gateway(broker.port, BROKER_RATE)
        for _ in range(kills):
            time.sleep(0.5)
            broker.kill()
            time.sleep(0.2)
            broker.start()
            back.append(timed(_something_new(service)))
        broker.stop()
        time.sleep(60 * terms.minutes)
        broker.start()
        away = timed(_something_new(service))
        sent = gateway.stop()
        caught_up = timed(lambda: looked_for(lambda: numbers_in_logs(service.data) >= control.numbers()))
        missing = sent - numbers_in_logs(service.data)
        told = [line for line in service.logged() if line.get("what") == "broker"]
        service.stop()
    return [
        Figure("C4.sent", f"readings sent while the broker was killed {kills} times", len(sent)),
        none("C4.lost", "of them not stored, although another subscriber got them", len(missing & control.numbers())),
        Figure(
            "C4.broker", "lost by the broker, which acknowledges before it writes", len(missing - control.numbers())
        ),
        Figure("C4.reconnect", "longest time from the broker's start to the next reading", max(back), "s", 30, "lower"),
        Figure("C4.away", f"the same after {terms.minutes:g} min without broker", away, "s", bar=30, better="lower"),
        Figure("C4.drain", "time until everything buffered meanwhile was stored", caught_up, "s", better="lower"),
        Figure("C4.told", "lines in the log for each outage, first and last", len(told) / (kills + 1), bar=1),
        *_lost_session(folder / "forgetful"),
    ]


class Control:
    """Another subscriber to the same broker, with as faithful a session: what it lacks too, the broker has lost."""

    def __init__(self, broker: Mosquitto) -> None:
        clock, self._store = ServiceClock(), MemoryReadings()
        ingest = Ingest(Decoder(parse_plant(plant_of_many())), self._store, clock)
        self._receiver = MqttIngest(ingest, MqttLink(port=broker.port, client_id="control"), clock)

    def __enter__(self) -> "Control":
        self._receiver.start()
        self._receiver.wait_until_subscribed(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.stop()

    def numbers(self) -> set[int]:
        return numbers_in(self._store.window("machine", SOURCES, 0, 2**60))


def _lost_session(folder: Path) -> list[Figure]:
    """A broker that keeps nothing comes back: what it had for us is gone, and that is said."""
    folder.mkdir()
    said = "the broker has lost our session: messages sent meanwhile are lost unless their senders kept them"
    with broker_in(folder / "broker") as broker, _listening(folder, broker) as service:
        gateway = Gateway(broker.port, 10)
        wait_until(lambda: numbers_in_logs(service.data), "it does not begin")
        broker.kill()
        broker.start()
        told = bool(service.wait_for_event(said))
        metric = wait_until(lambda: "pdm_sessions_lost_total 1.0" in _metrics(service), "no metric counts it")
        gateway.stop()
        service.stop()
    return [
        all_of("C4.session", "a session that the broker has lost is logged", float(told), 1),
        all_of("C4.session_metric", "and counted for Prometheus", float(bool(metric)), 1),
    ]


def c5(folder: Path, terms: Terms) -> list[Figure]:
    """InfluxDB stopped for minutes at 1,000 readings a second, then killed again and again under the same load."""
    with on_influx(folder) as (service, server, broker):
        gateway = Gateway(broker.port, INFLOW)
        wait_until(lambda: _metric(service, "pdm_readings_store_up") and gateway.sent > 2_000, "it does not begin")
        time.sleep(WARM_S)
        before_mb, before_bytes, before = _rss(service), _log_bytes(service), gateway.sent
        server.stop()
        began, looks = time.monotonic(), list[float]()
        while time.monotonic() - began < 60 * terms.minutes:
            time.sleep(1)
            looks.append(timed(lambda: service.get("assets/M0/twin")))
        waiting, degraded = _metric(service, "pdm_spool_readings"), _degraded(service)
        grown_mb = _rss(service) - before_mb
        on_disk = (_log_bytes(service) - before_bytes) / max(gateway.sent - before, 1)
        server.start()
        began, at_start = time.monotonic(), gateway.sent
        wait_until(lambda: _metric(service, "pdm_spool_readings") < 3 * INFLOW, "it does not drain")
        drain_s = time.monotonic() - began
        drained = waiting + gateway.sent - at_start - _metric(service, "pdm_spool_readings")
        inflow = (gateway.sent - at_start) / drain_s
        for _ in range(10):
            server.kill()
            time.sleep(1)
            server.start()
            time.sleep(1)
        sent = gateway.stop()
        _wait_until_forwarded(service)
        steps = _settled(service, gateway)
        service.stop()
        found = _numbers_in_influx(service)
    minutes = f"{terms.minutes:g} min"
    return [
        Figure("C5.sent", f"readings sent, InfluxDB {minutes} away and then killed 10 times", len(sent)),
        Figure("C5.rate", f"readings a second over {minutes} without it", waiting / (60 * terms.minutes), "/s", 950),
        Figure("C5.disk", "on disk a reading of one value that waits", on_disk, "B", bar=200, better="lower"),
        Figure("C5.memory", "growth of all processes while it was away", grown_mb, "MB", bar=50, better="lower"),
        Figure("C5.answers", "longest answer of the API from its last state", max(looks), "s", better="lower"),
        all_of("C5.told", "it says what waits, and that it is away", float("wait in the logs" in degraded), 1),
        Figure(
            "C5.drain", f"drained at {drained / drain_s:.0f} /s against the inflow", drained / drain_s / inflow, "x", 5
        ),
        none("C5.lost", "readings that are not in InfluxDB", len(sent - found)),
        none("C5.strange", "readings in it that nobody sent", len(found - sent)),
        none("C5.double", f"readings too many or too few in the steps, of {steps.expected}", _off(steps)),
    ]


def c6(folder: Path, terms: Terms) -> list[Figure]:
    """A spool of 1 MB a log fills up while InfluxDB is away."""
    with on_influx(folder, {"spool_mb": SPOOL_MB}) as (service, server, broker):
        server.stop()
        gateway, poster = Gateway(broker.port, INFLOW), Poster(service)
        wait_until(lambda: poster.post().status_code == 503, "it takes readings without end")
        wait_until(lambda: "spool is full" in _degraded(service), "nobody says that the spool is full")
        wait_until(lambda: any(line.get("what") == "reading store" for line in service.logged()), "nor does ingest")
        when, full_mb = poster.post().headers.get("retry-after"), _metric(service, "pdm_spool_bytes") / 1e6
        server.start()
        recovered = timed(lambda: wait_until(lambda: poster.post().status_code == 200, "it does not recover"))
        sent = gateway.stop()
        _wait_until_forwarded(service)
        steps, degraded = _settled(service, gateway), _degraded(service)
        service.stop()
        found = _numbers_in_influx(service)
    return [
        Figure("C6.spool", f"waits in both logs together, {SPOOL_MB} MB allowed in each", full_mb, "MB", 2.5, "lower"),
        all_of("C6.when", "503 by HTTP says when to come back", float(bool(when)), 1),
        none("C6.lost", f"of {len(sent)} readings that the broker had taken not in InfluxDB", len(sent - found)),
        none("C6.double", f"readings too many or too few in the steps, of {steps.expected}", _off(steps)),
        Figure(
            "C6.recovers", "takes readings again by itself, from the start of InfluxDB", recovered, "s", 60, "lower"
        ),
        none("C6.degraded", "sentences about it left in the end", len(degraded)),
    ]


class Poster:
    """Sends bodies of a hundred readings by HTTP, and counts those that are taken."""

    def __init__(self, service: Service) -> None:
        self.taken = 0
        self._service, self._base_ms = service, ServiceClock().plant_ms() - 5 * DAY_MS

    def post(self) -> httpx2.Response:
        times = [self._base_ms + self.taken + number for number in range(100)]
        answer = self._service.post({"source": BY_HTTP, "ts": times, "values": {"number": [0.0] * 100}})
        self.taken += 100 * (answer.status_code == 200)
        return answer


def c9(folder: Path, terms: Terms) -> list[Figure]:
    """SQLite locked by another program for 30 s, and PostgreSQL restarted ten times, while people look and report."""
    with Service(folder / "sqlite") as service:
        service.start()
        visitors, reporters = Visitors(service.address), Reporters(service)
        with closing(sqlite3.connect(service.data / "state.db", timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(30)
            other.execute("ROLLBACK")
        time.sleep(5)
        locked = [*reporters.stop(), *_stopped(visitors)]
        service.stop()
    server = Postgres().start()
    try:
        with Service(folder / "postgresql", {"state": {"url": server.new_state()}}) as service:
            service.start()
            visitors, reporters = Visitors(service.address), Reporters(service)
            for number in range(10):
                time.sleep(5)
                (server.kill if number % 2 else server.stop)()
                server.start()
            time.sleep(5)
            restarted = [*reporters.stop(), *_stopped(visitors)]
            service.stop()
    finally:
        server.remove()
    return [*_answers("C9.locked", locked), *_answers("C9.restarted", restarted)]


class Reporters:
    """People who report inspections, which stand in the state database, and what they were answered."""

    def __init__(self, service: Service, count: int = 4) -> None:
        self.answers: list[Any] = []
        self._service, self._going = service, True
        self._threads = [Thread(target=self._report, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Any]:
        self._going = False
        for thread in self._threads:
            thread.join()
        return self.answers

    def _report(self, number: int) -> None:
        at = np.datetime_as_string(np.datetime64(ServiceClock().plant_ms() - DAY_MS, "ms")) + "Z"
        while self._going:
            event = {"serial": "P-1", "kind": "inspected", "mode": "die", "at": at, "who": f"reporter {number}"}
            self.answers.append(self._service.post(event, path="events"))
            time.sleep(0.1)


def _answers(figure_id: str, answers: list[Any]) -> list[Figure]:
    refused = [answer for answer in answers if answer.status_code == 503]
    wrong = [answer for answer in answers if answer.status_code not in (200, 201, 404, 503)]
    without = [answer for answer in refused if "retry-after" not in answer.headers]
    share = 100 * len(refused) / len(answers)
    return [
        Figure(f"{figure_id}.503", f"of {len(answers)} requests answered with 503", share, "%", bar=1, better="lower"),
        none(f"{figure_id}.wrong", f"other errors {wrong[0].text[:200] if wrong else ''}".strip(), len(wrong)),
        none(f"{figure_id}.when", "503 without Retry-After", len(without)),
    ]


def _stopped(visitors: Visitors) -> list[Any]:
    visitors.stop()
    return list(visitors.answers)


@contextmanager
def _listening(folder: Path, broker: Mosquitto) -> Iterator[Service]:
    """A service that has subscribed."""
    subscribe_once(broker)
    with Service(folder / "plant", {"mqtt": {"enabled": "on", "port": broker.port}}, plant=plant_of_many()) as service:
        yield service.start()


@contextmanager
def on_influx(
    folder: Path, more: dict[str, Any] | None = None, *, plant: str | None = None
) -> Iterator[tuple[Service, InfluxDB, Mosquitto]]:
    """A service with its readings in a real InfluxDB, and a real broker."""
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(folder / "broker"))
        subscribe_once(broker)
        server = InfluxDB(folder / "influx").start()
        stack.callback(server.stop)
        proxy = Proxy(server.port)
        stack.callback(proxy.close)
        influx = {"url": proxy.url, "org": ORG, "token": TOKEN, "bucket": "readings", **(more or {})}
        settings = {"mqtt": {"enabled": "on", "port": broker.port}, "influx": influx}
        service = stack.enter_context(Service(folder / "plant", settings, plant=plant or plant_of_many()))
        yield service.start(), server, broker


def _wait_until_forwarded(service: Service) -> None:
    """Until nothing waits; with patience as long as something moves."""
    while waiting := _metric(service, "pdm_spool_readings"):
        wait_until(lambda n=waiting: _metric(service, "pdm_spool_readings") < n, f"{waiting:g} readings wait on")  # type: ignore[misc]


def _settled(service: Service, gateway: Gateway) -> Counted:
    """The readings in steps, once the minute of the last one is over and ticked."""
    last_ms = gateway.times_ms[-1]
    wait_until(lambda: _seen_until(service) > last_ms, "it does not tick on")
    time.sleep(5)  # and what came late in it
    return counted_in_steps(f"sqlite:///{service.data / 'state.db'}", gateway)


def _seen_until(service: Service) -> float:
    """Until when the steps of a machine reach [ms]."""
    seen = service.get("assets/M0/twin")["seen_until"]
    return datetime.fromisoformat(seen).timestamp() * 1000 if seen else 0.0


def _off(steps: Counted) -> int:
    return abs(steps.counted - steps.expected) if steps.expected else -1


def _something_new(service: Service) -> Callable[[], None]:
    """Wait until a reading is stored that was not."""
    before = ReadingLog(service.data / "readings")

    def look() -> None:
        count = before.counts().readings
        wait_until(lambda: before.counts().readings > count, "nothing comes any more")
        before.close()

    return look


def _metrics(service: Service) -> str:
    return service.text("metrics")


def _metric(service: Service, name: str) -> float:
    return next(float(line.split()[-1]) for line in _metrics(service).splitlines() if line.startswith(f"{name} "))


def _degraded(service: Service) -> str:
    return "; ".join(orjson.loads(service.text("readyz"))["degraded"])


def _rss(service: Service) -> float:
    return rss_mb(service.pid) + rss_mb(service.ingest_pid)


def _log_bytes(service: Service) -> int:
    return sum(path.stat().st_size for path in (service.data / "readings").iterdir())


def _numbers_in_influx(service: Service) -> set[int]:
    settings = load_settings(service.folder / "pdm.yaml")
    engine = open_state(settings.state_url())
    with closing(reading_store(settings, engine)) as store:
        found = numbers_in(store.window("machine", SOURCES, 0, 2**60))
    engine.dispose()
    return found
