"""Train a model on the lives of machines that ran to failure.

The spread of the forecast is learned out of fold: each fifth of the machines is forecast by a frame and forests fitted
on the others, so that nothing told about a machine rests on that machine. The last fit takes all of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pdm.errors import ModelError
from pdm.features.frame import Floats
from pdm.learn.choice import choose_ends, choose_estimate, choose_far, ladder, late_ladder
from pdm.learn.forest_fit import Plan
from pdm.learn.frame_fit import fit_frame
from pdm.learn.left_out import (
    FarLeftOut,
    LeftOut,
    Part,
    Seen,
    far_spread_of,
    fit_ends,
    fit_far,
    groups_in,
    judge,
    late_records,
    life_table,
    modes_of,
    parts,
    see,
    spread_of,
    together,
    whole_records,
)
from pdm.learn.lives import Life as Life
from pdm.learn.lives import life_of as life_of
from pdm.learn.lives import lives_in as lives_in
from pdm.learn.lives import stacked, teaching
from pdm.learn.peer_fit import fit_peers
from pdm.learn.rating import far_figures, figures, late_figures, mode_figures, rivals
from pdm.learn.watching import train_watch as train_watch
from pdm.plant import AssetClass
from pdm.prognosis import FEWEST_FAILURES, MEDIAN
from pdm.prognosis.forests import ANY, Far, Forests, Target
from pdm.prognosis.learned import RECIPE, Facts, Head, Model, Origin, fingerprint
from pdm.scoring.life_table import censoring_weights

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of the whole that is done."""


def train(
    asset_class: AssetClass,
    lives: Sequence[Life],
    *,
    seed: int,
    origin: Origin,
    progress: Progress = lambda what, share: None,
) -> Model:
    """A model of a class. The same lives and seed give the same model, bit for bit.

    Lives whose record begins late teach what to say of machines that joined late; those cut short alive count in the
    life table, and teach what a machine shows that has long to go.

    Raises:
        ModelError: too few machines failed, or nothing moves in their sensors.
    """
    recorded = [life for life in lives if len(life.columns)]
    failed = [life for life in recorded if life.failed]
    whole = [life for life in failed if life.complete]
    alive = [life for life in recorded if life.complete and not life.failed]
    if len(whole) < FEWEST_FAILURES:
        late = len(failed) - len(whole)
        why = f" ({late} more failed, but their record does not reach back to a start of life)" if late else ""
        raise ModelError(
            f"class {asset_class.name} has {len(whole)} lives from start to failure{why}; "
            f"a forecast can be learned from {FEWEST_FAILURES} on, and is worth showing from about 10"
        )
    with threadpool_limits(1):  # the order of a sum must not depend on the number of cores
        model = _learn(asset_class, failed, alive, seed, origin, progress)
    progress("learned", 1.0)
    return model


def _learn(
    asset_class: AssetClass,
    failed: Sequence[Life],
    alive: Sequence[Life],
    seed: int,
    origin: Origin,
    progress: Progress,
) -> Model:
    horizon, whole = asset_class.horizon, [life for life in failed if life.complete]
    others = list[Part]()
    for part in parts(asset_class, failed, alive, seed):
        progress(f"looking at lives, part {len(others) + 1}", 0.1 * len(others))
        others.append(part)
    tables = [part.life for part in others]
    progress("choosing what to estimate", 0.6)
    median_life = float(np.median([life.length for life in whole]))
    target, plans = choose_estimate(asset_class, others, median_life, seed)
    left_out, apart = choose_ends(asset_class, others, target, plans, failed, seed)
    late_left_out = together(
        [judge(part.late, part.modes, n, target, plans, seed, apart=apart) for n, part in enumerate(others)]
    )
    progress("looking beyond the horizon", 0.75)
    weight = _weights(failed, alive)
    said, far = choose_far(
        [part.whole for part in others], left_out, target, horizon, tables, weight, plans, seed, since_new=True
    )
    said_late, late_far = choose_far(
        [part.late for part in others], late_left_out, target, horizon, tables, weight, plans, seed, since_new=False
    )
    progress("learning from all machines", 0.8)
    stack = stacked(whole)
    frame = fit_frame(asset_class, stack, seed)
    every = [*failed, *teaching(alive, len(failed), seed)]
    seen, seen_late = see(frame, [whole_records(asset_class, every), late_records(asset_class, every, seed)])
    head = Head(
        horizon=horizon,
        whole=_forests(asset_class, seen, left_out, far, target, plans, seed, apart=apart),
        late=_forests(asset_class, seen_late, late_left_out, late_far, target, plans, seed, apart=apart),
        life=life_table([*whole, *alive]),
        modes=modes_of(asset_class, every, (seen, seen_late), seed),
    )
    facts = Facts(
        class_name=asset_class.name,
        fingerprint=fingerprint(asset_class),
        origin=origin,
        recipe=RECIPE,
        seed=seed,
        lives=len(whole) + len(alive),
        failures=len(whole),
        steps=sum(len(one.columns) for one in whole),
        median_life=median_life,
        groups=groups_in(failed),
        modes=dict(Counter(one.mode for one in whole if one.mode is not None)),
        figures=figures(asset_class, failed, left_out, said)
        | far_figures(left_out, said, horizon)
        | mode_figures(failed, left_out, horizon)
        | late_figures(late_left_out, said_late, horizon),
        ladder=ladder(asset_class, failed, left_out, said, tables),
        late_ladder=late_ladder(asset_class, late_left_out, said_late, tables),
        rivals=rivals(asset_class, failed, left_out, said[:, MEDIAN]),
    )
    # last, since no life is judged by limits that rest on it
    return Model(replace(frame, peers=fit_peers(asset_class, frame, stack, seed)), head, facts)


def _weights(failed: Sequence[Life], alive: Sequence[Life]) -> Floats | None:
    """How much each failed life counts beyond the reach; of a record that begins late nobody knows its length, and it
    counts as others do on average."""
    whole = np.array([life.complete for life in failed])
    lengths, cut = (np.array([life.length for life in lives]) for lives in (failed, alive))
    known = censoring_weights(lengths[whole], cut)
    if known is None:
        return None
    weight = np.full(len(failed), known.mean())
    weight[whole] = known
    return weight


def _forests(
    asset_class: AssetClass,
    seen: Seen,
    left_out: LeftOut,
    far: FarLeftOut | None,
    target: Target,
    plans: Sequence[Plan],
    seed: int,
    *,
    apart: bool,
) -> Forests:
    """Forests of all machines, with the spread seen on machines left out."""
    fitted, reach = fit_ends(seen, target, plans, seed, apart=apart), min(target.cap, asset_class.horizon)
    ends = tuple(asset_class.failure_modes[number].name for number in fitted) if apart else (ANY,)
    squared, poisson = zip(*fitted.values(), strict=True)
    spread, beyond = spread_of(left_out, target, asset_class.horizon), None
    if far is not None:
        beyond = Far(fit_far(seen, reach, far.weight, far.plan, seed), far_spread_of(left_out, far, reach))
    return Forests(target, reach, ends, squared, poisson, spread, beyond)
