from itertools import pairwise

import numpy as np
import pytest

from pdm.simulated_plant import PUMP_SENSORS
from pdm.simulated_plant.pump import Conditions, Floats, OperatingPoint
from pdm.simulated_plant.sensors import FAULT_ROWS, SensorFault, display, measure, true_values

NAMES = [sensor.name for sensor in PUMP_SENSORS]
QUIET = np.zeros((len(PUMP_SENSORS), 1))


def _truth() -> Floats:
    def one(value: float) -> Floats:
        return np.array([value])

    conditions = Conditions(one(377.0), one(293.15), one(239_179.0), one(801_000.0))
    point = OperatingPoint(one(370.0), one(0.11), one(928_654.0), one(138_000.0))
    return true_values(conditions, point, np.array([[333.15], [328.15], [318.15]]))


def test_every_quantity_arrives_under_its_name_in_the_unit_of_the_plant_floor() -> None:
    reading = dict(zip(NAMES, display(measure(_truth(), QUIET))[:, 0].tolist(), strict=True))
    assert reading == {
        "set_speed": 3600,
        "ambient_temperature": 20.0,
        "suction_pressure": 239.2,
        "speed": 3533.0,  # 370 rad/s are 3,533.24 rpm, shown in halves
        "flow": 396.0,
        "discharge_pressure": 928.7,
        "thrust_bearing_temperature": 60.0,
        "radial_bearing_temperature": 55.0,
        "oil_temperature": 45.0,
        "motor_power": 138.0,
    }


def test_a_sensor_of_a_pump_at_rest_reads_exactly_zero() -> None:
    measured = measure(np.zeros_like(QUIET), np.ones_like(QUIET))
    assert measured[NAMES.index("flow")] == 0
    assert measured[NAMES.index("motor_power")] == 0


def test_errors_have_the_declared_spread() -> None:
    errors = np.random.default_rng(1).standard_normal((len(PUMP_SENSORS), 4_000))
    spread = measure(_truth() + 0 * errors, errors).std(axis=1)
    assert spread == pytest.approx([sensor.noise for sensor in PUMP_SENSORS], rel=0.05, abs=1e-9)


def test_no_sensor_reports_more_than_its_range() -> None:
    assert display(np.full_like(QUIET, 1e6))[:, 0].tolist() == [sensor.high for sensor in PUMP_SENSORS]
    assert display(np.full_like(QUIET, -1e6))[:, 0].tolist() == [sensor.low for sensor in PUMP_SENSORS]


def _distorted(fault: SensorFault) -> list[float]:
    """The faulty sensor of a pump whose true value rises by one an hour."""
    seen = []
    for age in range(8):
        measured = np.full((len(PUMP_SENSORS), 2), float(age))
        fault.distort(measured, np.array([0, age]))
        assert (np.delete(measured, fault.row, axis=0) == age).all()
        assert (measured[:, 0] == age).all()
        seen.append(measured[fault.row, 1])
    return seen


def test_a_stuck_sensor_holds_its_value_until_it_recovers() -> None:
    assert _distorted(SensorFault(pump=1, row=2, begins=3, ends=6, drift=0.0)) == [0, 1, 2, 3, 3, 3, 6, 7]


def test_a_drifting_sensor_departs_steadily_until_it_recovers() -> None:
    assert _distorted(SensorFault(pump=1, row=2, begins=3, ends=6, drift=0.5)) == [0, 1, 2, 3, 4.5, 6, 6, 7]


def test_faults_fall_on_sensors_that_no_failure_shows_in_first() -> None:
    faults = [SensorFault.draw(0, np.random.default_rng(seed)) for seed in range(200)]
    assert {NAMES[fault.row] for fault in faults} == {"suction_pressure", "discharge_pressure", "oil_temperature"}
    assert {fault.row for fault in faults} == set(FAULT_ROWS)
    assert 60 < sum(fault.drift == 0 for fault in faults) < 140
    assert all(fault.begins < fault.ends for fault in faults)


def test_sensor_names_are_unique() -> None:
    assert all(first < second for first, second in pairwise(sorted(NAMES)))
