"""Choose by evidence, on machines that were left out: what the forests estimate and how they are grown, of each failure
mode by itself or of all as one, and whose forecast is shown."""

from collections.abc import Mapping, Sequence

import numpy as np

from pdm.degradation import Weibull
from pdm.features.frame import Floats
from pdm.learn.declared import say_declared
from pdm.learn.forest_fit import PAIR, SCOUT, Plan
from pdm.learn.left_out import FarLeftOut, LeftOut, Part, Split, fit_far, judge, said_of, together
from pdm.learn.lives import FEW, Life
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS, Basis
from pdm.prognosis.forecast import declared_basis
from pdm.prognosis.forests import Target, estimate
from pdm.scoring import clipped_crps

SHARE = 0.6  # of the median life: a cap that is tried
CLEAR = 2.0  # standard errors by which a target has to be better
WORTH = 0.1  # of the CRPS by which a forest beyond the reach has to be better
TELLING = 5  # of fewer machines the lives may be alike by chance: a life table would pass for knowledge
MODES = 2  # of fewer there is nothing to tell apart
ALIKE = 1.25  # caps within this factor of each other are one


def targets(horizon: float, median_life: float) -> list[Target]:
    """What may be estimated: life up to the horizon, up to a share of the median life, all of it, its logarithm."""
    share = SHARE * median_life
    capped = [Target(cap=horizon), *([] if 1 / ALIKE < share / horizon < ALIKE else [Target(cap=share)])]
    return [*capped, Target(), Target(log=True)]


def choose_estimate(
    asset_class: AssetClass, parts: Sequence[Part], median_life: float, seed: int
) -> tuple[Target, Sequence[Plan]]:
    """The target whose forecasts of machines left out have the lowest CRPS within the horizon, and how to grow forests
    for it: with the best splits or random ones, whichever has less.

    Life up to the horizon stays where the best is not better by two standard errors over machines: a choice that chance
    makes would come and go from one training to the next.
    """
    tried = targets(asset_class.horizon, median_life)
    horizon, *others = losses = [_scout(asset_class, parts, target, seed) for target in tried]
    best = int(np.argmin([loss.mean() for loss in others])) + 1
    change = losses[best] - horizon
    clear = change.mean() < -CLEAR * np.std(change, ddof=1) / np.sqrt(len(change))
    chosen = best if clear else 0
    at_random = _scout(asset_class, parts, tried[chosen], seed, SCOUT._replace(random=True))
    random = bool(at_random.mean() < losses[chosen].mean())
    return tried[chosen], [plan._replace(random=random) for plan in PAIR]


def choose_ends(
    asset_class: AssetClass,
    parts: Sequence[Part],
    target: Target,
    plans: Sequence[Plan],
    failed: Sequence[Life],
    seed: int,
) -> tuple[LeftOut, bool]:
    """What forests said of machines left out, and whether they tell failure modes apart: whichever has less CRPS."""
    common, tables = _judged(parts, target, plans, seed, apart=False), [part.life for part in parts]
    named = {mode.name for mode in asset_class.failure_modes} & {life.mode for life in failed}
    if len(named) < MODES:
        return common, False
    by_mode = _judged(parts, target, plans, seed, apart=True)._replace(mode=common.mode)
    loss, loss_apart = (
        _loss(one, said_of(one, target, asset_class.horizon, tables, since_new=True), asset_class.horizon).mean()
        for one in (common, by_mode)
    )
    return (by_mode, True) if loss_apart < loss else (common, False)


def _judged(parts: Sequence[Part], target: Target, plans: Sequence[Plan], seed: int, *, apart: bool) -> LeftOut:
    """What is said of machines left out; which mode comes, only where modes are not told `apart`."""
    modes = [None if apart else part.modes for part in parts]
    judged = [judge(part.whole, modes[n], n, target, plans, seed, apart=apart) for n, part in enumerate(parts)]
    return together(judged)


def _scout(asset_class: AssetClass, parts: Sequence[Part], target: Target, seed: int, plan: Plan = SCOUT) -> Floats:
    """CRPS of each machine by forests that are quickly grown `[n]`."""
    left_out = together([judge(part.whole, None, n, target, (plan,), seed) for n, part in enumerate(parts)])
    tables = [part.life for part in parts]
    said = said_of(left_out, target, asset_class.horizon, tables, since_new=True)
    return _loss(left_out, said, asset_class.horizon)


def choose_far(
    splits: Sequence[Split],
    left_out: LeftOut,
    target: Target,
    horizon: float,
    tables: Sequence[Weibull],
    weight: Floats | None,
    plans: Sequence[Plan],
    seed: int,
    *,
    since_new: bool,
) -> tuple[Floats, FarLeftOut | None]:
    """What is said of machines left out `[r, 21]`, and what forests say beyond the reach, where that is better than the
    life table by a tenth and by two standard errors over machines.

    No faulty sensor moves the life table, so that it stays where a forest is hardly better.

    Args:
        weight: how much each failed life counts, None where too many were cut short to tell.
    """
    said, reach = said_of(left_out, target, horizon, tables, since_new=since_new), min(target.cap, horizon)
    if weight is None or _fewest_beyond(splits, left_out, reach) < FEW:
        return said, None
    plan, expected = SCOUT._replace(random=plans[0].random), np.empty(len(left_out.part))
    for part, split in enumerate(splits):
        forest = fit_far(split.learned, reach, weight, plan, seed)
        expected[left_out.part == part] = estimate([forest], split.judged.rows.features)
    far = FarLeftOut(expected, weight, plan)
    said_far = said_of(left_out, target, horizon, tables, since_new=since_new, far=far)
    by_table = _loss(left_out, said, np.inf)
    change = _loss(left_out, said_far, np.inf) - by_table
    counts = weight[np.unique(left_out.life[left_out.told])]
    better = np.average(change, weights=counts)
    error = np.sqrt((counts**2 * (change - better) ** 2).sum()) / counts.sum()
    worth = min(-CLEAR * error, -WORTH * np.average(by_table, weights=counts))
    return (said_far, far) if better < worth else (said, None)


def _fewest_beyond(splits: Sequence[Split], left_out: LeftOut, reach: float) -> int:
    """Machines with more than the reach left, in the part whose others have the fewest: to learn from, and judged."""
    there = left_out.told & (left_out.remaining > reach)
    each = [split.learned.machine[split.learned.beyond(reach)] for split in splits]
    each += [left_out.life[there & (left_out.part != part)] for part in range(len(splits))]
    return min(len(np.unique(one)) for one in each)


def ladder(
    asset_class: AssetClass, failed: Sequence[Life], left_out: LeftOut, said: Floats, tables: Sequence[Weibull]
) -> dict[str, float]:
    """CRPS within the horizon of each way to forecast a class, by the name of its basis [life steps].

    Args:
        said: `[r, 21]` what the forests said of machines left out.
        tables: for each part the life table of the others.
    """
    candidates = {Basis.LEARNED: said}
    if len(np.unique(left_out.life)) >= TELLING:
        candidates[Basis.LIFE_TABLE] = _by_age(left_out, tables)
    if (declared := declared_basis(asset_class)) != Basis.NONE:
        candidates[declared] = say_declared(asset_class, failed, left_out.life, left_out.age)
    return _losses(asset_class, left_out, candidates)


def late_ladder(
    asset_class: AssetClass, left_out: LeftOut, said: Floats, tables: Sequence[Weibull]
) -> dict[str, float]:
    """The same of machines that joined late: what is declared says nothing of them, as nobody knows their age."""
    candidates = {Basis.LEARNED: said}
    if len(np.unique(left_out.life)) >= TELLING:
        candidates[Basis.LIFE_TABLE] = _by_age(left_out, tables, since_new=False)
    return _losses(asset_class, left_out, candidates)


def _losses(asset_class: AssetClass, left_out: LeftOut, candidates: Mapping[Basis, Floats]) -> dict[str, float]:
    return {
        basis.name.lower(): float(_loss(left_out, quantiles, asset_class.horizon).mean())
        for basis, quantiles in candidates.items()
    }


def _by_age(left_out: LeftOut, tables: Sequence[Weibull], *, since_new: bool = True) -> Floats:
    """What the life table of the other parts says of machines left out `[r, 21]`, seen since new or not."""
    said = np.empty((len(left_out.part), len(LEVELS)))
    for part, table in enumerate(tables):
        here = left_out.part == part
        remaining = table.remaining if since_new else table.remaining_of_unknown_age
        said[here] = remaining(left_out.used[here, None], LEVELS)
    return said


def _loss(left_out: LeftOut, said: Floats, horizon: float) -> Floats:
    """CRPS of each machine that is judged."""
    told = left_out.told
    return clipped_crps(said[told], left_out.remaining[told], left_out.life[told], horizon)
