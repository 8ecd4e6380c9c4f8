"""By how much bands have to be widened so that they hold what they promise, from the lives that have ended since."""

from typing import NamedTuple

import numpy as np

from pdm.prognosis import MEDIAN
from pdm.scoring.track_record import (
    FEWEST_LIVES,
    Figure,
    Floats,
    Judged,
    banded,
    inside_band,
    per_life,
    quantile_index,
)

STATED = 0.8
WIDEST = 3.0
"""Bands that are wrong by more than this have a wrong median: wider ones would only hide that."""


class Widening(NamedTuple):
    """What the lives show.

    Attributes:
        factor: by which bands are widened, 1 where there is no cause.
        lives: how many failures with forecasts it rests on.
        coverage: how often truths lay in the 80 % bands before any widening, with its 90 % band.
    """

    factor: float
    lives: int
    coverage: Figure


def widening(judged: Judged, horizon: float, before: float) -> Widening:
    """The widening that forecasts without any (`judged`) would have needed.

    It begins where fewer truths lay in the 80 % band than chance explains, of lives that are enough to tell, and ends
    where the band holds again what it promises.

    Args:
        before: the factor in force.
    """
    counted = judged.inside(horizon)
    lives = len(np.unique(counted.life))
    if lives < FEWEST_LIVES:
        return Widening(before, lives, Figure(np.nan, np.nan, np.nan))
    coverage = banded(per_life(counted, inside_band(counted.quantiles, counted.remaining)))
    too_narrow = coverage.high < STATED if before == 1.0 else coverage.value < STATED
    return Widening(_needed(counted, lives) if too_narrow else 1.0, lives, coverage)


def _needed(judged: Judged, lives: int) -> float:
    """The factor that brings four in five truths into the band, each life weighing the same.

    A quantile of how far truths lay out, measured by the distance of the edge of the band from the median, as in split
    conformal prediction (Lei et al. 2018, doi 10.1080/01621459.2017.1307116), with lives for the exchangeable units.
    """
    _, member, count = np.unique(judged.life, return_inverse=True, return_counts=True)
    out, weight = _distance(judged), 1.0 / count[member]
    order = np.argsort(out)
    reached = np.cumsum(weight[order]) / weight.sum()
    place = int(np.searchsorted(reached, min(STATED * (lives + 1) / lives, 1.0)))
    return float(np.clip(out[order][min(place, len(out) - 1)], 1.0, WIDEST))


def _distance(judged: Judged) -> Floats:
    """How far each truth lies from the median, 1 at the edge of the 80 % band `[m]`; see `quantiles.widened`."""
    low, middle, high = (judged.quantiles[:, n] for n in (quantile_index(0.1), MEDIAN, quantile_index(0.9)))
    left = judged.remaining
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (left - middle) / (high - middle)
        below = np.log(left / middle) / np.log(low / middle)
    out = np.where(left > middle, above, below)
    return np.where(left == middle, 0.0, np.where(np.isnan(out), np.inf, out))
