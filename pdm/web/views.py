"""What pages and API show, composed from one snapshot of the state: the same prognosis, window and words everywhere.

The types of what comes out are in `pdm.web.shapes`; the fleet as a ranked list is in `pdm.web.fleet`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from pdm import wear
from pdm.beliefs import Beliefs
from pdm.errors import NotFoundError
from pdm.features.health import Fault
from pdm.features.told_units import told_in
from pdm.installations import ALWAYS_MS, NEVER_MS
from pdm.plant import Asset, AssetClass
from pdm.prognosis import FEWEST_FAILURES, FOUR_IN_FIVE, MEDIAN, Basis, Refusal
from pdm.recommend import readiness
from pdm.rules import Severity
from pdm.services import Services
from pdm.state import schema, told
from pdm.state.told import AlertState
from pdm.wear import WearState
from pdm.web import snapshot
from pdm.web.forecasts import Until, instant, known, prognosis_view, risks, usual_times, window_view
from pdm.web.records import alert_view, event_view, intervention_view, issued_view, recommendation_view, used_life
from pdm.web.shapes import (
    AlertView,
    AssetView,
    EventView,
    IssuedView,
    LifeView,
    PrognosisView,
    ReadinessView,
    SensorView,
    TwinView,
    WearView,
    WindowView,
)
from pdm.web.snapshot import ClassBeliefs, Snapshot

WATCHED = (Refusal.NO_MODEL, Refusal.TOO_FEW_FAILURES, Refusal.HISTORY_INCOMPLETE)
"""Refusals that last: such a machine is watched by alarms, and the absence of a date is no news."""

ISSUED_SHOWN = 300
"""At most so many issued forecasts are shown on a page."""


def asset_view(services: Services, serial: str) -> AssetView:
    """All that is shown of one machine.

    Raises:
        NotFoundError: no such machine.
    """
    return asset_of(snapshot.latest(services), services, serial)


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
        group=machine.group,
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
        widening=widening_in(of_class),
        departure=known(beliefs.departure[row]),
        sensors=sensor_views(asset_class, beliefs.latest[row].tolist(), beliefs.faults[row].tolist()),
        wear=wear_views(asset_class, beliefs.wear[row]),
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


def widening_in(of_class: ClassBeliefs) -> float:
    """By how much the bands of a class are widened."""
    return 1.0 if of_class.stored is None else float(of_class.stored.facts.get("widening", 1.0))


def window_of(now: Snapshot, machine: Asset) -> WindowView | None:
    """The window of a machine as the feed shows it: it moves on material change only."""
    beliefs, row = belief_of(now.classes[machine.class_name], machine.serial)
    return None if beliefs is None else window_view(beliefs.published, row, now.current.plant.currency)


def belief_of(of_class: ClassBeliefs, serial: str) -> tuple[Beliefs | None, int]:
    """The beliefs that hold a machine and its row in them, (None, -1) before the first tick that saw it."""
    row = of_class.row_of.get(serial, -1)
    return (None, -1) if row < 0 or of_class.stored is None else (of_class.stored.beliefs, row)


def sensor_views(asset_class: AssetClass, latest: list[float], faults: list[int]) -> tuple[SensorView, ...]:
    """The columns of the latest step `[k]`, and what is wrong with the sensors behind them `[k]`."""
    sensors = {sensor.name: sensor for sensor in asset_class.sensors}
    return tuple(
        SensorView(
            column=column.name,
            sensor=column.sensor,
            title=sensor.title or sensor.name,
            unit=sensor.unit,
            value=known(value),
            fault=Fault(fault).code if fault else None,
            told_in=told_in(sensor.unit, fault),
        )
        for column, value, fault in zip(asset_class.columns, latest, faults, strict=True)
        for sensor in (sensors[column.sensor],)
    )


def wear_views(asset_class: AssetClass, column: NDArray[np.float64]) -> tuple[WearView, ...]:
    """The wear of each failure mode that declares an expected life; of `Beliefs.wear` one row `[K]`."""
    if not asset_class.wearing:
        return ()
    state = wear.view(WearState(column[:, None]))
    belief, spread = state.wear.damage[:, 0], FOUR_IN_FIVE * np.sqrt(state.wear.var_damage[:, 0])
    stress = state.stressed[:, 0] / state.ran[0] if state.ran[0] > 0 else np.full(len(belief), np.nan)
    return tuple(
        WearView(
            mode=mode.name,
            title=mode.title,
            wear=_within(belief[place]),
            low=_within(belief[place] - spread[place]),
            high=_within(belief[place] + spread[place]),
            measured=int(state.seen[place, 0]),
            exposure=float(state.exposure[place, 0]),
            stress=known(stress[place]),
        )
        for place, mode in enumerate(asset_class.wearing)
    )


def _within(wear: float) -> float:
    return float(min(max(wear, 0.0), 1.0))


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


def issued_in_life(services: Services, now: Snapshot, view: AssetView) -> tuple[IssuedView, ...]:
    """What was said in the present life, the oldest first, thinned to what a chart can show: a repaired machine starts
    anew."""
    unit = now.current.plant.classes[view.class_name].life_step.unit
    with schema.read(services.engine) as connection:
        rows = told.issued_prognoses(connection, view.serial, view.life.started_at, ISSUED_SHOWN)
    return tuple(issued_view(row, unit) for row in rows)


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
    watched = lives if model is not None and model.head is None else 0
    failures, watching = _failures(now, asset_class), now.current.rules_of(asset_class)
    level, today, further = readiness(
        asset_class, watching, basis, refusal, lives - watched, failures, FEWEST_FAILURES, watched
    )
    problem = services.model_problems.get(asset_class.name)
    return ReadinessView(level, today, problem or further or None)


def _failures(now: Snapshot, asset_class: AssetClass) -> int:
    """How many lives of a class ended in failure, counted once a snapshot."""
    key = ("failures", asset_class.name)
    if key not in now.made:
        now.made[key] = now.fleet.failures_of(asset_class.name)
    return int(now.made[key])
