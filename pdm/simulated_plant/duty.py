"""What the station is asked for and what surrounds it: load by shift and week, season, weather, pressures.

All of it depends on the seed and on plant time only, never on the pumps. Hours count from the epoch, shifts are in UTC.
"""

from dataclasses import dataclass
from math import cos, pi, sqrt

import numpy as np

HOUR_MS = 3_600_000
DAY_HOURS = 24
YEAR_HOURS = 8_766

MEAN_AMBIENT = 289.0  # [K]
MEAN_SUCTION_PRESSURE = 239_179.0  # [Pa]
MEAN_NETWORK_PRESSURE = 807_000.0  # with the pipe's loss at full load: the published 928,654 [Pa] behind the pump

# Load of a day part as a share of full load, None at rest: (from hour, to hour, load).
WORKING_DAY = ((5, 7, 0.30), (7, 14, 0.80), (14, 20, 0.65), (20, 23, 0.25))
SATURDAY = ((6, 14, 0.50), (14, 22, 0.30))
SUNDAY = ((8, 20, 0.20),)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One hour of the station: load asked of it (0 to 1, None at rest), ambient [K], pressures [Pa]."""

    hour: int
    load: float | None
    ambient: float
    suction_pressure: float
    network_pressure: float


class StationDuty:
    """Walks through the hours of a station from its start."""

    def __init__(self, random: np.random.Generator, start_ms: int) -> None:
        self._random = random
        self._hour = start_ms // HOUR_MS
        self._demand = 0.0
        self._weather = 0.0
        self._basin = 0.0
        self._network = 0.0

    def advance(self) -> Surroundings:
        """The surroundings of the next hour."""
        hour = self._hour
        self._hour += 1
        self._demand = self._drift(self._demand, sd=0.10, memory=2 * DAY_HOURS)
        self._weather = self._drift(self._weather, sd=3.0, memory=3 * DAY_HOURS)
        self._basin = self._drift(self._basin, sd=10_000.0, memory=2 * DAY_HOURS)
        self._network = self._drift(self._network, sd=4_000.0, memory=12)
        shift = shift_load(hour)
        return Surroundings(
            hour=hour,
            load=None if shift is None else shift + self._demand,
            ambient=MEAN_AMBIENT + season(hour) + time_of_day(hour) + self._weather,
            suction_pressure=MEAN_SUCTION_PRESSURE + self._basin,
            network_pressure=MEAN_NETWORK_PRESSURE + self._network,
        )

    def _drift(self, value: float, *, sd: float, memory: float) -> float:
        """The next value of a first-order autoregression around zero with this spread and memory [hours]."""
        kept = 1 - 1 / memory
        return kept * value + sqrt(1 - kept**2) * sd * self._random.standard_normal()


def shift_load(hour: int) -> float | None:
    """Load by hour of the day and day of the week; None while the station rests."""
    days, hour_of_day = divmod(hour, DAY_HOURS)
    weekday = (days + 3) % 7  # the epoch was a Thursday; 0 is Monday
    parts = {5: SATURDAY, 6: SUNDAY}.get(weekday, WORKING_DAY)
    return next((load for start, end, load in parts if start <= hour_of_day < end), None)


def season(hour: int) -> float:
    """Departure of the day's mean temperature from the year's [K], warmest in the third week of July."""
    return 5.0 * cos(2 * pi * (hour / YEAR_HOURS - 0.55))


def time_of_day(hour: int) -> float:
    """Departure from the day's mean temperature [K], warmest at 15:00."""
    return 5.5 * cos(2 * pi * (hour % DAY_HOURS - 15) / DAY_HOURS)
