"""How lives ended, and what had been issued about them: what forecasts are judged by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from pdm.installations import NEVER_MS, Fleet, Life
from pdm.plant import AssetClass
from pdm.prognosis import LEVELS
from pdm.state.schema import alerts, prognoses
from pdm.state.steps import history
from pdm.state.told import MOST_LISTED
from pdm.steps import Steps


class EndedLife(NamedTuple):
    """A life that is over: by a failure, or censored by a replacement or repair. `used` is its length [life steps]."""

    serial: str
    life: Life
    used: float


@dataclass(frozen=True)
class Outcomes:
    """The ended lives of a class, and the m forecasts that were issued in them.

    Attributes:
        of: `[m]` index in `lives`.
        ids, models: of each forecast.
        issued_ms: `[m]`.
        quantiles: `[m, 21]` [life steps].
        remaining: `[m]` what was left of the life [life steps].
    """

    lives: Sequence[EndedLife]
    of: NDArray[np.int64]
    ids: Sequence[str]
    models: Sequence[str]
    issued_ms: NDArray[np.int64]
    quantiles: NDArray[np.float64]
    remaining: NDArray[np.float64]


class StoredAlert(NamedTuple):
    """When an alert of a machine was open."""

    id: str
    serial: str
    target: str
    opened_ms: int
    closed_ms: int | None
    title: str


def outcomes(connection: Connection, asset_class: AssetClass, fleet: Fleet) -> Outcomes:
    """What came of the forecasts of a class, as steps and events stand now."""
    ended = [(serial, life) for serial, life in fleet.all_lives_of(asset_class.name) if life.to_ms < NEVER_MS]
    serials = sorted({serial for serial, _ in ended})
    steps = history(connection, asset_class, serials)
    shares = [_shares(steps, serials.index(serial), life) for serial, life in ended]
    lives = [EndedLife(*one, float(used.sum())) for one, (_, used) in zip(ended, shares, strict=True)]
    wanted = select(*(prognoses.c[name] for name in _COLUMNS)).where(prognoses.c.refusal == "none")
    if len(serials) <= MOST_LISTED:
        wanted = wanted.where(prognoses.c.serial.in_(serials))
    rows, found = connection.execute(wanted.order_by(prognoses.c.issued_ms, prognoses.c.id)).all(), []
    numbers: dict[str, list[int]] = {serial: [] for serial in serials}
    for number, (serial, _) in enumerate(ended):
        numbers[serial].append(number)
    for row in rows:
        for number in numbers.get(row.serial, ()):
            if ended[number][1].from_ms <= row.issued_ms < ended[number][1].to_ms:
                start_ms, used = shares[number]
                left = float(used[np.searchsorted(start_ms, row.step_start_ms, side="right") :].sum())
                found.append((number, row.id, row.model, row.issued_ms, row.quantiles, left))
    of, ids, models, issued, quantiles, remaining = zip(*found, strict=True) if found else ((),) * 6
    return Outcomes(
        lives=lives,
        of=np.array(of, dtype=np.int64),
        ids=ids,
        models=models,
        issued_ms=np.array(issued, dtype=np.int64),
        quantiles=np.array(quantiles, dtype=np.float64).reshape(len(ids), len(LEVELS)),
        remaining=np.array(remaining, dtype=np.float64),
    )


_COLUMNS = ("id", "serial", "model", "issued_ms", "step_start_ms", "quantiles")


def alerts_about(connection: Connection, serials: Sequence[str]) -> list[StoredAlert]:
    """Every alert of these machines, by the time of its opening."""
    query = select(*(alerts.c[name] for name in StoredAlert._fields)).order_by(alerts.c.opened_ms, alerts.c.id)
    wanted = set(serials)
    return [StoredAlert(*row) for row in connection.execute(query) if row.serial in wanted]


def _shares(steps: Steps, row: int, life: Life) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Start of each step of a life, and the life used in it; in a gap as much as in other steps on average."""
    mine = (steps.row == row) & (steps.start_ms >= life.from_ms) & (steps.start_ms < life.to_ms)
    share = steps.share[mine]
    usual = float(np.nanmean(share)) if np.isfinite(share).any() else 0.0
    return steps.start_ms[mine], np.where(np.isnan(share), usual, share)
