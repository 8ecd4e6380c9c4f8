"""How the machines of the demo send their readings: through a real broker if there is one, otherwise by HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import httpx2
import orjson

from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.demo.broker import find_mosquitto, mosquitto
from pdm.demo.fleets import SourceReading
from pdm.ports import Clock
from pdm.settings import Settings
from pdm.state.plants import CurrentPlant
from pdm.wiring import open_ingest

SUBSCRIBED_PATIENCE_S = 10.0


class Transport(Protocol):
    """Takes readings to the service; returns once they are on their way."""

    name: str

    def send(self, readings: Sequence[SourceReading]) -> None: ...


class HttpTransport:
    """One request for all readings of a step."""

    name = "http"

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def send(self, readings: Sequence[SourceReading]) -> None:
        messages = [{"source": r.source, "ts": r.time_ms, "values": r.values} for r in readings]
        answer = self._client.post("/api/v1/readings", content=orjson.dumps({"readings": messages}))
        answer.raise_for_status()


class MqttTransport:
    """One message for each machine, QoS 1."""

    name = "mqtt"

    def __init__(self, publisher: MqttPublisher) -> None:
        self._publisher = publisher

    def send(self, readings: Sequence[SourceReading]) -> None:
        for r in readings:
            payload = orjson.dumps({"ts": r.time_ms, "values": r.values})
            self._publisher.publish(f"pdm/demo/{r.source}", payload)


@contextmanager
def open_transport(settings: Settings, plant: CurrentPlant, clock: Clock, client: httpx2.Client) -> Iterator[Transport]:
    """A broker of our own and the subscription to it if Mosquitto is installed, otherwise plain HTTP."""
    program = find_mosquitto()
    if program is None:
        yield HttpTransport(client)
        return
    with mosquitto(program, settings.data_dir / "broker") as port:
        log = open_ingest(settings, plant, clock, "mqtt")
        ingest = MqttIngest(log, MqttLink(port=port), clock)
        ingest.start()
        ingest.wait_until_subscribed(SUBSCRIBED_PATIENCE_S)
        machines = MqttPublisher(MqttLink(port=port, client_id="machines"))
        try:
            yield MqttTransport(machines)
        finally:
            machines.close()
            ingest.stop()
            log.close()
