"""A load for the drills: numbered readings of a few machines, by MQTT, at a steady pace until told to stop."""

import time
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Thread

import orjson

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ServiceClock
from pdm.readings import Readings
from tests.system.service import DAY_MS, PLANT, SENSOR

SOURCES = tuple(f"m{number}" for number in range(20))
BY_HTTP = "m20"
SPACING_MS = 300  # so that a million readings are not older than readings may be

_CLASS = """  machine:
    title: Machine
    life_step: {each: reading, unit: stroke}
    horizon: 100000
    notice: 1 d
    stale_after: 7 d
    expected_life: {mean: 10000000, sd: 2000000}
    sensors:
      number: {unit: mm, range: [0, 1e9], title: Number}
    failure_modes:
      die: {title: Die wear, action: Replace the die}
assets:
"""


def plant_of_many() -> str:
    """The plant of the system tests, and machines of which each reading is a step."""
    machines = "".join(
        f"  - {{serial: {source.upper()}, class: machine, slot: {source}, source: {source}, start_of_life: unknown}}\n"
        for source in (*SOURCES, BY_HTTP)
    )
    return PLANT.replace("assets:\n", _CLASS) + machines


class Gateway:
    """Publishes numbered readings, and keeps what the broker has not acknowledged.

    Attributes:
        sent: how many it has handed over to be sent.
    """

    def __init__(self, port: int, per_second: float) -> None:
        self.sent = 0
        self._base_ms = ServiceClock().plant_ms() - 5 * DAY_MS
        self._per_second, self._going = per_second, True
        self._publisher = MqttPublisher(
            MqttLink(port=port, client_id="gateway"), most_on_the_way=1_000_000, timeout_s=300
        )
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> set[int]:
        """Wait until the broker has all of it; the numbers that were sent."""
        self._going = False
        self._thread.join()
        self._publisher.flush()
        self._publisher.close()
        return set(range(self.sent))

    def reading(self, number: int) -> dict[str, object]:
        """A reading as its machine sends it."""
        return {"ts": self._base_ms + SPACING_MS * number, "values": {SENSOR: number}}

    def _run(self) -> None:
        began = time.monotonic()
        for number in count():
            if not self._going:
                return
            topic = f"pdm/site/line/{SOURCES[number % len(SOURCES)]}"
            self._publisher.publish(topic, orjson.dumps(self.reading(number)))
            self.sent = number + 1
            time.sleep(max(0.0, began + number / self._per_second - time.monotonic()))


def numbers_in(windows: Readings) -> set[int]:
    """The numbers among readings."""
    return set(windows.values[:, 0].astype(int).tolist()) if len(windows) else set()


def numbers_in_logs(data: Path) -> set[int]:
    """The numbers of the machines in the reading logs of a folder."""
    with closing(ReadingLog(data / "readings")) as log:
        return numbers_in(log.window("machine", SOURCES, 0, 2**60))
