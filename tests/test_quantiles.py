"""The law of remaining life between and beyond the 21 quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad

from pdm.degradation import Weibull
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.quantiles import expected_excess, failure_probability, mean, quantile

UNIFORM = LEVELS[None, :] * 100.0  # between 0 and 99.5 life steps every step is as likely as any other

laws = arrays(np.float64, (2, 21), elements=st.floats(0.0, 1e4).map(lambda gap: round(gap, 2))).map(
    lambda gaps: np.cumsum(gaps, axis=1)
)
lives = st.floats(0.0, 3e5)


def test_the_probability_at_a_quantile_is_its_level() -> None:
    np.testing.assert_allclose(failure_probability(UNIFORM, UNIFORM), LEVELS[None, :], atol=1e-12)


def test_between_quantiles_the_probability_rises_along_a_straight_line() -> None:
    np.testing.assert_allclose(failure_probability(UNIFORM, np.array([[45.0, 0.25, 60.0]])), [[0.45, 0.0025, 0.6]])


def test_no_life_can_end_before_now() -> None:
    assert failure_probability(UNIFORM, -5.0).tolist() == [0.0]


def test_the_tail_is_exponential_with_the_density_of_the_last_segment() -> None:
    # density of the last segment 0.02 / 2 = 0.01, so the scale is 0.005 / 0.01 = 0.5
    np.testing.assert_allclose(1 - failure_probability(UNIFORM, 100.0), [0.005 * np.exp(-1.0)])


def test_the_life_thrown_away_under_a_uniform_law_matches_the_hand_calculation() -> None:
    # trapezoid from 50 to 99.5 with survival 0.5 and 0.005, then the tail: 0.2525 * 49.5 + 0.005 * 0.5
    np.testing.assert_allclose(expected_excess(UNIFORM, 50.0), [12.50125])
    # the same from 0: 0.5025 * 99.5 + 0.0025, half a hundred in all but the tail
    np.testing.assert_allclose(mean(UNIFORM), [50.00125])


def test_two_equal_lives_are_a_jump() -> None:
    # half of the machines live 10 steps, the others 30: the median itself lies on the way up
    law = np.where(LEVELS < 0.5, 10.0, np.where(LEVELS > 0.5, 30.0, 20.0))[None, :]
    np.testing.assert_allclose(failure_probability(law, np.array([[9.9, 10.0, 20.0, 29.9, 30.0]]))[0, 1:3], [0.4, 0.5])
    assert failure_probability(law, 30.0).tolist() == [1.0]
    assert expected_excess(law, 30.0).tolist() == [0.0]
    # 0.4 at 10 reached from 0, 0.2 spread between 10 and 30, and 0.4 at 30; the first 0.5 % lie between 0 and 10
    np.testing.assert_allclose(mean(law), [0.005 * 5 + 0.395 * 10 + 0.2 * 20 + 0.4 * 30])


def test_a_machine_that_fails_now_has_no_life_left() -> None:
    law = np.zeros((1, 21))
    assert (failure_probability(law, 0.0)[0], mean(law)[0], quantile(law, 0.9)[0]) == (1.0, 0.0, 0.0)


def test_a_refused_prognosis_has_no_probability_and_no_date() -> None:
    law = np.concatenate([np.full((1, 21), np.nan), UNIFORM])
    for figure in (failure_probability(law, 10.0), expected_excess(law, 10.0), mean(law), quantile(law, 0.5)):
        assert np.isnan(figure).tolist() == [True, False]


def test_lives_can_be_asked_for_all_rows_per_row_or_several_per_row() -> None:
    law = np.concatenate([UNIFORM, 2 * UNIFORM])
    np.testing.assert_allclose(failure_probability(law, 20.0), [0.2, 0.1])
    np.testing.assert_allclose(failure_probability(law, np.array([20.0, 60.0])), [0.2, 0.3])
    np.testing.assert_allclose(failure_probability(law, np.array([[20.0, 40.0]])), [[0.2, 0.4], [0.1, 0.2]])


def test_a_weibull_life_held_by_its_quantiles_keeps_its_mean() -> None:
    weibull = Weibull(2.5, 1000.0)
    assert mean(weibull.remaining(0.0, LEVELS)[None, :])[0] == pytest.approx(weibull.mean, rel=0.005)


@settings(deadline=None)
@given(laws, lives, lives)
def test_probability_rises_with_the_horizon_and_stays_between_0_and_1(law: np.ndarray, a: float, b: float) -> None:
    low, high = (failure_probability(law, t) for t in sorted((a, b)))
    assert np.all((low >= -1e-12) & (low <= high + 1e-12) & (high <= 1.0))


@settings(deadline=None)
@given(laws, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_excess_is_the_integral_of_survival(law: np.ndarray, a: float, b: float) -> None:
    last = law[:, -1:]
    low, high = last * min(a, b), last * max(a, b)
    edges = np.sort(np.concatenate([low, np.clip(law, low, high), high], axis=1), axis=1)
    # survival is a straight line between two edges, so that the midpoint rule is exact
    survival = 1 - failure_probability(law, (edges[:, 1:] + edges[:, :-1]) / 2)
    integral = np.sum(survival * np.diff(edges, axis=1), axis=1)
    between = expected_excess(law, low) - expected_excess(law, high)
    np.testing.assert_allclose(between[:, 0], integral, rtol=1e-9, atol=1e-9 * (1 + last.max()))


def test_the_excess_in_the_tail_is_the_integral_of_survival() -> None:
    integral = quad(lambda t: 1 - failure_probability(UNIFORM, t)[0], 99.7, 120.0)[0]
    assert expected_excess(UNIFORM, 99.7)[0] == pytest.approx(integral)


@settings(deadline=None)
@given(laws, st.floats(0.001, 0.9999))
def test_the_probability_of_failing_by_a_quantile_is_at_least_its_level(law: np.ndarray, level: float) -> None:
    reached = failure_probability(law, quantile(law, level) * (1 + 1e-12) + 1e-9)
    assert np.all(reached >= level - 1e-9)


def test_the_quantiles_of_the_law_are_the_ones_it_was_made_from() -> None:
    law = Weibull(1.5, 300.0).remaining(np.array([[0.0], [100.0]]), LEVELS)
    np.testing.assert_allclose(quantile(law, LEVELS), law)
    np.testing.assert_allclose(quantile(law, 0.5), law[:, MEDIAN])


def test_quantiles_beyond_the_last_level_go_on_into_the_tail() -> None:
    np.testing.assert_allclose(quantile(UNIFORM, 1 - 0.005 * np.exp(-2)), [99.5 + 2 * 0.5])
