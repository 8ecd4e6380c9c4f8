"""Which machine sat behind which source, and which stretch of time is its present life. Pure functions.

Life belongs to the serial-numbered machine. The plant file says where each machine started; events say what changed
since: `installed` (a machine came to a source), `removed`, `replaced` (another serial took over slot and source),
`repaired` (the machine is as new and starts another life), `failed` (its life ended).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

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


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """One report. `by_serial` is the machine that took over (replaced), `source` where it now reports (installed)."""

    serial: str
    kind: EventKind
    at_ms: int
    mode: str | None = None
    by_serial: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """`serial` was behind `source` for from <= time < to."""

    source: str
    serial: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Life:
    """The present life of a machine: steps with from <= start < to belong to it."""

    from_ms: int
    to_ms: int
    start_known: bool
    failed: bool = False
    mode: str | None = None


@dataclass(frozen=True)
class Fleet:
    """The machines of a plant as its file and all events together say."""

    assets: Mapping[str, Asset]
    installations: tuple[Installation, ...]
    lives: Mapping[str, Life]

    def serials_of(self, class_name: str) -> tuple[str, ...]:
        return tuple(sorted(serial for serial, asset in self.assets.items() if asset.class_name == class_name))

    def source_of(self, serial: str, at_ms: int) -> str | None:
        """Where this machine reported at that time."""
        return next((i.source for i in self.installations if i.serial == serial and i.from_ms <= at_ms < i.to_ms), None)

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


def fleet_of(plant: Plant, events: Iterable[MaintenanceEvent]) -> Fleet:
    """Apply the events, by time, to what the plant file declares."""
    assets = dict(plant.assets)
    installed = {a.serial: Installation(a.source, a.serial, _start(a), NEVER_MS) for a in assets.values() if a.source}
    lives = {a.serial: Life(_start(a), NEVER_MS, a.start_of_life_ms is not None) for a in assets.values()}
    ended: list[Installation] = []
    for event in sorted(events, key=lambda e: (e.at_ms, e.kind == EventKind.REPLACED)):
        if event.serial not in assets:
            continue
        match event.kind:
            case EventKind.FAILED:
                lives[event.serial] = replace(lives[event.serial], to_ms=event.at_ms, failed=True, mode=event.mode)
            case EventKind.REPAIRED:
                lives[event.serial] = Life(event.at_ms, NEVER_MS, start_known=True)
            case EventKind.REMOVED:
                _remove(event.serial, event.at_ms, installed, ended)
            case EventKind.INSTALLED if event.source is not None:
                _install(event.serial, event.source, event.at_ms, installed, ended)
            case EventKind.REPLACED if event.by_serial is not None:
                _replace(event, assets, lives, installed, ended)
    return Fleet(assets, (*ended, *installed.values()), lives)


def rows_of(
    fleet: Fleet, serials: Sequence[str], sources: Sequence[str], source: NDArray[Any], time_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each reading the row of the machine (index into `serials`) that was behind its source then, -1 if none.

    Args:
        sources: the distinct source names; source: `[n]` index into them; time_ms: `[n]`.
    """
    row_of = {serial: row for row, serial in enumerate(serials)}
    index_of = {name: index for index, name in enumerate(sources)}
    known = sorted(
        (index_of[i.source], i.from_ms, i.to_ms, row_of[i.serial])
        for i in fleet.installations
        if i.source in index_of and i.serial in row_of
    )
    if not known or not len(time_ms):
        return np.full(len(time_ms), -1, dtype=np.int64)
    table = np.array(known, dtype=np.int64)
    # one sorted key for (source, time): the source in the high bits, the time above 2^43 in the low 44
    starts = (table[:, 0] << 44) + (table[:, 1] - ALWAYS_MS)
    at = np.searchsorted(starts, (source << 44) + (time_ms - ALWAYS_MS), side="right") - 1
    inside = (at >= 0) & (table[at, 0] == source) & (time_ms < table[at, 2])
    return np.where(inside, table[at, 3], -1)


def _start(asset: Asset) -> int:
    return ALWAYS_MS if asset.start_of_life_ms is None else asset.start_of_life_ms


def _remove(serial: str, at_ms: int, installed: dict[str, Installation], ended: list[Installation]) -> None:
    if serial in installed:
        ended.append(replace(installed.pop(serial), to_ms=at_ms))


def _install(
    serial: str, source: str, at_ms: int, installed: dict[str, Installation], ended: list[Installation]
) -> None:
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
    _install(newcomer, source, event.at_ms, installed, ended)
