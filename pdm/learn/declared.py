"""What would be said of finished lives without a model: by declared wear or a declared life, as the service says it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdm import twin
from pdm.durations import DAY_MS
from pdm.features.frame import Floats
from pdm.learn.lives import Life
from pdm.plant import AssetClass, Stress
from pdm.plant.exposure import stress_of
from pdm.prognosis import LEVELS
from pdm.prognosis.forecast import forecast
from pdm.steps import Steps, joined


def say_declared(
    asset_class: AssetClass, lives: Sequence[Life], life: NDArray[np.intp], age: NDArray[np.int64]
) -> Floats:
    """Quantiles `[r, 21]` of the remaining life, of a class that declares something to forecast by.

    Args:
        life: `[r]` which of the lives, each seen from its start.
        age: `[r]` how many of its steps came before the one after which it is said.
    """
    said = np.empty((len(life), len(LEVELS)))
    twins = twin.start(asset_class, None, len(lives))
    steps = joined([_steps(asset_class, one, row) for row, one in enumerate(lives)])
    for number, turn in enumerate(twin.in_turns(steps)):
        twin.fold(asset_class, None, twins, steps if turn is None else steps.take(turn))
        here = np.flatnonzero(age == number)
        if len(here):
            seen = np.ones(len(here), dtype=np.bool_)
            said[here] = forecast(asset_class, None, twins, life[here], seen).quantiles
    return said


def exposure(asset_class: AssetClass, life: Life, laws: tuple[Stress, ...]) -> float:
    """How much of its life a machine used by other laws of stress than that of its class [life steps]."""
    stress = stress_of(asset_class, laws, life.columns)
    ran = _steps(asset_class, life, 0).share
    known = ~np.isnan(stress)
    usual = float(np.average(stress[known], weights=ran[known])) if ran[known].sum() > 0 else 1.0
    return float((ran * np.where(known, stress, usual)).sum())


def end_times(asset_class: AssetClass, life: Life) -> NDArray[np.int64]:
    """When each step ended `[L]` [ms]; without times they follow each other, and one without a duration is a day."""
    step_ms = asset_class.life_step.duration_ms or DAY_MS
    return life.end_ms if life.end_ms is not None else step_ms * np.arange(1, len(life.share) + 1)


def _steps(asset_class: AssetClass, life: Life, row: int) -> Steps:
    """The steps that a life was made of, but for those in which the machine did not run."""
    count, end_ms = len(life.share), end_times(asset_class, life)
    stress = stress_of(asset_class, asset_class.stress, life.columns)
    share = life.share / np.where(stress > 0, stress, 1.0)  # NaN is not above 0
    start_ms = end_ms - (asset_class.life_step.duration_ms or 0)
    return Steps(np.full(count, row), start_ms, end_ms, share, np.ones(count, dtype=np.int32), life.columns)
