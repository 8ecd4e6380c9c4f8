"""Forecasts walked forward over the past: at each cut a model learns from what was known, and speaks until the next.

What is known at a cut are the steps that had ended and the failures that had happened. A life that failed later was one
that still ran.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.errors import ModelError
from pdm.features.frame import Floats
from pdm.installations import NEVER_MS
from pdm.learn import Life, Progress, train
from pdm.learn.declared import say_declared
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import part_of, stacked
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS
from pdm.prognosis.forecast import DECLARED
from pdm.prognosis.learned import Model, Origin, forecast


class Said(NamedTuple):
    """What one model says of lives, m forecasts.

    Attributes:
        life: `[m]` index in the lives.
        at_ms: `[m]` when it is said.
        quantiles: `[m, 21]` remaining life [life steps].
        remaining: `[m]` what was left of the life as known now; of a life that has not failed, of what is known of it.
    """

    life: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    quantiles: Floats
    remaining: Floats


class Walked(NamedTuple):
    """What was said by models that knew ever more, in the order of lives and time; attributes as those of `Said`.

    Attributes:
        refused: cuts at which nothing could be learned, with the reason.
        trained: how many models were trained.
    """

    life: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    quantiles: Floats
    remaining: Floats
    refused: tuple[tuple[int, str], ...]
    trained: int


def walk_forward(
    asset_class: AssetClass,
    lives: Sequence[Life],
    cuts: Sequence[int],
    until_ms: int,
    *,
    seed: int,
    origin: Origin,
    progress: Progress = lambda what, share: None,
) -> Walked:
    """Train at each cut [ms UTC] and forecast the steps up to the next one, the last up to `until_ms`.

    Args:
        lives: with the times of their steps; those whose record begins late are learned from, and not forecast.
    """
    told, refused = list[Said](), list[tuple[int, str]]()
    ends = [*cuts[1:], until_ms]
    for number, (cut, end) in enumerate(zip(cuts, ends, strict=True)):
        progress(f"learning what was known, {number + 1} of {len(cuts)}", number / len(cuts))
        try:
            model = train(asset_class, list(known_at(lives, cut)), seed=seed, origin=origin)
        except ModelError as error:
            refused.append((cut, str(error)))
            continue
        told.append(said_by(asset_class, model, lives, cut, end))
    progress("walked", 1.0)
    said = _together(told)
    order = np.lexsort((said.at_ms, said.life))
    return Walked(
        said.life[order],
        said.at_ms[order],
        said.quantiles[order],
        said.remaining[order],
        tuple(refused),
        len(cuts) - len(refused),
    )


def known_at(lives: Sequence[Life], at_ms: int) -> Iterator[Life]:
    """The lives as they were known then: steps that had ended, failures that had happened."""
    for life in lives:
        count = _steps_by(life, at_ms)
        if count == len(life.columns):
            yield life
        elif count:
            yield replace(part_of(life, slice(count)), failed=False, mode=None, end_ms=times_of(life)[:count])


def said_by(
    asset_class: AssetClass, model: Model, lives: Sequence[Life], from_ms: int, until_ms: int = NEVER_MS
) -> Said:
    """What a model says after steps that end after `from_ms` and by `until_ms`, as often as forecasts are issued."""
    return _together([_said(asset_class, model, n, life, from_ms, until_ms) for n, life in enumerate(lives)])


def _said(asset_class: AssetClass, model: Model, number: int, life: Life, from_ms: int, until_ms: int) -> Said:
    every, count, times = asset_class.issue_every_ms or 1, _steps_by(life, until_ms), times_of(life)
    due = np.flatnonzero((times[:count] > from_ms) & (np.diff(times[:count] // every, prepend=0) > 0))
    if not life.complete or not len(due):
        return _together([])
    used = np.cumsum(life.share)
    known = replace(part_of(life, slice(count)), end_ms=times[:count])
    wanted = np.zeros(count, dtype=bool)
    wanted[count - 1 - due] = True
    rows = fold_lives(model.frame, stacked([known]), wanted)
    if model.facts.basis in DECLARED:
        said = say_declared(asset_class, [known], np.zeros(len(due), dtype=np.intp), rows.step)
    else:
        said = forecast(model, rows.features, used[rows.step], np.ones(len(due), dtype=np.bool_))
    return Said(np.full(len(due), number), times[rows.step], said, used[-1] - used[rows.step])


def _together(parts: Sequence[Said]) -> Said:
    nothing = Said(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(LEVELS))), np.zeros(0))
    return Said(*(np.concatenate(column) for column in zip(nothing, *parts, strict=True)))


def times_of(life: Life) -> NDArray[np.int64]:
    """When each step of a life ended `[L]`; all that are walked over say so."""
    if life.end_ms is None:
        raise ValueError("a life that is walked over has times")
    return life.end_ms


def _steps_by(life: Life, at_ms: int) -> int:
    return int(np.searchsorted(times_of(life), at_ms, side="right"))
