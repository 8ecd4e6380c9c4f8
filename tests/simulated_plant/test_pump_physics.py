"""Formulas against hand-worked numbers and against the published relations written out again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from pdm.simulated_plant import pump
from pdm.simulated_plant.duty import MEAN_NETWORK_PRESSURE, MEAN_SUCTION_PRESSURE
from pdm.simulated_plant.pump import Conditions, Floats, OperatingPoint

set_speeds = st.floats(265, 377)
impellers = st.floats(pump.IMPELLER_LIMIT, pump.NEW_IMPELLER)
frictions = st.floats(3.2e-6, 1.2e-5)  # of both bearings, from new to far beyond failure
suctions = st.floats(200e3, 280e3)
networks = st.floats(780e3, 820e3)


def _array(value: float) -> Floats:
    return np.array([value])


def _point(set_speed: float, impeller: float, friction: float, suction: float, network: float) -> OperatingPoint:
    conditions = Conditions(_array(set_speed), _array(290.0), _array(suction), _array(network))
    return pump.operating_point(conditions, _array(impeller), _array(friction))


@given(set_speeds, impellers, frictions, suctions, networks)
def test_the_flow_satisfies_the_published_relation(
    set_speed: float, impeller: float, friction: float, suction: float, network: float
) -> None:
    point = _point(set_speed, impeller, friction, suction, network)
    w, q, p_discharge = point.speed.item(), point.flow.item(), point.discharge_pressure.item()
    dp = impeller * w**2 + 17984.6 * w * q + suction - p_discharge
    assert q == pytest.approx(8.24123e-5 * dp**0.5, rel=1e-6)


@given(set_speeds, impellers, frictions, suctions, networks)
def test_motor_and_load_are_in_balance(
    set_speed: float, impeller: float, friction: float, suction: float, network: float
) -> None:
    point = _point(set_speed, impeller, friction, suction, network)
    w, q = point.speed.item(), point.flow.item()
    voltage, slip = 471.25 * set_speed / 377, (set_speed - w) / set_speed
    motor = 3 * 0.076 / (slip * set_speed) * voltage**2 / ((0.36 + 0.076 / slip) ** 2 + (set_speed * 6.3e-4) ** 2)
    load = (0.008 + friction) * w - 9179.4 * q**2 + 5.77703 * w * q + 1.49204e-3 * w**2
    assert motor == pytest.approx(load, rel=1e-5)


@given(set_speeds, impellers, frictions, suctions, networks)
def test_the_motor_draws_more_than_the_shaft_delivers(
    set_speed: float, impeller: float, friction: float, suction: float, network: float
) -> None:
    point = _point(set_speed, impeller, friction, suction, network)
    shaft = pump.load_torque(point.speed, point.flow, _array(friction)) * point.speed
    assert 0.8 < (shaft / point.motor_power).item() < 1


@pytest.mark.parametrize(
    ("set_speed", "impeller", "friction", "suction", "network", "speed", "flow"),
    [
        (377.0, 12.7084, 3.2e-6, 239_179.0, 801_000.0, 370.71, 0.11055),
        (325.0, 12.7084, 3.2e-6, 230_000.0, 805_000.0, 320.42, 0.088874),
        (350.0, 9.8, 3.2e-6, 245_000.0, 795_000.0, 344.72, 0.085267),
        (370.0, 12.7084, 6.4e-6, 239_179.0, 801_000.0, 363.95, 0.1078),
    ],
)
def test_speed_and_flow_are_those_at_which_progpy_settles(
    set_speed: float, impeller: float, friction: float, suction: float, network: float, speed: float, flow: float
) -> None:
    point = _point(set_speed, impeller, friction, suction, network)
    assert point.speed.item() == pytest.approx(speed, rel=5e-5)
    assert point.flow.item() == pytest.approx(flow, rel=5e-5)


def test_full_load_has_the_published_discharge_pressure() -> None:
    point = _point(377.0, pump.NEW_IMPELLER, 3.2e-6, MEAN_SUCTION_PRESSURE, MEAN_NETWORK_PRESSURE)
    assert point.discharge_pressure.item() == pytest.approx(928_654, rel=1e-3)


def test_the_check_valve_holds_the_network_back_from_a_pump_that_cannot_reach_its_pressure() -> None:
    # 12.7084 * 200² + 239,179 = 747,515 Pa at no flow
    arguments = _array(pump.NEW_IMPELLER), _array(200.0), _array(239_179.0)
    assert pump.steady_flow(*arguments, _array(747_600.0)) == 0
    assert pump.steady_flow(*arguments, _array(747_400.0)) > 0


def test_a_pump_at_rest_neither_turns_nor_delivers_nor_draws_power() -> None:
    point = _point(0.0, pump.NEW_IMPELLER, 3.2e-6, 239_179.0, 801_000.0)
    assert point.speed == point.flow == point.motor_power == 0
    assert point.discharge_pressure == 801_000


def test_a_worn_impeller_delivers_less() -> None:
    new, worn = (_point(350.0, impeller, 3.2e-6, 239_179.0, 801_000.0) for impeller in (12.7084, 9.5))
    assert worn.flow < 0.85 * new.flow


def _rate_of_change(temperatures: Floats, thrust_heat: float, radial_heat: float, ambient: float) -> Floats:
    """The published balances of heat, written out."""
    thrust, radial, oil = temperatures
    return np.array(
        [
            (thrust_heat - 0.0034 * (thrust - ambient) - 0.0026 * (thrust - oil)) / 7.3,
            (radial_heat - 0.0018 * (radial - ambient) - 0.020 * (radial - oil)) / 2.4,
            (1.0 * (thrust - oil) + 3.0 * (radial - oil) + 1.5 * (ambient - oil)) / 8000,
        ]
    )


def test_steady_temperatures_no_longer_change() -> None:
    speed, thrust, radial = 370.0, 2e-6, 3e-6
    steady = pump.steady_temperatures(_array(thrust), _array(radial), _array(speed), _array(290.0))
    change = _rate_of_change(steady[:, 0], thrust * speed**2, radial * speed**2, 290.0)
    assert np.abs(change).max() < 1e-12


def test_an_hour_of_heating_equals_the_integrated_balances() -> None:
    speed, thrust, radial, cold = 370.0, 2e-6, 3e-6, np.array([285.0, 300.0, 295.0])
    steady = pump.steady_temperatures(_array(thrust), _array(radial), _array(speed), _array(290.0))
    heats = (thrust * speed**2, radial * speed**2, 290.0)
    integrated = solve_ivp(lambda _, t: _rate_of_change(t, *heats), (0, 3600), cold, rtol=1e-10, atol=1e-8)
    after = pump.temperatures_after_an_hour(cold[:, np.newaxis], steady)
    assert after[:, 0] == pytest.approx(integrated.y[:, -1], abs=1e-5)


def test_a_pump_at_rest_cools_to_the_air() -> None:
    steady = pump.steady_temperatures(_array(2e-6), _array(3e-6), _array(0.0), _array(290.0))
    temperatures = np.full((3, 1), 350.0)
    for _ in range(12):
        temperatures = pump.temperatures_after_an_hour(temperatures, steady)
    assert temperatures == pytest.approx(np.full((3, 1), 290.0), abs=0.01)


def test_an_impeller_loses_area_with_the_square_of_the_flow() -> None:
    # 0.15 * 0.1² an hour
    assert pump.impeller_wear(_array(0.15), _array(0.1)).item() == pytest.approx(0.0015)


@pytest.mark.parametrize(("temperature", "factor"), [(315, 1), (330, 2), (300, 0.5), (375, 16), (420, 16)])
def test_bearing_wear_doubles_every_15_kelvin_and_is_capped(temperature: float, factor: float) -> None:
    # 0.8e-9 * 1.4e-6 * 300² = 1.008e-10 an hour at 315 K
    wear = pump.bearing_wear(_array(0.8e-9), _array(1.4e-6), _array(300.0), _array(temperature))
    assert wear.item() == pytest.approx(1.008e-10 * factor)
