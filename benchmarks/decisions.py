"""Forecasts, alerts and costs of decisions: 20 simulated stations of twelve pumps, and five folds of real turbofans.

Readings are put into the reading store directly; ticks, rules and windows are the product's own, and every figure is
from what the service stored. The terms (horizon, notice, costs, alert rule) are those of the demo.

    python -m benchmarks.decisions [--seeds 20] [--only pumps|turbofans]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure, write_report
from pdm.adapters import model_folder
from pdm.adapters.memory_readings import MemoryReadings
from pdm.clocks import ReplayClock
from pdm.demo import summary
from pdm.demo.fleets import START_MS, EngineFleet, Fleet, PlantStep, PumpFleet
from pdm.demo.summary import History
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import train
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.readings import Readings
from pdm.scoring import AlertOutcomes, LifeScores, age_only, score
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.state.plants import add_event, current_plant, store_plant
from pdm.state.schema import open_state, read, write
from pdm.tick import tick
from pdm.turbofans import Engine, engine_lives, read_engines

PUMPS = 12
FOLDS = 5


@dataclass(frozen=True)
class Run:
    """One fleet that lived to failure.

    Attributes:
        ours, by_age: scores of the issued forecasts, and of those by age alone.
        lead_missed, false_alarms: per life whether its failure was missed; how many false alarms there were.
        costs: cost per life step of each policy.
    """

    ours: LifeScores
    by_age: LifeScores
    outcomes: AlertOutcomes
    costs: dict[str, float]
    lives: int


def live(fleet: Fleet, model: Model, folder: Path) -> Run:
    """A fleet from new until all have failed."""
    store = MemoryReadings()
    services = _services(fleet, model, folder, store)
    for step in fleet.steps():
        _take_in(services, store, fleet, step)
        tick(services, step.tick_ms)
    with read(services.engine) as connection:
        asset_class = current_plant(connection).plant.classes[fleet.class_name]
        history = summary.read_history(connection, asset_class)
        _, outcomes = summary.alert_report(connection, history, asset_class, fleet.rule, fleet.rule_horizon)
    services.close()
    return _judged(history, asset_class, model, outcomes)


def _judged(history: History, asset_class: AssetClass, model: Model, outcomes: AlertOutcomes) -> Run:
    rivals = model.facts.rivals
    by_age = age_only(np.asarray(rivals.lengths), history.exposure)
    return Run(
        ours=score(history.quantiles, history.remaining, history.life, asset_class.horizon),
        by_age=score(by_age, history.remaining, history.life, asset_class.horizon),
        outcomes=outcomes,
        costs=summary.policy_costs(history, asset_class, rivals),
        lives=len(history.lives),
    )


def _services(fleet: Fleet, model: Model, folder: Path, store: MemoryReadings) -> Services:
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    with write(engine) as connection:
        store_plant(connection, fleet.plant_text, fleet.rules_text, START_MS)
    clock = ReplayClock(START_MS)
    return Services(engine=engine, readings=store, clock=clock, models={fleet.class_name: model})


def _take_in(services: Services, store: MemoryReadings, fleet: Fleet, step: PlantStep) -> None:
    if step.readings:
        sensors = tuple(step.readings[0].values)
        values = [[np.nan if v is None else v for v in r.values.values()] for r in step.readings]
        batch = Readings(
            sensors,
            np.array([r.source for r in step.readings], dtype=object),
            np.array([r.time_ms for r in step.readings], dtype=np.int64),
            np.array(values, dtype=np.float64),
            np.zeros(len(step.readings), dtype=np.uint8),
        )
        store.append({fleet.class_name: batch}, [])
    with write(services.engine) as connection:
        for failure in step.failures:
            event = MaintenanceEvent(failure.serial, EventKind.FAILED, failure.at_ms, mode=failure.mode)
            add_event(connection, f"failure-of-{failure.serial}", event, who="plant", recorded_ms=failure.at_ms)


def pump_runs(seeds: Sequence[int]) -> Iterator[Run]:
    """Stations that the shipped model has not seen."""
    folder = shipped_folder("trained_models")
    version = model_folder.versions(folder, "pump")[-1]
    for seed in seeds:
        fleet = PumpFleet(PUMPS, seed)
        model = model_folder.load(folder / "pump" / version, parse_plant(fleet.plant_text).classes["pump"])
        with tempfile.TemporaryDirectory() as state:
            yield live(fleet, model, Path(state))


def turbofan_runs(data: Path) -> Iterator[Run]:
    """Five fifths of the training engines, each watched by a model of the other four."""
    engines = read_engines(data)
    fold = np.random.default_rng(1).permutation(len(engines)) % FOLDS
    for number in range(FOLDS):
        shown = [engine for engine, its in zip(engines, fold, strict=True) if its == number]
        fleet = EngineFleet(shown)
        model = _trained(fleet, [engine for engine, its in zip(engines, fold, strict=True) if its != number])
        with tempfile.TemporaryDirectory() as state:
            yield live(fleet, model, Path(state))


def _trained(fleet: EngineFleet, engines: Sequence[Engine]) -> Model:
    asset_class = parse_plant(fleet.plant_text).classes[fleet.class_name]
    return train(asset_class, engine_lives(engines), seed=1, origin=Origin.BENCHMARK)


def figures_of(name: str, runs: Sequence[Run], bars: dict[str, float]) -> list[Figure]:
    """The figures of one fleet over all its runs, each life weighing the same; ± is the standard error over runs."""
    lives = sum(run.lives for run in runs)
    coverage = _pooled(runs, "coverage_80")
    by_age = float(np.concatenate([run.by_age.crps for run in runs]).mean())
    missed = sum(int(run.outcomes.missed.sum()) for run in runs) / lives
    false = sum(int(run.outcomes.false_alarm.sum()) for run in runs) / lives
    ours, threshold = _against_foresight(runs, "ours"), _against_foresight(runs, "rul_threshold")
    gap, mean = ours - threshold, float(ours.mean())
    allowed = _spread(gap) if len(runs) > 1 else None
    figures = [
        Figure("coverage 80 at least", "truths in the 80 % band", coverage, bar=0.74),
        Figure("coverage 80 at most", "truths in the 80 % band", coverage, bar=0.90, better="lower"),
        Figure("coverage 90", "truths in the 90 % band", _pooled(runs, "coverage_90")),
        Figure("rmse", "of the median", float(np.sqrt(_pooled(runs, "squared_error"))), "life steps", better="lower"),
        Figure("crps", "of issued forecasts", _pooled(runs, "crps"), "life steps", better="lower"),
        Figure("crps share", "against age alone", _pooled(runs, "crps") / by_age, bar=bars["crps"], better="lower"),
        Figure("cost", f"ours / perfect foresight {_error(ours)}", mean, bar=bars["cost"], better="lower"),
        Figure("cost threshold", f"RUL threshold / perfect foresight {_error(threshold)}", float(threshold.mean())),
        Figure("gap", f"ours - RUL threshold {_error(gap)}", float(gap.mean()), bar=allowed, better="lower"),
        Figure("missed", f"failures of {lives} without a timely alert", missed, bar=bars["missed"], better="lower"),
        Figure("false", f"lives of {lives} with an alert much too early", false, bar=bars["false"], better="lower"),
    ]
    for policy in ("fixed_interval", "run_to_failure"):
        rival = _against_foresight(runs, policy)
        what = f"{policy.replace('_', ' ')} / perfect foresight {_error(rival)}"
        figures.append(Figure(f"cost {policy}", what, float(rival.mean()), bar=mean))
    return [replace(figure, id=f"{name} {figure.id}") for figure in figures]


def _against_foresight(runs: Sequence[Run], policy: str) -> NDArray[np.float64]:
    return np.array([run.costs[policy] / run.costs["perfect_foresight"] for run in runs])


def _pooled(runs: Sequence[Run], what: str) -> float:
    return float(np.concatenate([getattr(run.ours, what) for run in runs]).mean())


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _error(values: NDArray[np.float64]) -> str:
    return f"± {_spread(values):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=["pumps", "turbofans"])
    arguments = parser.parse_args()
    started, figures = time.monotonic(), []
    if arguments.only != "turbofans":
        runs = []
        for seed, run in enumerate(pump_runs(range(1, arguments.seeds + 1)), start=1):
            runs.append(run)
            print(f"station {seed}: {run.lives} lives, {time.monotonic() - started:.0f} s", flush=True)
        figures += figures_of("pumps", runs, {"crps": 0.5, "cost": 1.2, "missed": 0.04, "false": 0.10})
    data = Path(os.environ.get("PDM_DATA", "../shared/data")) / "cmapss"
    if arguments.only != "pumps" and data.is_dir():
        runs = list(turbofan_runs(data))
        figures += figures_of("turbofans", runs, {"crps": 0.35, "cost": 1.12, "missed": 0.02, "false": 0.03})
    elif arguments.only != "pumps":
        print(f"no turbofans: {data} is not there (set PDM_DATA)")
    write_report("decisions", figures, time.monotonic() - started)


if __name__ == "__main__":
    main()
