"""Correct declared lives by the lives that a fleet has ended, failed or not.

lives of a class -> life used in each, by the law of each failure mode -> declared life pooled with them -> record
"""

from collections.abc import Iterator, Sequence

import numpy as np
import structlog
from sqlalchemy import Connection

from pdm.degradation import Weibull
from pdm.installations import Fleet
from pdm.learn import Life
from pdm.learn.declared import exposure
from pdm.plant import AssetClass, ExpectedLife, FailureMode
from pdm.scoring.life_table import pooled
from pdm.services import Services
from pdm.state.fleet_lives import OF_CLASS, FleetLife, fleet_lives_of, note_fleet_life
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read, write
from pdm.stored_lives import lives_of
from pdm.unread_lives import UnreadLife, unread_lives
from pdm.words import life_range, listed, plural

CHANGED = 0.02
"""A mean or spread that moves by less than this share stays as it is."""

SPREADS = (0.02, 5.0)
"""Shares of the mean between which a spread may lie."""

_log = structlog.stdlib.get_logger(__name__)


def review_lives(services: Services, at_ms: int) -> str:
    """Look at all classes that declare lives; returns what changed, in words, "" if nothing did."""
    said = []
    with read(services.engine) as connection:
        current = current_plant(connection)
        fleet = current_fleet(connection, current)
        before = {(one.class_name, one.mode): one for one in fleet_lives_of(connection)}
        found = [
            one
            for asset_class in current.declared.classes.values()
            if asset_class.expected_life is not None or asset_class.wearing
            for one in _corrected(connection, fleet, asset_class)
        ]
    for one in found:
        if _moved(one, before.get((one.class_name, one.mode))):
            with write(services.engine) as connection:
                note_fleet_life(connection, one, at_ms)
            said.append(_in_words(current.declared.classes[one.class_name], one))
            _log.info("a declared life was corrected", asset_class=one.class_name, mode=one.mode, why=said[-1])
    return listed(said, "and")


def _corrected(connection: Connection, fleet: Fleet, asset_class: AssetClass) -> Iterator[FleetLife]:
    lives = list(lives_of(connection, fleet, asset_class))
    by_calendar = asset_class.running_when is None and not asset_class.stress
    unread = unread_lives(fleet, asset_class, lives) if by_calendar else []
    yield from corrections(asset_class, lives, unread)


def corrections(
    asset_class: AssetClass, lives: Sequence[Life], unread: Sequence[UnreadLife] = ()
) -> Iterator[FleetLife]:
    """Each declared life after what the fleet has shown; none while no machine has run.

    Args:
        unread: lives without readings; of no mode with a law of stress, since nobody knows their duty.
    """
    seen = [life for life in lives if life.complete]
    if asset_class.expected_life is not None:
        used = [*(life.length for life in seen), *(life.length for life in unread)]
        ended = [*(life.failed for life in seen), *(life.failed for life in unread)]
        yield from _correction(asset_class, OF_CLASS, asset_class.expected_life, used, ended)
    only = len(asset_class.failure_modes) == 1
    for mode in asset_class.wearing:
        told = [life for life in seen if not life.failed or life.mode is not None or only]
        laws = mode.stress or asset_class.stress
        used = [exposure(asset_class, life, laws) if mode.stress else life.length for life in told]
        failed = [life.failed and life.mode in (mode.name, None) for life in told]
        by_order = [] if laws else [one for one in unread if not one.failed or one.mode is not None or only]
        used += [one.length for one in by_order]
        failed += [one.failed and one.mode in (mode.name, None) for one in by_order]
        assert mode.expected_life is not None  # noqa: S101 - it would not be among the wearing ones
        yield from _correction(asset_class, mode.name, mode.expected_life, used, failed)


def _correction(
    asset_class: AssetClass, mode: str, declared: ExpectedLife, used: Sequence[float], failed: Sequence[bool]
) -> Iterator[FleetLife]:
    lengths, ended = np.array(used, dtype=np.float64), np.array(failed, dtype=np.bool_)
    if not lengths.any():
        return
    law = pooled(Weibull.from_moments(declared.mean, declared.sd), lengths[lengths > 0], ended[lengths > 0])
    low, high = (share * law.mean for share in SPREADS)
    sd, failures = float(np.clip(law.sd, low, high)), int(ended.sum())
    yield FleetLife(asset_class.name, mode, declared.mean, declared.sd, law.mean, sd, failures, len(ended) - failures)


def _moved(now: FleetLife, before: FleetLife | None) -> bool:
    declared = (now.declared_mean, now.declared_sd)
    same = before is not None and (before.declared_mean, before.declared_sd) == declared
    mean, sd = (before.mean, before.sd) if before is not None and same else declared
    return abs(now.mean / mean - 1) > CHANGED or abs(now.sd / sd - 1) > CHANGED


def _in_words(asset_class: AssetClass, one: FleetLife) -> str:
    unit, mode = asset_class.life_step.unit, next((m for m in asset_class.failure_modes if m.name == one.mode), None)
    pairs = ((one.declared_mean, one.declared_sd), (one.mean, one.sd))
    was, now = (life_range(mean - sd, mean + sd, unit) for mean, sd in pairs)
    lives = f"{plural(one.failures, 'failure')} and {plural(one.censored, 'life', 'lives')} that did not end so"
    return f"{_whose(asset_class, mode)} lasts {now}, declared {was}: {lives}"


def _whose(asset_class: AssetClass, mode: FailureMode | None) -> str:
    title = asset_class.title or asset_class.name
    return title if mode is None else f"{title} until {mode.title or mode.name}"
