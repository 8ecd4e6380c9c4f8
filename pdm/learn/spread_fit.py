"""Fit the spread of the remaining life around its estimate to forecasts of machines that were left out of training.

For an estimate p, forecasts near p count with a Gaussian kernel: the quantiles are p plus the weighted quantiles of
their errors, all in the unit of the target. Machines that outlived its cap have no error to show; they make up the
probability beyond it.
"""

from dataclasses import replace

import numpy as np
from scipy.stats import norm, t

from pdm.features.frame import Floats
from pdm.learn.lives import FEW
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.forests import Spread, Target

ENTRIES = 251
KERNEL = 8 / 125  # standard deviation of the kernel [target of the horizon]
FARTHEST = 2.0  # estimates up to here are told apart [horizons]
LOW, HIGH = 2, 18  # levels 5 and 95 %: beyond them the tails follow a normal law
TAIL = np.abs(norm.ppf(LEVELS)) / norm.ppf(LEVELS[HIGH])


def fit_spread(
    expected: Floats, remaining: Floats, weights: Floats, target: Target, horizon: float, lives: int = FEW
) -> Spread:
    """The table for estimates `expected` `[r]` [unit of the target] of lives that had `remaining` `[r]` left
    [life steps].

    From few machines errors far and near count more alike, and their mean counts less: it is mostly chance.
    """
    error = target.of(remaining) - expected
    order = np.argsort(error, kind="stable")
    expected, remaining, error, weights = expected[order], remaining[order], error[order], weights[order]
    end, width = target.of(np.array([FARTHEST, 1.0]) * horizon)
    reach = min(target.cap, horizon)
    quantiles, beyond = np.empty((ENTRIES, len(LEVELS))), np.empty(ENTRIES)
    grid, known = np.linspace(0, end, ENTRIES), remaining < target.cap
    kernel, chance = KERNEL * width * max(1.0, FEW / lives), max(0.0, 1 - lives / FEW)
    for entry, p in enumerate(grid):
        distance = ((expected - p) / kernel) ** 2 / 2
        w = weights * np.exp(distance.min() - distance)  # the nearest forecast has a weight, however far it is
        w /= w.sum()
        beyond[entry] = w[remaining >= reach].sum()
        value = np.full(len(LEVELS), np.inf)
        if known.any():
            middle = np.cumsum(w[known]) - w[known] / 2
            value = p - chance * (w * error).sum() + np.interp(LEVELS, middle, error[known])
        q = target.life(value)
        q[beyond[entry] > 1 - LEVELS] = reach
        quantiles[entry] = np.maximum.accumulate(np.clip(_with_tails(q), 0, reach))
    return Spread(grid, quantiles, beyond)


def widened(spread: Spread, lives: int, reach: float) -> Spread:
    """The table as so many machines back it: Student's law in place of the normal one, and a mean that is uncertain.

    Student (1908), doi 10.1093/biomet/6.1.1.
    """
    outer = np.arange(len(LEVELS)) != MEDIAN
    factor = np.ones(len(LEVELS))
    # t(level, n - 1) / z(level) sqrt(1 + 1/n)
    levels = LEVELS[outer]
    factor[outer] = t.ppf(levels, max(lives - 1, 1)) / norm.ppf(levels) * np.sqrt(1 + 1 / lives)
    middle = spread.quantiles[:, MEDIAN, None]
    quantiles = np.clip(middle + (spread.quantiles - middle) * factor, 0, reach)
    return replace(spread, quantiles=np.maximum.accumulate(quantiles, axis=1))


def _with_tails(q: Floats) -> Floats:
    """Quantiles below 5 and above 95 % continue the distance of that quantile to the median as in a normal law.

    So far out a few hundred machines say nothing of their own.
    """
    tails = q.copy()
    tails[:LOW] = q[MEDIAN] - (q[MEDIAN] - q[LOW]) * TAIL[:LOW]
    tails[HIGH + 1 :] = q[MEDIAN] + (q[HIGH] - q[MEDIAN]) * TAIL[HIGH + 1 :]
    return tails
