"""The simulated pumps beside NASA's progpy, and whether their lives are neither trivial nor hopeless to forecast.

Run as `python -m benchmarks.plant_physics`. progpy (a development dependency) steps the same published model by the
second; ours takes speed and flow at their steady values and the temperatures by the hour.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
from progpy.models.centrifugal_pump import CentrifugalPumpBase

from benchmarks.report import Figure, aligned, write_report
from pdm.simulated_plant import PUMP_SENSORS, FailureMode, PumpLives, pump, simulate_pumps
from pdm.simulated_plant.duty import MEAN_NETWORK_PRESSURE
from pdm.simulated_plant.pump import Conditions, Floats
from pdm.simulated_plant.sensors import measure, true_values
from pdm.simulated_plant.station import NEW_PUMP

SEASONS = (1, 4, 7, 10)  # fleets start in these months of 2026
PUMPS_A_FLEET = 60
OF_LIFE = 1 / 3


@dataclass(frozen=True, slots=True)
class Case:
    """A point at which both models run: set speed [rad/s], ambient [K], pressures [Pa], wear of three parts."""

    name: str
    set_speed: float
    ambient: float
    suction_pressure: float
    network_pressure: float
    impeller: float = pump.NEW_IMPELLER
    thrust_friction: float = pump.NEW_THRUST_FRICTION
    radial_friction: float = pump.NEW_RADIAL_FRICTION


CASES = (
    Case("new, full load", 377.0, 290.0, 239_179.0, 801_000.0),
    Case("new, half load", 325.0, 280.0, 230_000.0, 805_000.0),
    Case("worn impeller", 350.0, 300.0, 245_000.0, 795_000.0, impeller=9.8),
    Case("worn bearings", 370.0, 295.0, 239_179.0, 801_000.0, thrust_friction=2.4e-6, radial_friction=4.0e-6),
)
QUANTITIES = ("speed", "flow", "thrust 1 h", "radial 1 h", "oil 1 h", "thrust 12 h", "radial 12 h", "oil 12 h")
COLD = 290.0  # where the temperatures of both models start [K]
HOURS_TO_SETTLE = 12


def main() -> int:
    """Measure, print, write `benchmarks/results/plant.json`; 1 if a bar is missed."""
    started = time.perf_counter()
    figures = [*physics_figures(), *wear_figures(), *fleet_figures()]
    return 0 if write_report("plant", figures, time.perf_counter() - started) else 1


def physics_figures() -> list[Figure]:
    """Both models side by side at every case, printed, and how far apart they are at most."""
    ours = _our_answers(CASES)
    theirs = np.array([_progpy_answer(case, our[1]) for case, our in zip(CASES, ours, strict=True)])
    print(_side_by_side(ours, theirs))
    relative, kelvin = np.abs(ours / theirs - 1), np.abs(ours - theirs)
    return [
        Figure("plant.speed", "speed, difference from progpy", 100 * relative[:, 0].max(), "%", 0.01, "lower"),
        Figure("plant.flow", "flow, difference from progpy", 100 * relative[:, 1].max(), "%", 0.01, "lower"),
        Figure("plant.warming", "temperatures one hour after a cold start", kelvin[:, 2:5].max(), "K", 0.5, "lower"),
        Figure("plant.warm", "temperatures twelve hours after it", kelvin[:, 5:].max(), "K", 0.05, "lower"),
    ]


def _side_by_side(ours: Floats, theirs: Floats) -> str:
    """A row for each quantity: ours and theirs in every case."""
    heading = ("ours / progpy", *(case.name for case in CASES))
    rows = (
        (quantity, *(f"{our:.5g} / {their:.5g}" for our, their in zip(in_ours, in_theirs, strict=True)))
        for quantity, in_ours, in_theirs in zip(QUANTITIES, ours.T, theirs.T, strict=True)
    )
    return aligned([heading, *rows])


def _our_answers(cases: Sequence[Case]) -> Floats:
    """The quantities [cases, quantities] by the simulated plant."""
    conditions = Conditions(*(np.array([getattr(case, field.name) for case in cases]) for field in fields(Conditions)))
    impeller, thrust, radial = np.array([[c.impeller, c.thrust_friction, c.radial_friction] for c in cases]).T
    point = pump.operating_point(conditions, impeller, thrust + radial)
    steady = pump.steady_temperatures(thrust, radial, point.speed, conditions.ambient)
    after_an_hour = pump.temperatures_after_an_hour(np.full_like(steady, COLD), steady)
    return np.stack([point.speed, point.flow, *after_an_hour, *steady], axis=1)


def _progpy_answer(case: Case, flow: float) -> Floats:
    """The same quantities by progpy, second by second; it is given the discharge pressure of our pipe at `flow`."""
    model = CentrifugalPumpBase(process_noise=0)
    start = dict(model.parameters["x0"]) | {
        "A": case.impeller,
        "rThrust": case.thrust_friction,
        "rRadial": case.radial_friction,
    }
    load = model.InputContainer(
        {
            "Tamb": case.ambient,
            "V": pump.VOLTS_PER_SPEED * case.set_speed,
            "pdisch": case.network_pressure + pump.PIPE_RESISTANCE * flow**2,
            "psuc": case.suction_pressure,
            "wsync": case.set_speed,
        }
    )
    model.parameters["x0"] = start
    state = model.initialize(load)
    temperatures = []
    for second in range(1, HOURS_TO_SETTLE * 3_600 + 1):
        state = model.next_state(state, load, 1.0)
        if second in {3_600, HOURS_TO_SETTLE * 3_600}:
            temperatures += [state[name].item() for name in ("Tt", "Tr", "To")]
    return np.array([state["w"].item(), state["Q"].item(), *temperatures])


def wear_figures() -> list[Figure]:
    """One step of both wear laws at full load; at 315 K our factor for hot lubricant is one."""
    model = CentrifugalPumpBase(process_noise=0, wA=0.15, wThrust=0.8e-9, wRadial=1.7e-9)
    load = model.InputContainer({"Tamb": 290, "V": 471, "pdisch": 928_654, "psuc": 239_179, "wsync": 377})
    state = model.initialize(load)
    state["w"], state["Q"] = 370.0, 0.11
    after = model.next_state(state, load, 1.0)
    theirs = np.array([(after[name] - state[name]).item() for name in ("A", "rThrust", "rRadial")])
    speed, warm = np.array([370.0]), np.array([315.0])
    ours = np.array(
        [
            -pump.impeller_wear(np.array([0.15]), np.array([0.11])).item(),
            pump.bearing_wear(np.array([0.8e-9]), np.array([pump.NEW_THRUST_FRICTION]), speed, warm).item(),
            pump.bearing_wear(np.array([1.7e-9]), np.array([pump.NEW_RADIAL_FRICTION]), speed, warm).item(),
        ]
    )
    apart = 100 * np.abs(ours / theirs - 1).max()
    return [Figure("plant.wear", "wear laws at 315 K, difference from progpy", apart, "%", 0.01, "lower")]


def fleet_figures() -> list[Figure]:
    """Neither trivial nor hopeless, as far as it shows without a learner: fleets that start in each season."""
    fleets = [simulate_pumps(PUMPS_A_FLEET, seed=month, start_ms=_start_ms(month)) for month in SEASONS]
    ratios = np.min([duty_against_wear(fleet) for fleet in fleets], axis=0)
    modes = [truth.failure_mode for fleet in fleets for truth in fleet.truth]
    lives = [truth.life_hours for fleet in fleets for truth in fleet.truth]
    shortest, median, longest = np.percentile(lives, [1, 50, 99])
    return [
        *(
            Figure(f"plant.moved.{sensor.name}", "moved by duty and weather, times that by wear", ratio, "", 5)
            for sensor, ratio in zip(PUMP_SENSORS, ratios, strict=True)
            if np.isfinite(ratio)
        ),
        *(
            Figure(f"plant.mode.{mode}", "share of the failures", 100 * modes.count(mode) / len(modes), "%", 15)
            for mode in FailureMode
        ),
        Figure("plant.life.shortest", "life, 1st percentile", shortest, "h", 850),
        Figure("plant.life.median", "life, median", median, "h"),
        Figure("plant.life.longest", "life, 99th percentile", longest, "h", 3_500, "lower"),
        *_repeat_figures(),
    ]


def duty_against_wear(fleet: PumpLives) -> Floats:
    """How much duty and weather move each sensor, against wear, in the first third of life [sensors].

    Duty and weather: from the 5th to the 95th percentile of the readings of a running pump. Wear: the change of the
    steady value at the mean conditions of a running pump, from new to a third of life. Both are means over the pumps;
    a sensor that wear does not reach has an infinite ratio.
    """
    thirds = [int(np.searchsorted(truth.running_hours, truth.life_hours * OF_LIFE)) for truth in fleet.truth]
    running = [_running(fleet, i, fleet.truth[i].hour_end_ms[third]) for i, third in enumerate(thirds)]
    low, high = np.mean([np.nanpercentile(values, [5, 95], axis=1) for values in running], axis=0)
    worn = np.array(
        [
            [truth.impeller[third], truth.thrust_friction[third], truth.radial_friction[third]]
            for truth, third in zip(fleet.truth, thirds, strict=True)
        ]
    ).T
    speed, ambient, suction = np.array([np.nanmean(values[:3], axis=1) for values in running]).T
    conditions = Conditions(
        speed / PUMP_SENSORS[0].scale,
        ambient - PUMP_SENSORS[1].offset,
        suction / PUMP_SENSORS[2].scale,
        np.full_like(speed, MEAN_NETWORK_PRESSURE),
    )
    moved = np.abs(_steady_values(conditions, worn) - _steady_values(conditions, NEW_PUMP + 0 * worn)).mean(axis=1)
    with np.errstate(divide="ignore"):
        ratio: Floats = (high - low) / moved
    return ratio


def _running(fleet: PumpLives, i: int, until_ms: int) -> Floats:
    """Values [sensors, readings] of pump i while it ran, up to a time."""
    values = np.array([fleet.values[i][sensor.name] for sensor in PUMP_SENSORS])
    return values[:, (fleet.time_ms[i] < until_ms) & (values[0] > 0)]


def _steady_values(conditions: Conditions, wear: Floats) -> Floats:
    """What the sensors would settle at without noise [sensors, pumps], at a `wear` [3, pumps]."""
    impeller, thrust, radial = wear
    point = pump.operating_point(conditions, impeller, thrust + radial)
    temperatures = pump.steady_temperatures(thrust, radial, point.speed, conditions.ambient)
    truth = true_values(conditions, point, temperatures)
    return measure(truth, np.zeros_like(truth))


def _repeat_figures() -> list[Figure]:
    """Twice the same seed, timed at the size that a training needs."""
    started = time.perf_counter()
    first = _fingerprint(simulate_pumps(140, seed=1, start_ms=_start_ms(1)))
    seconds = time.perf_counter() - started
    same = first == _fingerprint(simulate_pumps(140, seed=1, start_ms=_start_ms(1)))
    return [
        Figure("plant.repeats", "same seed, same bytes", float(same), "", 1),
        Figure("plant.seconds", "140 pumps to failure, one core", seconds, "s", better="lower"),
    ]


def _fingerprint(fleet: PumpLives) -> str:
    digest = sha256()
    for times, values in zip(fleet.time_ms, fleet.values, strict=True):
        digest.update(times.tobytes())
        for column in values.values():
            digest.update(column.tobytes())
    return digest.hexdigest()


def _start_ms(month: int) -> int:
    return int(datetime(2026, month, 1, tzinfo=UTC).timestamp() * 1000)


if __name__ == "__main__":
    sys.exit(main())
