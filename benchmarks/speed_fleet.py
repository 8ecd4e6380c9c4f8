"""A fleet for the speed benchmarks: machines with 20 sensors at every stage of wear, and a service that knows them.

The machines are spread over all stages on purpose: rows that look alike take the same path through the trees, and run
several times faster than those of a real fleet.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pdm import cohort, twin
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.beliefs import Beliefs, blank, names_behind
from pdm.clocks import ReplayClock
from pdm.cohort import Cohort
from pdm.learn import Life, train
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.readings import Readings
from pdm.services import Services
from pdm.state.cohorts import Cursors, load_beliefs, store_beliefs, store_checkpoint, store_cursors
from pdm.state.plants import store_plant
from pdm.state.schema import next_number, open_state, read, write
from pdm.state.steps import store_steps
from pdm.steps import Steps

HOUR_MS = 3_600_000
START_MS = 1_767_571_200_000  # Monday 2026-01-05 00:00 UTC
SENSORS = tuple(f"sensor_{i:02}" for i in range(20))
CONDITIONS = 3  # of the sensors, the first ones
MODES = ("seal", "bearing", "winding")
MEDIAN_LIFE = 1_000.0  # [hours]
LIVES = 10  # that the model learns from

_PLANT = """
plant: Speed
currency: EUR
time_zone: Europe/Berlin
simulated: true
calendars:
  two_shifts:
    shifts: [{{days: mon-sat, from: "06:00", to: "22:00"}}]
classes:
  machine:
    title: Machine
    life_step: {{every: 1 h, unit: hour}}
    running_when: {{sensor: sensor_00, above: 10}}
    horizon: 500
    notice: 24 h
    issue_every: 1 d
    costs: {{planned: 1000, unplanned: 6000}}
    calendar: two_shifts
    sensors: {{{sensors}}}
    conditions: [{conditions}]
    failure_modes: {{{modes}}}
assets:
{assets}
"""

_RULES = """
rules:
  wear: {kind: failure_probability, title: Likely to fail within a week, within: 168, above: 30 %}
  hot: {kind: sensor_limit, title: Hot, sensor: sensor_19, above: 95, clear: 90, for: 2 h}
  silent: {kind: silent_sensor, title: No readings, for: 12 h}
"""


@dataclass(frozen=True)
class Machines:
    """Machines that wear from 0 (new) to 1 (failed); n machines, 20 sensors.

    Attributes:
        life: `[n]` hours of running until failure.
        shape: `[n]` how late the wear shows: worn = (age / life)^shape.
        mode: `[n]` which of `MODES` ends it.
        level: `[n, 20]` what its sensors read when new.
        response: `[n, 20]` by how much they move until it fails.
    """

    life: NDArray[np.float64]
    shape: NDArray[np.float64]
    mode: NDArray[np.int64]
    level: NDArray[np.float64]
    response: NDArray[np.float64]
    seed: int

    @staticmethod
    def draw(count: int, seed: int) -> "Machines":
        random = np.random.default_rng(seed)
        mode = random.integers(len(MODES), size=count)
        of_mode = np.random.default_rng(0).normal(0, 8, (len(MODES), len(SENSORS)))  # the same for every fleet
        of_mode[:, :CONDITIONS] = 0
        return Machines(
            life=MEDIAN_LIFE * np.exp(random.normal(0, 0.3, count)),
            shape=random.uniform(1.5, 4, count),
            mode=mode,
            level=50 + random.normal(0, 1, (count, len(SENSORS))),
            response=of_mode[mode] * random.uniform(0.7, 1.3, (count, len(SENSORS))),
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.life)

    def values(self, hour: int, age: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the sensors read in an hour of plant time, at each machine's age in it [hours]. `[n, 20]`."""
        random = np.random.default_rng([self.seed, hour])
        load = np.sin(2 * np.pi * hour / 24) + random.normal(0, 0.3, len(self))
        worn = np.clip(age / self.life, 0, 1) ** self.shape
        noise = random.normal(0, 1, self.level.shape)
        values: NDArray[np.float64] = self.level + 2 * load[:, None] + self.response * worn[:, None] + noise
        return values.round(2)


def plant_text(count: int) -> str:
    """A plant file of `count` machines that are new at `START_MS`."""
    start = datetime.fromtimestamp(START_MS / 1000, UTC).isoformat()
    assets = "\n".join(
        f'  - {{serial: M-{i:05}, class: machine, slot: S-{i:05}, source: machine{i:05}, start_of_life: "{start}"}}'
        for i in range(count)
    )
    sensors = ", ".join(f"{name}: {{unit: degC, range: [-100, 200], title: {name}}}" for name in SENSORS)
    modes = ", ".join(f"{name}: {{title: Worn {name}, action: Replace the {name}}}" for name in MODES)
    return _PLANT.format(sensors=sensors, conditions=", ".join(SENSORS[:CONDITIONS]), modes=modes, assets=assets)


def trained_model() -> Model:
    """A model of the class, from machines of their own that ran to failure."""
    asset_class = parse_plant(plant_text(1)).classes["machine"]
    machines = Machines.draw(LIVES, seed=1)
    hours = [machines.values(hour, np.full(LIVES, float(hour))) for hour in range(int(machines.life.max()) + 1)]
    seen = np.stack(hours, axis=1)
    lives = [
        Life(f"L-{i}", seen[i, :length], np.ones(length), failed=True, mode=MODES[machines.mode[i]])
        for i, length in enumerate(machines.life.astype(int).tolist())
    ]
    return train(asset_class, lives, seed=1, origin=Origin.SIMULATED)


class LiveFleet:
    """A service that has watched machines since they were new, and goes on hour by hour; made again on the same folder
    it goes on from the end of its past.

    Its past hours were logged, stored and folded one by one as ticks would have, but nothing was forecast in them: what
    the next tick finds on disk is the same.
    """

    def __init__(self, folder: Path, model: Model, count: int, past_hours: int) -> None:
        self.machines = Machines.draw(count, seed=2)
        # by the end of the past 5 to 85 % of each life are used up, however long the past was
        self._used = np.random.default_rng(3).uniform(0.05, 0.85, count)
        self._past_hours = past_hours
        self.hour = 0
        self.serials = [f"M-{i:05}" for i in range(count)]
        self.sources = np.array([f"machine{i:05}" for i in range(count)], dtype=object)
        self.writer = ReadingLogWriter(folder / "readings" / "fleet.db")
        engine = open_state(f"sqlite:///{folder / 'state.db'}")
        with write(engine) as connection:
            self.plant = store_plant(connection, plant_text(count), _RULES, START_MS)
        readings = ReadingLog(folder / "readings")
        self.services = Services(engine, readings, ReplayClock(START_MS), models={"machine": model})
        with read(engine) as connection:
            lived = load_beliefs(connection, "machine") is not None
        if lived:
            self.hour = past_hours
        else:
            self._live_past()

    @property
    def asset_class(self) -> AssetClass:
        return self.plant.plant.classes["machine"]

    @property
    def now_ms(self) -> int:
        """The end of the hours that were sent."""
        return self.start_ms(self.hour)

    @staticmethod
    def start_ms(hour: int) -> int:
        """When an hour begins."""
        return START_MS + hour * HOUR_MS

    def values(self, hour: int) -> NDArray[np.float64]:
        """What the sensors of all machines read in an hour. `[n, 20]`."""
        age = self._used * self.machines.life + hour - self._past_hours
        return self.machines.values(hour, np.maximum(age, 0.0))

    def send_hour(self) -> NDArray[np.float64]:
        """The readings of the next hour arrive. `[n, 20]`."""
        time_ms = np.full(len(self.machines), self.now_ms + HOUR_MS // 2)
        flags = np.zeros(len(self.machines), dtype=np.uint8)
        values = self.values(self.hour)
        self.writer.append({"machine": Readings(SENSORS, self.sources, time_ms, values, flags)})
        self.hour += 1
        return values

    def _live_past(self) -> None:
        with read(self.services.engine) as connection:
            machines = cohort.current(connection, self.services, self.plant, self.asset_class)
        with write(self.services.engine) as connection:
            for _ in range(self._past_hours):
                start_ms = self.now_ms
                steps = _steps(start_ms, self.send_hour())
                cohort.fold(machines, steps)
                tick = next_number(connection, "tick")
                store_steps(connection, self.asset_class, tick, self.now_ms, steps.to_columns(machines.serials))
            columns = twin.to_columns(machines.twin, machines.serials)
            frame = cohort.checkpoint_name(self.asset_class, cohort.frame_name(machines.model))
            store_checkpoint(connection, "machine", tick, frame, columns)
            facts = names_behind(self.asset_class, [rule.name for rule in self.plant.rules.rules])
            facts |= {"model": machines.model and machines.model.version, "plant_number": self.plant.number}
            store_beliefs(connection, "machine", tick, self.now_ms, facts, self._beliefs(machines))
            store_cursors(connection, "machine", Cursors(self.services.readings.latest_cursor(), 0))
        self.services.cohorts.clear()

    def _beliefs(self, machines: Cohort) -> Beliefs:
        """What is believed of machines that were watched, but not forecast yet."""
        new = blank(machines.serials, self.asset_class, len(self.plant.rules.rules))
        last_ms, next_ms = np.full(len(new.serial), self.now_ms - HOUR_MS), np.full(len(new.serial), self.now_ms)
        return replace(new, next_ms=next_ms, last_step_ms=last_ms, last_reading_ms=last_ms)


def _steps(start_ms: int, values: NDArray[np.float64]) -> Steps:
    """The hour of every machine, as steps."""
    count = len(values)
    return Steps(
        row=np.arange(count),
        start_ms=np.full(count, start_ms),
        end_ms=np.full(count, start_ms + HOUR_MS),
        share=np.ones(count),
        count=np.ones(count, dtype=np.int32),
        values=values,
    )
