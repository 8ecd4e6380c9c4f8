"""Readings sent by MQTT, as a gateway does: at least once, with a bounded number of them on the way."""

from threading import Condition
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.reasoncodes import ReasonCode

from pdm.adapters.mqtt import MqttLink, new_client
from pdm.errors import DeliveryError


class MqttPublisher:
    """Publishes with QoS 1 and keeps what is not acknowledged; it is sent again whenever the broker is back.

    Args:
        most_on_the_way: `publish` waits while this many are unacknowledged.
    """

    def __init__(self, link: MqttLink, *, most_on_the_way: int = 1_000, timeout_s: float = 30.0):
        self._most = most_on_the_way
        self._timeout_s = timeout_s
        self._changed = Condition()
        self._on_the_way = 0
        self._refused = ""
        self._client = new_client(link, most_in_flight=most_on_the_way)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_publish = self._on_publish
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message.

        Raises:
            DeliveryError: the broker did not acknowledge in time, or refused a message before.
        """
        self._wait_until(self._most - 1)
        with self._changed:
            self._on_the_way += 1
        self._client.publish(topic, payload, qos=1)

    def flush(self) -> None:
        """Wait until the broker has acknowledged everything.

        Raises:
            DeliveryError: it did not in time, or refused a message.
        """
        self._wait_until(0)

    def close(self) -> None:
        """Disconnect; what is not acknowledged is given up."""
        self._client.disconnect()
        self._client.loop_stop()

    def _wait_until(self, on_the_way: int) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: self._on_the_way <= on_the_way, self._timeout_s)
            if self._refused:
                raise DeliveryError(f"the broker refused a message: {self._refused}", retry_helps=False)
            if not arrived:
                raise DeliveryError(f"{self._on_the_way} messages are not acknowledged", retry_helps=True)

    def _on_publish(self, _: Client, __: Any, ___: int, code: ReasonCode, ____: Any) -> None:
        with self._changed:
            self._on_the_way -= 1
            if code.is_failure:
                self._refused = str(code)
            self._changed.notify_all()
