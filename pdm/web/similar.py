"""Finished lives of the plant that looked most like a machine does now, and how they went on.

Alike is what the trees of the model cannot tell apart: the share of them in which two steps fall into the same leaf
(Breiman 2001, doi 10.1023/A:1010933404324). The stored steps of those lives are folded again by the model's own frame.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from pdm import cohort, features
from pdm.features.frame import Floats
from pdm.learn import Life
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import stacked
from pdm.learn.walk_forward import times_of
from pdm.plant import AssetClass
from pdm.prognosis import Basis, learned
from pdm.prognosis.learned import Model
from pdm.services import Services
from pdm.state.schema import read
from pdm.stored_lives import lives_of
from pdm.web import views
from pdm.web.shapes import SimilarView
from pdm.web.snapshot import Snapshot

SHOWN = 3
MOST_LIVES = 200
"""Only so many finished lives are looked at, the newest."""

LOOKS = 60
"""At about so many steps of each."""


class Looks(NamedTuple):
    """Steps of finished lives: `[r, F]` features, `[r]` which life, when it ended [ms], life used and left then."""

    features: NDArray[np.float32]
    life: NDArray[np.intp]
    at_ms: NDArray[np.int64]
    used: Floats
    remaining: Floats


def similar_lives(services: Services, now: Snapshot, serial: str) -> tuple[SimilarView, ...]:
    """The most similar steps of finished lives, one of a life; none where the forecast is not a learned one.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
    """
    twin, machine = views.twin_in(now, serial), views.asset(now, serial)
    asset_class, model = now.current.plant.class_of(machine), services.models.get(machine.class_name)
    if model is None or twin.prognosis.basis != Basis.LEARNED.name.lower():
        return ()
    lives, looks = _finished(services, now, asset_class, model)
    if not lives:
        return ()
    with read(services.engine) as connection:
        machines = cohort.restored(connection, now.current, asset_class, model, now.fleet, [serial])
    if machines.twin.features is None:
        return ()
    mine = features.emit(model.frame, machines.twin.features, np.array([0])).astype(np.float32)
    alike = learned.proximity(model, mine, looks.features, machines.complete)
    of_life = [np.flatnonzero(looks.life == number) for number in range(len(lives))]
    best = [int(rows[np.argmax(alike[rows])]) for rows in of_life]  # each has one: its last step
    ranked = sorted(best, key=lambda row: -alike[row])[:SHOWN]
    return tuple(_view(lives[looks.life[row]], looks, row, float(alike[row]), asset_class) for row in ranked)


def _view(life: Life, looks: Looks, row: int, alike: float, asset_class: AssetClass) -> SimilarView:
    return SimilarView(
        serial=life.serial,
        at=int(looks.at_ms[row]),
        unit=asset_class.life_step.unit,
        used=float(looks.used[row]),
        remaining=float(looks.remaining[row]),
        ended_at=int(times_of(life)[-1]),
        mode=life.mode,
        alike=alike,
    )


def _finished(services: Services, now: Snapshot, asset_class: AssetClass, model: Model) -> tuple[list[Life], Looks]:
    """Lives from start to failure and their steps, kept until another has ended or another model speaks."""
    ended = [span.to_ms for _, span in now.fleet.all_lives_of(asset_class.name) if span.failed]
    key, of_plant = (model.version, len(ended), max(ended, default=0)), _kept.setdefault(services.engine, {})
    kept = of_plant.get(asset_class.name)
    if kept is None or kept[0] != key:
        with read(services.engine) as connection:
            every = [one for one in lives_of(connection, now.fleet, asset_class) if one.failed and one.complete]
        lives = sorted(every, key=lambda one: int(times_of(one)[-1]))[-MOST_LIVES:]
        kept = of_plant[asset_class.name] = key, lives, _looks(model, lives)
    return kept[1], kept[2]


_kept: WeakKeyDictionary[Engine, dict[str, tuple[tuple[str, int, int], list[Life], Looks]]] = WeakKeyDictionary()


def _looks(model: Model, lives: list[Life]) -> Looks:
    if not lives:
        nothing = np.zeros(0)
        return Looks(np.zeros((0, 0), np.float32), np.zeros(0, np.intp), np.zeros(0, np.int64), nothing, nothing)
    stack, longest = stacked(lives), max(len(one.columns) for one in lives)
    wanted = np.arange(longest) % max(1, longest // LOOKS) == 0
    rows = fold_lives(model.frame, stack, wanted)
    times = np.concatenate([times_of(one) for one in lives])
    return Looks(rows.features, rows.life, times[rows.step], stack.used[rows.step], stack.remaining[rows.step])
