"""The lives of machines that a model is learned from, and how they are laid out for it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.features.frame import Floats
from pdm.installations import Life as Span
from pdm.learn.stack import Stack
from pdm.new_sensors import NewSensors
from pdm.plant import AssetClass
from pdm.plant.exposure import stress_of
from pdm.steps import Steps

FEW = 10
"""Fewer machines than this tell little of each other: forests look at fewer features, and errors far and near
count more alike."""

COPIES, MOST_COPIES = 400, 4  # so many copies are enough, and so many of each life
ALIVE = 2  # lives that did not fail, for each that did
LATEST = 0.8  # share of a life after which no copy begins


@dataclass(frozen=True)
class Life:
    """One machine from the start of its record until it failed, or was taken out alive.

    Attributes:
        columns: `[L, k]` its running steps, columns in the order of the class, NaN where missing.
        share: `[L]` life used in each [life steps].
        mode: the failure mode that ended it, None if unknown.
        complete: whether the record begins with the life.
        end_ms: `[L]` when each step ended; None if they followed each other without a pause.
        follows: `[L]` whether it ran until the step began; None if always.
        renewed: `[L, k]` behind which columns other sensors stand from this step on; None for nowhere.
        group: machines that share a place, a product, a test protocol or a load have the same; None for one of its own.
    """

    serial: str
    columns: Floats
    share: Floats
    failed: bool
    mode: str | None = None
    complete: bool = True
    end_ms: NDArray[np.int64] | None = None
    follows: NDArray[np.bool_] | None = None
    renewed: NDArray[np.bool_] | None = None
    group: str | None = None

    @property
    def length(self) -> float:
        """The whole life, as far as it is on record [life steps]."""
        return float(self.share.sum())


def lives_in(
    asset_class: AssetClass,
    steps: Steps,
    row_of: Mapping[str, int],
    spans: Iterable[tuple[str, Span]],
    replaced: NewSensors | None = None,
) -> Iterator[Life]:
    """Lives from the steps of their machines: ended by a failure, cut short, or still going on.

    Those of which no step is on record are left out.

    Args:
        replaced: the sensors that were, rows as in `row_of`.
    """
    for serial, span in spans:
        mine = (steps.row == row_of[serial]) & (steps.start_ms >= span.from_ms) & (steps.start_ms < span.to_ms)
        if not mine.any():
            continue
        lived = steps.take(np.flatnonzero(mine))
        late = lived.start_ms[0] - span.from_ms > asset_class.stale_after_ms
        complete = span.start_known and not late
        yield life_of(asset_class, serial, lived, span.mode, failed=span.failed, complete=complete, replaced=replaced)


def life_of(
    asset_class: AssetClass,
    serial: str,
    steps: Steps,
    mode: str | None,
    *,
    failed: bool = True,
    complete: bool = True,
    replaced: NewSensors | None = None,
) -> Life:
    """The life of a machine from its steps in order: those in which it ran, under the law of stress of its class.

    What it used in a gap, as much as in other steps on average, counts with the next step.
    """
    exposure = _exposure(asset_class, steps)
    usual = float(np.nanmean(exposure)) if np.isfinite(exposure).any() else 0.0
    used = np.cumsum(np.where(np.isnan(exposure), usual, exposure))
    ran = steps.share > 0
    return Life(
        serial=serial,
        columns=steps.values[ran],
        share=np.diff(used[ran], prepend=0.0),
        failed=failed,
        mode=mode,
        complete=complete,
        end_ms=steps.end_ms[ran],
        follows=_follows(asset_class, steps)[ran],
        renewed=_renewed(replaced, steps),
    )


def _follows(asset_class: AssetClass, steps: Steps) -> NDArray[np.bool_]:
    """Whether the machine ran until each step began; steps that are readings follow each other."""
    if asset_class.life_step.duration_ms is None:
        return np.ones(len(steps), dtype=np.bool_)
    return np.append(False, (steps.end_ms[:-1] == steps.start_ms[1:]) & (steps.share[:-1] > 0))


def _renewed(replaced: NewSensors | None, steps: Steps) -> NDArray[np.bool_] | None:
    """Behind which columns another sensor stands from each running step on; None for nowhere."""
    if replaced is None or not len(replaced):
        return None
    ran = np.flatnonzero(steps.share > 0)
    found = replaced.renewed(np.full(int(replaced.row.max()) + 1, -1, dtype=np.int64), steps)
    place = np.searchsorted(ran, found.step)
    within = place < len(ran)
    columns = np.zeros((len(ran), steps.values.shape[1]), dtype=np.bool_)
    np.logical_or.at(columns, place[within], found.columns[within])
    return columns if columns.any() else None


def _exposure(asset_class: AssetClass, steps: Steps) -> Floats:
    """Life used in each step, NaN in a gap; where the duty was not measured its mean stress stands in [life steps]."""
    stress = stress_of(asset_class, asset_class.stress, steps.values)
    known = np.isfinite(stress) & (steps.share > 0)
    mean = float(np.average(stress[known], weights=steps.share[known])) if known.any() else 1.0
    return steps.share * np.where(np.isnan(stress), mean, stress)


def teaching(alive: Sequence[Life], failures: int, seed: int) -> list[Life]:
    """Of lives cut short, or that still go on, those that forests learn from: thousands would not fit into memory."""
    drawn = np.random.default_rng([seed, 2]).permutation(len(alive))[: ALIVE * failures]
    return [alive[number] for number in np.sort(drawn)]


def begun_late(life: Life, share: float) -> Life:
    """The same life as somebody saw it who came after this share of its steps."""
    return replace(part_of(life, slice(int(share * len(life.columns)), None)), complete=False)


def part_of(life: Life, steps: slice) -> Life:
    """The same life in some of its steps."""
    made = {name: getattr(life, name) for name in ("columns", "share", "end_ms", "follows", "renewed")}
    some: dict[str, Any] = {name: None if values is None else values[steps] for name, values in made.items()}
    return replace(life, **some)


def late_copies(lives: Sequence[Life], seed: int) -> tuple[list[Life], NDArray[np.intp]]:
    """Lives whose record begins late: some copies of each complete one, and those that do so anyway.

    Returns:
        The copies, and which of `lives` each is of.
    """
    random = np.random.default_rng([seed, 1])
    each = int(np.clip(np.ceil(COPIES / len(lives)), 1, MOST_COPIES))
    copies, of = list[Life](), list[int]()
    for number, life in enumerate(lives):
        shares = random.uniform(0, LATEST, each)
        copies += [begun_late(life, share) for share in shares] if life.complete else [life]
        of += [number] * (each if life.complete else 1)
    return copies, np.array(of, dtype=np.intp)


def stacked(lives: Sequence[Life]) -> Stack:
    """Lives that ended in failure, one below the other."""
    used = [np.cumsum(life.share) for life in lives]
    return Stack(
        columns=np.concatenate([life.columns for life in lives]),
        lengths=np.array([len(life.columns) for life in lives]),
        used=np.concatenate(used),
        remaining=np.concatenate([one[-1] - one for one in used]),
        follows=_of_all(lives, "follows", np.ones),
        renewed=_of_all(lives, "renewed", np.zeros),
    )


def _of_all(lives: Sequence[Life], name: str, usual: Callable[..., Any]) -> NDArray[np.bool_] | None:
    """What some lives say of each step, one life below the other; None where none does."""
    said = [getattr(life, name) for life in lives]
    known = [one for one in said if one is not None]
    if not known:
        return None
    made = [
        usual((len(life.columns), *known[0].shape[1:]), dtype=np.bool_) if one is None else one
        for life, one in zip(lives, said, strict=True)
    ]
    return np.concatenate(made)
