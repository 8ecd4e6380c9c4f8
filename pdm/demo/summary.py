"""What became of a demo: every figure from what went through the service and its stored history."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from pdm.plant import AssetClass
from pdm.prognosis import MEDIAN
from pdm.prognosis.learned import Rivals
from pdm.scoring import AlertOutcomes, Scores, age_only, alert_outcomes, score
from pdm.scoring.policies import (
    FinishedLife,
    Looks,
    by_threshold,
    by_window,
    fixed_interval,
    perfect_foresight,
    run_to_failure,
)
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import alerts, events, prognoses


@dataclass(frozen=True)
class History:
    """The finished lives of a class as the service stored them.

    Attributes:
        serials: `[L]` of machines that failed.
        lives: `[L]`.
        life: `[m]` index in `lives` of each issued prognosis.
        issued_ms, exposure, preferred_ms: `[m]`.
        quantiles: `[m, 21]`.
    """

    serials: list[str]
    lives: list[FinishedLife]
    life: NDArray[np.intp]
    issued_ms: NDArray[np.int64]
    exposure: NDArray[np.float64]
    preferred_ms: NDArray[np.int64]
    quantiles: NDArray[np.float64]

    @property
    def remaining(self) -> NDArray[np.float64]:
        """True remaining life at each prognosis `[m]` [life steps]."""
        return np.array([life.length for life in self.lives])[self.life] - self.exposure

    def looks(self, value: NDArray[Any]) -> list[Looks]:
        """For each life what was said, by time."""
        mine = [self.life == number for number in range(len(self.lives))]
        return [Looks(self.issued_ms[rows], value[rows].astype(np.float64)) for rows in mine]


def read_history(connection: Connection, asset_class: AssetClass) -> History:
    """Lives that ended in failure and what was issued during them, from the state database."""
    stored = load_beliefs(connection, asset_class.name)
    if stored is None:
        raise ValueError(f"nothing was ever concluded about class {asset_class.name}")
    length = dict(zip(stored.beliefs.serial, stored.beliefs.exposure, strict=True))
    failed = connection.execute(
        select(events.c.serial, events.c.at_ms).where(events.c.kind == "failed", events.c.voided_ms.is_(None))
    )
    ended = {row.serial: row.at_ms for row in failed if row.serial in length}
    serials = sorted(ended)
    number = {serial: index for index, serial in enumerate(serials)}
    rows = connection.execute(select(prognoses).order_by(prognoses.c.issued_ms, prognoses.c.tick)).all()
    issued = [row for row in rows if row.serial in number and row.issued_ms < ended[row.serial]]
    fleet = current_fleet(connection, current_plant(connection))
    lives = []
    for serial in serials:
        mine = [row for row in issued if row.serial == serial]
        times = [fleet.lives[serial].from_ms, *(row.issued_ms for row in mine), ended[serial]]
        ages = [0.0, *(row.exposure for row in mine), length[serial]]
        lives.append(FinishedLife(np.array(times, dtype=np.int64), np.array(ages)))
    return History(
        serials=serials,
        lives=lives,
        life=np.array([number[row.serial] for row in issued], dtype=np.intp),
        issued_ms=np.array([row.issued_ms for row in issued], dtype=np.int64),
        exposure=np.array([row.exposure for row in issued], dtype=np.float64),
        preferred_ms=np.array([row.preferred_ms for row in issued], dtype=np.int64),
        quantiles=np.array([row.quantiles for row in issued], dtype=np.float64).reshape(len(issued), -1),
    )


def forecast_scores(history: History, horizon: float, rivals: Rivals) -> tuple[Scores, Scores]:
    """How right the issued forecasts were, and those of somebody who knew nothing but the age."""
    ours = score(history.quantiles, history.remaining, history.life, horizon).mean()
    by_age = age_only(np.asarray(rivals.lengths), history.exposure)
    return ours, score(by_age, history.remaining, history.life, horizon).mean()


def alert_report(
    connection: Connection, history: History, asset_class: AssetClass, rule: str, rule_horizon: float
) -> tuple[list[dict[str, Any]], AlertOutcomes]:
    """The alerts of one rule on machines that failed, and what became of them."""
    number = {serial: index for index, serial in enumerate(history.serials)}
    rows = connection.execute(select(alerts).where(alerts.c.rule == rule).order_by(alerts.c.opened_ms)).all()
    mine = [row for row in rows if row.serial in number]
    outcomes = alert_outcomes(
        life=np.array([number[row.serial] for row in mine], dtype=np.intp),
        opened_ms=np.array([row.opened_ms for row in mine], dtype=np.int64),
        closed_ms=np.array([-1 if row.closed_ms is None else row.closed_ms for row in mine], dtype=np.int64),
        lives=history.lives,
        notice_ms=asset_class.notice_ms,
        rule_horizon=rule_horizon,
    )
    listed = [
        {"asset": row.serial, "target": row.target, "opened_ms": row.opened_ms, "lead": round(float(lead), 1)}
        for row, lead in zip(mine, outcomes.lead, strict=True)
    ]
    return listed, outcomes


def policy_costs(history: History, asset_class: AssetClass, rivals: Rivals) -> dict[str, float]:
    """Cost per life step of our windows and of their rivals, in the currency of the plant."""
    costs, lives, notice = asset_class.costs, history.lives, asset_class.notice_ms
    if costs is None or not lives:
        return {}
    outcomes = {
        "ours": by_window(lives, history.looks(history.preferred_ms), notice),
        "run_to_failure": run_to_failure(lives),
        "fixed_interval": fixed_interval(lives, rivals.interval),
        "rul_threshold": by_threshold(lives, history.looks(history.quantiles[:, MEDIAN]), notice, rivals.threshold),
        "perfect_foresight": perfect_foresight(lives),
    }
    return {name: outcome.cost_rate(costs.planned, costs.unplanned) for name, outcome in outcomes.items()}
