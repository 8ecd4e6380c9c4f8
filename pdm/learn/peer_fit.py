"""Learn from lives which sensors have peers that tell a drift of theirs from wear, and how far they get apart anyway.

With M the mean square of the slow departures of all sensors from each machine's own start, each life weighing the same,
and P its inverse, the others tell a sensor best with weights -P_ij / P_ii: a ridge of each on the others. What they
leave over has the size 1 / sqrt(P_ii), and |P_ij| / sqrt(P_ii P_jj) says how much alike drifts of two sensors look.
Limits rest on lives left out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdm.durations import DAY_MS
from pdm.features import slow_since_start
from pdm.features.frame import Floats, Frame, Peers
from pdm.learn.forest_fit import fold_lives
from pdm.learn.stack import Stack
from pdm.plant import AssetClass

FEWEST = 20  # lives; of fewer nobody knows how far apart sensors get by themselves
PARTS = 5
EVERY = 8  # steps; a slow mean says little new from one to the next
NOISE = 0.1  # standard deviations, added to each sensor: sensors that say nearly the same would get huge weights
USUAL, MARGIN = 0.9, 1.75  # the limit is so many times what so many lives left out stay below
SELDOM = 0.05  # share of the lives left out that may exceed it
A_DAY = 1 / 1000  # false flags in a day of a sensor
ALIKE, NEARLY = 0.6, 0.9  # from which on drifts of a sensor and one that is not judged, or is, cannot be told apart


def fit_peers(asset_class: AssetClass, frame: Frame, stack: Stack, seed: int) -> Peers | None:
    """Peers of the sensors of lives from start to failure; None where no sensor has any."""
    lives = _slow_departures(frame, stack)
    if len(lives) < FEWEST:
        return None
    part = np.random.default_rng([seed, 3]).permutation(len(lives)) % PARTS
    apart = np.empty((len(lives), frame.sensors))
    for number in range(PARTS):
        weights, _ = _relation([life for life, mine in zip(lives, part, strict=True) if mine != number])
        for place in np.flatnonzero(part == number):
            apart[place] = _span(weights @ lives[place])
    limit: Floats = MARGIN * np.quantile(apart, USUAL, axis=0)
    moved = np.quantile([_span(life) for life in lives], USUAL, axis=0)
    flagged = (apart > limit).sum(axis=0)
    seldom = flagged <= min(SELDOM * len(lives), A_DAY * _days(asset_class, stack))
    weights, alike = _relation(lives)
    tight = limit < moved * np.diag(weights)
    judged = _told_apart(~frame.stating & tight & seldom, alike)
    return Peers(judged, weights, limit) if judged.any() else None


def _slow_departures(frame: Frame, stack: Stack) -> list[Floats]:
    """Slow means of the sensors less the own start of each life `[p, L / EVERY]`, once that is known."""
    wanted = np.arange(stack.lengths.max()) % EVERY == 0
    rows = fold_lives(frame, stack, wanted, slow_since_start)
    order = np.argsort(rows.step)
    by_life = np.split(rows.features[order].astype(np.float64), np.cumsum(np.bincount(rows.life))[:-1])
    known = [life[np.isfinite(life).all(axis=1)].T for life in by_life]
    return [life for life in known if life.shape[1]]


def _relation(lives: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Weights `[p, p]` of what the others leave over of each [its usual size]; how much alike drifts of two look."""
    square = np.mean([life @ life.T / life.shape[1] for life in lives], axis=0)
    inverse = np.linalg.inv(square + NOISE**2 * np.eye(len(square)))
    own = np.sqrt(np.diag(inverse))
    return inverse / own[:, None], np.abs(inverse) / (own[:, None] * own)


def _span(values: Floats) -> Floats:
    """How far each row of `[p, s]` gets apart from itself, zero included: a machine may join at any time."""
    return np.asarray(values.max(axis=1, initial=0) - values.min(axis=1, initial=0))


def _days(asset_class: AssetClass, stack: Stack) -> float:
    """Days that the machines ran; infinite where nobody knows how long a step takes."""
    duration_ms = asset_class.life_step.duration_ms
    return np.inf if duration_ms is None else len(stack.columns) * duration_ms / DAY_MS


def _told_apart(tight: NDArray[np.bool_], alike: Floats) -> NDArray[np.bool_]:
    """`[p]` the sensors of which a drift is not taken for one of another."""
    other = ~np.eye(len(tight), dtype=np.bool_)
    judged = tight & ~(other & (alike > NEARLY)).any(axis=1)
    while (mistaken := judged & (other & ~judged & (alike > ALIKE)).any(axis=1)).any():
        judged &= ~mistaken
    return judged
