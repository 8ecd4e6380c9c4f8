"""What if the duty were another one: exact under the declared law, refused without one, never a change of the twin."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from pdm import twin
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN, Basis, Prognosis
from pdm.prognosis.forecast import forecast
from pdm.scenario import Duty, Stretch, branched, duty_columns
from pdm.services import Services
from pdm.state.plants import store_plant
from pdm.state.schema import write
from pdm.steps import Steps
from pdm.tick import tick
from pdm.web import snapshot
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings
from tests.web.station import client_of

CUBE = "{law: inverse_power, of: speed, reference: 1500, exponent: 3, range: [300, 2400]}"
OWN = "{law: inverse_power, of: speed, reference: 1500, exponent: 1}"
STRESSED = PLANT.replace("    costs:", f"    stress: {CUBE}\n    costs:")
WORN = STRESSED.replace(
    "limit: {sensor: vibration_max, above: 9}}",
    "limit: {sensor: vibration_max, above: 9}, expected_life: {mean: 800, sd: 200}, wear: {new: 2, noise: 0.2}}\n"
    f"      seal: {{expected_life: {{mean: 1500, sd: 500}}, stress: {OWN}}}",
)
HOURS = 300


def lived(folder: Path, plant: str) -> Services:
    services = make_services(folder)
    with write(services.engine) as connection:
        store_plant(connection, plant, RULES, START)
    feed(services, *(readings(source, range(HOURS)) for source in ("fan1", "fan2")))
    tick(services, START + HOURS * HOUR)
    services.clock.advance(START + HOURS * HOUR)  # type: ignore[attr-defined]
    snapshot.expire(services)
    return services


@pytest.fixture(scope="module")
def stressed(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    return client_of(lived(tmp_path_factory.mktemp("stressed"), STRESSED))


def asked(client: TestClient, **duty: dict[str, float]) -> dict[str, Any]:
    answer = client.post("/api/v1/simulations", json={"serial": "F-1", **duty})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_at_half_the_speed_a_cube_law_leaves_eight_times_the_time(stressed: TestClient) -> None:
    found = asked(stressed, factor={"speed": 0.5})
    assert found["faster"] == pytest.approx(1 / 8)
    today, then = found["today"]["prognosis"], found["scenario"]["prognosis"]
    assert then["rul"] == today["rul"]  # what is left at the reference duty is left
    assert then["duty_rate"] == pytest.approx(today["duty_rate"] / 8)
    hours = today["rul"]["p50"] / today["duty_rate"]
    assert found["difference"]["median_hours"] == pytest.approx(7 * hours)
    assert found["difference"]["risk_week"] < 0


def test_a_value_counts_against_the_duty_of_the_last_weeks(stressed: TestClient) -> None:
    found = asked(stressed, duty={"speed": 1800})
    assert found["faster"] == pytest.approx(1.2**3, rel=2e-3)  # it ran at about 1500
    assert found["difference"]["median_hours"] < 0
    assert found["difference"]["cost"] > 0
    assert found["difference"]["preferred_hours"] <= 0


def test_the_same_duty_makes_no_difference_and_today_is_what_the_asset_says(stressed: TestClient) -> None:
    found = asked(stressed, factor={"speed": 1.0})
    assert set(found["difference"].values()) == {0.0}
    shown = stressed.get("/api/v1/assets/F-1").json()
    assert found["today"]["prognosis"] == shown["twin"]["prognosis"]
    assert found["tick"] == shown["twin"]["tick"]


def test_duty_beyond_where_the_law_holds_counts_as_its_end_and_is_named(stressed: TestClient) -> None:
    found = asked(stressed, duty={"speed": 3000})
    assert found["beyond"] == [{"column": "speed", "value": 3000.0, "counts_as": 2400.0}]
    assert found["faster"] == pytest.approx(1.6**3, rel=2e-3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "expected a duty or a factor of speed"),
        ({"factor": {"sped": 0.9}}, "no law of stress is of 'sped'; did you mean 'speed'?"),
        ({"factor": {"speed": 0.9}, "duty": {"speed": 900}}, "speed has a duty already"),
        ({"factor": {"speed": -1}}, "greater than 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(stressed: TestClient, body: dict[str, Any], said: str) -> None:
    answer = stressed.post("/api/v1/simulations", json={"serial": "F-1", **body})
    assert answer.status_code == 422
    assert said in answer.text or "above 0" in answer.text


def test_an_unknown_machine_is_not_found(stressed: TestClient) -> None:
    answer = stressed.post("/api/v1/simulations", json={"serial": "F-99", "factor": {"speed": 0.9}})
    assert answer.status_code == 404


def test_without_a_law_or_a_forecast_there_is_no_answer_but_a_reason(tmp_path: Path, stressed: TestClient) -> None:
    lawless = client_of(lived(tmp_path, PLANT))
    assert asked(lawless, factor={"speed": 0.9})["refusal"] == "no_duty_effect_known"
    assert "What if" not in lawless.get("/assets/F-1").text
    unheard = stressed.post("/api/v1/simulations", json={"serial": "F-3", "factor": {"speed": 0.9}}).json()
    assert unheard["refusal"] == "no_readings"


def test_the_live_twin_and_what_is_stored_stay_as_they_are(tmp_path: Path) -> None:
    services = lived(tmp_path, WORN)
    client = client_of(services)
    before = client.get("/api/v1/assets/F-1").json()
    bits = {name: values.copy() for name, values in twin.to_columns(services.cohorts["fan"].twin, np.arange(3)).items()}
    assert asked(client, factor={"speed": 1.4})["difference"]["median_hours"] < 0
    assert client.get("/api/v1/assets/F-1").json() == before
    for name, values in twin.to_columns(services.cohorts["fan"].twin, np.arange(3)).items():
        np.testing.assert_array_equal(values, bits[name])


def test_the_slider_shows_both_sides_and_survives_any_position(stressed: TestClient) -> None:
    page = stressed.get("/assets/F-1").text
    assert 'type="range"' in page
    assert "Speed, as a share of lately" in page
    part = stressed.get("/assets/F-1/what-if", params={"percent": "50"}, headers={"HX-Request": "true"}).text
    assert "At 50 %: life passes 0.13 times as fast as lately" in part
    assert "Risk within a week" in part
    assert "Expected cost then" in part
    for percent in ("", "x", "-4", "99999", "1000"):
        assert stressed.get("/assets/F-1/what-if", params={"percent": percent}).status_code == 200
    assert stressed.get("/assets/F-99/what-if").status_code == 404


WEARING = parse_plant(WORN).classes["fan"]


def folded() -> twin.Twin:
    """Two hundred hours of one fan at 1500 rpm."""
    hour = np.arange(200)
    start = START + hour * HOUR
    values = np.column_stack([np.full(200, 1500.0), 2 + 7 * hour / 900, 2 + 7 * hour / 900])
    state = twin.start(WEARING, None, 1)
    one = np.ones(200)
    twin.fold(WEARING, None, state, Steps(hour * 0, start, start + HOUR, one, one.astype(np.int32), values))
    return state


FOLDED = folded()
SAID = forecast(WEARING, None, FOLDED, np.array([0]), np.array([True]))


def hours_left(duty: Duty) -> Any:
    """Quantiles of the time to failure under a duty [h]."""
    assert FOLDED.wear is not None
    worn = FOLDED.wear.to_columns()["wear_state"][0]
    found = branched(WEARING, SAID, worn, FOLDED.latest[0], float(FOLDED.duty_rate[0]), [Stretch(duty)])
    return found.prognosis.quantiles[0] / found.duty_rate


@given(st.floats(0.25, 1.5), st.floats(0.25, 1.5))
def test_more_load_never_lengthens_life(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert (hours_left(Duty(factor={"speed": high})) <= hours_left(Duty(factor={"speed": low})) * (1 + 1e-6)).all()


def test_each_mode_has_its_own_clock() -> None:
    # at half the speed the belt lives eight times as long, the seal twice: the median of the earliest lies between
    ratio = hours_left(Duty(factor={"speed": 0.5}))[MEDIAN] / hours_left(Duty(factor={"speed": 1.0}))[MEDIAN]
    assert 2.0 < ratio < 8.0
    np.testing.assert_allclose(hours_left(Duty(factor={"speed": 1.0})), SAID.quantiles[0] / FOLDED.duty_rate[0])
    np.testing.assert_allclose(hours_left(Duty(value={"speed": 750.0})), hours_left(Duty(factor={"speed": 0.5})))


AGED = replace(SAID, basis=np.array([Basis.LIFE_TABLE], dtype=np.int8))


def hours_under(*profile: Stretch, said: Prognosis = AGED) -> Any:
    """Quantiles of the time to failure under duties that follow each other [h]."""
    assert FOLDED.wear is not None
    worn = FOLDED.wear.to_columns()["wear_state"][0]
    found = branched(WEARING, said, worn, FOLDED.latest[0], float(FOLDED.duty_rate[0]), profile)
    return found.prognosis.quantiles[0] / found.duty_rate


HALF, FULL = Duty(factor={"speed": 0.5}), Duty(factor={"speed": 1.0})


@pytest.mark.parametrize("said", [AGED, SAID], ids=["one clock", "a clock for each mode"])
def test_a_profile_of_one_duty_is_that_duty(said: Prognosis) -> None:
    np.testing.assert_allclose(
        hours_under(Stretch(HALF, 48.0), Stretch(HALF, 200.0), Stretch(HALF), said=said),
        hours_under(Stretch(HALF), said=said),
        rtol=1e-9 if said is AGED else 0.02,  # laws of several modes are kept at some points only
    )


def test_a_day_at_rest_moves_every_date_by_a_day() -> None:
    resting = replace(WEARING, stress=(replace(WEARING.stress[0], low=None),))
    worn = FOLDED.wear.to_columns()["wear_state"][0] if FOLDED.wear else np.empty(0)
    profile = [Stretch(Duty(value={"speed": 0.0}), 24.0), Stretch(FULL)]
    rate = float(FOLDED.duty_rate[0])
    found = branched(resting, AGED, worn, FOLDED.latest[0], rate, profile).prognosis.quantiles[0] / rate
    np.testing.assert_allclose(found, AGED.quantiles[0] / rate + 24.0)


@given(st.floats(1.0, 2000.0))
def test_sparing_it_for_longer_never_shortens_life(hours: float) -> None:
    spared = hours_under(Stretch(HALF, hours), Stretch(FULL))
    assert (spared >= hours_under(Stretch(FULL)) * (1 - 1e-9)).all()
    assert (spared <= hours_under(Stretch(HALF)) * (1 + 1e-9)).all()


def test_a_profile_is_asked_for_by_stretches_of_which_the_last_goes_on(stressed: TestClient) -> None:
    spared = [{"lasting": "10 d", "factor": {"speed": 0.5}}, {"factor": {"speed": 1.0}}]
    found = stressed.post("/api/v1/simulations", json={"serial": "F-1", "profile": spared}).json()
    # ten days at an eighth of the life: 8.75 days gained
    assert found["difference"]["median_hours"] == pytest.approx(210.0, rel=1e-3)
    assert found["faster"] is None
    assert found["difference"]["risk_week"] < 0
    for profile, said in (
        ([{"factor": {"speed": 0.5}}, {"factor": {"speed": 1.0}}], "of each stretch but the last"),
        ([{"lasting": "soon", "factor": {"speed": 0.5}}, {"factor": {"speed": 1.0}}], "expected a duration"),
        ([{"lasting": "3 d"}, {"factor": {"speed": 1.0}}], "expected a duty or a factor"),
    ):
        answer = stressed.post("/api/v1/simulations", json={"serial": "F-1", "profile": profile})
        assert answer.status_code == 422
        assert said in answer.text


def test_a_factor_means_nothing_of_a_temperature() -> None:
    hot = PLANT.replace("vibration: {unit: mm/s, range: [0, 50]", "vibration: {unit: degC, range: [0, 50]").replace(
        "    costs:",
        "    stress: {law: arrhenius, of: vibration_mean, reference: 40, activation_energy: 0.8}\n    costs:",
    )
    assert duty_columns(parse_plant(hot).classes["fan"]) == {"vibration_mean": False}
