"""Fit the forests of a head: which steps to learn from, their features, what is to be learned of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm import features
from pdm.features import FeatureState
from pdm.features.frame import Floats, Frame
from pdm.learn.lives import FEW
from pdm.learn.stack import Stack, joined
from pdm.prognosis.forests import Target, estimate
from pdm.prognosis.learned import ModeHead

ROWS = 16_000  # about as many steps are enough: neighbours in a life say nearly the same
NEAR = 0.5  # share of the horizon from which steps are taken ever more densely towards the failure
UNTOLD, UNTOLD_WEIGHT = 0.3, 0.1  # this first share of a life counts little: nothing is to be seen yet
MODE_ROUNDS = 100
FRACTION = 0.15  # of the features that a tree looks at
LEAF = (10, 200)  # fewest rows in a leaf: a fiftieth of all, within these
FOREST: dict[str, Any] = {
    "num_leaves": 31,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


Read = Callable[[Frame, FeatureState, NDArray[np.intp]], Floats]


class Plan(NamedTuple):
    """How a forest is grown: under which loss, at which learning rate, for how many rounds, and whether its splits are
    drawn at random (Geurts, Ernst, Wehenkel 2006, doi 10.1007/s10994-006-6226-1) or are the best there are."""

    loss: str
    rate: float
    rounds: int
    random: bool = False


PAIR = (Plan("regression", 0.03, 300), Plan("poisson", 0.05, 300))
SCOUT = Plan("regression", 0.1, 80)  # enough to tell what is better


@dataclass(frozen=True)
class Rows:
    """Steps picked from a stack of lives, r of them.

    Attributes:
        features: `[r, F]`.
        step: `[r]` which step of the stack.
        life: `[r]` which life.
    """

    features: NDArray[np.float32]
    step: NDArray[np.intp]
    life: NDArray[np.intp]

    def take(self, some: NDArray[Any]) -> "Rows":
        """Those under a mask, or of these numbers."""
        return Rows(self.features[some], self.step[some], self.life[some])

    @cached_property
    def _data(self) -> lgb.Dataset:
        """Their features in bins, which takes longer than to grow a scout."""
        return _binned(self.features, self.step, np.ones(len(self.step)), _parameters(len(self.step), seed=0))

    def labelled(self, value: Floats, weight: Floats) -> lgb.Dataset:
        """Data to grow forests on `[r]`, until it is labelled again."""
        return self._data.construct().set_label(value).set_weight(weight)


def learning_steps(stack: Stack, horizon: float) -> NDArray[np.bool_]:
    """Which steps to learn from, by their distance to the last one, `[longest life]`.

    Every so many, a power of two; the spacing halves whenever the distance does, so that the forests see the end.
    """
    spacing = 1 << max(1, int(np.ceil(np.log2(len(stack.columns) / ROWS))))
    distance = np.arange(stack.lengths.max())
    halvings = np.ceil(np.log2(NEAR * horizon / np.maximum(distance, 0.5))).clip(0, 62).astype(np.int64)
    return np.asarray(distance % np.maximum(spacing >> halvings, 1) == 0)


def fold_lives(frame: Frame, stack: Stack, wanted: NDArray[np.bool_], read: Read = features.emit) -> Rows:
    """Features of the steps at the `wanted` distances to the last step, by the fold that the service runs.

    Args:
        read: what is read from the state instead of all features.
    """
    return _folded(frame, stack, wanted[None], np.zeros(len(stack.lengths), dtype=np.intp), read)


def fold_together(frame: Frame, stacks: Sequence[Stack], wanted: Sequence[NDArray[np.bool_]]) -> list[Rows]:
    """The same of several stacks, each with what is wanted of it: in the time that the longest life takes alone."""
    stack = joined(stacks)
    of = np.repeat(np.arange(len(stacks)), [len(one.lengths) for one in stacks])
    which = np.zeros((len(stacks), stack.lengths.max()), dtype=np.bool_)
    for row, steps in zip(which, wanted, strict=True):
        row[: len(steps)] = steps
    rows = _folded(frame, stack, which, of, features.emit)
    found, first_life, first_step = list[Rows](), 0, 0
    for number, one in enumerate(stacks):
        here = np.flatnonzero(of[rows.life] == number)
        found.append(Rows(rows.features[here], rows.step[here] - first_step, rows.life[here] - first_life))
        first_life, first_step = first_life + len(one.lengths), first_step + len(one.columns)
    return found


def _folded(frame: Frame, stack: Stack, wanted: NDArray[np.bool_], of: NDArray[np.intp], read: Read) -> Rows:
    """Features of steps that are `wanted`, `[k, longest life]`, for each life by the row that it is `of`."""
    order = np.argsort(-stack.lengths, kind="stable")
    lengths = stack.lengths[order]
    first = (np.cumsum(stack.lengths) - stack.lengths)[order]
    state = features.start(frame, len(order))
    picked: list[Rows] = []
    for age in range(lengths[0]):
        alive = int((lengths > age).sum())  # the longest lives come first
        step = first[:alive] + age
        if stack.renewed is not None:
            features.renew(frame, state, np.arange(alive), stack.renewed[step])
        follows = np.ones(alive, dtype=np.bool_) if stack.follows is None else stack.follows[step]
        features.fold(frame, state, slice(0, alive), stack.columns[step], follows)
        rows = np.flatnonzero(wanted[of[order[:alive]], lengths[:alive] - 1 - age])
        if len(rows):
            seen = read(frame, state, rows).astype(np.float32)
            picked.append(Rows(seen, first[rows] + age, order[rows]))
    columns = ([getattr(one, name) for one in picked] for name in ("features", "step", "life"))
    return Rows(*map(np.concatenate, columns))


def fit_forests(
    rows: Rows,
    remaining: Floats,
    weight: Floats,
    target: Target,
    seed: int,
    plans: Sequence[Plan] = PAIR,
    lives: int = FEW,
) -> list[lgb.Booster]:
    """Forests for the target of what `remaining` `[r]`, one for each plan.

    Args:
        weight: `[r]` how much each row counts.
        lives: how many machines the rows are of.
    """
    value = target.of(remaining)
    if target.log:  # where lives differ tenfold, the long ones would be all that is learned from
        weight = weight / np.bincount(rows.life)[rows.life]
    parameters = _parameters(len(value), seed) | {"feature_fraction": _fraction(lives)}
    data = rows.labelled(value, weight)
    return [
        lgb.train(
            parameters | {"objective": plan.loss, "learning_rate": plan.rate, "extra_trees": plan.random},
            data,
            plan.rounds,
        )
        for plan in plans
    ]


def fit_by_mode(
    rows: Rows,
    remaining: Floats,
    weight: Floats,
    mode: NDArray[np.intp],
    target: Target,
    seed: int,
    plans: Sequence[Plan] = PAIR,
    lives: int = FEW,
) -> dict[int, list[lgb.Booster]]:
    """Forests for the time to each failure mode as if it alone could end a life, as those of `fit_forests`.

    A machine that one mode ended would have come to another one later; how much later is on no record. What is expected
    of it by a forest that knows the other machines stands in, no less than what it lived (Buckley and James 1979,
    doi 10.1093/biomet/66.3.429).

    Args:
        mode: `[r]` the number of the mode that ended the life, -1 where none is on record.
    """
    found = {}
    for number in np.unique(mode[mode >= 0]).tolist():
        known = (mode == number) | (remaining >= target.cap)
        cut = ~known & (mode >= 0)
        scout = fit_forests(rows.take(known), remaining[known], weight[known], target, seed, (SCOUT,), lives)
        stand_in = remaining.copy()
        if cut.any():
            stand_in[cut] = np.maximum(remaining[cut], target.life(estimate(scout, rows.features[cut])))
        some = known | cut
        found[number] = fit_forests(rows.take(some), stand_in[some], weight[some], target, seed, plans, lives)
    return found


def fit_modes(
    features: NDArray[np.float32], life: NDArray[np.intp], modes: Sequence[str | None], names: Sequence[str], seed: int
) -> ModeHead | None:
    """Which mode comes first, from steps near the end of lives; None where the lives `[n]` name fewer than two.

    Args:
        features: `[r, F]`.
        life: `[r]` which life each step is of.
    """
    counts = {name: count for name in names if (count := sum(mode == name for mode in modes))}
    if len(counts) < 2:
        return None
    number = np.array([list(counts).index(mode) if mode in counts else -1 for mode in modes])[life]
    named = number >= 0
    shares = np.array(list(counts.values()), dtype=np.float64)
    parameters = _parameters(int(named.sum()), seed)
    data = _binned(features[named], number[named], np.ones(int(named.sum())), parameters)
    special = {"objective": "multiclass", "num_class": len(counts), "learning_rate": 0.05}
    forest = lgb.train(parameters | special, data, MODE_ROUNDS)
    return ModeHead(tuple(counts), shares / shares.sum(), forest)


def _fraction(lives: int) -> float:
    """Which share of the features a tree looks at.

    Of few machines some feature tells every step apart. Trees that may choose among many take it, and learn these
    machines by heart; trees that look at a feature or two each have to agree.
    """
    return FRACTION * min(1.0, lives / FEW) ** 2


def _parameters(rows: int, seed: int) -> dict[str, Any]:
    return FOREST | {"min_data_in_leaf": int(np.clip(rows / 50, *LEAF)), "feature_fraction": FRACTION, "seed": seed}


def _binned(x: NDArray[np.float32], y: NDArray[Any], weight: Floats, parameters: dict[str, Any]) -> lgb.Dataset:
    """Data that several forests are grown on."""
    return lgb.Dataset(x, y, weight=weight, params=parameters)
