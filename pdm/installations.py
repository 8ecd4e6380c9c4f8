"""Which machine sat behind which source, and which stretch of time is its present life. Pure functions.

Life belongs to the serial-numbered machine. The plant file says where each machine started; events say what changed
since: `installed` (a machine came to a source), `removed`, `replaced` (another serial took over slot and source),
`repaired` (the machine is as new and starts another life), `failed` (its life ended; of two reports the first stands),
`sensor_replaced` (the machine goes on, one of its sensors begins anew).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import repeat
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pdm.plant import Asset, Plant

ALWAYS_MS = -(2**43)
NEVER_MS = 2**43
"""Times before and after everything (years 1691 and 2248): open ends of intervals."""


class EventKind(StrEnum):
    """What people or the CMMS report about a machine."""

    INSTALLED = "installed"
    REMOVED = "removed"
    REPLACED = "replaced"
    REPAIRED = "repaired"
    INSPECTED = "inspected"
    FAILED = "failed"
    SENSOR_REPLACED = "sensor_replaced"


MOVING = frozenset([EventKind.INSTALLED, EventKind.REMOVED, EventKind.REPLACED])
"""What may put machines behind other sources."""


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """One report. `by_serial` is the machine that took over (replaced), `source` where it now reports (installed),
    `sensor` the one that was replaced (sensor_replaced), `value` what was measured (inspected)."""

    serial: str
    kind: EventKind
    at_ms: int
    mode: str | None = None
    by_serial: str | None = None
    source: str | None = None
    sensor: str | None = None
    value: float | None = None


class NewSensor(NamedTuple):
    """From this time on a sensor of a machine is another one."""

    serial: str
    sensor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A value measured on a machine by hand, of a failure mode or of the only one that wears.

    `key` is a number of its own, below 2^32.
    """

    serial: str
    at_ms: int
    mode: str | None
    value: float

    @property
    def key(self) -> float:
        return float(crc32(f"{self.at_ms} {self.mode} {self.value!r}".encode()))


@dataclass(frozen=True, slots=True)
class Installation:
    """`serial` was behind `source` for from <= time < to."""

    source: str
    serial: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Life:
    """A life of a machine, from new or repaired on: steps with from <= start < to belong to it."""

    from_ms: int
    to_ms: int
    start_known: bool
    failed: bool = False
    mode: str | None = None


@dataclass(frozen=True)
class Fleet:
    """The machines of a plant as its file and all events together say.

    Attributes:
        lives: the present life of each machine, by serial.
        past_lives: those that a repair ended, with their serial, by time.
        new_sensors: sensors that were replaced, by time.
        inspections: what was measured by hand, by time.
    """

    assets: Mapping[str, Asset]
    installations: tuple[Installation, ...]
    lives: Mapping[str, Life]
    past_lives: tuple[tuple[str, Life], ...] = ()
    new_sensors: tuple[NewSensor, ...] = ()
    inspections: tuple[Inspection, ...] = ()

    def serials_of(self, class_name: str) -> tuple[str, ...]:
        return tuple(sorted(serial for serial, asset in self.assets.items() if asset.class_name == class_name))

    def all_lives_of(self, class_name: str) -> list[tuple[str, Life]]:
        """Every life of a class with its serial, those that a repair ended first."""
        everyone = (*self.past_lives, *self.lives.items())
        return [(serial, life) for serial, life in everyone if self.assets[serial].class_name == class_name]

    def failures_of(self, class_name: str) -> int:
        """How many lives of a class ended in failure."""
        return sum(life.failed for _, life in self.all_lives_of(class_name))

    def source_of(self, serial: str, at_ms: int) -> str | None:
        """Where this machine reported at that time."""
        return next((i.source for i in self.installations if i.serial == serial and i.from_ms <= at_ms < i.to_ms), None)

    def places_of(self, serial: str, start_ms: int, end_ms: int) -> list[tuple[str, int, int]]:
        """Behind which sources this machine sat within a stretch of time, from when to when."""
        mine = (i for i in self.installations if i.serial == serial and i.from_ms < end_ms and i.to_ms > start_ms)
        found = [(i.source, max(start_ms, i.from_ms), min(end_ms, i.to_ms)) for i in mine]
        return sorted(found, key=lambda place: place[1])

    def in_slot(self, slot: str, at_ms: int) -> str | None:
        """The serial that sat in a functional location at that time."""
        return next(
            (
                i.serial
                for i in self.installations
                if i.from_ms <= at_ms < i.to_ms and self.assets[i.serial].slot == slot
            ),
            None,
        )


def moved_serials(before: Fleet, after: Fleet) -> dict[str, int]:
    """The machines whose sources differ between two states of a fleet, and from when on [ms UTC]."""
    earliest: dict[str, int] = {}
    for one, other in ((before, after), (after, before)):
        ends = {(i.serial, i.source, i.from_ms): i.to_ms for i in other.installations}
        for i in one.installations:
            end = ends.get((i.serial, i.source, i.from_ms))
            if end != i.to_ms:
                since = i.from_ms if end is None else min(end, i.to_ms)
                earliest[i.serial] = min(since, earliest.get(i.serial, NEVER_MS))
    return earliest


def fleet_of(plant: Plant, events: Iterable[MaintenanceEvent]) -> Fleet:
    """Apply the events, by time, to what the plant file declares."""
    assets = dict(plant.assets)
    installed = {a.serial: Installation(a.source, a.serial, _start(a), NEVER_MS) for a in assets.values() if a.source}
    lives = {a.serial: Life(_start(a), NEVER_MS, a.start_of_life_ms is not None) for a in assets.values()}
    ended: list[Installation] = []
    past: list[tuple[str, Life]] = []
    sensors: list[NewSensor] = []
    inspections: list[Inspection] = []
    for event in sorted(events, key=lambda e: (e.at_ms, e.kind == EventKind.REPLACED)):
        if event.serial not in assets:
            continue
        match event.kind:
            case EventKind.FAILED if not lives[event.serial].failed and event.at_ms > lives[event.serial].from_ms:
                lives[event.serial] = replace(lives[event.serial], to_ms=event.at_ms, failed=True, mode=event.mode)
            case EventKind.REPAIRED:
                before = lives[event.serial]
                past.append((event.serial, replace(before, to_ms=min(before.to_ms, event.at_ms))))
                lives[event.serial] = Life(event.at_ms, NEVER_MS, start_known=True)
            case EventKind.INSPECTED if event.value is not None:
                inspections.append(Inspection(event.serial, event.at_ms, event.mode, event.value))
            case EventKind.REMOVED:
                _remove(event.serial, event.at_ms, installed, ended)
            case EventKind.INSTALLED if event.source is not None:
                _install(event.serial, event.source, event.at_ms, lives, installed, ended)
            case EventKind.REPLACED if event.by_serial is not None:
                _replace(event, assets, lives, installed, ended)
            case EventKind.SENSOR_REPLACED if event.sensor is not None:
                sensors.append(NewSensor(event.serial, event.sensor, event.at_ms))
    return Fleet(assets, (*ended, *installed.values()), lives, tuple(past), tuple(sensors), tuple(inspections))


@dataclass(frozen=True)
class Intervals:
    """The installations of a cohort as arrays, sorted by (source, from), for look-ups of many readings at once.

    Attributes:
        sources: `[s]` object array, the distinct sources.
        number: the index of each in `sources`.
        source, row: `[i]` index into `sources`, and row of the machine in the cohort.
        from_ms, to_ms: `[i]` int64.
    """

    sources: NDArray[Any]
    number: Mapping[str, int]
    source: NDArray[np.int64]
    row: NDArray[np.int64]
    from_ms: NDArray[np.int64]
    to_ms: NDArray[np.int64]

    @staticmethod
    def of(fleet: Fleet, serials: Iterable[str]) -> "Intervals":
        row_of = {serial: row for row, serial in enumerate(serials)}
        mine = [i for i in fleet.installations if i.serial in row_of]
        sources = sorted({i.source for i in mine})
        number = {name: index for index, name in enumerate(sources)}
        known = sorted((number[i.source], i.from_ms, i.to_ms, row_of[i.serial]) for i in mine)
        table = np.array(known, dtype=np.int64).reshape(-1, 4)
        names = np.array(sources, dtype=object)
        return Intervals(names, number, table[:, 0], table[:, 3], table[:, 1], table[:, 2])

    def rows_at(self, source: NDArray[Any], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each reading the row of the machine that was behind its source then, -1 if none. `[n]` -> `[n]`."""
        if not len(self.row) or not len(time_ms):
            return np.full(len(time_ms), -1, dtype=np.int64)
        index = self._index(source)
        # one sorted key for (source, time): the source in the high bits, the time above -2^43 in the low 44
        starts = (self.source << 44) + (self.from_ms - ALWAYS_MS)
        at = np.searchsorted(starts, (index << 44) + (time_ms - ALWAYS_MS), side="right") - 1
        inside = (index >= 0) & (at >= 0) & (self.source[at] == index) & (time_ms < self.to_ms[at])
        return np.where(inside, self.row[at], -1)

    def earliest(self, count: int, source: NDArray[Any], earliest_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each of `count` rows the earliest time from which its readings changed, `NEVER_MS` if they did not.

        Args:
            source, earliest_ms: `[m]` the sources that changed, and from when on.
        """
        index = self._index(source)
        of_source = np.full(len(self.sources), NEVER_MS, dtype=np.int64)
        of_source[index[index >= 0]] = earliest_ms[index >= 0]
        changed = np.maximum(of_source[self.source], self.from_ms)
        earliest = np.full(count, NEVER_MS, dtype=np.int64)
        np.minimum.at(earliest, self.row, np.where(changed < self.to_ms, changed, NEVER_MS))
        return earliest

    def latest(
        self, count: int, source: NDArray[Any], earliest_ms: NDArray[np.int64], latest_ms: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """For each of `count` rows about the latest time at which it was heard, -1 if it was not.

        Args:
            source, earliest_ms, latest_ms: `[m]` the sources that were heard, and from when until when.
        """
        index = self._index(source)
        first, last = np.full((2, len(self.sources)), -1, dtype=np.int64)
        first[index[index >= 0]], last[index[index >= 0]] = earliest_ms[index >= 0], latest_ms[index >= 0]
        during = (first[self.source] < self.to_ms) & (last[self.source] >= self.from_ms)
        heard = np.full(count, -1, dtype=np.int64)
        np.maximum.at(heard, self.row, np.where(during, np.minimum(last[self.source], self.to_ms - 1), -1))
        return heard

    def sat(self, row: NDArray[np.int64], start_ms: NDArray[np.int64], end_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a machine sat behind any source in a part of start <= time < end. `[m]`."""
        if not len(self.row):
            return np.zeros(len(row), dtype=np.bool_)
        starts = (self.row << 44) + (self.from_ms - ALWAYS_MS)
        order = np.argsort(starts)
        at = order[np.maximum(np.searchsorted(starts[order], (row << 44) + (end_ms - ALWAYS_MS)) - 1, 0)]
        return np.asarray((self.row[at] == row) & (self.from_ms[at] < end_ms) & (self.to_ms[at] > start_ms))

    def sources_of(self, rows: NDArray[np.int64]) -> list[str]:
        """Every source that one of these rows was ever behind."""
        names: list[str] = self.sources[np.unique(self.source[np.isin(self.row, rows)])].tolist()
        return names

    def _index(self, source: NDArray[Any]) -> NDArray[np.int64]:
        """The number of each name, -1 for one that is not known. `[n]` -> `[n]`."""
        return np.fromiter(map(self.number.get, source.tolist(), repeat(-1)), np.int64, len(source))


def _start(asset: Asset) -> int:
    return ALWAYS_MS if asset.start_of_life_ms is None else asset.start_of_life_ms


def _remove(serial: str, at_ms: int, installed: dict[str, Installation], ended: list[Installation]) -> None:
    if serial in installed:
        ended.append(replace(installed.pop(serial), to_ms=at_ms))


def _install(
    serial: str,
    source: str,
    at_ms: int,
    lives: dict[str, Life],
    installed: dict[str, Installation],
    ended: list[Installation],
) -> None:
    if not lives[serial].failed:  # one that was swapped out in working order goes on with its life
        lives[serial] = replace(lives[serial], to_ms=NEVER_MS)
    for sitting in [i for i in installed.values() if i.source == source or i.serial == serial]:
        _remove(sitting.serial, at_ms, installed, ended)
    installed[serial] = Installation(source, serial, at_ms, NEVER_MS)


def _replace(
    event: MaintenanceEvent,
    assets: dict[str, Asset],
    lives: dict[str, Life],
    installed: dict[str, Installation],
    ended: list[Installation],
) -> None:
    """The newcomer takes over slot and source; a serial that the file does not know is new at that time."""
    leaving, newcomer = assets[event.serial], str(event.by_serial)
    source = installed[event.serial].source if event.serial in installed else leaving.source
    if newcomer in assets:
        assets[newcomer] = replace(assets[newcomer], slot=leaving.slot, place=leaving.place)
    else:
        assets[newcomer] = replace(leaving, serial=newcomer, start_of_life_ms=event.at_ms)
        lives[newcomer] = Life(event.at_ms, NEVER_MS, start_known=True)
    if not lives[event.serial].failed:
        lives[event.serial] = replace(lives[event.serial], to_ms=event.at_ms)
    _install(newcomer, source, event.at_ms, lives, installed, ended)
