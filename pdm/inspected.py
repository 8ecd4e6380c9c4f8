"""What inspections found, held against the wear that the twin expected before each of them.

The twin is folded from the steps and inspections before, as they stand now.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import twin, wear
from pdm.degradation.wear import shown
from pdm.installations import Fleet, Inspection, Life
from pdm.plant import AssetClass
from pdm.prognosis import FOUR_IN_FIVE
from pdm.scoring.track_record import Figure, banded
from pdm.state.steps import history
from pdm.steps import Steps, joined
from pdm.twin import Twin
from pdm.wear import Inspections

Floats = NDArray[np.float64]


class Expected(NamedTuple):
    """What `[i]` inspections found and what was expected of them, on the way from new (0) to the limit (1).

    Attributes:
        life: which life each is about.
        mode: position among the modes that declare a life.
        found, expected: what was measured, and what should have been.
        low, high: 80 % band of what should have been, the error of an inspection within it.
    """

    life: NDArray[np.int64]
    mode: NDArray[np.int64]
    found: Floats
    expected: Floats
    low: Floats
    high: Floats


_NOTHING = Expected(*(np.empty(0, dtype=np.int64),) * 2, *(np.empty(0),) * 4)


class Found(NamedTuple):
    """How the expected wear of one mode did: of `lives` and their `inspections`, each life weighing the same.

    Attributes:
        error: expected less found; above 0 the twin saw more wear than there was.
        absolute_error: the same without its sign.
        coverage_80: share of inspections within the 80 % band.
    """

    mode: str
    inspections: int
    lives: int
    error: Figure
    absolute_error: Figure
    coverage_80: Figure


def found_by_mode(connection: Connection, asset_class: AssetClass, fleet: Fleet) -> list[Found]:
    """How expected wear did, for each mode that was inspected."""
    made = expected(connection, asset_class, fleet)
    return [
        _found(made, place, mode.name) for place, mode in enumerate(asset_class.wearing) if (made.mode == place).any()
    ]


def expected(connection: Connection, asset_class: AssetClass, fleet: Fleet) -> Expected:
    """Every inspection of a machine that was seen from the start of its life, with what the twin expected."""
    lives = [(serial, life) for serial, life in fleet.all_lives_of(asset_class.name)]
    lives, inspections = _inspected(asset_class, fleet, lives)
    if not lives:
        return _NOTHING
    steps, twins = _steps(connection, asset_class, lives), twin.start(asset_class, None, len(lives))
    turn, until_ms, parts = _turns(inspections), np.full(len(lives), -1, dtype=np.int64), list[Expected]()
    begins_ms = np.array([life.from_ms for _, life in lives], dtype=np.int64)
    start_known = np.array([life.start_known for _, life in lives], dtype=np.bool_)
    at_end = asset_class.life_step.duration_ms is None  # a step that is a reading takes in what is of the same time
    for number in range(int(turn.max()) + 1):
        now = inspections.take(turn == number)
        before_ms = until_ms.copy()
        until_ms[now.row] = now.at_ms - at_end
        new = (steps.end_ms > before_ms[steps.row]) & (steps.end_ms <= until_ms[steps.row])
        twin.fold(asset_class, None, twins, steps.take(new), inspections=inspections)
        known = twin.history_complete(asset_class, twins, begins_ms, start_known)
        parts.append(_expected(asset_class, twins, now.take(known[now.row])))
    return Expected(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Expected._fields})


def _inspected(
    asset_class: AssetClass, fleet: Fleet, lives: Sequence[tuple[str, Life]]
) -> tuple[list[tuple[str, Life]], Inspections]:
    """The lives in which something was measured, and what."""
    inside: list[tuple[str, Life]] = []
    found: list[tuple[int, Inspection]] = []
    by_serial: dict[str, list[Inspection]] = {}
    for one in fleet.inspections:
        by_serial.setdefault(one.serial, []).append(one)
    for serial, life in lives:
        mine = [one for one in by_serial.get(serial, ()) if life.from_ms <= one.at_ms < life.to_ms]
        found += [(len(inside), one) for one in mine]
        inside += [(serial, life)] if mine else []
    return inside, Inspections.of(asset_class, found)


def _steps(connection: Connection, asset_class: AssetClass, lives: Sequence[tuple[str, Life]]) -> Steps:
    """The steps of lives, `row` being the place of the life."""
    serials = sorted({serial for serial, _ in lives})
    steps, parts = history(connection, asset_class, serials), list[Steps]()
    for place, (serial, life) in enumerate(lives):
        lived = (steps.start_ms >= life.from_ms) & (steps.start_ms < life.to_ms)
        mine = steps.take((steps.row == serials.index(serial)) & lived)
        parts.append(replace(mine, row=np.full(len(mine), place, dtype=np.int64)))
    return joined(parts)


def _turns(inspections: Inspections) -> NDArray[np.int64]:
    """The how manieth time it is that a life was inspected `[i]`; modes inspected at one time are one."""
    turn = np.zeros(len(inspections.row), dtype=np.int64)
    for row in np.unique(inspections.row):
        mine = inspections.row == row
        turn[mine] = np.unique(inspections.at_ms[mine], return_inverse=True)[1]
    return turn


def _expected(asset_class: AssetClass, twins: Twin, now: Inspections) -> Expected:
    """What twins expect of inspections that they have not seen."""
    assert twins.wear is not None  # noqa: S101 - what is inspected declares how it wears
    belief = wear.view(twins.wear).wear
    damage, sd = belief.damage[now.mode, now.row], np.sqrt(belief.var_damage[now.mode, now.row])
    found, middle, low, high = (np.full(len(now.row), np.nan) for _ in range(4))
    for place, mode in enumerate(asset_class.wearing):
        mine = now.mode == place
        if mode.wear is None or not mine.any():
            continue
        scale, noise = mode.wear.scale, FOUR_IN_FIVE * np.sqrt(mode.wear.scale.noise(mode.wear.inspection_noise))
        found[mine], middle[mine] = scale.share(now.value[mine]), shown(damage[mine], scale)[0]
        below, above = (shown(damage[mine] + side * FOUR_IN_FIVE * sd[mine], scale)[0] for side in (-1.0, 1.0))
        low[mine] = middle[mine] - np.hypot(middle[mine] - below, noise)
        high[mine] = middle[mine] + np.hypot(above - middle[mine], noise)
    return Expected(now.row, now.mode, found, middle, low, high)


def _found(made: Expected, place: int, name: str) -> Found:
    mine = made.mode == place
    lives, member = np.unique(made.life[mine], return_inverse=True)
    error, found = made.expected[mine] - made.found[mine], made.found[mine]
    inside = (found >= made.low[mine]) & (found <= made.high[mine])
    count = np.bincount(member)
    figures = (banded(np.bincount(member, weights=one) / count) for one in (error, np.abs(error), inside))
    return Found(name, int(mine.sum()), len(lives), *figures)
