"""Pairs of gradient-boosted forests that estimate the remaining life of a machine, and the spread around an estimate.

What a pair estimates is the target: the remaining life up to a cap, or its logarithm. There is one pair for whatever
ends a life, or one for each failure mode, of which the earliest counts. The spread was learned out of fold,
on machines that the forests had not seen, and is kept as a table over the estimate. It tells the remaining life up to
its reach. What lies beyond, of machines that get there, is told by a forest of its own with its spread, or by the life
table of the class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm.degradation import Weibull
from pdm.features.frame import Floats
from pdm.prognosis import LEVELS

ANY = ""
"""The end of forests that tell no failure modes apart."""


@dataclass(frozen=True)
class Target:
    """What forests estimate of a remaining life: as much of it as the cap allows, or ln(1 + that).

    Attributes:
        cap: infinite for none [life steps].
    """

    cap: float = np.inf
    log: bool = False

    def of(self, remaining: Floats) -> Floats:
        """The target of remaining lives of any shape."""
        capped = np.minimum(remaining, self.cap)
        return np.log1p(capped) if self.log else capped

    def life(self, value: Floats) -> Floats:
        """The remaining lives of which these values of any shape are the target [life steps]."""
        return np.expm1(value) if self.log else value


@dataclass(frozen=True)
class Spread:
    """The spread of the remaining life around its estimate, as seen on unseen machines.

    Attributes:
        expected: `[G]` rising estimates, from 0 on [unit of the target].
        quantiles: `[G, 21]` remaining life at `LEVELS`, clipped to the reach [life steps].
        beyond: `[G]` probability that the remaining life exceeds the reach.
    """

    expected: Floats
    quantiles: Floats
    beyond: Floats


BEYOND = Target(log=True)
"""What is estimated of the life beyond the reach."""

Later = Callable[[NDArray[np.intp], Floats], Floats]
"""Life beyond the reach of those that get there, `[k]`, of so many forecasts at levels, `[k]` each [life steps]."""

_FROM_ZERO = np.append(0.0, LEVELS)


@dataclass(frozen=True)
class Far:
    """Tells the life beyond the reach of machines that get there.

    Attributes:
        forest: for `BEYOND` of it.
        spread: around that.
    """

    forest: lgb.Booster
    spread: Spread


@dataclass(frozen=True)
class Forests:
    """Turns features into the distribution of the remaining life.

    Attributes:
        target: what is estimated.
        reach: up to where the spread tells [life steps].
        ends: what each pair is about: a failure mode, or `ANY`.
        squared, poisson: for each of them a forest for the target under either loss.
        far: what lies beyond the reach; None where the life table tells that.
    """

    target: Target
    reach: float
    ends: tuple[str, ...]
    squared: tuple[lgb.Booster, ...]
    poisson: tuple[lgb.Booster, ...]
    spread: Spread
    far: Far | None = None

    def to_ends(self, features: NDArray[Any]) -> Floats:
        """The target `[n, len(ends)]` of features `[n, F]`, as far as each end goes."""
        return np.stack([estimate(pair, features) for pair in zip(self.squared, self.poisson, strict=True)], axis=1)


def estimate(forests: Sequence[lgb.Booster], features: NDArray[Any]) -> Floats:
    """The target `[n]` of features `[n, F]`, not below 0: the mean of forests."""
    rows = features.astype(np.float32, copy=False)
    each = [np.asarray(forest.predict(rows, num_threads=1), dtype=np.float64) for forest in forests]
    return np.maximum(sum(each, np.zeros(len(rows))) / len(each), 0)


def read_spread(spread: Spread, expected: Floats) -> tuple[Floats, Floats]:
    """Quantiles `[n, 21]` and probability beyond the reach `[n]`, linear between the entries of the table."""
    expected = np.minimum(expected, spread.expected[-1])
    after = np.clip(np.searchsorted(spread.expected, expected, side="right"), 1, len(spread.expected) - 1)
    low, high = spread.expected[after - 1], spread.expected[after]
    share = (expected - low) / (high - low)
    within = spread.quantiles[after - 1] * (1 - share)[:, None] + spread.quantiles[after] * share[:, None]
    beyond = spread.beyond[after - 1] * (1 - share) + spread.beyond[after] * share
    return within, beyond


def quantiles_around(spread: Spread, reach: float, expected: Floats, later: Later) -> Floats:
    """Quantiles `[n, 21]` around estimates `[n]`: the table of spreads, and what comes later beyond its reach."""
    within, beyond = read_spread(spread, expected)
    # P(R <= r | R > H) = (level - (1 - beyond)) / beyond
    level = 1 - (1 - LEVELS) / np.maximum(beyond, 1 - LEVELS[-1])[:, None]
    row, column = np.nonzero(level > 0)
    within[row, column] = reach + later(row, level[row, column])
    return within


def later_by_table(life: Weibull, exposure: Floats, *, since_new: bool) -> Later:
    """By the life table.

    Args:
        exposure: `[n]` life used when the reach is over [life steps].
        since_new: whether that is all the life used, or what was seen of it.
    """
    remaining = life.remaining if since_new else life.remaining_of_unknown_age
    return lambda row, level: remaining(exposure[row], level)


def later_by_forest(spread: Spread, expected: Floats) -> Later:
    """By the spread around estimates `[n]` of `BEYOND`."""
    quantiles = np.pad(read_spread(spread, expected)[0], ((0, 0), (1, 0)))  # none of them ends before the reach

    def later(row: NDArray[np.intp], level: Floats) -> Floats:
        after = np.clip(np.searchsorted(_FROM_ZERO, level), 1, len(LEVELS))
        low, high = _FROM_ZERO[after - 1], _FROM_ZERO[after]
        share = (level - low) / (high - low)
        return np.asarray(quantiles[row, after - 1] * (1 - share) + quantiles[row, after] * share)

    return later
