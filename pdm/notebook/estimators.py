"""Forecasts for notebooks: scikit-learn's `fit` and `predict` on tables, by what the service trains and forecasts with.

life = RemainingLife(conditions=["load"]).fit(readings, lives)
said = life.predict(readings)  # quantiles of the remaining life after each step of each machine
said[0.5]                      # the medians
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from pdm.durations import duration_ms
from pdm.installations import NEVER_MS
from pdm.learn import Life, lives_in, train, train_watch
from pdm.learn.walk_forward import walk_forward
from pdm.notebook.judged import judged
from pdm.notebook.tables import ASSET, TIME, Lives, Record, class_of, lives_of, lives_table, ms_at, record_of, times_of
from pdm.notebook.told import complete, folded, told
from pdm.plant import AssetClass, Plant
from pdm.prognosis import LEVELS, Prognosis, Refusal
from pdm.prognosis.forecast import departures, forecast, refuse
from pdm.prognosis.learned import Model, Origin
from pdm.scoring import age_only, score
from pdm.twin import Twin
from pdm.windows import Bound, Windows
from pdm.windows.advice import windows_of

_EDGES = ("earliest", "preferred", "latest")


class _Known(NamedTuple):
    """What tables say about machines."""

    record: Record
    lives: Lives

    def by_asset(self, columns: dict[Any, Any], life: NDArray[np.int64], at_ms: NDArray[np.int64]) -> Any:
        """A table by asset and time of what is known of lives `[m]` at times `[m]`."""
        assets = np.array(self.record.assets, dtype=object)[self.lives.asset[life]]
        index = pd.MultiIndex.from_arrays([assets, times_of(self.record, at_ms)], names=[ASSET, TIME])
        return pd.DataFrame(columns, index=index).sort_index()


class _OfTables(BaseEstimator):  # type: ignore[misc]
    """Knows `asset_class_`, and `model_` if there is one, once it is fitted."""

    asset_class_: AssetClass
    model_: Model | None

    def _known(self, X: Any, lives: Any) -> _Known:
        check_is_fitted(self, "asset_class_")
        return _known(self.asset_class_, X, lives)


class _Forecaster(_OfTables):
    """What can be asked about the remaining life of machines."""

    def predict(self, X: Any, lives: Any = None) -> Any:
        """Quantiles of the remaining life after each step [life steps].

        Args:
            X: readings; one row a sample, columns `asset`, `time` and the sensors.
            lives: which stretches of them are lives, as for `fit`; without it each machine is taken to be new at its
                first reading.

        Returns:
            A table by asset and time with a column for each probability level, and `refusal`: why there is no forecast,
            empty where there is one.
        """
        known = self._known(X, lives)
        steps, said = known.lives.steps, told(self.asset_class_, self.model_, known.lives)
        return known.by_asset(_columns(said), steps.row, steps.end_ms)

    def truth(self, X: Any, lives: Any) -> Any:
        """What came after each step: the number of the life in `lives`, what was used of it and what was left.

        `remaining` is NaN where a life did not end in failure [life steps].
        """
        known = self._known(X, lives)
        steps, used = known.lives.steps, np.zeros(len(known.lives.steps))
        for rows, twins in folded(self.asset_class_, None, known.lives):
            used[rows] = twins.exposure[steps.row[rows]]
        whole = np.zeros(len(known.lives.spans))
        np.maximum.at(whole, steps.row, used)
        whole[[not span.failed for span in known.lives.spans]] = np.nan
        columns = {"life": steps.row, "used": used, "remaining": whole[steps.row] - used}
        return known.by_asset(columns, steps.row, steps.end_ms)

    def plan(self, X: Any, plant: Plant, lives: Any = None) -> Any:
        """The priced window in which to maintain each machine that still lives, at the time of the last reading of all.

        Args:
            X, lives: as for `predict`. A machine that fell silent before the others has aged since.
            plant: that describes the machines, with their costs and shifts.
        """
        if self.asset_class_ not in plant.classes.values():
            raise ValueError(f"the plant does not describe the class {self.asset_class_.name} of these machines")
        check_is_fitted(self, "asset_class_")
        known = _known(self.asset_class_, X, lives, until_now=True)
        at_ms = int(known.record.steps.end_ms.max())
        alive, twins = self._alive(known)
        whole = complete(self.asset_class_, known.lives, twins, alive)
        said = forecast(self.asset_class_, self.model_, twins, np.arange(len(alive)), whole)
        refuse(said, at_ms - twins.last_row_ms > self.asset_class_.stale_after_ms, Refusal.STALE)
        windows = windows_of(plant, self.asset_class_, self.model_, said, twins.duty_rate, at_ms)
        columns = {"refusal": _refusals(said), **_window_columns(windows)}
        return known.by_asset(columns, alive, twins.last_end_ms)

    def _alive(self, known: _Known) -> tuple[NDArray[np.int64], Twin]:
        """The numbers of the lives that go on, and their twins after their last step."""
        *_, (_, twins) = folded(self.asset_class_, None if self.model_ is None else self.model_.frame, known.lives)
        goes_on = np.array([span.to_ms == NEVER_MS for span in known.lives.spans]) & (twins.last_end_ms >= 0)
        return np.flatnonzero(goes_on), twins.take(goes_on)


class RemainingLife(_Forecaster):
    """The remaining life of machines, learned from those that failed.

    Args:
        asset_class: the machines as a plant file describes them (`read_plant`). Without it all columns of the readings
            are sensors, and the rest stands here.
        conditions: columns that state how a machine is operated rather than how it is.
        life_step: the grain of life, such as "1 h"; without it each reading is a step.
        horizon: how far ahead a date is worth anything [life steps]; half of the median life if not given.
        random_state: the same tables and number give the same model.
    """

    model_: Model

    def __init__(
        self,
        asset_class: AssetClass | None = None,
        *,
        conditions: Sequence[str] = (),
        life_step: str | None = None,
        horizon: float | None = None,
        random_state: int = 1,
    ) -> None:
        self.asset_class = asset_class
        self.conditions = conditions
        self.life_step = life_step
        self.horizon = horizon
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from lives.

        Args:
            X: readings; one row a sample, columns `asset`, `time` and the sensors.
            y: lives; columns `asset`, `failed` and, where known, `start`, `end`, `mode`, `group`. Or, one value for
                each row of X, what was left of the life then [life steps], NaN where its end is not known.

        Raises:
            ModelError: too few machines failed, or nothing moves in their sensors.
        """
        y = lives_table(X, y)
        asset_class = self._described(X, y)
        lives = _lived(asset_class, _known(asset_class, X, y))
        self.model_ = train(asset_class, lives, seed=self.random_state, origin=Origin.PLANT)
        self.asset_class_ = asset_class
        self.lengths_ = np.array([life.length for life in lives if life.failed and life.complete])
        return self

    def score(self, X: Any, y: Any) -> float:
        """CRPS skill on lives that ended in failure: 1 is perfect, 0 no better than by their age alone."""
        check_is_fitted(self)
        lives, horizon = lives_table(X, y), self.asset_class_.horizon
        came = judged(self.predict(X, lives), self.truth(X, lives)).inside(horizon)
        by_age = age_only(self.lengths_, came.length - came.remaining)
        ours, theirs = (
            score(said, came.remaining, came.life, horizon).mean().crps for said in (came.quantiles, by_age)
        )
        return 1.0 - ours / theirs

    def backtest(self, X: Any, y: Any, *, every: str, start: Any = None) -> Any:
        """What would have been said: at each time a model learns from what was known then, and speaks until the next.

        Args:
            every: time between trainings, such as "30 d".
            start: of the first one; the time of the first reading if not given.

        Returns:
            A table as that of `predict`, without the steps at which too few machines had failed.
        """
        y = lives_table(X, y)
        asset_class = self._described(X, y)
        known = _known(asset_class, X, y)
        lived, end_ms = _lived(asset_class, known), known.record.steps.end_ms
        first = int(end_ms.min()) if start is None else ms_at(known.record, start)
        cuts = range(first, int(end_ms.max()), duration_ms(every))
        walked = walk_forward(asset_class, lived, cuts, int(end_ms.max()), seed=self.random_state, origin=Origin.PLANT)
        life = np.array([int(one.serial) for one in lived])[walked.life]
        return known.by_asset(dict(zip(LEVELS, walked.quantiles.T, strict=True)), life, walked.at_ms)

    def _described(self, X: Any, y: Any) -> AssetClass:
        if self.asset_class is not None:
            return self.asset_class
        return class_of(X, y, conditions=self.conditions, life_step=self.life_step, horizon=self.horizon)


class Watch(_OfTables):
    """How far machines depart from their own early life; no failure is needed, and no remaining life comes of it.

    Args:
        asset_class, conditions, life_step, random_state: as for `RemainingLife`.
    """

    model_: Model

    def __init__(
        self,
        asset_class: AssetClass | None = None,
        *,
        conditions: Sequence[str] = (),
        life_step: str | None = None,
        random_state: int = 1,
    ) -> None:
        self.asset_class = asset_class
        self.conditions = conditions
        self.life_step = life_step
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what machines do early in life, from the first quarter of what is on record of each.

        Args:
            X: readings; one row a sample, columns `asset`, `time` and the sensors.
            y: lives, as for `RemainingLife`; without it each machine is taken to be new at its first reading.

        Raises:
            ModelError: too few steps are on record, or nothing moves in the sensors.
        """
        asset_class = self.asset_class or class_of(
            X, None, conditions=self.conditions, life_step=self.life_step, horizon=1.0
        )
        lives = _lived(asset_class, _known(asset_class, X, y))
        self.model_ = train_watch(asset_class, lives, seed=self.random_state, origin=Origin.PLANT)
        self.asset_class_ = asset_class
        return self

    def predict(self, X: Any, lives: Any = None) -> Any:
        """The departure after each step, 1 at the level of the alarm and NaN before it is known, and the alarm.

        Args:
            X, lives: as for `RemainingLife`.

        Returns:
            A table by asset and time. How seldom the alarm is false stands in `model_.facts.figures`.
        """
        known = self._known(X, lives)
        steps, departure = known.lives.steps, np.zeros(len(known.lives.steps))
        for rows, twins in folded(self.asset_class_, self.model_.frame, known.lives):
            departure[rows] = departures(self.model_, twins)[steps.row[rows]]
        return known.by_asset({"departure": departure, "alarm": departure > 1}, steps.row, steps.end_ms)


class DeclaredWear(_Forecaster):
    """The remaining life that a plant file declares, as it follows duty and indicators; nothing is learned.

    Args:
        asset_class: with an `expected_life`, its own or of failure modes.
    """

    model_ = None

    def __init__(self, asset_class: AssetClass | None = None) -> None:
        self.asset_class = asset_class

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Take the class as it is declared."""
        if self.asset_class is None or not (self.asset_class.wearing or self.asset_class.expected_life):
            raise ValueError("a class without a declared life says nothing: give an asset_class with an expected_life")
        self.asset_class_ = self.asset_class
        return self


def _known(asset_class: AssetClass, X: Any, lives: Any, *, until_now: bool = False) -> _Known:
    record = record_of(asset_class, X, until_now=until_now)
    return _Known(record, lives_of(record, None if lives is None else lives_table(X, lives)))


def _lived(asset_class: AssetClass, known: _Known) -> list[Life]:
    """The lives as training takes them, their numbers for serials."""
    numbered = {str(number): number for number in range(len(known.lives.spans))}
    lived = lives_in(asset_class, known.lives.steps, numbered, zip(numbered, known.lives.spans, strict=True))
    return [replace(life, group=known.lives.groups[int(life.serial)]) for life in lived]


def _columns(said: Prognosis) -> dict[Any, Any]:
    """A column for each level, and one for refusals."""
    return {**dict(zip(LEVELS.tolist(), said.quantiles.T, strict=True)), "refusal": _refusals(said)}


def _refusals(said: Prognosis) -> list[str]:
    """The code of each refusal, or nothing."""
    return ["" if reason == Refusal.NONE else Refusal(reason).code for reason in said.refusal.tolist()]


def _window_columns(windows: Windows) -> dict[str, Any]:
    """Starts with what sets them, the probability of failing before the preferred one, and what each choice costs."""
    starts = {edge: np.where((at := getattr(windows, f"{edge}_ms")) < 0, np.nan, at) for edge in _EDGES}
    bounds = {edge: [Bound(one).code for one in getattr(windows, f"{edge}_bound").tolist()] for edge in _EDGES}
    return {
        **{edge: pd.to_datetime(at, unit="ms", utc=True) for edge, at in starts.items()},
        **{f"{edge}_bound": codes for edge, codes in bounds.items()},
        "failure_probability": windows.preferred_probability,
        "cost": windows.preferred_cost,
        "cost_now": windows.cost_now,
        "cost_week_later": windows.cost_week_later,
        "cost_run_to_failure": windows.cost_run_to_failure,
    }
