"""What another model would change for people if it were activated now: forecasts, alerts, windows. Nothing is written.

Its twins are folded from the stored steps, as a tick would after the activation, and judged by the rules in force as of
the last tick. A rule that asks for its condition to hold for a while opens nothing at once, and so is not among them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import cohort, rules
from pdm.cohort import Cohort
from pdm.plant import AssetClass
from pdm.prognosis import MEDIAN, Prognosis, Refusal, learned
from pdm.prognosis.learned import Model
from pdm.rules import Change
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import CurrentPlant, current_fleet
from pdm.tick import forecast_moved, rule_memory, situation
from pdm.windows import Windows, advice

_WORDS = {Change.OPEN: "opens", Change.RISE: "rises", Change.CLOSE: "closes"}


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a machine: median remaining life [life steps], refusal by its code, preferred start; None where
    there is none."""

    median: float | None
    refusal: str | None
    preferred_ms: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A machine about which people would be told something else; `alerts` as "soon opens"."""

    serial: str
    now: Said
    then: Said
    alerts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """How many machines there are, how many would have another median by more than a tenth, and which would be told of
    otherwise: another alert, another window, a refusal that comes or goes."""

    machines: int
    other_medians: int
    differences: tuple[Difference, ...]


def impact_of(connection: Connection, plant: CurrentPlant, asset_class: AssetClass, model: Model) -> Impact:
    """What this model would change."""
    stored = load_beliefs(connection, asset_class.name)
    if stored is None:
        return Impact(0, 0, ())
    fleet, watching, at_ms = current_fleet(connection, plant), plant.rules_of(asset_class), stored.at_ms
    machines = cohort.restored(connection, plant, asset_class, model, fleet, fleet.serials_of(asset_class.name))
    before, moved = machines.before, machines.twin.first_start_ms >= 0
    prognosis = forecast_moved(machines, moved, before.last_reading_ms, at_ms, learned.infer)
    memory = rule_memory(connection, machines, watching)
    seen = situation(machines, prognosis, before.last_reading_ms, at_ms)
    intents = rules.evaluate(watching, seen, memory)[1]
    windows = advice.windows_of(plant.plant, asset_class, model, prognosis, machines.twin.duty_rate, at_ms)
    published = advice.published(before.published, windows, prognosis, machines.in_service, at_ms)
    alerts: dict[int, list[str]] = {}
    for intent in intents:
        alerts.setdefault(intent.row, []).append(f"{intent.rule} {_WORDS[intent.change]}")
    medians = [one.quantiles[:, MEDIAN] for one in (before.prognosis, prognosis)]
    other = np.abs(medians[1] - medians[0]) > np.maximum(medians[0], medians[1]) / 10
    rows = np.flatnonzero(_told_otherwise(machines, prognosis, published, list(alerts)))
    return Impact(
        len(machines.serials),
        int(other.sum()),
        tuple(
            Difference(
                str(machines.serials[row]),
                _said(before.prognosis, before.published, row),
                _said(prognosis, published, row),
                tuple(alerts.get(row, ())),
            )
            for row in rows.tolist()
        ),
    )


def _told_otherwise(
    machines: Cohort, prognosis: Prognosis, published: Windows, alerted: list[int]
) -> NDArray[np.bool_]:
    before = machines.before
    other = (prognosis.refusal != before.prognosis.refusal) | (published.preferred_ms != before.published.preferred_ms)
    other[alerted] = True
    return np.asarray(other & machines.in_service)


def _said(prognosis: Prognosis, published: Windows, row: int) -> Said:
    refusal, median = Refusal(int(prognosis.refusal[row])), float(prognosis.quantiles[row, MEDIAN])
    preferred = int(published.preferred_ms[row])
    return Said(
        median=None if np.isnan(median) else median,
        refusal=None if refusal == Refusal.NONE else refusal.code,
        preferred_ms=None if preferred < 0 else preferred,
    )
