"""Drills of hostile payloads and of poison: what they cost, and whether what is good gets through."""

import gzip
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx2
import orjson

from benchmarks.chaos_load import Gateway, batches, numbers_in_logs, plant_of_many
from benchmarks.chaos_terms import Terms, all_of, broker_in, cpu_s, forget_peak, peak_mb, rss_mb
from benchmarks.report import Figure
from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ServiceClock
from pdm.ports import DeadLetter
from tests.system.drill import subscribe_once
from tests.system.service import DAY_MS, PLANT, Service, message, wait_until

RATE = 500.0  # good messages a second beside the poison
LOAD_S = 20.0
TIMES = 5
FLOOD = 120_000


def _mqtt_payloads() -> dict[str, tuple[str, bytes]]:
    """Topic and payload by name."""
    topic = "pdm/site/line/p1"
    return {
        "10 MB of text": (topic, b'{"values": {"number": "' + b"x" * 10_000_000 + b'"}}'),
        "200,000 deep": (topic, b'{"values": {"number": ' + b"[" * 200_000),
        "0.9 MB that is no UTF-8": (topic, b'{"values": {"number": "' + b"\xff" * 900_000 + b'"}}'),
        "480,000 numbers for one time": (topic, b'{"ts": 1, "values": {"number": [' + b"1," * 480_000 + b"1]}}"),
        "80,000 unknown fields": (topic, b"{" + b",".join(b'"a%d":1' % number for number in range(80_000)) + b"}"),
        "0.1 MB of bad lines": ("lines/x", b"x\n" * 49_000),
        "a topic of 199 levels": ("pdm/" + "a/" * 198, b"{" + b" " * 100_000),  # Mosquitto refuses more itself
        "0.5 MB of truncated protobuf": ("spBv1.0/nord/NBIRTH/edge", b"\x12\xff\xff\x7f" + b"\x0a" * 500_000),
    }


def _http_bodies() -> dict[str, tuple[str, dict[str, str], bytes]]:
    """Path, headers and body by name."""
    json_path, line_path = "api/v1/readings", "api/v2/write"
    return {
        "8 MB of tiny messages": (json_path, {}, b"[" + b"{}," * 2_600_000 + b"{}]"),
        "8 MB of numbers": (json_path, {}, b"[" + b"1," * 3_900_000 + b"1]"),
        "8 MB of tiny lines": (line_path, {}, b"x\n" * 4_000_000),
        "10,000 bad messages": (json_path, {}, b"[" + b",".join([b'{"source": "nobody"}'] * 10_000) + b"]"),
        "49,000 bad lines": (line_path, {}, b"x\n" * 49_000),
        "a gzip bomb of 500 MB": (line_path, {"content-encoding": "gzip"}, gzip.compress(b"\n" * 500_000_000, 9)),
    }


def d5(folder: Path, terms: Terms) -> list[Figure]:
    """Hostile payloads: the CPU and memory that one costs the process which meets it, and what comes after it."""
    figures, number = list[Figure](), count(1)
    with broker_in(folder / "broker") as broker:
        subscribe_once(broker)
        settings = {"mqtt": {"enabled": "on", "port": broker.port}, "tick": {"interval": "1 h"}}
        plant = PLANT + "sparkplug:\n  - {node: 'nord/{node}'}\ntopics:\n  - {topic: 'lines/+', payload: lines}\n"
        with Service(folder / "plant", settings, plant=plant) as service:
            sender = Sender(service.start(), broker.port)
            sender.send_good(next(number))
            ingest = service.ingest_pid
            for name, (topic, payload) in _mqtt_payloads().items():
                cost = _cost(ingest, lambda t=topic, p=payload: sender.send(t, p, next(number)))  # type: ignore[misc]
                figures += _of_cost(f"mqtt.{name}", len(payload) + len(topic), cost)
            for name, (path, headers, body) in _http_bodies().items():
                cost = _cost(service.pid, lambda p=path, h=headers, b=body: sender.post(p, h, b))  # type: ignore[misc]
                figures += _of_cost(f"http.{name}", len(body), cost)
            same = service.ingest_pid == ingest and "out of service" not in service.log_text()
            sender.close()
            service.stop()
    return [*figures, all_of("D5.stays", "the connection and both processes are those from before", float(same), 1)]


class Sender:
    """Sends what is bad, then something good, and waits until that is stored."""

    def __init__(self, service: Service, port: int) -> None:
        self._service, self._base_ms = service, ServiceClock().plant_ms() - DAY_MS
        self._publisher = MqttPublisher(MqttLink(port=port, client_id="gateway"), timeout_s=60)

    def send(self, topic: str, payload: bytes, number: int) -> None:
        self._publisher.publish(topic, payload)
        self.send_good(number)

    def send_good(self, number: int) -> None:
        self._publisher.publish("pdm/site/line/p1", orjson.dumps(message(number, self._base_ms)))
        wait_until(lambda: number in self._service.stored()["p1"], "what comes after it is not stored")

    def post(self, path: str, headers: dict[str, str], body: bytes) -> None:
        answer = httpx2.post(f"{self._service.address}/{path}", content=body, headers=headers, timeout=60, verify=False)
        if answer.status_code not in (207, 400, 413, 422):
            raise ValueError(f"answered with {answer.status_code}: {answer.text[:200]}")

    def close(self) -> None:
        self._publisher.close()


def _cost(pid: int, what: Callable[[], object]) -> tuple[float, float]:
    """CPU [s] and memory [MB] that it takes: the former as a mean of some, the latter the first time."""
    forget_peak(pid)
    before = rss_mb(pid)
    what()
    memory, began = max(peak_mb(pid) - before, 0.0), cpu_s(pid)
    for _ in range(TIMES):
        what()
    return (cpu_s(pid) - began) / TIMES, memory


def _of_cost(name: str, size: int, cost: tuple[float, float]) -> list[Figure]:
    cpu, memory = cost
    return [
        Figure(f"D5.{name}.cpu", f"CPU of {size / 1e6:.2f} MB", cpu * 1e3, "ms", bar=20, better="lower"),
        Figure(f"D5.{name}.memory", "memory, in sizes of it", memory * 1.048576e6 / size, "x", bar=2, better="lower"),
    ]


def d6(folder: Path, terms: Terms) -> list[Figure]:
    """Messages that cannot be read, none alike: one in a hundred, and as many as good ones."""
    rates = {share: _good_rate(folder / f"{share}", share) for share in (0.0, 0.01, 1.0)}
    kept, dropped = _flooded(folder / "flood.db")
    return [
        Figure("D6.rate", "good readings stored a second, without any", rates[0.0], "/s"),
        Figure("D6.1%", "the same with 1 % poison, against without", rates[0.01] / rates[0.0], "x", bar=0.9),
        Figure("D6.100%", "the same with as much poison as good ones", rates[1.0] / rates[0.0], "x", bar=0.9),
        Figure("D6.kept", f"dead letters kept of {FLOOD:,}, the latest", kept, bar=100_000, better="lower"),
        all_of("D6.counted", "the others counted", kept + dropped, FLOOD),
    ]


def _good_rate(folder: Path, poison: float) -> float:
    """Good readings that are stored in each second that they are sent in, at a steady pace."""
    folder.mkdir()
    with broker_in(folder / "broker") as broker:
        subscribe_once(broker)
        settings = {"mqtt": {"enabled": "on", "port": broker.port}}
        with Service(folder / "plant", settings, plant=plant_of_many()) as service:
            service.start()
            gateway = Gateway(broker.port, RATE, poison=poison)
            wait_until(lambda: numbers_in_logs(service.data), "it does not begin")
            time.sleep(5)
            began, before = time.monotonic(), len(numbers_in_logs(service.data))
            time.sleep(LOAD_S)
            after, took = len(numbers_in_logs(service.data)), time.monotonic() - began
            gateway.stop()
            service.stop()
    return (after - before) / took


def _flooded(log: Path) -> tuple[int, int]:
    """Dead letters kept and dropped when more come than there is room for."""
    with closing(ReadingLogWriter(log)) as writer:
        for some in batches(list(range(FLOOD)), 10_000):
            writer.append({}, [DeadLetter("t", b"%d" % number, "broken_json", "", number) for number in some])
    with closing(ReadingLog(log.parent)) as reader:
        dropped = reader.counts().dead_letters_dropped
        return reader.counts().dead_letters - dropped, dropped
