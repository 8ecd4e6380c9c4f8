"""The frame of a model: everything fitted that turns the steps of a machine into features.

A frame holds which step columns carry news, what they read under which operating conditions, how they combine into
health channels, and the time scale of the memories. `pdm.learn.frame_fit` makes frames, `pdm.features` folds steps
with them. Cohorts are the last axis everywhere (m assets), regimes the last axis of fitted tables.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

HEALTH = ("h0", "h1", "p1", "p2", "p3", "g")
"""Health channels: health as the sensors show it at this step, judged over the whole horizon (h0) and near the end
(h1); the three main directions in which the fleet drifts (p1 to p3); health against the asset's own start (g)."""

GROSS = 5.0
"""Ranges beyond what was seen from which on a value is an error: no machine is operated, and no sensor reads, so."""


@dataclass(frozen=True)
class Conditions:
    """What the sensors read on a machine of average health, given how it is operated.

    c operating conditions, R regimes, p kept sensors, T terms. Either discrete regimes (T = 0) or one regime with a
    surface over the conditions (linear, squared and cross terms).

    Attributes:
        columns: `[c]` step columns that hold the conditions.
        centre, spread: `[c]` their mean and standard deviation in training.
        low, high: `[c]` the range that training covered [standardised].
        regimes: `[c, R]` centres of the regimes [standardised].
        reach: distance from its centre up to which a point belongs to a regime [standardised].
        mean: `[p, R]` sensor mean within a regime.
        inverse_sd: `[p, R]` 1 / standard deviation; 0 where the sensor does not move in that regime.
        surface: `[T, p]` coefficients of `terms`.
    """

    columns: NDArray[np.int64]
    centre: Floats
    spread: Floats
    low: Floats
    high: Floats
    regimes: Floats
    reach: float
    mean: Floats
    inverse_sd: Floats
    surface: Floats


@dataclass(frozen=True)
class Watch:
    """How machines depart from their own start early in life, while nothing is wrong with them. p kept sensors.

    Attributes:
        whitening: `[p, p]` makes departures of healthy machines uncorrelated, each of mean square 1.
        level: the mean square over all p that one healthy step in a thousand exceeds.
    """

    whitening: Floats
    level: float


@dataclass(frozen=True)
class Peers:
    """How sensors read against the others of their machine, whatever its wear. p kept sensors.

    Attributes:
        judged: `[p]` of which of them a drift can be told from wear.
        weights: `[p, p]` of all sensors in what is left over of each: it hardly moves in a life [its own usual size].
        limit: `[p]` how far the slow mean of that may get from the machine's own start.
    """

    judged: NDArray[np.bool_]
    weights: Floats
    limit: Floats


@dataclass(frozen=True)
class Frame:
    """Fitted transforms of one class of machines. p kept sensors, R regimes.

    Attributes:
        column_names: the step columns that the frame reads, in the order of the class.
        kept: `[p]` the columns that carry health.
        conditions: what the kept sensors should read.
        clip: largest departure that counts [standard deviations].
        projection, offset: `[p, 5, R]`, `[5, R]` from standardised sensors to h0, h1, p1, p2, p3.
        own_change, own_start, own_offset: `[p]`, `[p]`, scalar: from change since and level at the own start to g.
        scale: time scale of the memories, 1 for a median life of 200 steps.
        watch: what a departure from early life is held against, None where a head forecasts.
        peers: what a drift of a sensor is held against, None where none can be told from wear.
        jumps: `[p]` of which kept sensors a jump is wear rather than a fault; None for of none.
        restless: `[p]` which kept sensors grow noisier in many lives, so that it is no fault; None for none.
    """

    column_names: tuple[str, ...]
    kept: NDArray[np.int64]
    conditions: Conditions
    clip: float
    projection: Floats
    offset: Floats
    own_change: Floats
    own_start: Floats
    own_offset: float
    scale: float
    watch: Watch | None = None
    peers: Peers | None = None
    jumps: NDArray[np.bool_] | None = None
    restless: NDArray[np.bool_] | None = None

    @property
    def sensors(self) -> int:
        return len(self.kept)

    @property
    def channels(self) -> int:
        return self.sensors + len(HEALTH)

    @property
    def baseline(self) -> int:
        """How many steps make up the own start of an asset."""
        return max(1, round(15 * self.scale))

    @property
    def damping(self) -> float:
        """Pulls slopes to zero while few steps are known: 25 at a scale of 1 [life steps squared]."""
        return 25 * self.scale**2

    def memory(self, span: float) -> float:
        """q = 1 - 2 / (span + 1), the weight that a step keeps from one step to the next."""
        return 1 - 2 / (max(1.0, span * self.scale) + 1)

    @cached_property
    def levels(self) -> NDArray[np.intp]:
        """`[q]` the kept sensors from which a surface is taken out: what they read as such counts, too.

        Damage grows with the temperature that a part has, and its limits are set on that, whatever made it warm.
        """
        return np.flatnonzero(self.conditions.surface.any(axis=0))

    @cached_property
    def stating(self) -> NDArray[np.bool_]:
        """`[p]` which kept sensors state how the machine is operated."""
        return np.isin(self.kept, self.conditions.columns)

    @cached_property
    def sd(self) -> Floats:
        """`[p]` standard deviation of each kept sensor, the median of the regimes in which it moves [its unit]."""
        inverse = self.conditions.inverse_sd
        return np.array([np.median(1 / row[row > 0]) if (row > 0).any() else 0.0 for row in inverse])

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        return (*(self.column_names[column] for column in self.kept), *HEALTH)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        every = [f"{kind} {name}" for kind in ("e15", "de15", "sl60", "wl") for name in self.channel_names]
        slow = [f"{kind} {name}" for kind in ("sl120", "sl60-wl", "sl60-sl120") for name in HEALTH]
        level = [f"level15 {self.channel_names[sensor]}" for sensor in self.levels]
        return (*every, *slow, *level, "age")


def operating_conditions(conditions: Conditions, columns: Floats) -> Floats:
    """Standardised operating conditions `[c, m]` of steps `[m, k]`."""
    u = np.ascontiguousarray(columns.T[conditions.columns])
    return (u - conditions.centre[:, None]) / conditions.spread[:, None]


def nearest_regime(conditions: Conditions, u: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The regime `[m]` of conditions `[c, m]` and the squared distance `[m]` to its centre."""
    distance = np.zeros((conditions.regimes.shape[1], u.shape[1]))
    for condition, centres in zip(u, conditions.regimes, strict=True):  # summed in a fixed order: see `project`
        distance += (condition - centres[:, None]) ** 2
    regime = distance.argmin(axis=0)
    return regime, distance.min(axis=0)


def strange_conditions(conditions: Conditions, u: Floats, squared_distance: Floats) -> NDArray[np.bool_]:
    """`[m]` whether a step ran far outside of what training saw: one whole range beyond it, or between the regimes."""
    return np.asarray(_outside(conditions, u, 1.0) | (squared_distance > conditions.reach**2), dtype=np.bool_)


def _outside(conditions: Conditions, u: Floats, ranges: float) -> NDArray[np.bool_]:
    """`[m]` whether one of conditions `[c, m]` is so many of its ranges beyond what training saw."""
    margin = ranges * (conditions.high - conditions.low)
    low, high = (conditions.low - margin)[:, None], (conditions.high + margin)[:, None]
    return np.asarray(((u < low) | (u > high)).any(axis=0), dtype=np.bool_)


class Read(NamedTuple):
    """One step of m machines as a frame reads it.

    Attributes:
        u: `[c, m]` operating conditions [standardised].
        regime: `[m]` the nearest regime.
        distance: `[m]` to its centre, squared.
        values: `[p, m]` what the kept sensors say, NaN where missing.
        departure: `[p, m]` how much that is above what they should say [their units], NaN where unknown.
        made: `[p, m]` what the surface makes of it, zero for a sensor from which none is taken out [their units].
        inverse_sd: `[p, m]` or `[p, 1]` 1 / standard deviation, 0 for a sensor that does not move in this regime.
    """

    u: Floats
    regime: NDArray[np.intp]
    distance: Floats
    values: Floats
    departure: Floats
    made: Floats
    inverse_sd: Floats


def read(frame: Frame, columns: Floats) -> Read:
    """Read one step of each machine, columns `[m, k]` in the order of the class, NaN where missing."""
    conditions = frame.conditions
    u = operating_conditions(conditions, columns)
    regime, distance = nearest_regime(conditions, u)
    values = np.ascontiguousarray(columns.T[frame.kept])
    values[~np.isfinite(values)] = np.nan
    inside = np.clip(u, conditions.low[:, None], conditions.high[:, None])  # a square must not extrapolate
    made = np.zeros_like(values)
    for term, coefficients in zip(terms(inside), conditions.surface, strict=False):
        made += coefficients[:, None] * term
    departure = values - of_regime(conditions.mean, regime)
    departure -= made
    departure[:, ~np.isfinite(u).all(axis=0) | _outside(conditions, u, GROSS)] = np.nan
    return Read(u, regime, distance, values, departure, made, of_regime(conditions.inverse_sd, regime))


def standardised(frame: Frame, step: Read) -> Floats:
    """Departures `[p, m]` of the kept sensors from what they should read [standard deviations], NaN where unknown."""
    return np.clip(step.departure * step.inverse_sd, -frame.clip, frame.clip)


def terms(u: Floats) -> list[Floats]:
    """Linear, squared and cross terms of conditions `[c, m]`, each `[m]`."""
    return [*u, *(u[i] * u[j] for i, j in combinations_with_replacement(range(len(u)), 2))]


def project(frame: Frame, z: Floats, regime: NDArray[np.intp]) -> Floats:
    """h0, h1, p1, p2, p3 `[5, m]` of standardised sensors `[p, m]`.

    Sensors are summed one after another: BLAS and pairwise sums group by the size of the cohort, and a machine would
    get other bits alone than among a thousand.
    """
    channels = of_regime(frame.offset, regime) + np.zeros(z.shape[1])
    for sensor, weights in zip(z, frame.projection, strict=True):
        channels += of_regime(weights, regime) * sensor
    return channels


def project_own(frame: Frame, change: Floats, start: Floats) -> Floats:
    """g `[m]`: health from the change since, and the level at, the asset's own start, both `[p, m]`."""
    g = np.full(change.shape[1], frame.own_offset)
    for sensor in range(frame.sensors):
        g += frame.own_change[sensor] * change[sensor]
        g += frame.own_start[sensor] * start[sensor]
    return g


def of_regime(table: Floats, regime: NDArray[np.intp]) -> Floats:
    """Rows of a fitted table `[..., R]` for each asset, `[..., m]` (or `[..., 1]` if there is one regime)."""
    return table if table.shape[-1] == 1 else np.take(table, regime, axis=-1)
