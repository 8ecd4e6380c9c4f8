"""A model with a new frame on a large plant: folded at once, and portion by portion while another one speaks.

    python -m benchmarks.catching_up [--machines 1000] [--hours 8760]

Pumps with an hour a step and made-up readings; times of one process, the state in SQLite.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pdm import beliefs, cohort
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.model_folder import ModelFolders
from pdm.catching_up import activate, catch_up
from pdm.clocks import ReplayClock
from pdm.demo_plants import pump_plant, pump_rules
from pdm.plant import AssetClass
from pdm.respond import Act
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.state.catching_up import coming_of
from pdm.state.cohorts import store_beliefs
from pdm.state.plants import CurrentPlant, current_fleet, current_plant, store_plant
from pdm.state.schema import open_state, read, write
from pdm.state.steps import merge, store_steps
from pdm.steps import Steps

HOUR_MS, START_MS = 3_600_000, 1_767_571_200_000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--machines", type=int, default=1000)
    options.add_argument("--hours", type=int, default=8760)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as folder:
        measure(Path(folder), given.machines, given.hours)


def measure(folder: Path, machines: int, hours: int) -> None:
    """Portions first: what is folded at once takes the most memory."""
    models = ModelFolders((shipped_folder("trained_models"),))
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    services = Services(engine=engine, readings=MemoryReadings(), clock=ReplayClock(START_MS), trained=models)
    with write(engine) as connection:
        plant = store_plant(connection, pump_plant(machines, start_ms=START_MS), pump_rules(), START_MS)
    pump = plant.plant.classes["pump"]
    fill(services, plant, pump, hours)
    version = models.versions("pump")[0]
    with write(engine) as connection:
        print("at once:", activate(connection, pump, version, Act("bench", START_MS)))
    began, longest, portions, going_on = time.process_time(), 0.0, 0, True
    while going_on:
        at = time.process_time()
        print(catch_up(services))
        longest, portions = max(longest, time.process_time() - at), portions + 1
        with read(engine) as connection:
            going_on = coming_of(connection, "pump") is not None
    told = f"{portions} portions of at most {longest:.1f} s, {time.process_time() - began:.1f} s in all"
    print(f"in portions: {told}, at most {_megabytes():.0f} MB")
    began = time.process_time()
    with read(engine) as connection:
        plant = current_plant(connection)
        fleet = current_fleet(connection, plant)
        serials = fleet.serials_of("pump")
        cohort.resumed(connection, plant, pump, models.load(pump, version), fleet, serials, (0, {}))
    print(f"at once: {time.process_time() - began:.1f} s, at most {_megabytes():.0f} MB")


def fill(services: Services, plant: CurrentPlant, pump: AssetClass, hours: int) -> None:
    """Steps of all machines, merged as the service does, and how many there are."""
    with read(services.engine) as connection:
        serials = np.array(current_fleet(connection, plant).serials_of("pump"), dtype=object)
    count, random = len(serials), np.random.default_rng(0)
    sensors = [pump.sensor(column.sensor) for column in pump.columns]
    middle = np.array([((one.low or 0.0) + (one.high or 2.0)) / 2 for one in sensors])
    for tick, first in enumerate(range(0, hours, 480), 1):
        length = min(480, hours - first)
        start_ms = START_MS + HOUR_MS * np.tile(first + np.arange(length), count)
        made = Steps(
            row=np.repeat(np.arange(count), length),
            start_ms=start_ms,
            end_ms=start_ms + HOUR_MS,
            share=np.ones(len(start_ms)),
            count=np.full(len(start_ms), 60, dtype=np.int32),
            values=middle * (1 + 0.01 * random.standard_normal((len(start_ms), len(middle)))),
        )
        with write(services.engine) as connection:
            store_steps(connection, pump, tick, int(start_ms[-1]) + HOUR_MS, made.to_columns(serials))
            merge(connection, "pump")
    names = [rule.name for rule in plant.rules_of(pump)]
    believed = beliefs.blank(serials, pump, len(names))
    believed.steps[:] = hours
    facts = {"plant_number": plant.number, "model": None, "horizon": pump.horizon} | beliefs.names_behind(pump, names)
    with write(services.engine) as connection:
        store_beliefs(connection, "pump", tick, int(start_ms[-1]) + HOUR_MS, facts, believed)


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
