"""What people do to records: alerts, events, windows, recommendations."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, select, update

from pdm import respond
from pdm.errors import ConflictError, NotFoundError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.respond import Act, DuplicateWorkError, MovedOnError, Outcome, RequestError
from pdm.services import Services
from pdm.state import told
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import add_event, current_fleet, current_plant, marks_after
from pdm.state.schema import alerts, deliveries, events, interventions, read, recommendations, write
from pdm.state.told import AlertState, InterventionStatus
from pdm.tick import tick
from tests.small_plant import HOUR, START
from tests.web import station
from tests.web.station import AWKWARD, NOW

ADA = Act("Ada", NOW, "belt ordered")
TOMORROW = NOW + 24 * HOUR
LATER = NOW + HOUR


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return station.build(tmp_path_factory.mktemp("station"))


@pytest.fixture
def services(built: Services, tmp_path: Path) -> Iterator[Services]:
    copied = station.copy(built, tmp_path)
    yield copied
    copied.engine.dispose()


def one(services: Services, table: Any, serial: str = "F-1") -> Row[Any]:
    """The record of a machine."""
    with read(services.engine) as connection:
        return connection.execute(select(table).where(table.c.serial == serial)).one()


def story(services: Services, alert_id: str) -> list[str]:
    """The kinds of what happened to an alert."""
    with read(services.engine) as connection:
        return [transition.kind for transition in told.alert_transitions(connection, alert_id)]


def do(services: Services, act: Callable[..., object], *arguments: object) -> None:
    with write(services.engine) as connection:
        act(connection, *arguments)


@pytest.fixture
def alert(services: Services) -> str:
    return str(one(services, alerts).id)


@pytest.fixture
def window(services: Services) -> str:
    return str(one(services, interventions).id)


# Alerts


def test_acknowledging_twice_is_one_transition_and_the_first_stays_responsible(services: Services, alert: str) -> None:
    do(services, respond.acknowledge, alert, ADA)
    do(services, respond.acknowledge, alert, Act("Ben", LATER))
    assert story(services, alert) == ["opened", "acknowledged"]
    assert one(services, alerts).acknowledged_by == "Ada"
    assert one(services, alerts).state == AlertState.ACKNOWLEDGED


def test_a_change_keeps_who_when_and_why(services: Services, alert: str) -> None:
    do(services, respond.acknowledge, alert, ADA)
    with read(services.engine) as connection:
        last = told.alert_transitions(connection, alert)[-1]
    assert (last.who, last.at_ms, last.reason, last.severity) == ("Ada", NOW, "belt ordered", "now")


def test_shelving_until_a_time_that_has_passed_is_refused(services: Services, alert: str) -> None:
    with pytest.raises(RequestError, match="still to come"):
        do(services, respond.shelve, alert, NOW, ADA)


def test_a_shelved_alert_comes_back_when_its_time_is_over_and_is_told_again(services: Services, alert: str) -> None:
    do(services, respond.shelve, alert, TOMORROW, ADA)
    with write(services.engine) as connection:
        rules = current_plant(connection).rules
        assert respond.end_shelving(connection, rules, TOMORROW - 1, 0) == 0
        assert respond.end_shelving(connection, rules, TOMORROW, 0) == 1
        assert respond.end_shelving(connection, rules, TOMORROW, 0) == 0
        sent = connection.execute(select(deliveries.c.ordinal).where(deliveries.c.alert_id == alert)).scalars().all()
    assert story(services, alert) == ["opened", "shelved", "unshelved"]
    assert sorted(sent) == [1, 3]
    assert one(services, alerts).state == AlertState.OPEN


def test_an_acknowledged_alert_that_was_shelved_is_acknowledged_when_it_comes_back(
    services: Services, alert: str
) -> None:
    do(services, respond.acknowledge, alert, ADA)
    do(services, respond.shelve, alert, TOMORROW, ADA)
    assert one(services, alerts).state == AlertState.SHELVED
    do(services, respond.unshelve, alert, ADA)
    assert one(services, alerts).state == AlertState.ACKNOWLEDGED


def test_a_resolved_alert_takes_no_acknowledgement(services: Services, alert: str) -> None:
    do(services, respond.resolve, alert, ADA)
    with pytest.raises(ConflictError, match="resolved"):
        do(services, respond.acknowledge, alert, ADA)


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        ([], (respond.acknowledge,)),
        ([(respond.acknowledge,)], (respond.shelve, TOMORROW)),
        ([(respond.shelve, TOMORROW)], (respond.acknowledge,)),
        ([(respond.shelve, TOMORROW)], (respond.resolve,)),
        ([(respond.acknowledge,)], (respond.note_wrong_alarm,)),
    ],
)
def test_undo_brings_back_what_stood_before(
    services: Services, alert: str, before: list[tuple[Any, ...]], changed: tuple[Any, ...]
) -> None:
    for act, *more in before:
        do(services, act, alert, *more, ADA)
    stood = one(services, alerts)
    do(services, changed[0], alert, *changed[1:], ADA)
    assert one(services, alerts).state != stood.state or changed[0] is respond.acknowledge
    do(services, respond.comment, alert, ADA)
    do(services, respond.undo, alert, ADA)
    now = one(services, alerts)
    assert (now.state, now.acknowledged_by, now.shelved_until_ms) == (
        stood.state,
        stood.acknowledged_by,
        stood.shelved_until_ms,
    )


def test_there_is_nothing_to_undo_once_the_alert_has_risen_by_itself(services: Services, alert: str) -> None:
    do(services, respond.acknowledge, alert, ADA)
    with write(services.engine) as connection:
        told.change_alert(connection, alert, state=AlertState.OPEN, acknowledged_by=None)
        told.add_transition(connection, alert, "raised", LATER, told.TICK, "", "now")
    with pytest.raises(ConflictError, match="nothing to undo"):
        do(services, respond.undo, alert, ADA)


def test_a_wrong_alarm_settles_a_live_alert_and_is_only_noted_on_a_closed_one(services: Services, alert: str) -> None:
    do(services, respond.note_wrong_alarm, alert, ADA)
    assert one(services, alerts).state == AlertState.RESOLVED
    with write(services.engine) as connection:
        told.change_alert(connection, alert, state=AlertState.CLOSED)
    do(services, respond.note_wrong_alarm, alert, ADA)
    assert one(services, alerts).state == AlertState.CLOSED
    assert story(services, alert) == ["opened", "wrong_alarm", "wrong_alarm"]


def test_an_act_on_a_record_that_has_moved_on_is_refused(services: Services, alert: str) -> None:
    seen = one(services, alerts).revision
    do(services, respond.comment, alert, Act("Ada", NOW, "looking", seen))
    with pytest.raises(MovedOnError):
        do(services, respond.acknowledge, alert, Act("Ada", NOW, "", seen))
    assert story(services, alert) == ["opened", "commented"]


def test_an_alert_that_does_not_exist_is_not_found(services: Services) -> None:
    with pytest.raises(NotFoundError):
        do(services, respond.acknowledge, "nope", ADA)


ACTS = st.sampled_from(["acknowledge", "shelve", "unshelve", "resolve", "note_wrong_alarm", "comment", "undo"])


@given(st.lists(ACTS, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_whatever_people_do_the_state_follows_from_what_they_set(services: Services, acts: list[str]) -> None:
    with services.engine.connect().execution_options(writes=True) as connection, connection.begin() as transaction:
        alert_id = connection.execute(select(alerts.c.id).where(alerts.c.serial == "F-1")).scalar_one()
        for name in acts:
            before = len(told.alert_transitions(connection, alert_id))
            revision = told.get(connection, alerts, alert_id).revision
            more = (TOMORROW,) if name == "shelve" else ()
            with suppress(ConflictError):
                getattr(respond, name)(connection, alert_id, *more, ADA)
            alert = told.get(connection, alerts, alert_id)
            added = len(told.alert_transitions(connection, alert_id)) - before
            assert added in (0, 1)
            assert (alert.revision > revision) == bool(added), "a change and its transition come together"
            if alert.state != AlertState.RESOLVED:
                shelved, acknowledged = alert.shelved_until_ms is not None, alert.acknowledged_by is not None
                assert alert.state == ("shelved" if shelved else "acknowledged" if acknowledged else "open")
        transaction.rollback()


# Events


def event(kind: EventKind, **given: Any) -> MaintenanceEvent:
    return MaintenanceEvent(**{"serial": "F-1", "kind": kind, "at_ms": NOW - HOUR, **given})


@pytest.mark.parametrize(
    ("reported", "field"),
    [
        (event(EventKind.FAILED, at_ms=NOW + HOUR), "at"),
        (event(EventKind.FAILED, mode="rust"), "mode"),
        (event(EventKind.REPLACED), "by_serial"),
        (event(EventKind.REPLACED, by_serial="F-1"), "by_serial"),
        (event(EventKind.FAILED, by_serial="F-2"), "by_serial"),
        (event(EventKind.INSTALLED), "source"),
        (event(EventKind.REPAIRED, source="fan9"), "source"),
        (event(EventKind.SENSOR_REPLACED), "sensor"),
        (event(EventKind.SENSOR_REPLACED, sensor="vibrations"), "sensor"),
        (event(EventKind.INSPECTED, sensor="vibration"), "sensor"),
    ],
)
def test_a_report_that_contradicts_the_plant_is_refused_with_the_field(
    services: Services, reported: MaintenanceEvent, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        do(services, respond.record_event, "e1", reported, ADA)
    assert caught.value.field == field


def test_nothing_can_have_happened_to_a_machine_before_its_life_began(services: Services) -> None:
    for kind in (EventKind.FAILED, EventKind.REPAIRED, EventKind.INSPECTED):
        with pytest.raises(RequestError, match="the life of F-1 began later, at 2026-01-05T00:00:00Z") as caught:
            do(services, respond.record_event, "e1", event(kind, at_ms=START - 1), ADA)
        assert caught.value.field == "at"
    do(services, respond.record_event, "e1", event(EventKind.FAILED, serial=AWKWARD, at_ms=START - 1), ADA)


def test_a_life_fails_once_until_a_repair_begins_the_next(services: Services) -> None:
    first = event(EventKind.FAILED, at_ms=NOW - 3 * HOUR)
    do(services, respond.record_event, "e1", first, ADA)
    do(services, respond.record_event, "e1", first, ADA)
    for again in (first, event(EventKind.FAILED), event(EventKind.FAILED, at_ms=NOW - 4 * HOUR)):
        with pytest.raises(ConflictError, match="ended by a failure at 2026-01-24T21:00:00Z: void that report"):
            do(services, respond.record_event, "e2", again, ADA)
    do(services, respond.record_event, "e3", event(EventKind.REPAIRED, at_ms=NOW - 2 * HOUR), ADA)
    do(services, respond.record_event, "e4", event(EventKind.FAILED), ADA)
    with pytest.raises(ConflictError, match="ended by a failure at 2026-01-24T21:00:00Z: void that report"):
        do(services, respond.record_event, "e5", event(EventKind.FAILED, at_ms=NOW - 5 * HOUR // 2), ADA)


def test_reports_that_were_taken_back_with_their_transaction_leave_nothing_behind(services: Services) -> None:
    with suppress(NotFoundError), write(services.engine) as connection:
        respond.record_event(connection, "e1", event(EventKind.FAILED), ADA)
        respond.record_event(connection, "e2", event(EventKind.FAILED, serial="nope"), ADA)
    with write(services.engine) as connection:  # as another process does
        add_event(connection, "e3", event(EventKind.INSPECTED), who="Ada", recorded_ms=NOW)
    with read(services.engine) as connection:
        assert not current_fleet(connection, current_plant(connection)).lives["F-1"].failed


def test_a_machine_cannot_be_installed_at_a_source_that_nobody_can_read(services: Services) -> None:
    with pytest.raises(
        RequestError, match="no asset of the plant file has the source 'fan l'; did you mean 'fan"
    ) as no:
        do(services, respond.record_event, "e1", event(EventKind.INSTALLED, source="fan l"), ADA)
    assert no.value.field == "source"
    do(services, respond.record_event, "e1", event(EventKind.INSTALLED, source="fan3"), ADA)


def test_an_event_of_an_unknown_machine_is_not_found(services: Services) -> None:
    with pytest.raises(NotFoundError):
        do(services, respond.record_event, "e1", event(EventKind.FAILED, serial="nope"), ADA)


def test_a_failure_and_a_replacement_end_the_matters_of_the_machine_at_the_next_tick(
    services: Services, alert: str
) -> None:
    do(services, respond.record_event, "e1", event(EventKind.FAILED, mode="belt"), ADA)
    do(services, respond.record_event, "e2", event(EventKind.REPLACED, by_serial="F-9"), ADA)
    assert one(services, alerts).state == AlertState.OPEN, "the tick decides what an event means"
    tick(services, NOW + HOUR)
    assert one(services, alerts).state == AlertState.CLOSED
    assert one(services, interventions).status == InterventionStatus.WITHDRAWN
    with read(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
    assert stored is not None
    assert "F-9" in stored.beliefs.serial


def test_a_report_under_the_same_id_counts_once_and_with_other_content_conflicts(services: Services) -> None:
    do(services, respond.record_event, "e1", event(EventKind.INSPECTED, value=2.0), ADA, "crack")
    do(services, respond.record_event, "e1", event(EventKind.INSPECTED, value=2.0), ADA, "crack")
    for other in (event(EventKind.FAILED), event(EventKind.INSPECTED, value=3.0)):
        with pytest.raises(ConflictError):
            do(services, respond.record_event, "e1", other, ADA)
    stored = one(services, events)
    assert (stored.note, stored.value, stored.who, stored.recorded_ms) == ("crack", 2.0, "Ada", NOW)


def test_reporting_and_voiding_each_leave_a_mark_once(services: Services) -> None:
    do(services, respond.record_event, "e1", event(EventKind.REPAIRED), ADA)
    do(services, respond.void_event, "e1", ADA)
    do(services, respond.void_event, "e1", ADA)
    with read(services.engine) as connection:
        marks = [(mark.serial, mark.earliest_ms) for mark in marks_after(connection, 0)]
    assert marks == [("F-1", NOW - HOUR)] * 2
    assert one(services, events).voided_by == "Ada"


# Windows


def status(services: Services, window: str, to: InterventionStatus, act: Act = ADA, **given: Any) -> None:
    with write(services.engine) as connection:
        respond.set_status(connection, window, to, act, **given)


def test_accepting_commits_to_the_preferred_start(services: Services, window: str) -> None:
    do(services, respond.accept, window, ADA)
    stored = one(services, interventions)
    start = stored.advised["preferred_start_ms"]
    assert stored.status == InterventionStatus.ACCEPTED
    assert stored.committed == {"start_ms": start, "finish_ms": start + 4 * HOUR, "who": "Ada"}


def test_scheduling_again_to_the_same_start_changes_nothing_and_to_another_does(
    services: Services, window: str
) -> None:
    status(services, window, InterventionStatus.SCHEDULED, start_ms=TOMORROW)
    first = one(services, interventions)
    status(services, window, InterventionStatus.SCHEDULED, Act("Ben", LATER), start_ms=TOMORROW)
    assert one(services, interventions).revision == first.revision
    status(services, window, InterventionStatus.SCHEDULED, Act("Ben", LATER), start_ms=TOMORROW + HOUR)
    moved = one(services, interventions)
    assert moved.revision > first.revision
    assert moved.committed == {"start_ms": TOMORROW + HOUR, "finish_ms": TOMORROW + 5 * HOUR, "who": "Ben"}


def test_the_committed_start_stays_through_the_work(services: Services, window: str) -> None:
    status(services, window, InterventionStatus.SCHEDULED, start_ms=TOMORROW)
    status(services, window, InterventionStatus.IN_PROGRESS, Act("Ben", TOMORROW))
    assert one(services, interventions).committed["start_ms"] == TOMORROW


@pytest.mark.parametrize("days", [-2, 6 * 365])
def test_a_start_that_cannot_be_meant_is_refused(services: Services, window: str, days: int) -> None:
    with write(services.engine) as connection, pytest.raises(RequestError, match="from yesterday until five years"):
        respond.accept(connection, window, ADA, ADA.at_ms + days * 24 * HOUR)


def test_acceptance_can_be_taken_back_and_the_dates_with_it(services: Services, window: str) -> None:
    do(services, respond.accept, window, ADA)
    status(services, window, InterventionStatus.PROPOSED)
    stored = one(services, interventions)
    assert (stored.status, stored.committed) == (InterventionStatus.PROPOSED, None)


DONE = Outcome(NOW - 4 * HOUR, NOW, "edges frayed", "belt", ("B-17",), 2.0)


def test_done_closes_the_loop_with_what_was_found(services: Services, window: str) -> None:
    status(services, window, InterventionStatus.DONE, outcome=DONE)
    stored = one(services, interventions)
    assert stored.status == InterventionStatus.DONE
    assert stored.outcome["found"] == "edges frayed"
    assert stored.outcome["who"] == "Ada"
    with pytest.raises(ConflictError, match="done cannot become accepted"):
        do(services, respond.accept, window, ADA)


@pytest.mark.parametrize(
    ("to", "given", "field"),
    [
        (InterventionStatus.DONE, {}, "outcome"),
        (InterventionStatus.ACCEPTED, {"outcome": DONE}, "outcome"),
        (InterventionStatus.DONE, {"outcome": Outcome(NOW, NOW - HOUR, "")}, "outcome"),
        (InterventionStatus.DONE, {"outcome": Outcome(NOW, TOMORROW, "")}, "outcome"),
        (InterventionStatus.DONE, {"outcome": replace(DONE, mode="rust")}, "outcome.mode"),
        (InterventionStatus.REJECTED, {"act": Act("Ada", NOW, "  ")}, "reason"),
    ],
)
def test_an_end_without_what_belongs_to_it_is_refused(
    services: Services, window: str, to: InterventionStatus, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        status(services, window, to, **given)
    assert caught.value.field == field
    assert one(services, interventions).status == InterventionStatus.PROPOSED


def test_a_rejection_keeps_its_reason_and_no_dates(services: Services, window: str) -> None:
    do(services, respond.accept, window, ADA)
    do(services, respond.reject, window, Act("Ben", LATER, "line stops in March anyway"))
    stored = one(services, interventions)
    assert (stored.status, stored.committed) == (InterventionStatus.REJECTED, None)
    assert stored.outcome == {"who": "Ben", "reason": "line stops in March anyway"}


def test_a_work_order_number_is_kept_once_however_often_it_is_sent(services: Services, window: str) -> None:
    do(services, respond.put_external, window, "maximo", "WO-1", ADA)
    first = one(services, interventions)
    do(services, respond.put_external, window, "maximo", "WO-1", ADA)
    stored = one(services, interventions)
    assert (stored.external, stored.revision) == ({"maximo": "WO-1"}, first.revision)


@pytest.mark.parametrize(("system", "number"), [("sap", "40001"), ("maximo", "WO-2")])
def test_a_second_open_work_order_is_refused_with_a_pointer_to_the_first(
    services: Services, window: str, system: str, number: str
) -> None:
    do(services, respond.put_external, window, "maximo", "WO-1", ADA)
    with pytest.raises(DuplicateWorkError) as caught:
        do(services, respond.put_external, window, system, number, ADA)
    assert caught.value.existing == {"intervention": window, "system": "maximo", "number": "WO-1"}


def test_a_mistyped_work_order_number_can_be_taken_back(services: Services, window: str) -> None:
    do(services, respond.put_external, window, "maximo", "WO-1", ADA)
    do(services, respond.remove_external, window, "maximo", ADA)
    do(services, respond.remove_external, window, "maximo", ADA)
    do(services, respond.put_external, window, "maximo", "WO-2", ADA)
    assert one(services, interventions).external == {"maximo": "WO-2"}


def test_a_window_that_has_ended_takes_no_work_order(services: Services, window: str) -> None:
    do(services, respond.reject, window, ADA)
    with pytest.raises(ConflictError, match="takes no work order"):
        do(services, respond.put_external, window, "maximo", "WO-1", ADA)


def test_attention_goes_as_soon_as_the_planner_reschedules_and_when_the_window_is_set_back(
    services: Services, window: str
) -> None:
    advised = one(services, interventions).advised
    do(services, respond.accept, window, ADA, advised["latest_start_ms"] + HOUR)
    assert "later than the latest start" in one(services, interventions).attention
    in_time = advised["preferred_start_ms"]
    do(services, respond.set_status, window, InterventionStatus.SCHEDULED, ADA, in_time)
    assert one(services, interventions).attention is None
    do(services, respond.set_status, window, InterventionStatus.SCHEDULED, ADA, advised["latest_start_ms"] + HOUR)
    do(services, respond.set_status, window, InterventionStatus.ACCEPTED, ADA)
    do(services, respond.set_status, window, InterventionStatus.PROPOSED, ADA)
    assert one(services, interventions).attention is None


def test_a_window_that_is_no_longer_advised_stays_so_whatever_its_dates(services: Services, window: str) -> None:
    do(services, respond.accept, window, ADA)
    with write(services.engine) as connection:
        told.change_intervention(connection, window, attention="no longer advised")
    do(services, respond.set_status, window, InterventionStatus.SCHEDULED, ADA, TOMORROW)
    assert one(services, interventions).attention == "no longer advised"
    do(services, respond.reject, window, ADA)
    assert one(services, interventions).attention is None


# Recommendations


def test_following_a_recommendation_accepts_the_window_of_the_machine_only(services: Services) -> None:
    advice = one(services, recommendations)
    do(services, respond.accept_recommendation, advice.id, ADA)
    assert one(services, recommendations).state == "accepted"
    assert one(services, interventions).status == InterventionStatus.ACCEPTED
    assert one(services, interventions, "F-2").status == InterventionStatus.PROPOSED


def test_following_advice_about_a_silent_source_leaves_the_window_of_its_machine_alone(services: Services) -> None:
    with write(services.engine) as connection:
        connection.execute(update(recommendations).values(target="fan1"))
    do(services, respond.accept_recommendation, one(services, recommendations).id, ADA)
    assert one(services, recommendations).state == "accepted"
    assert one(services, interventions).status == InterventionStatus.PROPOSED


def test_an_answer_given_again_changes_nothing_and_another_conflicts(services: Services) -> None:
    advice = one(services, recommendations)
    do(services, respond.dismiss_recommendation, advice.id, ADA)
    answered = one(services, recommendations)
    do(services, respond.dismiss_recommendation, advice.id, ADA)
    assert one(services, recommendations).revision == answered.revision
    assert answered.body["answer"] == {"who": "Ada", "at_ms": NOW, "reason": "belt ordered"}
    with pytest.raises(ConflictError, match="dismissed"):
        do(services, respond.accept_recommendation, advice.id, ADA)


def test_a_dismissal_needs_its_reason(services: Services) -> None:
    with pytest.raises(RequestError, match="reason"):
        do(services, respond.dismiss_recommendation, one(services, recommendations).id, Act("Ada", NOW))


def test_superseded_advice_cannot_be_followed(services: Services) -> None:
    with write(services.engine) as connection:
        connection.execute(update(recommendations).values(state="superseded"))
    with pytest.raises(ConflictError, match="superseded"):
        do(services, respond.accept_recommendation, one(services, recommendations).id, ADA)
