"""What a tick concluded, written down in one transaction: steps, prognoses, alerts, advice, windows, beliefs, cursor.

People act while a tick computes. What they can change is read again here, inside the writing transaction, and intents
are applied to that: nobody's acknowledgement is undone, no alert opens twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import features, rules, twin
from pdm.beliefs import Beliefs, names_behind
from pdm.closing import Changed, Closed
from pdm.cohort import Cohort, checkpoint_due, checkpoint_name, ended_in, frame_name
from pdm.installations import NEVER_MS
from pdm.plant import ANY_TARGET
from pdm.prognosis import Basis, Refusal, departing, learned
from pdm.prognosis.learned import Driver, Model
from pdm.recommend import Recommendation, recommendation
from pdm.respond import end_shelving
from pdm.rules import Change, Intent
from pdm.rules.ruleset import DepartureRule, Rule
from pdm.services import Services
from pdm.state import cohorts, told
from pdm.state.plants import CurrentPlant
from pdm.state.schema import next_number
from pdm.state.steps import store_steps
from pdm.state.told import TICK, AlertState, InterventionStatus, derived_id
from pdm.windows import Windows, intervention
from pdm.windows.advice import likely_mode

_UNKNOWN = "the plant no longer knows this machine"


@dataclass(frozen=True)
class Conclusions:
    """What a tick found out about a cohort, and is about to record."""

    at_ms: int
    changed: Changed
    closed: Closed
    issued: NDArray[np.bool_]
    believed: Beliefs
    intents: Sequence[Intent]


@dataclass(frozen=True)
class _Recording:
    """One recording on its way."""

    connection: Connection
    machines: Cohort
    plant: CurrentPlant
    made: Conclusions
    tick: int
    wall_ms: int

    @property
    def plant_version(self) -> str:
        return f"{self.plant.plant.version[:12]}-{self.plant.rules.version[:12]}"

    @cached_property
    def likely(self) -> NDArray[np.int64]:
        """Index of the failure mode that most likely comes first `[n]`, -1 where that is not known."""
        return likely_mode(self.made.believed.prognosis)

    @cached_property
    def drivers(self) -> dict[int, list[Driver]]:
        """Why the learned forecasts are what they are, by row, where something is told."""
        model, state = self.machines.model, self.machines.twin.features
        told_of = {intent.row for intent in self.made.intents if intent.change != Change.CLOSE}
        rows = np.array(sorted(told_of), dtype=np.int64)
        rows = rows[self.made.believed.prognosis.basis[rows] == Basis.LEARNED]
        if model is None or state is None or not len(rows):
            return {}
        seen, complete = features.emit(model.frame, state, rows), self.machines.complete[rows]
        return dict(zip(rows.tolist(), learned.drivers(model, seen, complete), strict=True))

    def departing(self, row: int) -> list[Driver]:
        """Which sensors make a machine depart from its early life."""
        model, state = self.machines.model, self.machines.twin.features
        if model is None or state is None or model.frame.watch is None:
            return []
        seen = features.emit(model.frame, state, np.array([row]))
        return departing.drivers(model.frame, model.frame.watch, seen)[0]


def record(
    connection: Connection, services: Services, machines: Cohort, plant: CurrentPlant, made: Conclusions
) -> tuple[int, int]:
    """Write down everything; returns the number of the tick and how many changes of alerts it holds."""
    tick = next_number(connection, "tick")
    recording = _Recording(connection, machines, plant, made, tick, services.clock.wall_ms())
    if len(made.closed.made):
        columns = made.closed.made.to_columns(machines.serials)
        store_steps(connection, machines.asset_class, tick, made.at_ms, columns)
    told.mark_said_without(connection, _known_only_now(recording), made.at_ms)
    told.add_prognoses(connection, _prognosis_rows(recording))
    changes = sum(_apply(recording, intent) for intent in made.intents) + _end_matters(recording)
    changes += end_shelving(connection, plant.rules, made.at_ms, recording.wall_ms)
    _publish_windows(recording)
    cohorts.store_beliefs(connection, machines.asset_class.name, tick, made.at_ms, _facts(recording), made.believed)
    cohorts.store_cursors(connection, machines.asset_class.name, made.changed.cursors)
    if checkpoint_due(machines, tick):
        columns = twin.to_columns(machines.twin, machines.serials)
        frame = checkpoint_name(machines.asset_class, frame_name(machines.model))
        cohorts.store_checkpoint(connection, machines.asset_class.name, tick, frame, columns)
    return tick, changes


def _known_only_now(recording: _Recording) -> dict[str, int]:
    """From when on the past of a machine is another than was known, by serial: what was folded again."""
    machines, made = recording.machines, recording.made
    again = made.believed.revision != machines.before.revision
    rows = np.flatnonzero(again & (made.changed.earliest_ms < NEVER_MS))
    return dict(zip(machines.serials[rows].tolist(), made.changed.earliest_ms[rows].tolist(), strict=True))


def prognosis_id(recording: _Recording, row: int) -> str:
    """The id of the prognosis of a machine after its latest step."""
    believed = recording.made.believed
    serial, revision = believed.serial[row], int(believed.revision[row])
    model = frame_name(recording.machines.model)
    return derived_id("prognosis", serial, ANY_TARGET, int(believed.last_step_ms[row]), revision, model)


def _facts(recording: _Recording) -> dict[str, Any]:
    """The names behind the columns of the beliefs."""
    asset_class, model = recording.machines.asset_class, recording.machines.model
    return names_behind(asset_class, [rule.name for rule in recording.plant.rules_of(asset_class)]) | {
        "model": None if model is None else model.version,
        "plant": recording.plant_version,
        "plant_number": recording.plant.number,
        "widening": recording.machines.widening,
        "ended": ended_in(asset_class),
    }


def _prognosis_rows(recording: _Recording) -> list[dict[str, Any]]:
    believed, asset_class = recording.made.believed, recording.machines.asset_class
    likely = recording.likely
    return [
        {
            "id": prognosis_id(recording, row),
            "tick": recording.tick,
            "serial": believed.serial[row],
            "target": ANY_TARGET,
            "step_start_ms": int(believed.last_step_ms[row]),
            "twin_revision": int(believed.revision[row]),
            "issued_ms": recording.made.at_ms,
            "exposure": float(believed.exposure[row]),
            "basis": Basis(int(believed.prognosis.basis[row])).name.lower(),
            "refusal": Refusal(int(believed.prognosis.refusal[row])).code,
            "model": frame_name(recording.machines.model),
            "plant_version": recording.plant_version,
            "quantiles": believed.prognosis.quantiles[row].tolist(),
            "mode": asset_class.failure_modes[likely[row]].name if likely[row] >= 0 else None,
            "duty_rate": _or_none(believed.duty_rate[row]),
            "preferred_ms": int(believed.windows.preferred_ms[row]),
        }
        for row in np.flatnonzero(recording.made.issued).tolist()
    ]


def _apply(recording: _Recording, intent: Intent) -> int:
    """Apply one intent to the alert as people have left it; returns how many changes it made (0 or 1)."""
    serial = recording.machines.serials[intent.row]
    live = [
        alert
        for alert in told.live_alerts(recording.connection, [serial])
        if (alert.target, alert.rule) == (intent.target, intent.rule)
    ]
    if intent.change == Change.OPEN and not live:
        _open(recording, intent)
    elif intent.change == Change.RISE and live:
        _rise(recording, intent, live[0])
    elif intent.change == Change.CLOSE and live and recording.machines.in_service[intent.row]:
        _close(recording, live[0].id, "cleared", "the condition no longer holds")
    else:
        return 0
    return 1


def _open(recording: _Recording, intent: Intent) -> None:
    rule, row, at_ms = _rule(recording, intent.rule), intent.row, recording.made.at_ms
    believed = recording.made.believed
    serial = believed.serial[row]
    alert_id = derived_id("alert", serial, intent.target, intent.rule, at_ms)
    advice = _advise(recording, intent, alert_id)
    alert = {
        "id": alert_id,
        "serial": serial,
        "target": intent.target,
        "rule": intent.rule,
        "state": AlertState.OPEN,
        "severity": intent.severity.code,
        "opened_ms": at_ms,
        "opened_exposure": float(believed.exposure[row]),
        "updated_ms": at_ms,
        "title": advice.title,
        "prognosis_id": prognosis_id(recording, row) if recording.made.issued[row] else None,
        "plant_version": recording.plant_version,
        "facts": dict(intent.facts),
    }
    told.add_alert(recording.connection, alert, advice.text, rule.routes, recording.wall_ms)


def _rise(recording: _Recording, intent: Intent, alert: Any) -> None:
    """More urgent than before: told again, whoever acknowledged or shelved it."""
    at_ms, connection = recording.made.at_ms, recording.connection
    advice = _advise(recording, intent, alert.id)
    told.change_alert(
        connection,
        alert.id,
        state=AlertState.OPEN,
        severity=intent.severity.code,
        updated_ms=at_ms,
        acknowledged_by=None,
        shelved_until_ms=None,
        title=advice.title,
    )
    routes = _rule(recording, intent.rule).routes
    told.add_transition(
        connection, alert.id, "raised", at_ms, TICK, advice.text, intent.severity.code, routes, recording.wall_ms
    )


def _close(recording: _Recording, alert_id: str, kind: str, reason: str) -> None:
    """The matter is over, and what was advised because of it no longer stands."""
    at_ms = recording.made.at_ms
    told.change_alert(recording.connection, alert_id, state=AlertState.CLOSED, updated_ms=at_ms, closed_ms=at_ms)
    told.add_transition(recording.connection, alert_id, kind, at_ms, TICK, reason, "none")
    told.close_recommendations(recording.connection, alert_id)


def _advise(recording: _Recording, intent: Intent, alert_id: str) -> Recommendation:
    """Put into words what is told, and keep it."""
    row, machines, believed = intent.row, recording.machines, recording.made.believed
    rule, drivers = _rule(recording, intent.rule), recording.drivers.get(intent.row, [])
    asset = machines.fleet.assets[believed.serial[row]]
    likely = int(recording.likely[row])
    advice = recommendation(
        plant=recording.plant.plant,
        asset=asset,
        mode=intervention.mode_of(machines.asset_class, likely),
        intent=intent,
        rule=rule,
        prognosis=believed.prognosis.quantiles[row],
        basis=Basis(int(believed.prognosis.basis[row])),
        lives=_lives_behind(machines.model, rule),
        duty_rate=float(believed.duty_rate[row]),
        window=believed.windows.row(row),
        drivers=recording.departing(row) if isinstance(rule, DepartureRule) else drivers,
        now_ms=recording.made.at_ms,
    )
    row_id = derived_id("recommendation", alert_id, recording.made.at_ms)
    told.put_recommendation(
        recording.connection,
        {
            "id": row_id,
            "serial": asset.serial,
            "target": intent.target,
            "alert_id": alert_id,
            "prognosis_id": prognosis_id(recording, row),
            "at_ms": recording.made.at_ms,
            "body": {field.name: getattr(advice, field.name) for field in fields(advice)},
        },
    )
    return advice


def _end_matters(recording: _Recording) -> int:
    """Close alerts that nothing keeps open any more: the life that they were about is over, the rule now watches
    something else, the machine is unknown since an event was taken back."""
    ended = 0
    for alert in told.live_alerts(recording.connection):
        kind, reason = _why_closed(recording, alert)
        if reason:
            _close(recording, alert.id, kind, reason)
            ended += 1
    _withdraw_unknown(recording)
    return ended


def _why_closed(recording: _Recording, alert: Any) -> tuple[str, str]:
    """Kind and reason of the last transition of a live alert; empty while it stands, or belongs to another class."""
    machines, row = recording.machines, recording.machines.row_of.get(alert.serial)
    if alert.serial not in machines.fleet.assets:
        return "ended", _UNKNOWN
    if row is None:
        return "", ""
    if not machines.in_service[row] or alert.opened_ms < machines.life_from_ms[row]:
        return "ended", _why_ended(machines, row)
    watching = recording.plant.rules_of(machines.asset_class)
    watched = {(rule.name, rules.target_of(rule, str(machines.source[row]))) for rule in watching}
    return ("", "") if (alert.rule, alert.target) in watched else ("ended", "the rule no longer watches this")


def _withdraw_unknown(recording: _Recording) -> None:
    """Withdraw the windows of machines that nobody knows any more; what a planner has answered needs attention."""
    connection, at_ms = recording.connection, recording.made.at_ms
    unknown = told.advised_serials(connection) - recording.machines.fleet.assets.keys()
    windows = told.open_interventions(connection, sorted(unknown)) if unknown else []
    changed = {w.id: _no_longer_standing(w, _UNKNOWN, at_ms) for w in windows if w.attention != _UNKNOWN}
    if changed:
        told.change_interventions(connection, changed)


def _why_ended(machines: Cohort, row: int) -> str:
    life = machines.fleet.lives[machines.serials[row]]
    if life.failed:
        return "the machine failed"
    return "the machine was repaired" if machines.in_service[row] else "the machine was taken out"


def _publish_windows(recording: _Recording) -> None:
    """Bring the feed up to date where another window is shown than before: `published` moves on material change."""
    connection, believed = recording.connection, recording.made.believed
    now, was = believed.published, recording.machines.before.published
    rows = np.flatnonzero(_differ(now, was))
    if not len(rows):
        return
    known = told.standing_interventions(connection, believed.serial[rows].tolist())
    shown = now.preferred_ms[rows] >= 0
    bodies = dict(zip(believed.serial[rows[shown]], _window_bodies(recording, rows[shown]), strict=True))
    gone = {row: known[serial] for row in rows[~shown] if (serial := believed.serial[row]) in known}
    told.add_interventions(connection, [_new(recording, body) for key, body in bodies.items() if key not in known])
    told.change_interventions(
        connection,
        {known[key].id: _advised_again(recording, known[key], body) for key, body in bodies.items() if key in known}
        | {window.id: _no_longer_advised(recording, row, window) for row, window in gone.items()},
    )


def _differ(now: Windows, was: Windows) -> NDArray[np.bool_]:
    """Where anything of two windows of the same machines differs `[n]`."""
    different = np.zeros(len(now), dtype=np.bool_)
    for column in fields(Windows):
        a, b = getattr(now, column.name), getattr(was, column.name)
        different |= (a != b) & ~((a != a) & (b != b))  # NaN is as it was
    return different


def _window_bodies(recording: _Recording, rows: NDArray[np.intp]) -> list[dict[str, Any]]:
    """What is advised for machines with a window, in the order of `rows`."""
    believed, machines, plant = recording.made.believed, recording.machines, recording.plant.plant
    modes = [intervention.mode_of(machines.asset_class, likely) for likely in recording.likely[rows]]
    finishes = intervention.finishes(plant, machines.asset_class, modes, believed.published.latest_ms[rows])
    windows = believed.published.take(rows).rows()
    return [
        intervention.advised(
            plant,
            machines.fleet.assets[believed.serial[row]],
            mode,
            window,
            finish_ms,
            believed.prognosis.quantiles[row],
            recording.made.at_ms,
            intervention.Versions(
                prognosis_id(recording, row), recording.tick, frame_name(machines.model), recording.plant_version
            ),
        )
        for row, mode, window, finish_ms in zip(rows.tolist(), modes, windows, finishes.tolist(), strict=True)
    ]


def _new(recording: _Recording, body: dict[str, Any]) -> dict[str, Any]:
    at_ms = recording.made.at_ms
    return {
        "id": derived_id("intervention", body["serial"], ANY_TARGET, at_ms),
        "serial": body["serial"],
        "target": ANY_TARGET,
        "status": InterventionStatus.PROPOSED,
        "updated_ms": at_ms,
        "advised": body,
    }


def _advised_again(recording: _Recording, known: Any, body: dict[str, Any]) -> dict[str, Any]:
    why = intervention.attention(known.committed, body) if known.committed else None
    return {"advised": body, "attention": why, "updated_ms": recording.made.at_ms}


def _no_longer_advised(recording: _Recording, row: int, known: Any) -> dict[str, Any]:
    in_service = recording.made.believed.in_service[row]
    why = "no longer advised" if in_service else _why_ended(recording.machines, row)
    return _no_longer_standing(known, why, recording.made.at_ms)


def _no_longer_standing(known: Any, why: str, at_ms: int) -> dict[str, Any]:
    """Withdraw a window that nobody has answered; of another one say why it needs attention."""
    if known.status == InterventionStatus.PROPOSED:
        return {"status": InterventionStatus.WITHDRAWN, "updated_ms": at_ms}
    return {"attention": why, "updated_ms": at_ms}


def _lives_behind(model: Model | None, rule: Rule) -> int:
    """How many lives that a model was learned from what is told rests on."""
    watches = model is not None and model.head is None
    return 0 if model is None or (watches and not isinstance(rule, DepartureRule)) else model.facts.lives


def _rule(recording: _Recording, name: str) -> Rule:
    return next(rule for rule in recording.plant.rules.rules if rule.name == name)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
