"""The remaining life of each machine of a cohort: who speaks, or why nobody does. Pure functions of twin and model."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pdm import features, wear
from pdm.degradation import Weibull, first_passage
from pdm.features import FeatureState, health, peers
from pdm.features.frame import Frame
from pdm.plant import AssetClass, GapRule
from pdm.prognosis import LEVELS, Basis, Prognosis, Refusal, from_life_table, learned
from pdm.prognosis.learned import Inferred, Model
from pdm.prognosis.quantiles import widened
from pdm.twin import Twin

Infer = Callable[[Model, NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], Sequence[str]], Inferred]

DECLARED = (Basis.DECLARED_WEAR, Basis.DECLARED_LIFE)

_TOGETHER = 10_000
"""So many machines are forecast at a time: the features of all would take more memory than everything else."""


def empty(asset_class: AssetClass, count: int) -> Prognosis:
    """No prognosis yet for `count` machines."""
    return Prognosis(
        quantiles=np.full((count, len(LEVELS)), np.nan),
        horizon=asset_class.horizon,
        basis=np.full(count, Basis.NONE, dtype=np.int8),
        refusal=np.full(count, Refusal.NO_READINGS, dtype=np.int8),
        mode=np.full((count, len(asset_class.failure_modes)), np.nan),
    )


def forecast(
    asset_class: AssetClass,
    model: Model | None,
    twin: Twin,
    rows: NDArray[np.int64],
    complete: NDArray[np.bool_],
    widening: float = 1.0,
    infer: Infer = learned.infer,
) -> Prognosis:
    """Prognoses of the machines `rows`, in that order.

    Args:
        complete: `[len(rows)]` whether the history of each reaches back to the start of its life.
        widening: by how much bands are widened (`pdm.widening`).
        infer: where `learned.infer` is worked out.
    """
    if model is not None and model.head is None:
        model = None  # it watches and forecasts nothing
    learned_of = _learned_of(asset_class, model, complete)
    made = empty(asset_class, len(rows))
    made.refusal[:] = _refusals(asset_class, model, twin, rows, complete, learned_of)
    speaks = made.refusal == Refusal.NONE
    if not speaks.any():
        return made
    if model is not None and twin.features is not None and (speaks & learned_of).any():
        names = [mode.name for mode in asset_class.failure_modes]
        heard = np.flatnonzero(speaks & learned_of)
        for part in np.split(heard, range(_TOGETHER, len(heard), _TOGETHER)):
            seen = features.emit(model.frame, twin.features, rows[part])
            said = infer(model, seen, twin.exposure[rows[part]], complete[part], names)
            made.quantiles[part], made.mode[part] = said
        made.basis[heard] = learned.spoken(model, complete[heard])
    _declare(asset_class, made, twin, rows, speaks & ~learned_of)
    if widening != 1.0:
        made.quantiles[speaks] = widened(made.quantiles[speaks], widening)
    by_age = speaks & (made.basis != Basis.DECLARED_WEAR)  # which holds what was not seen in a gap already
    _age_unseen(asset_class, made, by_age, twin.unseen[rows[by_age]])
    return made


def _declare(
    asset_class: AssetClass, made: Prognosis, twin: Twin, rows: NDArray[np.int64], these: NDArray[np.bool_]
) -> None:
    """Forecast these of the machines `rows` by what the class declares, in place."""
    who = rows[these]
    if not len(who):
        return
    made.basis[these] = declared_basis(asset_class)
    if asset_class.wearing and twin.wear is not None:
        law, made.mode[these] = wear.forecast(asset_class, twin.wear, who)
        made.quantiles[these] = first_passage.quantiles(law, LEVELS)
    elif asset_class.expected_life is not None:
        life = Weibull.from_moments(asset_class.expected_life.mean, asset_class.expected_life.sd)
        made.quantiles[these] = from_life_table(life, twin.exposure[who] - twin.unseen[who])


def declared_basis(asset_class: AssetClass) -> Basis:
    """What a class is forecast by without a model, `NONE` where it declares nothing."""
    if asset_class.wearing:
        return Basis.DECLARED_WEAR
    return Basis.NONE if asset_class.expected_life is None else Basis.DECLARED_LIFE


def _learned_of(asset_class: AssetClass, model: Model | None, complete: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of which machines a model speaks `[n]`.

    Where what is declared was nearer on machines left out, only of those that joined late: of them that says nothing.
    """
    if model is None:
        return np.zeros(len(complete), dtype=np.bool_)
    outdone = model.facts.basis in DECLARED and declared_basis(asset_class) != Basis.NONE
    return ~complete if outdone else np.ones(len(complete), dtype=np.bool_)


def departures(model: Model | None, twin: Twin) -> NDArray[np.float64]:
    """How far each machine has departed from its own early life `[n]`, 1 at the level of the alarm.

    NaN without a model that tells, before a machine's own start is known, and where nobody can tell what its sensors
    should read.
    """
    if model is None or model.frame.watch is None or twin.features is None:
        return np.full(len(twin), np.nan)
    every = np.arange(len(twin))
    unknown = features.outside(model.frame, twin.features) | _blind(model.frame, twin.features, every)
    unknown |= health.mistold(model.frame, twin.features.sensors, every)
    return np.where(unknown, np.nan, features.departure(model.frame, twin.features))


def updated(before: Prognosis, rows: NDArray[np.int64], fresh: Prognosis) -> Prognosis:
    """A copy of `before` in which the machines `rows` have their fresh prognosis."""
    columns = {name: getattr(before, name).copy() for name in ("quantiles", "basis", "refusal", "mode")}
    for name, values in columns.items():
        values[rows] = getattr(fresh, name)
    return Prognosis(horizon=before.horizon, **columns)


def refuse(prognosis: Prognosis, rows: NDArray[np.bool_], why: Refusal) -> None:
    """Take back the prognosis of these machines, in place."""
    prognosis.quantiles[rows] = np.nan
    prognosis.mode[rows] = np.nan
    prognosis.basis[rows] = Basis.NONE
    prognosis.refusal[rows] = why


def _refusals(
    asset_class: AssetClass,
    model: Model | None,
    twin: Twin,
    rows: NDArray[np.int64],
    complete: NDArray[np.bool_],
    learned_of: NDArray[np.bool_],
) -> NDArray[np.int8]:
    """The first reason that holds for each machine, or none."""
    refusal = np.full(len(rows), Refusal.NONE, dtype=np.int8)
    if model is None and declared_basis(asset_class) == Basis.NONE:
        refusal[:] = Refusal.NO_MODEL
    elif model is not None and twin.features is not None:
        refusal[learned_of & features.outside(model.frame, twin.features, rows)] = Refusal.OUT_OF_ENVELOPE
        refusal[learned_of & _blind(model.frame, twin.features, rows)] = Refusal.SENSOR_SUSPECT
        refusal[learned_of & health.mistold(model.frame, twin.features.sensors, rows)] = Refusal.UNIT_MISMATCH
    enough = 0 if model is None else model.frame.baseline
    refusal[~complete & ((twin.steps[rows] < enough) | (model is None))] = Refusal.HISTORY_INCOMPLETE
    refusal[twin.steps[rows] == 0] = Refusal.NO_READINGS
    return refusal


def _blind(frame: Frame, state: FeatureState, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a sensor has been silent for longer than the short memory reaches, which then holds guesses only `[n]`.

    A silent condition silences all sensors: nobody knows what they should read. One that is left out because it drifts
    away from its peers is not missed: they tell what it would.
    """
    silent = features.silent_steps(frame, state, rows) > max(1.0, 15 * frame.scale)
    silent &= ~peers.drifting(frame, state.sensors.apart[:, rows]).T
    return np.asarray(silent.any(axis=1), dtype=np.bool_)


def _age_unseen(
    asset_class: AssetClass, made: Prognosis, speaks: NDArray[np.bool_], unseen: NDArray[np.float64]
) -> None:
    """Life went on in a gap: by the usual duty or, where the gap rule says that nobody knows, by up to twice that."""
    known = asset_class.gap == GapRule.ASSUME_PROFILE
    share = np.ones(len(LEVELS)) if known else 2 * (1 - LEVELS)
    made.quantiles[speaks] = np.maximum(made.quantiles[speaks] - unseen[:, None] * share, 0.0)
