"""The machines of one class in memory between two ticks, and how they come back from the state database.

All of it can be lost at any time: twins are folded again from the newest checkpoint and the steps stored after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import beliefs, twin, wear
from pdm.beliefs import Beliefs
from pdm.columns import Columns
from pdm.features.frame import Frame
from pdm.installations import ALWAYS_MS, NEVER_MS, Fleet, Intervals
from pdm.new_sensors import NewSensors
from pdm.plant import AssetClass
from pdm.prognosis.learned import Model, fingerprint
from pdm.services import Services
from pdm.state import steps as stored_steps
from pdm.state.cohorts import (
    Cursors,
    checkpoints_of,
    load_beliefs,
    load_cursors,
)
from pdm.state.plants import CurrentPlant, current_fleet
from pdm.state.steps import Asked
from pdm.state.widenings import widening_of
from pdm.steps import Steps, joined, laid_over
from pdm.twin import Twin
from pdm.wear import Inspections

CHECKPOINT_EVERY_TICKS = 200


@dataclass
class Cohort:
    """One class as of the last tick.

    Attributes:
        serials: `[n]` object array, sorted.
        life_from_ms, life_to_ms: `[n]` the stretch of time whose steps are folded.
        start_known: `[n]` whether the plant or an event says when its life began.
        source: `[n]` object array, the source that each sits behind or sat behind last.
        installed_until_ms: `[n]` end of the last installation, `NEVER_MS` while it sits behind a source.
        new_sensors: their sensors that were replaced.
        inspections: what was measured by hand in the present lives.
        next_ms: `[n]` start of the first step not yet made, -1 if no reading says that there will be one.
        last_step_ms: `[n]` start of the latest stored step, -1 before any.
        cursors: what the class has already seen.
        before: the beliefs of the last tick in the order of `serials`.
        checkpoint_tick: number of the tick that wrote the newest checkpoint.
        described_anew: whether the last tick knew another plant file or model, or widened bands otherwise.
        widening: how much wider bands are than they come from the model.
    """

    asset_class: AssetClass
    model: Model | None
    plant_number: int
    fleet: Fleet
    serials: NDArray[Any]
    intervals: Intervals
    life_from_ms: NDArray[np.int64]
    life_to_ms: NDArray[np.int64]
    start_known: NDArray[np.bool_]
    source: NDArray[Any]
    installed_until_ms: NDArray[np.int64]
    new_sensors: NewSensors
    inspections: Inspections
    twin: Twin
    next_ms: NDArray[np.int64]
    last_step_ms: NDArray[np.int64]
    cursors: Cursors
    before: Beliefs
    checkpoint_tick: int
    described_anew: bool
    widening: float

    @property
    def frame(self) -> Frame | None:
        return None if self.model is None else self.model.frame

    @property
    def in_service(self) -> NDArray[np.bool_]:
        """Which machines sit behind a source and have a life that goes on. `[n]`."""
        return np.asarray((self.installed_until_ms == NEVER_MS) & (self.life_to_ms == NEVER_MS))

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Whose history reaches back to the start of its life. `[n]`."""
        return twin.history_complete(self.asset_class, self.twin, self.life_from_ms, self.start_known)

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {serial: row for row, serial in enumerate(self.serials)}


def current(connection: Connection, services: Services, plant: CurrentPlant, asset_class: AssetClass) -> Cohort:
    """The cohort as the last tick left it, with the fleet as events say now: from memory, or restored."""
    fleet = current_fleet(connection, plant)
    kept: Cohort | None = services.cohorts.get(asset_class.name)
    model = services.models.get(asset_class.name)
    if model is not None and model.facts.fingerprint != fingerprint(asset_class):
        model = None  # the class was described anew, and the models are not loaded again yet
    same = kept is not None and kept.plant_number == plant.number and kept.asset_class == asset_class
    if kept is not None and same and kept.model is model:
        if kept.fleet is fleet:
            return kept
        if fleet.serials_of(asset_class.name) == tuple(kept.serials):
            return _with_fleet(kept, fleet)
    serials = fleet.serials_of(asset_class.name)
    services.cohorts[asset_class.name] = restored(connection, plant, asset_class, model, fleet, serials)
    return services.cohorts[asset_class.name]


def _with_fleet(cohort: Cohort, fleet: Fleet) -> Cohort:
    """The same machines after events: other installations and lives."""
    for name, value in _of_fleet(fleet, cohort.asset_class, cohort.serials).items():
        setattr(cohort, name, value)
    return cohort


def _of_fleet(fleet: Fleet, asset_class: AssetClass, serials: NDArray[Any]) -> dict[str, Any]:
    """The attributes of a cohort that follow from the fleet."""
    intervals = Intervals.of(fleet, serials)
    until, source = np.full(len(serials), ALWAYS_MS, dtype=np.int64), np.full(len(serials), "", dtype=object)
    for at in np.argsort(intervals.to_ms, kind="stable"):
        until[intervals.row[at]] = intervals.to_ms[at]
        source[intervals.row[at]] = intervals.sources[intervals.source[at]]
    lives = [fleet.lives[serial] for serial in serials]
    return {
        "fleet": fleet,
        "intervals": intervals,
        "life_from_ms": np.array([life.from_ms for life in lives], dtype=np.int64),
        "life_to_ms": np.array([life.to_ms for life in lives], dtype=np.int64),
        "start_known": np.array([life.start_known for life in lives], dtype=bool),
        "source": source,
        "installed_until_ms": until,
        "new_sensors": NewSensors.of(asset_class, fleet.new_sensors, serials),
        "inspections": inspections_of(asset_class, fleet, serials),
    }


def inspections_of(asset_class: AssetClass, fleet: Fleet, serials: Sequence[str] | NDArray[Any]) -> Inspections:
    """What was measured by hand on machines in their present lives, rows in the order of the serials."""
    row_of = {serial: row for row, serial in enumerate(serials)} if fleet.inspections else {}
    found = [
        (row_of[one.serial], one)
        for one in fleet.inspections
        if one.serial in row_of and fleet.lives[one.serial].from_ms <= one.at_ms < fleet.lives[one.serial].to_ms
    ]
    return Inspections.of(asset_class, found)


def restored(
    connection: Connection,
    plant: CurrentPlant,
    asset_class: AssetClass,
    model: Model | None,
    fleet: Fleet,
    members: Sequence[str],
) -> Cohort:
    """The cohort of these machines from the newest checkpoint and the steps stored since."""
    name = checkpoint_name(asset_class, frame_name(model))
    newest = next(checkpoints_of(connection, asset_class.name, name), (0, {}))
    return resumed(connection, plant, asset_class, model, fleet, members, newest)


def resumed(
    connection: Connection,
    plant: CurrentPlant,
    asset_class: AssetClass,
    model: Model | None,
    fleet: Fleet,
    members: Sequence[str],
    folded: tuple[int, Columns],
) -> Cohort:
    """The same from twins as of a tick (no columns: from none) and the steps stored since."""
    serials = np.array(members, dtype=object)
    stored = load_beliefs(connection, asset_class.name)
    rules = [rule.name for rule in plant.rules_of(asset_class)]
    before = beliefs.blank(serials, asset_class, len(rules))
    if stored is not None:
        before = beliefs.rearranged(stored.beliefs, stored.facts, serials, asset_class, rules)
    checkpoint_tick, columns = folded
    frame = None if model is None else model.frame
    twins = (
        _rearranged(asset_class, frame, columns, serials) if columns else twin.start(asset_class, frame, len(serials))
    )
    widening = widening_of(connection, asset_class.name, frame_name(model))
    cohort = Cohort(
        asset_class=asset_class,
        model=model,
        plant_number=plant.number,
        serials=serials,
        twin=twins,
        next_ms=before.next_ms,
        last_step_ms=before.last_step_ms,
        cursors=load_cursors(connection, asset_class.name),
        before=before,
        checkpoint_tick=checkpoint_tick,
        described_anew=stored is not None and not _same_description(stored.facts, plant, asset_class, model, widening),
        widening=widening,
        **_of_fleet(fleet, asset_class, serials),
    )
    _catch_up(connection, cohort, checkpoint_tick)
    cohort.twin.revision[:] = before.revision
    return cohort


def _same_description(
    facts: Mapping[str, Any], plant: CurrentPlant, asset_class: AssetClass, model: Model | None, widening: float
) -> bool:
    """Whether beliefs with these facts rest on this plant file, these lives, this model and this widening."""
    before = (facts["plant_number"], facts["model"], facts.get("widening", 1.0), facts.get("ended", 0))
    return bool(before == (plant.number, model and model.version, widening, ended_in(asset_class)))


def ended_in(asset_class: AssetClass) -> int:
    """How many ended lives have corrected the lives that a class declares."""
    declared = (asset_class.expected_life, *(mode.expected_life for mode in asset_class.failure_modes))
    return sum(life.ended for life in declared if life is not None)


def note_widening(connection: Connection, cohort: Cohort) -> None:
    """Take up the widening of bands that is in force now."""
    factor = widening_of(connection, cohort.asset_class.name, frame_name(cohort.model))
    cohort.described_anew |= factor != cohort.widening
    cohort.widening = factor


def advance(cohort: Cohort, believed: Beliefs, cursors: Cursors, tick: int) -> None:
    """Take over what a tick has committed."""
    cohort.before, cohort.cursors, cohort.described_anew = believed, cursors, False
    cohort.next_ms, cohort.last_step_ms = believed.next_ms, believed.last_step_ms
    if checkpoint_due(cohort, tick):
        cohort.checkpoint_tick = tick


def checkpoint_due(cohort: Cohort, tick: int) -> bool:
    """Whether this tick writes a checkpoint: a restart folds at most that many ticks of steps again."""
    return tick - cohort.checkpoint_tick >= CHECKPOINT_EVERY_TICKS


def refold(connection: Connection, cohort: Cohort, rows: NDArray[np.int64], unstored: Steps | None = None) -> None:
    """Fold the present life of some machines again: from the newest checkpoint that holds nothing of what has changed,
    otherwise from its first step.

    Args:
        unstored: steps made in this tick that the database does not hold yet; they stand over stored ones.
    """
    twin.reset(cohort.asset_class, cohort.frame, cohort.twin, rows)
    name = checkpoint_name(cohort.asset_class, frame_name(cohort.model))
    for tick, columns in checkpoints_of(connection, cohort.asset_class.name, name):
        if not len(rows):
            return
        older = _rearranged(cohort.asset_class, cohort.frame, columns, cohort.serials[rows])
        made = _made_since(connection, cohort, rows, tick, unstored)
        usable = _still_true(cohort, rows, older, made)
        twin.put(cohort.twin, rows[usable], older.take(usable))
        fold(cohort, laid_over(made.take(np.isin(made.row, rows[usable]))))
        rows = rows[~usable]
    if len(rows):
        fold(cohort, laid_over(_made_since(connection, cohort, rows, 0, unstored)))


def _made_since(
    connection: Connection, cohort: Cohort, rows: NDArray[np.int64], tick: int, unstored: Steps | None
) -> Steps:
    """Every step of some machines made after a tick, in the order in which they were made."""
    stored = stored_steps.made(connection, cohort.asset_class, cohort.serials[rows].tolist(), Asked(after_tick=tick))
    stored = replace(stored, row=rows[stored.row])
    return stored if unstored is None else joined([stored, unstored.take(np.isin(unstored.row, rows))])


def _still_true(cohort: Cohort, rows: NDArray[np.int64], older: Twin, made: Steps) -> NDArray[np.bool_]:
    """Which older twins `[len(rows)]` hold the same life, and no step that was made again since."""
    earliest = np.full(len(cohort.serials), NEVER_MS, dtype=np.int64)
    np.minimum.at(earliest, made.row, made.start_ms)
    last_start = older.last_end_ms - (cohort.asset_class.life_step.duration_ms or 0)
    within = last_start < np.minimum(earliest, cohort.life_to_ms)[rows]
    same = (older.life_from_ms == cohort.life_from_ms[rows]) & (older.new_sensors == _sensors_seen(cohort, older, rows))
    return np.asarray((older.first_start_ms >= 0) & same & within & ~_inspected_otherwise(cohort, older, rows))


def _sensors_seen(cohort: Cohort, folded: Twin, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which replacements of sensors twins `[len(rows)]` that have seen as much should rest on."""
    last_end = np.full(len(cohort.serials), -1, dtype=np.int64)
    last_end[rows] = folded.last_end_ms
    return cohort.new_sensors.seen(last_end)[rows]


def _inspected_otherwise(cohort: Cohort, folded: Twin, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which twins `[len(rows)]` hold other inspections than are on record of the time that they saw."""
    if folded.wear is None:
        return np.zeros(len(rows), dtype=np.bool_)
    on_record = cohort.inspections.folded(cohort.asset_class, rows, folded.last_end_ms)
    return np.asarray(wear.view(folded.wear).inspected != on_record)


def fold(cohort: Cohort, steps: Steps) -> None:
    """Fold those steps that belong to the present life of their machine."""
    mine = (steps.start_ms >= cohort.life_from_ms[steps.row]) & (steps.start_ms < cohort.life_to_ms[steps.row])
    lived = steps.take(mine & (steps.count >= 0))
    twin.fold(cohort.asset_class, cohort.frame, cohort.twin, lived, cohort.new_sensors, cohort.inspections)


def frame_name(model: Model | None) -> str:
    """What a prognosis rests on, by name."""
    return "none" if model is None else model.version


def checkpoint_name(asset_class: AssetClass, frame: str) -> str:
    """The name under which checkpoints are kept: of another frame, other columns of the class, other laws of wear, or
    another form of the twin none is of use."""
    worn = wear.layout(asset_class)
    columns = ",".join(asset_class.column_names)
    return f"{frame} of {columns}{worn and f' worn as {worn}'}, form {twin.FORM}"


def _rearranged(asset_class: AssetClass, frame: Frame | None, columns: Columns, serials: NDArray[Any]) -> Twin:
    """The twins of a checkpoint for these serials; new ones for machines that it does not hold."""
    return twin.rearranged(
        asset_class, frame, twin.from_columns(frame, columns), list(columns["serial"]), list(serials)
    )


def _catch_up(connection: Connection, cohort: Cohort, tick: int) -> None:
    """Fold the steps stored after the checkpoint; machines whose past was changed since are folded from before that."""
    rewound: set[int] = set()
    asked = Asked(after_tick=tick)
    for made in stored_steps.parts(connection, cohort.asset_class, cohort.serials.tolist(), asked):
        rewound.update(np.unique(made.row[_behind(cohort, made)]).tolist())
        fold(cohort, made.take(~np.isin(made.row, list(rewound))))
    rewound.update(of_other_lives(cohort).tolist())
    if rewound:
        refold(connection, cohort, np.array(sorted(rewound), dtype=np.int64))
    note_lives(cohort)


def _behind(cohort: Cohort, made: Steps) -> NDArray[np.bool_]:
    """Which steps `[m]` do not follow what their twin has seen, or the step before."""
    duration_ms = cohort.asset_class.life_step.duration_ms or 0
    behind = made.start_ms <= cohort.twin.last_end_ms[made.row] - duration_ms
    behind[1:] |= (made.row[1:] == made.row[:-1]) & (made.start_ms[1:] <= made.start_ms[:-1])
    return np.asarray(behind, dtype=np.bool_)


def of_other_lives(cohort: Cohort) -> NDArray[np.int64]:
    """Rows whose twin holds steps outside their present life, may lack some within it, or rests on other sensors or
    inspections."""
    folded = cohort.twin
    outlived = (folded.first_start_ms < cohort.life_from_ms) | (folded.last_row_ms >= cohort.life_to_ms)
    longer = (cohort.life_from_ms < folded.life_from_ms) | (cohort.life_to_ms > folded.life_to_ms)
    others = folded.new_sensors != cohort.new_sensors.seen(folded.last_end_ms)
    inspected = _inspected_otherwise(cohort, folded, np.arange(len(folded)))
    return np.flatnonzero((folded.first_start_ms >= 0) & (outlived | inspected) | longer | others)


def note_lives(cohort: Cohort) -> None:
    """The twins hold the steps of the present lives."""
    cohort.twin.life_from_ms[:], cohort.twin.life_to_ms[:] = cohort.life_from_ms, cohort.life_to_ms
