"""Declared lives that the fleet corrects: the law by hand, its limits, and a plant that declared twice the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.applying import Files, what_changes
from pdm.degradation import Weibull
from pdm.fleet_lives import corrections, review_lives
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life
from pdm.plant.file import parse_plant
from pdm.scoring.life_table import fit_life_table, pooled
from pdm.services import Services
from pdm.state.fleet_lives import OF_CLASS
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import read, write
from pdm.tick import tick
from pdm.web.snapshot import expire
from pdm.web.views import asset_view
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report

DECLARED = Weibull.from_moments(1000.0, 250.0)


def test_a_declared_life_without_any_other_stays_as_it_is() -> None:
    law = pooled(DECLARED, np.zeros(0), np.zeros(0, dtype=np.bool_))
    assert law.mean == pytest.approx(1000.0, rel=0.01)
    assert law.sd == pytest.approx(250.0, rel=0.1)  # its quantiles reach less far than its tails


def test_weights_count_as_so_many_equal_lives() -> None:
    lives, failed = np.array([300.0, 500.0, 800.0]), np.array([True, True, False])
    twice = fit_life_table(np.repeat(lives, [2, 1, 3]), np.repeat(failed, [2, 1, 3]))
    weighted = fit_life_table(lives, failed, np.array([2.0, 1.0, 3.0]))
    assert (weighted.shape, weighted.scale) == pytest.approx((twice.shape, twice.scale))


@given(st.integers(1, 60), st.floats(0.3, 3.0))
def test_the_more_lives_the_nearer_to_them_and_never_past_them(count: int, ratio: float) -> None:
    true = Weibull.from_moments(1000.0 * ratio, 250.0 * ratio)
    lives = true.remaining(0.0, (np.arange(count) + 0.5) / count)
    mean = pooled(DECLARED, lives, np.ones(count, dtype=np.bool_)).mean
    low, high = sorted((1000.0, 1000.0 * ratio))
    assert low * 0.95 <= mean <= high * 1.05
    if count > 30:
        assert mean == pytest.approx(1000.0 * ratio, rel=0.35)


def test_machines_that_still_run_beyond_the_declared_life_lengthen_it() -> None:
    running = np.zeros(6, dtype=np.bool_)
    assert pooled(DECLARED, np.full(6, 1500.0), running).mean > 1300
    assert pooled(DECLARED, np.full(6, 50.0), running).mean == pytest.approx(1000.0, rel=0.01)


MODES = PLANT.replace(
    "limit: {sensor: vibration_max, above: 9}}",
    "limit: {sensor: vibration_max, above: 9}, expected_life: {mean: 800, sd: 200}}\n"
    "      seal: {expected_life: {mean: 800, sd: 200}, "
    "stress: {law: inverse_power, of: speed, reference: 1000, exponent: 1}}",
)


def life(number: int, hours: int, mode: str | None) -> Life:
    columns = np.column_stack([np.full(hours, 1500.0), np.full(hours, 2.0), np.full(hours, 2.1)])
    return Life(f"F-{number}", columns, np.ones(hours), failed=mode is not None, mode=mode)


def test_a_life_that_one_mode_ended_is_censored_for_the_others_and_each_counts_by_its_own_law() -> None:
    fan = parse_plant(MODES).classes["fan"]
    lives = [life(n, 400 + n, "belt") for n in range(10)]
    found = {one.mode: one for one in corrections(fan, lives)}
    assert (found["belt"].failures, found["belt"].censored) == (10, 0)
    assert (found["seal"].failures, found["seal"].censored) == (0, 10)
    assert found["belt"].mean < 550
    # at 1500 rpm a seal ages 1.5 times as fast as at its reference of 1000: it has seen 600 of its 800 hours
    assert found["seal"].mean > 800
    assert found[OF_CLASS].mean < 500


def test_lives_whose_start_or_mode_nobody_knows_teach_nothing_about_it() -> None:
    fan = parse_plant(MODES).classes["fan"]
    assert not list(corrections(fan, [replace(life(1, 400, "belt"), complete=False)]))
    found = {one.mode: one for one in corrections(fan, [replace(life(1, 400, None), failed=True), life(2, 100, None)])}
    assert (found["belt"].failures, found["belt"].censored) == (0, 1)
    assert (found[OF_CLASS].failures, found[OF_CLASS].censored) == (1, 1)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Eight fans that were to last 500 hours and fail from 150 on; a ninth goes on."""
    services = make_services(tmp_path)
    fan = '  - {{serial: N-{n}, class: fan, slot: N{n}, source: new{n}, start_of_life: "2026-01-05T00:00:00Z"}}\n'
    with write(services.engine) as connection:
        store_plant(connection, PLANT + "".join(fan.format(n=n) for n in range(9)), RULES, START)
    for n in range(8):
        hours = 150 + 10 * n
        feed(services, readings(f"new{n}", range(hours)))
        failed = MaintenanceEvent(f"N-{n}", EventKind.FAILED, START + hours * HOUR, mode="belt")
        report(services, failed, f"end of {n}")
    feed(services, readings("new8", range(100)))
    tick(services, START + 110 * HOUR)
    return services


def median(services: Services) -> float:
    expire(services)
    twin = asset_view(services, "N-8").twin
    assert twin is not None
    assert twin.prognosis.rul is not None
    return twin.prognosis.rul.p50


def test_a_plant_that_declared_too_much_forecasts_by_what_its_fleet_showed(services: Services) -> None:
    before = median(services)
    told = review_lives(services, START + 110 * HOUR)
    assert "8 failures and 1 life that did not end so" in told
    tick(services, START + 111 * HOUR)
    assert median(services) < before - 100
    assert "corrected by 9 lives of the fleet" in asset_view(services, "N-8").readiness.today
    assert review_lives(services, START + 112 * HOUR) == ""
    shown = median(services)
    services.cohorts.clear()
    tick(services, START + 111 * HOUR)
    assert median(services) == shown


def test_the_file_stays_the_truth_of_what_is_declared(services: Services) -> None:
    review_lives(services, START + 110 * HOUR)
    with read(services.engine) as connection:
        current = current_plant(connection)
        assert current.declared.classes["fan"].expected_life != current.plant.classes["fan"].expected_life
        assert not what_changes(connection, Files("", "", current.declared, current.rules)).sentences
    with write(services.engine) as connection:
        stored = store_plant(connection, PLANT.replace("mean: 500", "mean: 900"), RULES, START)
    with read(services.engine) as connection:  # what was corrected was another declaration
        assert current_plant(connection).plant.classes == stored.plant.classes
