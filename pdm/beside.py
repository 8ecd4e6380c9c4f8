"""Two models beside each other on lives that neither had seen the end of: the same steps, folded by each.

What a model would have said is worked out from the stored steps, at the times at which forecasts are issued, by the
functions that the service uses; nothing is stored. Bands are as the models say them, without any widening.
"""

from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from pdm.installations import Fleet
from pdm.learn import Life
from pdm.learn.walk_forward import Said, said_by, times_of
from pdm.plant import AssetClass
from pdm.prognosis.learned import Model, Origin
from pdm.scoring import score
from pdm.scoring.track_record import Figure, Judged, banded, figures
from pdm.state.models import published_ms
from pdm.stored_lives import lives_of


class Beside(NamedTuple):
    """How two models did on the same forecasts.

    Attributes:
        since_ms: from when on neither had seen anything, None where that is not known of one of them.
        lives: failures that both foretold something about.
        active, other: figures of each by name.
        crps_change: CRPS of the other less that of the active one, by life [life steps]; below 0 the other is better.
    """

    since_ms: int | None
    lives: int
    active: dict[str, Figure]
    other: dict[str, Figure]
    crps_change: Figure


NOTHING_BESIDE = Beside(None, 0, {}, {}, Figure(np.nan, np.nan, np.nan))


def beside(connection: Connection, fleet: Fleet, asset_class: AssetClass, active: Model, other: Model) -> Beside:
    """Judge both on what has ended since the later of them was trained."""
    times = [unseen_since(connection, asset_class, model) for model in (active, other)]
    known = [at_ms for at_ms in times if at_ms is not None]
    if len(known) < len(times):
        return NOTHING_BESIDE
    return judged_since(asset_class, list(lives_of(connection, fleet, asset_class)), active, other, max(known))


def unseen_since(connection: Connection, asset_class: AssetClass, model: Model) -> int | None:
    """From when on a model had seen nothing of this plant; None where nobody wrote down when it was trained here."""
    if model.facts.origin != Origin.PLANT:
        return 0
    return published_ms(connection, asset_class.name, model.version)


def judged_since(asset_class: AssetClass, lives: list[Life], active: Model, other: Model, since_ms: int) -> Beside:
    """Judge both on what ended since.

    Args:
        lives: of the class, with the times of their steps.
    """
    if active.head is None or other.head is None:
        return NOTHING_BESIDE._replace(since_ms=since_ms)  # one of them forecasts nothing
    failed = [life for life in lives if life.failed and life.complete and int(times_of(life)[-1]) > since_ms]
    judged = [_judged(failed, said_by(asset_class, model, failed, since_ms)) for model in (active, other)]
    horizon = asset_class.horizon
    if not len(judged[0].inside(horizon).life):
        return NOTHING_BESIDE._replace(since_ms=since_ms)
    losses = [score(one.quantiles, one.remaining, one.life, horizon).crps for one in judged]
    ours, others = (figures(one, horizon) for one in judged)
    return Beside(since_ms, len(losses[0]), ours, others, banded(losses[1] - losses[0]))


def _judged(lives: list[Life], said: Said) -> Judged:
    length = np.array([life.length for life in lives], dtype=np.float64)
    return Judged(said.quantiles, said.remaining, length[said.life], said.life)
