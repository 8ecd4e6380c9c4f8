"""An alarm that was learned without any failure: what it misses, how early it warns, how often it is wrong.

C-MAPSS training engines in five parts, each judged by a watch of the others. None of those has failed: each is as it
was after a random share of its life, as in the official test files. An engine counts as warned by the first flight
after which its departure is above the level of the alarm, and as a false alarm if that is in the first fifth of its
life.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.forecast_engines import training_lives, turbofan
from benchmarks.report import Figure
from pdm import features
from pdm.features.frame import Floats
from pdm.learn import Life, train_watch
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import part_of, stacked
from pdm.plant import AssetClass
from pdm.prognosis.learned import Model, Origin

SUBSETS = ("FD001", "FD002", "FD003", "FD004")
PARTS = 5
SEEN = (0.1, 1.0)  # share of their lives after which the others are looked at
EARLY = 0.2
MISSED, FALSE, LEAD = 3, 0.01, 90.0


class Warned(NamedTuple):
    """Of each engine `[n]`: the share of its life at which the alarm opened, and how many cycles were left; NaN where
    none did."""

    share: Floats
    lead: Floats


def measure_watch(data: Path, seeds: int) -> list[Figure]:
    """Missed engines, early alarms and lead times, means over seeds."""
    measured, figures = list[dict[str, Warned]](), list[Figure]()
    for seed in range(1, seeds + 1):
        measured.append({subset: _warned(turbofan(), training_lives(data, subset), seed) for subset in SUBSETS})
        print(f"seed {seed}: {_missed(_together(measured[-1]))} missed", flush=True)
    for subset in SUBSETS:
        of_subset = [one[subset] for one in measured]
        what = f"of {len(of_subset[0].lead)} engines, by a watch of others that still ran"
        figures.append(Figure(f"{subset} missed", what, float(np.mean([_missed(one) for one in of_subset]))))
        figures.append(Figure(f"{subset} early", what, float(np.mean([_early(one) for one in of_subset]))))
        figures.append(Figure(f"{subset} lead", what, float(np.mean([_lead(one) for one in of_subset])), "cycles"))
    together = [_together(one) for one in measured]
    what = f"of {len(together[0].lead)} engines of four subsets"
    missed, early, lead = (float(np.mean([of(one) for one in together])) for of in (_missed, _early, _lead))
    return [
        *figures,
        Figure("watch missed", what, missed, "engines", MISSED, "lower"),
        Figure("watch early", f"{what}: share alarmed in the first fifth of life", early, "", FALSE, "lower"),
        Figure("watch lead", f"{what}: median", lead, "cycles", LEAD),
    ]


def _warned(asset_class: AssetClass, lives: Sequence[Life], seed: int) -> Warned:
    random = np.random.default_rng(seed)
    part_of, seen = random.permutation(len(lives)) % PARTS, random.uniform(*SEEN, len(lives))
    share, lead = np.full(len(lives), np.nan), np.full(len(lives), np.nan)
    for part in range(PARTS):
        others = [_running(lives[n], seen[n]) for n in np.flatnonzero(part_of != part).tolist()]
        model = train_watch(asset_class, others, seed=seed, origin=Origin.BENCHMARK)
        mine = np.flatnonzero(part_of == part).tolist()
        for number, departure in zip(mine, departures(model, [lives[n] for n in mine]), strict=True):
            above = np.flatnonzero(departure > 1)
            if len(above):
                share[number] = (above[0] + 1) / len(departure)
                lead[number] = len(departure) - 1 - above[0]
    return Warned(share, lead)


def _running(life: Life, share: float) -> Life:
    """The life as it was known after this share of it."""
    count = int(share * len(life.columns))
    return replace(part_of(life, slice(count)), failed=False)


def departures(model: Model, lives: Sequence[Life]) -> list[Floats]:
    """The departure after each step of each life, NaN before its own start is known."""
    stack = stacked(lives)
    rows = fold_lives(model.frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_), features.departure)
    in_order = rows.features[np.argsort(rows.step)].astype(np.float64)
    return [in_order[part] for part in stack.parts]


def _together(warned: Mapping[str, Warned]) -> Warned:
    return Warned(*(np.concatenate(column) for column in zip(*warned.values(), strict=True)))


def _missed(warned: Warned) -> int:
    return int(np.isnan(warned.lead).sum())


def _early(warned: Warned) -> float:
    return float(np.mean(warned.share < EARLY))


def _lead(warned: Warned) -> float:
    return float(np.nanmedian(warned.lead))
