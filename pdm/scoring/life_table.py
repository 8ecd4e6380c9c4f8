"""The life table of a class from the lives it has seen, those cut short included."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from pdm.degradation import Weibull
from pdm.features.frame import Floats

SHAPES = (0.2, 50.0)  # a handful of nearly equal lives would otherwise claim to know the day


def fit_life_table(lives: Floats, failed: NDArray[np.bool_]) -> Weibull:
    """Maximum-likelihood Weibull law of lives `[n]`, of which those not `failed` `[n]` were cut short alive.

    Cohen (1965), Technometrics 7(4), doi 10.1080/00401706.1965.10490300. Needs at least one failure.
    """
    t = lives / lives.max()  # powers of a share of the longest life cannot overflow
    log_t = np.log(t)

    def slope(k: float) -> float:
        # d ln L / dk = 0:   1/k + mean(ln t | failed) - sum(t^k ln t) / sum(t^k) = 0
        power = t**k
        return float(1 / k + log_t[failed].mean() - (power * log_t).sum() / power.sum())

    low, high = SHAPES
    shape = high if slope(high) > 0 else low if slope(low) < 0 else float(brentq(slope, low, high))
    # scale^k = sum(t^k) / failures
    return Weibull(shape, float(lives.max() * ((t**shape).sum() / failed.sum()) ** (1 / shape)))
