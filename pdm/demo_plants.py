"""The two plants of the demo, as the text of plant and rule files like any other.

Their terms (horizon, notice, costs, alert rule) are chosen once, so that no figure is made by moving them.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from string import Template
from typing import NamedTuple

from pdm.templates import template


class _Machine(NamedTuple):
    serial: str
    slot: str
    source: str
    place: str


def pump_plant(count: int, *, start_ms: int, time_zone: str = "Europe/Berlin") -> str:
    """A station of `count` pumps, P-001 and so on, all new at `start_ms`."""
    head = Template(template("pumping_station.yaml")).substitute(time_zone=time_zone)
    pumps = (
        _Machine(f"P-{n:03}", f"PUMP-{n:02}", f"pump{n:02}", f"Pumping station/Hall {1 + (n - 1) // 6}")
        for n in range(1, count + 1)
    )
    return head + _assets("pump", pumps, start_ms)


def pump_rules() -> str:
    """Probability of failure within 168 hours of running above 30 %."""
    return template("pumping_station_rules.yaml")


def turbofan_plant(units: Sequence[int], *, start_ms: int) -> str:
    """A fleet of these engines of a C-MAPSS file, all new at `start_ms`."""
    engines = (_Machine(f"E-{n:03}", f"WING-{n:03}", f"engine{n:03}", "Engine fleet") for n in units)
    return template("turbofans.yaml") + _assets("turbofan", engines, start_ms)


def turbofan_rules() -> str:
    """Probability of failure within 30 cycles above 50 %."""
    return template("turbofan_rules.yaml")


def _assets(class_name: str, machines: Iterable[_Machine], start_ms: int) -> str:
    start = datetime.fromtimestamp(start_ms / 1000, UTC).isoformat()
    lines = (
        f"  - {{serial: {serial}, class: {class_name}, slot: {slot}, source: {source},"
        f' start_of_life: "{start}", place: {place}}}\n'
        for serial, slot, source, place in machines
    )
    return "assets:\n" + "".join(lines)
