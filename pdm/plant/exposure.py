"""Exposure: how much life a step uses, its running share weighted by the stress of its duty."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm import units
from pdm.degradation import stress
from pdm.errors import UnreadableMessageError
from pdm.plant import AssetClass, Stress, StressLaw

Floats = NDArray[np.float64]


class Beyond(NamedTuple):
    """A duty at which a law of stress does not hold: it counts as the end of where it does [unit of its sensor]."""

    column: str
    value: float
    counts_as: float


def stress_of(asset_class: AssetClass, laws: Sequence[Stress], columns: Floats) -> Floats:
    """Stress `[m]` of the duty in steps `[m, k]`, columns in the order of the class; 1 at the reference duty.

    Duty beyond where a law holds is clipped; NaN where a condition was not measured.
    """
    factors = [_factor(asset_class, law, columns) for law in laws]
    return stress.product(*factors) if factors else np.ones(len(columns))


def beyond(asset_class: AssetClass, laws: Sequence[Stress], columns: Floats) -> list[Beyond]:
    """What of one duty `[k]` lies beyond where the laws hold."""
    found = []
    for law in laws:
        for name, (low, high) in zip(law.columns, _holds(asset_class, law), strict=True):
            value = float(columns[asset_class.column_names.index(name)])
            clipped = min(max(value, low), high)
            if clipped != value and not np.isnan(value):
                found.append(Beyond(name, value, clipped))
    return found


def wrong_reference(asset_class: AssetClass, law: Stress) -> str | None:
    """Why the reference of a law on known step columns cannot be one; None if it can."""
    for name, reference, (low, high) in zip(law.columns, law.reference, _holds(asset_class, law), strict=True):
        unit = asset_class.column_sensor(name).unit
        if not low <= reference <= high:
            return f"the law holds from {low:g} to {high:g} {unit}: its reference must lie there, not at {reference:g}"
        if law.law == StressLaw.ARRHENIUS:
            if (said := _no_temperature(unit)) is not None:
                return said
            reference = units.conversion(unit, "K")(np.array(reference)).item()
        if reference <= 0:
            return f"the reference must be above 0, not {reference:g}"
    return None


def _factor(asset_class: AssetClass, law: Stress, columns: Floats) -> Floats:
    """Stress `[m]` of one law."""
    names = asset_class.column_names
    at = [
        np.clip(columns[:, names.index(name)], *ends)
        for name, ends in zip(law.columns, _holds(asset_class, law), strict=True)
    ]
    match law.law:
        case StressLaw.CONSTANT:
            return stress.constant(columns[:, 0])
        case StressLaw.INVERSE_POWER:
            return stress.inverse_power(at[0], law.reference[0], law.exponent)
        case StressLaw.PARIS_ERDOGAN:
            return stress.paris_erdogan(at[0], law.reference[0], law.exponent)
        case StressLaw.ARCHARD:
            return stress.archard(at[0], at[1], law.reference[0], law.reference[1])
        case StressLaw.ARRHENIUS:
            kelvin = units.conversion(asset_class.column_sensor(law.columns[0]).unit, "K")
            reference = kelvin(np.array(law.reference[0])).item()
            return stress.arrhenius(kelvin(at[0]), reference, law.activation_energy)


def _holds(asset_class: AssetClass, law: Stress) -> list[tuple[float, float]]:
    """From where to where a law holds, for each of its columns."""
    ends = []
    for name in law.columns:
        sensor = asset_class.column_sensor(name)
        low, high = (law.low, law.high) if (law.low, law.high) != (None, None) else (sensor.low, sensor.high)
        ends.append((-inf if low is None else low, inf if high is None else high))
    return ends


def _no_temperature(unit: str) -> str | None:
    try:
        units.conversion(unit, "K")
    except UnreadableMessageError:
        return f"arrhenius is of a temperature, not of something in {unit}"
    return None
