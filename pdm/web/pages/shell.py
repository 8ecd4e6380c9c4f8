"""What stands around every page: the plant, its time, how far it can be believed, and the control of a simulation."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pdm import words
from pdm.services import Services
from pdm.state.told import AlertState
from pdm.web.snapshot import Snapshot

LATE_MS = 10 * 60_000
"""Beliefs older than this, beyond the step that they wait for, are late."""

SIMULATION_CONTROL = "/api/v1/simulation"
_RATE_FACTOR = 2


@dataclass(frozen=True, slots=True)
class SimulationStrip:
    """The time of a simulated plant. `control` is where its buttons send to, None where there is nothing to control;
    `slower` and `faster` are the rates that they ask for, None where it goes as fast as it can."""

    time: str
    rate: str = ""
    paused: bool = False
    slower: float | None = None
    faster: float | None = None
    control: str | None = None


@dataclass(frozen=True, slots=True)
class Shell:
    """The frame of a page.

    Attributes:
        page: which of the main pages it is.
        url: where this page is fetched again from.
        now_ms: plant time; `seen` is it in words, `now_local` as a form writes it.
        alerts: how many are open.
        late: why beliefs are older than they should be, None while they are not.
    """

    plant: str
    page: str
    url: str
    now_ms: int
    seen: str
    now_local: str
    zone: str
    alerts: int = 0
    simulation: SimulationStrip | None = None
    late: str | None = None


def shell_of(services: Services, now: Snapshot | None, page: str, url: str) -> Shell:
    """The frame of a page as of now; without a snapshot nothing is known of the plant yet."""
    now_ms = services.clock.plant_ms()
    if now is None:
        stamp = datetime.fromtimestamp(now_ms / 1000, UTC)
        return Shell("pdm-twin", page, url, now_ms, f"{stamp:%d %b %H:%M} UTC", f"{stamp:%Y-%m-%dT%H:%M}", "UTC")
    plant = now.current.plant
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(plant.time_zone)
    return Shell(
        plant=plant.name,
        page=page,
        url=url,
        now_ms=now_ms,
        seen=f"{words.moment(now_ms, plant.time_zone, now_ms)}",
        now_local=f"{local:%Y-%m-%dT%H:%M}",
        zone=str(plant.time_zone),
        alerts=sum(alert.state == AlertState.OPEN for rows in now.alerts.values() for alert in rows),
        simulation=_strip(services, now, now_ms) if plant.simulated else None,
        late=None if plant.simulated else _late(now, now_ms),
    )


def _strip(services: Services, now: Snapshot, now_ms: int) -> SimulationStrip:
    zone = now.current.plant.time_zone
    if services.simulation is None:
        return SimulationStrip(words.moment(now_ms, zone, now_ms))
    state: dict[str, Any] = services.simulation.state()
    rate, paused, done = state["rate"], bool(state["paused"]), bool(state["done"])
    return SimulationStrip(
        time=words.moment(state["plant_ms"], zone, state["plant_ms"]),
        rate="finished" if done else "paused" if paused else _rate(rate),
        paused=paused,
        slower=None if rate is None else rate / _RATE_FACTOR,
        faster=None if rate is None else rate * _RATE_FACTOR,
        control=None if done else SIMULATION_CONTROL,
    )


def _rate(rate: float | None) -> str:
    """Plant time per second of wall time."""
    if rate is None:
        return "as fast as it goes"
    if rate >= 3_600:
        return f"{words.number(rate / 3_600)} h per second"
    return f"{words.duration(1000 * rate)} per second"


def _late(now: Snapshot, now_ms: int) -> str | None:
    """A sentence where the oldest beliefs are older than their class allows."""
    overdue = [
        (of_class.stored.at_ms, of_class.asset_class)
        for of_class in now.classes.values()
        if of_class.stored is not None and now_ms - of_class.stored.at_ms > LATE_MS
    ]
    if not overdue:
        return None
    at_ms, asset_class = min(overdue, key=lambda pair: pair[0])
    title = asset_class.title or asset_class.name
    ago = words.ago(at_ms, now_ms)
    return f"The last tick of {title} was {ago}; one is due every minute. The log of the service says why."
