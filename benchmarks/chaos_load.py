"""A load for the drills: numbered readings of many machines, by MQTT, at a steady pace until told to stop."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import orjson

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ServiceClock
from pdm.readings import Readings
from pdm.state.engines import opened_engine
from pdm.state.plants import current_plant
from pdm.state.schema import read
from pdm.state.steps import history
from tests.system.service import PLANT, SENSOR

SOURCES = tuple(f"m{number}" for number in range(200))
BY_HTTP = "by-http"
STEP_MS = 60_000

_CLASS = """  machine:
    title: Machine
    life_step: {every: 1 min, unit: minute}
    horizon: 1000
    notice: 1 d
    stale_after: 7 d
    expected_life: {mean: 5000, sd: 1000}
    sensors:
      number: {unit: mm, range: [0, 1e9], title: Number}
    failure_modes:
      die: {title: Die wear, action: Replace the die}
assets:
"""


def plant_of_many() -> str:
    """The plant of the system tests, and machines of which each minute is a step."""
    machines = "".join(
        f"  - {{serial: {source.upper()}, class: machine, slot: {source}, source: {source}, start_of_life: unknown}}\n"
        for source in (*SOURCES, BY_HTTP)
    )
    return PLANT.replace("assets:\n", _CLASS) + machines


class Gateway:
    """Publishes numbered readings, and keeps what the broker has not acknowledged; beside them `poison`, so many for
    each good one.

    Attributes:
        times_ms: of the readings that it has handed over to be sent, by their numbers.
    """

    def __init__(self, port: int, per_second: float, poison: float = 0.0) -> None:
        self.times_ms = list[int]()
        self._per_second, self._poison, self._going = per_second, poison, True
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

    @property
    def sent(self) -> int:
        return len(self.times_ms)

    def _run(self) -> None:
        began, clock = time.monotonic(), ServiceClock()
        for number in count():
            if not self._going:
                return
            topic = f"pdm/site/line/{SOURCES[number % len(SOURCES)]}"
            self.times_ms.append(clock.plant_ms())
            message = {"ts": self.times_ms[-1], "values": {SENSOR: number}}
            self._publisher.publish(topic, orjson.dumps(message))
            if int(number * self._poison) < int((number + 1) * self._poison):
                self._publisher.publish(topic, b"poison %d" % number)
            time.sleep(max(0.0, began + number / self._per_second - time.monotonic()))


class Counted(NamedTuple):
    """Readings that the steps of the machines hold, and how many of those that were sent belong into them."""

    counted: int
    expected: int


def counted_in_steps(url: str, gateway: Gateway) -> Counted:
    """What stands in the steps so far; the minute that is not over yet is in none."""
    with opened_engine(url) as engine, read(engine) as connection:
        asset_class = current_plant(connection).plant.classes["machine"]
        counted = expected = 0
        for place, source in enumerate(SOURCES):
            steps = history(connection, asset_class, [source.upper()])
            times = np.array(gateway.times_ms[place :: len(SOURCES)])
            counted += int(steps.count.sum())
            expected += int(np.count_nonzero(times < steps.end_ms.max(initial=0)))
    return Counted(counted, expected)


def numbers_in(windows: Readings) -> set[int]:
    """The numbers among readings."""
    return set(windows.values[:, 0].astype(int).tolist()) if len(windows) else set()


def numbers_in_logs(data: Path) -> set[int]:
    """The numbers of the machines in the reading logs of a folder."""
    with closing(ReadingLog(data / "readings")) as log:
        return numbers_in(log.window("machine", SOURCES, 0, 2**60))


def batches(items: Sequence[Any], size: int) -> Iterator[Any]:
    """So many items at a time."""
    return (items[at : at + size] for at in range(0, len(items), size))
