"""The machines of the demo: simulated pumps, or real run-to-failure engines, one step of plant time after the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pdm import demo_plants
from pdm.durations import DAY_MS
from pdm.simulated_plant import PumpStation
from pdm.turbofans import Engine

START_MS = 1_767_571_200_000
"""2026-01-05 00:00 UTC, a Monday: the same plant time in every run, so that the same seed gives the same figures."""


@dataclass(frozen=True, slots=True)
class SourceReading:
    """What one machine sends at one time."""

    source: str
    time_ms: int
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class FailureReport:
    """What the people of the plant report."""

    serial: str
    at_ms: int
    mode: str | None


@dataclass(frozen=True, slots=True)
class PlantStep:
    """One step of plant time: what is sent, what failed, and when the tick that closes it is due."""

    readings: Sequence[SourceReading]
    failures: Sequence[FailureReport]
    tick_ms: int


class Fleet(Protocol):
    """Machines that live to failure."""

    name: str
    class_name: str
    plant_text: str
    rules_text: str
    rule: str
    rule_horizon: float

    def steps(self) -> Iterator[PlantStep]:
        """Steps until all machines have failed."""
        ...

    def progress(self) -> tuple[int, int]:
        """How many machines have failed, of how many."""
        ...

    def replace(self, serial: str) -> str | None:
        """Put a new machine in the place of one that runs; returns its serial, None where there is none to be had."""
        ...


class PumpFleet:
    """A simulated pumping station."""

    name, class_name, rule, rule_horizon = "pumps", "pump", "wear", 168.0

    def __init__(self, count: int, seed: int) -> None:
        self._station = PumpStation(count, seed=seed, start_ms=START_MS)
        self._serials = [f"P-{number:03}" for number in range(1, count + 1)]
        self._sources = [f"pump{number:02}" for number in range(1, count + 1)]
        self._generation = [1] * count
        self.plant_text = demo_plants.pump_plant(count, start_ms=START_MS)
        self.rules_text = demo_plants.pump_rules()

    def steps(self) -> Iterator[PlantStep]:
        while self._station.alive.any():
            hour = self._station.advance()
            readings = [
                SourceReading(
                    self._sources[pump],
                    hour.time_ms,
                    {name: None if np.isnan(v[pump]) else float(v[pump]) for name, v in hour.values.items()},
                )
                for pump in np.flatnonzero(hour.sent)
            ]
            failures = [FailureReport(self._serials[f.pump], f.time_ms, str(f.mode)) for f in hour.failures]
            yield PlantStep(readings, failures, hour.ends_ms)

    def progress(self) -> tuple[int, int]:
        return int((~self._station.alive).sum()), len(self._serials)

    def replace(self, serial: str) -> str | None:
        if serial not in self._serials:
            return None
        pump = self._serials.index(serial)
        self._station.repair(pump)
        self._generation[pump] += 1
        self._serials[pump] = f"P-{pump + 1:03}-{self._generation[pump]}"
        return self._serials[pump]


class EngineFleet:
    """Engines of a run-to-failure file, one flight a day of plant time, all starting on the same day."""

    name, class_name, rule, rule_horizon = "cmapss", "turbofan", "wear", 30.0

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self._flown = 0
        units = [engine.unit for engine in engines]
        self.plant_text = demo_plants.turbofan_plant(units, start_ms=START_MS)
        self.rules_text = demo_plants.turbofan_rules()

    def steps(self) -> Iterator[PlantStep]:
        for cycle in range(max(len(engine.columns) for engine in self._engines)):
            at_ms = START_MS + (cycle + 1) * DAY_MS
            flying = [engine for engine in self._engines if cycle < len(engine.columns)]
            readings = [SourceReading(f"engine{engine.unit:03}", at_ms, engine.values(cycle)) for engine in flying]
            ended = [engine for engine in flying if cycle == len(engine.columns) - 1]
            self._flown = cycle + 1
            # a life holds the steps before its end, so the last flight is before the failure
            failures = [FailureReport(f"E-{engine.unit:03}", at_ms + 1, None) for engine in ended]
            yield PlantStep(readings, failures, at_ms + 1)

    def replace(self, serial: str) -> str | None:
        return None  # recorded engines have no successors

    def progress(self) -> tuple[int, int]:
        return sum(len(engine.columns) <= self._flown for engine in self._engines), len(self._engines)


def shown_units(units: Sequence[int], count: int, seed: int) -> list[int]:
    """Which engines of a file are shown; the others are those that the model learns from."""
    return sorted(np.random.default_rng(seed).permutation(np.asarray(units))[:count].tolist())


def model_name(folder: Path, shown: Sequence[int]) -> str:
    """A name for the model of one split of one file, so that it is trained once."""
    return f"{folder.name}-without-{'-'.join(map(str, shown))}"
