"""The life table of a class from the lives it has seen, those cut short included."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import CensoredData, ecdf

from pdm.degradation import Weibull
from pdm.features.frame import Floats

SHAPES = (0.2, 500.0)  # lives that are equal to the step would otherwise claim to know the hour
OUTLIVED = 0.1  # share of machines that may outlive all failures seen
FEWEST = 3  # failures, below which the shape is taken as if there were so many


DECLARED_COUNTS = 3.0
"""A declared life counts as so many failures: enough for a start, and outweighed by the first handful of real ones."""

_PLACES = (np.arange(20) + 0.5) / 20


def fit_life_table(lives: Floats, failed: NDArray[np.bool_], weight: Floats | None = None) -> Weibull:
    """Maximum-likelihood Weibull law of lives `[n]`, of which those not `failed` `[n]` were cut short alive.

    Each counts as `weight` `[n]` of a life, as one where there is none.

    Cohen (1965), Technometrics 7(4), doi 10.1080/00401706.1965.10490300. Needs at least one failure.
    """
    w = np.ones(len(lives)) if weight is None else weight
    t = lives / lives.max()  # powers of a share of the longest life cannot overflow
    log_t = np.log(t)
    ended = (w * log_t)[failed].sum() / w[failed].sum()

    def slope(k: float) -> float:
        # d ln L / dk = 0:   1/k + mean(ln t | failed) - sum(t^k ln t) / sum(t^k) = 0
        power = w * t**k
        return float(1 / k + ended - (power * log_t).sum() / power.sum())

    low, high = SHAPES
    shape = high if slope(high) > 0 else low if slope(low) < 0 else float(brentq(slope, low, high))
    # scale^k = sum(t^k) / failures
    return Weibull(shape, float(lives.max() * ((w * t**shape).sum() / w[failed].sum()) ** (1 / shape)))


def censoring_weights(failed: Floats, alive: Floats) -> Floats | None:
    """How much each life `[n]` that ended in failure counts, so that those cut short `[m]` are not missed.

    None where by the Kaplan-Meier curve (1958, doi 10.1080/01621459.1958.10501452) more than a tenth of the machines
    outlive every failure that was seen: nobody knows how long those last.

    Robins and Rotnitzky (1992), doi 10.1007/978-1-4757-1229-2_14.
    """
    if not len(alive):
        return np.ones(len(failed))
    if ecdf(CensoredData(failed, right=alive)).sf.evaluate(failed.max()) > OUTLIVED:
        return None
    # w = 1 / P(not cut short before t)
    uncut = ecdf(CensoredData(alive, right=failed)).sf.evaluate(np.nextafter(failed, 0.0))
    return np.asarray(1 / uncut, dtype=np.float64)


def of_few(law: Weibull, failures: int) -> Weibull:
    """The law with the shape that so many failures back: the likelihood finds few lives more alike than all are.

    Ross (1994), IEEE Transactions on Dielectrics and Electrical Insulation 1(2), equation 5 of arXiv 2209.14567. Meant
    for lives that all ended in failure; where some were cut short, failures are counted.
    """
    n = max(failures, FEWEST)
    # E k = k_true (n - 0.68) / (n - 2)
    return Weibull(max(law.shape * (n - 2) / (n - 0.68), SHAPES[0]), law.scale)


def pooled(declared: Weibull, lives: Floats, failed: NDArray[np.bool_]) -> Weibull:
    """A declared life after what the fleet has shown: lives `[n]`, of which those not `failed` `[n]` still ran.

    The declared law enters as lives of its own, at its quantiles (a data-augmentation prior: Bedrick et al. 1996,
    doi 10.1080/01621459.1996.10476713).
    """
    as_declared = declared.remaining(0.0, _PLACES)
    few = np.full(len(_PLACES), DECLARED_COUNTS / len(_PLACES))
    return fit_life_table(
        np.concatenate([as_declared, lives]),
        np.concatenate([np.ones(len(_PLACES), dtype=np.bool_), failed]),
        np.concatenate([few, np.ones(len(lives))]),
    )
