"""Whole lives of the machines of the demo, for training and benchmarks: simulated pumps, turbofan engines."""

from dataclasses import replace

import numpy as np

from pdm.durations import HOUR_MS
from pdm.errors import ModelError
from pdm.learn import Life, life_of
from pdm.plant import AssetClass
from pdm.readings import Readings
from pdm.simulated_plant import PUMP_SENSORS, PumpLives, simulate_pumps
from pdm.steps import Steps, make_steps
from pdm.turbofans import Engine

YEAR_HOURS = 8_766
START_MS = 1_735_689_600_000  # 2025-01-01 00:00 UTC
STATION = 10
"""Pumps of one simulated station share its weather and its load: a single station would teach these, not wear. So
training takes several, which start at different times of the year."""

FIRST_STATION = 1_000_000
"""Seeds of training stations begin here; those of demos and benchmarks are small numbers."""


def pump_lives(asset_class: AssetClass, count: int, seed: int) -> list[Life]:
    """Simulated pumps from new until failure, through the steps of the service."""
    stations = -(-count // STATION)
    lives: list[Life] = []
    for station in range(stations):
        start_ms = START_MS + station * YEAR_HOURS // stations * HOUR_MS
        pumps = min(STATION, count - len(lives))
        simulated = simulate_pumps(pumps, seed=FIRST_STATION + 1000 * seed + station, start_ms=start_ms)
        for pump in range(pumps):
            steps, mode = pump_steps(asset_class, simulated, pump, start_ms), simulated.truth[pump].failure_mode
            life = life_of(asset_class, f"pump-{station}-{pump}", steps, str(mode))
            lives.append(replace(life, group=f"station-{station}"))
    return lives


def pump_steps(asset_class: AssetClass, simulated: PumpLives, pump: int, start_ms: int) -> Steps:
    """The steps of one simulated pump, from its first hour to the one in which it failed."""
    failure_ms, time_ms = simulated.truth[pump].failure_ms, simulated.time_ms[pump]
    if failure_ms is None:
        raise ModelError("a simulated pump outlived its simulation")
    readings = Readings(
        sensors=tuple(sensor.name for sensor in PUMP_SENSORS),
        source=np.full(len(time_ms), "pump", dtype=object),
        time_ms=time_ms,
        values=np.column_stack([simulated.values[pump][sensor.name] for sensor in PUMP_SENSORS]),
        flags=np.zeros(len(time_ms), dtype=np.uint8),
    )
    row = np.zeros(len(time_ms), dtype=np.int64)
    return make_steps(asset_class, readings, row, np.array([start_ms]), np.array([failure_ms]))


def engine_life(engine: Engine) -> Life:
    """An engine that flew until it failed."""
    return Life(f"E-{engine.unit:03}", engine.columns, np.ones(len(engine.columns)), failed=True)
