"""Drills of sensors that go wrong: faults put into the steps of unseen simulated pumps, folded as the service does."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.chaos_terms import Terms, none
from benchmarks.report import Figure
from pdm import twin
from pdm.adapters import model_folder
from pdm.demo.lives import START_MS, pump_steps
from pdm.demo_plants import pump_plant
from pdm.features.frame import Floats
from pdm.features.health import Fault
from pdm.features.told_units import told_in
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis import Refusal
from pdm.prognosis.forecast import forecast
from pdm.prognosis.learned import Model
from pdm.settings import shipped_folder
from pdm.simulated_plant import PUMP_SENSORS, PumpSensor, simulate_pumps
from pdm.steps import Steps, joined
from pdm.twin import Twin

PUMPS, STATIONS, FIRST_SEED = 10, 3, 300_000
JUDGED = PUMP_SENSORS[3:]  # the first three state how a pump is operated
SINCE, LASTS = 100, 200  # running steps before a fault, and of it
EVERY, WITHIN = 70, 3  # running steps from one spike to the next, and in which it has to be named
SIZE = 25.0  # of a spike or a new level, in standard deviations of the sensor's noise
RUNNING_A_DAY = 16.0
A_WEEK, WEEKS = 0.01, 4  # share of its range by which a sensor drifts in a week, and in how many that is named
RECALL, FALSE_FLAGS = 0.95, 1.0  # least; most in 1,000 days of a sensor

Wrong = Callable[[PumpSensor, np.random.Generator, Floats], Floats]

KINDS: dict[str, Wrong] = {
    "dropout": lambda sensor, random, x: np.full_like(x, np.nan),
    "half_lost": lambda sensor, random, x: np.where(random.random(len(x)) < 0.5, np.nan, x),
    "stuck": lambda sensor, random, x: np.full_like(x, x[0]),
    "level": lambda sensor, random, x: x + SIZE * sensor.noise,
    "noise": lambda sensor, random, x: x + random.normal(0, np.sqrt(24) * sensor.noise, len(x)),
}


class Said(NamedTuple):
    """What was said of pumps, step by step.

    Attributes:
        faults: for each pump `[steps, k]` what was wrong with the sensor behind each column.
        refusals: for each pump why there is no forecast a day of running after its fault began.
    """

    faults: list[NDArray[np.int8]]
    refusals: NDArray[np.int8]


def d7(folder: Path, terms: Terms) -> list[Figure]:
    """Temperatures that are told in degF from one day on, undeclared."""
    asset_class, model, pumps = _pumps(terms.seed)
    hot = [sensor for sensor in JUDGED if sensor.unit == "degC"]
    sensors = [hot[pump % len(hot)] for pump in range(len(pumps))]
    wrong = [
        _with(asset_class, steps, sensors[pump], lambda x: 1.8 * x + 32, _since(pump))
        for pump, steps in enumerate(pumps)
    ]
    said = _said(asset_class, model, wrong)
    first = [_first(asset_class, f, sensors[pump], _since(pump)) for pump, f in enumerate(said.faults)]
    units = [_units(asset_class, f, sensors[pump], _since(pump)) for pump, f in enumerate(said.faults)]
    right = np.mean([told == {"degF"} for told in units])
    wrong_unit = sum(len(told - {"degF"}) for told in units)
    refused = np.mean(said.refusals == Refusal.UNIT_MISMATCH)
    what = f"of {len(pumps)} sensors"
    return [
        Figure("D7.steps", f"most steps until one {what} is named", 1.0 + max(first), bar=3, better="lower"),
        Figure("D7.unit", f"share {what} named with the unit that they speak in", float(right), bar=RECALL),
        none("D7.wrong", f"{what} named with another unit", wrong_unit),
        Figure("D7.refused", "share of the forecasts refused for it by the next day", float(refused), bar=RECALL),
    ]


def d8(folder: Path, terms: Terms) -> list[Figure]:
    """Each kind of fault on one sensor of each pump, and none."""
    asset_class, model, pumps = _pumps(terms.seed)
    sound = _said(asset_class, model, pumps)
    figures = [_false_flags(asset_class, sound), _spikes(asset_class, model, pumps)]
    figures += _drifts(asset_class, model, pumps, sound)
    for kind, wrong in KINDS.items():
        random = np.random.default_rng(terms.seed)
        sensors = [JUDGED[pump % len(JUDGED)] for pump in range(len(pumps))]
        faulty = [
            _with(asset_class, steps, sensor, partial(wrong, sensor, random), _since(pump))
            for pump, (steps, sensor) in enumerate(zip(pumps, sensors, strict=True))
        ]
        said = _said(asset_class, model, faulty)
        seen = [_first(asset_class, f, sensors[pump], _since(pump)) < LASTS for pump, f in enumerate(said.faults)]
        figures.append(Figure(f"D8.{kind}", f"{kind} named, share of {len(pumps)}", float(np.mean(seen)), bar=RECALL))
    return figures


def _drifts(asset_class: AssetClass, model: Model, pumps: list[Steps], sound: Said) -> list[Figure]:
    """Each sensor of which a drift is judged drifts on each pump, up on every other one."""
    named, others = list[float](), 0
    sensors = _judged_for_drift(asset_class, model)
    lasts = round(WEEKS * 7 * RUNNING_A_DAY)
    for sensor in sensors:
        drifting = [
            _with(asset_class, steps, sensor, partial(_drift, sensor, (-1) ** pump), _since(pump), lasts)
            for pump, steps in enumerate(pumps)
        ]
        column = asset_class.column_names.index(sensor.name)
        for pump, faults in enumerate(_said(asset_class, model, drifting).faults):
            of_drift = faults[_since(pump) : _since(pump) + lasts] == Fault.DRIFT
            found = np.flatnonzero(of_drift[:, column])
            named.append((found[0] + 1) / (7 * RUNNING_A_DAY) if len(found) else np.inf)
            others += bool(np.delete(of_drift, column, axis=1).any())
    days = sum(len(f) for f in sound.faults) / RUNNING_A_DAY * len(sensors)
    begun = sum(int(np.diff((f == Fault.DRIFT).astype(np.int8), axis=0).clip(0).sum()) for f in sound.faults)
    what = f"drift of {A_WEEK:.0%} of the range a week named within {WEEKS} weeks, share of {len(named)}"
    false = f"drifts named where none was put in, in 1,000 of {days:.0f} days of a sensor judged for it"
    return [
        Figure("D8.drift", what, float(np.mean(np.isfinite(named))), bar=RECALL),
        Figure("D8.drift_weeks", "weeks until half of them are named", float(np.median(named)), better="lower"),
        none("D8.drift_other", "of them with a drift of another sensor named", others),
        Figure("D8.drift_false", false, 1000 * begun / days, bar=FALSE_FLAGS, better="lower"),
    ]


def _judged_for_drift(asset_class: AssetClass, model: Model) -> list[PumpSensor]:
    peers = model.frame.peers
    judged = [] if peers is None else model.frame.kept[peers.judged].tolist()
    return [sensor for sensor in JUDGED if asset_class.column_names.index(sensor.name) in judged]


def _drift(sensor: PumpSensor, sign: int, x: Floats) -> Floats:
    weeks = np.arange(1, len(x) + 1) / (7 * RUNNING_A_DAY)
    return x + sign * A_WEEK * (sensor.high - sensor.low) * weeks


def _spikes(asset_class: AssetClass, model: Model, pumps: list[Steps]) -> Figure:
    """One spike after the other, of each sensor in turn."""
    spiky, put = [], list[tuple[int, PumpSensor, int]]()
    for pump, steps in enumerate(pumps):
        ran = int((steps.share > 0).sum())
        for number, since in enumerate(range(_since(pump), ran - WITHIN, EVERY)):
            sensor = JUDGED[(pump + number) % len(JUDGED)]
            steps = _with(asset_class, steps, sensor, partial(_spike, sensor), since)
            put.append((pump, sensor, since))
        spiky.append(steps)
    faults = _said(asset_class, model, spiky).faults
    seen = [_first(asset_class, faults[pump], sensor, since) < WITHIN for pump, sensor, since in put]
    return Figure("D8.spike", f"spike named, share of {len(put)}", float(np.mean(seen)), bar=RECALL)


def _spike(sensor: PumpSensor, x: Floats) -> Floats:
    first = np.arange(len(x)) == 0
    return np.where(first, x + SIZE * sensor.noise, x)


def _pumps(seed: int) -> tuple[AssetClass, Model, list[Steps]]:
    """Pumps that the shipped model has not seen, from new to failure."""
    asset_class = parse_plant(pump_plant(1, start_ms=START_MS)).classes["pump"]
    models = shipped_folder("trained_models")
    model = model_folder.load(models / "pump" / model_folder.versions(models, "pump")[-1], asset_class)
    fleets = [
        simulate_pumps(PUMPS, seed=FIRST_SEED + 100 * seed + station, start_ms=START_MS) for station in range(STATIONS)
    ]
    return asset_class, model, [pump_steps(asset_class, f, pump, START_MS) for f in fleets for pump in range(PUMPS)]


def _since(pump: int) -> int:
    """Running steps of a pump before its fault: at another hour of the day for each."""
    return SINCE + 7 * pump


def _with(
    asset_class: AssetClass,
    steps: Steps,
    sensor: PumpSensor,
    wrong: Callable[[Floats], Floats],
    since: int,
    lasts: int = LASTS,
) -> Steps:
    """The same steps with one sensor at fault for a while."""
    at = np.flatnonzero(steps.share > 0)[since : since + lasts]
    values, column = steps.values.copy(), asset_class.column_names.index(sensor.name)
    values[at, column] = np.rint(wrong(values[at, column]) / sensor.resolution) * sensor.resolution
    return replace(steps, values=values)


def _said(asset_class: AssetClass, model: Model, pumps: list[Steps]) -> Said:
    twins = twin.start(asset_class, model.frame, len(pumps))
    faults: list[list[NDArray[np.int8]]] = [[] for _ in pumps]
    refusals = np.zeros(len(pumps), dtype=np.int8)
    for rows in _hours(asset_class, model, twins, pumps):
        found = twin.faults(asset_class, model.frame, twins)
        for row in rows:
            faults[row].append(found[row])
        due = rows[twins.steps[rows] == SINCE + 7 * rows + RUNNING_A_DAY]
        if len(due):
            refusals[due] = forecast(asset_class, model, twins, due, np.ones(len(due), dtype=np.bool_)).refusal
    return Said([np.array(found) for found in faults], refusals)


def _hours(asset_class: AssetClass, model: Model, twins: Twin, pumps: list[Steps]) -> Iterator[NDArray[np.int64]]:
    """Fold hour by hour; the pumps that ran in each."""
    steps = joined([replace(one, row=np.full(len(one), row)) for row, one in enumerate(pumps)])
    order = np.argsort(steps.start_ms, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(steps.start_ms[order])) + 1):
        hour = steps.take(part)
        twin.fold(asset_class, model.frame, twins, hour)
        yield hour.row[hour.share > 0]


def _first(asset_class: AssetClass, faults: NDArray[np.int8], sensor: PumpSensor, since: int) -> float:
    """Steps from the beginning of a fault to the first in which it is named, infinite if it is not."""
    named = np.flatnonzero(faults[since : since + LASTS, asset_class.column_names.index(sensor.name)])
    return float(named[0]) if len(named) else np.inf


def _units(asset_class: AssetClass, faults: NDArray[np.int8], sensor: PumpSensor, since: int) -> set[str | None]:
    """The units named while a fault lasted."""
    found = faults[since : since + LASTS, asset_class.column_names.index(sensor.name)]
    return {told_in(sensor.unit, int(fault)) for fault in found[found >= Fault.UNIT_MISMATCH]}


def _false_flags(asset_class: AssetClass, said: Said) -> Figure:
    """Faults named where none was put in; those that the simulated plant has by itself count as well."""
    begun = sum(int(((f[1:] != 0) & (f[:-1] == 0)).sum()) for f in said.faults)
    days = sum(len(f) for f in said.faults) / RUNNING_A_DAY * len(asset_class.columns)
    what = f"faults named where none was put in, in 1,000 of {days:.0f} days of a sensor"
    return Figure("D8.false", what, 1000 * begun / days, bar=FALSE_FLAGS, better="lower")
