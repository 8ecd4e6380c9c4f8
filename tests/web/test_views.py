"""One prognosis, one window and the same words on every page and in every answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from pdm.errors import NotFoundError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.prognosis import MEDIAN
from pdm.prognosis.quantiles import failure_probability
from pdm.services import Services
from pdm.state import plants, schema
from pdm.state.cohorts import load_beliefs, store_beliefs
from pdm.tick import tick
from pdm.web import past, snapshot, views
from pdm.web.fleet import FleetFilter, fleet_view
from pdm.web.forecasts import Until, date_of
from pdm.web.shapes import Page, RiskView, TwinView, rfc3339, to_json
from tests.small_plant import HOUR, START, feed, readings, report
from tests.web.station import AWKWARD, NOW, NOW_HOURS


def fresh(services: Services) -> None:
    snapshot.expire(services)


def test_the_probability_at_the_median_date_is_one_half(services: Services) -> None:
    now = snapshot.latest(services)
    median = views.twin_in(snapshot.latest(services), "F-1").prognosis.median_at
    assert median is not None
    at_median = views.prognosis_until(now, "F-1", [Until("median", median)]).risks[-1]
    assert at_median.probability == pytest.approx(0.5, abs=1e-6)  # dates are whole milliseconds


def test_fleet_asset_twin_and_window_show_one_prognosis(services: Services, client: TestClient) -> None:
    row = next(row for row in fleet_view(services).rows if row.serial == "F-1")
    asset = views.asset_view(services, "F-1")
    assert asset.twin is not None
    prognosis = asset.twin.prognosis
    assert prognosis == views.twin_in(snapshot.latest(services), "F-1").prognosis
    assert (row.text, row.median_at, row.used_life) == (prognosis.text, prognosis.median_at, asset.twin.used_life)
    notice = next(risk for risk in prognosis.risks if risk.name == "notice")
    assert (row.risk, row.risk_until) == (notice.probability, notice.until)
    assert row.expected_loss == pytest.approx(8000 * (row.risk or 0))
    assert row.window == asset.window
    fed = client.get("/api/v1/interventions", params={"serial": "F-1"}).json()["items"][0]
    assert asset.window is not None
    assert fed["preferred_start"] == rfc3339(asset.window.preferred.start)
    assert fed["failure_probability"]["preferred"] == asset.window.preferred.failure_probability


def test_the_risk_of_a_window_is_that_of_the_prognosis_that_it_names(services: Services) -> None:
    (window,) = views.asset_view(services, "F-1").interventions
    issued = next(view for view in views.history_view(services, "F-1") if view.id == window.replay.prognosis)
    hours = (window.preferred_start - issued.issued_at) / HOUR
    risk = failure_probability(np.array([issued.quantiles]), (issued.duty_rate or 0) * hours)[0]
    assert window.failure_probability.preferred == pytest.approx(risk)
    assert window.rul.p50 == issued.quantiles[MEDIAN]


def test_before_the_first_reading_nothing_is_invented(services: Services) -> None:
    asset = views.asset_view(services, AWKWARD)
    assert asset.twin is not None
    prognosis = asset.twin.prognosis
    assert (prognosis.refusal, prognosis.rul, prognosis.median_at, prognosis.quantiles) == (
        "no_readings",
        None,
        None,
        (),
    )
    assert prognosis.text == "no forecast: no readings"
    assert {risk.probability for risk in prognosis.risks} == {None}
    assert asset.attention == "blind"


def test_an_unknown_machine_is_not_found(services: Services) -> None:
    with pytest.raises(NotFoundError):
        views.asset_view(services, "nope")


def test_the_counts_of_the_fleet_add_up(services: Services) -> None:
    counts = fleet_view(services).counts
    assert counts.assets == counts.forecast + counts.watched + counts.no_forecast == 4
    assert (counts.attention, counts.failed) == (2, 0)


def test_a_failed_machine_leaves_the_counts_and_asks_for_nobody(services: Services) -> None:
    report(services, MaintenanceEvent("F-2", EventKind.FAILED, NOW, "belt"))
    tick(services, NOW + HOUR)
    fresh(services)
    fleet = fleet_view(services, FleetFilter(in_service=False))
    assert [(row.serial, row.refusal, row.attention) for row in fleet.rows] == [("F-2", "failed", None)]
    assert (fleet.counts.assets, fleet.counts.failed) == (3, 1)
    life = views.asset_view(services, "F-2").life
    assert (life.failed, life.mode, life.ended_at) == (True, "belt", NOW)


def test_a_machine_without_declared_costs_is_ranked_by_the_average_of_the_others(services: Services) -> None:
    """F-2 has criticality 5 and no price: 8000 * 5 / 3 outweighs the 8000 of F-1 at the same risk."""
    with schema.write(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
        assert stored is not None
        windows = stored.beliefs.windows
        priced = np.where(stored.beliefs.serial == "F-2", np.nan, windows.cost_run_to_failure)
        without = replace(stored.beliefs, windows=replace(windows, cost_run_to_failure=priced))
        store_beliefs(connection, "fan", stored.tick + 1, stored.at_ms, stored.facts, without)
    fresh(services)
    assert [row.serial for row in fleet_view(services).rows][:2] == ["F-2", "F-1"]
    assert fleet_view(services).rows[0].expected_loss is None


# The twin then


def test_a_twin_folded_on_demand_as_of_now_has_the_bits_of_the_live_one(services: Services) -> None:
    live, folded = views.twin_in(snapshot.latest(services), "F-1"), past.past_twin(services, "F-1", NOW, None)
    assert to_json(TwinView, folded) == to_json(TwinView, live).replace(b'"revision":0', b'"revision":null')


def test_an_older_twin_ends_with_the_last_step_before_it(services: Services) -> None:
    then = past.past_twin(services, "F-1", START + 100 * HOUR + 1, None)
    assert (then.steps, then.exposure, then.seen_until) == (100, 100.0, START + 100 * HOUR)


def test_what_came_later_was_not_known_then(services: Services) -> None:
    feed(services, readings("fan1", [480], seed=1))
    late = readings("fan1", [470], seed=9)
    feed(services, late)
    tick(services, NOW + HOUR)
    fresh(services)
    before = past.past_twin(services, "F-1", START + 471 * HOUR, NOW)
    after = past.past_twin(services, "F-1", START + 471 * HOUR, NOW + HOUR)
    assert before.sensors != after.sensors
    assert (before.tick, after.tick) == (2, 3)
    assert past.past_twin(services, "F-1", NOW + HOUR, NOW).steps == NOW_HOURS


def test_what_was_said_before_a_late_reading_came_is_marked_as_said_without_it(services: Services) -> None:
    feed(services, readings("fan1", [400], seed=9))
    tick(services, NOW + HOUR)
    fresh(services)
    said = {view.issued_at: view.said_without for view in views.history_view(services, "F-1")}
    assert said[NOW] == NOW + HOUR
    assert {view.said_without for view in views.history_view(services, "F-2")} == {None}
    advice = views.asset_view(services, "F-1").recommendations
    assert {record.said_without for record in advice if record.at <= NOW} == {NOW + HOUR}
    feed(services, readings("fan1", [480]))
    tick(services, NOW + 25 * HOUR)
    fresh(services)
    assert views.history_view(services, "F-1")[-1].said_without is None


def test_a_repair_that_came_later_does_not_cut_the_older_life(services: Services) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 300 * HOUR))
    tick(services, NOW + 1)
    fresh(services)
    assert past.past_twin(services, "F-1", START + 200 * HOUR, None).exposure == 200.0
    assert past.past_twin(services, "F-1", START + 310 * HOUR, None).exposure == 10.0
    assert views.twin_in(snapshot.latest(services), "F-1").exposure == 180.0


def test_a_report_that_was_taken_back_later_was_believed_until_then(services: Services) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 300 * HOUR))
    with schema.write(services.engine) as connection:
        plants.void_event(connection, "e1", NOW + HOUR, "Ada", "wrong machine")
    tick(services, NOW + 2 * HOUR)
    fresh(services)
    known = (NOW, NOW + HOUR, None)
    exposure = [past.past_twin(services, "F-1", START + 310 * HOUR, known_ms).exposure for known_ms in known]
    assert exposure == [10.0, 310.0, 310.0]


def test_a_machine_that_had_been_silent_for_too_long_then_was_refused_then(services: Services) -> None:
    silent = past.past_twin(services, "F-1", NOW + 72 * HOUR, None)
    assert silent.prognosis.refusal == "stale"


# The ground


def test_a_snapshot_is_read_again_only_after_a_change(services: Services) -> None:
    first = snapshot.latest(services)
    fresh(services)
    assert snapshot.latest(services) is first
    report(services, MaintenanceEvent("F-1", EventKind.INSPECTED, NOW))
    fresh(services)
    second = snapshot.latest(services)
    assert second is not first
    assert second.classes["fan"].stored is first.classes["fan"].stored, "beliefs of the same tick are kept"


@given(st.integers(-(2**43), 2**43))
def test_times_go_out_as_rfc_3339_and_come_back(at_ms: int) -> None:
    since = datetime.fromisoformat(rfc3339(at_ms)) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since // timedelta(milliseconds=1) == at_ms


def test_what_is_no_number_goes_out_as_null() -> None:
    risks = (RiskView("a", 0, float("nan")), RiskView("b", 0, float("inf")))
    body = to_json(Page[RiskView], Page(risks, None))
    assert body.count(b'"probability":null') == 2


@given(st.floats(0.001, 1e4), st.floats(1e-4, 10.0))
def test_a_date_lies_where_the_duty_reaches_that_life(life: float, duty_rate: float) -> None:
    at = date_of(life, duty_rate, NOW, 1e9)
    assert at is None or (at - NOW) / HOUR * duty_rate == pytest.approx(life, abs=duty_rate / HOUR)


def test_no_date_beyond_the_horizon_or_without_duty() -> None:
    assert date_of(11.0, 1.0, NOW, 10.0) is None
    assert date_of(5.0, 0.0, NOW, 10.0) is None
    assert date_of(5.0, float("nan"), NOW, 10.0) is None
    assert date_of(5.0, 1e-9, NOW, 10.0) is None


def test_the_stored_median_is_the_median(services: Services) -> None:
    stored = snapshot.latest(services).classes["fan"].stored
    assert stored is not None
    quantiles = stored.beliefs.prognosis.quantiles[:1]
    assert failure_probability(quantiles, quantiles[:, MEDIAN])[0] == pytest.approx(0.5)
