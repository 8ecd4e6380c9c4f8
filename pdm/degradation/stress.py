"""How much faster life is used up than at the reference duty: a factor of 1 there, below 1 where it is easier.

Each law is a plain function of arrays of one shape, NaN where a condition is not known. Arguments below 0 count as 0.
"""

from math import prod

import numpy as np
from numpy.typing import ArrayLike

from pdm.degradation.elementary import Floats, exp, power

BOLTZMANN_EV = 8.617333262e-5
"""Boltzmann's constant [eV/K] (CODATA 2018, doi 10.1103/RevModPhys.93.025010)."""

COLDEST_K = 1.0


def constant(like: ArrayLike) -> Floats:
    """s = 1: life is used up by running alone, whatever the duty."""
    return np.ones_like(np.asarray(like, dtype=np.float64))


def inverse_power(load: ArrayLike, reference: float, exponent: float) -> Floats:
    """s = (load / reference)^p, for loads, speeds, voltages from 0 on, in one unit with the reference.

    Life L ~ load^-p: rolling bearings with p = 3 (balls) and 10/3 (rollers), Lundberg and Palmgren 1947 and ISO
    281:2007; tools, Taylor 1907; in general Nelson 1990, Accelerated Testing, doi 10.1002/9780470316795.
    """
    return _known(load, power(_at_least(load, 0.0) / reference, exponent))


def arrhenius(temperature: ArrayLike, reference: float, activation_energy: float) -> Floats:
    """s = exp(Ea / kB (1/T_ref - 1/T)), temperatures in kelvin.

    Insulation, grease, electronics, with activation energies of 0.3 to 1.5 eV: Arrhenius 1889,
    doi 10.1515/zpch-1889-0416; as a law of life Nelson 1990, doi 10.1002/9780470316795.
    """
    hotter = 1.0 / reference - 1.0 / _at_least(temperature, COLDEST_K)
    return _known(temperature, exp(activation_energy / BOLTZMANN_EV * hotter))


def archard(pressure: ArrayLike, speed: ArrayLike, reference_pressure: float, reference_speed: float) -> Floats:
    """s = (p v) / (p_ref v_ref): depth of wear of surfaces that slide, by contact pressure and sliding speed.

    Archard 1953, doi 10.1063/1.1721448.
    """
    rubbed = _at_least(pressure, 0.0) / reference_pressure * (_at_least(speed, 0.0) / reference_speed)
    return _known(np.asarray(pressure) + np.asarray(speed), rubbed)


def paris_erdogan(stress_intensity: ArrayLike, reference: float, exponent: float) -> Floats:
    """s = (dK / dK_ref)^m: growth of a crack per cycle, by the range of its stress intensity; m about 3 for steels.

    Paris and Erdogan 1963, doi 10.1115/1.3656900. Holds between the threshold of growth and the toughness.
    """
    return inverse_power(stress_intensity, reference, exponent)


def product(*stresses: Floats) -> Floats:
    """Stresses that act together and independently of each other."""
    return np.asarray(prod(stresses[1:], start=stresses[0]), dtype=np.float64)


def _at_least(values: ArrayLike, least: float) -> Floats:
    """A value that is not known counts as the least here: `_known` takes its result back."""
    return np.asarray(np.fmax(np.asarray(values, dtype=np.float64), least))


def _known(condition: ArrayLike, stress: Floats) -> Floats:
    return np.where(np.isnan(condition), np.nan, stress)
