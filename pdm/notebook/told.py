"""What is forecast after each step of a record, by the fold and the forecast that the service runs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm import twin
from pdm.features.frame import Frame
from pdm.notebook.tables import Lives
from pdm.plant import AssetClass
from pdm.prognosis import Prognosis
from pdm.prognosis.forecast import empty, forecast, updated
from pdm.prognosis.learned import Model
from pdm.twin import Twin

_TOGETHER = 5_000  # twins that are forecast at once: their states take memory


class Turn(NamedTuple):
    """Lives that have lived one more step: which rows of their steps, and the twins of all lives since."""

    rows: NDArray[np.int64]
    twins: Twin


def folded(asset_class: AssetClass, frame: Frame | None, lives: Lives) -> Iterator[Turn]:
    """Fold lives step by step; the twins of a turn change with the next one."""
    steps, twins = lives.steps, twin.start(asset_class, frame, len(lives.spans))
    for turn in twin.in_turns(steps):
        rows = np.arange(len(steps)) if turn is None else turn
        twin.fold(asset_class, frame, twins, steps.take(rows))
        yield Turn(rows, twins)


def told(asset_class: AssetClass, model: Model | None, lives: Lives) -> Prognosis:
    """The forecast after each step, in the order of the steps."""
    made, waiting = empty(asset_class, len(lives.steps)), list[Turn]()
    for rows, twins in folded(asset_class, None if model is None else model.frame, lives):
        waiting.append(Turn(rows, twins.take(lives.steps.row[rows])))
        if sum(len(one.rows) for one in waiting) >= _TOGETHER:
            made = _said(asset_class, model, lives, made, waiting)
            waiting.clear()
    return _said(asset_class, model, lives, made, waiting) if waiting else made


def complete(asset_class: AssetClass, lives: Lives, twins: Twin, life: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of the twins `[m]`, of these lives `[m]`, has seen its machine from the start of its life."""
    begins = np.array([span.from_ms for span in lives.spans], dtype=np.int64)
    known = np.array([span.start_known for span in lives.spans], dtype=np.bool_)
    return twin.history_complete(asset_class, twins, begins[life], known[life])


def _said(
    asset_class: AssetClass, model: Model | None, lives: Lives, before: Prognosis, waiting: list[Turn]
) -> Prognosis:
    """What was said before, and now of the twins that wait."""
    places = np.concatenate([one.rows for one in waiting])
    cohort = twin.start(asset_class, None if model is None else model.frame, len(places))
    ends = np.cumsum([len(one.rows) for one in waiting])
    for one, end in zip(waiting, ends.tolist(), strict=True):
        twin.put(cohort, np.arange(end - len(one.rows), end), one.twins)
    whole = complete(asset_class, lives, cohort, lives.steps.row[places])
    return updated(before, places, forecast(asset_class, model, cohort, np.arange(len(places)), whole))
