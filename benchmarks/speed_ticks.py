"""What a tick costs: against a loop over machines, against copying its arrays, and late in life against early in life.

A tick is measured whole: from reading the log on disk to the durable commit. All times are CPU times of this process,
so that other work on the machine counts little; every figure is the median over interleaved rounds of a ratio within
one run. The loop (`benchmarks/speed_loop.py`) runs on some of the machines and is scaled up to all of them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import lightgbm as lgb
import numpy as np

from benchmarks.report import Figure
from benchmarks.speed_fleet import HOUR_MS, LiveFleet, trained_model
from benchmarks.speed_loop import MachineLoop
from pdm import twin
from pdm.cohort import Cohort
from pdm.prognosis.learned import Model
from pdm.tick import tick

MACHINES = 10_000
PAST_HOURS = 120  # the features remember about as many
IN_THE_LOOP = 50
ALIKE = 0.9
FEW, FEW_TICKS = 12, 60  # machines of the demo
LIFE, LIFE_MACHINES, LIFE_TICKS = 10_000, 100, 60


class Trees:
    """CPU time that goes into predictions of forests [s]."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is predicted meanwhile."""
        predict = lgb.Booster.predict

        def counted(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return predict(*arguments, **options)
            finally:
                self.seconds += time.process_time() - began

        with patch.object(lgb.Booster, "predict", counted):
            yield


class Round(NamedTuple):
    """CPU times of one round [s]: a tick, the trees in it, the loop for one machine, copies of readings and states."""

    tick: float
    trees: float
    loop: float
    copy: float


def cpu(action: Callable[..., object], *arguments: object) -> float:
    began = time.process_time()
    action(*arguments)
    return time.process_time() - began


def next_tick(fleet: LiveFleet) -> float:
    """An hour of readings arrives; CPU time of the tick that takes it in [s]."""
    fleet.send_hour()
    return cpu(tick, fleet.services, fleet.now_ms)


def measure_tick(model: Model, machines: int, rounds: int, folder: Path) -> list[Figure]:
    """P12 and P13."""
    fleet = LiveFleet(folder / "tick", model, machines, PAST_HOURS)
    first = next_tick(fleet)  # all machines are forecast for the first time, and all windows are new
    print(f"first tick of {machines} machines: {first:.2f} s", flush=True)
    loop = _loop_of(fleet, folder / "loop.db", model)
    seen = [_round(fleet, loop) for _ in range(rounds)]
    against_loop = median(machines * one.loop / one.tick for one in seen)
    outside = median((one.tick - one.trees) / machines for one in seen)
    copies = median((one.tick - one.trees) / one.copy for one in seen)
    whole, trees, single, _ = (median(times) for times in zip(*seen, strict=True))
    what = f"tick of {machines:,} machines x 20 sensors against a loop (of {IN_THE_LOOP} machines, scaled)"
    return [
        Figure("P12", what, against_loop, "x", bar=25),
        Figure("P12.tick", f"tick of {machines:,} machines", whole * 1e3, "ms", better="lower"),
        Figure("P12.trees", "of it predictions of the forests", trees * 1e3, "ms", better="lower"),
        Figure("P12.loop", "one machine in the loop", single * 1e3, "ms", better="lower"),
        Figure("P13", "tick without trees against one copy of readings and states", copies, "x", better="lower"),
        Figure("P13.machine", "tick without trees, per machine", outside * 1e6, "us", better="lower"),
    ]


def _loop_of(fleet: LiveFleet, file: Path, model: Model) -> MachineLoop:
    """The loop with the same past as some machines of the fleet."""
    loop = MachineLoop(file, fleet.plant.plant, fleet.asset_class, model, fleet.plant.rules.rules)
    for hour in range(fleet.hour):
        for row, values in enumerate(fleet.values(hour)[:IN_THE_LOOP].tolist()):
            loop.remember(fleet.serials[row], fleet.start_ms(hour), values)
    loop.db.commit()
    return loop


def _round(fleet: LiveFleet, loop: MachineLoop) -> Round:
    """One hour for the fleet and for the loop, which must forecast the same, but for a machine of which a sensor was
    doubted by chance: the loop doubts none."""
    trees, watched = Trees(), fleet.serials[:IN_THE_LOOP]
    with trees.timed():
        whole = next_tick(fleet)
    for serial, values in zip(watched, fleet.values(fleet.hour - 1).tolist(), strict=False):
        loop.receive(serial, fleet.now_ms - HOUR_MS // 2, values)
    loop.db.commit()
    began = time.process_time()
    quantiles = loop.tick(watched, fleet.now_ms)
    one_machine = (time.process_time() - began) / IN_THE_LOOP
    cohort = fleet.services.cohorts["machine"]
    same = np.isclose(quantiles, cohort.before.prognosis.quantiles[:IN_THE_LOOP], rtol=1e-6, atol=0).all(axis=1)
    if same.mean() < ALIKE:
        raise ValueError(f"{(~same).sum()} of {IN_THE_LOOP} machines are not forecast as by the loop")
    return Round(whole, trees.seconds, one_machine, _copying(cohort))


def _copying(cohort: Cohort) -> float:
    """CPU time of one copy of the latest readings and of the states [s]."""
    arrays = [values for values in twin.to_columns(cohort.twin, cohort.serials).values() if values.dtype != object]
    return median(cpu(lambda: [values.copy() for values in arrays]) for _ in range(9))


def measure_small(model: Model, folder: Path) -> list[Figure]:
    """The tick of a plant as small as the demo's."""
    fleet = LiveFleet(folder / "few", model, FEW, PAST_HOURS)
    next_tick(fleet)
    spent = median(next_tick(fleet) for _ in range(FEW_TICKS))
    return [Figure("tick.small", f"tick of {FEW} machines", spent * 1e3, "ms", better="lower")]


def measure_life(model: Model, life: int, rounds: int, folder: Path) -> list[Figure]:
    """P14: the same machines after a short and after a long life."""
    young = LiveFleet(folder / "young", model, LIFE_MACHINES, 100)
    old = LiveFleet(folder / "old", model, LIFE_MACHINES, life)
    next_tick(young)
    next_tick(old)
    ratios = []
    for _ in range(rounds):
        pairs = [(next_tick(young), next_tick(old)) for _ in range(LIFE_TICKS)]
        early, late = zip(*pairs, strict=True)
        ratios.append(median(late) / median(early))
    what = f"tick after {life:,} steps of life against after 100, {LIFE_MACHINES} machines"
    return [Figure("P14", what, median(ratios), "x", bar=1.1, better="lower")]


def measure_ticks(rounds: int, folder: Path) -> list[Figure]:
    """P12 to P14."""
    model = trained_model()
    return [
        *measure_tick(model, MACHINES, rounds, folder),
        *measure_small(model, folder),
        *measure_life(model, LIFE, rounds, folder),
    ]
