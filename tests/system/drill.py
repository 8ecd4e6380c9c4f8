"""The service under load, ended again and again without warning: what was acknowledged is stored, once."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import httpx2
import numpy as np
import orjson

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.clocks import ServiceClock
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.plant.file import parse_plant
from tests.mosquitto import Mosquitto
from tests.system.service import (
    DAY_MS,
    PATIENCE_S,
    PLANT,
    Audit,
    Service,
    audit,
    looked_for,
    message,
    stored_numbers,
    wait_until,
)

HTTP_EVERY = 10
"""Of so many readings one comes by HTTP."""

EVERY_MS = 8_000
"""Plant time between two readings: 54,000 of them fit into the five days before now."""

MQTT_SOURCES = ("p1", "f1")
HTTP_SOURCE = "p2"

Ending = Callable[[Service], None]


class Drilled(NamedTuple):
    """What a drill came to; `unanswered` are requests that a service had taken and gave no answer to."""

    rounds: int
    sent: int
    acknowledged: int
    unanswered: int
    per_second: float
    slowest_start_s: float
    slowest_stop_s: float
    audit: Audit


def kill_all(service: Service) -> None:
    """SIGKILL to the whole group, as a power cut."""
    service.kill()


def kill_main(service: Service) -> None:
    """SIGKILL to the main process, as when memory runs out; ingest has to notice."""
    os.kill(service.pid, signal.SIGKILL)
    service.wait()


def kill_ingest(service: Service) -> None:
    """SIGKILL to the process that takes readings from the broker, which is started again; then to all."""
    killed = service.ingest_pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: service.ingest_pid not in (0, killed), "ingest is not started again")
    service.kill()


def terminate(service: Service) -> None:
    """SIGTERM, as systemd does it."""
    assert service.stop() == 0, service.log_text()


class Load:
    """A gateway: numbered readings by MQTT and, one in ten, by HTTP, which are sent again until they are taken."""

    def __init__(self, service: Service, broker: Mosquitto):
        self.sent: dict[str, list[int]] = {source: [] for source in (*MQTT_SOURCES, HTTP_SOURCE)}
        self.taken_by_http: list[int] = []
        self.unanswered = 0
        self._service = service
        self._base_ms = ServiceClock().plant_ms() - 5 * DAY_MS
        self._publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"), timeout_s=PATIENCE_S)
        self._next = 0

    def run(self, count: int, per_second: float) -> None:
        """Send the next `count` readings at this pace, and return when the broker has taken all of them."""
        numbers = range(self._next, self._next + count)
        self._next += count
        by_http = [number for number in numbers if number % HTTP_EVERY == 0]
        posting = Thread(target=self._post_all, args=(by_http, per_second / HTTP_EVERY))
        posting.start()
        began = time.monotonic()
        for turn, number in enumerate(numbers):
            if number % HTTP_EVERY:
                self.publish(number)
            time.sleep(max(0.0, began + turn / per_second - time.monotonic()))
        self._publisher.flush()
        posting.join()

    def publish(self, number: int) -> None:
        source = MQTT_SOURCES[number % 2]
        self.sent[source].append(number)
        self._publisher.publish(
            f"pdm/site/line/{source}", orjson.dumps(message(number, self._base_ms, every_ms=EVERY_MS))
        )

    def post_rest(self) -> None:
        """Send again by HTTP what was never acknowledged."""
        self._post(sorted(set(self.sent[HTTP_SOURCE]) - set(self.taken_by_http)))

    def close(self) -> None:
        self._publisher.close()

    @property
    def acknowledged(self) -> dict[str, Iterable[int]]:
        """The broker acknowledged all that it was sent, and holds it for us; HTTP is a matter of each answer."""
        return {**self.sent, HTTP_SOURCE: self.taken_by_http}

    def _post_all(self, numbers: Iterable[int], per_second: float) -> None:
        began = time.monotonic()
        for turn, number in enumerate(numbers):
            self.sent[HTTP_SOURCE].append(number)
            self._post([number])
            time.sleep(max(0.0, began + turn / per_second - time.monotonic()))

    def _post(self, numbers: list[int]) -> None:
        body = [message(number, self._base_ms, source=HTTP_SOURCE, every_ms=EVERY_MS) for number in numbers]
        try:  # each on a connection of its own: one that is kept may be closed while it is idle, which is no fault
            if self._service.post(body, connection="close").status_code == 200:
                self.taken_by_http += numbers
        except httpx2.ConnectError:  # it is gone
            pass
        except httpx2.TransportError:
            self.unanswered += 1


def drill(
    folder: Path, broker: Mosquitto, endings: Iterable[Ending], *, messages: int, per_second: float, seed: int
) -> Drilled:
    """End the service at a random moment of each round, have it catch up, and look at what it leaves behind."""
    subscribe_once(broker)
    random, starts, stops, sending_s = np.random.default_rng(seed), list[float](), list[float](), 0.0
    settings = {"mqtt": {"enabled": "on", "port": broker.port}}
    with Service(folder, settings) as service, closing(Load(service, broker)) as load:
        for ending in endings:
            starts.append(_seconds(service.start))
            _wait_for_ingest(service, load)
            sending = Sending(load, messages, per_second)
            time.sleep(random.uniform(0.1, 0.9) * messages / per_second)
            took = _seconds(partial(ending, service))
            if ending is terminate:
                stops.append(took)
            sending_s += sending.seconds()
        starts.append(_seconds(service.start))
        load.post_rest()
        looked_for(partial(_all_stored, service, load))
        stops.append(_seconds(partial(terminate, service)))
        return Drilled(
            rounds=len(starts) - 1,
            sent=sum(map(len, load.sent.values())),
            acknowledged=sum(len(list(numbers)) for numbers in load.acknowledged.values()),
            unanswered=load.unanswered,
            per_second=messages * (len(starts) - 1) / sending_s,
            slowest_start_s=max(starts),
            slowest_stop_s=max(stops),
            audit=audit(service.data, load.sent, load.acknowledged),
        )


class Sending:
    """A load that is being sent in the background."""

    def __init__(self, load: Load, messages: int, per_second: float):
        self._seconds = 0.0
        self._thread = Thread(target=self._run, args=(load, messages, per_second))
        self._thread.start()

    def seconds(self) -> float:
        """Wait for its end; how long it took to hand it to the broker."""
        self._thread.join()
        return self._seconds

    def _run(self, load: Load, messages: int, per_second: float) -> None:
        self._seconds = _seconds(partial(load.run, messages, per_second))


def subscribe_once(broker: Mosquitto, client_id: str = "pdm-twin", shared_group: str | None = None) -> None:
    """Make the session in which the broker keeps messages for the service, up or not."""
    clock = ServiceClock()
    ingest = Ingest(Decoder(parse_plant(PLANT)), MemoryReadings(), clock)
    receiver = MqttIngest(ingest, MqttLink(port=broker.port, client_id=client_id, shared_group=shared_group), clock)
    receiver.start()
    assert receiver.wait_until_subscribed(PATIENCE_S)
    receiver.stop()


def _seconds(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def _wait_for_ingest(service: Service, load: Load) -> None:
    """Until the ingesting process of this run has taken everything that waited for it, and one reading more."""
    load.run(1, 1000)
    load.run(1, 1000)
    if not looked_for(lambda: _all_stored(service, load, MQTT_SOURCES)):
        stored = service.stored()
        missing = {source: sorted(set(load.sent[source]) - set(stored[source])) for source in MQTT_SOURCES}
        raise AssertionError(f"ingest does not begin: {missing} are missing\n{service.log_text()}")


def _all_stored(service: Service, load: Load, sources: Iterable[str] = (*MQTT_SOURCES, HTTP_SOURCE)) -> bool:
    stored = stored_numbers(service.data)
    return all(len(stored[source]) >= len(load.sent[source]) for source in sources)
