"""The learned forecast: heads that turn features into the distribution of remaining life, the likely mode and the why.

A machine that was seen from the start of its life and one that joined late are two cases: features of a whole life mean
something else for half a life. Each has forests of its own (`pdm.prognosis.forests`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pdm.degradation import Weibull
from pdm.features.frame import Floats, Frame
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS, Basis
from pdm.prognosis.forests import ANY, Forests, Later, estimate, later_by_forest, later_by_table, quantiles_around
from pdm.prognosis.quantiles import failure_probability

RECIPE = 4
"""Raised whenever models that were made before must not speak any more."""

AGE = "age"
OVERALL = "overall health"

Flags = NDArray[np.bool_]

_FAR = 0.9  # of the cap of a target: an estimate near it says no more than that there is much left


class Origin(StrEnum):
    """Where the lives came from that a model was trained on."""

    SIMULATED = "simulated"
    BENCHMARK = "benchmark"
    PLANT = "plant"


@dataclass(frozen=True)
class ModeHead:
    """Which failure mode comes first.

    Attributes:
        names: the modes, in the order of the forest's classes.
        shares: `[len(names)]` how often each was the one in training.
        forest: probability of each, trained on steps within the horizon of the failure.
    """

    names: tuple[str, ...]
    shares: Floats
    forest: lgb.Booster


@dataclass(frozen=True)
class Head:
    """Turns features into a prognosis.

    Attributes:
        horizon: up to where a date is asked for [life steps].
        whole: for machines that were seen from the start of their life.
        late: for those that were not.
        life: the life table of the class.
        modes: None where the lives name no mode, or only one.
    """

    horizon: float
    whole: Forests
    late: Forests
    life: Weibull
    modes: ModeHead | None = None


@dataclass(frozen=True)
class Rivals:
    """What simpler policies would have chosen on the training machines, to compare decisions with.

    Attributes:
        lengths: the finished training lives [life steps].
        interval: the fixed interval that would have cost least on them [life steps].
        threshold: the median remaining life, forecast out of fold, at which acting would have cost least [life steps].
    """

    lengths: tuple[float, ...] = ()
    interval: float = float("inf")
    threshold: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What is known about the making of a model.

    Attributes:
        fingerprint: of the class description that the model belongs to.
        modes: how many training lives each failure mode ended.
        groups: how many of them the machines that failed name.
        figures: on machines left out of training, by name (CRPS, coverage, ...).
        ladder: CRPS there of each way to forecast the class, by the name of its basis [life steps].
        late_ladder: the same of machines that joined late.
        rivals: where the class declares costs.
    """

    class_name: str
    fingerprint: str
    origin: Origin
    recipe: int
    seed: int
    lives: int
    failures: int
    steps: int
    median_life: float
    modes: Mapping[str, int] = field(default_factory=dict)
    groups: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    ladder: Mapping[str, float] = field(default_factory=dict)
    late_ladder: Mapping[str, float] = field(default_factory=dict)
    rivals: Rivals = Rivals()

    @property
    def basis(self) -> Basis:
        """Who speaks: whoever was best on machines left out."""
        return _best(self.ladder) or Basis.LEARNED

    @property
    def late_basis(self) -> Basis:
        """The same for machines that joined late, of which what is declared says nothing."""
        return _best(self.late_ladder) or (Basis.LIFE_TABLE if self.basis == Basis.LIFE_TABLE else Basis.LEARNED)

    @property
    def crps(self) -> float | None:
        """CRPS of who speaks, by which that was chosen [life steps]; None of a model that forecasts nothing."""
        return min(self.ladder.values(), default=self.figures.get("crps"))

    @property
    def evidence(self) -> str:
        """The ladder in words, the best first."""
        return _in_words(self.ladder)

    @property
    def late_evidence(self) -> str:
        """The same of machines that joined late."""
        return _in_words(self.late_ladder) or "not compared"


def _best(ladder: Mapping[str, float]) -> Basis | None:
    return Basis[min(ladder, key=lambda name: ladder[name]).upper()] if ladder else None


def _in_words(ladder: Mapping[str, float]) -> str:
    ranked = sorted(ladder.items(), key=lambda rung: rung[1])
    return ", ".join(f"{name.replace('_', ' ')} {loss:.4g}" for name, loss in ranked)


@dataclass(frozen=True)
class Model:
    """A frame and its head; None where it watches for departures from early life and forecasts nothing.

    `version` is the name of its folder, empty until it has one.
    """

    frame: Frame
    head: Head | None
    facts: Facts
    version: str = ""


def head_of(model: Model) -> Head:
    """The head of a model that forecasts."""
    if model.head is None:
        raise ValueError(f"model {model.version} of class {model.facts.class_name} forecasts nothing")
    return model.head


class Driver(NamedTuple):
    """One reason for a forecast, or for a departure from early life.

    Attributes:
        column: a step column, `AGE`, or `OVERALL` for what cannot be traced to one column.
        contribution: by how much it moves the expected remaining life; negative shortens it [life steps]. Of a
            departure, minus its share of it.
        departure: its recent mean against the asset's own start [standard deviations of the class]; NaN for `AGE`.
        moving_for: for about how long it has moved that way, judged by its present slope; 0 if it moves back
            [life steps].
        size: the departure in the unit of the column; NaN where it has none.
    """

    column: str
    contribution: float
    departure: float
    moving_for: float
    size: float = np.nan


def fingerprint(asset_class: AssetClass) -> str:
    """Tells whether a model can read a class: its columns, units, conditions, life step and law of stress."""
    step = asset_class.life_step
    law = {"stress": repr(asset_class.stress)} if asset_class.stress else {}  # models from before there were any stay
    text = json.dumps(
        law
        | {
            "columns": [(c.name, asset_class.sensor(c.sensor).unit, str(c.summary)) for c in asset_class.columns],
            "conditions": sorted(asset_class.conditions),
            "life_step": [step.unit, step.duration_ms],
        }
    )
    return hashlib.sha256(text.encode()).hexdigest()


class Inferred(NamedTuple):
    """What the heads make of features: quantiles `[n, 21]`, and how probably each mode is first `[n, modes]`."""

    quantiles: Floats
    modes: Floats


def infer(model: Model, features: Floats, exposure: Floats, complete: Flags, names: Sequence[str]) -> Inferred:
    """All that takes trees, each asset by itself: any part of a cohort gives the same numbers.

    Args:
        features: `[n, F]`.
        exposure: `[n]` life used so far, as far as it was seen [life steps].
        complete: `[n]` whether it was seen from its start.
        names: the failure modes of the class.
    """
    quantiles = forecast(model, features, exposure, complete)
    return Inferred(quantiles, first_mode(model, features, quantiles, names))


def forecast(model: Model, features: NDArray[Any], exposure: Floats, complete: Flags) -> Floats:
    """Quantiles `[n, 21]` of the remaining life at `LEVELS`, arguments as those of `infer` [life steps]."""
    head, quantiles = head_of(model), np.empty((len(features), len(LEVELS)))
    by_table = spoken(model, complete) == Basis.LIFE_TABLE
    known, unknown = by_table & complete, by_table & ~complete
    quantiles[known] = head.life.remaining(exposure[known, None], LEVELS)
    quantiles[unknown] = head.life.remaining_of_unknown_age(exposure[unknown, None], LEVELS)
    for forests, rows in ((head.whole, complete & ~by_table), (head.late, ~complete & ~by_table)):
        if rows.any():
            expected = forests.to_ends(features[rows]).min(axis=1)
            later = _later(head, forests, features[rows], exposure[rows])
            quantiles[rows] = quantiles_around(forests.spread, forests.reach, expected, later)
    return quantiles


def _later(head: Head, forests: Forests, features: NDArray[Any], exposure: Floats) -> Later:
    if forests.far is not None:
        return later_by_forest(forests.far.spread, estimate([forests.far.forest], features))
    return later_by_table(head.life, exposure + forests.reach, since_new=forests is head.whole)


def spoken(model: Model, complete: Flags) -> NDArray[np.int8]:
    """What the forecasts of a model rest on: forests or its life table `[n]`."""
    basis = np.where(complete, model.facts.basis, model.facts.late_basis)
    return np.where(basis == Basis.LIFE_TABLE, Basis.LIFE_TABLE, Basis.LEARNED).astype(np.int8)


def first_mode(model: Model, features: Floats, quantiles: Floats, names: Sequence[str]) -> Floats:
    """Probability `[n, len(names)]` of each failure mode being the first; NaN without a mode head.

    The forest speaks for a failure within the horizon; beyond it nothing is known but how often each mode occurs.
    """
    horizon, head = head_of(model).horizon, head_of(model).modes
    if head is None:
        return np.full((len(features), len(names)), np.nan)
    within = failure_probability(quantiles, horizon)[:, None]
    known = within * mode_near_failure(head, features) + (1 - within) * head.shares
    place = [number for number, name in enumerate(head.names) if name in names]  # the class may have dropped a mode
    result = np.zeros((len(features), len(names)))
    result[:, [names.index(head.names[number]) for number in place]] = known[:, place]
    return result / result.sum(axis=1, keepdims=True) if place else np.full_like(result, np.nan)


def mode_near_failure(head: ModeHead, features: NDArray[Any]) -> Floats:
    """Probability `[n, len(head.names)]` of each mode, given a failure within the horizon."""
    return np.asarray(head.forest.predict(features.astype(np.float32, copy=False), num_threads=1), dtype=np.float64)


def by_mode(model: Model, feature: NDArray[Any], complete: Flags) -> dict[str, float]:
    """What would be left of one asset (features `[1, F]`) if one failure mode alone could end it, by its name, where
    the forests tell them apart [life steps]; as in `infer`. Infinite where that is more than they look ahead."""
    forests = head_of(model).whole if complete[0] else head_of(model).late
    value = forests.to_ends(feature)[0]
    left = np.where(value < _FAR * forests.target.cap, forests.target.life(value), np.inf)
    return {end: life for end, life in zip(forests.ends, left.tolist(), strict=True) if end != ANY}


def proximity(model: Model, feature: NDArray[Any], others: NDArray[Any], complete: Flags) -> Floats:
    """Share of the trees that cannot tell the steps `others` `[r, F]` from one step `[1, F]`, `[r]`.

    Breiman 2001, doi 10.1023/A:1010933404324; by the squared-loss forest of the earliest end.
    """
    forests = head_of(model).whole if complete[0] else head_of(model).late
    forest = forests.squared[forests.to_ends(feature).argmin()]
    one, each = (np.asarray(forest.predict(rows, pred_leaf=True, num_threads=1)) for rows in (feature, others))
    return np.asarray((one == each).mean(axis=1), dtype=np.float64)


def drivers(model: Model, features: Floats, complete: Flags) -> list[list[Driver]]:
    """Why the expected remaining life of each asset (features `[n, F]`) is what it is, most shortening first.

    Contributions are those of the squared-loss forest of the earliest end (SHAP values of trees; Lundberg et al. 2020,
    doi 10.1038/s42256-019-0138-9), summed per sensor. A health channel is shared out over its sensors by how much each
    has moved it since the asset's own start.
    """
    frame, moved = model.frame, since_start(model.frame, features)
    shap = _contributions(model, features, complete)
    per_sensor, rest = _share_out(frame, _per_channel(frame, shap), moved.departure)
    sensors, age = frame.channel_names[: frame.sensors], frame.feature_names.index(AGE)
    return [
        sorted(
            [
                *map(Driver, sensors, per_sensor[i].tolist(), *(part[i].tolist() for part in moved)),
                Driver(AGE, float(shap[i, age]), np.nan, float(features[i, age])),
                Driver(OVERALL, float(rest[i]), np.nan, 0.0),
            ],
            key=lambda driver: driver.contribution,
        )
        for i in range(len(features))
    ]


class Moved(NamedTuple):
    """How the sensors of assets have moved since their own start, each `[n, p]`; as in `Driver`."""

    departure: Floats
    moving_for: Floats
    size: Floats


def since_start(frame: Frame, features: Floats) -> Moved:
    """How the sensors of assets have moved since their own start, by features `[n, F]`."""
    named = {name: column for column, name in enumerate(frame.feature_names)}
    departure, slope = (
        features[:, [named[f"{kind} {name}"] for name in frame.channel_names[: frame.sensors]]]
        for kind in ("de15", "sl60")
    )
    return Moved(departure, _moving_for(departure, slope, features[:, named[AGE]]), departure * frame.sd)


def _contributions(model: Model, features: Floats, complete: Flags) -> Floats:
    """By how much each feature moves the expected remaining life, `[n, F]` [life steps]."""
    head, rows, moved = head_of(model), features.astype(np.float32), np.zeros(features.shape)
    for forests, some in ((head.whole, complete), (head.late, ~complete)):
        earliest = np.full(len(rows), -1)
        if some.any():
            earliest[some] = forests.to_ends(rows[some]).argmin(axis=1)
        for end in np.unique(earliest[some]):
            mine = earliest == end
            shap = np.asarray(forests.squared[end].predict(rows[mine], pred_contrib=True, num_threads=1))
            expected = forests.target.life(shap.sum(axis=1))
            # d ln(1 + R) = dR / (1 + R)
            moved[mine] = shap[:, :-1] * (1 + expected[:, None]) if forests.target.log else shap[:, :-1]
    return moved


def _per_channel(frame: Frame, shap: Floats) -> Floats:
    """Contributions `[n, F]` summed over the features of each channel, `[n, C]`."""
    channel = {name: column for column, name in enumerate(frame.channel_names)}
    total = np.zeros((len(shap), frame.channels))
    for column, feature in enumerate(frame.feature_names[:-1]):
        total[:, channel[feature.split(" ", 1)[1]]] += shap[:, column]
    return total


def _share_out(frame: Frame, per_channel: Floats, departure: Floats) -> tuple[Floats, Floats]:
    """Contributions per sensor `[n, p]`, and what is left where no sensor has moved `[n]`."""
    p = frame.sensors
    weights = np.abs(np.concatenate([frame.projection.mean(axis=2), frame.own_change[:, None]], axis=1))  # [p, 6]
    moved = np.abs(departure)[:, :, None] * weights  # [n, p, 6]
    total = moved.sum(axis=1, keepdims=True)
    share = np.divide(moved, total, out=np.zeros_like(moved), where=total > 0)
    health = per_channel[:, p:]
    per_sensor = per_channel[:, :p] + (share * health[:, None, :]).sum(axis=2)
    return per_sensor, (health * (total[:, 0, :] <= 0)).sum(axis=1)


def _moving_for(departure: Floats, slope: Floats, age: Floats) -> Floats:
    away = departure * slope > 0
    steps = np.divide(departure, slope, out=np.zeros_like(departure), where=away)
    return np.minimum(steps, age[:, None])
