"""The scoring that the benchmark of the alarm borrows from NAB, against numbers worked by hand."""

import numpy as np
import pytest

from benchmarks.forecast_anomalies import nab_score, openings

BEGINS, ENDS = np.array([100, 300]), np.array([119, 319])


def score(*alarms: int) -> float:
    return nab_score(np.array(alarms, dtype=np.intp), BEGINS, ENDS)


def test_nothing_said_costs_every_window_and_the_first_rows_of_all_are_perfect() -> None:
    assert score() == -2
    assert score(100, 300) == pytest.approx(2)


def test_the_earliest_alarm_in_a_window_counts_once() -> None:
    # half way: 2 / (1 + e^-2.5) - 1 = 0.8483 of 0.9866
    assert score(110, 115, 300) == pytest.approx(0.8483 / 0.9866 + 1, abs=1e-3)


def test_an_alarm_outside_costs_less_the_sooner_it_follows_a_window() -> None:
    assert score(50) == pytest.approx(-2.11)
    assert score(250) == pytest.approx(-2.11)
    # half a window late: 2 / (1 + e^2.5) - 1 = -0.848; a window is 19 rows from end to end
    assert score(119 + 19 // 2) == pytest.approx(-2 - 0.11 * (1 - 2 / (1 + np.exp(5 * 9 / 19))), abs=1e-6)


def test_an_alarm_opens_once_until_it_has_cleared() -> None:
    assert openings(np.array([np.nan, 0.5, 1.1, 0.9, 1.2, 0.7, 1.3])).tolist() == [2, 6]
