"""The lives of machines that a model is learned from, and how they are laid out for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pdm.features.frame import Floats
from pdm.installations import Life as Span
from pdm.learn.frame_fit import Stack
from pdm.plant import AssetClass
from pdm.plant.exposure import stress_of
from pdm.steps import Steps

FEW = 10
"""Fewer machines than this tell little of each other: forests look at fewer features, and spreads are widened."""

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
        """The whole life, as far as it is on record [life steps]."""
        return float(self.share.sum())


def lives_in(
    asset_class: AssetClass, steps: Steps, row_of: Mapping[str, int], spans: Iterable[tuple[str, Span]]
) -> Iterator[Life]:
    """Lives from the steps of their machines: ended by a failure, cut short, or still going on.

    Those of which no step is on record are left out.
    """
    for serial, span in spans:
        mine = (steps.row == row_of[serial]) & (steps.start_ms >= span.from_ms) & (steps.start_ms < span.to_ms)
        if not mine.any():
            continue
        lived = steps.take(np.flatnonzero(mine))
        late = lived.start_ms[0] - span.from_ms > asset_class.stale_after_ms
        yield life_of(asset_class, serial, lived, span.mode, failed=span.failed, complete=span.start_known and not late)


def life_of(
    asset_class: AssetClass,
    serial: str,
    steps: Steps,
    mode: str | None,
    *,
    failed: bool = True,
    complete: bool = True,
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
    )


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
    first = int(share * len(life.columns))
    end_ms = None if life.end_ms is None else life.end_ms[first:]
    return replace(life, columns=life.columns[first:], share=life.share[first:], complete=False, end_ms=end_ms)


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
    )
