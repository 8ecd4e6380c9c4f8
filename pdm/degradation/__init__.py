"""Wear and life without learning: the Weibull life table of a class, conditional on age."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gamma, gammaincc, gammainccinv


@dataclass(frozen=True, slots=True)
class Weibull:
    """Life until failure, two parameters (Weibull 1951, doi 10.1115/1.4010337).

    Attributes:
        shape: above 1 the hazard rises with age (wear), 1 is constant [-].
        scale: the age that 36.8 % survive [life steps].
    """

    shape: float
    scale: float

    @staticmethod
    def from_moments(mean: float, sd: float) -> "Weibull":
        """The law with this mean and standard deviation (0.02 <= sd/mean <= 5)."""
        # (sd/mean)^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1
        wanted = (sd / mean) ** 2
        if not 0.02 <= sd / mean <= 5:
            raise ValueError(f"the spread of a life must be between 2 % and 500 % of its mean, not {sd / mean:.1%}")
        shape = float(brentq(lambda k: gamma(1 + 2 / k) / gamma(1 + 1 / k) ** 2 - 1 - wanted, 0.2, 100.0))
        return Weibull(shape, mean / float(gamma(1 + 1 / shape)))

    @property
    def mean(self) -> float:
        return self.scale * float(gamma(1 + 1 / self.shape))

    @property
    def sd(self) -> float:
        return self.scale * float(np.sqrt(gamma(1 + 2 / self.shape) - gamma(1 + 1 / self.shape) ** 2))

    def survival(self, age: ArrayLike) -> NDArray[np.float64]:
        """P(life > age)."""
        return np.exp(-((np.maximum(age, 0.0) / self.scale) ** self.shape))

    def remaining(self, age: ArrayLike, levels: ArrayLike) -> NDArray[np.float64]:
        """Quantiles of the remaining life of those that reached `age`; the two broadcast [life steps]."""
        # S(a + r) / S(a) = 1 - q   =>   r = scale ((a/scale)^k - ln(1 - q))^(1/k) - a
        age = np.asarray(age, dtype=np.float64)
        survived = (age / self.scale) ** self.shape
        return np.asarray(
            self.scale * (survived - np.log1p(-np.asarray(levels))) ** (1 / self.shape) - age, dtype=np.float64
        )

    def remaining_of_unknown_age(self, seen: ArrayLike, levels: ArrayLike) -> NDArray[np.float64]:
        """The same of those that nobody saw before they had `seen` left to be counted, at an age that nobody knows.

        All ages at which they were first seen are equally likely (Cox 1962, Renewal Theory, section 5.2).
        """
        # P(R > r) = integral of S from seen + r on / integral of S from seen on,   S the survival function:
        # Q(1/k, ((seen + r)/scale)^k) = (1 - q) Q(1/k, (seen/scale)^k),   Q the regularised upper incomplete gamma
        seen = np.asarray(seen, dtype=np.float64)
        reached = np.maximum(gammaincc(1 / self.shape, (seen / self.scale) ** self.shape), np.finfo(np.float64).tiny)
        end = self.scale * gammainccinv(1 / self.shape, (1 - np.asarray(levels)) * reached) ** (1 / self.shape)
        return np.asarray(np.maximum(end - seen, 0.0), dtype=np.float64)
