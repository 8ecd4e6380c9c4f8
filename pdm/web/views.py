"""What pages and API show, composed from one snapshot of the state: the same prognosis, window and words everywhere.

The types of what comes out are in `pdm.web.shapes`; the fleet as a ranked list is in `pdm.web.fleet`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from pdm.beliefs import Beliefs
from pdm.errors import NotFoundError
from pdm.installations import ALWAYS_MS, NEVER_MS
from pdm.learn import FEWEST_FAILURES
from pdm.plant import Asset, AssetClass
from pdm.prognosis import MEDIAN, Basis, Refusal
from pdm.recommend import readiness
from pdm.rules import Severity
from pdm.services import Services
from pdm.state import schema, told
from pdm.state.told import AlertState
from pdm.web import snapshot
from pdm.web.forecasts import Until, instant, known, prognosis_view, risks, rul_of, usual_times, window_view
from pdm.web.shapes import (
    AdviceBody,
    AlertDetail,
    AlertView,
    AnswerView,
    AssetView,
    CommittedView,
    CostView,
    EdgesView,
    EventView,
    InterventionView,
    IssuedView,
    LifeView,
    OutcomeView,
    PrognosisView,
    ReadinessView,
    RecommendationView,
    ReplayView,
    RulView,
    SensorView,
    TransitionView,
    TwinView,
    WindowView,
)
from pdm.web.snapshot import ClassBeliefs, Snapshot

WATCHED = (Refusal.NO_MODEL, Refusal.HISTORY_INCOMPLETE)
"""Refusals that last: such a machine is watched by its limits, and the absence of a date is no news."""


def asset_view(services: Services, serial: str) -> AssetView:
    """All that is shown of one machine.

    Raises:
        NotFoundError: no such machine.
    """
    return asset_of(snapshot.latest(services), services, serial)


def twin_view(services: Services, serial: str) -> TwinView:
    """The latest belief about one machine.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
    """
    return twin_in(snapshot.latest(services), serial)


def asset(now: Snapshot, serial: str) -> Asset:
    """The machine of that serial.

    Raises:
        NotFoundError: there is none.
    """
    found = now.fleet.assets.get(serial)
    if found is None:
        raise NotFoundError(f"there is no asset {serial!r}")
    return found


def asset_of(now: Snapshot, services: Services, serial: str) -> AssetView:
    machine = asset(now, serial)
    asset_class = now.current.plant.class_of(machine)
    alerts = tuple(alert_view(row) for row in now.alerts.get(serial, ()))
    beliefs, row = belief_of(now.classes[machine.class_name], serial)
    in_service = beliefs is None or bool(beliefs.in_service[row])
    refusal = Refusal.NO_READINGS if beliefs is None else Refusal(int(beliefs.prognosis.refusal[row]))
    basis = Basis.NONE if beliefs is None else Basis(int(beliefs.prognosis.basis[row]))
    return AssetView(
        serial=serial,
        class_name=machine.class_name,
        class_title=asset_class.title or asset_class.name,
        slot=machine.slot,
        source=now.fleet.source_of(serial, services.clock.plant_ms()),
        place=machine.place,
        criticality=machine.criticality,
        external={system: dict(keys) for system, keys in machine.external.items()},
        in_service=in_service,
        life=_life(now, serial),
        attention=attention(alerts, refusal, in_service),
        readiness=_readiness(now, services, asset_class, basis, refusal),
        twin=twin_of(now, machine),
        window=window_of(now, machine),
        alerts=alerts,
        recommendations=tuple(recommendation_view(row) for row in now.recommendations.get(serial, ())),
        interventions=tuple(intervention_view(row) for row in now.interventions.get(serial, ())),
    )


def twin_in(now: Snapshot, serial: str) -> TwinView:
    """The latest belief about a machine.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
    """
    twin = twin_of(now, asset(now, serial))
    if twin is None:
        raise NotFoundError(f"no tick has seen {serial} yet")
    return twin


def prognosis_until(now: Snapshot, serial: str, until: Sequence[Until]) -> PrognosisView:
    """The prognosis of a machine, with the risk of failing before these times too."""
    prognosis = twin_in(now, serial).prognosis
    beliefs, row = belief_of(now.classes[asset(now, serial).class_name], serial)
    if beliefs is None:
        return prognosis
    asked = risks(beliefs.prognosis.quantiles[row], float(beliefs.duty_rate[row]), prognosis.made_at, until)
    return replace(prognosis, risks=(*prognosis.risks, *asked))


def twin_of(now: Snapshot, machine: Asset) -> TwinView | None:
    """The latest belief about a machine, None before the first tick that saw it."""
    of_class = now.classes[machine.class_name]
    beliefs, row = belief_of(of_class, machine.serial)
    if beliefs is None or of_class.stored is None:
        return None
    asset_class, plant, at_ms = of_class.asset_class, now.current.plant, of_class.stored.at_ms
    return TwinView(
        serial=machine.serial,
        tick=of_class.stored.tick,
        revision=int(beliefs.revision[row]),
        made_at=at_ms,
        seen_until=instant(beliefs.last_end_ms[row]),
        steps=int(beliefs.steps[row]),
        exposure=float(beliefs.exposure[row]),
        unit=asset_class.life_step.unit,
        used_life=used_life(float(beliefs.exposure[row]), float(beliefs.prognosis.quantiles[row, MEDIAN])),
        complete=bool(beliefs.complete[row]),
        running_share=known(beliefs.share[row]),
        duty_rate=known(beliefs.duty_rate[row]),
        sensors=sensor_views(asset_class, beliefs.latest[row].tolist()),
        prognosis=prognosis_view(
            asset_class,
            plant.time_zone,
            at_ms,
            beliefs.prognosis,
            row,
            float(beliefs.duty_rate[row]),
            usual_times(plant, asset_class, at_ms),
        ),
    )


def window_of(now: Snapshot, machine: Asset) -> WindowView | None:
    """The window of a machine as the feed shows it: it moves on material change only."""
    beliefs, row = belief_of(now.classes[machine.class_name], machine.serial)
    return None if beliefs is None else window_view(beliefs.published, row, now.current.plant.currency)


def belief_of(of_class: ClassBeliefs, serial: str) -> tuple[Beliefs | None, int]:
    """The beliefs that hold a machine and its row in them, (None, -1) before the first tick that saw it."""
    row = of_class.row_of.get(serial, -1)
    return (None, -1) if row < 0 or of_class.stored is None else (of_class.stored.beliefs, row)


def sensor_views(asset_class: AssetClass, latest: list[float]) -> tuple[SensorView, ...]:
    sensors = {sensor.name: sensor for sensor in asset_class.sensors}
    return tuple(
        SensorView(column.name, column.sensor, sensor.title or sensor.name, sensor.unit, known(value))
        for column, value in zip(asset_class.columns, latest, strict=True)
        for sensor in (sensors[column.sensor],)
    )


def used_life(exposure: float, median: float | None) -> float | None:
    """Life used so far as a share of it and the median of what remains."""
    total = exposure + (float("nan") if median is None else median)
    return known(exposure / total) if total > 0 else None


def attention(alerts: tuple[AlertView, ...], refusal: Refusal, in_service: bool) -> str | None:
    """Whether somebody must look: `now`, `soon`, `blind` (no forecast although it should have one) or None."""
    live = [alert for alert in alerts if alert.state in (AlertState.OPEN, AlertState.ACKNOWLEDGED)]
    if any(alert.state == AlertState.OPEN and alert.severity in _URGENT for alert in live):
        return "now"
    if live:
        return "soon"
    return "blind" if in_service and refusal not in (Refusal.NONE, Refusal.FAILED, *WATCHED) else None


_URGENT = (Severity.NOW.code, Severity.SHIFT.code)


def gravest(alerts: tuple[AlertView, ...]) -> AlertView | None:
    """The alert to show where there is room for one."""
    rank = {severity.code: int(severity) for severity in Severity}
    live = [alert for alert in alerts if alert.state != AlertState.RESOLVED]
    return max(live, key=lambda alert: rank.get(alert.severity, 0), default=None)


def alert_view(row: Row[Any]) -> AlertView:
    return AlertView(
        id=row.id,
        revision=row.revision,
        serial=row.serial,
        target=row.target,
        rule=row.rule,
        title=row.title,
        state=row.state,
        severity=row.severity,
        opened_at=row.opened_ms,
        updated_at=row.updated_ms,
        closed_at=row.closed_ms,
        acknowledged_by=row.acknowledged_by,
        shelved_until=row.shelved_until_ms,
        prognosis_id=row.prognosis_id,
        plant_version=row.plant_version,
        facts=row.facts,
    )


def alert_detail(connection: Connection, alert_id: str) -> AlertDetail:
    """An alert with its whole story.

    Raises:
        NotFoundError: no such alert.
    """
    row = told.get(connection, schema.alerts, alert_id)
    story = told.alert_transitions(connection, alert_id)
    changes = tuple(TransitionView(t.ordinal, t.kind, t.at_ms, t.who, t.reason, t.severity) for t in story)
    return AlertDetail(row.revision, alert_view(row), changes)


def recommendation_view(row: Row[Any]) -> RecommendationView:
    sentences = dict(row.body)
    answer = sentences.pop("answer", None)
    return RecommendationView(
        id=row.id,
        revision=row.revision,
        serial=row.serial,
        target=row.target,
        state=row.state,
        at=row.at_ms,
        alert_id=row.alert_id,
        prognosis_id=row.prognosis_id,
        answer=answer and AnswerView(who=answer["who"], at=answer["at_ms"], reason=answer["reason"]),
        body=AdviceBody(**sentences),
    )


def intervention_view(row: Row[Any]) -> InterventionView:
    advice, outcome = row.advised, row.outcome
    rul, committed = advice["rul"], row.committed
    return InterventionView(
        id=row.id,
        revision=row.revision,
        updated_at=row.updated_ms,
        status=row.status,
        serial=row.serial,
        target=row.target,
        earliest_start=advice["earliest_start_ms"],
        preferred_start=advice["preferred_start_ms"],
        latest_start=advice["latest_start_ms"],
        latest_finish=advice["latest_finish_ms"],
        priced_at=advice["priced_at_ms"],
        rul=RulView(rul["p10"], rul["p50"], rul["p90"], rul["unit"]),
        horizon=rul["horizon"],
        failure_probability=EdgesView(**advice["failure_probability"]),
        cost=CostView(**advice["cost"]),
        bounded_by=EdgesView(**advice["bounded_by"]),
        replay=ReplayView(**advice["replay"]),
        committed=committed and CommittedView(committed["start_ms"], committed["finish_ms"], committed["who"]),
        attention=row.attention,
        external=row.external,
        outcome=outcome and _outcome_view(outcome),
        **{name: tuple(advice[name]) for name in ("place", "skills", "parts")},
        **{name: advice[name] for name in _AS_ADVISED},
    )


_AS_ADVISED = (
    "functional_location",
    "asset_external",
    "failure_mode",
    "failure_mode_title",
    "mechanism",
    "cause",
    "action",
    "duration_hours",
    "crew",
    "machine_stopped",
    "priority",
    "currency",
)


def _outcome_view(outcome: dict[str, Any]) -> OutcomeView:
    return OutcomeView(
        who=outcome["who"],
        reason=outcome["reason"],
        started_at=outcome.get("started_ms"),
        finished_at=outcome.get("finished_ms"),
        found=outcome.get("found"),
        mode=outcome.get("mode"),
        parts=tuple(outcome.get("parts", ())),
        value=outcome.get("value"),
    )


def event_view(row: Row[Any]) -> EventView:
    return EventView(
        id=row.id,
        revision=row.revision,
        serial=row.serial,
        kind=row.kind,
        at=row.at_ms,
        recorded_at=row.recorded_ms,
        who=row.who,
        mode=row.mode,
        by_serial=row.by_serial,
        source=row.source,
        note=row.note,
        value=row.value,
        voided=row.voided,
    )


def events_of(services: Services, serial: str) -> tuple[EventView, ...]:
    """Every event reported about a machine, voided ones too, by the time at which it happened."""
    mine = (schema.events.c.serial == serial) | (schema.events.c.by_serial == serial)
    query = select(schema.events).where(mine).order_by(schema.events.c.at_ms, schema.events.c.revision)
    with schema.read(services.engine) as connection:
        return tuple(event_view(row) for row in connection.execute(query))


def history_view(services: Services, serial: str) -> tuple[IssuedView, ...]:
    """The prognoses of a machine as they were frozen, the oldest first: what was said, to hold against what came.

    Raises:
        NotFoundError: no such machine.
    """
    now = snapshot.latest(services)
    unit = now.current.plant.class_of(asset(now, serial)).life_step.unit
    with schema.read(services.engine) as connection:
        return tuple(issued_view(row, unit) for row in told.issued_prognoses(connection, serial))


def issued_in(now: Snapshot, row: Row[Any]) -> IssuedView:
    """An issued prognosis in the unit of its machine; of a machine that the plant no longer has, without one."""
    machine = now.fleet.assets.get(row.serial)
    return issued_view(row, "" if machine is None else now.current.plant.class_of(machine).life_step.unit)


def issued_view(row: Row[Any], unit: str) -> IssuedView:
    rul = rul_of(row.quantiles, unit) if row.quantiles else None
    return IssuedView(
        id=row.id,
        serial=row.serial,
        target=row.target,
        issued_at=row.issued_ms,
        step_start=row.step_start_ms,
        twin_revision=row.twin_revision,
        exposure=row.exposure,
        unit=unit,
        basis=row.basis,
        refusal=row.refusal if row.refusal not in ("", Refusal.NONE.code) else None,
        model=row.model,
        plant_version=row.plant_version,
        mode=row.mode,
        duty_rate=row.duty_rate,
        preferred_start=row.preferred_ms,
        rul=rul,
        used_life=None if rul is None else used_life(row.exposure, rul.p50),
        quantiles=() if rul is None else tuple(row.quantiles),
    )


def _life(now: Snapshot, serial: str) -> LifeView:
    life = now.fleet.lives[serial]
    return LifeView(
        started_at=life.from_ms if life.start_known and life.from_ms > ALWAYS_MS else None,
        failed=life.failed,
        ended_at=life.to_ms if life.to_ms < NEVER_MS else None,
        mode=life.mode,
    )


def _readiness(
    now: Snapshot, services: Services, asset_class: AssetClass, basis: Basis, refusal: Refusal
) -> ReadinessView:
    """What the asset can do today, and what would unlock the next step."""
    model = services.models.get(asset_class.name)
    lives = 0 if model is None else model.facts.lives
    failures = _failures(now, asset_class)
    level, today, further = readiness(asset_class, basis, refusal, lives, failures, FEWEST_FAILURES)
    problem = services.model_problems.get(asset_class.name)
    return ReadinessView(level, today, problem or further or None)


def _failures(now: Snapshot, asset_class: AssetClass) -> int:
    """How many machines of a class have failed, counted once a snapshot."""
    key = ("failures", asset_class.name)
    if key not in now.made:
        now.made[key] = sum(now.fleet.lives[serial].failed for serial in now.fleet.serials_of(asset_class.name))
    return int(now.made[key])
