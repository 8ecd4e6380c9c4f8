"""The distribution of remaining life, for one asset or a cohort, as 21 quantiles."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdm.degradation import Weibull

_LOWER = (0.005, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
LEVELS = np.array([*_LOWER, 0.5, *(1 - level for level in reversed(_LOWER))])
"""Probability levels of the quantiles of a prognosis."""

MEDIAN = 10
"""Index of the median in `LEVELS`."""

FOUR_IN_FIVE = 1.2815515655446004
"""Half the width of the band that holds four in five of a normal law [standard deviations]."""


FEWEST_FAILURES = 3
"""From so many failures on a forecast can be learned."""


class Basis(IntEnum):
    """What a prognosis rests on."""

    NONE = 0
    DECLARED_LIFE = 1  # the expected life that the class declares, conditional on age
    LEARNED = 2  # what sensors showed on machines of this class that ran to failure
    DECLARED_WEAR = 3  # the wear measured on it, and the lives that its failure modes declare
    LIFE_TABLE = 4  # how long machines of this class lived, conditional on age


class Refusal(IntEnum):
    """Why there is no prognosis. The name in lower case is the public code."""

    NONE = 0
    NO_READINGS = 1
    STALE = 2
    HISTORY_INCOMPLETE = 3
    NO_MODEL = 4
    FOREIGN_MODEL = 5
    OUT_OF_ENVELOPE = 6
    SENSOR_SUSPECT = 7
    FAILED = 8
    UNIT_MISMATCH = 9
    TOO_FEW_FAILURES = 10

    @property
    def code(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Prognosis:
    """Remaining life of a cohort.

    Attributes:
        quantiles: `[n, 21]` remaining life at `LEVELS` [life steps], rising along a row; NaN where refused. Values
            beyond the horizon come from the life table of the class, conditional on having reached the horizon.
        horizon: how far ahead the class asks for a date [life steps].
        basis: `[n]` int8, `Basis`.
        refusal: `[n]` int8, `Refusal`.
        mode: `[n, m]` probability of each failure mode of the class being the first (rows sum to 1, NaN if unknown).
    """

    quantiles: NDArray[np.float64]
    horizon: float
    basis: NDArray[np.int8]
    refusal: NDArray[np.int8]
    mode: NDArray[np.float64]


def from_life_table(life: Weibull, exposure: ArrayLike) -> NDArray[np.float64]:
    """Quantiles `[n, 21]` of the remaining life by the life table alone, given the life used so far [life steps]."""
    return life.remaining(np.asarray(exposure, dtype=np.float64)[:, None], LEVELS)
