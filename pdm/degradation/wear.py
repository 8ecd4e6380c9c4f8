"""Declared wear: the belief about damage D (0 new, 1 at the limit) and log wear rate theta of one failure mode.

    wear        D' = D + e^theta dtau + sigma sqrt(dtau) e
    rate        theta' = theta + q sqrt(dtau) e'
    indicator   y = h(D) + v,  v ~ N(0, r)                      h by the shape: linear, power, exponential

tau is the exposure [life steps at the reference duty]. A Wiener process with drift (Whitmore 1995,
doi 10.1007/BF00985762), and log-linear signals (Gebraeel et al. 2005, doi 10.1080/07408170590929018). D and theta are
Gaussian with a 2x2 covariance that is kept by its entries, each an array over machines; the extended Kalman filter is
written out by entries, with no sum over machines and none of numpy's own exp or log, so that one machine and thousands
give the same bits.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import expm1, log, log1p, sqrt
from typing import NamedTuple

import numpy as np

from pdm.degradation.elementary import Floats, exp, power

FARTHEST = 4.0
"""A measured value further from what is expected counts as so far [standard deviations]: a spike is no wear."""

_WEAR_NOISE, _RATE_DRIFT = 0.10, 0.05
"""Shares of the variance of log life that come from jumps of wear, and from a rate that changes over life; the rest is
that machines differ."""

_LEAST_POWER = 1e-4
"""Damage below which a power of it is as good as zero."""


class WearShape(StrEnum):
    """How the indicator grows while damage grows evenly with exposure."""

    LINEAR = "linear"
    POWER = "power"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class WearPrior:
    """What is expected of a new machine.

    Attributes:
        log_rate, log_rate_sd: mean and standard deviation of theta [ln(1 / life step)].
        diffusion: sigma^2 [1 / life step].
        drift: q^2 [1 / life step].
    """

    log_rate: float
    log_rate_sd: float
    diffusion: float
    drift: float


@dataclass(frozen=True, slots=True)
class WearScale:
    """How damage shows: an indicator that is `new` at D = 0 and `limit` at D = 1 [unit of the indicator].

    Attributes:
        exponent: of the shape `power`.
    """

    new: float
    limit: float
    shape: WearShape = WearShape.LINEAR
    exponent: float = 1.0

    def share(self, value: Floats) -> Floats:
        """A measured value on the way from new (0) to the limit (1)."""
        return (value - self.new) / (self.limit - self.new)

    def noise(self, sd: float) -> float:
        """Variance of `share` where the value has this standard deviation."""
        return (sd / (self.limit - self.new)) ** 2


class Wear(NamedTuple):
    """The belief about one failure mode of each machine, `[n]` each: D, theta, and their covariance by entries."""

    damage: Floats
    log_rate: Floats
    var_damage: Floats
    covariance: Floats
    var_rate: Floats


def prior_of(mean: float, sd: float) -> WearPrior:
    """The prior under which lives have about this mean and standard deviation [life steps]."""
    # ln T has variance ln(1 + (sd/mean)^2), from three sources:   s^2 + sigma^2 mean + q^2 mean / 3
    spread = log1p((sd / mean) ** 2)
    own = (1 - _WEAR_NOISE - _RATE_DRIFT) * spread
    # E[T] = E[e^-theta] = e^(-m + s^2/2)
    return WearPrior(
        log_rate=(own + _RATE_DRIFT * spread) / 2 - log(mean),
        log_rate_sd=sqrt(own),
        diffusion=_WEAR_NOISE * spread / mean,
        drift=3 * _RATE_DRIFT * spread / mean,
    )


def new(prior: WearPrior, count: int) -> Wear:
    """The belief about `count` new machines."""
    zero = np.zeros(count)
    return Wear(zero, zero + prior.log_rate, zero, zero, zero + prior.log_rate_sd**2)


def predicted(wear: Wear, prior: WearPrior, exposure: Floats, unsure: Floats | float = 0.0) -> Wear:
    """After this exposure `[n]` [life steps], nothing measured.

    Args:
        unsure: variance of the exposure where nobody measured it [life steps^2].
    """
    rate = exp(wear.log_rate)
    # F = [[1, a], [0, 1]],  a = e^theta dtau;   P' = F P F^T + diag(sigma^2 dtau, q^2 dtau)
    a = rate * exposure
    grown = 2.0 * a * wear.covariance + a * a * wear.var_rate + prior.diffusion * exposure + rate * rate * unsure
    return Wear(
        damage=wear.damage + a,
        log_rate=wear.log_rate,
        var_damage=wear.var_damage + grown,
        covariance=wear.covariance + a * wear.var_rate,
        var_rate=wear.var_rate + prior.drift * exposure,
    )


def measured(wear: Wear, scale: WearScale, share: Floats, variance: float, farthest: float = FARTHEST) -> Wear:
    """After a value of the indicator `[n]`, NaN where there is none.

    Args:
        share: the value on the way from new (0) to the limit (1).
        variance: of its noise, on the same scale.
        farthest: see `FARTHEST`; infinite for what a person measured.
    """
    expected, slope = _shown(wear.damage, scale)
    # S = H P H^T + r,   K = P H^T / S,   x' = x + K (y - h),   P' = (I - K H) P
    s = slope * slope * wear.var_damage + variance
    reach = farthest * np.sqrt(s)
    surprise = np.clip(share - expected, -reach, reach)
    known = ~np.isnan(share)
    gain = np.where(known, slope / s, 0.0)
    surprise = np.where(known, surprise, 0.0)
    kept = np.where(known, variance / s, 1.0)
    return Wear(
        damage=wear.damage + gain * wear.var_damage * surprise,
        log_rate=wear.log_rate + gain * wear.covariance * surprise,
        var_damage=wear.var_damage * kept,
        covariance=wear.covariance * kept,
        var_rate=wear.var_rate - gain * slope * wear.covariance * wear.covariance,
    )


def _shown(damage: Floats, scale: WearScale) -> tuple[Floats, Floats]:
    """What the indicator should show, on the way from new to the limit, and its slope over damage."""
    match scale.shape:
        case WearShape.LINEAR:
            return damage, np.ones_like(damage)
        case WearShape.POWER:
            # h = D^b,   H = b D^(b-1)
            least = np.maximum(damage, _LEAST_POWER)
            shown = power(least, scale.exponent)
            return shown, scale.exponent * shown / least
        case WearShape.EXPONENTIAL:
            # y = new (limit/new)^D:   h = (e^(K D) - 1) / (e^K - 1),   H = K e^(K D) / (e^K - 1),   K = ln(limit/new)
            K = log(scale.limit / scale.new)
            grown, whole = exp(K * damage), expm1(K)
            return (grown - 1.0) / whole, K * grown / whole
