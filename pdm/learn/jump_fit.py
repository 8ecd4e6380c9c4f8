"""Learn from lives which sensors jump, or grow noisier, because the machine wears: then that is no fault of theirs.

A part that breaks out makes the vibration jump from one reading to the next, and it stays there. To the sensor's own
past that looks like another instrument. But instruments go wrong at any time, and wear comes late: a sensor is believed
that was at a new level in many lives, in most of these for the first time towards the end, more than chance has it.
More noise has no direction and does little harm to a forecast: a sensor that has it in many lives is believed.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pdm.features import FeatureState, health
from pdm.features.frame import Floats, Frame
from pdm.features.health import Fault
from pdm.learn.forest_fit import fold_lives
from pdm.learn.stack import Stack

LATE = 0.25  # of a life, its last part
OFTEN = 0.2  # share of the lives
FEWEST = 3  # lives in which a sensor was noisier, below which that may be its fault
CHANCE = 0.01  # that a sensor which goes wrong at any time does so as late


def fit_jumps(frame: Frame, stack: Stack) -> NDArray[np.bool_] | None:
    """Of which kept sensors `[p]` a jump is believed, by lives from start to failure; None for of none."""
    rows = fold_lives(frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_), _at_new_level)
    level = rows.features[np.argsort(rows.step)] > 0
    level[1:] &= ~level[:-1]  # where it begins; no life begins with one
    is_late = (stack.age >= (1 - LATE) * np.repeat(stack.lengths, stack.lengths))[:, None]
    begins = np.cumsum(stack.lengths) - stack.lengths
    early, late = (np.add.reduceat(level & some, begins, axis=0, dtype=np.int64) for some in (~is_late, is_late))
    jumped, mostly_late = (early + late > 0).sum(axis=0), (late / LATE > early / (1 - LATE)).sum(axis=0)
    believed = (mostly_late >= OFTEN * len(stack.lengths)) & (binom.sf(mostly_late - 1, jumped, LATE) < CHANCE)
    return np.asarray(believed) if believed.any() else None


def fit_restless(frame: Frame, stack: Stack) -> NDArray[np.bool_] | None:
    """Which kept sensors `[p]` grow noisier in many lives from start to failure; None for none."""
    rows = fold_lives(frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_), _noisy)
    found = np.zeros((len(stack.lengths), frame.sensors), dtype=np.bool_)
    np.logical_or.at(found, rows.life, rows.features > 0)
    restless = found.sum(axis=0) >= max(FEWEST, OFTEN * len(found))
    return np.asarray(restless) if restless.any() else None


def _noisy(frame: Frame, state: FeatureState, rows: NDArray[np.intp]) -> Floats:
    return np.asarray(health.faults(frame, state.sensors.take(rows)) == Fault.NOISE, dtype=np.float64)


def _at_new_level(frame: Frame, state: FeatureState, rows: NDArray[np.intp]) -> Floats:
    return np.asarray(health.faults(frame, state.sensors.take(rows)) == Fault.LEVEL, dtype=np.float64)
