"""What policies of maintenance would have cost on lives that ended: ours, and those that it is compared with.

    cost rate = total cost / total life used

A policy that acts in time pays the planned cost and throws the rest of the life away; one that does not pays the
unplanned cost of the failure and has used all of it. Whoever acts on a forecast needs the notice period before work can
start; a fixed interval is known ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Times = NDArray[np.int64]

THRESHOLDS = 400
"""How many thresholds are tried."""


@dataclass(frozen=True, slots=True)
class FinishedLife:
    """One machine from its start to its failure.

    Attributes:
        time_ms: `[s]` plant times, rising, from the start of life to the failure.
        age: `[s]` life used by then, from 0 on [life steps].
    """

    time_ms: Times
    age: Floats

    @property
    def failed_ms(self) -> int:
        return int(self.time_ms[-1])

    @property
    def length(self) -> float:
        """The whole life [life steps]."""
        return float(self.age[-1])

    def age_at(self, at_ms: Any) -> Any:
        """Life used at plant times of any shape [life steps]."""
        return np.interp(at_ms, self.time_ms, self.age)


class Looks(NamedTuple):
    """What was said about one life: at plant times `[m]`, rising, a value each.

    The value is the preferred start [ms UTC], -1 where there was none, or the median remaining life [life steps], NaN
    where it was refused.
    """

    at_ms: Times
    value: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of lives `[L]`: the life used [life steps], and whether the failure came first."""

    used: Floats
    failed: Flags

    def cost_rate(self, planned: float, unplanned: float) -> float:
        """Total cost / total life used [currency per life step]."""
        return float(np.where(self.failed, unplanned, planned).sum() / self.used.sum())

    def take(self, lives: NDArray[Any]) -> "Outcome":
        """The outcome on these lives."""
        return Outcome(self.used[lives], self.failed[lives])


def run_to_failure(lives: Sequence[FinishedLife]) -> Outcome:
    """Never act."""
    return Outcome(np.array([life.length for life in lives]), np.ones(len(lives), dtype=np.bool_))


def perfect_foresight(lives: Sequence[FinishedLife]) -> Outcome:
    """Act one life step before the failure."""
    return Outcome(np.array([life.length - 1.0 for life in lives]), np.zeros(len(lives), dtype=np.bool_))


def fixed_interval(lives: Sequence[FinishedLife], interval: float) -> Outcome:
    """Act at a fixed age [life steps]."""
    lengths = np.array([life.length for life in lives])
    return Outcome(np.minimum(lengths, interval), lengths <= interval)


def by_window(lives: Sequence[FinishedLife], looks: Sequence[Looks], notice_ms: int) -> Outcome:
    """Act at the preferred start that stands when its notice begins.

    Args:
        looks: for each life the preferred starts as they were said.
    """
    return _acting(lives, [_committed_ms(look, notice_ms) for look in looks])


def by_threshold(lives: Sequence[FinishedLife], looks: Sequence[Looks], notice_ms: int, threshold: float) -> Outcome:
    """Act a notice period after the median remaining life is first at or below a threshold [life steps].

    Args:
        looks: for each life the medians as they were said.
    """
    return _acting(lives, [_crossed_ms(look, np.array([threshold]))[0] + notice_ms for look in looks])


def best_interval(lengths: Floats, planned: float, unplanned: float) -> float:
    """The fixed interval that would have cost least on these lives `[L]`; infinite if none is worth it [life steps]."""
    # between two lives a longer interval only uses more: one step before a failure is best
    intervals = np.append(np.unique(lengths[lengths > 1.0]) - 1.0, np.inf)
    failed = lengths <= intervals[:, None]
    cost = np.where(failed, unplanned, planned).sum(axis=1) / np.minimum(lengths, intervals[:, None]).sum(axis=1)
    return float(intervals[np.argmin(cost)])


def best_threshold(
    lives: Sequence[FinishedLife], looks: Sequence[Looks], notice_ms: int, planned: float, unplanned: float
) -> float:
    """The threshold of the median remaining life that would have cost least on these lives [life steps].

    Args:
        looks: for each life its medians, forecast by somebody who had not seen that life.
    """
    medians = np.concatenate([look.value for look in looks])
    thresholds = np.unique(np.nanquantile(medians, np.linspace(0.0, 1.0, THRESHOLDS)))
    cost, used = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for life, look in zip(lives, looks, strict=True):
        start_ms = _crossed_ms(look, thresholds) + notice_ms
        cost += np.where(start_ms < life.failed_ms, planned, unplanned)
        used += life.age_at(np.minimum(start_ms, life.failed_ms))
    return float(thresholds[np.argmin(cost / used)])


def _acting(lives: Sequence[FinishedLife], starts_ms: Sequence[float]) -> Outcome:
    """Work starts at these times, infinite for never; at or after the failure it is too late."""
    failed = [start >= life.failed_ms for life, start in zip(lives, starts_ms, strict=True)]
    used = [float(life.age_at(min(start, life.failed_ms))) for life, start in zip(lives, starts_ms, strict=True)]
    return Outcome(np.array(used), np.array(failed, dtype=np.bool_))


def _committed_ms(look: Looks, notice_ms: int) -> float:
    """The first preferred start whose notice begins before the next look could still change it."""
    next_ms = np.append(look.at_ms[1:].astype(np.float64), np.inf)
    standing = (look.value >= 0) & (look.value - notice_ms < next_ms)
    return float(look.value[np.argmax(standing)]) if standing.any() else np.inf


def _crossed_ms(look: Looks, thresholds: Floats) -> Floats:
    """When the value is first at or below each threshold, infinite for never."""
    lowest = np.minimum.accumulate(np.append(np.where(np.isnan(look.value), np.inf, look.value), -np.inf))
    at_ms = np.append(look.at_ms.astype(np.float64), np.inf)
    return at_ms[np.searchsorted(-lowest, -thresholds, side="left")]
