"""Levels, codes of refusal, and the forecast by the life table alone."""

import numpy as np
import pytest

from pdm import twin
from pdm.degradation import Weibull
from pdm.prognosis import LEVELS, MEDIAN, Prognosis, Refusal, forecast, from_life_table
from pdm.steps import Steps
from tests.small_lives import FAN, fan_life, fan_model

HOUR = 3_600_000


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


def forecast_after(columns: np.ndarray, *, complete: bool = True) -> Prognosis:
    """The learned forecast of a fan after these steps `[steps, k]`."""
    model, count = fan_model(), len(columns)
    fan, start = twin.start(FAN, model.frame, 1), np.arange(count) * HOUR
    row, held = np.zeros(count, dtype=np.int64), np.full(count, 3, dtype=np.int32)
    twin.fold(FAN, model.frame, fan, Steps(row, start, start + HOUR, np.ones(count), held, columns))
    return forecast.forecast(FAN, model, fan, np.array([0]), np.array([complete]))


@pytest.mark.parametrize("silent", [0, 1])  # the load, a condition; the vibration, a sensor that shows wear
def test_a_learned_forecast_is_refused_once_a_sensor_is_silent_for_longer_than_the_short_memory(silent: int) -> None:
    memory = int(15 * fan_model().frame.scale)
    for steps, refusal in ((memory, Refusal.NONE), (memory + 1, Refusal.SENSOR_SUSPECT)):
        columns = fan_life(100, seed=7).columns[:50].copy()
        columns[-steps:, silent] = np.nan
        made = forecast_after(columns)
        assert made.refusal[0] == refusal
        assert np.isnan(made.quantiles).all() == (refusal != Refusal.NONE)


def test_values_lost_now_and_then_or_in_a_sensor_that_says_nothing_do_not_stop_the_forecast() -> None:
    columns = fan_life(100, seed=7).columns[:50].copy()
    columns[np.random.default_rng(1).random(columns.shape) < 0.3] = np.nan
    columns[:, 3] = np.nan  # the nameplate
    assert forecast_after(columns).refusal[0] == Refusal.NONE


def test_a_machine_that_joined_late_is_forecast_once_more_than_its_own_start_was_seen() -> None:
    enough = fan_model().frame.baseline
    columns = fan_life(100, seed=7).columns[30:]
    assert forecast_after(columns[: enough - 1], complete=False).refusal[0] == Refusal.HISTORY_INCOMPLETE
    late, whole = (forecast_after(columns[:enough], complete=complete) for complete in (False, True))
    assert late.refusal[0] == Refusal.NONE
    assert (late.quantiles != whole.quantiles).any()
