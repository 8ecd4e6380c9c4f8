"""Laws of stress: published and hand-worked numbers, and what they make of steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import twin
from pdm.degradation import elementary, stress
from pdm.plant import AssetClass, LifeStep, Sensor, Stress, StressLaw, exposure
from pdm.steps import Steps

HOUR = 3_600_000
FAN = AssetClass(
    "fan",
    "Fan",
    (Sensor("speed", "rpm", "Speed", 0.0, 3000.0), Sensor("oil", "degC", "Oil"), Sensor("contact", "MPa", "Contact")),
    ("speed",),
    LifeStep("hour", HOUR),
    1000,
    0,
    (),
)
CUBE = Stress(StressLaw.INVERSE_POWER, ("speed",), (1500.0,), exponent=3.0)
TEN_KELVIN = Stress(StressLaw.ARRHENIUS, ("oil",), (60.0,), activation_energy=0.8)


def steps(*rows: tuple[float, float, float, float], row: int = 0) -> Steps:
    """Hours with share, speed, oil temperature and contact pressure, one after the other."""
    table = np.array(rows, dtype=np.float64)
    start = np.arange(len(table)) * HOUR
    count = (~np.isnan(table[:, 0])).astype(np.int32)
    return Steps(np.full(len(table), row), start, start + HOUR, table[:, 0], count, table[:, 1:])


def folded(asset_class: AssetClass, made: Steps) -> twin.Twin:
    state = twin.start(asset_class, None, 1)
    twin.fold(asset_class, None, state, made)
    return state


# The laws


def test_a_ball_bearing_under_twice_the_load_lives_an_eighth() -> None:
    assert stress.inverse_power(np.array([2.0]), 1.0, 3.0)[0] == pytest.approx(8.0, rel=1e-14)  # ISO 281, p = 3


def test_a_roller_bearing_under_twice_the_load_lives_a_tenth() -> None:
    assert stress.inverse_power(np.array([2.0]), 1.0, 10 / 3)[0] == pytest.approx(10.0794, rel=1e-5)  # 2^(10/3)


def test_ten_kelvin_more_at_eight_tenths_of_an_electron_volt_double_the_wear() -> None:
    # exp(0.8 / 8.617333e-5 (1/333.15 - 1/343.15)) = exp(0.81206) = 2.2526
    assert stress.arrhenius(np.array([343.15]), 333.15, 0.8)[0] == pytest.approx(2.2526, rel=1e-4)


def test_abrasion_goes_with_pressure_and_speed() -> None:
    assert stress.archard(np.array([3.0]), np.array([4.0]), 2.0, 8.0).tolist() == [0.75]


def test_a_crack_grows_with_the_third_power_of_its_stress_intensity() -> None:
    assert stress.paris_erdogan(np.array([30.0]), 20.0, 3.0)[0] == pytest.approx(3.375, rel=1e-14)


def test_stresses_that_act_together_multiply() -> None:
    assert stress.product(np.array([2.0]), np.array([3.0]), stress.constant([7.0])).tolist() == [6.0]


def test_nothing_is_used_without_load_and_nothing_known_without_a_value() -> None:
    load = np.array([0.0, -5.0, np.nan])
    np.testing.assert_array_equal(stress.inverse_power(load, 1.0, 3.0), [0.0, 0.0, np.nan])
    assert np.isnan(stress.arrhenius(np.array([np.nan]), 300.0, 1.0)).all()


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=9), st.floats(0.1, 10.0))
def test_more_load_never_wears_less(loads: list[float], exponent: float) -> None:
    worn = stress.inverse_power(np.sort(loads), 10.0, exponent)
    assert (np.diff(worn) >= -1e-12 * worn[1:]).all()


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=40))
def test_the_elementary_functions_are_right_and_the_same_for_one_and_for_many(values: list[float]) -> None:
    x = np.array(values)
    grown = elementary.exp(x)
    np.testing.assert_allclose(grown, np.exp(x), rtol=1e-14)
    np.testing.assert_allclose(elementary.log(grown), x, rtol=1e-14, atol=1e-13)
    one_by_one = [elementary.exp(x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_array_equal(grown, one_by_one)
    np.testing.assert_array_equal(elementary.exp(x[::-1])[::-1], grown)


# Exposure


def test_an_hour_at_the_reference_is_an_hour_and_half_an_hour_at_double_speed_is_four() -> None:
    state = folded(replace(FAN, stress=(CUBE,)), steps((1.0, 1500, 60, 1), (0.5, 3000, 60, 1)))
    assert state.exposure[0] == pytest.approx(1.0 + 0.5 * 8.0, rel=1e-14)
    assert state.steps.tolist() == [2]


def test_a_class_without_a_law_counts_running_time() -> None:
    assert folded(FAN, steps((1.0, 3000, 90, 1), (0.5, 0, 20, 1))).exposure.tolist() == [1.5]
    assert folded(FAN, steps((1.0, 3000, 90, 1))).wear is None


def test_duty_beyond_where_the_law_holds_counts_as_its_end_and_is_named() -> None:
    narrow = (replace(CUBE, low=750.0, high=1800.0),)
    columns = np.array([[2500.0, 60.0, 1.0], [100.0, 60.0, 1.0]])
    assert exposure.stress_of(FAN, narrow, columns) == pytest.approx([1.2**3, 0.5**3], rel=1e-14)
    assert exposure.beyond(FAN, narrow, columns[0]) == [("speed", 2500.0, 1800.0)]
    assert exposure.beyond(FAN, (CUBE,), columns[0]) == []
    assert exposure.beyond(FAN, (CUBE,), np.array([3500.0, 60.0, 1.0])) == [("speed", 3500.0, 3000.0)]


def test_temperatures_of_any_unit_are_taken_as_kelvin() -> None:
    columns = np.array([[1500.0, 70.0, 1.0]])
    (celsius,) = exposure.stress_of(FAN, (TEN_KELVIN,), columns)
    sensors = (FAN.sensors[0], Sensor("oil", "degF", "Oil"), FAN.sensors[2])
    columns[0, 1] = 158.0
    (fahrenheit,) = exposure.stress_of(
        replace(FAN, sensors=sensors), (replace(TEN_KELVIN, reference=(140.0,)),), columns
    )
    assert celsius == pytest.approx(2.2526, rel=1e-4)
    assert fahrenheit == pytest.approx(celsius, rel=1e-12)


def test_where_the_duty_was_not_measured_the_usual_one_stands_in() -> None:
    cubed = replace(FAN, stress=(CUBE,))
    assert folded(cubed, steps((1.0, 3000, 60, 1), (1.0, np.nan, 60, 1))).exposure[0] == pytest.approx(16.0)
    assert folded(cubed, steps((1.0, np.nan, 60, 1))).exposure.tolist() == [1.0]  # nothing usual yet: the reference


def test_a_gap_uses_what_the_machine_usually_uses_under_its_law() -> None:
    state = folded(replace(FAN, stress=(CUBE,)), steps((1.0, 3000, 60, 1), (0.0, 0, 60, 1), (np.nan,) * 4))
    fade = 1 / (1 + 1 / twin.DUTY_MEMORY_HOURS)
    assert state.unseen[0] == pytest.approx(8.0 * fade / (fade + 1.0))
    assert state.exposure[0] == pytest.approx(8.0 + state.unseen[0])
