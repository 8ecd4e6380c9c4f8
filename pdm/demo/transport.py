"""How the machines of the demo send their readings: through a broker if there is one, otherwise by HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import httpx2
import orjson

from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.demo.broker import find_mosquitto, mosquitto
from pdm.demo.fleets import SourceReading
from pdm.ingest_process import broker_link
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
    """A subscription to a broker and a publisher to it; plain HTTP where there is no broker."""
    with _broker(settings) as link:
        if link is None:
            yield HttpTransport(client)
            return
        log = open_ingest(settings, plant, clock, "mqtt")
        ingest = MqttIngest(log, link, clock)
        ingest.start()
        ingest.wait_until_subscribed(SUBSCRIBED_PATIENCE_S)
        machines = MqttPublisher(replace(link, client_id=f"{link.client_id}-machines"))
        try:
            yield MqttTransport(machines)
        finally:
            machines.close()
            ingest.stop()
            log.close()


@contextmanager
def _broker(settings: Settings) -> Iterator[MqttLink | None]:
    """The broker of the settings if `mqtt.enabled` is `on`, otherwise one of our own if Mosquitto is installed."""
    program = find_mosquitto() if settings.mqtt.enabled == "auto" else None
    if settings.mqtt.enabled == "on":
        yield broker_link(settings)
    elif program is None:
        yield None
    else:
        with mosquitto(program, settings.data_dir / "broker") as port:
            yield MqttLink(port=port)
