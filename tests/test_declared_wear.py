"""Declared wear in service: forecasts from day one, inspections however late, and what people are told of both."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from pdm import cohort, respond, twin, wear
from pdm.installations import EventKind, MaintenanceEvent
from pdm.prognosis import Basis
from pdm.services import Services
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import checkpoints, prognoses, read, write
from pdm.tick import tick
from pdm.web import snapshot
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report
from tests.web.station import client_of

WORN = PLANT.replace(
    "limit: {sensor: vibration_max, above: 9}}",
    "limit: {sensor: vibration_max, above: 9}, expected_life: {mean: 800, sd: 200}, "
    "wear: {new: 2, noise: 0.2, inspection_noise: 0.05}}",
).replace(
    "    expected_life: {mean: 500, sd: 100}\n",
    "    stress: {law: inverse_power, of: speed, reference: 1500, exponent: 3, range: [500, 1800]}\n",
)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    services = make_services(tmp_path)
    with write(services.engine) as connection:
        store_plant(connection, WORN, RULES, START)
    return services


def live(services: Services, hours: Iterable[int], speed: float = 1500.0) -> None:
    for hour in hours:
        feed(services, *(readings(source, [hour], speed=speed) for source in ("fan1", "fan2")))
        tick(services, START + (hour + 1) * HOUR)
        services.clock.advance(START + (hour + 1) * HOUR)  # type: ignore[attr-defined]
    snapshot.expire(services)


def twins(services: Services) -> dict[str, np.ndarray]:
    machines = services.cohorts["fan"]
    columns = twin.to_columns(machines.twin, machines.serials)
    return {name: values for name, values in columns.items() if name != "revision"}


def cold_fold(services: Services) -> dict[str, np.ndarray]:
    """The twins from the stored steps and events alone."""
    services.cohorts.clear()
    with write(services.engine) as connection:
        connection.execute(checkpoints.delete())
    with read(services.engine) as connection:
        plant = current_plant(connection)
        cohort.current(connection, services, plant, plant.plant.classes["fan"])
    return twins(services)


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def inspected(at_hour: float, value: float) -> MaintenanceEvent:
    return MaintenanceEvent("F-1", EventKind.INSPECTED, START + round(at_hour * HOUR), "belt", value=value)


def test_there_is_a_forecast_from_the_first_step_on_and_it_is_issued(services: Services) -> None:
    live(services, [0])
    assert services.cohorts["fan"].before.prognosis.basis[:2].tolist() == [Basis.DECLARED_WEAR] * 2
    with read(services.engine) as connection:
        assert set(connection.execute(select(prognoses.c.basis)).scalars()) == {"declared_wear"}


def test_an_inspection_that_is_reported_late_counts_where_it_happened_and_not_once_it_is_taken_back(
    services: Services,
) -> None:
    live(services, range(30))
    untouched = wear.view(services.cohorts["fan"].twin.wear).wear.damage[0, 0]  # type: ignore[arg-type]
    report(services, inspected(20.5, 4.5), "look")
    live(services, [30])
    corrected = twins(services)
    assert wear.view(services.cohorts["fan"].twin.wear).wear.damage[0, 0] > 1.5 * untouched  # type: ignore[arg-type]
    assert_same_bits(corrected, cold_fold(services))
    act = respond.Act(who="Ada", at_ms=services.clock.plant_ms(), reason="of another fan")
    with write(services.engine) as connection:
        respond.void_event(connection, "look", act)
    live(services, [31])
    folded = wear.view(services.cohorts["fan"].twin.wear)  # type: ignore[arg-type]
    assert folded.inspected[0] == 0
    assert_same_bits(twins(services), cold_fold(services))


def test_an_inspection_counts_once_whether_its_step_has_closed_or_not(services: Services) -> None:
    live(services, range(5))
    report(services, inspected(5.2, 3.0), "early")
    tick(services, START + 5 * HOUR + HOUR // 2)
    live(services, range(5, 8))
    assert wear.view(services.cohorts["fan"].twin.wear).seen[0, :2].tolist() == [9.0, 8.0]  # type: ignore[arg-type]
    assert_same_bits(twins(services), cold_fold(services))


def test_another_law_of_stress_has_the_lives_counted_anew(services: Services) -> None:
    live(services, range(10), speed=1650.0)
    assert services.cohorts["fan"].twin.exposure[0] == pytest.approx(10 * 1.1**3, rel=0.01)
    with write(services.engine) as connection:
        store_plant(connection, WORN.replace("reference: 1500", "reference: 1650"), RULES, START)
    live(services, [10], speed=1650.0)
    assert services.cohorts["fan"].twin.exposure[0] == pytest.approx(11, rel=0.01)


def test_api_and_page_say_how_far_it_is_worn_and_what_that_rests_on(services: Services) -> None:
    live(services, range(48), speed=2000.0)
    client: TestClient = client_of(services)
    asset = client.get("/api/v1/assets/F-1").json()
    (belt,) = asset["twin"]["wear"]
    assert (belt["mode"], belt["measured"]) == ("belt", 48)
    assert 0 <= belt["low"] < belt["wear"] < belt["high"] < 0.3
    assert belt["stress"] == pytest.approx(1.2**3, rel=1e-9)
    assert belt["exposure"] == pytest.approx(asset["twin"]["exposure"])
    assert asset["twin"]["prognosis"]["basis"] == "declared_wear"
    assert asset["readiness"]["today"] == (
        "Forecast from the wear measured on it and the declared lives of its failure modes (Belt wear 800 h); "
        "low confidence, 0 failures seen."
    )
    page = client.get("/assets/F-1").text
    assert "Wear, 100 % at the limit" in page
    assert "48 measured values" in page
    assert "declared wear: low confidence" in page
    assert "is beyond where it holds, and counts as 1,800 rpm" in page
    then = client.get("/api/v1/assets/F-1/twin", params={"as_of": "2026-01-07T00:00:00Z"}).json()
    assert then["wear"] == asset["twin"]["wear"]
