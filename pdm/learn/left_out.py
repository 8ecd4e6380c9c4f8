"""Forecasts of machines by somebody who has not seen them: each fifth by a frame and forests of the others.

Whatever is said about a machine here rests on other machines alone: the spread of a part is that of the other parts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm.degradation import Weibull
from pdm.features.frame import Floats, Frame
from pdm.learn.forest_fit import (
    ROWS,
    UNTOLD,
    UNTOLD_WEIGHT,
    Plan,
    Rows,
    fit_by_mode,
    fit_forests,
    fit_modes,
    fold_together,
    learning_steps,
)
from pdm.learn.frame_fit import fit_frame
from pdm.learn.lives import Life, late_copies, stacked, teaching
from pdm.learn.spread_fit import fit_spread, widened
from pdm.learn.stack import Stack
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS
from pdm.prognosis.forests import BEYOND, Spread, Target, estimate, later_by_forest, later_by_table, quantiles_around
from pdm.prognosis.learned import ModeHead, mode_near_failure
from pdm.scoring.life_table import fit_life_table, of_few

PARTS = 5
ROOM = 2.0  # times the longest remaining life seen: a forecast goes no farther


@dataclass(frozen=True)
class Seen:
    """Lives as one kind of record shows them: features of some of their steps, r in all.

    Attributes:
        rows: which steps of the stack.
        machine: `[r]` which machine; in a part the number among all failed lives, then that of those alive.
        ended: `[r]` whether it failed; of one taken out alive what remained is at least what is on record.
        mode: `[r]` the number of the mode that ended it, -1 where none is on record.
        told: `[r]` which rows are judged.
        weight: `[r]` how much each counts in learning.
    """

    stack: Stack
    rows: Rows
    machine: NDArray[np.intp]
    ended: NDArray[np.bool_]
    mode: NDArray[np.intp]
    told: NDArray[np.bool_]
    weight: Floats

    def known(self, target: Target) -> "Seen":
        """The rows whose target is known: of machines taken out alive those with more left than its cap."""
        is_known = self.ended | (self.remaining >= target.cap)
        if is_known.all():
            return self
        some = np.flatnonzero(is_known)
        return replace(
            self,
            rows=self.rows.take(some),
            machine=self.machine[some],
            ended=self.ended[some],
            mode=self.mode[some],
            told=self.told[some],
            weight=self.weight[some],
        )

    def beyond(self, reach: float) -> NDArray[np.intp]:
        """The rows of failed machines that had more than the reach left."""
        return np.flatnonzero(self.ended & (self.remaining > reach))

    @property
    def lives(self) -> int:
        """How many machines failed."""
        return len(np.unique(self.machine[self.ended]))

    @property
    def used(self) -> Floats:
        return self.stack.used[self.rows.step]

    @property
    def remaining(self) -> Floats:
        return self.stack.remaining[self.rows.step]


class LeftOut(NamedTuple):
    """What was forecast for machines by somebody who had not seen them, once per issue, r forecasts in all.

    Attributes:
        part: `[r]` which part of the machines it belongs to.
        life: `[r]` which of the failed lives.
        age: `[r]` how many steps of it came before.
        used, remaining: `[r]` life used and left [life steps].
        told: `[r]` which rows are judged.
        expected: `[r]` [unit of the target].
        mode: `[r]` the likeliest mode; empty without a mode head.
    """

    part: NDArray[np.intp]
    life: NDArray[np.intp]
    age: NDArray[np.int64]
    used: Floats
    remaining: Floats
    told: NDArray[np.bool_]
    expected: Floats
    mode: NDArray[Any]


class FarLeftOut(NamedTuple):
    """What was forecast beyond the reach for machines by somebody who had not seen them.

    Attributes:
        expected: `[r]` for the rows of a `LeftOut` [unit of `BEYOND`].
        weight: how much each failed life counts, those that were cut short not being among them.
        plan: how the forests were grown.
    """

    expected: Floats
    weight: Floats
    plan: Plan


class Asked(NamedTuple):
    """Lives as one kind of record shows them, before a frame has seen them.

    Attributes:
        machine: which of the machines each life of the stack is of.
        failed: whether each machine did.
        mode: the number of the mode that ended each machine, -1 where none is on record.
        wanted: the steps that are learned from or judged, by their distance to the last one, `[longest life]`.
        late: whether the records begin late.
    """

    stack: Stack
    machine: NDArray[np.intp]
    failed: NDArray[np.bool_]
    mode: NDArray[np.intp]
    wanted: NDArray[np.bool_]
    late: bool


class Split(NamedTuple):
    """What is learned from, and what is judged."""

    learned: Seen
    judged: Seen


@dataclass(frozen=True)
class Part:
    """One part of the machines, and a frame of the others.

    Attributes:
        whole, late: both as seen from the start of their lives, and as somebody who came later saw them.
        modes: learned from the others, None where they name fewer than two.
        life: the life table of the others.
    """

    frame: Frame
    whole: Split
    late: Split
    modes: ModeHead | None
    life: Weibull


def parts(asset_class: AssetClass, lives: Sequence[Life], alive: Sequence[Life], seed: int) -> Iterator[Part]:
    """Parts of failed lives, those of incomplete record among them; lives `alive` teach in every part but that of
    their group."""
    part_of, by_group = parts_of(lives, seed), groups_in(lives) >= PARTS
    for number in range(part_of.max() + 1):
        left_out = part_of == number
        unseen = {life.group for life in compress(lives, left_out) if by_group} - {None}
        yield _part(asset_class, lives, [life for life in alive if life.group not in unseen], left_out, seed)


def parts_of(lives: Sequence[Life], seed: int) -> NDArray[np.intp]:
    """Which part each life belongs to `[n]`, those of one group to the same.

    What machines of one group have in common says nothing of another group. Fewer groups than parts are not told apart.
    """
    groups = groups_in(lives)
    keys = [number if life.group is None or groups < PARTS else life.group for number, life in enumerate(lives)]
    complete = dict.fromkeys(key for key, life in zip(keys, lives, strict=True) if life.complete)
    incomplete = dict.fromkeys(key for key in keys if key not in complete)
    part = dict[int | str, int]()
    for some in (complete, incomplete):
        part |= zip(some, np.random.default_rng(seed).permutation(len(some)) % min(PARTS, len(complete)), strict=True)
    return np.array([part[key] for key in keys], dtype=np.intp)


def groups_in(lives: Iterable[Life]) -> int:
    """How many groups the complete ones of lives name."""
    return len({life.group for life in lives if life.complete and life.group is not None})


def _part(
    asset_class: AssetClass, lives: Sequence[Life], alive: Sequence[Life], left_out: NDArray[np.bool_], seed: int
) -> Part:
    others = list(compress(lives, ~left_out))
    whole = [life for life in others if life.complete]
    frame = fit_frame(asset_class, stacked(whole), seed)
    every_other = [*others, *teaching(alive, len(lives), seed)]
    every = _issued_every(asset_class, sum(len(life.columns) for life in lives))
    members, mine = np.flatnonzero(left_out), list(compress(lives, left_out))
    known = np.append(np.flatnonzero(~left_out), np.arange(len(lives), len(lives) + len(every_other) - len(others)))
    asked = [
        *(whole_records(asset_class, every_other), late_records(asset_class, every_other, seed)),
        *(whole_records(asset_class, mine, every), late_records(asset_class, mine, seed, every)),
    ]
    *learned, whole_judged, late_judged = see(frame, asked)
    modes = modes_of(asset_class, every_other, learned, seed)
    learned = [replace(seen, machine=known[seen.machine]) for seen in learned]
    judged = [replace(seen, machine=members[seen.machine]) for seen in (whole_judged, late_judged)]
    return Part(
        frame=frame,
        whole=Split(learned[0], judged[0]),
        late=Split(learned[1], judged[1]),
        modes=modes,
        life=life_table([*whole, *alive]),
    )


def see(frame: Frame, asked: Sequence[Asked]) -> list[Seen]:
    """Records as a frame shows them."""
    folded = fold_together(frame, [one.stack for one in asked], [one.wanted for one in asked])
    return [_seen(frame, one, rows) for one, rows in zip(asked, folded, strict=True)]


def _seen(frame: Frame, asked: Asked, rows: Rows) -> Seen:
    stack, machine = asked.stack, asked.machine[rows.life]
    if asked.late:  # judged once the record is longer than the own start of a machine
        told = stack.age[rows.step] + 1 >= frame.baseline
        weight = np.ones(len(told))
    else:
        told = stack.used[rows.step] >= UNTOLD * (stack.used + stack.remaining)[rows.step]
        weight = np.where(told, 1.0, UNTOLD_WEIGHT)
    return Seen(stack, rows, machine, asked.failed[machine], asked.mode[machine], told, weight)


def whole_records(asset_class: AssetClass, lives: Sequence[Life], every: int | None = None) -> Asked:
    """The complete ones of lives: steps to learn from, or, to judge, one in so many."""
    machine = np.array([number for number, life in enumerate(lives) if life.complete], dtype=np.intp)
    stack = stacked([lives[number] for number in machine])
    wanted = _wanted(asset_class, stack, every)
    return Asked(stack, machine, _failed(lives), _modes(asset_class, lives), wanted, late=False)


def late_records(asset_class: AssetClass, lives: Sequence[Life], seed: int, every: int | None = None) -> Asked:
    """The same of lives whose record begins late."""
    copies, machine = late_copies(lives, seed)
    stack = stacked(copies)
    wanted = _wanted(asset_class, stack, every)
    return Asked(stack, machine, _failed(lives), _modes(asset_class, lives), wanted, late=True)


def _failed(lives: Sequence[Life]) -> NDArray[np.bool_]:
    return np.array([life.failed for life in lives], dtype=np.bool_)


def _modes(asset_class: AssetClass, lives: Sequence[Life]) -> NDArray[np.intp]:
    names = [mode.name for mode in asset_class.failure_modes]
    ends = [life.mode if life.failed else None for life in lives]
    return np.array([names.index(end) if end in names else -1 for end in ends], dtype=np.intp)


def _wanted(asset_class: AssetClass, stack: Stack, every: int | None) -> NDArray[np.bool_]:
    if every is None:
        return learning_steps(stack, asset_class.horizon)
    return np.asarray(np.arange(stack.lengths.max()) % every == 0)


def _issued_every(asset_class: AssetClass, steps: int) -> int:
    """Steps between forecasts that count: as they are issued, but no more than needed of very long lives."""
    duration, issued = asset_class.life_step.duration_ms, asset_class.issue_every_ms
    issue = 1 if duration is None or issued is None else round(issued / duration)
    return max(1, issue, round(steps / (2 * ROWS)))


def modes_of(asset_class: AssetClass, lives: Sequence[Life], seen: Sequence[Seen], seed: int) -> ModeHead | None:
    """The mode head of failed lives, for complete records and for others."""
    names = [mode.name for mode in asset_class.failure_modes]
    features = np.concatenate([one.rows.features for one in seen])
    machine, remaining = (np.concatenate([getattr(one, name) for one in seen]) for name in ("machine", "remaining"))
    near = (remaining < asset_class.horizon) & np.concatenate([one.ended for one in seen])
    return fit_modes(features[near], machine[near], [life.mode for life in lives], names, seed)


def life_table(whole: Sequence[Life]) -> Weibull:
    """The life table of complete lives."""
    failed = np.array([one.failed for one in whole])
    return of_few(fit_life_table(np.array([one.length for one in whole]), failed), int(failed.sum()))


def judge(
    split: Split,
    modes: ModeHead | None,
    part: int,
    target: Target,
    plans: Sequence[Plan],
    seed: int,
    *,
    apart: bool = False,
) -> LeftOut:
    """What is said of the machines of one part, by forests for each mode if they are to be told `apart`."""
    judged = split.judged
    fitted = fit_ends(split.learned, target, plans, seed, apart=apart)
    mode = np.full(len(judged.machine), "", dtype=object)
    if modes is not None:
        mode[:] = np.array(modes.names)[mode_near_failure(modes, judged.rows.features).argmax(axis=1)]
    return LeftOut(
        part=np.full(len(judged.machine), part),
        life=judged.machine,
        age=judged.stack.age[judged.rows.step],
        used=judged.used,
        remaining=judged.remaining,
        told=judged.told,
        expected=np.min([estimate(forests, judged.rows.features) for forests in fitted.values()], axis=0),
        mode=mode,
    )


def fit_ends(
    seen: Seen, target: Target, plans: Sequence[Plan], seed: int, *, apart: bool
) -> dict[int, list[lgb.Booster]]:
    """Forests of each failure mode by its number if they are to be told `apart`, otherwise one set for all, under 0."""
    known = seen.known(target)
    rows, remaining, weight = known.rows, known.remaining, known.weight
    if apart:
        return fit_by_mode(rows, remaining, weight, known.mode, target, seed, plans, known.lives)
    return {0: fit_forests(rows, remaining, weight, target, seed, plans, known.lives)}


def fit_far(seen: Seen, reach: float, weight: Floats, plan: Plan, seed: int) -> lgb.Booster:
    """A forest for what lies beyond the reach, of machines that got there.

    Args:
        weight: how much each failed life counts, by its number.
    """
    some = seen.beyond(reach)
    rows, later, machine = seen.rows.take(some), seen.remaining[some] - reach, seen.machine[some]
    lives = len(np.unique(machine))
    return fit_forests(rows, later, seen.weight[some] * weight[machine], BEYOND, seed, (plan,), lives)[0]


def together(judged: Sequence[LeftOut]) -> LeftOut:
    return LeftOut(*(np.concatenate(column) for column in zip(*judged, strict=True)))


def spread_of(left_out: LeftOut, target: Target, horizon: float, part: int | None = None) -> Spread:
    """The spread seen on machines left out, those of one part not counted. Each machine weighs the same.

    The fewer machines, the less they say of each other: the spread is widened by that.
    """
    counted = left_out.told & (left_out.part != part)
    life = left_out.life[counted]
    weight = 1 / np.bincount(life)[life]
    lives = len(np.unique(life))
    spread = fit_spread(left_out.expected[counted], left_out.remaining[counted], weight, target, horizon, lives)
    return widened(spread, lives, min(target.cap, horizon))


def far_spread_of(left_out: LeftOut, far: FarLeftOut, reach: float, part: int | None = None) -> Spread:
    """The same around what lies beyond the reach, seen on machines that got there."""
    counted = left_out.told & (left_out.remaining > reach) & (left_out.part != part)
    life, later = left_out.life[counted], left_out.remaining[counted] - reach
    lives, farthest = len(np.unique(life)), ROOM * left_out.remaining.max()
    weight = far.weight[life] / np.bincount(life)[life]
    spread = fit_spread(far.expected[counted], later, weight, BEYOND, farthest, lives)
    return widened(spread, lives, farthest)


def said_of(
    left_out: LeftOut,
    target: Target,
    horizon: float,
    tables: Sequence[Weibull],
    *,
    since_new: bool,
    far: FarLeftOut | None = None,
) -> Floats:
    """Quantiles `[r, 21]` said of machines left out, by the spread of the other parts; beyond its reach by what `far`
    says, or by their life table."""
    quantiles, reach = np.empty((len(left_out.part), len(LEVELS))), min(target.cap, horizon)
    for part in np.unique(left_out.part):
        here, spread = left_out.part == part, spread_of(left_out, target, horizon, part)
        if far is None:
            later = later_by_table(tables[part], left_out.used[here] + reach, since_new=since_new)
        else:
            later = later_by_forest(far_spread_of(left_out, far, reach, part), far.expected[here])
        quantiles[here] = quantiles_around(spread, reach, left_out.expected[here], later)
    return quantiles
