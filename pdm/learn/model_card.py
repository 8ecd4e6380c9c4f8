"""The card of a trained model: what it was learned from, how right it was on machines left out, its limits."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pdm.features.frame import Frame
from pdm.learn.forest_fit import UNTOLD
from pdm.learn.left_out import PARTS
from pdm.prognosis.forests import Forests
from pdm.prognosis.learned import Head, Model
from pdm.words import plural, sentence


def card(model: Model) -> str:
    """The card as Markdown; equal models give equal cards."""
    return _watch_card(model) if model.head is None else _forecast_card(model, model.head)


def _watch_card(model: Model) -> str:
    facts, watched = model.facts, ", ".join(model.frame.channel_names[: model.frame.sensors])
    return f"""# Model of class {facts.class_name}: alarm only

It says how far a machine has departed from its own early life, 1 being the level of the alarm. It gives no remaining
life: of {facts.lives} lives on record {facts.failures} ended in failure.

| | |
|---|---|
| lives | {facts.lives}, of which {facts.failures} ended in failure |
| origin of the lives | {facts.origin} |
| machines left out | {_left_out(facts.groups, "false alarms may be more in a group that was not seen")} |
| steps | {facts.steps} |
| own start of a machine | its first {model.frame.baseline} steps |
| columns watched | {watched} |
| seed, recipe | {facts.seed}, {facts.recipe} |

{sentence(false_alarms(facts.figures))}

Method: short means of all columns less the own start of the machine, with what the operating conditions explain taken
out, held against how machines depart in the first quarter of what is on record of them (whole covariance, Mahalanobis
distance, noise taken off). An alarm asks for five steps in a row above what one such step in a thousand exceeds, and
for a sensor that has moved by half a standard deviation.

Limits: it tells that something has changed, not what, nor how long the machine lasts. A machine that joined late is
held against how it was then. What changes in all machines, as seasons do, is a departure too unless it is an operating
condition of the class.
"""


def false_alarms(figures: Mapping[str, float]) -> str:
    """How often an alarm was wrong on machines left out, and how often it may be."""
    if not figures:
        return "false alarms not measured, since there is one machine only"
    steps, machines, alarms = (round(figures[name]) for name in ("healthy_steps", "healthy_machines", "false_alarms"))
    return (
        f"{plural(alarms, 'false alarm')} in {steps:,} early steps of {machines} machines left out, by 95 % at most "
        f"one in {figures['steps_per_false_alarm']:,.0f}"
    )


def _forecast_card(model: Model, head: Head) -> str:
    facts, life = model.facts, head.life
    modes = ", ".join(f"{name} {count}" for name, count in sorted(facts.modes.items())) or "not distinguished"
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in sorted(facts.figures.items()))
    return f"""# Model of class {facts.class_name}

| | |
|---|---|
| lives | {facts.lives}, of which {facts.failures} ended in failure ({modes}) |
| origin of the lives | {facts.origin} |
| machines left out | {_left_out(facts.groups, "bands may be too narrow for a group that was not seen")} |
| steps | {facts.steps} |
| median life | {facts.median_life:.4g} life steps |
| life table | Weibull, shape {life.shape:.3g}, scale {life.scale:.5g} life steps |
| horizon | {head.horizon:g} life steps |
| estimated | {_target(head.whole)} |
| beyond {head.whole.reach:.4g} life steps | {_beyond(head.whole)}; of machines that joined late {_beyond(head.late)} |
| drift judged of | {_drift_judged(model.frame)} |
| jumps are wear of | {_named(model.frame, model.frame.jumps)} |
| more noise is wear of | {_named(model.frame, model.frame.restless)} |
| who speaks | {facts.basis.name.lower().replace("_", " ")} (CRPS {facts.evidence}) |
| of machines that joined late | {facts.late_basis.name.lower().replace("_", " ")} (CRPS {facts.late_evidence}) |
| seed, recipe | {facts.seed}, {facts.recipe} |

All figures are of machines that were left out of training (five folds, each machine weighing the same). The CRPS by
which was chosen who speaks counts every forecast of the last {100 * (1 - UNTOLD):.0f} % of life, what was left cut at
the horizon. These are of the forests, where the failure came within the horizon:

| figure | value |
|---|---|
{figures}

Method: recursive features of the whole life, two gradient-boosted forests for what is estimated, the spread
around it from out-of-fold residuals, widened by what {facts.failures} machines leave uncertain; beyond its reach a
forest for the logarithm of what is left then, or the life table, conditional on having got there. Machines whose
history does not reach back to the start of their life have forests of their own, learned from lives of which the
beginning was taken away.

Limits: it speaks about machines of this class that are operated as those in training were. It forecasts the first
failure, whatever its mode.
"""


def _left_out(groups: int, doubt: str) -> str:
    """Whether those who judged a machine had seen others of its group, and what follows if they had."""
    if not groups:
        return "one by one, since they name no groups"
    if groups < PARTS:
        return f"one by one, since they name {plural(groups, 'group')}, fewer than {PARTS}: {doubt}"
    return f"by group: who judged a machine had seen none of its group ({groups} groups)"


def _drift_judged(frame: Frame) -> str:
    if frame.peers is None:
        return "no sensor"
    names = frame.channel_names[: frame.sensors]
    judged, others = (
        ", ".join(name for name, one in zip(names, frame.peers.judged, strict=True) if one == which)
        for which in (True, False)
    )
    return f"{judged}; not of {others}" if others else judged


def _beyond(forests: Forests) -> str:
    return "the life table" if forests.far is None else "a forest of its own"


def _named(frame: Frame, sensors: NDArray[np.bool_] | None) -> str:
    if sensors is None:
        return "no sensor"
    return ", ".join(name for name, one in zip(frame.channel_names, sensors.tolist(), strict=False) if one)


def _target(forests: Forests) -> str:
    target, apart = forests.target, ", of which the earliest counts" if len(forests.ends) > 1 else ""
    upto = "" if np.isinf(target.cap) else f", up to {target.cap:.4g} life steps"
    of = ", ".join(filter(None, forests.ends))
    life = f"the remaining life{f' by each of {of}' if of else ''}"
    return f"{'the logarithm of ' if target.log else ''}{life}{upto}{apart}"
