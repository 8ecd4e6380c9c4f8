"""What people report late, take back or do to machines: the twins are then as if it had been known all along."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from pdm import cohort, respond
from pdm.installations import EventKind, MaintenanceEvent
from pdm.prognosis import MEDIAN
from pdm.services import Services
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import alerts, checkpoints, read, write
from pdm.tick import tick
from pdm.twin import Twin
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report

BOTH = ("fan1", "fan2")


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(tmp_path)


def live(services: Services, hours: Iterable[int], sources: Iterable[str] = BOTH) -> None:
    """Hours of readings, each followed by the tick that closes it."""
    for hour in hours:
        feed(services, *(readings(source, [hour]) for source in sources))
        tick(services, START + (hour + 1) * HOUR)
        services.clock.advance(START + (hour + 1) * HOUR)  # type: ignore[attr-defined]


def twin_of(services: Services) -> Twin:
    return services.cohorts["fan"].twin


def row_of(services: Services, serial: str) -> int:
    return services.cohorts["fan"].row_of[serial]


def cold_fold(services: Services) -> Twin:
    """The twins from the stored steps alone."""
    services.cohorts.clear()
    with write(services.engine) as connection:
        connection.execute(checkpoints.delete())
    with read(services.engine) as connection:
        plant = current_plant(connection)
        return cohort.current(connection, services, plant, plant.plant.classes["fan"]).twin


def take_back(services: Services, event_id: str) -> None:
    act = respond.Act(who="Ada", at_ms=services.clock.plant_ms(), reason="wrong machine")
    with write(services.engine) as connection:
        respond.void_event(connection, event_id, act)


@pytest.mark.parametrize("kind", [EventKind.REPAIRED, EventKind.FAILED])
def test_an_event_that_is_taken_back_leaves_the_twin_as_if_it_had_never_been_reported(
    services: Services, kind: EventKind
) -> None:
    live(services, range(40))
    report(services, MaintenanceEvent("F-1", kind, START + 20 * HOUR), "wrong")
    live(services, [40])
    assert twin_of(services).exposure[0] < 25
    take_back(services, "wrong")
    live(services, [41])
    live_exposure = twin_of(services).exposure[0]
    assert live_exposure == 42.0 == cold_fold(services).exposure[0]


def test_a_machine_on_the_shelf_does_not_age(services: Services) -> None:
    live(services, range(100))
    report(services, MaintenanceEvent("F-1", EventKind.REMOVED, START + 100 * HOUR), "out")
    back = 100 + 24 * 60
    for day in range(1, 61):
        tick(services, START + (100 + 24 * day) * HOUR)
    report(services, MaintenanceEvent("F-1", EventKind.INSTALLED, START + back * HOUR, source="fan1"), "in")
    live(services, range(back, back + 3))
    assert twin_of(services).exposure[0] == 103.0
    assert services.cohorts["fan"].before.prognosis.quantiles[0, MEDIAN] > 300


def test_a_machine_swapped_out_in_working_order_goes_on_with_its_life_when_it_is_put_back(services: Services) -> None:
    live(services, range(50))
    report(services, MaintenanceEvent("F-1", EventKind.REPLACED, START + 50 * HOUR, by_serial="F-9"), "swap")
    live(services, range(50, 80))
    report(services, MaintenanceEvent("F-9", EventKind.REPLACED, START + 80 * HOUR, by_serial="F-1"), "back")
    live(services, range(80, 90))
    row = row_of(services, "F-1")
    assert services.cohorts["fan"].in_service[row]
    assert twin_of(services).steps[row] == 60


def test_the_last_hour_before_a_failure_is_part_of_the_life(services: Services) -> None:
    live(services, range(50))
    feed(services, readings("fan1", [50]))
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 50 * HOUR + HOUR // 2), "end")
    tick(services, START + 50 * HOUR + HOUR // 2 + 1)
    assert twin_of(services).steps[0] == 50
    tick(services, START + 51 * HOUR)
    assert twin_of(services).steps[0] == 51


def test_of_two_reports_of_a_failure_the_first_stands(services: Services) -> None:
    live(services, range(30))
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 20 * HOUR, mode="belt"), "first")
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 25 * HOUR), "second")
    live(services, [30])
    life = services.cohorts["fan"].fleet.lives["F-1"]
    assert (life.to_ms, life.mode, twin_of(services).exposure[0]) == (START + 20 * HOUR, "belt", 20.0)


def test_a_failure_before_the_start_of_a_life_does_not_end_it(services: Services) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START - HOUR), "early")
    live(services, range(3))
    assert services.cohorts["fan"].in_service[0]


def test_an_event_older_than_the_first_reading_invents_no_history(services: Services) -> None:
    live(services, range(400, 430))
    assert not services.cohorts["fan"].complete[0]
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 100 * HOUR), "repair")
    live(services, [430])
    assert not services.cohorts["fan"].complete[0]
    assert twin_of(services).first_start_ms[0] == START + 400 * HOUR
    assert twin_of(services).exposure[0] == cold_fold(services).exposure[0]


def test_a_machine_was_heard_when_its_newest_reading_was_measured(services: Services) -> None:
    live(services, range(3))
    feed(services, readings("fan1", range(3, 9)))
    tick(services, START + 9 * HOUR)
    heard_ms = services.cohorts["fan"].before.last_reading_ms[0]
    assert START + 9 * HOUR - heard_ms <= HOUR


def test_a_rule_that_watches_another_sensor_now_opens_alerts_about_that(services: Services) -> None:
    with write(services.engine) as connection:
        store_plant(connection, PLANT, RULES.replace("above: 9", "above: 2").replace("clear: 8", "clear: 1"), START)
    live(services, range(5))
    with write(services.engine) as connection:
        rules = RULES.replace("above: 9", "above: 1").replace("clear: 8", "clear: 0.5")
        store_plant(connection, PLANT, rules.replace("sensor: vibration_max", "sensor: vibration_mean"), START)
    live(services, range(5, 10))
    with read(services.engine) as connection:
        rows = connection.execute(select(alerts.c.target, alerts.c.state).where(alerts.c.serial == "F-1")).all()
    assert ("vibration_mean", "open") in [tuple(row) for row in rows]


def test_a_machine_at_rest_is_forecast_anew_when_its_class_is_described_anew(services: Services) -> None:
    live(services, range(30))
    before = services.cohorts["fan"].before.prognosis.quantiles[1, MEDIAN]
    with write(services.engine) as connection:
        store_plant(connection, PLANT.replace("mean: 500, sd: 100", "mean: 5000, sd: 1000"), RULES, START)
    live(services, [30], ["fan1"])
    after = services.cohorts["fan"].before.prognosis.quantiles[1, MEDIAN]
    assert before < 500 < 4000 < after or np.isnan(after)


def test_what_keeps_one_class_from_its_tick_keeps_no_other(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANT.replace("classes:\n", "classes:\n  aaa:\n" + PLANT.split("  fan:\n")[1].split("assets:")[0], 1)
    plant += '  - {serial: A-1, class: aaa, slot: A, source: a1, start_of_life: "2026-01-05T00:00:00Z"}\n'
    with write(services.engine) as connection:
        store_plant(connection, plant, RULES, START)
    live(services, range(3))
    window = services.readings.window

    def broken(class_name: str, *rest: object) -> object:
        if class_name == "aaa":
            raise RuntimeError("damaged")
        return window(class_name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(services.readings, "window", broken)
    feed(services, readings("fan1", [3]))
    services.cohorts["aaa"].next_ms[:] = START
    with pytest.raises(RuntimeError, match="damaged"):
        tick(services, START + 4 * HOUR)
    assert twin_of(services).exposure[0] == 4.0
