"""A small plant for tests: two fans that wear, one spare, an hour a step, and a service on stores in memory."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pdm.adapters.memory_readings import MemoryReadings
from pdm.clocks import ReplayClock
from pdm.installations import MaintenanceEvent
from pdm.ports import ReadingStore
from pdm.readings import Readings
from pdm.services import Services
from pdm.state.plants import add_event, store_plant
from pdm.state.schema import open_state, write
from tests.databases import DATABASES

HOUR = 3_600_000
START = 1_767_571_200_000  # Monday 2026-01-05 00:00 UTC

PLANT = """
plant: Small plant
currency: EUR
time_zone: UTC
classes:
  fan:
    title: Fan
    life_step: {every: 1 h, unit: hour}
    running_when: {sensor: speed, above: 100}
    gap: assume_profile
    horizon: 1000
    notice: 24 h
    issue_every: 1 d
    stale_after: 2 d
    expected_life: {mean: 500, sd: 100}
    costs: {planned: 1000, unplanned: 8000}
    sensors:
      speed: {unit: rpm, range: [0, 4000], title: Speed}
      vibration: {unit: mm/s, range: [0, 50], title: Vibration, summary: [mean, max]}
    failure_modes:
      belt: {title: Belt wear, action: Replace the belt, limit: {sensor: vibration_max, above: 9}}
assets:
  - {serial: F-1, class: fan, slot: FAN-1, source: fan1, start_of_life: "2026-01-05T00:00:00Z"}
  - {serial: F-2, class: fan, slot: FAN-2, source: fan2, start_of_life: "2026-01-05T00:00:00Z"}
  - {serial: F-3, class: fan, slot: SPARE, source: fan3, start_of_life: "2026-01-05T00:00:00Z"}
"""

RULES = """
rules:
  soon:
    kind: failure_probability
    title: Failure expected soon
    within: 50
    above: 10 %
  shaking:
    kind: sensor_limit
    title: Vibration too high
    sensor: vibration_max
    above: 9
    clear: 8
    for: 2 h
"""


def make_services(folder: Path, readings: ReadingStore | None = None) -> Services:
    """A service with the small plant in force, its state in `folder`."""
    engine = open_state(DATABASES.url(folder / "state.db"))
    with write(engine) as connection:
        store_plant(connection, PLANT, RULES, START)
    return Services(engine=engine, readings=readings or MemoryReadings(), clock=ReplayClock(START))


def readings(source: str, hours: Iterable[int], *, seed: int = 0, speed: float = 1500.0) -> Readings:
    """Three readings in each of these hours, the same for the same source, hour and seed."""
    times, values = [], []
    for hour in hours:
        random = np.random.default_rng([seed, hour, *source.encode()])
        for minute in (5, 25, 45):
            times.append(START + hour * HOUR + minute * 60_000)
            values.append([speed + random.normal(), 2.0 + hour / 200 + 0.1 * random.normal()])
    return rows(source, np.array(times, dtype=np.int64), np.array(values).reshape(-1, 2))


def rows(source: str, time_ms: NDArray[np.int64], values: NDArray[np.float64]) -> Readings:
    """Readings of one source as they come from the wire."""
    count = len(time_ms)
    return Readings(
        ("speed", "vibration"), np.full(count, source, dtype=object), time_ms, values, np.zeros(count, dtype=np.uint8)
    )


def feed(services: Services, *batches: Readings) -> None:
    """Readings arrive."""
    assert isinstance(services.readings, MemoryReadings)
    for batch in batches:
        services.readings.append({"fan": batch}, [])


def report(services: Services, event: MaintenanceEvent, event_id: str = "e1") -> None:
    """Somebody reports an event."""
    with write(services.engine) as connection:
        add_event(connection, event_id, event, who="test", recorded_ms=event.at_ms)
