"""Remaining exposure until damage first reaches 1, from the belief about damage and rate; and the earliest of several.

Given D and theta the remaining exposure is inverse Gaussian with mean (1-D)/v and shape (1-D)^2/sigma^2, v = e^theta
(Folks and Chhikara 1978, doi 10.1111/j.2517-6161.1978.tb01039.x). It is mixed over theta with 9 Gauss-Hermite nodes and
over D given theta with 5, D below 1 since the machine still runs.

A law of remaining life is kept as a `Law`: ln t and the normal score of P(T <= t) at points that span it, straight
between them, which is exact for a log-normal law.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc, erfcx, ndtr, ndtri

from pdm.degradation import Weibull
from pdm.degradation.elementary import Floats, exp, log
from pdm.degradation.wear import Wear, WearPrior

_RATE_NODES, _RATE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_DAMAGE_NODES, _DAMAGE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_SCORES = np.linspace(-6.0, 5.0, 34)
"""Where a law is looked at [standard deviations of ln t]."""

_LEAST_LEFT = 1e-9
"""Damage left of a machine that still runs although all that is known says that it should not."""

_TOGETHER = 64
"""Machines at a time: what the nodes and points of so many take fits the cache."""

_COMMON = 64
"""Points of the law of the earliest."""

_FARTHEST = 8.0


class Law(NamedTuple):
    """Remaining lives of a cohort.

    Attributes:
        log_life: `[n, k]` ln t, rising [ln life steps].
        score: `[n, k]` normal score of P(T <= t), rising.
    """

    log_life: Floats
    score: Floats

    def slower(self, factor: Floats) -> "Law":
        """The same lives in a unit of which each old one makes `factor` `[n]`."""
        return Law(self.log_life + log(factor)[:, None], self.score)

    def by(self, clock: Callable[[Floats], Floats]) -> "Law":
        """The same lives by another clock, which rises."""
        return Law(np.log(np.maximum(clock(np.exp(self.log_life)), 1e-300)), self.score)


def of_wear(wear: Wear, prior: WearPrior) -> Law:
    """The remaining exposure of machines that still run."""
    n = len(wear.damage)
    law = Law(np.empty((n, len(_SCORES))), np.empty((n, len(_SCORES))))
    for first in range(0, n, _TOGETHER):
        part = slice(first, first + _TOGETHER)
        law.log_life[part], law.score[part] = _of_wear(Wear(*(entry[part] for entry in wear)), prior)
    return law


def of_age(life: Weibull, age: Floats) -> Law:
    """The remaining life of machines of this age `[n]`, of whose wear nothing is known [life steps]."""
    scores = np.broadcast_to(_SCORES, (len(age), len(_SCORES)))
    return Law(log(np.maximum(life.remaining(age[:, None], ndtr(_SCORES)), 1e-300)), scores)


def quantiles(law: Law, levels: ArrayLike) -> Floats:
    """Remaining life `[n, q]` at probability levels `[q]` [life steps]."""
    wanted = np.broadcast_to(ndtri(np.asarray(levels)), (len(law.score), np.size(levels)))
    return np.exp(_between(law.score, law.log_life, wanted))


def earliest(laws: list[Law]) -> tuple[Law, Floats]:
    """The first of several independent failures, and how probably each is that one `[n, laws]` (rows sum to 1)."""
    if len(laws) == 1:
        return laws[0], np.ones((len(laws[0].score), 1))
    low = np.min([law.log_life[:, 0] for law in laws], axis=0)
    high = np.min([law.log_life[:, -1] for law in laws], axis=0)
    at = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _COMMON)
    # S(t) = prod S_m(t);   P(m first) = integral of S(t) dH_m(t),   H_m = -ln S_m
    hazard = np.array([_hazard(_between(law.log_life, law.score, at)) for law in laws])
    total = hazard.sum(axis=0)
    failed = -np.expm1(-total)
    rise = np.diff(hazard, axis=2, prepend=0.0)
    whole = rise.sum(axis=0)
    first = np.diff(failed, axis=1, prepend=0.0) * np.divide(rise, whole, out=np.zeros_like(rise), where=whole > 0)
    shares = first.sum(axis=2)
    return Law(at, _rising(ndtri(np.clip(failed, 1e-15, 1 - 1e-15)))), (shares / shares.sum(axis=0)).T


def _of_wear(wear: Wear, prior: WearPrior) -> tuple[Floats, Floats]:
    rate, left, weight = _nodes(wear, prior)
    # ln t of the points: around the mean and variance of the mixture, as if it were log-normal
    mean = left / rate
    first, second = (weight * mean).sum(axis=1), (weight * (mean**2 + prior.diffusion * mean / rate**2)).sum(axis=1)
    spread = np.log(np.maximum(second / first**2, 1.0 + 1e-6))
    log_life = (np.log(first) - spread / 2)[:, None] + np.sqrt(spread)[:, None] * _SCORES
    reached = _reached(np.exp(log_life)[:, None, :], rate[..., None], left[..., None], prior.diffusion)
    failed = (weight[..., None] * reached).sum(axis=1)
    return log_life, _rising(ndtri(np.clip(failed, 1e-15, 1 - 1e-15)))


def _nodes(wear: Wear, prior: WearPrior) -> tuple[Floats, Floats, Floats]:
    """Wear rates, damage left and weights `[n, 45]` of the mixture."""
    # the mean rate until the end:   theta + N(0, q^2 R / 3),   R the exposure that is left
    remaining = np.maximum(1.0 - wear.damage, 0.0) * exp(-wear.log_rate)
    variance = wear.var_rate + prior.drift * remaining / 3.0
    theta = wear.log_rate[:, None] + np.sqrt(variance)[:, None] * _RATE_NODES
    # D | theta ~ N(D + c/V (theta - mean), P - c^2/V), below 1
    slope = wear.covariance / variance
    centre = wear.damage[:, None] + slope[:, None] * (theta - wear.log_rate[:, None])
    sd = np.sqrt(np.maximum(wear.var_damage - slope * wear.covariance, 1e-18))[:, None]
    alive, centre, sd = _below_one(centre, sd)
    # damage left as log-normal with that mean and variance: like a normal law far from the limit, never below 0 at it
    mean = np.maximum(1.0 - centre, _LEAST_LEFT)
    relative = np.log1p((sd / mean) ** 2)
    left = np.exp((np.log(mean) - relative / 2)[..., None] + np.sqrt(relative)[..., None] * _DAMAGE_NODES)
    weight = (_RATE_WEIGHTS * alive)[..., None] * _DAMAGE_WEIGHTS
    shape = (len(theta), -1)
    rate = np.broadcast_to(exp(theta)[..., None], left.shape)
    weight = weight.reshape(shape)
    return rate.reshape(shape), left.reshape(shape), weight / weight.sum(axis=1, keepdims=True)


def _below_one(centre: Floats, sd: Floats) -> tuple[Floats, Floats, Floats]:
    """P(D < 1), and mean and standard deviation of D given that, for normal D."""
    # b = (1 - mean) / sd,  l = phi(b) / Phi(b):   E = mean - sd l,   Var = sd^2 (1 - b l - l^2)
    b = (1.0 - centre) / sd
    alive = np.maximum(ndtr(b), 1e-300)
    ratio = np.sqrt(2.0 / np.pi) / erfcx(np.clip(-b, -37.0, None) / np.sqrt(2.0))
    return alive, centre - sd * ratio, sd * np.sqrt(np.clip(1.0 - b * ratio - ratio**2, 1e-6, 1.0))


def _reached(life: Floats, rate: Floats, left: Floats, diffusion: float) -> Floats:
    """P(T <= t) of the inverse Gaussian law."""
    # Phi((v t - a)/(sigma sqrt t)) + e^(2 v a / sigma^2) Phi(-(v t + a)/(sigma sqrt t)), whose second term is
    # e^(-z^2/2) erfcx((v t + a)/(sigma sqrt(2 t))) / 2,  z = (v t - a)/(sigma sqrt t):  nothing overflows
    scale = 1.0 / np.sqrt(2.0 * diffusion * life)
    worn = rate * life
    z = (worn - left) * scale
    reached: Floats = 0.5 * erfc(-z) + 0.5 * np.exp(-z * z) * erfcx((worn + left) * scale)
    return reached


def _hazard(score: Floats) -> Floats:
    """-ln P(T > t), of normal scores."""
    return np.asarray(-np.log(ndtr(-np.clip(score, -_FARTHEST, _FARTHEST))))


def _rising(score: Floats) -> Floats:
    """Rising however rounding went."""
    return np.asarray(np.maximum.accumulate(score, axis=1) + 1e-9 * np.arange(score.shape[1]))


def _between(x: Floats, y: Floats, wanted: Floats) -> Floats:
    """Straight between points `[n, k]` and on beyond the ends, at `[n, q]`."""
    after: NDArray[np.int8] = np.zeros(wanted.shape, dtype=np.int8)
    for point in range(x.shape[1]):
        after += wanted >= x[:, point, None]
    segment = np.clip(after.astype(np.intp), 1, x.shape[1] - 1)
    x0, x1 = (np.take_along_axis(x, place, axis=1) for place in (segment - 1, segment))
    y0, y1 = (np.take_along_axis(y, place, axis=1) for place in (segment - 1, segment))
    found: Floats = y0 + (wanted - x0) / (x1 - x0) * (y1 - y0)
    return found
