"""Keep the reading logs small: once a day what came the days before goes into files, and files that are old enough go.
Where readings are forwarded to another store, what it has goes instead.

Steps stay for ever, whatever becomes of the readings that they were made of. A day that a step is still to be made of
stays, too.
"""

from dataclasses import dataclass

import numpy as np

from pdm.durations import DAY_MS
from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import current_plant
from pdm.state.schema import read
from pdm.words import plural

GRACE_MS = 15 * 60_000
"""What is committed so soon after midnight is taken along: it may still belong to the day before."""


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What one run did: batches that left the logs, files that they went into, files removed."""

    batches: int
    written: int
    removed: int

    def __str__(self) -> str:
        gone = plural(self.batches, "batch", "batches")
        where = (
            f"into {plural(self.written, 'file')}" if self.written or not self.batches else "dropped after forwarding"
        )
        return f"{gone} {where}, {self.removed} removed"


def compact(services: Services, at_ms: int) -> CompactReport | None:
    """Compact whole days, and remove the readings that are no longer kept at plant time `at_ms`.

    None where readings are in memory.
    """
    if services.compactor is None:
        return None
    with read(services.engine) as connection:
        classes = current_plant(connection).plant.classes.values()
    before_ms = (services.clock.wall_ms() - GRACE_MS) // DAY_MS * DAY_MS + GRACE_MS
    done = services.compactor.compact(before_ms)
    removed = 0
    for asset_class in classes:
        if (kept_ms := kept_from(services, asset_class, at_ms)) is not None:
            removed += services.compactor.expire(asset_class.name, kept_ms)
    return CompactReport(done.batches, done.files, removed)


def kept_from(services: Services, asset_class: AssetClass, at_ms: int) -> int | None:
    """The time before which readings of a class may go; None if none may, or there was no tick yet."""
    if asset_class.keep_readings_ms is None:
        return None
    with read(services.engine) as connection:
        stored = load_beliefs(connection, asset_class.name)
    if stored is None:
        return None
    now = stored.beliefs
    waiting = now.next_ms[now.in_service & (now.next_ms >= 0)]
    # up to the last tick: what came since may be late, and its step is made again with the readings beside it
    until_ms = min(at_ms, stored.at_ms) - asset_class.keep_readings_ms
    return int(np.min(waiting, initial=until_ms))
