"""The part of the twin about duty and declared wear: what running costs in life, and the damage of each failure mode.

There is none for a class that declares neither a law of stress nor an expected life of a failure mode.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.degradation import Weibull, first_passage, wear
from pdm.degradation.first_passage import Law
from pdm.degradation.wear import Wear
from pdm.installations import Inspection
from pdm.plant import AssetClass, FailureMode, GapRule
from pdm.plant.exposure import Floats, stress_of
from pdm.steps import Steps

Clock = Callable[[Floats], Floats]

_OF_MACHINE, _OF_MODE = 4, 8  # rows of a state that are about the machine, and about each of its modes


@dataclass(slots=True)
class WearState:
    """What is remembered of a cohort.

    Attributes:
        values: `[K, N]` float64, one column per asset, rows as in `View`.
    """

    values: Floats

    def take(self, rows: NDArray[Any]) -> "WearState":
        """A copy of the state of these assets (indices or mask)."""
        return WearState(np.ascontiguousarray(self.values[:, rows]))

    def put(self, rows: NDArray[Any], other: "WearState") -> None:
        """Replace the state of these assets."""
        self.values[:, rows] = other.values

    def to_columns(self) -> Columns:
        """One row per asset, for a checkpoint and for beliefs."""
        return {"wear_state": np.ascontiguousarray(self.values.T)}

    @staticmethod
    def from_columns(columns: Mapping[str, NDArray[Any]]) -> "WearState":
        """What `to_columns` wrote."""
        return WearState(np.ascontiguousarray(np.asarray(columns["wear_state"], dtype=np.float64).T).copy())


class View(NamedTuple):
    """The rows of a state by name, `[N]` of the machine and `[M, N]` of the modes that declare a life.

    Attributes:
        hours, ran, used: time passed [h], running and life used [life steps], all fading over 28 days.
        inspected: sum of the keys of the inspections folded.
        stressed: life used as the law of the mode counts it, fading over 28 days [life steps].
        exposure: the same since new [life steps].
        seen: values measured, by sensor or inspection.
        wear: belief about damage and wear rate.
    """

    hours: Floats
    ran: Floats
    used: Floats
    inspected: Floats
    stressed: Floats
    exposure: Floats
    seen: Floats
    wear: Wear


@dataclass(frozen=True)
class Inspections:
    """Measured values of inspections, at most one a mode and step in the end: of several the last counts.

    Attributes:
        row: `[i]` row of the asset in the cohort.
        at_ms: `[i]` when it was measured.
        mode: `[i]` position among the modes that declare a life.
        value: `[i]` [unit of the indicator].
        key: `[i]` a number of its own, so that sums tell which ones were folded.
    """

    row: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    mode: NDArray[np.int64]
    value: Floats
    key: Floats

    @staticmethod
    def of(asset_class: AssetClass, found: list[tuple[int, Inspection]]) -> "Inspections":
        """Those of machines of a class, as (row, inspection): of modes that declare how wear is measured."""
        measurable = [place for place, mode in enumerate(asset_class.wearing) if mode.wear is not None]
        names: dict[str | None, int] = {asset_class.wearing[place].name: place for place in measurable}
        if len(measurable) == 1:  # what is measured goes without saying
            names[None] = measurable[0]
        known = sorted((row, i.at_ms, names[i.mode], i.value, i.key) for row, i in found if i.mode in names)
        table = np.array(known, dtype=np.float64).reshape(-1, 5).T  # times in ms and keys are below 2^53
        row, at_ms, mode = table[:3].astype(np.int64)
        return Inspections(row, at_ms, mode, table[3], table[4])

    def take(self, some: NDArray[Any]) -> "Inspections":
        return Inspections(self.row[some], self.at_ms[some], self.mode[some], self.value[some], self.key[some])

    def folded(self, asset_class: AssetClass, rows: NDArray[np.int64], last_end_ms: NDArray[np.int64]) -> Floats:
        """What `View.inspected` is of twins `[n]` of these rows that saw steps until then."""
        total = np.zeros(int(max(rows.max(initial=0), self.row.max(initial=0))) + 1)
        until = np.full(len(total), -1, dtype=np.int64)
        until[rows] = last_end_ms
        within = self.at_ms < until[self.row] + (asset_class.life_step.duration_ms is None)
        np.add.at(total, self.row[within], self.key[within])
        return total[rows]


def start(asset_class: AssetClass, count: int) -> WearState | None:
    """The state of `count` new machines, None where the class declares nothing to keep."""
    modes = asset_class.wearing
    if not modes and not asset_class.stress:
        return None
    state = WearState(np.zeros((_OF_MACHINE + _OF_MODE * len(modes), count)))
    belief = view(state).wear
    for place, mode in enumerate(modes):
        for entry, value in zip(belief, wear.new(mode.wear_prior, count), strict=True):
            entry[place] = value
    return state


def layout(asset_class: AssetClass) -> str:
    """What the numbers of a state rest on: of another one they mean something else."""
    modes = [(mode.name, mode.stress, mode.wear, mode.wear_prior, mode.limit) for mode in asset_class.wearing]
    if not modes and not asset_class.stress:
        return ""
    return sha256(repr((asset_class.stress, modes)).encode()).hexdigest()[:12]


def view(state: WearState) -> View:
    return _view(state.values)


def fold(
    asset_class: AssetClass,
    state: WearState,
    steps: Steps,
    hours: Floats,
    keep: Floats,
    unseen: Floats,
    inspections: Inspections | None,
) -> Floats:
    """Take in at most one step a machine, in place.

    Args:
        hours: `[m]` plant time that each step stands for [h].
        keep: `[m]` how much of what is remembered of the duty stays.
        unseen: `[m]` life assumed since the latest measured step [life steps].
        inspections: those of these steps, `row` being the place of the step.

    Returns:
        Life used in each step `[m]` [life steps].
    """
    values = np.take(state.values, steps.row, axis=1)
    now = _view(values)
    gap = np.isnan(steps.share)
    share = np.where(gap, _ratio(now.ran, now.hours, 0.0) * hours, steps.share)
    used = share * _stress(asset_class, asset_class.stress, steps, _ratio(now.used, now.ran, 1.0))
    timed = hours > 0
    for place, mode in enumerate(asset_class.wearing):
        usual = _ratio(now.stressed[place], now.ran, 1.0)
        exposure = share * _stress(asset_class, mode.stress or asset_class.stress, steps, usual)
        lost = _unsure(asset_class, gap, unseen * _ratio(now.stressed[place], now.used, 1.0), exposure)
        _fold_mode(asset_class, mode, place, now, steps, exposure, lost)
        if inspections is not None:
            _inspect(mode, place, now, inspections.take(inspections.mode == place))
        now.exposure[place] += exposure
        now.stressed[place] = now.stressed[place] * keep + np.where(timed, exposure, 0.0)
    if inspections is not None:
        np.add.at(now.inspected, inspections.row, inspections.key)
    for memory, new in ((now.ran, share), (now.used, used), (now.hours, hours)):
        memory[:] = memory * keep + np.where(timed, new, 0.0)
    state.values[:, steps.row] = values
    return used


def forecast(
    asset_class: AssetClass, state: WearState, rows: NDArray[np.int64], clocks: Sequence[Clock] = ()
) -> tuple[Law, Floats]:
    """The remaining life of machines by the modes that declare one, and how probably each mode is first `[n, modes]`.

    A mode of which nothing was measured ages by its declared life alone. Modes that declare none are not in it.
    `clocks` tell for each mode how long the life that is left lasts where the duty changes.
    """
    now = _view(state.values[:, rows])
    laws = [
        _law(mode, place, now).slower(1.0 / _ratio(now.stressed[place], now.used, 1.0))
        for place, mode in enumerate(asset_class.wearing)
    ]
    laws = [law.by(clock) for law, clock in zip(laws, clocks, strict=True)] if clocks else laws
    first, shares = first_passage.earliest(laws)
    every = np.zeros((len(rows), len(asset_class.failure_modes)))
    every[:, [asset_class.failure_modes.index(mode) for mode in asset_class.wearing]] = shares
    return first, every


def _law(mode: FailureMode, place: int, now: View) -> Law:
    """The remaining exposure by one mode."""
    assert mode.expected_life is not None  # noqa: S101 - it would not be among the wearing ones
    life = Weibull.from_moments(mode.expected_life.mean, mode.expected_life.sd)
    by_age = first_passage.of_age(life, now.exposure[place])
    seen = now.seen[place] > 0
    if not seen.any():
        return by_age
    by_wear = first_passage.of_wear(Wear(*(entry[place] for entry in now.wear)), mode.wear_prior)
    return Law(*(np.where(seen[:, None], worn, aged) for worn, aged in zip(by_wear, by_age, strict=True)))


def _stress(asset_class: AssetClass, laws: tuple[Any, ...], steps: Steps, usual: Floats) -> Floats:
    """Stress of each step `[m]`; the usual one where the duty was not measured."""
    stress = stress_of(asset_class, laws, steps.values)
    return np.where(np.isnan(stress), usual, stress)


def _unsure(asset_class: AssetClass, gap: NDArray[np.bool_], unseen: Floats, exposure: Floats) -> Floats:
    """By how much the variance of the exposure grows in a gap of which nobody knows: from nothing to twice as usual."""
    if asset_class.gap == GapRule.ASSUME_PROFILE:
        return np.zeros(len(gap))
    # of a uniform law from 0 to 2 u the variance is u^2 / 3
    return np.where(gap, ((unseen + exposure) ** 2 - unseen**2) / 3.0, 0.0)


def _fold_mode(
    asset_class: AssetClass,
    mode: FailureMode,
    place: int,
    now: View,
    steps: Steps,
    exposure: Floats,
    lost: Floats,
) -> None:
    belief = wear.predicted(Wear(*(entry[place] for entry in now.wear)), mode.wear_prior, exposure, lost)
    if mode.wear is not None and mode.limit is not None:
        column = asset_class.column_names.index(mode.limit.sensor)
        value = np.where(steps.share > 0, steps.values[:, column], np.nan)
        scale = mode.wear.scale
        belief = wear.measured(belief, scale, scale.share(value), scale.noise(mode.wear.noise))
        now.seen[place] += ~np.isnan(value)
    for entry, new in zip(now.wear, belief, strict=True):
        entry[place] = new


def _inspect(mode: FailureMode, place: int, now: View, inspections: Inspections) -> None:
    """What was measured by hand counts after what was measured by the sensor in the same step."""
    if mode.wear is None or not len(inspections.row):
        return
    value = np.full(now.hours.shape, np.nan)
    value[inspections.row] = inspections.value
    scale = mode.wear.scale
    belief = Wear(*(entry[place] for entry in now.wear))
    belief = wear.measured(belief, scale, scale.share(value), scale.noise(mode.wear.inspection_noise), inf)
    now.seen[place] += ~np.isnan(value)
    for entry, new in zip(now.wear, belief, strict=True):
        entry[place] = new


def _view(values: Floats) -> View:
    modes = (len(values) - _OF_MACHINE) // _OF_MODE
    of_modes = values[_OF_MACHINE:].reshape(_OF_MODE, modes, values.shape[1])
    hours, ran, used, inspected = values[:_OF_MACHINE]
    stressed, exposure, seen, *belief = of_modes
    return View(hours, ran, used, inspected, stressed, exposure, seen, Wear(*belief))


def _ratio(a: Floats, b: Floats, otherwise: float) -> Floats:
    known = (a > 0) & (b > 0)
    return np.where(known, a / np.where(known, b, 1.0), otherwise)
