"""How right a model was on machines left out of training, and what simpler policies would have chosen on them."""

from collections.abc import Sequence

import numpy as np

from pdm.durations import DAY_MS
from pdm.features.frame import Floats
from pdm.learn.declared import end_times
from pdm.learn.left_out import LeftOut
from pdm.learn.lives import Life
from pdm.plant import AssetClass
from pdm.prognosis.learned import Rivals
from pdm.scoring import age_only, clipped_crps, score
from pdm.scoring.policies import FinishedLife, Looks, best_interval, best_threshold


def figures(asset_class: AssetClass, failed: Sequence[Life], left_out: LeftOut, said: Floats) -> dict[str, float]:
    """How right the quantiles `said` `[r, 21]` were about machines left out, inside the horizon."""
    ours = score(said, left_out.remaining, left_out.life, asset_class.horizon).mean()
    lengths = np.array([life.length for life in failed])
    complete = np.array([life.complete for life in failed])
    by_age = np.empty_like(said)
    for part in np.unique(left_out.part):
        here = left_out.part == part
        others = complete.copy()
        others[left_out.life[here]] = False
        by_age[here] = age_only(lengths[others], left_out.used[here])
    age = score(by_age, left_out.remaining, left_out.life, asset_class.horizon).mean()
    return {
        "coverage_80": ours.coverage_80,
        "coverage_90": ours.coverage_90,
        "width_80": ours.width_80,
        "crps": ours.crps,
        "crps_age_only": age.crps,
        "rmse": ours.rmse,
    }


def far_figures(left_out: LeftOut, said: Floats, horizon: float) -> dict[str, float]:
    """CRPS where more than the horizon was left, of what was said from new on; each machine weighs the same."""
    far = left_out.told & (left_out.remaining > horizon)
    if not far.any():
        return {}
    return {"crps_far": float(clipped_crps(said[far], left_out.remaining[far], left_out.life[far], np.inf).mean())}


def late_figures(left_out: LeftOut, said: Floats, horizon: float) -> dict[str, float]:
    """The same of records that begin late."""
    told = left_out.told
    ours = score(said[told], left_out.remaining[told], left_out.life[told], horizon).mean()
    return {"late_coverage_80": ours.coverage_80, "late_crps": ours.crps, "late_rmse": ours.rmse}


def mode_figures(failed: Sequence[Life], left_out: LeftOut, horizon: float) -> dict[str, float]:
    """How often the likeliest mode was the one, inside the horizon; each machine weighs the same."""
    truth = np.array([life.mode or "" for life in failed], dtype=object)[left_out.life]
    counted = (left_out.remaining <= horizon) & (left_out.mode != "") & (truth != "")
    if not counted.any():
        return {}
    life = left_out.life[counted]
    right = (left_out.mode == truth)[counted]
    return {"mode_right": float(np.average(right, weights=1 / np.bincount(life)[life]))}


def rivals(asset_class: AssetClass, failed: Sequence[Life], left_out: LeftOut, medians: Floats) -> Rivals:
    """What simpler policies would have chosen on these machines; `medians` `[r]` are those of what was said of them."""
    whole = [number for number, life in enumerate(failed) if life.complete]
    lengths = tuple(failed[number].length for number in whole)
    costs = asset_class.costs
    if costs is None:
        return Rivals(lengths)
    finished = [_finished(asset_class, failed[number]) for number in whole]
    looks = []
    for number, life in zip(whole, finished, strict=True):
        mine = np.flatnonzero(left_out.life == number)
        mine = mine[np.argsort(left_out.age[mine])]
        looks.append(Looks(life.time_ms[left_out.age[mine] + 1], medians[mine]))
    threshold = best_threshold(finished, looks, asset_class.notice_ms, costs.planned, costs.unplanned)
    return Rivals(lengths, best_interval(np.array(lengths), costs.planned, costs.unplanned), threshold)


def _finished(asset_class: AssetClass, life: Life) -> FinishedLife:
    """A life in plant time."""
    step_ms = asset_class.life_step.duration_ms or DAY_MS
    end_ms = end_times(asset_class, life)
    return FinishedLife(
        time_ms=np.concatenate([[end_ms[0] - step_ms], end_ms]),
        age=np.concatenate([[0.0], np.cumsum(life.share)]),
    )
