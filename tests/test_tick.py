"""The tick: the same twins however the readings came, after every interruption, and when the past changes."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select

from pdm import respond, twin
from pdm.adapters.memory_readings import MemoryReadings
from pdm.beliefs import to_columns
from pdm.cohort import Cohort
from pdm.installations import EventKind, MaintenanceEvent
from pdm.services import Services
from pdm.state.cohorts import load_beliefs
from pdm.state.schema import (
    alerts,
    events,
    interventions,
    prognoses,
    read,
    recommendations,
    step_batches,
    transitions,
    write,
)
from pdm.state.steps import Asked, history
from pdm.tick import tick
from tests.databases import DATABASES
from tests.small_plant import HOUR, START, feed, make_services, readings, report, rows


def cohort(services: Services) -> Cohort:
    return services.cohorts["fan"]


def twins(services: Services) -> dict[str, Any]:
    """The twins as columns, without the count of how often they were folded."""
    columns = twin.to_columns(cohort(services).twin, cohort(services).serials)
    return {name: values for name, values in columns.items() if name != "revision"}


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def live(services: Services, hours: range, sources: tuple[str, ...] = ("fan1", "fan2")) -> None:
    """Hour by hour: readings arrive, the hour ends, the tick runs."""
    for hour in hours:
        feed(services, *(readings(source, [hour]) for source in sources))
        tick(services, START + (hour + 1) * HOUR)


def cold_fold(services: Services, folder: Path) -> dict[str, Any]:
    """The twins of a service that knows nothing but the same readings and events, all at once."""
    other = make_services(folder)
    other.readings = services.readings
    with read(services.engine) as connection:
        for row in connection.execute(select(events)):
            report(
                other,
                MaintenanceEvent(
                    row.serial, EventKind(row.kind), row.at_ms, row.mode, row.by_serial, row.source, row.sensor
                ),
                row.id,
            )
    tick(other, int(cohort(services).twin.last_end_ms.max()))
    return twins(other)


def test_hour_by_hour_and_all_at_once_give_the_same_bits(tmp_path: Path) -> None:
    services = make_services(tmp_path / "live")
    live(services, range(60))
    assert cohort(services).twin.steps.tolist() == [60, 60, 0]
    assert_same_bits(twins(services), cold_fold(services, tmp_path / "cold"))


def test_a_restart_gives_the_same_twin_from_the_checkpoint_and_the_steps_after_it(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(30))
    before = twins(services)
    services.cohorts.clear()
    tick(services, START + 30 * HOUR)
    assert_same_bits(before, twins(services))


def test_the_same_reading_sent_again_changes_nothing(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(10))
    before = twins(services)
    feed(services, readings("fan1", range(3, 8)), readings("fan1", range(2, 5)))
    made = tick(services, START + 10 * HOUR + 1)
    assert made.steps == 0
    assert_same_bits(before, twins(services))
    assert cohort(services).twin.revision.tolist() == [0, 0, 0]


def test_a_late_reading_makes_its_step_and_the_twin_again(tmp_path: Path) -> None:
    services = make_services(tmp_path / "live")
    live(services, range(20))
    before = twins(services)
    late = rows("fan1", np.array([START + 5 * HOUR + 50 * 60_000]), np.array([[1500.0, 8.0]]))
    feed(services, late)
    tick(services, START + 20 * HOUR + 1)
    with read(services.engine) as connection:
        steps = history(connection, cohort(services).asset_class, ["F-1"])
        known_before = history(connection, cohort(services).asset_class, ["F-1"], Asked(known_ms=START + 20 * HOUR))
    column = cohort(services).asset_class.column_names.index("vibration_max")
    assert steps.values[5, column] == 8.0
    assert known_before.values[5, column] < 3.0
    assert cohort(services).twin.revision.tolist() == [1, 0, 0]
    assert before["exposure"].tolist() == twins(services)["exposure"].tolist()
    assert_same_bits(twins(services), cold_fold(services, tmp_path / "cold"))


def test_hours_at_rest_are_kept_but_do_not_age_the_machine(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(10))
    for hour in range(10, 16):
        feed(services, readings("fan1", [hour], speed=0.0), readings("fan2", [hour]))
        tick(services, START + (hour + 1) * HOUR)
    state = cohort(services).twin
    assert state.steps.tolist() == [10, 16, 0]
    assert state.exposure.tolist() == [10.0, 16.0, 0.0]
    assert state.duty_rate[0] < 1.0 == state.duty_rate[1]


def test_a_silent_hour_is_assumed_to_have_run_as_usual(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(10))
    live(services, range(10, 13), sources=("fan2",))
    state = cohort(services).twin
    assert state.exposure.tolist() == [13.0, 13.0, 0.0]
    assert state.unseen.tolist() == [3.0, 0.0, 0.0]
    assert state.steps.tolist() == [10, 13, 0]


def test_a_swap_reported_late_moves_the_steps_to_the_machine_that_made_them(tmp_path: Path) -> None:
    services = make_services(tmp_path / "live")
    live(services, range(30))
    report(services, MaintenanceEvent("F-3", EventKind.INSTALLED, START + 20 * HOUR, source="fan1"))
    tick(services, START + 30 * HOUR + 1)
    assert cohort(services).twin.steps.tolist() == [20, 30, 10]
    live(services, range(30, 32))
    assert cohort(services).twin.steps.tolist() == [20, 32, 12]
    assert_same_bits(twins(services), cold_fold(services, tmp_path / "cold"))


def test_a_repair_starts_another_life(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(30))
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 25 * HOUR))
    live(services, range(30, 32))
    assert cohort(services).twin.exposure.tolist() == [7.0, 32.0, 0.0]
    assert cohort(services).complete.tolist() == [True, True, False]


def test_a_failed_machine_is_forecast_no_more_and_its_alert_ends(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(390)), readings("fan2", range(390)))
    live(services, range(390, 400))
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 400 * HOUR, mode="belt"))
    live(services, range(400, 403), sources=("fan2",))
    with read(services.engine) as connection:
        found = {row.serial: row for row in connection.execute(select(alerts).where(alerts.c.rule == "soon"))}
        reasons = list(connection.execute(select(transitions.c.kind, transitions.c.reason)))
    assert (found["F-1"].state, found["F-2"].state) == ("closed", "open")
    assert ("ended", "the machine failed") in [tuple(row) for row in reasons]
    assert np.isnan(cohort(services).before.prognosis.quantiles[0]).all()


def test_the_limit_alert_waits_for_its_duration_and_clears_with_hysteresis(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(5))
    seen = []
    for hour, vibration in enumerate([9.5, 9.5, 9.5, 9.5, 8.5, 7.0], start=5):
        time_ms = np.array([START + hour * HOUR + 60_000])
        feed(services, rows("fan1", time_ms, np.array([[1500.0, vibration]])))
        tick(services, START + (hour + 1) * HOUR)
        with read(services.engine) as connection:
            row = connection.execute(select(alerts).where(alerts.c.rule == "shaking")).first()
        seen.append(None if row is None else row.state)
    assert seen == [None, None, "open", "open", "open", "closed"]


def test_an_issued_prognosis_is_frozen_once_a_day_and_named_by_what_it_rests_on(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    live(services, range(72))
    with read(services.engine) as connection:
        issued = connection.execute(select(prognoses).where(prognoses.c.serial == "F-1")).all()
    assert [(row.issued_ms - START) // HOUR for row in issued] == [1, 24, 48, 72]
    assert {row.basis for row in issued} == {"declared_life"}


def everything(services: Services) -> list[Any]:
    """All that the state database holds about what was concluded and told, in comparable form."""
    with read(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
        assert stored is not None
        tables = (prognoses, alerts, transitions, interventions, recommendations)
        told = [sorted(map(repr, connection.execute(select(table)))) for table in tables]
        steps = [row.body for row in connection.execute(select(step_batches).order_by(step_batches.c.tick))]
    believed = {name: values.tolist() for name, values in sorted(to_columns(stored.beliefs).items())}
    return [repr(believed), told, steps]


class _CrashError(Exception):
    """The process is gone."""


@contextmanager
def interrupted_at(services: Services, statement: int) -> Iterator[list[int]]:
    """The n-th statement from now on never runs; gives a list that is empty until it was reached."""
    reached: list[int] = []
    numbers = itertools.count(1)

    def count(*_: Any) -> None:
        if next(numbers) == statement:
            reached.append(statement)
            raise _CrashError

    sqlalchemy_event.listen(services.engine, "before_cursor_execute", count)
    yield reached
    sqlalchemy_event.remove(services.engine, "before_cursor_execute", count)


def test_a_tick_cut_short_at_any_statement_and_run_again_leaves_the_same_state(tmp_path: Path) -> None:
    prepared = make_services(tmp_path / "prepared")
    feed(prepared, readings("fan1", range(390)))
    live(prepared, range(390, 395), sources=("fan1",))
    feed(prepared, readings("fan1", [395]), readings("fan2", range(394, 396)))
    report(prepared, MaintenanceEvent("F-3", EventKind.INSTALLED, START + 390 * HOUR, source="fan1"))
    prepared.engine.dispose()

    def copy(name: str) -> Services:
        DATABASES.copy(prepared.engine, tmp_path / name / "state.db")
        return make_services(tmp_path / name, readings=prepared.readings)

    whole = copy("whole")
    tick(whole, START + 396 * HOUR)
    expected = everything(whole)
    for statement in itertools.count(1):
        services = copy("cut")
        with interrupted_at(services, statement) as reached:
            try:
                tick(services, START + 396 * HOUR)
            except _CrashError:
                services.cohorts.clear()
        tick(services, START + 396 * HOUR)
        if not reached:
            break
        found = everything(services)
        services.engine.dispose()
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == theirs, f"cut short at statement {statement}"
    assert statement > 20


def test_readings_are_read_once_and_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = make_services(tmp_path)
    live(services, range(50))
    asked: list[tuple[int, int]] = []
    store = services.readings
    assert isinstance(store, MemoryReadings)
    window = store.window

    def noted(class_name: str, sources: list[str], start_ms: int, end_ms: int) -> Any:
        asked.append((start_ms, end_ms))
        return window(class_name, sources, start_ms, end_ms)

    monkeypatch.setattr(store, "window", noted)
    live(services, range(50, 52))
    assert asked == [(START + 50 * HOUR, START + 51 * HOUR), (START + 51 * HOUR, START + 52 * HOUR)]


def test_a_first_tick_over_a_long_import_forecasts_at_once(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(240)))
    tick(services, START + 240 * HOUR)
    assert np.isfinite(cohort(services).before.prognosis.quantiles[0]).all()


def test_a_shelved_alert_is_told_again_when_its_time_is_over(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    for hour in range(4):
        feed(services, rows("fan1", np.array([START + hour * HOUR + 60_000]), np.array([[1500.0, 9.5]])))
        tick(services, START + (hour + 1) * HOUR)
    with write(services.engine) as connection:
        alert = connection.execute(select(alerts).where(alerts.c.rule == "shaking")).one()
        respond.shelve(connection, alert.id, START + 6 * HOUR, respond.Act("Ada", START + 4 * HOUR, "ordered a belt"))
    states = []
    for hour in (4, 5):
        feed(services, rows("fan1", np.array([START + hour * HOUR + 60_000]), np.array([[1500.0, 9.5]])))
        tick(services, START + (hour + 1) * HOUR)
        with read(services.engine) as connection:
            states.append(connection.execute(select(alerts.c.state).where(alerts.c.rule == "shaking")).scalar())
    assert states == ["shelved", "open"]


def test_the_window_that_people_see_never_names_a_start_that_has_passed(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(400)))
    for hour in range(400, 470):
        feed(services, readings("fan1", [hour]))
        tick(services, START + (hour + 1) * HOUR)
        preferred = cohort(services).before.published.preferred_ms[0]
        assert preferred < 0 or preferred >= START + (hour + 1) * HOUR
