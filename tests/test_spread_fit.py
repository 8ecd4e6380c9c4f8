"""The table of spreads: quantiles of errors near an expectation, mass beyond the horizon, tails."""

import numpy as np
import pytest
from scipy.stats import norm

from pdm.features.frame import Floats
from pdm.learn.lives import FEW
from pdm.learn.spread_fit import ENTRIES, fit_spread, widened
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.forests import Target, read_spread

HORIZON = 125.0
CAPPED = Target(cap=HORIZON)


def forecasts(count: int, sd: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Expectations and what was left, errors normal."""
    random = np.random.default_rng(seed)
    expected = random.uniform(0, HORIZON, count)
    return expected, np.clip(expected + random.normal(0, sd, count), 0, HORIZON)


def test_quantiles_are_those_of_the_errors_seen_near_the_expectation() -> None:
    expected, remaining = forecasts(200_000, sd=5.0)
    spread = fit_spread(expected, remaining, np.ones(len(expected)), CAPPED, HORIZON)
    quantiles, beyond = read_spread(spread, np.array([60.0]))
    np.testing.assert_allclose(quantiles[0], 60 + 5 * norm.ppf(LEVELS), atol=0.35)
    assert beyond[0] == pytest.approx(0.0, abs=1e-6)


def test_machines_that_outlived_the_horizon_are_the_probability_beyond_it() -> None:
    # of forecasts of 100, one in four machines outlived the horizon
    expected, remaining = np.full(400, 100.0), np.linspace(80, 110, 400)
    remaining[::4] = HORIZON
    spread = fit_spread(expected, remaining, np.ones(400), CAPPED, HORIZON)
    quantiles, beyond = read_spread(spread, np.array([100.0]))
    assert beyond[0] == pytest.approx(0.25)
    assert (quantiles[0, LEVELS > 0.75] == HORIZON).all()
    assert quantiles[0, MEDIAN] == pytest.approx(np.quantile(remaining, 0.5), abs=0.2)


def test_weights_count() -> None:
    # the machine with twenty forecasts says no more than the one with two
    expected = np.full(22, 50.0)
    remaining = np.concatenate([np.full(20, 40.0), np.full(2, 60.0)])
    weights = np.concatenate([np.full(20, 1 / 20), np.full(2, 1 / 2)])
    quantiles, _ = read_spread(fit_spread(expected, remaining, weights, CAPPED, HORIZON), np.array([50.0]))
    assert quantiles[0, 8] == pytest.approx(40.0)  # 35 %
    assert quantiles[0, 16] == pytest.approx(60.0)  # 85 %


def test_beyond_5_and_95_percent_the_tails_are_normal() -> None:
    expected, remaining = forecasts(2_000, sd=5.0)
    remaining[:3] = 0.0  # the odd early death among thousands sets no tail
    quantiles, _ = read_spread(fit_spread(expected, remaining, np.ones(2000), CAPPED, HORIZON), np.array([60.0]))
    q = quantiles[0]
    ratio = norm.ppf(0.975) / norm.ppf(0.95)
    assert q[1] == pytest.approx(q[MEDIAN] - ratio * (q[MEDIAN] - q[2]))
    assert q[19] == pytest.approx(q[MEDIAN] + ratio * (q[18] - q[MEDIAN]))


def test_the_table_rises_along_its_levels_and_stays_within_the_horizon() -> None:
    expected, remaining = forecasts(300, sd=30.0)
    spread = fit_spread(expected, remaining, np.ones(300), CAPPED, HORIZON)
    assert spread.quantiles.shape == (ENTRIES, len(LEVELS))
    assert (np.diff(spread.quantiles, axis=1) >= 0).all()
    assert spread.quantiles.min() >= 0
    assert spread.quantiles.max() <= HORIZON


def test_where_nothing_was_forecast_the_nearest_forecasts_speak() -> None:
    expected, remaining = np.full(50, 120.0), np.linspace(100, 124, 50)
    spread = fit_spread(expected, remaining, np.ones(50), CAPPED, HORIZON)
    quantiles, _ = read_spread(spread, np.array([0.0]))
    assert np.isfinite(quantiles).all()


def test_when_all_outlived_the_horizon_every_quantile_is_the_horizon() -> None:
    spread = fit_spread(np.full(9, 120.0), np.full(9, HORIZON), np.ones(9), CAPPED, HORIZON)
    assert (spread.quantiles == HORIZON).all()
    assert (spread.beyond == 1.0).all()


def test_between_entries_the_table_is_linear() -> None:
    expected, remaining = forecasts(5_000, sd=10.0)
    spread = fit_spread(expected, remaining, np.ones(5000), CAPPED, HORIZON)
    low, middle, high = (read_spread(spread, np.array([e]))[0][0] for e in (50.0, 50.25, 50.5))
    np.testing.assert_allclose(middle, (low + high) / 2)


def test_without_a_cap_machines_that_outlived_the_horizon_have_their_error_and_are_beyond_it_all_the_same() -> None:
    expected, remaining = np.full(400, 110.0), np.linspace(90, 149, 400)
    quantiles, beyond = read_spread(fit_spread(expected, remaining, np.ones(400), Target(), HORIZON), np.array([110.0]))
    assert beyond[0] == pytest.approx((remaining >= HORIZON).mean())
    assert quantiles[0, MEDIAN] == pytest.approx(np.median(remaining), abs=0.2)
    assert quantiles[0].max() == HORIZON


def test_errors_of_a_logarithm_are_factors() -> None:
    target, factor = Target(log=True), np.exp(np.random.default_rng(0).normal(0, 0.1, 50_000))
    expected = np.random.default_rng(1).uniform(0, np.log1p(100.0), 50_000)
    remaining = np.maximum(target.life(expected) * factor, 0)
    quantiles, _ = read_spread(
        fit_spread(expected, remaining, np.ones(50_000), target, HORIZON), target.of(np.array([50.0]))
    )
    assert quantiles[0, [3, 17]] == pytest.approx(50 * np.exp([-0.1282, 0.1282]), rel=0.02)


def test_a_cap_below_the_horizon_is_as_far_as_the_table_reaches() -> None:
    expected, remaining = forecasts(2_000, sd=5.0)
    spread = fit_spread(expected, remaining, np.ones(2000), Target(cap=60.0), HORIZON)
    assert spread.quantiles.max() == 60.0
    assert spread.beyond[-1] > 0.3


def test_few_machines_are_believed_as_much_as_student_would() -> None:
    expected, remaining = forecasts(20_000, sd=5.0)
    spread = fit_spread(expected, remaining, np.ones(len(expected)), CAPPED, HORIZON)
    (as_seen,), _ = read_spread(spread, np.array([60.0]))
    (of_five,), _ = read_spread(widened(spread, 5, HORIZON), np.array([60.0]))
    # t(0.9, 4 degrees of freedom) = 1.533, z(0.9) = 1.2816
    ratio = (of_five[17] - of_five[MEDIAN]) / (as_seen[17] - as_seen[MEDIAN])
    assert ratio == pytest.approx(1.533 / 1.2816 * np.sqrt(1.2), rel=1e-3)
    assert of_five[MEDIAN] == as_seen[MEDIAN]


def test_of_few_machines_the_mean_error_counts_less() -> None:
    # every life was 10 longer than expected; of 3 machines three tenths of that are believed, of 5 half
    expected = np.linspace(20, 80, 300)
    for lives, believed in ((3, 3.0), (5, 5.0), (FEW, 10.0), (80, 10.0)):
        spread = fit_spread(expected, expected + 10, np.ones(300), CAPPED, HORIZON, lives)
        quantiles, _ = read_spread(spread, np.array([50.0]))
        assert quantiles[0] == pytest.approx(np.full(len(LEVELS), 50 + believed))
