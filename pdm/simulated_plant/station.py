"""The pumping station, hour by hour: load and weather, steady state, heat, wear, failure, what the sensors say."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pdm.simulated_plant import pump as physics
from pdm.simulated_plant.duty import HOUR_MS, StationDuty, Surroundings
from pdm.simulated_plant.pump import Conditions, Floats, OperatingPoint
from pdm.simulated_plant.sensors import PUMP_SENSORS, SensorFault, display, measure, true_values
from pdm.simulated_plant.streams import HourDraws, PumpStreams, station_random

STAMPED_BEFORE_END_MS = 60_000

SLOWEST_SET_SPEED, FASTEST_SET_SPEED = 265.0, 377.0  # at no and at full load [rad/s]
SHARE_SD, SHARE_MEMORY = 0.10, 150 * 24.0  # how a pump's share of the load drifts, and over how many hours
LOAD_SD = 0.05  # how a pump's load differs from hour to hour

# Median wear rates of impeller, thrust and radial bearing per hour, and how pumps differ in them: log-normal. Chosen so
# that each of the three ends a fair share of the lives.
WEAR_RATES = np.array([0.19, 0.85e-9, 1.7e-9])
WEAR_RATE_SD = 0.3

DEBRIS_PER_HOUR = 1 / 4_500  # of each part: something hits a running pump about every 1,500 hours
DEBRIS_WEAR = 0.04  # of what the impeller may lose, or of a bearing's friction
NEW_PUMP = np.array([[physics.NEW_IMPELLER], [physics.NEW_THRUST_FRICTION], [physics.NEW_RADIAL_FRICTION]])
IMPELLER_RANGE = physics.NEW_IMPELLER - physics.IMPELLER_LIMIT

TEMPERATURE_LIMITS = np.array([[physics.BEARING_LIMIT], [physics.BEARING_LIMIT], [physics.OIL_LIMIT]])
OVERHEATED_HOURS, OF_LAST_HOURS = 3, 10  # running hours above a limit that fail a pump: a momentary peak does not

VALUE_LOST = 0.002
READING_LOST = 0.005
FAULT_EVERY = 8  # one pump in eight starts with a sensor that will be at fault: one or two in a dozen


class FailureMode(StrEnum):
    """What ended the life of a pump."""

    IMPELLER = "impeller"
    THRUST_BEARING = "thrust_bearing"
    RADIAL_BEARING = "radial_bearing"


@dataclass(frozen=True, slots=True)
class Failure:
    """A pump that failed, at the end of an hour."""

    pump: int
    mode: FailureMode
    time_ms: int


@dataclass(frozen=True, slots=True)
class HourReadings:
    """What the station reports of one hour.

    Attributes:
        ends_ms: the end of the hour.
        values: [pumps] of each sensor; NaN where a value was lost.
        sent: [pumps], whether there is a reading at all: not of a failed pump, nor where it was lost as a whole.
        failures: pumps that failed at the end of this hour.
    """

    ends_ms: int
    values: Mapping[str, Floats]
    sent: NDArray[np.bool_]
    failures: tuple[Failure, ...]

    @property
    def time_ms(self) -> int:
        """The stamp of the readings: within their hour, one minute before it ends."""
        return self.ends_ms - STAMPED_BEFORE_END_MS


class PumpStation:
    """Pumps side by side under one duty. `advance` lives an hour; `repair` puts a new pump in a place.

    Hidden truth, for scoring only: `wear` [3, pumps] (impeller area, thrust and radial friction) and `running_hours`.
    """

    def __init__(self, count: int, *, seed: int, start_ms: int) -> None:
        random = station_random(seed)
        self._faulty_place = int(random.integers(FAULT_EVERY))
        self._duty = StationDuty(random, start_ms)
        self._streams = PumpStreams(seed, count)
        self._faults: dict[int, SensorFault] = {}
        self._generation = np.full(count, -1)
        self._age = np.zeros(count, np.int64)
        self._share = np.zeros(count)
        self._wear_rate = np.zeros((3, count))
        self._temperatures = np.zeros((3, count))
        self._overheated = np.zeros((3, count), np.uint16)
        self.alive = np.zeros(count, np.bool_)
        self.running_hours = np.zeros(count, np.int64)
        self.wear = np.zeros((3, count))
        for place in range(count):
            self.repair(place)

    def repair(self, pump: int) -> None:
        """Replace a pump, failed or not, by a new one that starts with the next hour."""
        self._generation[pump] += 1
        random = self._streams.open(pump, int(self._generation[pump]))
        self._wear_rate[:, pump] = WEAR_RATES * np.exp(WEAR_RATE_SD * random.standard_normal(3))
        self._share[pump] = SHARE_SD * random.standard_normal()
        self._faults.pop(pump, None)
        if self._generation[pump] == 0 and pump % FAULT_EVERY == self._faulty_place:
            self._faults[pump] = SensorFault.draw(pump, random)
        self._temperatures[:, pump] = np.nan  # that of the air, once it is known
        self._overheated[:, pump] = 0
        self._age[pump] = 0
        # Arrays that callers may have kept are replaced, never changed.
        new = np.arange(len(self.alive)) == pump
        self.running_hours = np.where(new, 0, self.running_hours)
        self.wear = np.where(new, NEW_PUMP, self.wear)
        self.alive = self.alive | new

    def advance(self) -> HourReadings:
        """Live one hour."""
        surroundings = self._duty.advance()
        draws = self._streams.hour(self._age)
        lived = self.alive

        conditions = self._conditions(surroundings, draws)
        point = physics.operating_point(conditions, self.wear[0], self.wear[1] + self.wear[2])
        self._heat(point, conditions.ambient)
        self._wear_down(point, draws)
        values, sent = self._observe(conditions, point, draws)
        ends_ms = (surroundings.hour + 1) * HOUR_MS
        failures = self._fail(conditions.set_speed > 0, ends_ms)
        self._age += lived

        return HourReadings(
            ends_ms=ends_ms,
            values=dict(zip((sensor.name for sensor in PUMP_SENSORS), values, strict=True)),
            sent=sent & lived,
            failures=failures,
        )

    def _conditions(self, surroundings: Surroundings, draws: HourDraws) -> Conditions:
        """How each pump is operated in this hour: its share of the station's load as a set speed."""
        count = len(self.alive)
        kept = 1 - 1 / SHARE_MEMORY
        self._share = kept * self._share + np.sqrt(1 - kept**2) * SHARE_SD * draws.share
        set_speed = np.zeros(count)
        if surroundings.load is not None:
            load = np.clip(surroundings.load + self._share + LOAD_SD * draws.load, 0, 1)
            set_speed = np.where(self.alive, SLOWEST_SET_SPEED + load * (FASTEST_SET_SPEED - SLOWEST_SET_SPEED), 0)
        return Conditions(
            set_speed,
            np.full(count, surroundings.ambient),
            np.full(count, surroundings.suction_pressure),
            np.full(count, surroundings.network_pressure),
        )

    def _heat(self, point: OperatingPoint, ambient: Floats) -> None:
        """Bring the temperatures to the end of the hour; a new pump comes with that of the air."""
        before = np.where(np.isnan(self._temperatures), ambient, self._temperatures)
        steady = physics.steady_temperatures(self.wear[1], self.wear[2], point.speed, ambient)
        self._temperatures = physics.temperatures_after_an_hour(before, steady)

    def _wear_down(self, point: OperatingPoint, draws: HourDraws) -> None:
        """Wear of the hour with its gamma noise, and now and then debris."""
        impeller, thrust, radial = self.wear
        rate_impeller, rate_thrust, rate_radial = self._wear_rate * draws.wear
        hit = (draws.debris < DEBRIS_PER_HOUR) & (point.speed > 0)
        debris = np.where(hit, DEBRIS_WEAR * draws.debris_size, 0.0)
        self.wear = np.stack(
            [
                impeller - physics.impeller_wear(rate_impeller, point.flow) - IMPELLER_RANGE * debris[0],
                thrust * (1 + debris[1])
                + physics.bearing_wear(rate_thrust, thrust, point.speed, self._temperatures[0]),
                radial * (1 + debris[2])
                + physics.bearing_wear(rate_radial, radial, point.speed, self._temperatures[1]),
            ]
        )

    def _observe(
        self, conditions: Conditions, point: OperatingPoint, draws: HourDraws
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Values [sensors, pumps] as the sensors give them, and which pumps' readings arrive at all [pumps]."""
        measured = measure(true_values(conditions, point, self._temperatures), draws.errors)
        for fault in self._faults.values():
            fault.distort(measured, self._age)
        values = np.where(draws.value_lost < VALUE_LOST, np.nan, display(measured))
        return values, draws.reading_lost >= READING_LOST

    def _fail(self, running: NDArray[np.bool_], ends_ms: int) -> tuple[Failure, ...]:
        """Count the hour, and end the lives that reached a limit with it."""
        self.running_hours = self.running_hours + running
        over = self._temperatures >= TEMPERATURE_LIMITS
        # One bit an hour: the last running hours in which a limit was exceeded.
        shifted = ((self._overheated << 1) | over) & ((1 << OF_LAST_HOURS) - 1)
        self._overheated = np.where(running, shifted, self._overheated)
        worn = self.wear[0] <= physics.IMPELLER_LIMIT
        overheated = (np.bitwise_count(self._overheated) >= OVERHEATED_HOURS).any(axis=0)
        failed = self.alive & (worn | overheated)
        self.alive = self.alive & ~failed
        return tuple(Failure(int(pump), self._mode(pump), ends_ms) for pump in np.flatnonzero(failed))

    def _mode(self, pump: np.intp) -> FailureMode:
        """Hot oil is put down to the hotter bearing."""
        if self.wear[0, pump] <= physics.IMPELLER_LIMIT:
            return FailureMode.IMPELLER
        thrust, radial, _ = self._temperatures[:, pump]
        return FailureMode.THRUST_BEARING if thrust > radial else FailureMode.RADIAL_BEARING
