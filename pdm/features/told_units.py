"""Sensors that speak in another unit from one step on: which one it seems to be, by where their values went."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pdm.features import FeatureState, health
from pdm.features.frame import Floats, Frame, read
from pdm.features.health import Fault
from pdm.units import Conversion, others

STEPS = 2  # in a row that have to be off
CHANGES = 4  # mean changes that another unit may leave unexplained
OF_JUMP, OF_VALUE = 1 / 3, 1 / 4  # but no more than these shares of the jump and of the value


def recognise(
    frame: Frame,
    state: FeatureState,
    rows: NDArray[np.intp],
    columns: Floats,
    other_units: Callable[[int], Sequence[Conversion]],
) -> None:
    """Note what unit explains the values of sensors that have just jumped, in place.

    Args:
        rows: the assets that had a step.
        columns: `[m, k]` that step, columns in the order of the class.
        other_units: how values of a column become values in the units that it may be told in.
    """
    seen = health.view(frame, state.sensors)
    fresh = (seen.jumped >= STEPS) & (seen.jumped <= health.LASTING) & (seen.told == 0) & (seen.seen >= health.YOUNG)
    if not fresh.any():
        return
    for sensor, place in np.argwhere(fresh[:, rows]):
        one = rows[[place]]
        step, mine = read(frame, columns[[place]]), health.view(frame, state.sensors.take(one))
        above = health.aligned(mine, step)[sensor, 0] - mine.trusted[sensor, 0]
        value, sd = float(step.values[sensor, 0]), 1 / float(step.inverse_sd[sensor, 0])
        usual = CHANGES * max(mine.change[sensor, 0], health.LEAST) * sd
        seen.told[sensor, one] = _unit_of(value, value - above * sd, usual, other_units(int(frame.kept[sensor])))


def told_in(unit: str, fault: int) -> str | None:
    """The unit that a sensor which declares another one speaks in, by the number of its fault; None if it is none."""
    number = fault - Fault.UNIT_MISMATCH
    names = [name for name, _ in others(unit)] if number >= 0 else []
    return names[number] if 0 <= number < len(names) else None


def _unit_of(told: float, expected: float, usual: float, other_units: Sequence[Conversion]) -> int:
    """Number, from 1 on, of the first unit in which what was told is near what was expected; 0 for none."""
    within = min(usual, OF_JUMP * abs(told - expected))
    for number, other in enumerate(other_units, start=1):
        meant = (told - other.offset) / other.scale
        if abs(meant - expected) <= (within if other.offset else min(within, OF_VALUE * abs(expected))):
            return number
    return 0
