"""How issued forecasts did once lives had ended, with bands by resampling lives.

Every life weighs the same, and forecasts count inside the horizon. Metrics of prognosis are those of Saxena et al.
2010, doi 10.36001/ijphm.2010.v1i1.1336; the probability integral transform is as in Gneiting et al. 2007, doi
10.1111/j.1467-9868.2007.00587.x.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.quantiles import failure_probability
from pdm.scoring import ROUNDS, score

Floats = NDArray[np.float64]

FEWEST_LIVES = 10
"""Fewer finished lives than this are too few to tell: figures have no band."""

ALPHA, BETA, LAMBDA = 0.2, 0.5, 0.5
"""Half of the probability within 20 % of the remaining life, at half of the life."""

HORIZON_ALPHA = 0.1
"""The same for the prognostic horizon: within 10 % of the whole life."""

BINS = 10
STATED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Judged(NamedTuple):
    """Forecasts of lives that ended in failure.

    Attributes:
        quantiles: `[m, 21]` of the remaining life at `LEVELS` [life steps].
        remaining, length: `[m]` what was left, and the whole life [life steps].
        life: `[m]` which life each is about.
    """

    quantiles: Floats
    remaining: Floats
    length: Floats
    life: NDArray[np.int64]

    def inside(self, horizon: float) -> "Judged":
        """Those that said something, with a truth inside the horizon."""
        counted = ~np.isnan(self.quantiles).any(axis=1) & (self.remaining >= 0) & (self.remaining <= horizon)
        return Judged(self.quantiles[counted], self.remaining[counted], self.length[counted], self.life[counted])


class Figure(NamedTuple):
    """A mean over lives with its 90 % band; the band is NaN where lives are too few to tell."""

    value: float
    low: float
    high: float


def figures(judged: Judged, horizon: float) -> dict[str, Figure]:
    """Every figure by name; empty without a life.

    `pinball_*` is the loss of a quantile, `alpha_lambda` the share of lives whose forecast at half of the life was
    right within 20 %, `prognostic_horizon` what was left when a forecast was first right within 10 % of the life.
    """
    counted = judged.inside(horizon)
    if not len(counted.life):
        return {}
    scores = score(judged.quantiles, judged.remaining, judged.life, horizon)
    names = ("coverage_50", "coverage_80", "coverage_90", "width_80", "crps", "nasa")
    per_life = {name: getattr(scores, name) for name in names}
    per_life |= {f"pinball_{level:.0%}"[:-1]: pinball(counted, horizon, level) for level in (0.1, 0.5, 0.9)}
    per_life |= {"alpha_lambda": alpha_lambda(counted), "prognostic_horizon": prognostic_horizon(counted)}
    return {name: banded(values) for name, values in per_life.items()}


def banded(values: Floats) -> Figure:
    """The mean of lives `[L]` without NaN, and its band by resampling (Efron 1979, doi 10.1214/aos/1176344552)."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Figure(np.nan, np.nan, np.nan)
    if len(known) < FEWEST_LIVES:
        return Figure(float(known.mean()), np.nan, np.nan)
    drawn = np.random.default_rng(0).integers(len(known), size=(ROUNDS, len(known)))
    low, high = np.quantile(known[drawn].mean(axis=1), (0.05, 0.95))
    return Figure(float(known.mean()), float(low), float(high))


def pinball(judged: Judged, horizon: float, level: float) -> Floats:
    """Loss of one quantile per life `[L]` [life steps] (Gneiting and Raftery 2007, doi 10.1198/016214506000001437)."""
    late = judged.remaining - np.minimum(judged.quantiles[:, quantile_index(level)], horizon)
    return per_life(judged, np.maximum(level * late, (level - 1.0) * late))


def alpha_lambda(judged: Judged) -> Floats:
    """Whether the forecast nearest to half of a life was right `[L]`; NaN where none was issued near it."""
    at = np.abs(1.0 - judged.remaining / judged.length - LAMBDA)
    right = _mass(judged, ALPHA * judged.remaining) >= BETA
    found = np.full(len(np.unique(judged.life)), np.nan)
    for number, life in enumerate(np.unique(judged.life)):
        mine = np.flatnonzero(judged.life == life)
        nearest = mine[np.argmin(at[mine])]
        if at[nearest] <= LAMBDA / 5:
            found[number] = right[nearest]
    return found


def prognostic_horizon(judged: Judged) -> Floats:
    """What was left of each life when a forecast was first right `[L]`, 0 where none was [life steps]."""
    right = _mass(judged, HORIZON_ALPHA * judged.length) >= BETA
    lives, member = np.unique(judged.life, return_inverse=True)
    found = np.zeros(len(lives))
    np.maximum.at(found, member, np.where(right, judged.remaining, 0.0))
    return found


def reliability(judged: Judged, horizon: float) -> list[tuple[float, Figure]]:
    """How often the truth lay below a quantile, for each stated probability."""
    counted = judged.inside(horizon)
    below = [counted.remaining <= counted.quantiles[:, quantile_index(level)] for level in STATED]
    return [(level, banded(per_life(counted, one))) for level, one in zip(STATED, below, strict=True)]


def transforms(judged: Judged, horizon: float) -> Floats:
    """Share of truths in each tenth of what was said `[10]`; all equal where forecasts are calibrated."""
    counted = judged.inside(horizon)
    at = failure_probability(counted.quantiles, counted.remaining)
    place = np.minimum((at * BINS).astype(np.int64), BINS - 1)
    return np.array([per_life(counted, place == number).mean() for number in range(BINS)])


def inside_band(quantiles: Floats, remaining: Floats) -> NDArray[np.bool_]:
    """Whether the truth lay in the band of four in five `[m]`."""
    low, high = quantiles[:, quantile_index(0.1)], quantiles[:, quantile_index(0.9)]
    return np.asarray((remaining >= low) & (remaining <= high))


def _mass(judged: Judged, tolerance: Floats) -> Floats:
    """Probability within this distance of the truth `[m]`."""
    edges = np.column_stack([judged.remaining - tolerance, judged.remaining + tolerance])
    below = failure_probability(judged.quantiles, edges)
    return np.asarray(below[:, 1] - below[:, 0])


def per_life(judged: Judged, values: NDArray[np.generic]) -> Floats:
    """Mean over the forecasts of each life `[L]`."""
    _, member, count = np.unique(judged.life, return_inverse=True, return_counts=True)
    return np.bincount(member, weights=values.astype(np.float64), minlength=len(count)) / count


def quantile_index(level: float) -> int:
    """Place of a level in `LEVELS`, the nearest one."""
    return MEDIAN if level == 0.5 else int(np.argmin(np.abs(LEVELS - level)))
