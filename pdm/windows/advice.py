"""When to maintain each machine of a cohort: prices, candidate starts and windows, and which of them people see."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pdm.degradation import Weibull
from pdm.durations import HOUR_MS
from pdm.plant import AssetClass, Costs, FailureMode, Plant
from pdm.plant.calendars import feasible_starts
from pdm.prognosis import MEDIAN, Prognosis
from pdm.prognosis.learned import Model
from pdm.windows import Prices, Terms, Windows, long_run_cost_rate, materially_different, plan_windows
from pdm.windows.intervention import mode_of

CANDIDATES = 200
"""How many starts are compared at most."""

_TOGETHER = 1_024
"""So many machines are compared at a time: all of their candidates stay in the cache."""

LONGEST_REACH_HOURS = 3 * 366 * 24
"""Nobody plans work further ahead than this, however slowly a machine uses up its life [h]."""


def windows_of(
    plant: Plant,
    asset_class: AssetClass,
    model: Model | None,
    prognosis: Prognosis,
    duty_rate: NDArray[np.float64],
    now_ms: int,
) -> Windows:
    """The priced window of every machine of a class at plant time `now_ms`.

    Args:
        duty_rate: `[n]` life used per hour of plant time [life steps/h].
    """
    # the duty of a machine at rest fades, but never to zero: it rests if it uses up no life step in all that time
    duty_rate = np.where(duty_rate * LONGEST_REACH_HOURS < 1.0, 0.0, duty_rate)
    if not (duty_rate > 0).any():
        return Windows.none(len(duty_rate))
    reach_ms = _reach_hours(asset_class.horizon, duty_rate) * HOUR_MS
    every_ms = -(-reach_ms // (CANDIDATES * HOUR_MS)) * HOUR_MS
    begin = now_ms + asset_class.notice_ms
    calendar = plant.calendar_of(asset_class)
    terms = Terms(asset_class.notice_ms, asset_class.horizon, asset_class.risk_cap)
    prices = prices_of(asset_class, life_table(asset_class, model), prognosis)
    durations = np.array([mode.duration_ms for mode in _modes(asset_class)])[likely_mode(prognosis) + 1]
    windows = Windows.none(len(duty_rate))
    for duration_ms in np.unique(durations).tolist():
        alike = np.flatnonzero(durations == duration_ms)
        starts = feasible_starts(calendar, plant.time_zone, begin, begin + reach_ms, duration_ms, every_ms)
        for first in range(0, len(alike), _TOGETHER):
            rows = alike[first : first + _TOGETHER]
            quantiles = prognosis.quantiles[rows]
            windows.put(rows, plan_windows(quantiles, duty_rate[rows], prices.take(rows), terms, now_ms, starts))
    return windows


def prices_of(asset_class: AssetClass, life: Weibull | None, prognosis: Prognosis) -> Prices:
    """Prices per machine: those of its likely failure mode where that declares any, else those of the class."""
    nothing = Costs(np.nan, np.nan)
    declared = [mode.costs or asset_class.costs or nothing for mode in _modes(asset_class)]
    table = np.array([[c.planned, c.unplanned, _life_price(life, c)] for c in declared])
    prices = table[likely_mode(prognosis) + 1]
    return Prices(prices[:, 0], prices[:, 1], prices[:, 2])


def likely_mode(prognosis: Prognosis) -> NDArray[np.int64]:
    """Index of the failure mode that most likely comes first `[n]`, -1 where that is not known."""
    known = np.isfinite(prognosis.mode).all(axis=1) & (prognosis.mode.shape[1] > 0)
    best = np.argmax(np.nan_to_num(prognosis.mode), axis=1) if prognosis.mode.shape[1] else np.zeros(len(known), int)
    return np.where(known, best, -1)


def life_table(asset_class: AssetClass, model: Model | None) -> Weibull | None:
    """The life of a machine of this class: as learned, else as declared."""
    if model is not None and model.head is not None:
        return model.head.life
    declared = asset_class.expected_life
    return None if declared is None else Weibull.from_moments(declared.mean, declared.sd)


def published(
    before: Windows, now: Windows, prognosis: Prognosis, in_service: NDArray[np.bool_], now_ms: int
) -> Windows:
    """What the feed shows: the window of before until it differs materially.

    A window stays when the next one is not to be had for the moment, as long as the machine more likely than not
    fails within the horizon; so one that is near the horizon does not come and go.
    """
    found = (now.preferred_ms >= 0) & in_service
    far = ~found & ~(prognosis.quantiles[:, MEDIAN] < prognosis.horizon)
    shown = before.replaced(far | ~in_service, Windows.none(len(before)))
    passed = (shown.preferred_ms >= 0) & (shown.preferred_ms < now_ms)
    fresh = found & (passed | materially_different(shown, now, now_ms))
    return shown.replaced(fresh, now)


def _modes(asset_class: AssetClass) -> list[FailureMode]:
    """What is worked on where `likely_mode` is -1, 0, 1, ..."""
    return [mode_of(asset_class, likely) for likely in range(-1, len(asset_class.failure_modes))]


def _reach_hours(horizon: float, duty_rate: NDArray[np.float64]) -> int:
    """How far ahead starts are compared [h], for machines of these duties `[n]` [life steps/h]."""
    # those that hardly run say nothing of how far to look for the others:   horizon / duty >= longest
    moving = duty_rate[duty_rate * LONGEST_REACH_HOURS > horizon]
    if not len(moving):
        return LONGEST_REACH_HOURS
    # far enough for a machine that runs two thirds as much as the usual one
    return min(int(1.5 * horizon / np.median(moving)) + 1, LONGEST_REACH_HOURS)


def _life_price(life: Weibull | None, costs: Costs) -> float:
    return np.nan if life is None or np.isnan(costs.planned) else _cost_rate(life, costs)


@lru_cache(maxsize=256)
def _cost_rate(life: Weibull, costs: Costs) -> float:
    return long_run_cost_rate(life, costs.planned, costs.unplanned)
