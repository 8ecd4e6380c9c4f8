"""Health of the sensors of a machine as a fold over its steps: which of them cannot be right at present, and how.

Each sensor is judged by its own past, for a drift also by the others of its machine, in bounded memory, without exp,
log or power: one machine and thousands get the same bits. With x what it says, z its departure from what it should
read, and d how far z is from its last value that was believed:

    dropout  sequential test (Wald 1945) of missing values against the share that is usually missing
    stuck    the same value more often in a row than repeats of its past allow, by a chance of one in ten million
    spike    d beyond `JUMP` times the mean of |d|, back within `LASTING` steps; in the first step after a rest, while
             the machine warms up, also beyond `RESTING` times what is usual there, and named once it is back
    level    the same, and it stays: another instrument, a loose contact; two at a time are the machine's doing
    unit     the same, and another unit explains it (`pdm.features.told_units`)
    noise    sequential test (Page 1954, doi 10.1093/biomet/41.1-2.100) of thrice the usual spread of d; not where a
             machine changes between regimes, in which a sensor is not equally noisy, nor where lives have shown that
             the sensor grows noisier as machines wear (`Frame.restless`)
    drift    away from its peers, where they tell that from wear (`pdm.features.peers`)

What one at fault says is left out, but in two cases it goes on to tell of the machine. Noise has no direction: values
count up to `LIMIT`. And a level that stays is taken off, once it is known how high it is, as behind a new sensor; it
is believed where lives have shown that it comes with wear (`Frame.jumps`).

A sensor that states how the machine is operated has nothing that it should read, and one that mostly repeats itself (it
reports on change, or its digits are coarse) says too little: only their dropout is seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.features import peers
from pdm.features.frame import Floats, Frame, Read, Singles

Flags = NDArray[np.bool_]


class Fault(IntEnum):
    """What is wrong with a sensor. The name in lower case is the public code."""

    NONE = 0
    DROPOUT = 1
    STUCK = 2
    SPIKE = 3
    LEVEL = 4
    NOISE = 5
    DRIFT = 6
    UNIT_MISMATCH = 16  # and every number above: which unit it is told in, of `pdm.units.others`

    @property
    def code(self) -> str:
        return self.name.lower()

    @classmethod
    def _missing_(cls, value: object) -> "Fault | None":
        return cls.UNIT_MISMATCH if isinstance(value, int) and value > cls.UNIT_MISMATCH else None


YOUNG = 30  # steps in which a sensor shows what is usual
JUMP = np.float32(7.5)  # mean changes, from which on a change is none of the machine
RESTING = np.float32(2.5)  # times what is usual in the first step after a rest, from which on that is a spike, too
LASTING = 3  # steps from which on a jump is no spike
WITNESSES = 2  # sensors at a new level, from which on it is the machine's
MEMORY = np.float32(1 / 80)  # weight of a step in what is usual
LOG_CHANCE = np.float32(16.1)  # of a run of equal values that is still believed: one in ten million
MOSTLY = 0.5  # share of repeats from which on a sensor says too little to be judged by its values
SHORTEST = 4  # equal values in a row that are always believed
DOUBT = 24  # sound steps after which a fault that has lasted is forgotten
LEAST = np.float32(0.02)  # standard deviations; smaller changes than these are none
LIMIT = np.float32(2.5)  # mean changes off its recent mean, beyond which what a noisy sensor says counts no more
FAR = 1e9  # standard deviations; nothing is farther off than this

_ODDS = 12  # logs of odds are kept in twelfths
_DROPPED, _NOISY = 105, 168  # from which on a test has decided, in twelfths: 8.75 and 14
_LOG_2, _LOG_3 = 8, 13  # in twelfths
_SHARE = 65_535  # shares are kept in 1 / 65,535
_MOST = 65_535, 255  # what is counted in 16 and in 8 bits stops there

_WOKE, _RESTS = 8, 16  # what is seen after a rest is kept in eighths, and up to so many mean changes

_VALUES, _COUNTS, _MARKS = 5, 5, 8


@dataclass
class SensorState:
    """What is known of the sensors of a cohort, one column per asset, rows as in `View`.

    Attributes:
        values: `[5 p, N]` float32.
        counts: `[5 p, N]` uint16.
        marks: `[8 p, N]` uint8.
        apart: `[h, N]` int16, what `pdm.features.peers` remembers; no row where no drift is judged.
    """

    values: Singles
    counts: NDArray[np.uint16]
    marks: NDArray[np.uint8]
    apart: NDArray[np.int16]

    def take(self, rows: NDArray[Any] | slice) -> "SensorState":
        """The state of these assets (indices or mask: a copy; a slice: the same memory)."""
        return SensorState(self.values[:, rows], self.counts[:, rows], self.marks[:, rows], self.apart[:, rows])

    def put(self, rows: NDArray[Any] | slice, other: "SensorState") -> None:
        """Replace the state of these assets."""
        self.values[:, rows], self.counts[:, rows], self.marks[:, rows] = other.values, other.counts, other.marks
        self.apart[:, rows] = other.apart

    def grow(self, count: int) -> "SensorState":
        """The same assets followed by `count` that have no step yet."""
        more = ((0, 0), (0, count))
        values, counts, marks = np.pad(self.values, more), np.pad(self.counts, more), np.pad(self.marks, more)
        return SensorState(values, counts, marks, np.pad(self.apart, more))

    def to_columns(self) -> Columns:
        """One row per asset, for a checkpoint."""
        return {
            "sensor_values": np.ascontiguousarray(self.values.T),
            "sensor_counts": np.ascontiguousarray(self.counts.T),
            "sensor_marks": np.ascontiguousarray(self.marks.T),
            **({"sensor_apart": np.ascontiguousarray(self.apart.T)} if len(self.apart) else {}),
        }

    @staticmethod
    def from_columns(columns: Mapping[str, NDArray[Any]]) -> "SensorState":
        """Read what `to_columns` wrote."""
        names = ("sensor_values", "sensor_counts", "sensor_marks", "sensor_apart")
        none = np.zeros((len(columns["sensor_values"]), 0), dtype=np.int16)
        return SensorState(*(np.ascontiguousarray(columns.get(name, none).T).copy() for name in names))


class View(NamedTuple):
    """The rows of a state by name, each `[p, m]` but the last."""

    said: Singles  # the last value
    trusted: Singles  # z of the last value that is trusted
    change: Singles  # mean of |d|
    shift: Singles  # by how much a new sensor reads higher than the one before [its unit]
    offset: Singles  # by how much one at another level reads higher than before, 0 for one that is not [its unit]
    run: NDArray[np.uint16]  # values in a row that were equal to the last
    repeats: NDArray[np.uint16]  # share of values that are equal to the one before
    missing: NDArray[np.uint16]  # share of steps without a value
    silent: NDArray[np.uint16]  # steps in a row without a value that is believed
    left: NDArray[np.uint16]  # steps in which a new sensor is still silent, 0 for one that is not new
    seen: NDArray[np.uint8]  # steps with a value
    dropped: NDArray[np.uint8]  # log odds of a dropout
    noisy: NDArray[np.uint8]  # log odds of more noise
    jumped: NDArray[np.uint8]  # steps since a jump, 0 before any
    woke: NDArray[np.uint8]  # |d| of a first step after a rest [eighths of the mean change] and 1, then 0
    calm: NDArray[np.uint8]  # by how much less than `_RESTS` it usually is [sixteenths of the mean change]
    doubt: NDArray[np.uint8]  # two more for each step at fault, one less for each other
    told: NDArray[np.uint8]  # which other unit explains the jump, from 1 on; 0 for none
    apart: NDArray[np.int16]  # `[h, m]` of all sensors together


def start(frame: Frame, count: int) -> SensorState:
    """The state of `count` assets before their first step."""
    p = frame.sensors
    return SensorState(
        np.zeros((_VALUES * p, count), dtype=np.float32),
        np.zeros((_COUNTS * p, count), dtype=np.uint16),
        np.zeros((_MARKS * p, count), dtype=np.uint8),
        np.zeros((peers.height(frame), count), dtype=np.int16),
    )


def view(frame: Frame, state: SensorState) -> View:
    """The rows of a state by name, in the same memory."""
    shape = frame.sensors, state.values.shape[1]
    values, counts = state.values.reshape(_VALUES, *shape), state.counts.reshape(_COUNTS, *shape)
    return View._make([*values, *counts, *state.marks.reshape(_MARKS, *shape), state.apart])


def fits(frame: Frame, state: SensorState) -> bool:
    """Whether the state was made for a frame of as many sensors."""
    heights = _VALUES * frame.sensors, _MARKS * frame.sensors, peers.height(frame)
    return (len(state.values), len(state.marks), len(state.apart)) == heights


def renew(frame: Frame, state: SensorState, rows: NDArray[np.intp], columns: Flags) -> None:
    """Other sensors stand behind these columns `[m, k]` of the assets `rows`: nothing is known of their health."""
    old, new = state.take(rows), columns[:, frame.kept].T
    seen = view(frame, old)
    for name in set(View._fields) - {"shift", "silent", "left", "apart"}:
        getattr(seen, name)[new] = 0
    seen.apart[:, new.any(axis=0)] = 0  # what is left over of each sensor rests on all of them
    state.put(rows, old)


def aligned(seen: View, step: Read) -> Floats:
    """Departures `[p, m]` of the sensors as if none had been replaced [standard deviations], NaN where unknown."""
    departure = step.departure - seen.shift if seen.shift.any() else step.departure
    return departure * step.inverse_sd


def judge(frame: Frame, seen: View, values: Floats, z: Floats, follows: Flags) -> Flags:
    """Judge one step in place; returns `[p, m]` which sensors are to be left out.

    Args:
        values: `[p, m]` what they say, NaN where missing.
        z: `[p, m]` their departures [standard deviations], NaN where unknown.
        follows: `[m]` whether the machine ran until the step began: while it warms up it jumps.
    """
    stating = frame.stating[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        x = values.astype(np.float32)
        moved = np.abs(x - seen.said)
    u = np.clip(np.where(stating, np.nan, z), -FAR, FAR).astype(np.float32)
    heard, known, grown = x == x, u == u, seen.seen >= YOUNG
    weight, lost = _weight(seen), _too_long(seen) | (seen.dropped > _DROPPED)
    _fold_dropout(seen, heard, grown, weight)
    _fold_repeats(seen, x, heard, grown, weight)
    back = lost & heard & (seen.run == 0)
    held = _fold_changes(frame, seen, u, moved, known, follows, grown, weight, back)
    _believe_each_other(seen, u, known)
    if frame.conditions.regimes.shape[1] > 1:
        seen.noisy[:] = 0
    elif frame.restless is not None:
        seen.noisy[frame.restless] = 0
    seen.seen[:] += (heard & (known | stating)) & (seen.seen < _MOST[1])
    suspect = _suspect(frame, seen)
    if frame.peers is not None:
        suspect |= peers.drifting(frame, seen.apart)
    if suspect.any() or seen.doubt.any():
        seen.doubt[:] = np.where(suspect, np.minimum(seen.doubt, DOUBT - 2) + 2, np.maximum(seen.doubt, 1) - 1)
    if seen.offset.any():
        seen.offset[~_at_new_level(frame, seen)] = 0
    return suspect & ~_heard(frame, seen) | held & (seen.jumped == 0) if suspect.any() else held


def gather_offset(frame: Frame, seen: View, step: Read, follows: Flags, recent: Floats) -> None:
    """By how much sensors that stay at another level read higher than before, in place; to be called after `judge`.

    Args:
        step: what was judged.
        recent: `[p, m]` recent means of the departures that were believed [standard deviations].
    """
    since, moves = seen.jumped - np.float32(LASTING - 1), step.inverse_sd > 0
    away = _at_new_level(frame, seen) & follows & moves & np.isfinite(step.departure)
    apart = step.departure - seen.shift - recent / np.where(moves, step.inverse_sd, 1)
    change = (apart - seen.offset) / np.maximum(since, 1)
    gathering = away & (since <= _gathered(frame))
    np.add(seen.offset, change, out=seen.offset, where=gathering, casting="same_kind")
    # once it is known, what the sensor would say goes on: back there it is sound again
    settled = (aligned(seen, step) - seen.offset * step.inverse_sd).astype(np.float32)
    np.copyto(seen.trusted, settled, where=away & ~gathering)


def faults(frame: Frame, state: SensorState) -> NDArray[np.int8]:
    """`[n, p]` what is wrong with each kept sensor, as numbers of `Fault`; of several things what says most."""
    seen = view(frame, state)
    speaks = _speaks(frame, seen)
    found = np.zeros(seen.seen.shape, dtype=np.int8)
    found[noisier(frame, seen)] = Fault.NOISE
    found[seen.jumped > 0] = Fault.SPIKE
    found[seen.jumped >= LASTING] = Fault.LEVEL
    found[_too_long(seen)] = Fault.STUCK
    found[~speaks] = Fault.NONE
    told = seen.told > 0
    found[told] = Fault.UNIT_MISMATCH - 1 + seen.told[told]
    found[seen.dropped > _DROPPED] = Fault.DROPOUT
    found[(found == Fault.NONE) & peers.drifting(frame, state.apart)] = Fault.DRIFT
    return np.ascontiguousarray(found.T)


def noisier(frame: Frame, seen: View) -> Flags:
    """`[p, m]` which sensors change more from step to step than they did."""
    return np.asarray((seen.noisy > _NOISY) & _speaks(frame, seen))


def doubted(frame: Frame, state: SensorState) -> Flags:
    """`[n, p]` which kept sensors are at fault or were so lately: one that comes and goes is one matter."""
    return np.ascontiguousarray(view(frame, state).doubt.T > 0)


def mistold(frame: Frame, state: SensorState, rows: NDArray[np.intp]) -> Flags:
    """`[m]` which of the assets `rows` have a sensor that speaks in another unit."""
    return np.asarray((view(frame, state).told[:, rows] > 0).any(axis=0))


def _suspect(frame: Frame, seen: View) -> Flags:
    """`[p, m]` which sensors are at fault."""
    wrong = (seen.noisy > _NOISY) | (seen.jumped > 0) | _too_long(seen)
    return np.asarray((wrong & _speaks(frame, seen)) | (seen.told > 0) | (seen.dropped > _DROPPED))


def _heard(frame: Frame, seen: View) -> Flags:
    """`[p, m]` which sensors at fault go on to tell of the machine."""
    settled = seen.jumped >= LASTING + _gathered(frame)
    if frame.jumps is not None:
        settled |= frame.jumps[:, None] & (seen.jumped >= LASTING)
    lost = _too_long(seen) | (seen.dropped > _DROPPED) | (seen.told > 0)
    if frame.peers is not None:
        lost |= peers.drifting(frame, seen.apart)
    return np.asarray((noisier(frame, seen) | settled) & ~lost)


def _at_new_level(frame: Frame, seen: View) -> Flags:
    """`[p, m]` which sensors stay at a level that is none of the machine's."""
    away = (seen.jumped >= LASTING) & (seen.told == 0) & (seen.noisy <= _NOISY) & _speaks(frame, seen)
    return np.asarray(away if frame.jumps is None else away & ~frame.jumps[:, None])


def _gathered(frame: Frame) -> int:
    """Steps in which the offset of a new level is gathered: less than the short memory reaches."""
    return min(max(1, frame.baseline - LASTING), _MOST[1] - LASTING - 1)


def _speaks(frame: Frame, seen: View) -> Flags:
    return np.asarray((seen.repeats < MOSTLY * _SHARE) & ~frame.stating[:, None])


def _too_long(seen: View) -> Flags:
    """`[p, m]` which runs of equal values are longer than is believed."""
    long = seen.run > SHORTEST
    if long.any():
        known = np.minimum(seen.seen[long], np.float32(_MOST[1]))
        share = seen.repeats[long] / np.float32(_SHARE) + 2 / np.sqrt(known)  # a few values tell it badly
        share = np.clip(share, np.float32(0.02), np.float32(0.98))
        # share^run < chance, with -log(share) by the first term of its series in (1 - share) / (1 + share)
        long[long] = seen.run[long] * (2 * (1 - share)) > LOG_CHANCE * (1 + share)
    return long


def _weight(seen: View) -> Any:
    """Of this step in what is usual: a plain mean at first."""
    if seen.seen.min(initial=_MOST[1]) >= 80:
        return MEMORY
    return np.maximum(1 / (seen.seen.astype(np.float32) + 1), MEMORY)


def _towards(shares: NDArray[np.uint16], now: Any, weight: Any) -> None:
    """Move shares towards what they are now, by this weight, in place."""
    moved = shares.astype(np.float32)
    moved += (_SHARE * np.float32(1) * now - moved) * weight
    moved += np.float32(0.5)
    shares[:] = moved


def _fold_dropout(seen: View, heard: Flags, grown: Flags, weight: Any) -> None:
    if heard.all() and not seen.dropped.any():
        _towards(seen.missing, np.float32(0), weight)
        return
    usual = np.clip(seen.missing / np.float32(_SHARE), np.float32(0.02), np.float32(0.9))
    # log odds of missing (1 + usual) / 2 against the usual share, by its series; a step that nobody saw is no news
    r = (1 - usual) / (1 + 3 * usual)
    r2 = r * r
    gained = 2 * _ODDS * r * (1 + r2 * (1 / 3 + r2 * (1 / 5 + r2 * (1 / 7 + r2 * (1 / 9 + r2 / 11)))))
    odds = seen.dropped + np.where(heard, np.float32(-_LOG_2), np.rint(gained)) * heard.any(axis=0)
    seen.dropped[:] = np.clip(odds, 0, 2 * _DROPPED) * grown
    _towards(seen.missing, ~heard, weight * (seen.dropped < _DROPPED))


def _fold_repeats(seen: View, x: Singles, heard: Flags, grown: Flags, weight: Any) -> None:
    again = heard & (x == seen.said) & (seen.seen > 0)
    # later on a run counts once it has ended, so that one that is too long does not excuse itself
    ended = heard & ~again & ~_too_long(seen)
    run = seen.run.astype(np.float32) + 1
    share = np.where(grown, (run - 1) / run, again)
    _towards(seen.repeats, share, weight * np.where(grown, np.minimum(run, 80) * ended, heard))
    np.minimum(run, _MOST[0], out=run)
    seen.run[:] = np.where(heard, run * again, seen.run)
    np.copyto(seen.said, x, where=heard)


def _fold_changes(
    frame: Frame,
    seen: View,
    z: Singles,
    moved: Singles,
    known: Flags,
    follows: Flags,
    grown: Flags,
    weight: Any,
    back: Flags,
) -> Flags:
    """Returns `[p, m]` which sensors have jumped while nobody looked: a machine that warms up does so, too.

    Those that are `back` from being stuck or silent are believed: the machine has gone on meanwhile. Of a young one
    nobody knows what is usual: only what is beyond the clip of the frame is a spike, and what stays is believed. One
    that has hardly `moved` [its unit] has not jumped: what it should read has, since the machine is in another regime.
    """
    if back.any():
        seen.jumped[back] = 0
        np.copyto(seen.trusted, z, where=back & known)
    usual = np.maximum(seen.change, LEAST)
    size = np.where(known, np.abs(z - seen.trusted), np.float32(0))
    most = np.where(grown, JUMP * usual, np.float32(frame.clip))
    far = (size > most) & (grown | follows & (seen.jumped < LASTING - 1))
    believed = seen.jumped == 0
    if frame.conditions.regimes.shape[1] > 1 and far.any():
        far &= ~believed | ~follows | (seen.woke > 0) | (moved > most * frame.sd[:, None])
    # a value that is said again is no change: a sensor that reports on change would seem to jump at each
    news = known & follows & believed & (grown | ~far) & (seen.seen > 0) & (seen.run == 0)
    ratio: Singles = np.divide(size, usual)
    _fold_noise(seen, size, ratio, news, grown, weight)
    if far.any() or not believed.all():
        steps = (np.minimum(seen.jumped, _MOST[1] - 1) + np.uint8(1)) * far
        seen.jumped[:] = np.where(known & follows, steps, seen.jumped)
        seen.told[:] *= seen.jumped > 0
        believed = seen.jumped == 0
    far &= follows | (seen.woke == 0)  # where steps hardly ever follow each other, the second one is taken as it is
    np.copyto(seen.trusted, z, where=known & believed & ~far & (follows | grown | (seen.seen == 0)))
    _fold_rests(seen, ratio, far, known, follows, grown)
    return np.asarray(known & far & ~follows)


def _believe_each_other(seen: View, z: Singles, known: Flags) -> None:
    """Sensors at a new level at the same time bear each other out: it is the machine that has changed."""
    moved = (seen.jumped >= LASTING) & (seen.told == 0)
    agree = (seen.jumped > 0) & (seen.told == 0) & (moved.sum(axis=0) >= WITNESSES)
    if agree.any():
        seen.jumped[agree] = 0
        np.copyto(seen.trusted, z, where=agree & known)


def _fold_rests(seen: View, ratio: Singles, far: Flags, known: Flags, follows: Flags, grown: Flags) -> None:
    """What stuck out in the first step after a rest and is back in the next one was a spike, or is usual there."""
    back = (seen.woke > 0) & known & follows & ~far
    if back.any():
        out, usual = (seen.woke - np.float32(1)) / _WOKE, _RESTS - seen.calm / np.float32(16)
        seen.jumped[back & (out > JUMP) & (out > RESTING * usual)] = 1
        usual += (np.minimum(out, 2 * usual) - usual) * np.float32(0.25)
        np.copyto(seen.calm, np.rint((_RESTS - usual) * 16).clip(0, _MOST[1]).astype(np.uint8), where=back)
    if seen.woke.any() or not follows.all():
        woke = np.minimum(ratio * _WOKE + 1, _MOST[1])
        seen.woke[:] = woke * (known & grown & ~follows)


def _fold_noise(seen: View, size: Singles, ratio: Singles, news: Flags, grown: Flags, weight: Any) -> None:
    # mean |d| = sd sqrt(2/pi);  log odds = u^2/2 (1 - 1/9) - log 3, of no more than five mean changes
    u = np.minimum(ratio, 5)
    odds = u * u * np.float32(_ODDS * 4 / 9 * 2 / np.pi)
    odds -= _LOG_3
    odds *= news
    odds += seen.noisy
    seen.noisy[:] = (np.clip(odds, 0, 1.5 * _NOISY) + np.float32(0.5)) * grown
    size = np.where(grown, np.minimum(size, 4 * seen.change), size)
    size -= seen.change
    size *= weight
    size *= news & (seen.noisy < _NOISY)
    seen.change[:] += size
