"""Drift of a sensor against its peers, the other sensors of its machine, as a fold over steps.

A drift of one sensor alone looks like wear. Where lives have shown how sensors move together when a machine wears, what
the others leave over of it hardly moves, and of a drift nearly all is left. With e the recent means of the departures:

    rest  = weights e                                   `pdm.learn.peer_fit`
    usual = mean of rest over the machine's own start
    apart = slow mean of rest - usual, from zero on

A sensor drifts that is farther apart than its limit. Its error shows in what is left over of others, too, but less:
only the one that is farthest apart is named, and nothing if that one is not judged.
"""

import numpy as np
from numpy.typing import NDArray

from pdm.features.frame import Floats, Frame, Singles

Parts = NDArray[np.int16]
Flags = NDArray[np.bool_]

EVERY = 8  # steps; a drift is slow
SPAN = 60.0  # of the slow mean, at a time scale of 1 [steps]

_PARTS = np.float32(128)  # what is remembered is kept in so many parts of a usual size
_MOST = 32_767


def height(frame: Frame) -> int:
    """How many numbers are remembered of a machine: `usual` and `apart` of each sensor, and of how many steps."""
    return 0 if frame.peers is None else 2 * frame.sensors + 1


def fold(frame: Frame, state: Parts, recent: Floats) -> None:
    """Take in recent departures `[p, m]`, NaN where unknown, in place; `state` `[height, m]`.

    A machine of which a sensor is unknown tells nothing: it is in what is left over of each.
    """
    if frame.peers is None:
        return
    kept, taken = state[:-1] / _PARTS, state[-1]
    usual, apart = np.split(kept, 2)
    rest = _rest(frame.peers.weights, recent.astype(np.float32, order="C"))
    known = np.isfinite(rest).all(axis=0)
    young = known & (taken * EVERY < frame.baseline)
    taken += young
    rest -= usual
    np.add(usual, rest / np.maximum(taken, 1).astype(np.float32), out=usual, where=young)
    rest -= apart
    rest *= np.float32(1 - frame.memory(SPAN / EVERY))
    np.add(apart, rest, out=apart, where=known & ~young)
    state[:-1] = np.rint(kept * _PARTS).clip(-_MOST, _MOST)


def drifting(frame: Frame, state: Parts) -> Flags:
    """`[p, m]` which sensors drift away from the others."""
    if frame.peers is None:
        return np.zeros((frame.sensors, state.shape[1]), dtype=np.bool_)
    apart = np.abs(state[frame.sensors : -1])
    limit = np.where(frame.peers.judged, np.minimum(_PARTS * frame.peers.limit, _MOST), _MOST).astype(np.int16)
    found: Flags = apart > limit[:, None]
    return found & (apart == apart.max(axis=0)) if found.any() else found


def _rest(weights: Floats, recent: Singles) -> Singles:
    """What is left over of each sensor `[p, m]`, summed in a fixed order as everywhere in the fold."""
    rest = np.zeros_like(recent)
    for of_all, one in zip(weights.T.astype(np.float32), recent, strict=True):
        rest += of_all[:, None] * one
    return rest
