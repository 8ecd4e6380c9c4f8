"""The card of a trained model: what it was learned from, how right it was on machines left out, its limits."""

import numpy as np

from pdm.learn.lives import FEW
from pdm.prognosis.forests import Target
from pdm.prognosis.learned import Model

_FEW = f", widened since fewer than {FEW} machines back it"


def card(model: Model) -> str:
    """The card as Markdown; equal models give equal cards."""
    facts, life = model.facts, model.head.life
    modes = ", ".join(f"{name} {count}" for name, count in sorted(facts.modes.items())) or "not distinguished"
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in sorted(facts.figures.items()))
    return f"""# Model of class {facts.class_name}

| | |
|---|---|
| lives | {facts.lives}, of which {facts.failures} ended in failure ({modes}) |
| origin of the lives | {facts.origin} |
| steps | {facts.steps} |
| median life | {facts.median_life:.4g} life steps |
| life table | Weibull, shape {life.shape:.3g}, scale {life.scale:.5g} life steps |
| horizon | {model.head.horizon:g} life steps |
| estimated | {_target(model.head.whole.target)} |
| who speaks | {facts.basis.name.lower().replace("_", " ")} (CRPS {facts.evidence}) |
| seed, recipe | {facts.seed}, {facts.recipe} |

On machines that were left out of training (five folds, each machine weighing the same):

| figure | value |
|---|---|
{figures}

Method: recursive features of the whole life, two gradient-boosted forests for the expected remaining life, the spread
around it from out-of-fold residuals{_FEW if facts.failures < FEW else ""}; beyond the horizon the life table,
conditional on having reached it. Machines whose history does not reach back to the start of their life have forests of
their own, learned from lives of which the beginning was taken away.

Limits: it speaks about machines of this class that are operated as those in training were. It forecasts the first
failure, whatever its mode.
"""


def _target(target: Target) -> str:
    upto = "" if np.isinf(target.cap) else f", up to {target.cap:.4g} life steps"
    return f"{'the logarithm of the remaining life' if target.log else 'the remaining life'}{upto}"
