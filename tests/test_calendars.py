"""Shifts, holidays and clock changes between a job and its finish."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdm.plant import Calendar, Shift
from pdm.plant.calendars import feasible_starts, finish_times, working_time

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000
WEEKDAYS = (0, 1, 2, 3, 4)
DAY_SHIFT = Calendar("day", (Shift(WEEKDAYS, 6 * 60, 14 * 60),))
DAY_AND_SATURDAY = Calendar("both", (Shift(WEEKDAYS, 6 * 60, 14 * 60), Shift((5,), 6 * 60, 10 * 60)))
ALWAYS = Calendar("always")


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    """Milliseconds of a local time, written as people write it."""
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


def local(times_ms: np.ndarray) -> list[str]:
    return [datetime.fromtimestamp(t / 1000, UTC).astimezone(BERLIN).strftime("%a %H:%M") for t in times_ms.tolist()]


def test_without_shifts_people_work_always() -> None:
    starts = feasible_starts(ALWAYS, BERLIN, 1000, 1000 + 3 * HOUR, 50 * HOUR, HOUR)
    assert starts.tolist() == [1000, 1000 + HOUR, 1000 + 2 * HOUR]
    assert finish_times(ALWAYS, BERLIN, starts, 50 * HOUR).tolist() == (starts + 50 * HOUR).tolist()


def test_a_short_job_is_finished_within_its_shift() -> None:
    starts = feasible_starts(DAY_SHIFT, BERLIN, at("2026-12-03 07:30"), at("2026-12-05 00:00"), 6 * HOUR, HOUR)
    assert local(starts) == ["Thu 07:30", "Fri 06:00", "Fri 07:00", "Fri 08:00"]


def test_a_job_longer_than_any_shift_goes_on_in_the_next_ones() -> None:
    starts = feasible_starts(DAY_SHIFT, BERLIN, at("2026-12-04 12:00"), at("2026-12-07 08:00"), 12 * HOUR, HOUR)
    assert local(starts) == ["Fri 12:00", "Fri 13:00", "Mon 06:00", "Mon 07:00"]
    assert local(finish_times(DAY_SHIFT, BERLIN, starts, 12 * HOUR)) == [
        "Tue 08:00",  # 2 h on Friday, 8 h on Monday, 2 h on Tuesday
        "Tue 09:00",
        "Tue 10:00",
        "Tue 11:00",
    ]


def test_a_job_too_long_for_saturday_waits_for_monday_even_if_only_saturday_was_asked_for() -> None:
    assert not len(
        feasible_starts(DAY_AND_SATURDAY, BERLIN, at("2026-12-05 00:00"), at("2026-12-06 00:00"), 6 * HOUR, HOUR)
    )


def test_stretches_that_follow_each_other_fast_do_not_all_offer_a_start() -> None:
    start, end = at("2026-11-02 00:00"), at("2029-11-02 00:00")
    starts = feasible_starts(DAY_AND_SATURDAY, BERLIN, start, end, HOUR, 100 * HOUR)
    assert 250 < len(starts) <= np.ceil((end - start) / (100 * HOUR))
    assert local(starts[:3]) == ["Mon 06:00", "Fri 06:00", "Wed 06:00"]


def test_nobody_works_on_a_holiday() -> None:
    calendar = Calendar("day", DAY_SHIFT.shifts, holidays=(date(2026, 12, 25),))
    starts = feasible_starts(calendar, BERLIN, at("2026-12-24 20:00"), at("2026-12-29 00:00"), 8 * HOUR, HOUR)
    assert local(starts) == ["Mon 06:00"]


def test_a_night_shift_ends_the_next_morning_and_started_before_the_holiday() -> None:
    calendar = Calendar("night", (Shift(WEEKDAYS, 22 * 60, 6 * 60),), holidays=(date(2026, 12, 25),))
    stretches = working_time(calendar, BERLIN, at("2026-12-25 00:00"), at("2026-12-27 00:00"))
    assert [local(stretch) for stretch in stretches] == [["Thu 22:00", "Fri 06:00"]]


def test_three_shifts_that_touch_are_one_stretch_so_a_long_job_runs_through() -> None:
    every_day = tuple(range(7))
    calendar = Calendar("round the clock", tuple(Shift(every_day, m, m + 480) for m in (0, 480, 960)))
    starts = feasible_starts(calendar, BERLIN, at("2026-12-01 00:00"), at("2026-12-02 00:00"), 100 * HOUR, HOUR)
    assert len(starts) == 24
    assert finish_times(calendar, BERLIN, starts, 100 * HOUR).tolist() == (starts + 100 * HOUR).tolist()


def test_a_shift_keeps_its_wall_time_when_the_clocks_change() -> None:
    sunday = Calendar("sunday", (Shift((6,), 6 * 60, 14 * 60),))
    before, after = working_time(sunday, BERLIN, at("2026-03-22 00:00"), at("2026-03-30 00:00"))
    assert local(np.array([before[0], after[0]])) == ["Sun 06:00", "Sun 06:00"]
    assert after[0] - before[0] == (7 * 24 - 1) * HOUR


def test_a_job_that_starts_before_the_shift_begins_with_it() -> None:
    finish = finish_times(DAY_SHIFT, BERLIN, np.array([at("2026-12-05 12:00")]), HOUR)
    assert local(finish) == ["Mon 07:00"]


def test_a_calendar_that_never_offers_working_time_is_an_error() -> None:
    never = Calendar("never", (Shift((), 0, 60),))
    assert not len(feasible_starts(never, BERLIN, 0, 10 * HOUR, HOUR, HOUR))
    with pytest.raises(ValueError, match="'never' has no working time for a job of 1 h"):
        finish_times(never, BERLIN, np.array([0]), HOUR)


@given(
    day=st.integers(0, 700),
    minute=st.integers(0, 1439),
    duration=st.integers(1, 60 * 60),
    start_minute=st.integers(0, 1439),
    length=st.integers(30, 1439),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
)
@example(day=0, minute=0, duration=3600, start_minute=0, length=30, weekdays={0})  # takes two years and more
@settings(max_examples=50, deadline=None)
def test_exactly_the_duration_is_worked_between_start_and_finish(
    day: int, minute: int, duration: int, start_minute: int, length: int, weekdays: set[int]
) -> None:
    calendar = Calendar("any", (Shift(tuple(weekdays), start_minute, (start_minute + length) % 1440),))
    start = at("2026-01-01 00:00") + day * 24 * HOUR + minute * 60_000
    finish = int(finish_times(calendar, BERLIN, np.array([start]), duration * 60_000)[0])
    stretches = np.clip(working_time(calendar, BERLIN, start, finish), start, finish)
    assert np.diff(stretches, axis=1).sum() == duration * 60_000
