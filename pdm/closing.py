"""What changed since the last tick, and the steps that it closes or changes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm.cohort import Cohort
from pdm.installations import ALWAYS_MS, NEVER_MS
from pdm.plant import AssetClass
from pdm.ports import ReadingStore
from pdm.readings import Readings
from pdm.state.cohorts import Cursors
from pdm.state.plants import marks_after
from pdm.state.steps import Asked, history
from pdm.steps import Steps, closed_until, joined, make_steps, same_steps, step_start


@dataclass(frozen=True)
class Changed:
    """What is new for a cohort.

    Attributes:
        earliest_ms: `[n]` from when on the readings or events of a machine changed, `NEVER_MS` if they did not.
        heard_ms: `[n]` time of the latest reading that arrived since the last tick, -1 for none.
        cursors: up to where this has looked.
    """

    earliest_ms: NDArray[np.int64]
    heard_ms: NDArray[np.int64]
    cursors: Cursors


@dataclass(frozen=True)
class Closed:
    """The steps of a tick.

    Attributes:
        made: steps that are new or differ from what was stored; `count` -1 takes a stored one back.
        rewound: rows with a change before their latest step, whose twin is folded again.
        next_ms: `[n]` start of the first step not yet made; -1 if no reading says that there will be one.
    """

    made: Steps
    rewound: NDArray[np.int64]
    next_ms: NDArray[np.int64]


def what_changed(connection: Connection, readings: ReadingStore, cohort: Cohort) -> Changed:
    """Readings that arrived, and marks that events, swaps and corrections left, since the cohort's cursors."""
    arrived = readings.changes(cohort.asset_class.name, cohort.cursors.readings)
    earliest = cohort.intervals.earliest(len(cohort.serials), arrived.source, arrived.earliest_ms)
    heard = cohort.intervals.latest(len(cohort.serials), arrived.source, arrived.earliest_ms, arrived.latest_ms)
    marks, row_of = marks_after(connection, cohort.cursors.marks), cohort.row_of
    for mark in marks:
        if (row := row_of.get(mark.serial)) is not None:
            earliest[row] = min(earliest[row], mark.earliest_ms)
    last = marks[-1].number if marks else cohort.cursors.marks
    return Changed(earliest, heard, Cursors(arrived.cursor, last))


def close_steps(connection: Connection, readings: ReadingStore, cohort: Cohort, changed: Changed, at_ms: int) -> Closed:
    """Make every step that is closed by `at_ms` and not made yet, and make again those that a change may touch."""
    until = closed_until(cohort.asset_class, at_ms)
    from_ms = _first_to_make(cohort, changed, until)
    behind = _behind(cohort, from_ms, until)
    parts, next_ms = [], np.where(from_ms < until, -1, cohort.next_ms)
    for rows in (~behind & (from_ms < until), behind):
        if rows.any():
            part, following = _make(readings, cohort, rows, from_ms, until)
            parts.append(part)
            next_ms = np.where(rows, following, next_ms)
    made = joined(parts) if parts else _no_steps(cohort.asset_class)
    rewound = np.flatnonzero((from_ms < until) & (from_ms <= cohort.last_step_ms))
    if len(rewound):
        made, rewound = _only_differences(connection, cohort, made, rewound, from_ms, at_ms)
    return Closed(made, rewound, next_ms)


def _first_to_make(cohort: Cohort, changed: Changed, until: int) -> NDArray[np.int64]:
    """Start of the first step to make `[n]`, `until` for none."""
    change = changed.earliest_ms.copy()
    late = change < NEVER_MS
    change[late] = step_start(cohort.asset_class, change[late])
    goes_on = cohort.next_ms < np.minimum(cohort.life_to_ms, cohort.installed_until_ms)
    due = np.where((cohort.next_ms >= 0) & goes_on, cohort.next_ms, NEVER_MS)
    return np.minimum(np.minimum(due, change), until)


def _behind(cohort: Cohort, from_ms: NDArray[np.int64], until: int) -> NDArray[np.bool_]:
    """Machines that need a longer stretch of readings than most: they are read on their own."""
    due = from_ms < until
    if not due.any():
        return due
    starts, number = np.unique(from_ms[due], return_counts=True)
    return np.asarray(due & (from_ms < starts[np.argmax(number)]))


def _make(
    readings: ReadingStore, cohort: Cohort, rows: NDArray[np.bool_], from_ms: NDArray[np.int64], until: int
) -> tuple[Steps, NDArray[np.int64]]:
    """Steps of some machines, and the start of the first step of each that stays open `[n]`."""
    fixed = cohort.asset_class.life_step.duration_ms is not None
    sources = cohort.intervals.sources_of(np.flatnonzero(rows))
    found = readings.window(cohort.asset_class.name, sources, int(from_ms[rows].min()), until if fixed else NEVER_MS)
    row = cohort.intervals.rows_at(found.source, found.time_ms)
    row = np.where((row >= 0) & rows[row], row, -1)
    if fixed:
        # a machine that was never heard of begins with its first reading, not with a gap
        first = _earliest(found, row, len(rows), 0)
        unseen = (cohort.next_ms < 0) | _heard_only_later(readings, cohort, rows, from_ms)
        from_ms = np.where(unseen, step_start(cohort.asset_class, np.minimum(first, until)), from_ms)
        following = np.where(unseen & (first == NEVER_MS), -1, until)
    else:
        following = _earliest(found, row, len(rows), until)
        following[following == NEVER_MS] = -1
    end = np.minimum(until, cohort.installed_until_ms)
    if fixed:
        end = np.minimum(end, _outlived(cohort, found, row))
    made = make_steps(cohort.asset_class, found, row, np.where(rows, from_ms, end), end)
    if not (made.count > 0).all():
        # a machine on the shelf does not age: no gap where it sat behind no source
        made = made.take((made.count > 0) | cohort.intervals.sat(made.row, made.start_ms, made.end_ms))
    return made, following


def _heard_only_later(
    readings: ReadingStore, cohort: Cohort, rows: NDArray[np.bool_], from_ms: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Machines of which there is no reading before `from_ms` `[n]`: an event may be older than all that was heard."""
    earlier = rows & (cohort.twin.first_start_ms > from_ms)
    if earlier.any():
        sources = cohort.intervals.sources_of(np.flatnonzero(earlier))
        found = readings.window(cohort.asset_class.name, sources, ALWAYS_MS, int(from_ms[earlier].max()))
        row = cohort.intervals.rows_at(found.source, found.time_ms)
        row = row[(row >= 0) & (found.time_ms < from_ms[np.maximum(row, 0)])]
        earlier[row] = False
    return earlier


def _outlived(cohort: Cohort, found: Readings, row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to where there are steps of each machine `[n]`: behind the end of its life none but what was read."""
    read_ms = np.full(len(cohort.serials), ALWAYS_MS, dtype=np.int64)
    np.maximum.at(read_ms, row[row >= 0], found.time_ms[row >= 0])
    return np.maximum(cohort.life_to_ms, read_ms + 1)


def _earliest(found: Readings, row: NDArray[np.int64], count: int, from_ms: int) -> NDArray[np.int64]:
    """Time of the first reading of each machine from a time on `[count]`, `NEVER_MS` for none."""
    earliest = np.full(count, NEVER_MS, dtype=np.int64)
    later = (row >= 0) & (found.time_ms >= from_ms)
    np.minimum.at(earliest, row[later], found.time_ms[later])
    return earliest


def _only_differences(
    connection: Connection,
    cohort: Cohort,
    made: Steps,
    rewound: NDArray[np.int64],
    from_ms: NDArray[np.int64],
    at_ms: int,
) -> tuple[Steps, NDArray[np.int64]]:
    """Of re-made steps keep those that differ from the stored ones, and take back stored ones that are gone.

    A stored step that is older than the readings that are kept stays as it was made.
    """
    asked = Asked(since_ms=int(from_ms[rewound].min()))  # no step begins after it was made
    stored = history(connection, cohort.asset_class, cohort.serials[rewound].tolist(), asked)
    stored = replace(stored, row=rewound[stored.row])
    stored = stored.take(stored.start_ms >= from_ms[stored.row])
    if (kept_ms := cohort.asset_class.keep_readings_ms) is not None:
        final = stored.take((stored.count > 0) & (stored.start_ms < at_ms - kept_ms))
        made = made.take(~np.isin(_keys(made), _keys(final)))
        stored = stored.take(~np.isin(_keys(stored), _keys(final)))
    key_made, key_stored = _keys(made), _keys(stored)
    _, at_made, at_stored = np.intersect1d(key_made, key_stored, return_indices=True)
    same = np.zeros(len(made), dtype=bool)
    same[at_made] = same_steps(made.take(at_made), stored.take(at_stored))
    gone = stored.take(~np.isin(key_stored, key_made))
    taken_back = replace(gone, count=np.full(len(gone), -1, dtype=np.int32))
    kept = made.take(~same)
    changed_rows = np.union1d(kept.row[kept.start_ms <= cohort.last_step_ms[kept.row]], gone.row)
    both = joined([kept, taken_back])
    return both.take(np.lexsort((both.start_ms, both.row))), np.intersect1d(changed_rows, rewound)


def _keys(steps: Steps) -> NDArray[np.int64]:
    """One number for each (row, start): rows below 2^19, times below 2^44."""
    return np.asarray((steps.row << 44) + steps.start_ms)


def _no_steps(asset_class: AssetClass) -> Steps:
    nothing = np.full(0, 0, dtype=np.int64)
    return make_steps(asset_class, Readings.empty(asset_class.sensor_names), nothing, nothing, nothing)
