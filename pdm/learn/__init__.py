"""Train a model on the lives of machines that ran to failure.

The spread of the forecast is learned out of fold: each fifth of the machines is forecast by a frame and forests fitted
on the others, so that nothing told about a machine rests on that machine. The last fit takes all of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pdm.durations import DAY_MS
from pdm.errors import ModelError
from pdm.features.frame import Floats, Frame
from pdm.learn.forest_fit import ROWS, UNTOLD, fit_forests, fit_modes, fold_lives, learning_steps
from pdm.learn.frame_fit import Stack, fit_frame
from pdm.learn.spread_fit import fit_spread
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.learned import (
    RECIPE,
    Facts,
    Head,
    ModeHead,
    Model,
    Origin,
    Rivals,
    Spread,
    expected_remaining,
    fingerprint,
    mode_near_failure,
    read_spread,
)
from pdm.scoring import age_only, score
from pdm.scoring.life_table import fit_life_table
from pdm.scoring.policies import FinishedLife, Looks, best_interval, best_threshold
from pdm.steps import Steps

FEWEST_FAILURES = 3
FOLDS = 5

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of the whole that is done."""


@dataclass(frozen=True)
class Life:
    """One machine from the start of its record until it failed, or was taken out alive.

    Attributes:
        columns: `[L, k]` its running steps, columns in the order of the class, NaN where missing.
        share: `[L]` life used in each [life steps].
        mode: the failure mode that ended it, None if unknown.
        complete: whether the record begins with the life.
        end_ms: `[L]` when each step ended; None if they followed each other without a pause.
    """

    serial: str
    columns: Floats
    share: Floats
    failed: bool
    mode: str | None = None
    complete: bool = True
    end_ms: NDArray[np.int64] | None = None

    @property
    def length(self) -> float:
        """The whole life [life steps]."""
        return float(self.share.sum())


def life_of(serial: str, steps: Steps, mode: str | None, *, failed: bool = True, complete: bool = True) -> Life:
    """The life of a machine from its steps in order: those in which it ran.

    What it used in a gap, as much as in other steps on average, counts with the next step.
    """
    usual = float(np.nanmean(steps.share)) if np.isfinite(steps.share).any() else 0.0
    used = np.cumsum(np.where(np.isnan(steps.share), usual, steps.share))
    ran = steps.share > 0
    return Life(
        serial=serial,
        columns=steps.values[ran],
        share=np.diff(used[ran], prepend=0.0),
        failed=failed,
        mode=mode,
        complete=complete,
        end_ms=steps.end_ms[ran],
    )


class LeftOut(NamedTuple):
    """What was forecast for machines by somebody who had not seen them, once per issue, r forecasts in all.

    Attributes:
        part: `[r]` which fifth of the machines it belongs to.
        life: `[r]` which of the failed lives.
        age: `[r]` how many steps of it came before.
        used, remaining: `[r]` life used and left [life steps].
        expected: `[r]` expected remaining life [life steps].
        mode: `[r]` the likeliest mode; empty without a mode head.
    """

    part: NDArray[np.intp]
    life: NDArray[np.intp]
    age: NDArray[np.int64]
    used: Floats
    remaining: Floats
    expected: Floats
    mode: NDArray[Any]


def train(
    asset_class: AssetClass,
    lives: Sequence[Life],
    *,
    seed: int,
    origin: Origin,
    progress: Progress = lambda what, share: None,
) -> Model:
    """A model of a class. The same lives and seed give the same model, bit for bit.

    Lives whose record begins late are left out; those cut short alive count in the life table only.

    Raises:
        ModelError: too few machines failed, or nothing moves in their sensors.
    """
    whole = [life for life in lives if life.complete and len(life.columns)]
    failed = [life for life in whole if life.failed]
    if len(failed) < FEWEST_FAILURES:
        raise ModelError(
            f"class {asset_class.name} has {len(failed)} lives from start to failure; "
            f"a forecast can be learned from {FEWEST_FAILURES} on, and is worth showing from about 10"
        )
    with threadpool_limits(1):  # the order of a sum must not depend on the number of cores
        left_out = _judge_parts(asset_class, failed, seed, progress)
        progress("learning from all machines", FOLDS / (FOLDS + 1))
        frame, (squared, poisson), modes = _fit(asset_class, failed, seed)
        spread = _spread(left_out, asset_class.horizon)
        said = _quantiles(left_out, asset_class.horizon)
    life = fit_life_table(np.array([one.length for one in whole]), np.array([one.failed for one in whole]))
    progress("learned", 1.0)
    return Model(
        frame=frame,
        head=Head(asset_class.horizon, squared, poisson, spread, life, modes),
        facts=Facts(
            class_name=asset_class.name,
            fingerprint=fingerprint(asset_class),
            origin=origin,
            recipe=RECIPE,
            seed=seed,
            lives=len(whole),
            failures=len(failed),
            steps=sum(len(one.columns) for one in failed),
            median_life=float(np.median([one.length for one in failed])),
            modes=dict(Counter(one.mode for one in failed if one.mode is not None)),
            figures=_figures(asset_class, failed, left_out, said)
            | _mode_figures(failed, left_out, asset_class.horizon),
            rivals=_rivals(asset_class, failed, left_out, said[:, MEDIAN]),
        ),
    )


def _fit(
    asset_class: AssetClass, lives: Sequence[Life], seed: int
) -> tuple[Frame, tuple[lgb.Booster, lgb.Booster], ModeHead | None]:
    """Frame, forests and mode head from these lives alone."""
    stack, horizon = _stack(lives), asset_class.horizon
    frame = fit_frame(asset_class, stack, seed)
    rows = fold_lives(frame, stack, learning_steps(stack, horizon))
    names = [mode.name for mode in asset_class.failure_modes]
    modes = fit_modes(stack, rows, [life.mode for life in lives], names, horizon, seed)
    return frame, fit_forests(stack, rows, horizon, seed), modes


def _stack(lives: Sequence[Life]) -> Stack:
    used = [np.cumsum(life.share) for life in lives]
    return Stack(
        columns=np.concatenate([life.columns for life in lives]),
        lengths=np.array([len(life.columns) for life in lives]),
        used=np.concatenate(used),
        remaining=np.concatenate([one[-1] - one for one in used]),
    )


def _judge_parts(asset_class: AssetClass, failed: Sequence[Life], seed: int, progress: Progress) -> LeftOut:
    """Forecasts of every machine by a fit on the other parts."""
    parts = min(FOLDS, len(failed))
    part_of = np.random.default_rng(seed).permutation(len(failed)) % parts
    judged = []
    for part in range(parts):
        progress(f"judging on machines left out, part {part + 1} of {parts}", part / (parts + 1))
        judged.append(_judge(asset_class, failed, part_of, part, seed))
    return LeftOut(*(np.concatenate(column) for column in zip(*judged, strict=True)))


def _judge(asset_class: AssetClass, failed: Sequence[Life], part_of: NDArray[np.intp], part: int, seed: int) -> LeftOut:
    frame, forests, modes = _fit(asset_class, list(compress(failed, part_of != part)), seed)
    members = np.flatnonzero(part_of == part)
    stack = _stack(list(compress(failed, part_of == part)))
    every = _issued_every(asset_class, len(stack.columns) * len(failed) / len(members))
    rows = fold_lives(frame, stack, np.arange(stack.lengths.max()) % every == 0)
    mode = np.full(len(rows.step), "", dtype=object)
    if modes is not None:
        mode[:] = np.array(modes.names)[mode_near_failure(modes, rows.features).argmax(axis=1)]
    return LeftOut(
        part=np.full(len(rows.step), part),
        life=members[rows.life],
        age=stack.age[rows.step],
        used=stack.used[rows.step],
        remaining=stack.remaining[rows.step],
        expected=expected_remaining(forests, asset_class.horizon, rows.features),
        mode=mode,
    )


def _issued_every(asset_class: AssetClass, steps: float) -> int:
    """Steps between forecasts that count: as they are issued, but no more than needed of very long lives."""
    duration, issued = asset_class.life_step.duration_ms, asset_class.issue_every_ms
    issue = 1 if duration is None or issued is None else round(issued / duration)
    return max(1, issue, int(steps / (8 * ROWS)))


def _spread(left_out: LeftOut, horizon: float, part: int | None = None) -> Spread:
    """The spread seen on machines left out, those of one part not counted. Each machine weighs the same."""
    told = left_out.used >= UNTOLD * (left_out.used + left_out.remaining)
    counted = told & (left_out.part != part)
    life = left_out.life[counted]
    remaining = np.minimum(left_out.remaining[counted], horizon)
    return fit_spread(left_out.expected[counted], remaining, 1 / np.bincount(life)[life], horizon)


def _quantiles(left_out: LeftOut, horizon: float) -> Floats:
    """What was said of machines left out, `[r, 21]` up to the horizon, by the spread of the other parts."""
    quantiles = np.empty((len(left_out.part), len(LEVELS)))
    for part in np.unique(left_out.part):
        here = left_out.part == part
        quantiles[here], _ = read_spread(_spread(left_out, horizon, part), left_out.expected[here])
    return quantiles


def _figures(asset_class: AssetClass, failed: Sequence[Life], left_out: LeftOut, said: Floats) -> dict[str, float]:
    """How right the quantiles `said` `[r, 21]` were about machines left out, inside the horizon."""
    ours = score(said, left_out.remaining, left_out.life, asset_class.horizon).mean()
    lengths = np.array([life.length for life in failed])
    by_age = np.empty_like(said)
    for part in np.unique(left_out.part):
        here = left_out.part == part
        others = np.delete(lengths, np.unique(left_out.life[here]))
        by_age[here] = age_only(others, left_out.used[here])
    age = score(by_age, left_out.remaining, left_out.life, asset_class.horizon).mean()
    return {
        "coverage_80": ours.coverage_80,
        "coverage_90": ours.coverage_90,
        "width_80": ours.width_80,
        "crps": ours.crps,
        "crps_age_only": age.crps,
        "rmse": ours.rmse,
    }


def _mode_figures(failed: Sequence[Life], left_out: LeftOut, horizon: float) -> dict[str, float]:
    """How often the likeliest mode was the one, inside the horizon; each machine weighs the same."""
    truth = np.array([life.mode or "" for life in failed], dtype=object)[left_out.life]
    counted = (left_out.remaining <= horizon) & (left_out.mode != "") & (truth != "")
    if not counted.any():
        return {}
    life = left_out.life[counted]
    right = (left_out.mode == truth)[counted]
    return {"mode_right": float(np.average(right, weights=1 / np.bincount(life)[life]))}


def _rivals(asset_class: AssetClass, failed: Sequence[Life], left_out: LeftOut, medians: Floats) -> Rivals:
    """What simpler policies would have chosen on these machines; `medians` `[r]` are those of what was said of them."""
    lengths = tuple(life.length for life in failed)
    costs = asset_class.costs
    if costs is None:
        return Rivals(lengths)
    finished = [_finished(asset_class, life) for life in failed]
    looks = []
    for number, life in enumerate(finished):
        mine = np.flatnonzero(left_out.life == number)
        mine = mine[np.argsort(left_out.age[mine])]
        looks.append(Looks(life.time_ms[left_out.age[mine] + 1], medians[mine]))
    threshold = best_threshold(finished, looks, asset_class.notice_ms, costs.planned, costs.unplanned)
    return Rivals(lengths, best_interval(np.array(lengths), costs.planned, costs.unplanned), threshold)


def _finished(asset_class: AssetClass, life: Life) -> FinishedLife:
    """A life in plant time; without times its steps follow each other, and a step without a duration is a day."""
    step_ms = asset_class.life_step.duration_ms or DAY_MS
    end_ms = life.end_ms if life.end_ms is not None else step_ms * np.arange(1, len(life.share) + 1)
    return FinishedLife(
        time_ms=np.concatenate([[end_ms[0] - step_ms], end_ms]),
        age=np.concatenate([[0.0], np.cumsum(life.share)]),
    )
