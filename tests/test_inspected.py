"""What inspections found against what the twin expected just before each of them."""

from pathlib import Path

import numpy as np
import pytest

from pdm import twin, wear
from pdm.inspected import Expected, expected, found_by_mode
from pdm.installations import EventKind, MaintenanceEvent
from pdm.services import Services
from pdm.state.plants import current_fleet, current_plant, store_plant
from pdm.state.schema import read, write
from pdm.state.steps import history
from pdm.tick import tick
from pdm.web import snapshot
from tests.small_plant import HOUR, RULES, START, feed, make_services, readings, report
from tests.test_declared_wear import WORN
from tests.web.station import client_of

TEN_PERCENT = 1.2815515655446004


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Two fans that were watched for 30 hours, and one of which nobody knows how old it is."""
    services = make_services(tmp_path)
    with write(services.engine) as connection:
        store_plant(
            connection,
            WORN + "  - {serial: F-4, class: fan, slot: OLD, source: fan4, start_of_life: unknown}\n",
            RULES,
            START,
        )
    feed(services, *(readings(source, range(30)) for source in ("fan1", "fan2", "fan4")))
    tick(services, START + 30 * HOUR)
    services.clock.advance(START + 30 * HOUR)  # type: ignore[attr-defined]
    return services


def look(services: Services, serial: str, at_hour: float, value: float) -> None:
    at_ms = START + round(at_hour * HOUR)
    event = MaintenanceEvent(serial, EventKind.INSPECTED, at_ms, "belt", value=value)
    report(services, event, f"{serial} at {at_hour}")
    snapshot.expire(services)


def found_in(services: Services) -> Expected:
    with read(services.engine) as connection:
        plant = current_plant(connection)
        return expected(connection, plant.plant.classes["fan"], current_fleet(connection, plant))


def damage_after(services: Services, hours: int) -> tuple[float, float]:
    """Mean and standard deviation of the damage of F-1 after its first steps."""
    with read(services.engine) as connection:
        fan = current_plant(connection).plant.classes["fan"]
        steps = history(connection, fan, ["F-1"])
    made = twin.start(fan, None, 1)
    twin.fold(fan, None, made, steps.take(steps.end_ms <= START + hours * HOUR))
    assert made.wear is not None
    belief = wear.view(made.wear).wear
    return float(belief.damage[0, 0]), float(np.sqrt(belief.var_damage[0, 0]))


def test_an_inspection_is_held_against_the_twin_of_just_before_it(services: Services) -> None:
    look(services, "F-1", 10.5, 2.7)  # new is 2, the limit 9
    made = found_in(services)
    damage, sd = damage_after(services, 10)
    assert made.found == pytest.approx([0.1])
    assert made.expected == pytest.approx([damage])
    half = TEN_PERCENT * np.hypot(sd, 0.05 / 7)
    assert [made.low[0], made.high[0]] == pytest.approx([damage - half, damage + half])


def test_a_later_inspection_is_expected_with_the_earlier_one_known(services: Services) -> None:
    look(services, "F-1", 20.5, 2.9)
    alone = found_in(services).expected[0]
    look(services, "F-1", 10.5, 5.5)
    both = found_in(services)
    assert len(both.found) == 2
    assert both.expected[both.found < 0.2][0] > alone


def test_a_machine_of_unknown_age_is_not_counted(services: Services) -> None:
    look(services, "F-4", 10.5, 2.7)
    assert len(found_in(services).found) == 0


def test_lives_weigh_the_same_and_few_are_said_to_be_few(services: Services) -> None:
    for hour in (5.5, 10.5):
        look(services, "F-1", hour, 2.1)
    look(services, "F-2", 10.5, 8.0)
    with read(services.engine) as connection:
        plant = current_plant(connection)
        (found,) = found_by_mode(connection, plant.plant.classes["fan"], current_fleet(connection, plant))
    assert (found.mode, found.inspections, found.lives) == ("belt", 3, 2)
    assert found.coverage_80.value in (0.0, 0.25, 0.5)
    assert np.isnan(found.error.low)
    assert found.error.value < -0.3  # F-2 was worn far more than expected
    client = client_of(services)
    (view,) = client.get("/api/v1/track-record").json()["inspected"]
    assert (view["inspections"], view["lives"], view["enough"]) == (3, 2, False)
    assert [one["name"] for one in view["figures"]] == ["error", "absolute_error", "coverage_80"]
    page = client.get("/track-record").text
    assert "3 inspections of 2 lives: too few to tell" in page
    assert "less wear than found" in page


def test_without_inspections_there_is_no_table(services: Services) -> None:
    assert client_of(services).get("/api/v1/track-record").json()["inspected"] == []
    assert "What inspections found" not in client_of(services).get("/track-record").text
