"""The Weibull law of lives, those cut short included."""

import numpy as np
import pytest

from pdm.degradation import Weibull
from pdm.scoring.life_table import SHAPES, censoring_weights, fit_life_table, of_few


def test_the_law_that_drew_the_lives_is_found() -> None:
    lives = 300 * np.random.default_rng(1).weibull(2.5, 4000)
    law = fit_life_table(lives, np.ones(4000, dtype=bool))
    assert law.shape == pytest.approx(2.5, rel=0.04)
    assert law.scale == pytest.approx(300, rel=0.02)


def test_lives_cut_short_are_no_failures() -> None:
    random = np.random.default_rng(2)
    lives, stop = 300 * random.weibull(2.5, 6000), random.uniform(50, 400, 6000)
    law = fit_life_table(np.minimum(lives, stop), lives <= stop)
    assert law.shape == pytest.approx(2.5, rel=0.05)
    assert law.scale == pytest.approx(300, rel=0.03)


def test_with_a_constant_hazard_the_scale_is_the_time_per_failure() -> None:
    # an exponential law: all time lived / failures = (1 + 2 + 4 + 8) / 3 if the shape came out as 1
    lives, failed = np.array([1.0, 2.0, 4.0, 8.0]), np.array([True, True, True, False])
    law = fit_life_table(lives, failed)
    assert law.scale**law.shape == pytest.approx((lives**law.shape).sum() / 3)


def test_equal_lives_do_not_promise_a_day() -> None:
    law = fit_life_table(np.full(5, 100.0), np.ones(5, dtype=bool))
    assert law.shape == SHAPES[1]
    assert law.scale == pytest.approx(100.0)


@pytest.mark.parametrize(("count", "until"), [(5, np.inf), (12, 120.0), (30, np.inf)])
def test_four_in_five_lives_end_within_the_band_of_few(count: int, until: float) -> None:
    random, held = np.random.default_rng(5), []
    for _ in range(300):
        lives, stop = 100 * random.weibull(4.0, count), random.uniform(0.5, 1.5, count) * until
        failed = lives <= stop
        law = of_few(fit_life_table(np.minimum(lives, stop), failed), int(failed.sum()))
        low, high = law.remaining(0.0, np.array([0.1, 0.9]))
        others = 100 * random.weibull(4.0, 50)
        held.append(np.mean((others >= low) & (others <= high)))
    assert np.mean(held) == pytest.approx(0.8, abs=0.04)


def test_a_dozen_lives_that_are_nearly_equal_say_nearly_when_the_next_one_ends() -> None:
    lives = 1000 + 5 * np.random.default_rng(6).normal(size=12)
    low, high = of_few(fit_life_table(lives, np.ones(12, dtype=bool)), 12).remaining(0.0, np.array([0.1, 0.9]))
    assert 985 < low < high < 1015


def test_very_long_lives_do_not_overflow() -> None:
    law = fit_life_table(np.array([1e9, 1.1e9, 0.9e9]), np.ones(3, dtype=bool))
    assert np.isfinite(law.scale)


def test_what_is_left_of_a_life_that_began_at_an_unknown_time() -> None:
    random, law, seen = np.random.default_rng(3), Weibull(3.0, 100.0), 30.0
    met_at, lives = random.uniform(0, 300, 400_000), 100 * random.weibull(3.0, 400_000)
    left = (lives - met_at - seen)[lives > met_at + seen]
    levels = np.array([0.1, 0.5, 0.9])
    assert law.remaining_of_unknown_age(seen, levels) == pytest.approx(np.quantile(left, levels), rel=0.05)


def test_a_machine_seen_for_longer_than_any_lived_has_nothing_left_that_is_known() -> None:
    assert Weibull(4.0, 100.0).remaining_of_unknown_age(2_000.0, np.array([0.5, 0.99])).tolist() == [0.0, 0.0]


def test_a_life_that_outlasts_one_cut_short_counts_for_it() -> None:
    # of the two that ran at 2 one was cut short then: the other counts for both
    np.testing.assert_allclose(np.asarray(censoring_weights(np.array([1.0, 3.0]), np.array([2.0]))), [1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(censoring_weights(np.array([1.0, 3.0]), np.array([]))), [1.0, 1.0])


def test_weighted_failures_have_the_mean_life_of_all_machines() -> None:
    random = np.random.default_rng(7)
    lives, stop = random.weibull(3.0, 4000) * 300, random.uniform(100, 900, 4000)
    failed = lives[lives <= stop]
    weight = censoring_weights(failed, stop[lives > stop])
    assert np.average(failed, weights=weight) == pytest.approx(lives.mean(), rel=0.02)
    assert failed.mean() < 0.95 * lives.mean()


def test_where_many_outlive_all_failures_failures_do_not_count_for_them() -> None:
    assert censoring_weights(np.array([1.0, 2.0, 3.0]), np.full(7, 4.0)) is None
