"""Fit the spread of the remaining life around its expectation to forecasts of machines that were left out of training.

For an expectation p, forecasts near p count with a Gaussian kernel: the quantiles are p plus the weighted quantiles of
their errors. Machines that outlived the horizon have no error to show; they make up the probability beyond it.
"""

import numpy as np
from scipy.stats import norm

from pdm.features.frame import Floats
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.learned import Spread

ENTRIES = 251
KERNEL = 8 / 125  # standard deviation of the kernel [horizons]
LOW, HIGH = 2, 18  # levels 5 and 95 %: beyond them the tails follow a normal law
TAIL = np.abs(norm.ppf(LEVELS)) / norm.ppf(LEVELS[HIGH])


def fit_spread(expected: Floats, remaining: Floats, weights: Floats, horizon: float) -> Spread:
    """The table for forecasts `expected` `[r]` of lives that had `remaining` `[r]` left [life steps]."""
    order = np.argsort(remaining - expected, kind="stable")
    expected, remaining, weights = expected[order], remaining[order], weights[order]
    grid = np.linspace(0, horizon, ENTRIES)
    table = [_entry(p, expected, remaining, weights, horizon) for p in grid]
    return Spread(grid, np.array([quantiles for quantiles, _ in table]), np.array([share for _, share in table]))


def _entry(p: float, expected: Floats, remaining: Floats, weights: Floats, horizon: float) -> tuple[Floats, float]:
    """Quantiles `[21]` and the probability beyond the horizon at expectation p, from forecasts sorted by error."""
    distance = ((expected - p) / (KERNEL * horizon)) ** 2 / 2
    w = weights * np.exp(distance.min() - distance)  # the nearest forecast has a weight, however far it is
    w /= w.sum()
    inside = remaining < horizon
    beyond = float(w[~inside].sum())
    if not inside.any():
        return np.full(len(LEVELS), horizon), beyond
    middle = np.cumsum(w[inside]) - w[inside] / 2
    quantiles = p + np.interp(LEVELS, middle, (remaining - expected)[inside])
    quantiles[beyond > 1 - LEVELS] = horizon
    return np.maximum.accumulate(np.clip(_with_tails(quantiles), 0, horizon)), beyond


def _with_tails(q: Floats) -> Floats:
    """Quantiles below 5 and above 95 % continue the distance of that quantile to the median as in a normal law.

    So far out a few hundred machines say nothing of their own.
    """
    tails = q.copy()
    tails[:LOW] = q[MEDIAN] - (q[MEDIAN] - q[LOW]) * TAIL[:LOW]
    tails[HIGH + 1 :] = q[MEDIAN] + (q[HIGH] - q[MEDIAN]) * TAIL[HIGH + 1 :]
    return tails
