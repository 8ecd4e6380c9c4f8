"""Stored records in the shapes that people and systems read."""

from typing import Any, cast

from sqlalchemy import Connection, Row

from pdm.prognosis import Refusal
from pdm.state import schema, told
from pdm.web.forecasts import known, rul_of
from pdm.web.shapes import (
    AdviceBody,
    AlertDetail,
    AlertView,
    AnswerView,
    CommittedView,
    CostView,
    EdgesView,
    EventView,
    InterventionView,
    IssuedView,
    OutcomeView,
    RecommendationView,
    ReplayView,
    RulView,
    TransitionView,
)
from pdm.web.snapshot import Snapshot


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
        said_without=row.said_without_ms,
        body=cast(AdviceBody, sentences),
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
        place=tuple(advice["place"]),
        skills=tuple(advice["skills"]),
        parts=tuple(advice["parts"]),
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
        sensor=row.sensor,
        note=row.note,
        value=row.value,
        voided=row.voided_ms is not None,
        voided_at=row.voided_ms,
        voided_by=row.voided_by,
        voided_reason=row.voided_reason or None,
    )


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
        said_without=row.said_without_ms,
    )


def used_life(exposure: float, median: float | None) -> float | None:
    """Life used so far as a share of it and the median of what remains."""
    total = exposure + (float("nan") if median is None else median)
    return known(exposure / total) if total > 0 else None
