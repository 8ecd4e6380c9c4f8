"""The law of remaining life that the 21 quantiles of a prognosis hold: probabilities, expectations, other quantiles.

Between two levels the distribution function is a straight line, starting at level 0 with no life left. Equal quantiles
are a jump. Beyond the last level (99.5 %) the life that is left is exponential, with the density that the last segment
ends with, so that the tail neither stops short nor sets in with a step.

Rows of NaN (a refused prognosis) give NaN everywhere.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdm.prognosis import LEVELS, MEDIAN

Floats = NDArray[np.float64]

_KNOT_LEVELS = np.concatenate([[0.0], LEVELS])  # distribution function at the knots: no life, then the quantiles
_TAIL = 1.0 - LEVELS[-1]  # probability beyond the last quantile


def failure_probability(quantiles: Floats, within: ArrayLike) -> Floats:
    """P(T <= within) for each row.

    Args:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps].
        within: one life for all, one per row `[n]`, or several per row `[n, t]` [life steps]; negative counts as 0.

    Returns:
        `[n]`, or `[n, t]`.
    """
    at, shape = _per_row(quantiles, within)
    return (1.0 - survival_and_excess(quantiles, at)[0]).reshape(shape)


def expected_excess(quantiles: Floats, beyond: ArrayLike) -> Floats:
    """E[(T - t)+]: the life that a replacement after t would throw away, exact under the law [life steps].

    Args:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps].
        beyond: t, one for all, one per row `[n]`, or several per row `[n, t]` [life steps]; negative counts as 0.

    Returns:
        `[n]`, or `[n, t]`.
    """
    at, shape = _per_row(quantiles, beyond)
    return survival_and_excess(quantiles, at)[1].reshape(shape)


def survival_and_excess(quantiles: Floats, at: Floats) -> tuple[Floats, Floats]:
    """P(T > t) and E[(T - t)+] together, for the price of one search.

    Args:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps].
        at: `[n, t]` lives, not negative [life steps].
    """
    knots, density, scale = _segments(quantiles)
    segment = _segment_of(quantiles, at)
    past = at - np.take_along_axis(knots, segment, axis=1)
    slope = np.take_along_axis(density, segment, axis=1)
    start = (1.0 - _KNOT_LEVELS)[segment]
    # within a segment   S(t) = S_k - f_k (t - x_k)          E(t) = E_k - S_k (t - x_k) + f_k (t - x_k)^2 / 2
    survival = start - slope * past
    excess = np.take_along_axis(_excess_at_knots(knots, scale), segment, axis=1) - (start + survival) / 2 * past
    # in the tail        S(t) = S_20 exp(-(t - x_20) / s)    E(t) = s S(t)
    row, column = np.nonzero(segment == len(LEVELS))
    tail = _TAIL * _decay(past[row, column], scale[row])
    survival[row, column] = tail
    excess[row, column] = scale[row] * tail
    return survival, excess


def quantile(quantiles: Floats, level: ArrayLike) -> Floats:
    """The remaining life that is reached with probability 1 - level [life steps].

    Args:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps].
        level: between 0 and 1 (excluded), one for all or several `[k]`.

    Returns:
        `[n]`, or `[n, k]`.
    """
    levels = np.asarray(level, dtype=np.float64)
    knots, _, scale = _segments(quantiles)
    wanted = np.atleast_1d(levels)
    segment = np.minimum(np.searchsorted(_KNOT_LEVELS, wanted, side="right") - 1, len(LEVELS) - 1)
    share = (np.minimum(wanted, LEVELS[-1]) - _KNOT_LEVELS[segment]) / np.diff(_KNOT_LEVELS)[segment]
    lives: Floats = knots[:, segment] + share * (knots[:, segment + 1] - knots[:, segment])
    # S_20 exp(-r / s) = 1 - level   =>   r = -s ln((1 - level) / S_20)
    lives += scale[:, None] * np.maximum(0.0, -np.log((1.0 - wanted) / _TAIL))
    return lives.reshape(lives.shape[:1] + levels.shape)


def mean(quantiles: Floats) -> Floats:
    """E[T] of each row, `[n]` [life steps]."""
    return expected_excess(quantiles, 0.0)


def widened(quantiles: Floats, factor: ArrayLike) -> Floats:
    """Quantiles around the same median, by this factor further from it; `1 / factor` undoes it.

    Args:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps].
        factor: one for all, or one per row `[n]`; 1 changes nothing.

    Returns:
        `[n, 21]`.
    """
    middle, by = quantiles[:, MEDIAN, None], np.asarray(factor, dtype=np.float64).reshape(-1, 1)
    # above the median   q' = m + k (q - m);   below it, where no life may be less than none,   q' = m (q / m)^k
    with np.errstate(divide="ignore", invalid="ignore"):
        below = middle * (quantiles / middle) ** by
    return np.where(quantiles > middle, middle + by * (quantiles - middle), np.where(middle > 0, below, quantiles))


def _per_row(quantiles: Floats, at: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
    """Lives as `[n, t]`, and the shape that the caller expects back."""
    lives = np.maximum(np.asarray(at, dtype=np.float64), 0.0)
    rows = len(quantiles)
    if lives.ndim < 2:
        return np.broadcast_to(lives, rows)[:, None], (rows,)
    return np.broadcast_to(lives, (rows, lives.shape[1])), (rows, lives.shape[1])


def _segments(quantiles: Floats) -> tuple[Floats, Floats, Floats]:
    """Knots `[n, 22]`, density from each knot on `[n, 22]` (0 for the tail) and scale of the tail `[n]`."""
    knots = np.concatenate([np.zeros((len(quantiles), 1)), quantiles], axis=1)
    width = np.diff(knots, axis=1)
    mass = np.broadcast_to(np.diff(_KNOT_LEVELS), width.shape)
    density = np.zeros_like(knots)
    np.divide(mass, width, out=density[:, :-1], where=width != 0)
    # the exponential goes on with the density of the last segment:   S_20 / s = f_20
    scale = _TAIL / mass[:, -1] * width[:, -1]
    return knots, density, scale


def _segment_of(quantiles: Floats, at: Floats) -> NDArray[np.intp]:
    """How many quantiles `at` has reached, which is the segment that it lies in, `[n, t]`."""
    segment = np.zeros(at.shape, dtype=np.int8)
    for level in range(quantiles.shape[1]):
        segment += at >= quantiles[:, level, None]
    return segment.astype(np.intp)


def _excess_at_knots(knots: Floats, scale: Floats) -> Floats:
    """E[(T - x)+] at each knot `[n, 22]`: the tail, then the trapezoids of the survival function from the right."""
    survival = 1.0 - _KNOT_LEVELS
    area = np.diff(knots, axis=1) * (survival[1:] + survival[:-1]) / 2
    excess = np.empty_like(knots)
    excess[:, -1] = scale * _TAIL
    excess[:, :-1] = excess[:, -1:] + np.cumsum(area[:, ::-1], axis=1)[:, ::-1]
    return excess


def _decay(past: Floats, scale: Floats) -> Floats:
    """exp(-past / scale); a scale of 0 leaves nothing beyond the last quantile."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, np.exp(-past / scale), 0.0)
