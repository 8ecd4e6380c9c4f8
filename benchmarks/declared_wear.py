"""Declared wear on simulated fleets: whether its bands hold what they promise, and what it costs.

Machines wear by gamma increments, at rates that differ between them and wander over life, under a load that swings with
the seasons and changes from day to day; an indicator shows the damage with noise, and up to 30 % of its values are
missing. The simulation knows nothing of the filter, which is folded and asked by the functions of the service. Declared
are the life and its spread, its shares, the limits, the law of stress and the noise: all as in the simulation, and
once more with the shares left as they are where nobody declares them.

Ages are shares of the mean life in calendar time, at which the machines that still run are forecast. Lives are counted
at the reference duty, so that no forecast rests on a guess of the load to come.

    python -m benchmarks.declared_wear [--seeds 5] [--machines 1000]
"""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, write_report
from pdm import twin
from pdm.degradation.wear import USUAL_DRIFT, USUAL_JUMPS, WearScale, WearShape
from pdm.plant import AssetClass, DeclaredWear, ExpectedLife, FailureMode, LifeStep, Limit, Sensor, Stress, StressLaw
from pdm.prognosis.forecast import forecast
from pdm.steps import Steps
from pdm.twin import Twin

Floats = NDArray[np.float64]

START_MS, STEP_MS = 1_767_571_200_000, 8 * 3_600_000
DAY, YEAR, LONGEST = 3, 3 * 365, 4000  # steps of eight hours
MEAN_RATE = 1e-3  # damage in a step at the reference load
OWN_SD, DRIFT_SD, JUMP = 0.25, 0.08, 0.004  # sd of the log rate between machines, and over 1,000 steps; mean jump
EXPONENT = 3.0
NEW, LIMIT, NOISE = 2.0, 9.0, 0.2
POWER = 1.7
MISSING = 0.3
AGES = (0.2, 0.5, 0.8)
CHANGE, CHANGE_AT = 1.3, 0.4  # the load after its change as a share of before, and the age at which it changes
LEVELS = {80: 3, 90: 2}  # index of the lower end of each band in the quantiles of a prognosis
TIMED, ROUNDS = 1000, 30


class Fleet(NamedTuple):
    """Simulated machines: load, indicator (NaN where missing) and life used `[t, n]` by step, life `[n]` and the step
    of the failure `[n]`."""

    load: Floats
    indicator: Floats
    used: Floats
    life: Floats
    failed: NDArray[np.int64]


def simulate(shape: WearShape, machines: int, seed: int, change_at: int | None = None) -> Fleet:
    random = np.random.default_rng([seed, *shape.value.encode()])
    season = 0.2 * np.sin(2 * np.pi * (np.arange(LONGEST)[:, None] / YEAR + random.random(machines)))
    daily = np.repeat(0.1 * random.normal(size=(LONGEST // DAY + 1, machines)), DAY, axis=0)[:LONGEST]
    load = np.maximum(1.0 + season + daily, 0.2)
    if change_at is not None:
        load[change_at:] *= CHANGE
    exposure = load**EXPONENT
    wander = DRIFT_SD * np.sqrt(MEAN_RATE) * np.cumsum(np.sqrt(exposure) * random.normal(size=load.shape), axis=0)
    rate = MEAN_RATE * np.exp(OWN_SD * random.normal(size=machines) + wander)
    damage = np.cumsum(random.gamma(rate * exposure / JUMP, JUMP), axis=0)
    failed = np.argmax(damage >= 1.0, axis=0)
    used = np.cumsum(exposure, axis=0)
    shown = _shown(np.minimum(damage, 1.5), shape) + NOISE * random.normal(size=damage.shape)
    missing = random.random(damage.shape) < MISSING * random.random(machines)
    life = used[failed, np.arange(machines)]
    return Fleet(load, np.where(missing, np.nan, shown), used, life, failed)


def _shown(damage: Floats, shape: WearShape) -> Floats:
    match shape:
        case WearShape.LINEAR:
            return NEW + (LIMIT - NEW) * damage
        case WearShape.POWER:
            return NEW + (LIMIT - NEW) * np.asarray(damage**POWER)
        case WearShape.EXPONENTIAL:
            return np.asarray(NEW * (LIMIT / NEW) ** damage)


def declared(shape: WearShape, lives: Floats, *, shares: bool) -> AssetClass:
    """The class as its owner would declare it."""
    spread = float(np.log1p(lives.var() / lives.mean() ** 2))
    jumps, drift = (JUMP / spread, DRIFT_SD**2 / 3 / spread) if shares else (USUAL_JUMPS, USUAL_DRIFT)
    scale = WearScale(NEW, LIMIT, shape, POWER if shape == WearShape.POWER else 1.0)
    mode = FailureMode(
        "part",
        "Part",
        limit=Limit("indicator", above=LIMIT),
        expected_life=ExpectedLife(float(lives.mean()), float(lives.std())),
        wear=DeclaredWear(scale, NOISE, NOISE, jumps, drift),
    )
    return AssetClass(
        "machine",
        "Machine",
        (Sensor("load", "1", "Load", 0.0, 10.0), Sensor("indicator", "1", "Indicator")),
        ("load",),
        LifeStep("step", STEP_MS),
        1000.0,
        0,
        (mode,),
        stress=(Stress(StressLaw.INVERSE_POWER, ("load",), (1.0,), exponent=EXPONENT),),
    )


def step_of(fleet: Fleet, rows: NDArray[np.int64], number: int) -> Steps:
    count = len(rows)
    start = np.full(count, START_MS + number * STEP_MS)
    values = np.column_stack([fleet.load[number, rows], fleet.indicator[number, rows]])
    return Steps(rows, start, start + STEP_MS, np.ones(count), np.ones(count, dtype=np.int32), values)


def covered(asset_class: AssetClass, fleet: Fleet, ages: tuple[int, ...]) -> Iterator[tuple[int, dict[int, float]]]:
    """Share of the machines alive after each of these steps whose remaining life lies in the bands."""
    state = twin.start(asset_class, None, len(fleet.life))
    for number in range(max(ages) + 1):
        running = np.flatnonzero(fleet.failed >= number)
        twin.fold(asset_class, None, state, step_of(fleet, running, number))
        if number in ages:
            alive = np.flatnonzero(fleet.failed > number)
            said = forecast(asset_class, None, state, alive, np.ones(len(alive), dtype=np.bool_)).quantiles
            left = (fleet.life - fleet.used[number])[alive]
            bands = {
                level: float(((left >= said[:, low]) & (left <= said[:, -1 - low])).mean())
                for level, low in LEVELS.items()
            }
            yield number, bands


def coverage_figures(shape: WearShape, seeds: int, machines: int, *, shares: bool) -> list[Figure]:
    """Means over seeds, each with machines of its own."""
    found: dict[tuple[float, int], list[float]] = {}
    lives = simulate(shape, machines, 0).life
    asset_class = declared(shape, lives, shares=shares)
    for seed in range(1, seeds + 1):
        fleet = simulate(shape, machines, seed)
        mean = fleet.failed.mean()
        ages = {int(age * mean): age for age in AGES}
        for number, bands in covered(asset_class, fleet, tuple(ages)):
            for level, held in bands.items():
                found.setdefault((ages[number], level), []).append(held)
    name, bar = (shape.value, 2.0) if shares else (f"{shape.value} usual shares", None)
    return [
        _coverage(f"{name} {age:.0%} {level}", f"{level} % band at {age:.0%} of the mean life", held, level, bar)
        for (age, level), held in found.items()
    ]


def change_figures(shape: WearShape, seeds: int, machines: int) -> list[Figure]:
    """Forecasts one step after the load rose for good."""
    found: dict[int, list[float]] = {}
    fleet = simulate(shape, machines, 0)
    asset_class, changes = declared(shape, fleet.life, shares=True), int(CHANGE_AT * fleet.failed.mean())
    for seed in range(1, seeds + 1):
        (_, bands), *_ = covered(asset_class, simulate(shape, machines, seed, changes), (changes,))
        for level, held in bands.items():
            found.setdefault(level, []).append(held)
    return [
        _coverage(f"{shape.value} change {level}", f"{level} % band one step after the load rose", held, level, 3.0)
        for level, held in found.items()
    ]


def _coverage(name: str, what: str, held: list[float], level: int, points: float | None) -> Figure:
    off = abs(100 * float(np.mean(held)) - level)
    told = f"{what}: {np.mean(held):.1%} of {len(held)} fleets' truths"
    return Figure(name, f"off by, {told}", off, "points", points, "lower")


def cost_figures() -> list[Figure]:
    """What one step and one forecast cost a machine in a cohort of 1,000, and how large its twin is."""
    fleet = simulate(WearShape.EXPONENTIAL, TIMED, 1)
    asset_class = declared(WearShape.EXPONENTIAL, fleet.life, shares=True)
    state, rows = twin.start(asset_class, None, TIMED), np.arange(TIMED)
    made = [step_of(fleet, rows, number) for number in range(10 * ROUNDS)]
    fold = min(_timed(lambda part=part: _fold_all(asset_class, state, part)) for part in _tenths(made)) / 10
    every = np.ones(TIMED, dtype=np.bool_)
    said = min(_timed(lambda: forecast(asset_class, None, state, rows, every)) for _ in range(ROUNDS // 5))
    alone = twin.to_columns(state.take(rows[:1]), np.array(["M-1"], dtype=object))
    size = sum(column.nbytes for column in alone.values())
    return [
        Figure("fold", "one step of a machine, in a cohort of 1,000", 1e6 * fold / TIMED, "us", 2.0, "lower"),
        Figure("forecast", "one forecast of a machine, in a cohort of 1,000", 1e3 * said / TIMED, "ms", 0.3, "lower"),
        Figure("state", "a twin with one mode, without features", float(size), "bytes", 2048.0, "lower"),
    ]


def _tenths(made: list[Steps]) -> list[list[Steps]]:
    return [made[first : first + 10] for first in range(0, len(made), 10)]


def _fold_all(asset_class: AssetClass, state: Twin, made: list[Steps]) -> None:
    for steps in made:
        twin.fold(asset_class, None, state, steps)


def _timed(what: object) -> float:
    started = time.perf_counter()
    what()  # type: ignore[operator]
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--machines", type=int, default=1000)
    asked, started = parser.parse_args(), time.monotonic()
    figures = cost_figures()
    for shape in WearShape:
        figures += coverage_figures(shape, asked.seeds, asked.machines, shares=True)
        figures += change_figures(shape, asked.seeds, asked.machines)
        print(f"{shape.value}: {time.monotonic() - started:.0f} s", flush=True)
    figures += coverage_figures(WearShape.LINEAR, asked.seeds, asked.machines, shares=False)
    return 0 if write_report("declared_wear", figures, time.monotonic() - started) else 1


if __name__ == "__main__":
    sys.exit(main())
