"""Learn what machines do early in life, to tell a departure from it: for a class of which too few have failed.

Early is the first quarter of what is on record of a machine, whether it has failed or not. The level of the alarm rests
on machines left out: each fifth is judged by what the others did.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import chi2
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pdm import features
from pdm.errors import ModelError
from pdm.features.frame import Floats, Frame, Watch
from pdm.features.watch import HELD, departure, mean_square
from pdm.learn.forest_fit import fold_lives
from pdm.learn.frame_fit import bare_frame
from pdm.learn.left_out import groups_in, parts_of
from pdm.learn.lives import Life, part_of, stacked
from pdm.learn.stack import EARLY
from pdm.plant import AssetClass
from pdm.prognosis.learned import RECIPE, Facts, Model, Origin, fingerprint

FEWEST_STEPS = 100
USUAL = 0.999  # share of healthy steps below the level of the alarm
CONFIDENCE = 0.95
LEAST = 0.1  # standard deviations; smaller departures than these are none
FARTHEST = 25.0  # standard deviations; departures are told apart up to here at least


Progress = Callable[[str, float], None]


class LeftOut(NamedTuple):
    """Early life of a part of the machines, `[h, p]` each, and the whitening of the others."""

    healthy: list[Floats]
    whitening: Floats


def train_watch(
    asset_class: AssetClass,
    lives: Sequence[Life],
    *,
    seed: int,
    origin: Origin,
    progress: Progress = lambda what, share: None,
) -> Model:
    """A model of a class that tells how far a machine has departed from its own early life, and forecasts nothing.

    It takes no failure. The same lives and seed give the same model, bit for bit.

    Raises:
        ModelError: too few steps are on record, or nothing moves in the sensors.
    """
    recorded = [life for life in lives if len(life.columns)]
    with threadpool_limits(1):  # the order of a sum must not depend on the number of cores
        frame = _frame(asset_class, recorded, seed) if recorded else None
        healthy = [] if frame is None else _departures(frame, recorded)
        if frame is None or (steps := sum(map(len, healthy))) < FEWEST_STEPS:
            raise ModelError(
                f"class {asset_class.name} has {steps if recorded else 0} steps of early life; an alarm on departure "
                f"from it can be learned from {FEWEST_STEPS} on"
            )
        whitening = _whitening(healthy)
        # early life is what stands first on record, whether or not the record begins with the life
        known = [replace(life, complete=True) for life, one in zip(recorded, healthy, strict=True) if len(one)]
        judged = list(_left_out(asset_class, known, frame.scale, seed, progress))
    progress("learned", 1.0)
    level = _level(judged or [LeftOut(healthy, whitening)])  # all that there is of a machine alone
    facts = Facts(
        class_name=asset_class.name,
        fingerprint=fingerprint(asset_class),
        origin=origin,
        recipe=RECIPE,
        seed=seed,
        lives=len(known),
        failures=sum(life.failed for life in known),
        steps=sum(len(one.columns) for one in known),
        median_life=float(np.median([life.length for life in known])),
        groups=groups_in(known),
        figures=_figures(judged),
    )
    return Model(replace(frame, watch=Watch(whitening, level)), None, facts)


def _frame(asset_class: AssetClass, lives: Sequence[Life], seed: int) -> Frame:
    """What the columns should read; nobody knows how far wear will take them."""
    frame = bare_frame(asset_class, stacked(lives), seed)
    return replace(frame, clip=max(frame.clip, FARTHEST))


def _departures(frame: Frame, lives: Sequence[Life]) -> list[Floats]:
    """How far the sensors depart from the own start of each life in the rest of its early part, `[h, p]` each."""
    counts = [int(EARLY * len(life.columns)) for life in lives]
    stack = stacked([part_of(life, slice(count + 1)) for life, count in zip(lives, counts, strict=True)])
    rows = fold_lives(frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_), features.since_start)
    in_order = rows.features[np.argsort(rows.step)].astype(np.float64)
    return [in_order[part][frame.baseline : count] for part, count in zip(stack.parts, counts, strict=True)]


def _whitening(healthy: Sequence[Floats]) -> Floats:
    """W of departures `[h, p]` each: W W' is the inverse of their covariance.

    Ledoit and Wolf (2004), doi 10.1016/S0047-259X(03)00096-4, for the covariance.
    """
    covariance = LedoitWolf(assume_centered=True).fit(np.concatenate(healthy)).covariance_
    precision = np.linalg.inv(covariance + LEAST**2 * np.eye(len(covariance)))
    return np.asarray(np.linalg.cholesky(precision), dtype=np.float64)


def _left_out(
    asset_class: AssetClass, lives: Sequence[Life], scale: float, seed: int, progress: Progress
) -> Iterator[LeftOut]:
    """Each part of the machines by frame and whitening of the others; nothing of a machine alone."""
    part_of = parts_of(lives, seed)
    count = int(part_of.max()) + 1
    for part in range(count if count > 1 else 0):
        progress(f"looking at early life, part {part + 1}", (part + 1) / (count + 1))
        others = list(compress(lives, part_of != part))
        frame = replace(_frame(asset_class, others, seed), scale=scale)
        mine = _departures(frame, list(compress(lives, part_of == part)))
        yield LeftOut(mine, _whitening(_departures(frame, others)))


def _level(judged: Sequence[LeftOut]) -> float:
    """What so few of the healthy steps exceed; not less than if their departures were normal."""
    seen = np.concatenate([mean_square(part.whitening, one.T) for part in judged for one in part.healthy])
    sensors = len(judged[0].whitening)
    return max(float(np.quantile(seen, USUAL)), float(chi2.ppf(USUAL, sensors)) / sensors)


def _figures(judged: Sequence[LeftOut]) -> dict[str, float]:
    """False alarms in early life on machines left out, at the level of the others; none of a machine alone.

    With k alarms in n steps there are, by 95 %, at least 2 n / chi2(0.95, 2 k + 2) steps to an alarm (Poisson).
    """
    if not judged:
        return {}
    alarms = 0
    for part in judged:
        watch = Watch(part.whitening, _level([other for other in judged if other is not part]))
        alarms += sum(_alarms(departure(watch, one.T)) for one in part.healthy)
    healthy = [one for part in judged for one in part.healthy if len(one)]
    steps = sum(map(len, healthy))
    return {
        "healthy_machines": len(healthy),
        "healthy_steps": steps,
        "false_alarms": alarms,
        "steps_per_false_alarm": float(2 * steps / chi2.ppf(CONFIDENCE, 2 * alarms + 2)),
    }


def _alarms(departures: Floats) -> int:
    """How often an alarm would have opened in one early life `[h]`."""
    if len(departures) < HELD:
        return 0
    above = sliding_window_view(departures, HELD).min(axis=1) > 1
    return int(above[0]) + int((above[1:] & ~above[:-1]).sum())
