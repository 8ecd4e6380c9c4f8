"""See whether forecasts held what they said, and widen their bands where they did not.

outcomes of a class -> what its model would have said without any widening -> the factor that it needs -> the record
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection

from pdm.cohort import frame_name
from pdm.deliver.messages import Site, bands_message
from pdm.installations import Fleet
from pdm.plant import AssetClass
from pdm.prognosis.quantiles import widened
from pdm.rules.ruleset import FailureProbabilityRule, RulQuantileRule
from pdm.scoring.track_record import Judged
from pdm.scoring.widening import Widening, widening
from pdm.services import Services
from pdm.state.outcomes import outcomes
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read, write
from pdm.state.told import add_message, derived_id
from pdm.state.widenings import note_widening, widening_of, widenings_of
from pdm.words import listed, percent, plural

CHANGED = 0.05
"""A factor that moves by less than this share stays as it is."""

_log = structlog.stdlib.get_logger(__name__)


def review(services: Services, at_ms: int) -> str:
    """Look at all classes; returns what changed, in words."""
    with read(services.engine) as connection:
        current = current_plant(connection)
        fleet = current_fleet(connection, current)
    said = [text for one in current.plant.classes.values() if (text := _review_class(services, fleet, one, at_ms))]
    return listed(said, "and") or "bands hold what they promise, or lives are too few to tell"


def _review_class(services: Services, fleet: Fleet, asset_class: AssetClass, at_ms: int) -> str:
    model = frame_name(services.models.get(asset_class.name))
    with read(services.engine) as connection:
        before = widening_of(connection, asset_class.name, model)
        found = widening(_unwidened(connection, fleet, asset_class, model), asset_class.horizon, before)
    if abs(found.factor / before - 1.0) < CHANGED:
        return ""
    with write(services.engine) as connection:
        note_widening(connection, asset_class.name, model, at_ms, found.factor, found.lives, found.coverage.value)
        _tell(connection, services, asset_class, model, at_ms, found)
    text = _in_words(asset_class, found)
    _log.warning("bands of forecasts are widened anew", asset_class=asset_class.name, model=model, why=text)
    return text


def _tell(
    connection: Connection, services: Services, asset_class: AssetClass, model: str, at_ms: int, found: Widening
) -> None:
    """Have everybody hear of it who is told of forecasts of the class; the log says it already."""
    current = current_plant(connection)
    rules = [
        rule for rule in current.rules_of(asset_class) if isinstance(rule, RulQuantileRule | FailureProbabilityRule)
    ]
    site = Site(current.plant, {}, services.public_url)
    about = derived_id("widening", asset_class.name, model, at_ms)
    for route in sorted({route for rule in rules for route in rule.routes} - {"log"}):
        delivery = derived_id("delivery", about, 1, route)
        facts = (asset_class.name, model, found.factor, found.lives, found.coverage.value, at_ms)
        add_message(connection, about, route, delivery, bands_message(delivery, *facts, site), services.clock.wall_ms())


def _unwidened(connection: Connection, fleet: Fleet, asset_class: AssetClass, model: str) -> Judged:
    """What a model said of lives that failed, without the widening that was in force when it was said."""
    found = outcomes(connection, asset_class, fleet)
    failed = np.array([one.life.failed for one in found.lives], dtype=bool)
    mine = failed[found.of] & np.array([name == model for name in found.models], dtype=bool)
    changes = [row for row in widenings_of(connection, asset_class.name) if row.model == model]
    factor = _factor_at(changes, found.issued_ms[mine])
    length = np.array([one.used for one in found.lives], dtype=np.float64)
    return Judged(
        widened(found.quantiles[mine], 1.0 / factor), found.remaining[mine], length[found.of[mine]], found.of[mine]
    )


def _factor_at(changes: Sequence[Any], issued_ms: Any) -> Any:
    """The factor in force at each time `[m]`."""
    factors = np.array([1.0, *(row.factor for row in changes)])
    place: Any = np.searchsorted([row.from_ms for row in changes], issued_ms, side="right")
    return factors[place]


def _in_words(asset_class: AssetClass, found: Widening) -> str:
    held = f"{percent(found.coverage.value)} of the truths of {plural(found.lives, 'life', 'lives')} in the 80 % band"
    if found.factor == 1.0:
        return f"{asset_class.name}: bands as the model says them again, {held}"
    return f"{asset_class.name}: bands {found.factor:.2g} times as wide, {held}"
