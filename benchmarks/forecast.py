"""Accuracy of the remaining life: the official test engines of C-MAPSS, and simulated pumps that the model never saw.

Engines: a model of all training engines of a subset folds each test engine, flight by flight, with the functions that
the service runs, and forecasts after its last one. Labels and forecasts are clipped to the horizon of 125 cycles unless
the figure says raw. One configuration for all subsets; figures are means over seeds. The error is that of the expected
remaining life, the score NASA's (`pdm.scoring.nasa_score`), summed over engines.

Pumps: the shipped model, issued daily, on stations that start in four seasons.

    python -m benchmarks.forecast [--seeds 5] [--subsets FD001 FD002 FD003 FD004]

The engines are looked for in `cmapss` of the folder PDM_DATA (`../shared/data` by default).
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report import Figure, write_report
from pdm import demo_plants, learn, twin
from pdm.adapters import model_folder
from pdm.demo.lives import engine_life, pump_steps
from pdm.features.frame import Floats
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN
from pdm.prognosis.forecast import forecast
from pdm.prognosis.learned import Model, Origin
from pdm.prognosis.quantiles import expected_excess
from pdm.scoring import age_only, crps, nasa_score, score
from pdm.settings import shipped_folder
from pdm.simulated_plant import simulate_pumps
from pdm.steps import Steps, joined
from pdm.turbofans import Engine, read_engines

SUBSETS = ("FD001", "FD002", "FD003", "FD004")
START_MS, DAY_MS = 1_767_571_200_000, 86_400_000
BARS = {
    "FD001": {"rmse": 10.0, "nasa": 180.0, "crps": 5.3, "rmse near": 3.3, "rmse raw": 11.9, "width 80": 22.0},
    "FD002": {"rmse": 10.0, "nasa": 460.0, "crps": 4.6, "rmse near": 3.8, "rmse raw": 22.8, "width 80": 22.0},
    "FD003": {"rmse": 9.9, "nasa": 195.0, "crps": 4.8, "rmse near": 3.2, "rmse raw": 11.7, "width 80": 21.0},
    "FD004": {"rmse": 10.7, "nasa": 620.0, "crps": 5.0, "rmse near": 5.5, "rmse raw": 24.0, "width 80": 23.0},
}
LEAST = {"coverage 80": 0.74, "coverage 90": 0.85}
NEAR = 50.0  # remaining life at which an engine is near its end [cycles]
STATIONS, PUMPS, FIRST_SEED = 4, 15, 501
YEAR_DAYS = 364
LAST_THIRD = 2 / 3


def last_forecasts(asset_class: AssetClass, model: Model, engines: Sequence[Engine]) -> Floats:
    """Quantiles `[n, 21]` after the last flight of each engine, by the fold and the forecast of the service."""
    cycles = [len(engine.columns) for engine in engines]
    cycle = np.concatenate([np.arange(count) for count in cycles])
    at_ms = START_MS + cycle * DAY_MS
    steps = Steps(
        row=np.repeat(np.arange(len(engines)), cycles),
        start_ms=at_ms,
        end_ms=at_ms,
        share=np.ones(len(cycle)),
        count=np.ones(len(cycle), dtype=np.int32),
        values=np.concatenate([engine.columns for engine in engines]),
    )
    twins = twin.start(asset_class, model.frame, len(engines))
    twin.fold(asset_class, model.frame, twins, steps)
    everybody = np.arange(len(engines))
    return forecast(asset_class, model, twins, everybody, np.ones(len(engines), dtype=np.bool_)).quantiles


def turbofan_figures(data: Path, subset: str, seeds: int) -> list[Figure]:
    """The figures of one subset, means over models of several seeds."""
    asset_class = parse_plant(demo_plants.turbofan_plant([1], start_ms=START_MS)).classes["turbofan"]
    lives = [engine_life(engine) for engine in read_engines(data, f"train_{subset}")]
    engines = read_engines(data, f"test_{subset}")
    remaining = true_remaining(data, subset, engines)
    measured: list[dict[str, float]] = []
    for seed in range(1, seeds + 1):
        model = learn.train(asset_class, lives, seed=seed, origin=Origin.BENCHMARK)
        quantiles = last_forecasts(asset_class, model, engines)
        measured.append(test_figures(quantiles, remaining, asset_class.horizon) | left_out_figures(model))
        print(f"{subset} seed {seed}: RMSE {measured[-1]['rmse']:.2f}", flush=True)
    mean = {name: float(np.mean([one[name] for one in measured])) for name in measured[0]}
    return [_figure(subset, name, value) for name, value in mean.items()]


def true_remaining(data: Path, subset: str, engines: Sequence[Engine]) -> Floats:
    """Cycles that were left after the last flight of each test engine `[n]`."""
    table = pd.read_csv(data / "rul_test.csv")
    of_unit = table[table["subset"] == subset].set_index("unit")["rul"]
    return np.array([of_unit[engine.unit] for engine in engines], dtype=np.float64)


def test_figures(said: Floats, remaining: Floats, horizon: float) -> dict[str, float]:
    """How right the last forecasts `[n, 21]` were."""
    quantiles, truth = np.minimum(said, horizon), np.minimum(remaining, horizon)
    expected = expected_excess(said, 0.0) - expected_excess(said, horizon)  # E[min(T, horizon)]
    error, near = expected - truth, remaining <= NEAR
    return {
        "rmse": _rms(error),
        "nasa": float(nasa_score(error, horizon).sum()),
        "crps": float(crps(quantiles, truth).mean()),
        "coverage 80": _covered(quantiles, truth, 3),
        "coverage 90": _covered(quantiles, truth, 2),
        "width 80": float((quantiles[:, -4] - quantiles[:, 3]).mean()),
        "width 90": float((quantiles[:, -3] - quantiles[:, 2]).mean()),
        "rmse median": _rms(quantiles[:, MEDIAN] - truth),
        "rmse near": _rms(error[near]),
        "coverage 90 near": _covered(quantiles[near], truth[near], 2),
        "rmse raw": _rms(expected - remaining),
    }


def left_out_figures(model: Model) -> dict[str, float]:
    """How right the model was in training on engines left out (five folds by engine, inside the horizon)."""
    names = ("rmse", "crps", "crps_age_only", "coverage_80", "coverage_90")
    return {f"left out {name.replace('_', ' ')}": model.facts.figures[name] for name in names}


def pump_figures() -> list[Figure]:
    """The shipped model on pumps that it never saw, and the two terms that a plant worth forecasting meets."""
    asset_class = parse_plant(demo_plants.pump_plant(1, start_ms=START_MS)).classes["pump"]
    folder = shipped_folder("trained_models")
    model = model_folder.load(folder / "pump" / model_folder.versions(folder, "pump")[-1], asset_class)
    issued = Issued(*(np.concatenate(column) for column in zip(*_stations(asset_class, model), strict=True)))
    lives, life = np.unique(issued.pump, return_inverse=True)
    length = np.bincount(life, weights=issued.age + issued.remaining) / np.bincount(life)
    by_age = age_only(np.array(model.facts.rivals.lengths), issued.age)
    ours = score(issued.quantiles, issued.remaining, life, asset_class.horizon).mean()
    theirs = score(by_age, issued.remaining, life, asset_class.horizon).mean()
    late = issued.age >= LAST_THIRD * length[life]
    rmse, rmse_age = (_rms((said[:, MEDIAN] - issued.remaining)[late]) for said in (issued.quantiles, by_age))
    of_life = rmse / float(length.mean())
    return [
        Figure("pumps crps", f"{len(lives)} unseen pumps, daily, inside the horizon", ours.crps, "h", better="lower"),
        Figure("pumps crps share", "against age alone", ours.crps / theirs.crps, "", 0.5, better="lower"),
        Figure("pumps coverage 80", "truths in the 80 % band", ours.coverage_80, "", 0.74),
        Figure("pumps coverage 80 most", "truths in the 80 % band", ours.coverage_80, "", 0.90, better="lower"),
        Figure("pumps rmse", "of the median, inside the horizon", ours.rmse, "h", better="lower"),
        Figure("pumps not trivial", "RMSE of the median in the last third / mean life", of_life, "", 0.04),
        Figure("pumps not hopeless", "the same", of_life, "", 0.15, better="lower"),
        Figure("pumps age alone", "its RMSE there / ours", rmse_age / rmse, "", 1.8),
    ]


class Issued(NamedTuple):
    """Forecasts of pumps that ran, day by day, `[m]` each: which pump, life used and left [h], quantiles `[m, 21]`."""

    pump: NDArray[np.int64]
    age: Floats
    remaining: Floats
    quantiles: Floats


def _stations(asset_class: AssetClass, model: Model) -> Iterator[Issued]:
    """Pumps of stations that start in different seasons, from new until failure."""
    for station in range(STATIONS):
        start_ms = START_MS + station * YEAR_DAYS // STATIONS * DAY_MS
        fleet = simulate_pumps(PUMPS, seed=FIRST_SEED + station, start_ms=start_ms)
        steps = joined([_of_row(pump, pump_steps(asset_class, fleet, pump, start_ms)) for pump in range(PUMPS)])
        daily = list(_daily(asset_class, model, steps))
        told = Issued(*(np.concatenate(column) for column in zip(*daily, strict=True)))
        length = np.zeros(PUMPS)
        np.maximum.at(length, told.pump, told.age)  # the last entry of each is its failure
        yield told._replace(pump=told.pump + station * PUMPS, remaining=length[told.pump] - told.age)


def _daily(asset_class: AssetClass, model: Model, steps: Steps) -> Iterator[Issued]:
    """Fold one day after the other and forecast the pumps that are alive."""
    twins = twin.start(asset_class, model.frame, PUMPS)
    day = steps.start_ms // DAY_MS
    for number in np.unique(day):
        of_day = steps.take(np.flatnonzero(day == number))
        twin.fold(asset_class, model.frame, twins, of_day)
        rows = np.unique(of_day.row)
        said = forecast(asset_class, model, twins, rows, np.ones(len(rows), dtype=np.bool_))
        yield Issued(rows, twins.exposure[rows], np.zeros(len(rows)), said.quantiles)


def _of_row(row: int, steps: Steps) -> Steps:
    return replace(steps, row=np.full(len(steps), row))


def _figure(subset: str, name: str, value: float) -> Figure:
    what = "training engines left out" if name.startswith("left out") else "test engines, last cycle"
    bar = BARS[subset].get(name, LEAST.get(name))
    if "coverage" in name:
        return Figure(f"{subset} {name}", what, value, "", bar)
    return Figure(f"{subset} {name}", what, value, "" if name == "nasa" else "cycles", bar, "lower")


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _covered(quantiles: Floats, truth: Floats, level: int) -> float:
    inside: NDArray[np.bool_] = (truth >= quantiles[:, level]) & (truth <= quantiles[:, -1 - level])
    return float(inside.mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subsets", nargs="*", choices=SUBSETS, default=SUBSETS)
    asked = parser.parse_args()
    data, started = Path(os.environ.get("PDM_DATA", "../shared/data")) / "cmapss", time.monotonic()
    figures = pump_figures()
    for subset in asked.subsets:
        if data.is_dir():
            figures += turbofan_figures(data, subset, asked.seeds)
        else:
            reason = f"{data} is not there (set PDM_DATA)"
            figures.append(Figure(f"{subset} rmse", "test engines, last cycle", None, "cycles", reason=reason))
    return 0 if write_report("forecast", figures, time.monotonic() - started) else 1


if __name__ == "__main__":
    sys.exit(main())
