"""Forecasts and alerts against outcomes, on small cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.prognosis import LEVELS, MEDIAN
from pdm.scoring import age_only, alert_outcomes, bootstrap, crps, nasa_score, score
from pdm.scoring.life_table import fit_life_table
from pdm.scoring.policies import FinishedLife

HOUR = 3_600_000
UNIFORM = LEVELS * 100.0


def shifted(median: float, spread: float = 10.0) -> np.ndarray:
    return median + (LEVELS - 0.5) * spread


def test_crps_of_a_certain_forecast_is_its_error() -> None:
    np.testing.assert_allclose(crps(np.full((2, 21), 10.0), np.array([14.0, 7.0])), [4.0, 3.0])


@pytest.mark.parametrize("truth", [5.0, 20.0, 50.0, 80.0])
def test_crps_of_a_uniform_forecast_is_close_to_the_exact_one(truth: float) -> None:
    # for U(0, 100): integral of (F - 1{y <= x})^2 = 100 ((y/100)^3 + (1 - y/100)^3) / 3
    exact = 100 * ((truth / 100) ** 3 + (1 - truth / 100) ** 3) / 3
    assert crps(UNIFORM[None, :], np.array([truth]))[0] == pytest.approx(exact, rel=0.02)


def test_the_nasa_score_punishes_late_forecasts_more() -> None:
    assert nasa_score(np.array([-13.0, 0.0, 10.0]), 125.0) == pytest.approx([np.e - 1, 0.0, np.e - 1])
    assert nasa_score(np.array([80.0]), 1000.0) == pytest.approx([np.e - 1])


def test_coverage_counts_truths_inside_the_band_and_its_edges() -> None:
    issued = np.tile(UNIFORM, (4, 1))
    truth = np.array([10.0, 9.9, 24.0, 97.0])  # bands 25-75, 10-90, 5-95
    scores = score(issued, truth, np.array([0, 1, 2, 3]), 100.0).mean()
    assert (scores.coverage_50, scores.coverage_80, scores.coverage_90) == (0.0, 0.5, 0.75)
    assert scores.width_80 == pytest.approx(80.0)
    assert (scores.lives, scores.forecasts) == (4, 4)


def test_each_life_weighs_the_same_however_often_it_was_forecast() -> None:
    issued = np.stack([shifted(20.0)] * 9 + [shifted(30.0)])
    scores = score(issued, np.full(10, 20.0), np.array(["a"] * 9 + ["b"]), 100.0)
    assert scores.life.tolist() == ["a", "b"]
    assert scores.mean().rmse == pytest.approx(np.sqrt((0.0 + 100.0) / 2))
    assert scores.mean().coverage_80 == 0.5


def test_a_truth_beyond_the_horizon_and_a_refused_forecast_do_not_count() -> None:
    issued = np.stack([shifted(20.0), shifted(20.0), np.full(21, np.nan), shifted(20.0)])
    scores = score(issued, np.array([20.0, 101.0, 20.0, np.nan]), np.array([0, 0, 0, 1]), 100.0)
    assert scores.mean().forecasts == 1
    assert np.isnan(score(issued[2:], np.full(2, 500.0), np.zeros(2), 100.0).mean().rmse)


def test_a_forecast_beyond_the_horizon_is_clipped_to_it() -> None:
    far = score(shifted(900.0)[None, :], np.array([100.0]), np.zeros(1), 100.0).mean()
    assert (far.rmse, far.crps, far.coverage_80) == (0.0, 0.0, 1.0)


def test_age_alone_forecasts_from_the_lives_that_got_there() -> None:
    lives = np.arange(1.0, 101.0)
    forecast = age_only(lives, np.array([0.0, 50.0, 95.0]))
    assert forecast[:2, MEDIAN] == pytest.approx([50.5, 75.5 - 50.0])
    # five lives are too few to speak for themselves
    law = fit_life_table(lives, np.ones(100, dtype=bool))
    np.testing.assert_allclose(forecast[2], law.remaining(95.0, LEVELS))


@settings(deadline=None)
@given(st.lists(st.floats(1.0, 1000.0), min_size=2, max_size=40, unique=True), st.floats(0.0, 2000.0))
def test_age_alone_never_forecasts_the_past(lives: list[float], age: float) -> None:
    forecast = age_only(np.array(lives), np.array([age]))[0]
    assert np.all(forecast >= -1e-6)
    assert np.all(np.diff(forecast) >= -1e-6)


def test_an_alert_is_useful_false_or_late() -> None:
    # four machines that fail after 1,000 h without a pause; the rule looks 168 h ahead, people need 48 h
    lives = [FinishedLife(np.array([0, 1000 * HOUR]), np.array([0.0, 1000.0]))] * 4
    opened = np.array([900, 600, 990, 700, 930]) * HOUR
    closed = np.array([-1, 650 * HOUR, -1, 800 * HOUR, 1001 * HOUR])
    found = alert_outcomes(np.array([0, 0, 1, 2, 3]), opened, closed, lives, 48 * HOUR, 168.0)
    assert found.lead == pytest.approx([100.0, 400.0, 10.0, 300.0, 70.0])
    assert found.false_alarm.tolist() == [False, True, False, False, False]
    assert found.missed.tolist() == [False, True, True, False]  # opened too late; closed before the failure


def test_notice_counts_plant_time_and_lead_counts_life() -> None:
    # runs half of the time: 40 h of life are 80 h of plant time
    lives = [FinishedLife(np.array([0, 2000 * HOUR]), np.array([0.0, 1000.0]))]
    found = alert_outcomes(np.array([0]), np.array([1920 * HOUR]), np.array([-1]), lives, 48 * HOUR, 168.0)
    assert found.lead == pytest.approx([40.0])
    assert not found.missed[0]


def test_without_alerts_every_failure_is_missed() -> None:
    none = np.zeros(0, dtype=np.int64)
    lives = [FinishedLife(np.array([0, HOUR]), np.array([0.0, 1.0]))]
    assert alert_outcomes(none, none, none, lives, HOUR, 1.0).missed.tolist() == [True]


def test_the_bootstrap_of_a_mean_has_its_textbook_standard_error() -> None:
    values = np.random.default_rng(5).normal(10.0, 2.0, 100)
    spread = bootstrap(lambda lives: float(values[lives].mean()), 100)
    assert spread.value == values.mean()
    assert spread.standard_error == pytest.approx(values.std() / 10, rel=0.05)
    assert spread.high - spread.low == pytest.approx(2 * 1.645 * values.std() / 10, rel=0.08)
    assert spread == bootstrap(lambda lives: float(values[lives].mean()), 100)
