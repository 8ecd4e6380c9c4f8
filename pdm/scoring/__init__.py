"""How right forecasts and alerts were, judged on lives that have ended. Every life weighs the same.

A forecast is scored where a date is worth anything: with a true remaining life up to the horizon, and with both the
forecast and the truth clipped to it. Costs of decisions are in `pdm.scoring.policies`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.prognosis import LEVELS, MEDIAN, from_life_table
from pdm.scoring.life_table import fit_life_table
from pdm.scoring.policies import FinishedLife

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FEWEST_SURVIVORS = 10
"""Fewer lives than this that reached an age say less about the rest than the Weibull law of all."""

ROUNDS = 2000
"""Resamples of a bootstrap."""

_EDGES = np.concatenate([[0.0], (LEVELS[1:] + LEVELS[:-1]) / 2, [1.0]])
_WEIGHTS = np.diff(_EDGES)  # the share of levels that is nearest to each of the 21


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over lives of the means over the forecasts of each.

    Attributes:
        lives, forecasts: how many were scored.
        coverage_50, coverage_80, coverage_90: how often the truth lay within the band of that probability.
        width_80: of the 80 % band [life steps].
        crps: continuous ranked probability score [life steps].
        rmse: of the median [life steps].
        nasa: asymmetric score of the median, late is worse (see `nasa_score`).
    """

    lives: int
    forecasts: int
    coverage_50: float
    coverage_80: float
    coverage_90: float
    width_80: float
    crps: float
    rmse: float
    nasa: float


@dataclass(frozen=True, slots=True)
class LifeScores:
    """The same per life `[L]`, to resample by `bootstrap`; `squared_error` is the mean square of the median's error."""

    life: NDArray[Any]
    forecasts: NDArray[np.int64]
    coverage_50: Floats
    coverage_80: Floats
    coverage_90: Floats
    width_80: Floats
    crps: Floats
    squared_error: Floats
    nasa: Floats

    def mean(self) -> Scores:
        """Over lives; NaN without any."""
        names = ("coverage_50", "coverage_80", "coverage_90", "width_80", "crps", "nasa")
        means = {name: _mean(getattr(self, name)) for name in names}
        rmse = float(np.sqrt(_mean(self.squared_error)))
        return Scores(lives=len(self.life), forecasts=int(self.forecasts.sum()), rmse=rmse, **means)


@dataclass(frozen=True, slots=True)
class AlertOutcomes:
    """What became of alerts.

    Attributes:
        lead: `[a]` life between the opening of each alert and the failure [life steps].
        false_alarm: `[a]` opened at more than twice the rule's horizon before the failure.
        missed: `[L]` failures with no alert open, or with one opened later than the notice before.
    """

    lead: Floats
    false_alarm: Flags
    missed: Flags


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure with its standard error and its 90 % band, by resampling lives."""

    value: float
    standard_error: float
    low: float
    high: float


def score(issued: Floats, remaining: Floats, life: NDArray[Any], horizon: float) -> LifeScores:
    """Score forecasts against outcomes.

    Args:
        issued: `[m, 21]` quantiles of the remaining life at `LEVELS` [life steps]; refused rows (NaN) do not count.
        remaining: `[m]` true remaining life at that time [life steps]; NaN where it has not ended.
        life: `[m]` which life each belongs to.
        horizon: rows with a longer true remaining life do not count [life steps].
    """
    counted = ~np.isnan(issued).any(axis=1) & (remaining >= 0) & (remaining <= horizon)
    quantiles, truth = np.minimum(issued[counted], horizon), remaining[counted]
    lives, member = np.unique(life[counted], return_inverse=True)
    forecasts = np.bincount(member, minlength=len(lives))

    def per_life(values: Floats) -> Floats:
        return np.bincount(member, weights=values, minlength=len(lives)) / np.maximum(forecasts, 1)

    low, high = (quantiles[:, _level(level)] for level in (0.1, 0.9))
    error = quantiles[:, MEDIAN] - truth
    return LifeScores(
        life=lives,
        forecasts=forecasts,
        coverage_50=per_life(_covered(quantiles, truth, 0.5)),
        coverage_80=per_life(_covered(quantiles, truth, 0.8)),
        coverage_90=per_life(_covered(quantiles, truth, 0.9)),
        width_80=per_life(high - low),
        crps=per_life(crps(quantiles, truth)),
        squared_error=per_life(error**2),
        nasa=per_life(nasa_score(error, horizon)),
    )


def crps(quantiles: Floats, truth: Floats) -> Floats:
    """Continuous ranked probability score `[m]` of quantiles `[m, 21]` [life steps].

    Twice the integral of the pinball loss over all levels (Gneiting and Raftery 2007, doi 10.1198/016214506000001437,
    section 4.2), each of the 21 standing for the levels nearest to it.
    """
    # CRPS = 2 integral over p of (1{y <= q_p} - p) (q_p - y)
    late = truth[:, None] - quantiles
    loss = np.maximum(LEVELS * late, (LEVELS - 1.0) * late)
    return np.asarray(2.0 * loss @ _WEIGHTS, dtype=np.float64)


def clipped_crps(quantiles: Floats, truth: Floats, life: NDArray[np.intp], horizon: float) -> Floats:
    """CRPS of each life, forecast and truth clipped to the horizon [life steps].

    Who speaks is chosen by it. Unlike `score` it also counts truths beyond the horizon: whoever always says "soon"
    would win otherwise.
    """
    loss = crps(np.minimum(quantiles, horizon), np.minimum(truth, horizon))
    _, member = np.unique(life, return_inverse=True)
    return np.asarray(np.bincount(member, weights=loss) / np.bincount(member), dtype=np.float64)


def nasa_score(error: Floats, horizon: float) -> Floats:
    """Asymmetric score of errors (forecast minus truth), late forecasts weighing more.

    Saxena et al. 2008, doi 10.1109/PHM.2008.4711414, written for a horizon of 125 cycles; its constants scale with the
    horizon, so that lives counted in thousands of hours have a score too.
    """
    # exp(-d / 13) - 1 for d < 0,   exp(d / 10) - 1 otherwise
    d = error * 125.0 / horizon
    return np.asarray(np.expm1(np.where(d < 0, -d / 13.0, d / 10.0)), dtype=np.float64)


def age_only(lived: Floats, age: Floats) -> Floats:
    """The forecast `[m, 21]` of somebody who knows nothing but how long other machines lived [life steps].

    Quantiles of those lives that reached the age; where they are few, of the Weibull law of all lives given the age.

    Args:
        lived: `[n]` finished lives of other machines [life steps].
        age: `[m]` [life steps].
    """
    lives = np.sort(lived)
    dead = np.searchsorted(lives, age, side="right")
    place = dead[:, None] + LEVELS * (len(lives) - 1 - dead)[:, None]
    table = np.interp(place, np.arange(len(lives)), lives) - age[:, None]
    law = from_life_table(fit_life_table(lives, np.ones(len(lives), dtype=np.bool_)), age)
    return np.where((len(lives) - dead)[:, None] >= FEWEST_SURVIVORS, table, law)


def alert_outcomes(
    life: NDArray[np.intp],
    opened_ms: NDArray[np.int64],
    closed_ms: NDArray[np.int64],
    lives: Sequence[FinishedLife],
    notice_ms: int,
    rule_horizon: float,
) -> AlertOutcomes:
    """Judge the alerts of one rule against the failures that followed.

    Args:
        life: `[a]` index in `lives` of each alert.
        opened_ms, closed_ms: `[a]` plant time; -1 while it is open.
        lives: that ended in failure `[L]`.
        notice_ms: how long before the failure an alert must have opened to be of use.
        rule_horizon: how far the rule looks ahead [life steps].
    """
    failed_ms = np.array([one.failed_ms for one in lives], dtype=np.int64)[life]
    lead = np.array([lives[i].length - lives[i].age_at(at) for i, at in zip(life, opened_ms, strict=True)], dtype=float)
    useful = (failed_ms - opened_ms >= notice_ms) & ((closed_ms < 0) | (closed_ms >= failed_ms))
    warned = np.bincount(life[useful], minlength=len(lives)) > 0
    return AlertOutcomes(lead=lead, false_alarm=lead > 2 * rule_horizon, missed=~warned)


def bootstrap(statistic: Callable[[NDArray[np.intp]], float], lives: int, seed: int = 0) -> Spread:
    """Resample lives, since the forecasts of one life are not independent of each other.

    Efron 1979, doi 10.1214/aos/1176344552.

    Args:
        statistic: the figure of these lives (indices, some several times).
        lives: how many there are, at least one.
    """
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(lives, size=lives)) for _ in range(ROUNDS)])
    low, high = np.quantile(drawn, (0.05, 0.95))
    return Spread(statistic(np.arange(lives)), float(np.std(drawn, ddof=1)), float(low), float(high))


def _covered(quantiles: Floats, truth: Floats, probability: float) -> Floats:
    low, high = _level(0.5 - probability / 2), _level(0.5 + probability / 2)
    return ((truth >= quantiles[:, low]) & (truth <= quantiles[:, high])).astype(np.float64)


def _level(level: float) -> int:
    """Index in `LEVELS`."""
    return int(np.argmin(np.abs(LEVELS - level)))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else np.nan
