"""Drills of sensors: a gateway that moves to another machine, sensors that are replaced."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.chaos_data import wait_for_steps
from benchmarks.chaos_terms import Terms, all_of, none
from benchmarks.report import Figure
from pdm.adapters import model_folder
from pdm.clocks import ServiceClock
from pdm.demo_plants import pump_plant
from pdm.durations import HOUR_MS
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.settings import shipped_folder
from pdm.simulated_plant import PUMP_SENSORS, simulate_pumps
from pdm.words import iso
from tests.system.service import DAY_MS, PLANT, RULES, Service, apply, message, wait_until


def d9(folder: Path, terms: Terms) -> list[Figure]:
    """A gateway moves to another machine, sensors are replaced: who was measured before keeps it, nobody is alarmed."""
    return [*_moved_gateway(folder / "moved"), *_new_sensors(folder / "sensors", terms)]


def _moved_gateway(folder: Path) -> list[Figure]:
    base_ms = ServiceClock().plant_ms() - 5 * DAY_MS
    moved_ms = base_ms + 30_000 * 100
    rules = RULES + "  high: {kind: sensor_limit, title: High, sensor: number, above: 500, classes: [press]}\n"
    with Service(folder) as service:
        apply(f"sqlite:///{service.data / 'state.db'}", PLANT, rules)
        service.start()
        service.post([message(number, base_ms, source="p1") for number in range(100)])
        wait_for_steps(service, "P-1", 100)
        moved = {"serial": "P-2", "kind": "installed", "source": "p1", "at": iso(moved_ms - 1), "who": "Ada"}
        told = service.post(moved, path="events").status_code
        service.post([message(number, base_ms, source="p1") for number in range(100, 200)])
        wait_for_steps(service, "P-2", 100)
        steps = {serial: service.get(f"assets/{serial}/twin")["steps"] for serial in ("P-1", "P-2")}
        alerts = len(service.get("alerts")["items"])
        service.stop()
    return [
        all_of("D9.told", "the move is taken", float(told == 201), 1),
        none("D9.steps", "steps of either machine beyond the 100 that it was measured", abs(sum(steps.values()) - 200)),
        none("D9.alerts", "alerts from the move", alerts),
    ]


REPLACED = tuple(sensor.name for sensor in PUMP_SENSORS[3:])  # the first three state how a pump is operated
NEW_SENSOR_HOURS, SINCE_HOURS, LEFT_HOURS = 1600, 1440, 350  # seen, seen before the replacement, left until it fails
STEP = 8.0  # of how many standard deviations of its noise and of what it reads on machines under the same conditions
LIKELY = "rules: {soon: {kind: failure_probability, title: Soon, within: 168, above: 30 %}}\n"


def _new_sensors(folder: Path, terms: Terms) -> list[Figure]:
    """Of pumps that are all alike one is left alone; on each of the others one sensor is replaced and reads higher."""
    start_ms = ServiceClock().plant_ms() // HOUR_MS * HOUR_MS - NEW_SENSOR_HOURS * HOUR_MS
    plant = pump_plant(1 + len(REPLACED), start_ms=start_ms)
    file = _pumps_alike(parse_plant(plant).classes["pump"], folder, start_ms, terms.seed)
    with Service(folder / "service", plant=plant) as service:
        apply(f"sqlite:///{service.data / 'state.db'}", plant, LIKELY)
        service.start()
        for number, sensor in enumerate(REPLACED, 2):
            at = iso(start_ms + SINCE_HOURS * HOUR_MS)
            told = {"id": sensor, "serial": f"P-{number:03}", "kind": "sensor_replaced", "at": at, "who": "Ada"}
            service.post({**told, "sensor": sensor}, path="events")
        imported = service.run("import", "readings", str(file), "--epoch-unit", "ms")
        if imported.returncode:
            raise RuntimeError(imported.stderr[-400:])
        medians = _medians(service, iso(start_ms + (NEW_SENSOR_HOURS - 3) * HOUR_MS))
        alerts = len(service.get("alerts")["items"])
        for sensor in REPLACED:
            service.post({"who": "Ada", "reason": "to see"}, path=f"events/{sensor}/void")
        named = wait_until(lambda: _named(service), "no step is seen unreported")
        service.stop()
    away = {sensor: median / medians[0] - 1 for sensor, median in zip(REPLACED, medians[1:], strict=True)}
    worst = max(away, key=lambda name: abs(away[name]))
    return [
        none("D9.sensors", "alerts from seven sensors that were replaced, one a pump", alerts),
        all_of("D9.unreported", "sensors named as at fault when that is not reported, at least", named, 1),
        Figure("D9.median", f"most that it moves the median remaining life ({worst})", 100 * abs(away[worst]), "%"),
    ]


def _pumps_alike(asset_class: AssetClass, folder: Path, start_ms: int, seed: int) -> Path:
    """A file with the readings of one simulated pump as those of all; of each but the first one sensor reads higher."""
    now_ms = start_ms + NEW_SENSOR_HOURS * HOUR_MS
    lives = simulate_pumps(20, seed=seed, start_ms=start_ms, max_hours=NEW_SENSOR_HOURS + 2 * LEFT_HOURS)
    left = [(truth.failure_ms or 2 * now_ms) - now_ms for truth in lives.truth]
    pump = int(np.argmin(np.abs(np.array(left) - LEFT_HOURS * HOUR_MS)))  # further ahead none of them forecasts a date
    alone = pd.DataFrame({"time": lives.time_ms[pump], **lives.values[pump]})
    alone = alone[alone.time < now_ms]
    models = shipped_folder("trained_models")
    model = model_folder.load(models / "pump" / model_folder.versions(models, "pump")[-1], asset_class)
    spread = dict(zip(model.frame.channel_names, 1 / model.frame.conditions.inverse_sd[:, 0], strict=False))
    pumps = [alone.assign(source="pump01")]
    for number, sensor in enumerate(REPLACED, 2):
        step = STEP * spread[sensor] * (alone.time >= start_ms + SINCE_HOURS * HOUR_MS)
        pumps.append(alone.assign(**{"source": f"pump{number:02}", sensor: alone[sensor] + step}))
    folder.mkdir()
    pd.concat(pumps).to_csv(folder / "pumps.csv", index=False)
    return folder / "pumps.csv"


def _named(service: Service) -> int:
    """How many sensors of the pumps are said to be at fault."""
    serials = [f"P-{number:03}" for number in range(1, len(REPLACED) + 2)]
    sensors = [sensor for serial in serials for sensor in service.get(f"assets/{serial}/twin")["sensors"]]
    return sum(sensor["fault"] is not None for sensor in sensors)


def _medians(service: Service, until: str) -> list[float]:
    """The median remaining life of each pump after its last reading."""

    def look() -> list[float]:
        serials = [f"P-{number:03}" for number in range(1, len(REPLACED) + 2)]
        twins = [service.get(f"assets/{serial}/twin") for serial in serials]
        done = all((twin["seen_until"] or "") >= until and twin["prognosis"]["rul"] for twin in twins)
        return [twin["prognosis"]["rul"]["p50"] for twin in twins] if done else []

    found: list[float] = wait_until(look, "not every pump has a forecast")
    return found
