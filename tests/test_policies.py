"""Costs of policies on lives that ended, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.scoring.policies import (
    FinishedLife,
    Looks,
    best_interval,
    best_threshold,
    by_threshold,
    by_window,
    fixed_interval,
    perfect_foresight,
    run_to_failure,
)

HOUR = 3_600_000
DAY = 24 * HOUR


def life(hours: float) -> FinishedLife:
    return FinishedLife(np.array([0, int(hours * HOUR)]), np.array([0.0, hours]))


def looks(*said: tuple[float, float]) -> Looks:
    """Preferred starts in hours (-1 for none), or medians in life, said at hours."""
    at, value = np.array(said).T
    return Looks((at * HOUR).astype(np.int64), value)


def starts(*said: tuple[float, float]) -> Looks:
    plain = looks(*said)
    return Looks(plain.at_ms, np.where(plain.value < 0, -1, plain.value * HOUR))


def test_a_cost_rate_is_total_cost_over_total_life() -> None:
    lives = [life(100.0), life(300.0)]
    assert run_to_failure(lives).cost_rate(1, 5) == 10 / 400
    assert perfect_foresight(lives).cost_rate(1, 5) == 2 / 398
    assert fixed_interval(lives, 200.0).cost_rate(1, 5) == (5 + 1) / (100 + 200)
    assert fixed_interval(lives, 100.0).failed.tolist() == [True, False]


def test_the_best_interval_is_one_step_before_a_failure() -> None:
    # at 99: 3 / 297;  at 199: 7 / 498;  at 299: 11 / 599;  never: 15 / 600
    assert best_interval(np.array([100.0, 200.0, 300.0]), 1, 5) == 99.0
    # when a failure costs no more than a planned stop, no interval is worth it
    assert best_interval(np.array([100.0, 200.0, 300.0]), 5, 5) == np.inf


def test_we_act_at_the_preferred_start_that_stands_when_its_notice_begins() -> None:
    # notice 48 h, a look each day: at 24 h the start at 100 h can still wait, at 48 h it cannot (52 < 72)
    said = starts((0, 120), (24, 100), (48, 100), (72, 200))
    acted = by_window([life(1000.0)], [said], 48 * HOUR)
    assert acted.used == pytest.approx([100.0])
    assert not acted.failed[0]


def test_a_later_look_that_comes_in_time_changes_the_start() -> None:
    said = starts((0, 120), (24, 140), (48, 200), (72, 250))
    assert by_window([life(1000.0)], [said], 48 * HOUR).used == pytest.approx([250.0])  # the last word stands


def test_no_window_no_action() -> None:
    acted = by_window([life(100.0)], [starts((0, -1), (24, -1))], 48 * HOUR)
    assert (acted.used.tolist(), acted.failed.tolist()) == ([100.0], [True])


def test_a_failure_before_the_start_is_paid_as_one() -> None:
    acted = by_window([life(90.0), life(100.0)], [starts((0, 100)), starts((0, 100))], 48 * HOUR)
    assert (acted.used.tolist(), acted.failed.tolist()) == ([90.0, 100.0], [True, True])


def test_a_threshold_acts_a_notice_after_it_is_first_crossed() -> None:
    said = looks((0, np.nan), (24, 200), (48, 90), (72, 110))
    assert by_threshold([life(1000.0)], [said], 48 * HOUR, 90.0).used == pytest.approx([48 + 48.0])
    assert by_threshold([life(1000.0)], [said], 48 * HOUR, 80.0).failed.tolist() == [True]  # never crossed
    assert by_threshold([life(80.0)], [said], 48 * HOUR, 90.0).failed.tolist() == [True]


def test_the_best_threshold_leaves_just_the_notice() -> None:
    # medians that are right: at or below 2 days and a look, every machine is reached in time
    lives = [life(24.0 * days + 1) for days in (20, 30, 40)]
    said = [looks(*((24.0 * day, one.length - 24.0 * day) for day in range(int(one.length) // 24))) for one in lives]
    threshold = best_threshold(lives, said, 48 * HOUR, 1, 5)
    acted = by_threshold(lives, said, 48 * HOUR, threshold)
    assert (one := lives[0].length) - acted.used[0] == pytest.approx(1.0)
    assert one == 481
    assert not acted.failed.any()


def test_life_is_used_only_while_the_machine_runs() -> None:
    # runs on the first and the third of three days
    shifts = FinishedLife(np.array([0, DAY, 2 * DAY, 3 * DAY]), np.array([0.0, 24.0, 24.0, 48.0]))
    assert shifts.age_at(np.array([DAY // 2, DAY + HOUR, 2 * DAY + HOUR])).tolist() == [12.0, 24.0, 25.0]
    assert by_window([shifts], [starts((0, 40))], 10 * HOUR).used.tolist() == [24.0]


@settings(deadline=None)
@given(st.lists(st.floats(10.0, 1000.0), min_size=1, max_size=15), st.floats(1.0, 50.0))
def test_nothing_beats_perfect_foresight_and_the_best_interval_beats_running_to_failure(
    hours: list[float], ratio: float
) -> None:
    lives = [life(h) for h in hours]
    lengths = np.array(hours)
    best = fixed_interval(lives, best_interval(lengths, 1.0, ratio)).cost_rate(1.0, ratio)
    assert best <= run_to_failure(lives).cost_rate(1.0, ratio) * (1 + 1e-12)
    assert best >= 1.0 / lengths.mean() * (1 - 1e-12)


def test_figures_can_be_taken_on_some_lives() -> None:
    all_of_them = run_to_failure([life(100.0), life(300.0)])
    assert all_of_them.take(np.array([1, 1])).cost_rate(1, 5) == 10 / 600
