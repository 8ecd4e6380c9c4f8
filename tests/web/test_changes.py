"""What moved a forecast: time alone, a sensor that rose, or another model; and finished lives that it is like."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life, train
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.readings import Readings
from pdm.services import Services
from pdm.tick import tick
from pdm.web import snapshot
from tests.small_plant import HOUR, PLANT, START, feed, make_services, readings, report, rows
from tests.web.station import client_of

HOURS = 240


@pytest.fixture(scope="module")
def model() -> Model:
    """Fans whose vibration rises until they fail."""
    asset_class = parse_plant(PLANT).classes["fan"]
    lives = [_life(number, hours) for number, hours in enumerate((300, 360, 420, 480, 540))]
    return replace(train(asset_class, lives, seed=1, origin=Origin.SIMULATED), version="2026-01")


def _life(number: int, hours: int) -> Life:
    random = np.random.default_rng(number)
    vibration = 2.0 + 2.4 * np.arange(hours) / hours + 0.06 * random.standard_normal(hours)
    columns = np.column_stack([1500 + random.standard_normal(hours), vibration, vibration + 0.1])
    return Life(f"T-{number}", columns, np.ones(hours), failed=True)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(HOURS)))
    return services


def go_on(services: Services, hours: int) -> TestClient:
    tick(services, START + hours * HOUR)
    services.clock.advance(START + hours * HOUR)  # type: ignore[attr-defined]
    snapshot.expire(services)
    return client_of(services)


def shaking(first: int, last: int) -> Readings:
    """Vibration that rises ten times as fast as so far, three times an hour."""
    hour, random = first + np.arange(3 * (last - first)) / 3, np.random.default_rng(1)
    speed = 1500 + random.standard_normal(len(hour))
    vibration = 2.0 + first / 200 + (hour - first) / 20 + 0.1 * random.standard_normal(len(hour))
    return rows("fan1", (START + hour * HOUR).astype(np.int64), np.column_stack([speed, vibration]))


def test_a_sensor_that_rose_is_named_with_the_life_that_it_cost(services: Services, model: Model) -> None:
    services.models["fan"] = model
    go_on(services, HOURS)
    feed(services, shaking(HOURS, HOURS + 30))
    client = go_on(services, HOURS + 30)
    found = client.get("/api/v1/assets/F-1/changes").json()
    assert found["since"] == "2026-01-15T00:00:00Z"
    assert found["used"] == pytest.approx(30.0, abs=1.0)
    assert found["beyond_use"] == pytest.approx(found["median_now"] - found["median_before"] + found["used"])
    assert found["beyond_use"] < 0
    assert found["movers"][0]["column"].startswith("vibration")
    assert found["movers"][0]["change"] < 0
    assert found["reasons"] == []
    part = client.get("/assets/F-1/changes", headers={"HX-Request": "true"}).text
    assert "less than that leaves" in part
    assert "Vibration" in part
    assert "/assets/F-1/changes" in client.get("/assets/F-1").text


def test_without_a_model_only_the_passing_of_life_is_told(services: Services) -> None:
    go_on(services, HOURS - 24)
    client = go_on(services, HOURS)
    found = client.get("/api/v1/assets/F-1/changes").json()
    assert found["used"] == 24.0
    assert found["movers"] == []
    assert found["median_now"] < found["median_before"]


def test_another_model_is_a_reason_of_its_own(services: Services, model: Model) -> None:
    go_on(services, HOURS - 24)
    services.models["fan"] = model
    found = go_on(services, HOURS).get("/api/v1/assets/F-1/changes").json()
    assert found["reasons"] == [
        "another model speaks: 2026-01, before it none",
        "it rests on something else: learned, before declared life",
    ]
    assert found["movers"] == []


def test_a_forecast_that_is_refused_now_says_why_it_is_gone(services: Services, model: Model) -> None:
    services.models["fan"] = model
    go_on(services, HOURS)
    stuck = replace(shaking(HOURS, HOURS + 30), values=np.full((90, 2), 1500.0))
    feed(services, stuck)
    found = go_on(services, HOURS + 30).get("/api/v1/assets/F-1/changes").json()
    assert found["median_now"] is None
    assert found["reasons"][0].startswith("there is no forecast now: ")


def end_lives(services: Services, hours: int) -> None:
    """The other two fans ran to failure, one of them after so many hours."""
    for serial, lasted in (("F-2", hours), ("F-3", 150)):
        feed(services, readings(f"fan{serial[-1]}", range(lasted)))
        report(services, MaintenanceEvent(serial, EventKind.FAILED, START + lasted * HOUR, mode="belt"), serial)


def test_finished_lives_that_looked_like_it_are_shown_with_how_they_went_on(services: Services, model: Model) -> None:
    services.models["fan"] = model
    end_lives(services, 230)
    client = go_on(services, HOURS)
    first, second = client.get("/api/v1/assets/F-1/similar").json()["lives"]
    assert first["serial"] == "F-2"  # vibration rises with the hour: at 240 h it is most like another at 230 h
    assert (first["mode"], first["unit"], second["serial"]) == ("belt", "hour", "F-3")
    assert 1 >= first["alike"] > second["alike"] > 0
    assert first["used"] + first["remaining"] == pytest.approx(230.0)
    assert first["remaining"] < 40
    part = client.get("/assets/F-1/similar").text
    assert "Belt wear ended it" in part
    assert "% alike" in part
    assert "/assets/F-1/similar" in client.get("/assets/F-1").text


def test_without_a_finished_life_or_a_model_nothing_is_like_it(services: Services, model: Model) -> None:
    client = go_on(services, HOURS)
    assert client.get("/api/v1/assets/F-1/similar").json()["lives"] == []
    services.models["fan"] = model
    client = go_on(services, HOURS + 1)
    assert client.get("/api/v1/assets/F-1/similar").json()["lives"] == []
    assert "No life of its class has run from new to failure" in client.get("/assets/F-1/similar").text
    assert client.get("/api/v1/assets/F-99/similar").status_code == 404


def test_before_a_second_step_there_is_nothing_to_compare(services: Services) -> None:
    client = go_on(services, HOURS)
    assert client.get("/api/v1/assets/F-1/changes").status_code == 404
    assert "Nothing was forecast about an earlier step" in client.get("/assets/F-1/changes").text
    assert client.get("/api/v1/assets/F-99/changes").status_code == 404
    assert client.get("/assets/F-99/changes").status_code == 404
