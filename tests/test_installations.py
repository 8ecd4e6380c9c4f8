"""Which machine sat behind which source, and which life it lives."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.installations import (
    ALWAYS_MS,
    NEVER_MS,
    EventKind,
    Fleet,
    Installation,
    Intervals,
    Life,
    MaintenanceEvent,
    fleet_of,
    moved_serials,
)
from pdm.plant.file import parse_plant
from tests.small_plant import HOUR, PLANT, START

SMALL = parse_plant(PLANT)
"""F-1 behind fan1, F-2 behind fan2, F-3 behind fan3, all new at START."""

SERIALS, SOURCES = ("F-1", "F-2", "F-3"), ("fan1", "fan2", "fan3")


def at(hour: float) -> int:
    return START + round(hour * HOUR)


def event(serial: str, kind: EventKind, hour: float, **more: Any) -> MaintenanceEvent:
    return MaintenanceEvent(serial, kind, at(hour), **more)


def behind(fleet: Fleet, source: str) -> list[tuple[str, int, int]]:
    """Who sat behind a source, in the order of time."""
    return sorted(
        ((i.serial, i.from_ms, i.to_ms) for i in fleet.installations if i.source == source), key=lambda i: i[1]
    )


# What events do


def test_without_events_each_machine_sits_where_the_file_says() -> None:
    fleet = fleet_of(SMALL, [])
    assert behind(fleet, "fan1") == [("F-1", START, NEVER_MS)]
    assert fleet.lives["F-1"] == Life(START, NEVER_MS, start_known=True)
    assert fleet.in_slot("FAN-2", at(1)) == "F-2"
    assert fleet.source_of("F-2", at(-1)) is None


def test_a_start_of_life_that_nobody_knows_reaches_back_for_ever() -> None:
    plant = parse_plant(
        PLANT.replace('source: fan2, start_of_life: "2026-01-05T00:00:00Z"', "source: fan2, start_of_life: unknown")
    )
    fleet = fleet_of(plant, [])
    assert fleet.lives["F-2"] == Life(ALWAYS_MS, NEVER_MS, start_known=False)
    assert fleet.source_of("F-2", 0) == "fan2"


def test_a_machine_that_failed_lives_until_then_and_stays_where_it_is() -> None:
    fleet = fleet_of(SMALL, [event("F-1", EventKind.FAILED, 10, mode="belt")])
    assert fleet.lives["F-1"] == Life(START, at(10), start_known=True, failed=True, mode="belt")
    assert behind(fleet, "fan1") == [("F-1", START, NEVER_MS)]


def test_a_repair_begins_another_life_of_known_start() -> None:
    fleet = fleet_of(SMALL, [event("F-1", EventKind.FAILED, 10), event("F-1", EventKind.REPAIRED, 12)])
    assert fleet.lives["F-1"] == Life(at(12), NEVER_MS, start_known=True)


def test_a_machine_that_was_removed_sits_behind_nothing_and_keeps_its_life() -> None:
    fleet = fleet_of(SMALL, [event("F-1", EventKind.REMOVED, 10)])
    assert behind(fleet, "fan1") == [("F-1", START, at(10))]
    assert fleet.lives["F-1"].to_ms == NEVER_MS
    assert fleet.in_slot("FAN-1", at(11)) is None


def test_a_machine_that_is_installed_takes_the_source_and_leaves_its_own() -> None:
    fleet = fleet_of(SMALL, [event("F-3", EventKind.INSTALLED, 10, source="fan1")])
    assert behind(fleet, "fan1") == [("F-1", START, at(10)), ("F-3", at(10), NEVER_MS)]
    assert behind(fleet, "fan3") == [("F-3", START, at(10))]


def test_a_spare_that_takes_over_keeps_its_age_and_the_slot_is_its_own() -> None:
    fleet = fleet_of(SMALL, [event("F-1", EventKind.REPLACED, 10, by_serial="F-3")])
    assert fleet.lives["F-1"] == Life(START, at(10), start_known=True)
    assert fleet.lives["F-3"] == Life(START, NEVER_MS, start_known=True)
    assert fleet.in_slot("FAN-1", at(11)) == "F-3"
    assert behind(fleet, "fan1") == [("F-1", START, at(10)), ("F-3", at(10), NEVER_MS)]


def test_a_replacement_that_the_file_does_not_know_is_new_then() -> None:
    fleet = fleet_of(SMALL, [event("F-1", EventKind.REPLACED, 10, by_serial="F-9")])
    newcomer = fleet.assets["F-9"]
    assert (newcomer.class_name, newcomer.slot, newcomer.source) == ("fan", "FAN-1", "fan1")
    assert fleet.lives["F-9"] == Life(at(10), NEVER_MS, start_known=True)
    assert fleet.serials_of("fan") == ("F-1", "F-2", "F-3", "F-9")
    assert fleet.in_slot("FAN-1", at(11)) == "F-9"


def test_a_failure_and_the_replacement_of_the_same_moment_are_both_kept() -> None:
    replaced = event("F-1", EventKind.REPLACED, 10, by_serial="F-9")
    failed = event("F-1", EventKind.FAILED, 10, mode="belt")
    for events in ([replaced, failed], [failed, replaced]):
        fleet = fleet_of(SMALL, events)
        assert fleet.lives["F-1"] == Life(START, at(10), start_known=True, failed=True, mode="belt")
        assert fleet.lives["F-9"].to_ms == NEVER_MS


def test_an_event_about_a_machine_that_is_not_there_changes_nothing() -> None:
    assert fleet_of(SMALL, [event("X", EventKind.FAILED, 1)]) == fleet_of(SMALL, [])


@given(
    st.permutations(
        [
            event("F-3", EventKind.INSTALLED, 10, source="fan1"),
            event("F-3", EventKind.REMOVED, 20),
            event("F-1", EventKind.INSTALLED, 20.5, source="fan1"),
            event("F-2", EventKind.REPAIRED, 5),
        ]
    )
)
def test_events_count_by_their_time_not_by_the_order_of_their_reports(events: Sequence[MaintenanceEvent]) -> None:
    fleet = fleet_of(SMALL, events)
    assert behind(fleet, "fan1") == [("F-1", START, at(10)), ("F-3", at(10), at(20)), ("F-1", at(20.5), NEVER_MS)]
    assert fleet.lives["F-2"].from_ms == at(5)


# What changes who


def test_a_swap_reported_late_moves_both_machines_from_then_on() -> None:
    before = fleet_of(SMALL, [])
    after = fleet_of(SMALL, [event("F-3", EventKind.INSTALLED, 10, source="fan1")])
    assert moved_serials(before, after) == {"F-1": at(10), "F-3": at(10)}
    assert moved_serials(after, before) == {"F-1": at(10), "F-3": at(10)}
    assert moved_serials(before, before) == {}


def test_an_event_that_moves_nobody_is_no_change_of_place() -> None:
    before, after = fleet_of(SMALL, []), fleet_of(SMALL, [event("F-1", EventKind.FAILED, 10)])
    assert moved_serials(before, after) == {}


# Many readings at once


kinds = st.sampled_from(
    [EventKind.INSTALLED, EventKind.REMOVED, EventKind.REPLACED, EventKind.REPAIRED, EventKind.FAILED]
)
reports = st.lists(
    st.builds(
        lambda serial, kind, hour, other, source: MaintenanceEvent(
            serial, kind, at(hour), by_serial=other, source=source
        ),
        st.sampled_from(SERIALS),
        kinds,
        st.integers(0, 30),
        st.sampled_from((*SERIALS, "F-9")),
        st.sampled_from(SOURCES),
    ).filter(lambda report: report.by_serial != report.serial),
    max_size=6,
)


@given(reports)
def test_no_source_has_two_machines_and_no_machine_two_sources_at_a_time(events: list[MaintenanceEvent]) -> None:
    fleet = fleet_of(SMALL, events)
    for key in ("source", "serial"):
        for name in {getattr(i, key) for i in fleet.installations}:
            spans = sorted((i.from_ms, i.to_ms) for i in fleet.installations if getattr(i, key) == name)
            assert all(start <= end for start, end in spans)
            assert all(one[1] <= other[0] for one, other in pairwise(spans))


@given(reports, st.lists(st.tuples(st.sampled_from((*SOURCES, "else")), st.integers(-2, 32)), max_size=20))
def test_each_reading_belongs_to_the_machine_that_sat_there(
    events: list[MaintenanceEvent], readings: list[tuple[str, int]]
) -> None:
    fleet = fleet_of(SMALL, events)
    serials = fleet.serials_of("fan")
    intervals = Intervals.of(fleet, serials)
    source = np.array([name for name, _ in readings], dtype=object)
    time_ms = np.array([at(hour) for _, hour in readings], dtype=np.int64)
    expected = [_sitting(fleet, name, at(hour)) for name, hour in readings]
    rows = intervals.rows_at(source, time_ms)
    assert [None if row < 0 else serials[row] for row in rows] == expected


def _sitting(fleet: Fleet, source: str, time_ms: int) -> str | None:
    found = {i.serial for i in fleet.installations if i.source == source and i.from_ms <= time_ms < i.to_ms}
    assert len(found) <= 1
    return found.pop() if found else None


def swapped() -> Intervals:
    """F-1 behind fan1 until hour 10, F-3 from then on; F-2 behind fan2."""
    return Intervals.of(fleet_of(SMALL, [event("F-3", EventKind.INSTALLED, 10, source="fan1")]), SERIALS)


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(-5, [0, NEVER_MS, 10]), (4, [4, NEVER_MS, 10]), (10, [NEVER_MS, NEVER_MS, 10]), (25, [NEVER_MS, NEVER_MS, 25])],
)
def test_a_change_of_a_source_concerns_who_sat_there_since(hour: int, expected: list[int]) -> None:
    earliest = swapped().earliest(3, np.array(["fan1"], dtype=object), np.array([at(hour)], dtype=np.int64))
    # before its first installation nobody sat there
    assert earliest.tolist() == [value if value == NEVER_MS else max(at(value), START) for value in expected]


def test_the_sources_of_a_machine_are_all_that_it_was_ever_behind() -> None:
    assert swapped().sources_of(np.array([2])) == ["fan1", "fan3"]
    assert swapped().sources_of(np.array([1])) == ["fan2"]


def test_a_cohort_without_installations_has_no_readings() -> None:
    nobody = Intervals.of(Fleet({}, (), {}), [])
    assert nobody.rows_at(np.array(["fan1"], dtype=object), np.array([START])).tolist() == [-1]
    assert nobody.earliest(0, np.array(["fan1"], dtype=object), np.array([START])).tolist() == []


def test_open_ends_lie_beyond_all_times_that_messages_may_carry() -> None:
    always = Installation("fan1", "F-1", ALWAYS_MS, NEVER_MS)
    fleet = Fleet(dict(SMALL.assets), (always,), {})
    ends = np.array([631_152_000_000, START, NEVER_MS - 1], dtype=np.int64)
    assert Intervals.of(fleet, ["F-1"]).rows_at(np.full(3, "fan1", dtype=object), ends).tolist() == [0, 0, 0]
