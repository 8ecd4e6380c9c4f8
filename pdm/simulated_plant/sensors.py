"""What the plant floor sees of the pumps: units, noise, resolution, lost values and sensors at fault."""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from pdm.simulated_plant.pump import Conditions, Floats, OperatingPoint

KELVIN_AT_ZERO = 273.15


@dataclass(frozen=True, slots=True)
class PumpSensor:
    """One sensor of every pump.

    Attributes:
        low, high: the range that it can report, in `unit`.
        resolution: the last digit that it reports, a whole fraction of one.
        noise: standard deviation of its error, in `unit`; none at a value of exactly zero (a pump at rest).
        scale, offset: value in `unit` = SI value * scale + offset.
    """

    name: str
    unit: str
    low: float
    high: float
    resolution: float
    noise: float
    scale: float = 1.0
    offset: float = 0.0


RPM = 60 / (2 * pi)

PUMP_SENSORS: tuple[PumpSensor, ...] = (
    # name, unit, low, high, resolution, noise, scale, offset
    PumpSensor("set_speed", "rpm", 0, 4000, 1, 0, RPM),
    PumpSensor("ambient_temperature", "degC", -40, 60, 0.1, 0.2, 1, -KELVIN_AT_ZERO),
    PumpSensor("suction_pressure", "kPa", 0, 600, 0.1, 0.5, 1e-3),
    PumpSensor("speed", "rpm", 0, 4000, 0.5, 1, RPM),
    PumpSensor("flow", "m3/h", 0, 800, 0.1, 2, 3600),
    PumpSensor("discharge_pressure", "kPa", 0, 1600, 0.1, 2, 1e-3),
    PumpSensor("thrust_bearing_temperature", "degC", -40, 160, 0.1, 0.5, 1, -KELVIN_AT_ZERO),
    PumpSensor("radial_bearing_temperature", "degC", -40, 160, 0.1, 0.5, 1, -KELVIN_AT_ZERO),
    PumpSensor("oil_temperature", "degC", -40, 160, 0.1, 0.5, 1, -KELVIN_AT_ZERO),
    PumpSensor("motor_power", "kW", 0, 300, 0.1, 0.5, 1e-3),
)
"""Every sensor of a pump, in the order of the rows of a measurement; the first three are operating conditions."""

# The sensors that may be at fault for a while: none that a failure shows in first.
FAULT_ROWS = tuple(
    row
    for row, sensor in enumerate(PUMP_SENSORS)
    if sensor.name in {"suction_pressure", "discharge_pressure", "oil_temperature"}
)

_SCALE, _OFFSET, _LOW, _HIGH, _NOISE = (
    np.array([[getattr(sensor, attribute)] for sensor in PUMP_SENSORS], dtype=np.float64)
    for attribute in ("scale", "offset", "low", "high", "noise")
)
_DIGITS_PER_UNIT = np.array([[round(1 / sensor.resolution)] for sensor in PUMP_SENSORS], dtype=np.float64)


@dataclass(slots=True)
class SensorFault:
    """One sensor of one pump that is wrong for a while: it drifts, or is stuck where its drift is zero.

    Attributes:
        row: of the sensor in `PUMP_SENSORS`.
        begins, ends: age of the pump [h].
        drift: error gained in an hour, in the unit of the sensor.
    """

    pump: int
    row: int
    begins: int
    ends: int
    drift: float
    _held: float = 0.0

    @classmethod
    def draw(cls, pump: int, random: np.random.Generator) -> "SensorFault":
        """A fault within the first months of a pump: half of them stuck, half drifting to eight times the noise."""
        row = int(random.choice(FAULT_ROWS))
        begins = int(random.integers(300, 1_500))
        lasts = int(random.integers(100, 400))
        error_at_end = int(random.choice((-8, 0, 0, 8))) * PUMP_SENSORS[row].noise
        return cls(pump, row, begins, begins + lasts, error_at_end / lasts)

    def distort(self, measured: Floats, ages: NDArray[np.int64]) -> None:
        """Change `measured` [sensors, pumps] in place; `ages` are those of all pumps [h]."""
        age = int(ages[self.pump])
        if not self.begins <= age < self.ends:
            return
        if age == self.begins:
            self._held = float(measured[self.row, self.pump])
        if self.drift == 0:
            measured[self.row, self.pump] = self._held
        else:
            measured[self.row, self.pump] += self.drift * (age - self.begins)


def true_values(conditions: Conditions, point: OperatingPoint, temperatures: Floats) -> Floats:
    """The quantities that `PUMP_SENSORS` measure, in SI units and their order [sensors, pumps]."""
    return np.stack(
        [
            conditions.set_speed,
            conditions.ambient,
            conditions.suction_pressure,
            point.speed,
            point.flow,
            point.discharge_pressure,
            *temperatures,
            point.motor_power,
        ]
    )


def measure(truth: Floats, errors: Floats) -> Floats:
    """SI values [sensors, pumps] in the units of the sensors, with their noise; `errors` are standard normal."""
    return truth * _SCALE + _OFFSET + np.where(truth == 0, 0.0, _NOISE * errors)


def display(measured: Floats) -> Floats:
    """What the sensors report of it: within their range, in steps of their resolution."""
    return np.rint(np.clip(measured, _LOW, _HIGH) * _DIGITS_PER_UNIT) / _DIGITS_PER_UNIT
