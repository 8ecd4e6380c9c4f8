"""`pdm-twin delete`: the readings of one machine, from whichever source it sat behind, with a progress bar."""

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pdm.durations import DAY_MS
from pdm.errors import ConfigurationError, NotFoundError
from pdm.installations import ALWAYS_MS, NEVER_MS
from pdm.plant.marked_yaml import did_you_mean
from pdm.ports import ReadingStore
from pdm.progress import progress_bar
from pdm.settings import Settings
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import opened_state, read
from pdm.wiring import reading_store
from pdm.words import iso

AT_ONCE_MS = 31 * DAY_MS


class Place(NamedTuple):
    """The readings of a source with start <= time < end, in which it was the machine that is asked for."""

    class_name: str
    source: str
    start_ms: int
    end_ms: int

    def __str__(self) -> str:
        since = "" if self.start_ms <= ALWAYS_MS else f" from {iso(self.start_ms)}"
        return f"{self.source!r}{since}" + ("" if self.end_ms >= NEVER_MS else f" to {iso(self.end_ms)}")


def places_of(settings: Settings, serial: str, from_ms: int | None, to_ms: int | None) -> list[Place]:
    """Where a machine sat between two times.

    Raises:
        ConfigurationError: there is no such machine, or no time between the two.
        NotFoundError: it sat behind no source then.
    """
    begin, end = ALWAYS_MS if from_ms is None else from_ms, NEVER_MS if to_ms is None else to_ms
    if begin >= end:
        raise ConfigurationError("expected a time after --from", key="--to")
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        try:
            fleet = current_fleet(connection, current_plant(connection))
        except NotFoundError as error:
            raise ConfigurationError(str(error)) from None
    if serial not in fleet.assets:
        raise ConfigurationError(f"there is no {serial!r}{did_you_mean(serial, fleet.assets)}", key="--asset")
    class_name = fleet.assets[serial].class_name
    if not (found := fleet.places_of(serial, begin, end)):
        raise NotFoundError(f"{serial} sat behind no source in that time")
    return [Place(class_name, *place) for place in found]


def delete_readings(settings: Settings, places: Sequence[Place]) -> int:
    """Delete all of it; returns how many readings there were. Cut short, it goes on when it is done again.

    Raises:
        StoreError: readings still wait for InfluxDB, or the store does not answer.
        ConflictError: the logs are being compacted.
    """
    with (
        opened_state(settings.state_url()) as engine,
        closing(reading_store(settings, engine)) as store,
        progress_bar() as bar,
    ):
        parts = [part for place in places for part in _parts(store, place)]
        return sum(store.delete(*part) for part in bar.track(parts, description="delete"))


def _parts(store: ReadingStore, place: Place) -> list[Place]:
    """A place in parts that are deleted at once. Late readings may be older than all that is known to be new."""
    heard = store.changes(place.class_name, "")
    mine = np.flatnonzero(heard.source == place.source)
    edges = np.arange(heard.earliest_ms[mine[0]], heard.latest_ms[mine[0]], AT_ONCE_MS) if len(mine) else np.empty(0)
    inner = [edge for edge in edges.astype(np.int64).tolist() if place.start_ms < edge < place.end_ms]
    ends = [place.start_ms, *inner, place.end_ms]
    return [place._replace(start_ms=begin, end_ms=end) for begin, end in pairwise(ends)]
