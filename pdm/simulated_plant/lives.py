"""Whole lives: a station run until its pumps have failed, cut into one record per pump."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdm.simulated_plant.pump import Floats
from pdm.simulated_plant.station import Failure, FailureMode, HourReadings, PumpStation


@dataclass(frozen=True, slots=True)
class PumpTruth:
    """What nobody in the plant knows of one pump; only scoring may read it.

    Attributes:
        failure_ms, failure_mode: end of the hour in which it failed, and of what; None if it outlived the simulation.
        hour_end_ms: the end of every hour of its life [hours], whether its reading arrived or not.
        running_hours: hours that it has run by then [hours].
        impeller, thrust_friction, radial_friction: its wear by then [hours].
    """

    failure_ms: int | None
    failure_mode: FailureMode | None
    hour_end_ms: NDArray[np.int64]
    running_hours: NDArray[np.int64]
    impeller: Floats
    thrust_friction: Floats
    radial_friction: Floats

    @property
    def life_hours(self) -> int:
        """Hours run until the failure, or until the simulation ended."""
        return int(self.running_hours[-1])


@dataclass(frozen=True, slots=True)
class PumpLives:
    """Pumps from new until failure, standstill included; entry i of each member is about pump i.

    Attributes:
        time_ms: stamps of its readings [readings], ascending, one for each hour whose reading arrived.
        values: value of each sensor of `PUMP_SENSORS` at those times [readings], NaN where it was lost.
        truth: what only scoring may read.
    """

    time_ms: tuple[NDArray[np.int64], ...]
    values: tuple[dict[str, Floats], ...]
    truth: tuple[PumpTruth, ...]


def simulate_pumps(count: int, *, seed: int, start_ms: int, max_hours: int = 12_000) -> PumpLives:
    """Run `count` new pumps from the hour of `start_ms` until all have failed, or for `max_hours` of plant time.

    The same seed and start give the same bytes, and pump i is the same whatever the count.
    """
    station = PumpStation(count, seed=seed, start_ms=start_ms)
    readings: list[HourReadings] = []
    wear: list[Floats] = []
    running_hours: list[NDArray[np.int64]] = []
    while station.alive.any() and len(readings) < max_hours:
        readings.append(station.advance())
        wear.append(station.wear)
        running_hours.append(station.running_hours)
    times, values = _arrived(readings, count)
    return PumpLives(times, values, _truths(readings, np.array(wear), np.array(running_hours)))


def _arrived(
    readings: list[HourReadings], count: int
) -> tuple[tuple[NDArray[np.int64], ...], tuple[dict[str, Floats], ...]]:
    """Times and values of the readings that arrived, per pump."""
    stamps = np.array([hour.time_ms for hour in readings], dtype=np.int64)
    sent = np.array([hour.sent for hour in readings])
    columns = {name: np.array([hour.values[name] for hour in readings]) for name in readings[0].values}
    times = tuple(stamps[sent[:, pump]] for pump in range(count))
    values = tuple({name: column[sent[:, pump], pump] for name, column in columns.items()} for pump in range(count))
    return times, values


def _truths(readings: list[HourReadings], wear: Floats, running_hours: NDArray[np.int64]) -> tuple[PumpTruth, ...]:
    """The truth about each pump, from `wear` [hours, 3, pumps] and `running_hours` [hours, pumps]."""
    ends = np.array([hour.ends_ms for hour in readings], dtype=np.int64)
    failures = {failure.pump: failure for hour in readings for failure in hour.failures}
    return tuple(
        _truth(failures.get(pump), ends, wear[:, :, pump], running_hours[:, pump])
        for pump in range(running_hours.shape[1])
    )


def _truth(
    failure: Failure | None, ends: NDArray[np.int64], wear: Floats, running_hours: NDArray[np.int64]
) -> PumpTruth:
    """The truth about one pump, from its `wear` [hours, 3], cut at its failure."""
    lived = slice(None) if failure is None else slice(int(np.searchsorted(ends, failure.time_ms)) + 1)
    impeller, thrust_friction, radial_friction = wear[lived].T.copy()
    return PumpTruth(
        failure_ms=None if failure is None else failure.time_ms,
        failure_mode=None if failure is None else failure.mode,
        hour_end_ms=ends[lived],
        running_hours=running_hours[lived],
        impeller=impeller,
        thrust_friction=thrust_friction,
        radial_friction=radial_friction,
    )
