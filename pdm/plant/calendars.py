"""When people can work on a machine: feasible starts and the finish of a job, through shifts and holidays.

Shifts are local wall time of the plant; everything that comes in or goes out is integer milliseconds UTC. A shift that
ends at or before the minute it starts ends on the next day. A shift that starts on a holiday does not take place.

A job that fits into one stretch of working time is done within one, so that no machine stays open overnight. A job
longer than any stretch may start whenever people work and goes on in the next ones.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pdm.durations import DAY_MS
from pdm.plant import Calendar, Shift

_FORTNIGHT_MS = 14 * DAY_MS
_LONGEST_SEARCH_MS = 3 * 366 * DAY_MS
_BLOCK_DAYS = 28  # laid out at a time, and kept: tick after tick asks for nearly the same days


def working_time(calendar: Calendar, zone: ZoneInfo, from_ms: int, until_ms: int) -> NDArray[np.int64]:
    """Stretches `[k, 2]` (start, end) of working time that touch from <= time < until, in order.

    Shifts that touch or overlap are one stretch. Stretches are not cut to the period asked for, unless there are no
    shifts: then people work always and the answer is the period itself.
    """
    if not calendar.shifts:
        return np.array([[from_ms, until_ms]], dtype=np.int64)
    first, last = _local_date(from_ms, zone) - timedelta(days=2), _local_date(until_ms, zone) + timedelta(days=2)
    blocks = first.toordinal() // _BLOCK_DAYS, last.toordinal() // _BLOCK_DAYS + 1
    stretches = _stretches(calendar, zone, *blocks)
    return stretches[(stretches[:, 1] > from_ms) & (stretches[:, 0] < until_ms)]


def feasible_starts(
    calendar: Calendar, zone: ZoneInfo, from_ms: int, until_ms: int, duration_ms: int, every_ms: int
) -> NDArray[np.int64]:
    """Times `[t]` with from <= time < until at which a job of this duration can start, rising.

    In each stretch of working time they begin as early as possible and then follow every `every_ms`. Of stretches that
    follow each other faster than that, only some offer a start: there is one in each `every_ms` at most.
    """
    stretches = working_time(calendar, zone, from_ms, until_ms + duration_ms)
    fits = duration_ms <= _longest_stretch(calendar, zone, from_ms)
    first = np.maximum(stretches[:, 0], from_ms)
    last = np.minimum(stretches[:, 1] - (duration_ms if fits else 1), until_ms - 1)
    counts = np.maximum((last - first) // every_ms + 1, 0)
    ordinal = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts: NDArray[np.int64] = np.repeat(first, counts) + ordinal * every_ms
    _, one_each = np.unique((starts - from_ms) // every_ms, return_index=True)
    return starts[one_each]


def finish_times(
    calendar: Calendar, zone: ZoneInfo, starts_ms: NDArray[np.int64], duration_ms: int
) -> NDArray[np.int64]:
    """When a job that starts at each of these times `[t]` is done: only working time counts.

    Raises:
        ValueError: the calendar has no working time for it within three years.
    """
    if not calendar.shifts or not len(starts_ms):
        return starts_ms + duration_ms
    first, search_ms = int(starts_ms.min()), int(np.ptp(starts_ms)) + _FORTNIGHT_MS + 8 * duration_ms
    while True:
        stretches = working_time(calendar, zone, first, first + search_ms)
        finished = _finished(stretches, starts_ms, duration_ms)
        if finished is not None:
            return finished
        if search_ms >= _LONGEST_SEARCH_MS:
            raise ValueError(f"calendar {calendar.name!r} has no working time for a job of {duration_ms / 3.6e6:g} h")
        search_ms = min(4 * search_ms, _LONGEST_SEARCH_MS)


def _finished(stretches: NDArray[np.int64], starts_ms: NDArray[np.int64], duration_ms: int) -> NDArray[np.int64] | None:
    """Finish times, or None where the stretches end before the work does."""
    if not len(stretches):
        return None
    origin = stretches[0, 0]
    worked = np.cumsum(stretches[:, 1] - stretches[:, 0])  # working time up to the end of each stretch
    up_to = np.column_stack([np.r_[0, worked[:-1]], worked]).ravel()
    before = np.interp(starts_ms - origin, (stretches - origin).ravel(), up_to).astype(np.int64)
    wanted = before + duration_ms
    if wanted.max() > worked[-1]:
        return None
    stretch = np.searchsorted(worked, wanted, side="left")
    finished: NDArray[np.int64] = stretches[stretch, 1] - (worked[stretch] - wanted)
    return finished


@lru_cache(maxsize=64)
def _stretches(calendar: Calendar, zone: ZoneInfo, first: int, until: int) -> NDArray[np.int64]:
    """Stretches `[k, 2]` of working time whose shifts begin in these blocks of local days, `until` excluded."""
    days = map(date.fromordinal, range(first * _BLOCK_DAYS, until * _BLOCK_DAYS))
    shifts = [
        _times(shift, day, zone) for day in days for shift in calendar.shifts if _takes_place(shift, calendar, day)
    ]
    return _joined(np.array(sorted(shifts), dtype=np.int64).reshape(-1, 2))


def _longest_stretch(calendar: Calendar, zone: ZoneInfo, from_ms: int) -> int:
    """The longest stretch of working time in a fortnight without holidays [ms]."""
    if not calendar.shifts:
        return 0  # no stretch ever ends, so there is nothing to fit into
    usual = working_time(replace(calendar, holidays=()), zone, from_ms, from_ms + _FORTNIGHT_MS)
    return int(np.diff(usual, axis=1).max(initial=0))


def _takes_place(shift: Shift, calendar: Calendar, day: date) -> bool:
    return day.weekday() in shift.weekdays and day not in calendar.holidays


def _times(shift: Shift, day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Start and end of the shift that begins on this local day [ms UTC]."""
    overnight = 24 * 60 if shift.end_minute <= shift.start_minute else 0
    return _local_ms(day, shift.start_minute, zone), _local_ms(day, shift.end_minute + overnight, zone)


def _local_ms(day: date, minute: int, zone: ZoneInfo) -> int:
    # adding to a naive time and only then naming the zone keeps 06:00 at 06:00 on the days the clocks change
    wall = datetime.combine(day, time()) + timedelta(minutes=minute)
    return round(wall.replace(tzinfo=zone).timestamp() * 1000)


def _local_date(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()


def _joined(shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shifts sorted by start, as stretches that neither touch nor overlap."""
    if not len(shifts):
        return shifts
    reach = np.maximum.accumulate(shifts[:, 1])
    opens = np.r_[True, shifts[1:, 0] > reach[:-1]]
    closes = np.r_[opens[1:], True]
    return np.column_stack([shifts[opens, 0], reach[closes]])
