"""The twin: the belief about a cohort's machines after their latest step, folded from steps one after the other.

`fold` is the same function for one machine and for thousands, in training, in service, in replay. Nothing in it depends
on the other machines of the cohort, so a cohort of one gives the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm import features, units, wear
from pdm.columns import Columns
from pdm.durations import HOUR_MS
from pdm.features import FeatureState, health, told_units
from pdm.features.frame import Frame
from pdm.installations import ALWAYS_MS, NEVER_MS
from pdm.new_sensors import NewSensors
from pdm.plant import AssetClass, Summary
from pdm.steps import Steps
from pdm.units import Conversion
from pdm.wear import Inspections, WearState

DUTY_MEMORY_HOURS = 28 * 24.0
"""How far back the measured duty reaches that a forecast assumes to go on [h]."""

FORM = 7
"""Raised whenever a twin holds more, or other things, than before: older checkpoints are of no use then."""

_FEATURES, _WEAR = "features.", "wear."


@dataclass(slots=True)
class Twin:
    """State of a cohort; every array has one entry (or row) a machine and is changed in place by `fold`.

    Attributes:
        steps: running steps folded into wear and features.
        exposure: life used [life steps].
        unseen: the part of `exposure` assumed since the latest measured step [life steps].
        first_start_ms, last_end_ms: first step's start and latest step's end, -1 before any.
        last_row_ms: start of the latest step that held a reading, -1 before any.
        duty_exposure, duty_hours: life used and time passed, both fading over 28 days.
        life_from_ms, life_to_ms: the stretch of time whose steps are folded.
        share: share of the latest step that the machine ran, NaN in a gap.
        latest: `[n, k]` columns of the latest step that held a reading.
        revision: how often the history of this machine was folded again.
        new_sensors: which replacements of its sensors this rests on: the sum of their numbers.
        features: feature state of the active frame with the health of its sensors, None without a model.
        wear: duty and declared wear, None where the class declares none.
    """

    steps: NDArray[np.int64]
    exposure: NDArray[np.float64]
    unseen: NDArray[np.float64]
    first_start_ms: NDArray[np.int64]
    last_end_ms: NDArray[np.int64]
    last_row_ms: NDArray[np.int64]
    duty_exposure: NDArray[np.float64]
    duty_hours: NDArray[np.float64]
    life_from_ms: NDArray[np.int64]
    life_to_ms: NDArray[np.int64]
    share: NDArray[np.float64]
    latest: NDArray[np.float64]
    revision: NDArray[np.int64]
    new_sensors: NDArray[np.int64]
    features: FeatureState | None
    wear: WearState | None

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, rows: NDArray[Any]) -> "Twin":
        """A copy of some machines (indices or mask)."""
        features = None if self.features is None else self.features.take(rows)
        worn = None if self.wear is None else self.wear.take(rows)
        return Twin(features=features, wear=worn, **{name: getattr(self, name)[rows] for name in _PLAIN})

    @property
    def duty_rate(self) -> NDArray[np.float64]:
        """Life used per hour of plant time over the last 28 days [life steps/h]; NaN before it is known."""
        known = self.duty_hours > 0
        return np.where(known, self.duty_exposure / np.where(known, self.duty_hours, 1.0), np.nan)


_PLAIN = tuple(field.name for field in fields(Twin) if field.name not in ("features", "wear"))


def start(asset_class: AssetClass, frame: Frame | None, count: int) -> Twin:
    """Twins of `count` new machines."""
    return Twin(
        steps=np.zeros(count, dtype=np.int64),
        exposure=np.zeros(count),
        unseen=np.zeros(count),
        first_start_ms=np.full(count, -1, dtype=np.int64),
        last_end_ms=np.full(count, -1, dtype=np.int64),
        last_row_ms=np.full(count, -1, dtype=np.int64),
        duty_exposure=np.zeros(count),
        duty_hours=np.zeros(count),
        life_from_ms=np.full(count, ALWAYS_MS, dtype=np.int64),
        life_to_ms=np.full(count, NEVER_MS, dtype=np.int64),
        share=np.full(count, np.nan),
        latest=np.full((count, len(asset_class.columns)), np.nan),
        revision=np.zeros(count, dtype=np.int64),
        new_sensors=np.zeros(count, dtype=np.int64),
        features=None if frame is None else features.start(frame, count),
        wear=wear.start(asset_class, count),
    )


def fold(
    asset_class: AssetClass,
    frame: Frame | None,
    twin: Twin,
    steps: Steps,
    replaced: NewSensors | None = None,
    inspections: Inspections | None = None,
) -> None:
    """Bring the twins up to date with steps sorted by (row, start), each later than what its twin has seen.

    Args:
        inspections: of the present lives, in any order; each counts with the first step that ends after it, and those
            that the twins have seen do not count again.
    """
    new = _renewed(twin, steps, replaced)
    inspected = None if inspections is None else _of_steps(asset_class, twin, steps, inspections)
    for turn in in_turns(steps):
        made = steps if turn is None else steps.take(turn)
        if new is not None and frame is not None and twin.features is not None:
            columns = new if turn is None else new[turn]
            some = np.flatnonzero(columns.any(axis=1))
            features.renew(frame, twin.features, made.row[some], columns[some])
        mine = inspected if inspected is None or turn is None else _of_turn(inspected, turn)
        _fold_one_each(asset_class, frame, twin, made, mine)


def _renewed(twin: Twin, steps: Steps, replaced: NewSensors | None) -> NDArray[np.bool_] | None:
    """Behind which columns another sensor stands from each step on `[m, k]`, noted in the twins; None for nowhere."""
    if replaced is None or not len(replaced) or not len(steps):
        return None
    found = replaced.renewed(twin.last_end_ms, steps)
    if not len(found.step):
        return None
    np.add.at(twin.new_sensors, steps.row[found.step], found.number)
    columns = np.zeros(steps.values.shape, dtype=np.bool_)
    np.logical_or.at(columns, found.step, found.columns)
    return columns


def in_turns(steps: Steps) -> list[NDArray[np.int64] | None]:
    """Split steps, sorted by row, into turns with at most one step a row; [None] when they are one turn already."""
    if not len(steps):
        return []
    new_row = np.r_[True, steps.row[1:] != steps.row[:-1]]
    if new_row.all():
        return [None]
    first = np.maximum.accumulate(np.where(new_row, np.arange(len(steps)), 0))
    ordinal = np.arange(len(steps)) - first
    order = np.argsort(ordinal, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(ordinal))[:-1]))


def reset(asset_class: AssetClass, frame: Frame | None, twin: Twin, rows: NDArray[np.int64]) -> None:
    """Make these machines new again: their history is about to be folded afresh, or another life begins."""
    put(twin, rows, start(asset_class, frame, len(rows)))
    twin.revision[rows] += 1


def put(twin: Twin, rows: NDArray[np.int64], other: Twin) -> None:
    """Give these machines the state of others; how often their history was folded again stays."""
    for name in _PLAIN:
        if name != "revision":
            getattr(twin, name)[rows] = getattr(other, name)
    if twin.features is not None and other.features is not None:
        twin.features.put(rows, other.features)
    if twin.wear is not None and other.wear is not None:
        twin.wear.put(rows, other.wear)


def rearranged(
    asset_class: AssetClass, frame: Frame | None, twin: Twin, old: Sequence[str], new: Sequence[str]
) -> Twin:
    """The same twins in another order of serials; machines that were not there start new."""
    row_of = {serial: row for row, serial in enumerate(old)}
    kept = np.array([row for row, serial in enumerate(new) if serial in row_of], dtype=np.int64)
    source = np.array([row_of[serial] for serial in new if serial in row_of], dtype=np.int64)
    made = start(asset_class, frame, len(new))
    for name in _PLAIN:
        getattr(made, name)[kept] = getattr(twin, name)[source]
    if made.features is not None and twin.features is not None:
        made.features.put(kept, twin.features.take(source))
    if made.wear is not None and twin.wear is not None:
        made.wear.put(kept, twin.wear.take(source))
    return made


def history_complete(
    asset_class: AssetClass, twin: Twin, life_from_ms: NDArray[np.int64], start_known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each twin has seen its machine from the start of its life. `[n]`."""
    seen = twin.first_start_ms >= 0
    return start_known & seen & (twin.first_start_ms - life_from_ms <= asset_class.stale_after_ms)


def to_columns(twin: Twin, serials: NDArray[Any]) -> Columns:
    """The twin as columns to store in a checkpoint."""
    plain = {"serial": serials, **{name: getattr(twin, name) for name in _PLAIN}}
    learned = {} if twin.features is None else twin.features.to_columns()
    worn = {} if twin.wear is None else twin.wear.to_columns()
    return {
        **plain,
        **{_FEATURES + name: values for name, values in learned.items()},
        **{_WEAR + name: values for name, values in worn.items()},
    }


def from_columns(frame: Frame | None, columns: Mapping[str, NDArray[Any]]) -> Twin:
    """What `to_columns` stored, as arrays that may be written to."""
    learned = {name.removeprefix(_FEATURES): v for name, v in columns.items() if name.startswith(_FEATURES)}
    state = FeatureState.from_columns(frame, learned) if frame is not None else None
    worn = {name.removeprefix(_WEAR): v for name, v in columns.items() if name.startswith(_WEAR)}
    wear_state = WearState.from_columns(worn) if worn else None
    return Twin(features=state, wear=wear_state, **{name: np.array(columns[name]) for name in _PLAIN})


def _of_steps(asset_class: AssetClass, twin: Twin, steps: Steps, inspections: Inspections) -> Inspections:
    """The inspections that these steps take in, `row` being the place of the step."""
    at_end = asset_class.life_step.duration_ms is None  # a step that is a reading takes in what is of the same time
    new = inspections.at_ms >= twin.last_end_ms[inspections.row] + at_end
    inspections = inspections.take(new)
    ends = (steps.row << 44) + (steps.end_ms - ALWAYS_MS)
    at = (inspections.row << 44) + (inspections.at_ms - ALWAYS_MS)
    place = np.searchsorted(ends, at, side="left" if at_end else "right")
    within = place < len(steps)
    within[within] &= steps.row[place[within]] == inspections.row[within]
    return replace(inspections.take(within), row=place[within])


def _of_turn(inspections: Inspections, turn: NDArray[np.int64]) -> Inspections:
    """Those of the steps of a turn, `row` being the place in it."""
    order = np.argsort(turn)
    place = np.searchsorted(turn[order], inspections.row)
    here = place < len(turn)
    here[here] &= turn[order][place[here]] == inspections.row[here]
    return replace(inspections.take(here), row=order[place[here]])


def _fold_one_each(
    asset_class: AssetClass, frame: Frame | None, twin: Twin, steps: Steps, inspections: Inspections | None
) -> None:
    """At most one step a machine."""
    rows, gap = steps.row, np.isnan(steps.share)
    follows = _follows(asset_class, twin, steps)
    hours = _hours(asset_class, twin, steps)
    if twin.wear is None:
        used = np.where(gap, np.nan_to_num(twin.duty_rate[rows]) * hours, steps.share)
    else:
        used = wear.fold(asset_class, twin.wear, steps, hours, _kept(hours), twin.unseen[rows], inspections)
    _remember_duty(twin, rows, used, hours)
    twin.exposure[rows] += used
    twin.unseen[rows] = np.where(gap, twin.unseen[rows] + used, 0.0)
    twin.first_start_ms[rows] = np.where(twin.first_start_ms[rows] < 0, steps.start_ms, twin.first_start_ms[rows])
    twin.last_end_ms[rows] = steps.end_ms
    twin.share[rows] = steps.share
    held = steps.count > 0
    twin.last_row_ms[rows[held]] = steps.start_ms[held]
    twin.latest[rows[held]] = steps.values[held]
    ran = steps.share > 0
    twin.steps[rows[ran]] += 1
    if frame is not None and twin.features is not None and ran.any():
        features.fold(frame, twin.features, rows[ran], steps.values[ran], follows[ran])
        others = partial(_other_units, asset_class)
        told_units.recognise(frame, twin.features, rows[ran], steps.values[ran], others)


def _follows(asset_class: AssetClass, twin: Twin, steps: Steps) -> NDArray[np.bool_]:
    """Whether each machine ran until the step began `[m]`; steps that are readings follow each other."""
    if asset_class.life_step.duration_ms is None:
        return np.ones(len(steps), dtype=np.bool_)
    return np.asarray((twin.last_end_ms[steps.row] == steps.start_ms) & (twin.share[steps.row] > 0))


def _other_units(asset_class: AssetClass, number: int) -> list[Conversion]:
    """How a column of the class would look in other units; a spread has no zero point."""
    column = asset_class.columns[number]
    made = [conversion for _, conversion in units.others(asset_class.sensor(column.sensor).unit)]
    return [replace(one, offset=0.0) for one in made] if column.summary == Summary.SD else made


def faults(asset_class: AssetClass, frame: Frame | None, twin: Twin) -> NDArray[np.int8]:
    """What is wrong with the sensor behind each column of the class `[n, k]`, as numbers of `Fault`."""
    found = np.zeros((len(twin), len(asset_class.columns)), dtype=np.int8)
    if frame is not None and twin.features is not None:
        found[:, frame.kept] = health.faults(frame, twin.features.sensors)
    return found


def doubted(asset_class: AssetClass, frame: Frame | None, twin: Twin) -> NDArray[np.bool_]:
    """Whether the sensor behind each column of the class is at fault, or was so lately `[n, k]`."""
    found = np.zeros((len(twin), len(asset_class.columns)), dtype=np.bool_)
    if frame is not None and twin.features is not None:
        found[:, frame.kept] = health.doubted(frame, twin.features.sensors)
    return found


def _hours(asset_class: AssetClass, twin: Twin, steps: Steps) -> NDArray[np.float64]:
    """Plant time that a step stands for [h]: its length, or the time since the step before where it has none."""
    if asset_class.life_step.duration_ms is not None:
        return (steps.end_ms - steps.start_ms) / HOUR_MS
    before = twin.last_end_ms[steps.row]
    return np.where(before < 0, 0.0, (steps.end_ms - before) / HOUR_MS)


def _remember_duty(twin: Twin, rows: NDArray[Any], used: NDArray[np.float64], hours: NDArray[np.float64]) -> None:
    keep = _kept(hours)
    timed = hours > 0
    twin.duty_exposure[rows] = twin.duty_exposure[rows] * keep + np.where(timed, used, 0.0)
    twin.duty_hours[rows] = twin.duty_hours[rows] * keep + hours


def _kept(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of what is remembered of the duty stays after this time."""
    # S' = S / (1 + dt/T) + x: fades like exp(-dt/T), without a transcendental function whose bits differ by build
    return 1.0 / (1.0 + hours / DUTY_MEMORY_HOURS)
