"""Features of a machine as a fold over its steps: bounded memory, however long the life.

All is first-order recursion, written out so that one machine and a cohort of thousands, in any memory order, saved and
loaded between any two steps, give the same bits: no BLAS, no sums over the cohort's axis, no exp, log or power.
Training, service and replay call the same three functions `start`, `fold`, `emit`. All but weights is kept in single
precision: what forgets forgets its rounding, too, and the rest is kept about its mean.

With x a channel, n the steps folded so far and q the memory of a span:

    e   mean that forgets:       X0 / S0              X0 = q X0 + x           S0 = q S0 + 1
    b   own start:               mean of x over the first steps
    sl  slope that forgets:      least squares over weights q^age, pulled to zero by a damping of 25 S0
    wl  slope of the whole life: least squares over all steps, pulled to zero by 25 n, from the sum of products about
        the means (Welford 1962, doi 10.1080/00401706.1962.10490022)

Where a surface over the operating conditions is taken out of a sensor, e of what it reads as such is a feature, too.

A new sensor in the place of another is silent for as many steps as the own start has. Meanwhile its recent mean stands
in, and the mean of how far the new one reads from that is gathered; this shift is taken off whatever it says from then
on. Nothing follows from the step between the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.features import health, peers, watch
from pdm.features.frame import HEALTH, Floats, Frame, Read, Singles, project, project_own, read, strange_conditions
from pdm.features.health import SensorState

Rows = NDArray[np.intp] | slice
ALL = slice(None)

_SUMS = 9  # n; S0 of 15; S0, S1, S2 of 60 and of 120; strange conditions
_CHUNK = 1024  # assets at a time, so that their state stays in the cache


@dataclass
class FeatureState:
    """What a frame remembers of a cohort.

    Attributes:
        sums: `[J, N]` float64, one column per asset, the first rows of `_View`.
        memories: `[K, N]` float32, the other ones.
        sensors: what is known of their sensors.
    """

    sums: Floats
    memories: Singles
    sensors: SensorState

    def __len__(self) -> int:
        return int(self.sums.shape[1])

    def take(self, rows: NDArray[Any] | slice) -> "FeatureState":
        """The state of these assets (indices or mask: a copy; a slice: the same memory)."""
        return FeatureState(self.sums[:, rows], self.memories[:, rows], self.sensors.take(rows))

    def grow(self, count: int) -> "FeatureState":
        """The same assets followed by `count` that have no step yet."""
        more = ((0, 0), (0, count))
        return FeatureState(np.pad(self.sums, more), np.pad(self.memories, more), self.sensors.grow(count))

    def put(self, rows: NDArray[Any] | slice, other: "FeatureState") -> None:
        """Replace the state of these assets."""
        self.sums[:, rows], self.memories[:, rows] = other.sums, other.memories
        self.sensors.put(rows, other.sensors)

    def to_columns(self) -> Columns:
        """One row per asset, for a checkpoint."""
        return {
            "sums": np.ascontiguousarray(self.sums.T),
            "memories": np.ascontiguousarray(self.memories.T),
            **self.sensors.to_columns(),
        }

    @staticmethod
    def from_columns(frame: Frame, columns: Mapping[str, NDArray[Any]]) -> "FeatureState":
        """Read what `to_columns` wrote; ValueError if it was written for another frame."""
        sums, memories = (np.ascontiguousarray(columns[name].T).copy() for name in ("sums", "memories"))
        sensors = SensorState.from_columns(columns)
        if (len(sums), len(memories)) != _heights(frame) or not health.fits(frame, sensors):
            raise ValueError(f"a state of {len(sums)} sums and {len(memories)} memories does not fit the frame")
        return FeatureState(sums, memories, sensors)


class _View(NamedTuple):
    """The rows of a state by name; C channels: the p kept sensors, then the health channels."""

    n: Floats  # [m] steps folded
    s15: Floats  # [m] weight of all steps in the memory of span 15
    s60: Floats  # [3, m] S0, S1, S2
    s120: Floats  # [3, m]
    strange: Floats  # [m] weight of steps under strange conditions in the memory of span 15
    mean: Singles  # [C, m] mean over all steps
    tx: Singles  # [C, m] sum of products of x and t, the age before the step, about their means
    x15: Singles  # [C, m] X0
    start: Singles  # [C, m] mean over the first steps
    x60: Singles  # [C, m] X0
    y60: Singles  # [C, m] X1
    x120: Singles  # [6, m] X0 of the health channels
    y120: Singles  # [6, m] X1
    level: Singles  # [q, m] X0 of what the sensors read as such
    recent: Singles  # [5, m] the latest departures from early life; no row without a watch
    trail: Singles  # [64, m] departures over the whole life


def start(frame: Frame, count: int) -> FeatureState:
    """The state of `count` assets before their first step."""
    sums, memories = _heights(frame)
    return FeatureState(
        np.zeros((sums, count)), np.zeros((memories, count), dtype=np.float32), health.start(frame, count)
    )


def fold(
    frame: Frame, state: FeatureState, rows: Rows, columns: Floats, follows: NDArray[np.bool_] | None = None
) -> None:
    """Take in one step of the assets `rows`, in place.

    Args:
        rows: the assets that have a step, each at most once.
        columns: `[m, k]` the step of each, columns in the order of the class, NaN where missing. A missing sensor
            brings no news: its own recent mean stands in.
        follows: `[m]` whether each machine ran until the step began. With it sensors are judged, and those that cannot
            be right are missing, too; without it all are believed.
    """
    for part, begin, end in _chunks(rows, len(state)):
        some = state.take(part)
        _fold(frame, some, columns[begin:end], None if follows is None else follows[begin:end])
        if not isinstance(part, slice):
            state.put(part, some)


def renew(frame: Frame, state: FeatureState, rows: NDArray[np.intp], columns: NDArray[np.bool_]) -> None:
    """From the next step on other sensors stand behind these columns `[m, k]` of the assets `rows`, in place.

    Before its first step there is nothing that a new sensor could differ from.
    """
    health.renew(frame, state.sensors, rows, columns)
    left = health.view(frame, state.sensors).left
    new = columns[:, frame.kept].T & (_view(frame, state).n[rows] > 0)
    # the step in which it was replaced may hold readings of both: it is one more than is gathered
    left[:, rows] = np.where(new, frame.baseline + 1, left[:, rows])


def emit(frame: Frame, state: FeatureState, rows: Rows = ALL) -> Floats:
    """Features `[m, F]` of the assets `rows`, in the order of `frame.feature_names`. Each needs at least one step."""
    chunks = _chunks(rows, len(state))
    features = np.empty((chunks[-1][2] if chunks else 0, len(frame.feature_names)))
    for part, begin, end in chunks:
        features[begin:end] = _emit(frame, _view(frame, state, part)).T
    return features


def outside(frame: Frame, state: FeatureState, rows: Rows = ALL) -> NDArray[np.bool_]:
    """`[m]` whether an asset lately ran mostly under conditions far outside of what training saw."""
    view = _view(frame, state)
    return np.asarray(2 * view.strange[rows] > view.s15[rows], dtype=np.bool_)


def silent_steps(frame: Frame, state: FeatureState, rows: Rows = ALL) -> Floats:
    """`[m, p]` for how many steps in a row each kept sensor has brought no value."""
    return health.view(frame, state.sensors).silent[:, rows].T.astype(np.float64)


def since_start(frame: Frame, state: FeatureState, rows: Rows = ALL) -> Floats:
    """Recent mean of each kept sensor less the asset's own start `[m, p]` [standard deviations]."""
    return _since_start(frame, _view(frame, state, rows)).T


def slow_since_start(frame: Frame, state: FeatureState, rows: Rows = ALL) -> Floats:
    """Slow mean of each kept sensor less the own start `[m, p]` [standard deviations], NaN before that is known."""
    view, p = _view(frame, state, rows), frame.sensors
    return np.where(view.n < frame.baseline, np.nan, view.x60[:p] / view.s60[0] - view.start[:p]).T


def departure(frame: Frame, state: FeatureState, rows: Rows = ALL) -> Floats:
    """How far each asset has stayed from its own early life in its last five steps `[m]`, 1 at the level of the alarm;
    NaN before its own start is known."""
    view = _view(frame, state, rows)
    return np.where(view.n < frame.baseline + watch.HELD, np.nan, view.recent.min(axis=0).astype(np.float64))


def trail(frame: Frame, state: FeatureState, row: int) -> Floats:
    """The same over the whole life of one asset, step by step or thinned evenly to at most 64."""
    view = _view(frame, state, slice(row, row + 1))
    return view.trail[: watch.taken(view.n[0]), 0].astype(np.float64)


def _heights(frame: Frame) -> tuple[int, int]:
    """How many sums and memories a frame keeps of an asset."""
    watched = 0 if frame.watch is None else watch.HELD + watch.TRAIL
    return _SUMS, 6 * frame.channels + 2 * len(HEALTH) + len(frame.levels) + watched


def _view(frame: Frame, state: FeatureState, rows: Rows = ALL) -> _View:
    C, H, held = frame.channels, len(HEALTH), 0 if frame.watch is None else watch.HELD
    sums, memories = state.sums[:, rows], state.memories[:, rows]
    ends = np.cumsum([C, C, C, C, C, C, H, H, len(frame.levels), held])
    return _View(sums[0], sums[1], sums[2:5], sums[5:8], sums[8], *np.split(memories, ends))


def _chunks(rows: Rows, count: int) -> list[tuple[Rows, int, int]]:
    """Parts of `rows` that fit the cache, each with its place in the step's columns."""
    if not isinstance(rows, slice):
        parts = [(rows[i : i + _CHUNK], i) for i in range(0, len(rows), _CHUNK)]
        return [(_as_slice(part), i, i + len(part)) for part, i in parts]
    first, last, _ = rows.indices(count)
    ends = [(i, min(i + _CHUNK, last)) for i in range(first, last, _CHUNK)]
    return [(slice(i, end), i - first, end - first) for i, end in ends]


def _as_slice(rows: NDArray[np.intp]) -> Rows:
    """Neighbours in order as a slice, which needs no copy of their state."""
    neighbours = rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    return slice(int(rows[0]), int(rows[-1]) + 1) if neighbours else rows


def _fold(frame: Frame, state: FeatureState, columns: Floats, follows: NDArray[np.bool_] | None) -> None:
    p, view, sensors = frame.sensors, _view(frame, state), health.view(frame, state.sensors)
    step = _believed(frame, view, sensors, columns, follows)
    _gather_shift(frame, view, sensors, step)
    z = np.clip(health.aligned(sensors, step), -frame.clip, frame.clip)
    _limit_noise(frame, view, sensors, z)
    _fill_missing(view, sensors, z)
    _fold_levels(frame, view, z + step.made * step.inverse_sd)

    t = view.n.copy()
    view.n[:] = t + 1
    q15, q60, q120 = (frame.memory(span) for span in (15, 60, 120))
    view.strange[:] = q15 * view.strange + strange_conditions(frame.conditions, step.u, step.distance)
    view.s15[:] = q15 * view.s15 + 1
    _fold_weights(view.s60, q60)
    _fold_weights(view.s120, q120)

    x: Floats = np.empty(view.x15.shape)
    x[:p] = z
    _fold_start(frame, view, x, slice(0, p))
    x[p:-1] = project(frame, z, step.regime)
    x[-1] = project_own(frame, _since_start(frame, view), view.start[:p].astype(np.float64))
    _fold_start(frame, view, x, slice(p, None))

    # mean' = mean + (x - mean) / n;   TX' = TX + (x - mean') (t - (t - 1) / 2)
    view.mean[:] = view.mean + (x - view.mean) / view.n
    view.tx[:] = view.tx + (x - view.mean) * ((t + 1) / 2)
    single = x.astype(np.float32)
    _fold_slope(view.x60, view.y60, single, q60)
    _fold_slope(view.x120, view.y120, single[p:], q120)
    _fold_watch(frame, view)
    if follows is not None:
        _fold_peers(frame, view, sensors)


def _believed(
    frame: Frame, view: _View, sensors: health.View, columns: Floats, follows: NDArray[np.bool_] | None
) -> Read:
    """One step `[m, k]` without the values of sensors that cannot be right; a new level is taken off."""
    step = read(frame, columns)
    if follows is None:
        return step
    z = health.aligned(sensors, step)
    if not (step.inverse_sd > 0).all() or sensors.left.any():
        z[(sensors.left > 0) | (step.inverse_sd <= 0)] = np.nan
    suspect = health.judge(frame, sensors, step.values, z, follows)
    if (sensors.jumped >= health.LASTING).any():
        health.gather_offset(frame, sensors, step, follows, _recent(view, frame.sensors))
    if suspect[frame.stating].any():
        believed = columns.copy()  # without its conditions nobody knows what any sensor should read
        believed[:, frame.kept] = np.where(suspect.T, np.nan, columns[:, frame.kept])
        step = read(frame, believed)
    if suspect.any() or sensors.offset.any():
        return step._replace(departure=np.where(suspect, np.nan, step.departure - sensors.offset))
    return step


def _gather_shift(frame: Frame, view: _View, sensors: health.View, step: Read) -> None:
    """How far new sensors read, on average, from what stands in for them."""
    new = sensors.left > 0
    if not new.any():
        return
    moves = step.inverse_sd > 0
    heard = new & moves & np.isfinite(step.departure)
    # shift = mean of (departure - recent mean of the sensor before)
    apart = step.departure - _recent(view, frame.sensors) / np.where(moves, step.inverse_sd, 1)
    left = sensors.left.astype(np.float64)
    change = (apart - sensors.shift) / np.maximum(frame.baseline - left + 1, 1)
    np.add(sensors.shift, change, out=sensors.shift, where=heard & (left <= frame.baseline))
    sensors.left[:] -= heard


def _limit_noise(frame: Frame, view: _View, sensors: health.View, z: Floats) -> None:
    """Of a sensor that is noisier than it was no value counts for more than its recent mean and a little, in place."""
    noisy = health.noisier(frame, sensors)
    if noisy.any():
        recent, most = _recent(view, len(z)), health.LIMIT * np.maximum(sensors.change, health.LEAST)
        np.copyto(z, np.clip(z, recent - most, recent + most), where=noisy)


def _fill_missing(view: _View, sensors: health.View, z: Floats) -> None:
    """A missing value is replaced by the sensor's own recent mean (0 before its first), and counted; so is, uncounted,
    that of a new sensor whose shift is not known yet."""
    missing = np.isnan(z)
    sensors.silent[:] = np.where(missing, np.minimum(sensors.silent, 65_534) + 1, 0)
    missing |= sensors.left > 0
    if missing.any():
        np.copyto(z, _recent(view, len(z)), where=missing)


def _recent(view: _View, sensors: int) -> Floats:
    """The recent mean of each kept sensor `[p, m]`, 0 before its first value [standard deviations]."""
    recent: Floats = view.x15[:sensors] / np.where(view.s15 > 0, view.s15, 1)
    return recent


def _fold_levels(frame: Frame, view: _View, level: Floats) -> None:
    """Short memory of levels `[p, m]`; one without known conditions is replaced by its own recent mean."""
    x = level[frame.levels].astype(np.float32)
    unknown = np.isnan(x)
    if unknown.any():
        np.copyto(x, view.level / np.where(view.s15 > 0, view.s15, 1), where=unknown, casting="same_kind")
    view.level[:] *= frame.memory(15)
    view.level[:] += x


def _fold_start(frame: Frame, view: _View, x: Floats, channels: slice) -> None:
    """Short memory and own start of some channels; the start freezes by steps, not by time."""
    x15 = view.x15[channels]
    x15 *= frame.memory(15)
    x15 += x[channels].astype(np.float32)
    young = view.n <= frame.baseline
    if young.any():
        change = (x[channels] - view.start[channels]) / view.n
        np.add(view.start[channels], change, out=view.start[channels], where=young)


def _fold_watch(frame: Frame, view: _View) -> None:
    if frame.watch is not None:
        known = view.n > frame.baseline
        value = np.where(known, watch.departure(frame.watch, _since_start(frame, view)), 0.0)
        watch.remember(view.recent, view.trail, view.n, value)


def _fold_peers(frame: Frame, view: _View, sensors: health.View) -> None:
    """What drifts is held against the others as it says itself: nobody knows better when it is right again."""
    due = np.flatnonzero(view.n % peers.EVERY == 0)
    if frame.peers is None or not len(due):
        return
    rows, recent = _as_slice(due), _recent(view, frame.sensors)
    recent[(sensors.silent > peers.EVERY) | (sensors.left > 0)] = np.nan
    apart = sensors.apart[:, rows]
    drifting, said = peers.drifting(frame, apart), sensors.trusted[:, rows]
    peers.fold(frame, apart, np.where(drifting, said.clip(-frame.clip, frame.clip), recent[:, rows]))
    sensors.apart[:, rows] = apart


def _since_start(frame: Frame, view: _View) -> Floats:
    p = frame.sensors
    return view.x15[:p] / view.s15 - view.start[:p]


def _fold_weights(s: Floats, q: float) -> None:
    """Sums of q^age, age q^age and age^2 q^age over all steps, `[3, m]`."""
    # S2 = q (S2 + 2 S1 + S0);  S1 = q (S1 + S0);  S0 = q S0 + 1        (old values on the right)
    s[2] = q * (s[2] + 2 * s[1] + s[0])
    s[1] = q * (s[1] + s[0])
    s[0] = q * s[0] + 1


def _fold_slope(x0: Singles, x1: Singles, x: Singles, q: float) -> None:
    """Sums of x q^age and x age q^age over all steps."""
    # X1 = q (X1 + X0);  X0 = q X0 + x        (old X0 on the right)
    x1 += x0
    x1 *= q
    x0 *= q
    x0 += x


def _emit(frame: Frame, view: _View) -> Floats:
    """Features `[F, m]`."""
    p, n = frame.sensors, view.n
    e15 = view.x15 / view.s15
    sl60 = _slope(view.x60, view.y60, view.s60, frame.damping)
    sl120 = _slope(view.x120, view.y120, view.s120, frame.damping)
    # wl = TX / (n (n^2 - 1)/12 + 25 n)
    wl = view.tx / (n * (n * n - 1) / 12 + frame.damping * n)
    slow = (sl120, sl60[p:] - wl[p:], sl60[p:] - sl120)
    return np.concatenate([e15, e15 - view.start, sl60, wl, *slow, view.level / view.s15, n[None]])


def _slope(x0: Singles, x1: Singles, s: Floats, damping: float) -> Floats:
    # sl = (S1/S0 X0 - X1) / (S2 - S1^2/S0 + 25 S0)
    s0, s1, s2 = s
    slope: Floats = (s1 / s0 * x0 - x1) / (s2 - s1 * s1 / s0 + damping * s0)
    return slope
