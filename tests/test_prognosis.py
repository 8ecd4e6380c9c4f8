"""Levels, codes of refusal, and the forecast by the life table alone."""

import numpy as np

from pdm.degradation import Weibull
from pdm.prognosis import LEVELS, MEDIAN, Refusal, from_life_table


def test_levels_rise_and_mirror_each_other_around_the_median() -> None:
    assert len(LEVELS) == 21
    assert LEVELS[MEDIAN] == 0.5
    assert (np.diff(LEVELS) > 0).all()
    np.testing.assert_allclose(LEVELS + LEVELS[::-1], 1.0)


def test_a_refusal_has_a_code_for_the_api() -> None:
    assert Refusal.HISTORY_INCOMPLETE.code == "history_incomplete"


def test_the_life_table_forecasts_the_rest_of_a_life_given_its_age() -> None:
    # constant hazard: what is left does not depend on the age, and half are gone after ln 2 scales
    quantiles = from_life_table(Weibull(shape=1.0, scale=100.0), [0.0, 250.0])
    np.testing.assert_allclose(quantiles[0], quantiles[1])
    np.testing.assert_allclose(quantiles[:, MEDIAN], 100 * np.log(2))


def test_a_machine_that_wears_has_less_left_the_older_it_is() -> None:
    young, old = from_life_table(Weibull(shape=3.0, scale=100.0), [10.0, 120.0])
    assert (old < young).all()
