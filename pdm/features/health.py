"""Health of the sensors of a machine as a fold over its steps: which of them cannot be right at present, and how.

Each sensor is judged by its own past alone, in bounded memory: one machine and thousands get the same bits. With x what
it says, z its departure from what it should read, and d the change of z from one running step to the next:

    dropout  sequential test (Wald 1945) of missing values against the share that is usually missing
    stuck    the same value more often in a row than repeats of its past allow, by a chance of one in ten million
    spike    d beyond `JUMP` times the mean of |d|, back within `LASTING` steps
    level    the same, and it stays: another unit, another instrument, a loose contact
    noise    sequential test (Page 1954, doi 10.1093/biomet/41.1-2.100) of thrice the usual spread of d

A sensor that states how the machine is operated has nothing that it should read, and one that mostly repeats itself (it
reports on change, or its digits are coarse) says too little: only their dropout is seen. A slow drift of a sensor alone
cannot be told from wear.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.features.frame import Floats, Frame, departures, nearest_regime, operating_conditions


class Fault(IntEnum):
    """What is wrong with a sensor. The name in lower case is the public code."""

    NONE = 0
    DROPOUT = 1
    STUCK = 2
    SPIKE = 3
    LEVEL = 4
    NOISE = 5

    @property
    def code(self) -> str:
        return self.name.lower()


YOUNG = 30  # steps in which a sensor shows what is usual
JUMP = 8.0  # mean changes, from which on a change is none of the machine
LASTING = 3  # steps from which on a jump is no spike
MEMORY = 1 / 80  # weight of a step in what is usual
CHANCE = 1e-7  # of a run of equal values that is still believed
DROPPED, NOISY = 9.0, 14.0  # log of the odds from which on a test has decided
MOSTLY = 0.5  # share of repeats from which on a sensor says too little to be judged by its values
SHORTEST = 4  # equal values in a row that are always believed
LOG_CHANCE, LOG_2, LOG_3 = math.log(CHANCE), math.log(2), math.log(3)
LEAST = 0.02  # standard deviations; smaller changes than these are none

_ROWS = 11
_CHUNK = 1024  # assets at a time, so that their state stays in the cache


@dataclass
class SensorState:
    """What is known of the sensors of a cohort.

    Attributes:
        values: `[K, N]` float32, one column per asset, rows as in `_View`.
    """

    values: NDArray[np.float32]

    def take(self, rows: NDArray[Any]) -> "SensorState":
        """A copy of the state of these assets (indices or mask)."""
        return SensorState(np.ascontiguousarray(self.values[:, rows]))

    def put(self, rows: NDArray[Any], other: "SensorState") -> None:
        """Replace the state of these assets."""
        self.values[:, rows] = other.values

    def to_columns(self) -> Columns:
        """One row per asset, for a checkpoint."""
        return {"sensor_state": np.ascontiguousarray(self.values.T)}

    @staticmethod
    def from_columns(columns: Mapping[str, NDArray[Any]]) -> "SensorState":
        """Read what `to_columns` wrote."""
        return SensorState(np.ascontiguousarray(np.asarray(columns["sensor_state"], dtype=np.float32).T).copy())


class _View(NamedTuple):
    """The rows of a state by name, each `[p, m]`."""

    seen: NDArray[np.float32]  # steps with a value
    said: NDArray[np.float32]  # the last value
    run: NDArray[np.float32]  # values in a row that were equal to it
    repeats: NDArray[np.float32]  # share of values that are equal to the one before
    missing: NDArray[np.float32]  # share of steps without a value
    dropped: NDArray[np.float32]  # log odds of a dropout
    before: NDArray[np.float32]  # z of the last value
    trusted: NDArray[np.float32]  # z of the last value that is trusted
    change: NDArray[np.float32]  # mean of |d|
    noisy: NDArray[np.float32]  # log odds of more noise
    jumped: NDArray[np.float32]  # steps since a jump, 0 before any


def start(frame: Frame, count: int) -> SensorState:
    """The state of `count` assets before their first step."""
    return SensorState(np.zeros((_ROWS * frame.sensors, count), dtype=np.float32))


def renew(frame: Frame, state: SensorState, rows: NDArray[np.intp], columns: NDArray[np.bool_]) -> None:
    """Other sensors stand behind these columns `[m, k]` of the assets `rows`: nothing is known of them."""
    new = np.tile(columns[:, frame.kept].T, (_ROWS, 1))
    state.values[:, rows] = np.where(new, 0, state.values[:, rows])


def fold(
    frame: Frame,
    state: SensorState,
    rows: NDArray[np.intp],
    columns: Floats,
    shift: Floats,
    follows: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Judge one step of the assets `rows`, in place; returns `[m, p]` which kept sensors are not to be believed.

    Args:
        columns: `[m, k]` the step of each, NaN where missing.
        shift: `[p, m]` by how much new sensors read higher [units]; NaN while that is not known.
        follows: `[m]` whether the machine ran until the step began: while it warms up it jumps.
    """
    suspect = np.zeros((len(rows), frame.sensors), dtype=np.bool_)
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        values = state.values[:, rows[part]]
        view = _view(frame, values)
        held = _fold(frame, view, columns[part], shift[:, part], follows[part])
        state.values[:, rows[part]] = values
        suspect[part] = ((_faults(frame, view) != Fault.NONE) | held).T
    return suspect


def faults(frame: Frame, state: SensorState) -> NDArray[np.int8]:
    """`[n, p]` what is wrong with each kept sensor."""
    return np.ascontiguousarray(_faults(frame, _view(frame, state.values)).T)


def _view(frame: Frame, values: NDArray[np.float32]) -> _View:
    return _View(*values.reshape(_ROWS, frame.sensors, values.shape[1]))


def _fold(frame: Frame, view: _View, columns: Floats, shift: Floats, follows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns `[p, m]` which values are not believed before the next step confirms them."""
    x = np.ascontiguousarray(columns.T[frame.kept], dtype=np.float32)
    u = operating_conditions(frame.conditions, columns)
    departure, _, inverse_sd = departures(frame, columns, u, nearest_regime(frame.conditions, u)[0])
    departure -= shift
    departure *= inverse_sd
    states = _states(frame)
    z = np.where((inverse_sd > 0) & ~states, departure, np.nan).astype(np.float32)
    heard, known = np.isfinite(x), np.isfinite(z)
    _fold_dropout(view, heard)
    _fold_repeats(view, x, heard)
    _fold_noise(view, z, known & follows)
    held = _fold_jump(view, z, known, follows)
    np.copyto(view.before, z, where=known)
    view.seen[:] += heard & (states | known)
    return held


def _states(frame: Frame) -> NDArray[np.bool_]:
    """`[p, 1]` which kept sensors state how the machine is operated."""
    return np.isin(frame.kept, frame.conditions.columns)[:, None]


def _faults(frame: Frame, view: _View) -> NDArray[np.int8]:
    """`[p, m]`; of several the one that says most."""
    speaks = (view.repeats < MOSTLY) & ~_states(frame)
    found = np.zeros(view.seen.shape, dtype=np.int8)
    found[view.noisy > NOISY] = Fault.NOISE
    found[view.jumped > 0] = Fault.SPIKE
    found[view.jumped >= LASTING] = Fault.LEVEL
    found[_too_long(view)] = Fault.STUCK
    found[~speaks] = Fault.NONE
    found[view.dropped > DROPPED] = Fault.DROPOUT
    return found


def _too_long(view: _View) -> NDArray[np.bool_]:
    """`[p, m]` which runs of equal values are longer than is believed."""
    long = view.run > SHORTEST
    if long.any():
        share = view.repeats[long] + 2 / np.sqrt(np.minimum(view.seen[long], 300))  # a few values tell it badly
        long[long] = view.run[long] * np.log(np.clip(share, 0.02, 0.98)) < LOG_CHANCE
    return long


def _weight(view: _View) -> NDArray[np.float32]:
    """Of this step in what is usual: a plain mean at first."""
    return np.maximum(1 / (view.seen + 1), MEMORY)


def _fold_dropout(view: _View, heard: NDArray[np.bool_]) -> None:
    # log odds of missing (1 + usual) / 2 against the usual share; a step that nobody saw is no news
    news = np.full(heard.shape, -LOG_2, dtype=np.float32)
    if not heard.all():
        usual = np.clip(view.missing[~heard], 0.02, 0.9)
        news[~heard] = np.log((1 + usual) / (2 * usual))
        news *= heard.any(axis=0)
    view.dropped[:] = np.clip(view.dropped + news, 0, 2 * DROPPED) * (view.seen >= YOUNG)
    view.missing[:] += (~heard - view.missing) * _weight(view) * (view.dropped < DROPPED)


def _fold_repeats(view: _View, x: NDArray[np.float32], heard: NDArray[np.bool_]) -> None:
    again = heard & (x == view.said) & (view.seen > 0)
    # later on a run counts once it has ended, so that one that is too long does not excuse itself
    young, ended = view.seen < YOUNG, heard & ~again & ~_too_long(view)
    share = np.where(young, again, view.run / (view.run + 1))
    weight = _weight(view) * np.where(young, heard, np.minimum(view.run + 1, 1 / MEMORY) * ended)
    view.repeats[:] += (share - view.repeats) * weight
    view.run[:] = np.where(heard, (view.run + 1) * again, view.run)
    np.copyto(view.said, x, where=heard)


def _fold_noise(view: _View, z: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
    # a value that is said again is no change: a sensor that reports on change would seem to jump at each
    known = known & (view.seen > 0) & (view.run == 0)
    size = np.where(known, np.abs(z - view.before), 0)
    # mean |d| = sd sqrt(2/pi);  log odds = u^2/2 (1 - 1/9) - log 3
    u2 = np.minimum((size / np.maximum(view.change, LEAST)) ** 2 * (2 / math.pi), 16)
    view.noisy[:] = np.clip(view.noisy + (u2 * (4 / 9) - LOG_3) * known, 0, 1.5 * NOISY) * (view.seen >= YOUNG)
    learns = known & (view.noisy < NOISY) & (view.jumped == 0)
    size = np.where(view.seen < YOUNG, size, np.minimum(size, 4 * view.change))
    view.change[:] += (size - view.change) * _weight(view) * learns


def _fold_jump(
    view: _View, z: NDArray[np.float32], known: NDArray[np.bool_], follows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Returns `[p, m]` which sensors have jumped while nobody looked: a machine that warms up does so, too."""
    grown = view.seen >= YOUNG
    far = np.abs(z - view.trusted) > JUMP * np.maximum(view.change, LEAST)
    view.jumped[:] = np.where(known & follows & grown, (view.jumped + 1) * far, view.jumped)
    np.copyto(view.trusted, z, where=known & (view.jumped == 0) & (follows | ~grown))
    return np.asarray(known & far & grown & ~follows)
