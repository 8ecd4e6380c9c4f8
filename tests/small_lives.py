"""Made-up frames and lives for tests of features and training: small, quick, the same every time."""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pdm.degradation.wear import WearScale
from pdm.features import FeatureState
from pdm.features.frame import Conditions, Frame
from pdm.learn import Life, train, train_watch
from pdm.plant import AssetClass, Costs, DeclaredWear, ExpectedLife, FailureMode, LifeStep, Limit, Sensor
from pdm.prognosis.learned import Model, Origin

FAN = AssetClass(
    name="fan",
    title="Fan",
    sensors=tuple(Sensor(name, "1", name) for name in ("load", "vibration", "temperature", "nameplate")),
    conditions=("load",),
    life_step=LifeStep("hour", 3_600_000),
    horizon=40.0,
    notice_ms=5 * 3_600_000,
    failure_modes=(FailureMode("belt", "Belt"), FailureMode("bearing", "Bearing")),
    costs=Costs(1.0, 5.0),
)
"""Vibration shows a belt that wears, temperature a bearing; both follow the load. The nameplate says nothing."""


WORN = replace(
    FAN,
    name="worn",
    sensors=(Sensor("depth", "1", "Depth"),),
    conditions=(),
    horizon=150.0,
    failure_modes=(
        FailureMode(
            "part",
            "Part",
            limit=Limit("depth", above=10.0),
            expected_life=ExpectedLife(300, 60),
            wear=DeclaredWear(WearScale(0.0, 10.0), noise=0.3, inspection_noise=0.3),
        ),
    ),
)
"""Its one sensor shows how far a machine is worn, and the class declares what that means."""


def fan_life(number: int, seed: int = 0) -> Life:
    """A fan that fails when its wear reaches 1: of the belt if the number is even, of the bearing otherwise."""
    random = np.random.default_rng([seed, number])
    length = int(random.integers(60, 120))
    wear = (np.arange(1, length + 1) / length) ** 2
    load = random.uniform(0.5, 1.5, length)
    belt = number % 2 == 0
    vibration = 2 + 3 * load + 8 * wear * belt + random.normal(0, 0.3, length)
    temperature = 20 + 10 * load + 15 * wear * (not belt) + random.normal(0, 1.0, length)
    columns = np.column_stack([load, vibration, temperature, np.full(length, 7.0)])
    return Life(f"F-{number}", columns, np.ones(length), failed=True, mode="belt" if belt else "bearing")


def fan_lives(count: int, seed: int = 0) -> list[Life]:
    return [fan_life(number, seed) for number in range(count)]


def worn_lives(count: int) -> list[Life]:
    """Machines that wear evenly, at rates of their own."""
    lives = []
    for number in range(count):
        random = np.random.default_rng([9, number])
        length = int(random.normal(300, 60))
        depth = 10 * np.arange(1, length + 1) / length + random.normal(0, 0.3, length)
        lives.append(Life(f"W-{number}", depth[:, None], np.ones(length), failed=True))
    return lives


@cache
def fan_model() -> Model:
    """A model of twenty fans."""
    return train(FAN, fan_lives(20), seed=3, origin=Origin.SIMULATED)


@cache
def fan_watch() -> Model:
    """A model of thirty fans that still run."""
    return train_watch(FAN, still_running(fan_lives(30)), seed=3, origin=Origin.SIMULATED)


def still_running(lives: list[Life], share: float = 0.8) -> list[Life]:
    """The lives as they were on record after this share of them."""
    return [
        replace(life, columns=life.columns[:count], share=life.share[:count], failed=False, mode=None)
        for life in lives
        for count in (int(share * len(life.columns)),)
    ]


def random_frame(seed: int, sensors: int = 3, conditions: int = 2, regimes: int = 1) -> Frame:
    """A frame of sensors behind conditions, with numbers out of a hat: regimes if more than one, else a surface."""
    random = np.random.default_rng(seed)
    surface = random.normal(size=(conditions * (conditions + 3) // 2, sensors)) if regimes == 1 else np.zeros((0, 0))
    return Frame(
        column_names=tuple(f"c{number}" for number in range(conditions + sensors)),
        kept=np.arange(conditions, conditions + sensors),
        conditions=Conditions(
            columns=np.arange(conditions),
            centre=random.normal(size=conditions),
            spread=random.uniform(0.5, 2.0, conditions),
            low=np.full(conditions, -3.0),
            high=np.full(conditions, 3.0),
            regimes=random.normal(size=(conditions, regimes)) if regimes > 1 else np.zeros((conditions, 1)),
            reach=np.inf,
            mean=random.normal(size=(sensors, regimes)),
            inverse_sd=random.uniform(0.5, 2.0, (sensors, regimes)),
            surface=surface,
        ),
        clip=8.0,
        projection=random.normal(size=(sensors, 5, regimes)),
        offset=random.normal(size=(5, regimes)),
        own_change=random.normal(size=sensors),
        own_start=random.normal(size=sensors),
        own_offset=0.3,
        scale=1.3,
    )


def plain_frame(sensors: int = 1, scale: float = 1.0) -> Frame:
    """A frame that takes every column as it is: no conditions, mean 0, standard deviation 1, health all zero."""
    none = np.zeros(0)
    return Frame(
        column_names=tuple(f"c{number}" for number in range(sensors)),
        kept=np.arange(sensors),
        conditions=Conditions(
            columns=np.zeros(0, dtype=np.int64),
            centre=none,
            spread=none,
            low=none,
            high=none,
            regimes=np.zeros((0, 1)),
            reach=np.inf,
            mean=np.zeros((sensors, 1)),
            inverse_sd=np.ones((sensors, 1)),
            surface=np.zeros((0, sensors)),
        ),
        clip=1e9,
        projection=np.zeros((sensors, 5, 1)),
        offset=np.zeros((5, 1)),
        own_change=np.zeros(sensors),
        own_start=np.zeros(sensors),
        own_offset=0.0,
        scale=scale,
    )


def steps_of(frame: Frame, seed: int, steps: int, assets: int) -> NDArray[np.float64]:
    """Steps `[steps, assets, k]` with some values missing."""
    random = np.random.default_rng(seed)
    made = random.normal(0.0, 3.0, (steps, assets, len(frame.column_names)))
    made[random.random(made.shape) < 0.05] = np.nan
    return made


def bits(state: FeatureState, *rows: int) -> bytes:
    """All that is remembered of some assets, of every one if none is named."""
    some = state.take(np.array(rows)) if rows else state
    return b"".join(column.tobytes() for column in some.to_columns().values())
