"""Lives of which work orders tell and no readings: how long they lasted by the calendar, and what their life table says
of the machines that go on."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.degradation import Weibull
from pdm.features.frame import Floats
from pdm.installations import NEVER_MS, Fleet
from pdm.installations import Life as Span
from pdm.learn import Life
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS, MEDIAN
from pdm.scoring.life_table import fit_life_table, of_few


class UnreadLife(NamedTuple):
    """A life that began at a known time, and of which nothing was measured.

    Attributes:
        length: while it was installed, as far as is known [life steps].
        running: whether it goes on, in a machine that is installed.
    """

    serial: str
    length: float
    failed: bool
    mode: str | None
    running: bool


class ByAge(NamedTuple):
    """What a life table says of a machine of an age [life steps]."""

    serial: str
    basis: str
    age: float
    remaining_10: float
    remaining_50: float
    remaining_90: float
    fails_within_horizon: float


def unread_lives(fleet: Fleet, asset_class: AssetClass, read: Iterable[Life]) -> list[UnreadLife]:
    """The lives of a class without readings; none where a life step is no stretch of time.

    Those that go on count up to the latest that is known of any machine of the class. Where others have readings, a
    silent machine of which no event tells is taken for a spare.

    Args:
        read: lives of which steps are on record.
    """
    step_ms = asset_class.life_step.duration_ms
    if step_ms is None:
        return []
    seen: dict[str, list[NDArray[np.int64]]] = {}
    for life in read:
        if life.end_ms is not None and len(life.end_ms):
            seen.setdefault(life.serial, []).append(life.end_ms)
    spans = [(serial, span) for serial, span in fleet.all_lives_of(asset_class.name) if span.start_known]
    known = [ms for _, span in spans for ms in (span.from_ms, span.to_ms) if ms < NEVER_MS]
    until_ms = max([*known, *(int(end_ms[-1]) for ends in seen.values() for end_ms in ends)], default=0)
    return [
        UnreadLife(
            serial, lasted / step_ms, span.failed, span.mode, span.to_ms >= NEVER_MS and _sits(fleet, serial, until_ms)
        )
        for serial, span in spans
        if (not seen or _told(fleet, serial, span))
        and not any(span.from_ms < end_ms[0] <= span.to_ms for end_ms in seen.get(serial, ()))
        and (lasted := _lasted_ms(fleet, serial, span, until_ms)) > 0
    ]


def _told(fleet: Fleet, serial: str, span: Span) -> bool:
    """Whether an event began or ended a life."""
    return span.to_ms < NEVER_MS or span.from_ms != fleet.assets[serial].start_of_life_ms


def _sits(fleet: Fleet, serial: str, at_ms: int) -> bool:
    return fleet.source_of(serial, at_ms) is not None


def _lasted_ms(fleet: Fleet, serial: str, span: Span, until_ms: int) -> int:
    """How long a machine sat somewhere within a life; of one that failed all of it, whatever is known of places."""
    end_ms = min(span.to_ms, until_ms)
    if span.failed:
        return end_ms - span.from_ms
    return sum(to_ms - from_ms for _, from_ms, to_ms in fleet.places_of(serial, span.from_ms, end_ms))


def table_of(lives: Sequence[UnreadLife]) -> Weibull:
    """Their life table; one has to have failed at least."""
    lengths, failed = lengths_of(lives)
    return of_few(fit_life_table(lengths, failed), int(failed.sum()))


def lengths_of(lives: Sequence[UnreadLife]) -> tuple[Floats, NDArray[np.bool_]]:
    """Their lengths `[n]` [life steps], and which of them failed `[n]`."""
    return np.array([life.length for life in lives], dtype=np.float64), np.array([life.failed for life in lives])


def by_age(asset_class: AssetClass, table: Weibull, lives: Iterable[UnreadLife]) -> Iterator[ByAge]:
    """What the table says of those that go on, the likeliest to fail within the horizon first."""
    going_on = [life for life in lives if life.running]
    ages = np.array([life.length for life in going_on], dtype=np.float64)
    said = table.remaining(ages[:, None], LEVELS[None, [3, MEDIAN, -4]])
    fails = 1 - table.survival(ages + asset_class.horizon) / np.maximum(table.survival(ages), np.finfo(np.float64).tiny)
    for i in np.argsort(-fails, kind="stable").tolist():
        low, median, high = said[i].tolist()
        yield ByAge(going_on[i].serial, "life_table", float(ages[i]), low, median, high, float(fails[i]))
