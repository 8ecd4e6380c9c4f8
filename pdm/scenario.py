"""What if the duty were another one from now on: the same twin under another clock. Nothing is written.

Under a law of stress life passes faster or slower, and nothing else changes: what is left in steps at the reference
duty is left under any duty. Where failure modes go by laws of their own, each has its own clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pdm import wear
from pdm.degradation import first_passage
from pdm.plant import AssetClass, Stress, StressLaw
from pdm.plant.exposure import Beyond, beyond, stress_of
from pdm.prognosis import LEVELS, Basis, Prognosis
from pdm.prognosis.quantiles import widened
from pdm.wear import Clock, WearState

Floats = NDArray[np.float64]

_SLOWEST = 1e-9
"""A duty for ever that uses up no life ends it never: dates lie beyond all that is shown."""


@dataclass(frozen=True)
class Duty:
    """The duty from now on, by step column: as it was lately times a factor, or at a value [unit of its sensor]."""

    factor: Mapping[str, float] = field(default_factory=dict)
    value: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stretch:
    """A duty, and for how long it holds [h of plant time]; the last of a profile holds for ever."""

    duty: Duty
    hours: float = np.inf


@dataclass(frozen=True)
class Branch:
    """One machine under another duty. Under a duty that changes, its life is told in steps as they were used lately.

    Attributes:
        prognosis: of the one machine.
        duty_rate: life used per hour of plant time [life steps/h].
        stress: how much faster life passes than lately, NaN where that changes.
        beyond: what of the duty lies where a law does not hold.
    """

    prognosis: Prognosis
    duty_rate: float
    stress: float
    beyond: tuple[Beyond, ...]


def duty_columns(asset_class: AssetClass) -> dict[str, bool]:
    """Step columns that a law of stress is of, and whether a factor of each means something: not of temperatures."""
    found: dict[str, bool] = {}
    for law in _laws(asset_class):
        for column in law.columns:
            found[column] = law.law != StressLaw.ARRHENIUS and found.get(column, True)
    return found


def branched(
    asset_class: AssetClass,
    prognosis: Prognosis,
    worn: Floats,
    latest: Floats,
    duty_rate: float,
    profile: Sequence[Stretch],
    widening: float = 1.0,
) -> Branch:
    """The twin of one machine under another duty from now on, or under several, one after another.

    Args:
        prognosis: of the one machine, not refused.
        worn: `[K]` its row of `Beliefs.wear`, of a class with a law of stress.
        latest: `[k]` its latest step columns.
        duty_rate: life used per hour of plant time lately [life steps/h].
        widening: by how much its bands are widened.
    """
    state = WearState(worn[:, None].copy())
    lately, laws = wear.view(state), (asset_class.stress, *_of_modes(asset_class))
    lives = (lately.used, *lately.stressed)
    faster = np.array(
        [
            [_faster(asset_class, law, _usual(life, lately.ran), latest, stretch.duty) for stretch in profile]
            for law, life in zip(laws, lives, strict=True)
        ]
    )  # [1 + modes, stretches]
    said = tuple(_beyond(asset_class, latest, profile))
    if len(profile) > 1:
        clocks = [_clock(profile, factors, duty_rate) for factors in faster]
        return Branch(_by(clocks, asset_class, prognosis, state, widening), duty_rate, np.nan, said)
    for life, factor in zip(lives, faster[:, 0], strict=True):
        life *= factor
    clocks = [lambda life: life] * len(laws)
    stress = float(faster[0, 0])
    return Branch(_by(clocks, asset_class, prognosis, state, widening), duty_rate * stress, stress, said)


def _by(
    clocks: Sequence[Clock], asset_class: AssetClass, prognosis: Prognosis, state: WearState, widening: float
) -> Prognosis:
    """The prognosis by these clocks, of the class and of each failure mode that declares a life."""
    if prognosis.basis[0] != Basis.DECLARED_WEAR:
        return replace(prognosis, quantiles=clocks[0](prognosis.quantiles))
    law, shares = wear.forecast(asset_class, state, np.array([0]), clocks[1:])
    return replace(prognosis, quantiles=widened(first_passage.quantiles(law, LEVELS), widening), mode=shares)


def _beyond(asset_class: AssetClass, latest: Floats, profile: Sequence[Stretch]) -> list[Beyond]:
    """What of the duties asked for lies where a law does not hold, each once."""
    found = [
        one
        for stretch in profile
        for one in beyond(asset_class, _laws(asset_class), _columns(asset_class, latest, stretch.duty))
        if one.column in duty_of(stretch.duty)
    ]
    return list(dict.fromkeys(found))


def _of_modes(asset_class: AssetClass) -> list[tuple[Stress, ...]]:
    """The laws of each failure mode that declares a life: its own, or those of the class."""
    return [mode.stress or asset_class.stress for mode in asset_class.wearing]


def _clock(profile: Sequence[Stretch], faster: Floats, duty_rate: float) -> Clock:
    """Turns life at the duty of lately into life as it is used lately until the same is used up under a profile."""
    # life passes f_k times as fast in stretch k:   used(x) = sum f_k dx_k,  and what is wanted is x of used
    ends = duty_rate * np.cumsum([0.0, *(stretch.hours for stretch in profile[:-1])])
    used = np.concatenate([[0.0], np.cumsum(faster[:-1] * np.diff(ends))])
    at_last = max(float(faster[-1]), _SLOWEST)

    def clock(life: Floats) -> Floats:
        return np.where(life > used[-1], ends[-1] + (life - used[-1]) / at_last, np.interp(life, used, ends))

    return clock


def duty_of(duty: Duty) -> set[str]:
    """The step columns that a duty says something about."""
    return {*duty.factor, *duty.value}


def _faster(asset_class: AssetClass, laws: Sequence[Stress], usual: float, latest: Floats, duty: Duty) -> float:
    """How much faster than lately life passes under these laws."""
    ratio = 1.0
    for law in laws:
        scaled = {column: duty.factor[column] for column in law.columns if column in duty.factor}
        given = {column: duty.value[column] for column in law.columns if column in duty.value}
        if scaled:
            # of these laws   s(f u) = s(f u_ref) s(u):   whatever the duty was, it changes by s(f u_ref)
            reference = dict(zip(law.columns, law.reference, strict=True))
            ratio *= _stress(asset_class, law, {c: v * scaled.get(c, 1.0) for c, v in reference.items()}, latest)
        if given:
            before = usual if len(laws) == 1 else _stress(asset_class, law, {}, latest)
            ratio *= _stress(asset_class, law, given, latest) / before
    return ratio


def _stress(asset_class: AssetClass, law: Stress, at: Mapping[str, float], latest: Floats) -> float:
    """Stress where columns are at these values, others as measured last, or at their reference where they were not."""
    columns = latest.copy()
    for column, reference in zip(law.columns, law.reference, strict=True):
        place = asset_class.column_names.index(column)
        columns[place] = at.get(column, reference if np.isnan(columns[place]) else columns[place])
    return float(stress_of(asset_class, (law,), columns[None, :])[0])


def _columns(asset_class: AssetClass, latest: Floats, duty: Duty) -> Floats:
    """The step columns under another duty."""
    columns = latest.copy()
    for place, name in enumerate(asset_class.column_names):
        columns[place] = duty.value.get(name, columns[place] * duty.factor.get(name, 1.0))
    return columns


def _usual(stressed: Floats, ran: Floats) -> float:
    """The stress of the last 28 days."""
    return float(stressed[0] / ran[0]) if ran[0] > 0 and stressed[0] > 0 else 1.0


def _laws(asset_class: AssetClass) -> list[Stress]:
    """Every law of stress of a class and its modes, once."""
    every = (asset_class.stress, *(mode.stress for mode in asset_class.wearing))
    return list(dict.fromkeys(law for laws in every for law in laws))
