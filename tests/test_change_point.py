"""Since when a sensor reads otherwise than before."""

import numpy as np
import pytest

from pdm.features.change_point import ChangePoint, change_points
from tests.small_lives import fan_life, fan_watch, plain_frame

NOISE = np.random.default_rng(1).normal(size=(400, 1))


def found(shift: np.ndarray | float) -> ChangePoint | None:
    return change_points(plain_frame(), NOISE + np.reshape(shift, (-1, 1))).get("c0")


def test_a_step_is_found_where_it_was_with_its_size() -> None:
    point = found(np.where(np.arange(400) < 250, 0.0, -2.0))
    assert point is not None
    assert abs(point.step - 250) <= 400 / 64
    assert point.shift == pytest.approx(-2, abs=0.3)


def test_a_trend_has_its_point_in_its_middle() -> None:
    point = found(np.linspace(0, 4, 400))
    assert point is not None
    assert point.step == pytest.approx(200, abs=40)
    assert point.shift == pytest.approx(2, abs=0.3)


def test_noise_a_small_change_and_a_short_past_have_none() -> None:
    assert found(0.0) is None
    assert found(np.where(np.arange(400) < 250, 0.0, 0.7)) is None
    assert not change_points(plain_frame(), NOISE[:7])
    assert not change_points(plain_frame(), np.full((400, 1), np.nan))


def test_hardly_any_sensor_that_stays_as_it_is_is_said_to_have_changed() -> None:
    random = np.random.default_rng(2)
    smooth = random.normal(size=(400, 1000))
    smooth[1:] += smooth[:-1]  # neighbours say nearly the same
    assert len(change_points(plain_frame(1000), smooth)) <= 1


def test_missing_values_are_left_out() -> None:
    x = NOISE + np.where(np.arange(400) < 250, 0.0, 2.0)[:, None]
    x[np.random.default_rng(3).random(400) < 0.3] = np.nan
    point = change_points(plain_frame(), x)["c0"]
    assert abs(point.step - 250) <= 10


def test_what_the_load_explains_is_no_change() -> None:
    columns = fan_life(0).columns[:60].copy()
    wear = columns[:, 1] - 3 * columns[:, 0]  # without the load
    columns[:, 0] = np.where(np.arange(60) < 30, 0.6, 1.4)
    columns[:, 1] = np.random.default_rng(4).permutation(wear[:25].repeat(3)[:60]) + 3 * columns[:, 0]
    assert "vibration" not in change_points(fan_watch().frame, columns)
