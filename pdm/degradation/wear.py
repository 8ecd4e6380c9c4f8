"""Declared wear: the belief about damage D (0 new, 1 at the limit) and log wear rate theta of one failure mode.

    wear        D' = D + e^theta dtau + sigma sqrt(dtau) e
    rate        theta' = theta + q sqrt(dtau) e'
    indicator   y = h(D) + v,  v ~ N(0, r)                      h by the shape: linear, power, exponential

tau is the exposure [life steps at the reference duty]. A Wiener process with drift (Whitmore 1995,
doi 10.1007/BF00985762), and log-linear signals (Gebraeel et al. 2005, doi 10.1080/07408170590929018). D and theta are
Gaussian with a 2x2 covariance that is kept by its entries, each an array over machines; the extended Kalman filter is
written out by entries, with no sum over machines and none of numpy's own exp or log, so that one machine and thousands
give the same bits.

The filter takes the rate v = e^theta by the mean and variance of its log-normal law, in which the damage is linear:

    E[v] = e^(theta + V/2)      Var[v] / E[v]^2 = e^V - 1      Cov[D, v] / E[v] = Cov[D, theta]

Linearised in theta instead, it trusts what it has seen too much where a machine turns out slower than expected.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import expm1, log1p, sqrt
from math import log as ln
from typing import NamedTuple

import numpy as np

from pdm.degradation.elementary import Floats, exp, log, power

FARTHEST = 4.0
"""A measured value further from what is expected counts as so far [standard deviations]: a spike is no wear."""

USUAL_JUMPS, USUAL_DRIFT = 0.10, 0.05
"""Shares of the variance of log life that come from jumps of wear, and from a rate that changes over life, where none
are declared; the rest is that machines differ."""

_LEAST_RATE = 0.1
"""One value lowers the rate at most to this share: it stays above 0."""

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


def prior_of(mean: float, sd: float, jumps: float = USUAL_JUMPS, drift: float = USUAL_DRIFT) -> WearPrior:
    """The prior under which lives have about this mean and standard deviation [life steps].

    Args:
        jumps, drift: shares of the variance of log life that come from jumps of wear, and from a rate that changes.
    """
    # ln T has variance ln(1 + (sd/mean)^2), from three sources:   s^2 + sigma^2 mean + q^2 mean / 3
    spread = log1p((sd / mean) ** 2)
    own = (1 - jumps - drift) * spread
    # E[T] = E[e^-theta] = e^(-m + s^2/2)
    return WearPrior(
        log_rate=(own + drift * spread) / 2 - ln(mean),
        log_rate_sd=sqrt(own),
        diffusion=jumps * spread / mean,
        drift=3 * drift * spread / mean,
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
    rate, varies = exp(wear.log_rate + 0.5 * wear.var_rate), exp(wear.var_rate) - 1.0
    # D' = D + a,   P' = P + 2 a c + a^2 w + sigma^2 dtau,   c' = c + a w;   a = E[v] dtau,   w = Var[v] / E[v]^2
    a = rate * exposure
    grown = 2.0 * a * wear.covariance + a * a * varies + prior.diffusion * exposure + rate * rate * unsure
    return Wear(
        damage=wear.damage + a,
        log_rate=wear.log_rate,
        var_damage=wear.var_damage + grown,
        covariance=wear.covariance + a * varies,
        var_rate=wear.var_rate + prior.drift * exposure,
    )


def measured(wear: Wear, scale: WearScale, share: Floats, variance: float, farthest: float = FARTHEST) -> Wear:
    """After a value of the indicator `[n]`, NaN where there is none.

    Args:
        share: the value on the way from new (0) to the limit (1).
        variance: of its noise, on the same scale.
        farthest: see `FARTHEST`; infinite for what a person measured.
    """
    expected, slope = shown(wear.damage, scale)
    # S = H^2 P + r,   g = H / S;   D' = D + g P (y - h),   v' = v (1 + g c (y - h)),   P' = P r / S,
    # Cov' = Cov r / S,   Var[v]' = Var[v] - g H Cov[D, v]^2
    s = slope * slope * wear.var_damage + variance
    reach = farthest * np.sqrt(s)
    surprise = np.clip(share - expected, -reach, reach)
    known = ~np.isnan(share)
    gain = np.where(known, slope / s, 0.0)
    surprise = np.where(known, surprise, 0.0)
    kept = np.where(known, variance / s, 1.0)
    faster = np.maximum(1.0 + gain * wear.covariance * surprise, _LEAST_RATE)
    varies = exp(wear.var_rate) - 1.0 - gain * slope * wear.covariance * wear.covariance
    var_rate = log(1.0 + np.maximum(varies, 1e-12) / (faster * faster))
    return Wear(
        damage=wear.damage + gain * wear.var_damage * surprise,
        log_rate=np.where(known, wear.log_rate + 0.5 * wear.var_rate + log(faster) - 0.5 * var_rate, wear.log_rate),
        var_damage=wear.var_damage * kept,
        covariance=wear.covariance * kept / faster,
        var_rate=np.where(known, var_rate, wear.var_rate),
    )


def shown(damage: Floats, scale: WearScale) -> tuple[Floats, Floats]:
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
            K = ln(scale.limit / scale.new)
            grown, whole = exp(K * damage), expm1(K)
            return (grown - 1.0) / whole, K * grown / whole
