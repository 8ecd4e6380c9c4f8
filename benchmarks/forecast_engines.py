"""The official test engines of C-MAPSS, forecast after their last flight by a model of all training engines.

Every test engine is folded, flight by flight, with the functions that the service runs. Labels and forecasts are
clipped to the horizon of 125 cycles unless the figure says raw. The error is that of the expected remaining life, the
score NASA's (`pdm.scoring.nasa_score`), summed over engines. Figures are means over seeds.

With the first seed the model is also saved and loaded, and each engine forecast alone, from a twin that is stored and
restored after every flight, as in the service after restarts.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report import Figure
from pdm import demo_plants, features, learn, twin
from pdm.adapters import model_folder
from pdm.demo.lives import engine_life
from pdm.durations import DAY_MS
from pdm.features.frame import Floats
from pdm.learn import Life
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN, Refusal, learned
from pdm.prognosis.forecast import forecast
from pdm.prognosis.learned import Model, Origin
from pdm.prognosis.quantiles import expected_excess
from pdm.scoring import crps, nasa_score
from pdm.steps import Steps, joined
from pdm.turbofans import Engine, read_engines
from pdm.twin import Twin

SUBSETS = ("FD001", "FD002", "FD003", "FD004")
START_MS = 1_767_571_200_000
NEAR = 50.0  # remaining life at which an engine is near its end [cycles]
BARS = {
    "rmse": (9.7, 9.4, 8.9, 10.0),
    "nasa": (155.0, 410.0, 165.0, 540.0),
    "rmse near": (2.9, 3.5, 2.9, 5.6),
    "rmse raw": (11.9, 22.8, 11.7, 24.0),
    "crps": (5.2, 4.5, 4.7, 4.9),
    "coverage 80": (0.74, 0.76, 0.74, 0.76),
    "coverage 80 most": (0.91, 0.90, 0.91, 0.90),
    "coverage 90": (0.85, 0.87, 0.85, 0.87),
    "coverage 90 most": (0.97, 0.96, 0.97, 0.975),
    "width 80": (22.0, 22.0, 21.0, 23.0),
    "width 90": (28.0, 28.0, 27.0, 32.0),
    "service path": (0.05, 0.05, 0.05, 0.05),
    "cpu": (60.0, 60.0, 60.0, 60.0),
}


def turbofan() -> AssetClass:
    """The class of the engines, as the demo declares it."""
    return parse_plant(demo_plants.turbofan_plant([1], start_ms=START_MS)).classes["turbofan"]


def training_lives(data: Path, subset: str) -> list[Life]:
    return [engine_life(engine) for engine in read_engines(data / "cmapss", f"train_{subset}")]


def measure_engines(data: Path, seeds: int) -> list[Figure]:
    """The figures of all subsets."""
    return [figure for subset in SUBSETS for figure in _subset_figures(data, subset, seeds)]


def _subset_figures(data: Path, subset: str, seeds: int) -> list[Figure]:
    asset_class, lives = turbofan(), training_lives(data, subset)
    engines = read_engines(data / "cmapss", f"test_{subset}")
    remaining = _true_remaining(data / "cmapss", subset, engines)
    measured: list[dict[str, float]] = []
    apart = 0.0
    for seed in range(1, seeds + 1):
        began = time.process_time()
        model = learn.train(asset_class, lives, seed=seed, origin=Origin.BENCHMARK)
        cpu = time.process_time() - began
        quantiles = _last_forecasts(asset_class, model, engines)
        measured.append(
            test_figures(quantiles, remaining, asset_class.horizon) | _left_out_figures(model) | {"cpu": cpu}
        )
        if seed == 1:
            served = test_figures(_served(asset_class, model, engines), remaining, asset_class.horizon)
            apart = abs(served["rmse"] - measured[0]["rmse"])
        print(f"{subset} seed {seed}: RMSE {measured[-1]['rmse']:.2f}, {cpu:.0f} s of CPU", flush=True)
    mean = {name: float(np.mean([one[name] for one in measured])) for name in measured[0]}
    mean |= {"service path": apart}
    mean |= {f"{name} most": mean[name] for name in ("coverage 80", "coverage 90")}
    return [_figure(subset, name, value) for name, value in mean.items()]


def _flights(engine: Engine, row: int) -> Steps:
    count = len(engine.columns)
    at_ms = START_MS + np.arange(count) * DAY_MS
    held = np.ones(count, dtype=np.int32)
    return Steps(np.full(count, row), at_ms, at_ms, np.ones(count), held, engine.columns)


def _last_forecasts(asset_class: AssetClass, model: Model, engines: Sequence[Engine]) -> Floats:
    """Quantiles `[n, 21]` after the last flight of each engine, all engines as one cohort."""
    flights = [_flights(engine, row) for row, engine in enumerate(engines)]
    twins = twin.start(asset_class, model.frame, len(engines))
    twin.fold(asset_class, model.frame, twins, joined(flights))
    return _say(asset_class, model, twins)


def _served(asset_class: AssetClass, model: Model, engines: Sequence[Engine]) -> Floats:
    """The same by the saved model, one engine at a time, its twin stored and restored after every flight."""
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as folder:
        loaded = model_folder.load(model_folder.save(model, Path(folder)), asset_class)
    said = [_alone(asset_class, loaded, engine) for engine in engines]
    return np.concatenate(said)


def _alone(asset_class: AssetClass, model: Model, engine: Engine) -> Floats:
    flights, one = _flights(engine, 0), twin.start(asset_class, model.frame, 1)
    for flight in range(len(flights)):
        twin.fold(asset_class, model.frame, one, flights.take(np.array([flight])))
        one = twin.from_columns(model.frame, twin.to_columns(one, np.array(["engine"], dtype=object)))
    return _say(asset_class, model, one)


def _say(asset_class: AssetClass, model: Model, twins: Twin) -> Floats:
    """What the service says `[n, 21]`, and of engines of which it refuses to speak what it would have said."""
    everybody, whole = np.arange(len(twins)), np.ones(len(twins), dtype=np.bool_)
    said = forecast(asset_class, model, twins, everybody, whole)
    refused = np.flatnonzero(said.refusal != Refusal.NONE)
    if twins.features is not None and len(refused):
        seen = features.emit(model.frame, twins.features, refused)
        said.quantiles[refused] = learned.forecast(model, seen, twins.exposure[refused], whole[refused])
        print(f"{len(refused)} of {len(twins)} refused: {Refusal(int(said.refusal[refused[0]])).name.lower()}")
    return said.quantiles


def _true_remaining(data: Path, subset: str, engines: Sequence[Engine]) -> Floats:
    """Cycles that were left after the last flight of each test engine `[n]`."""
    table = pd.read_csv(data / "rul_test.csv")
    of_unit = table[table["subset"] == subset].set_index("unit")["rul"]
    return np.array([of_unit[engine.unit] for engine in engines], dtype=np.float64)


def test_figures(said: Floats, remaining: Floats, horizon: float) -> dict[str, float]:
    """How right the last forecasts `[n, 21]` were."""
    quantiles, truth = np.minimum(said, horizon), np.minimum(remaining, horizon)
    expected = within(said, horizon)
    error, near = expected - truth, remaining <= NEAR
    return {
        "rmse": rms(error),
        "nasa": float(nasa_score(error, horizon).sum()),
        "crps": float(crps(quantiles, truth).mean()),
        "coverage 80": _covered(quantiles, truth, 3),
        "coverage 90": _covered(quantiles, truth, 2),
        "width 80": float((quantiles[:, -4] - quantiles[:, 3]).mean()),
        "width 90": float((quantiles[:, -3] - quantiles[:, 2]).mean()),
        "rmse median": rms(quantiles[:, MEDIAN] - truth),
        "rmse near": rms(error[near]),
        "coverage 90 near": _covered(quantiles[near], truth[near], 2),
        "rmse raw": rms(expected - remaining),
    }


def within(said: Floats, horizon: float) -> Floats:
    """E[min(T, horizon)] of quantiles `[n, 21]`."""
    return expected_excess(said, 0.0) - expected_excess(said, horizon)


def rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _left_out_figures(model: Model) -> dict[str, float]:
    """How right the model was in training on engines left out (five parts)."""
    return {f"left out {name.replace('_', ' ')}": value for name, value in model.facts.figures.items()}


def _covered(quantiles: Floats, truth: Floats, level: int) -> float:
    inside: NDArray[np.bool_] = (truth >= quantiles[:, level]) & (truth <= quantiles[:, -1 - level])
    return float(inside.mean())


def _figure(subset: str, name: str, value: float) -> Figure:
    number = SUBSETS.index(subset)
    bar = BARS[name][number] if name in BARS else None
    if name in ("coverage 80", "coverage 90") or "left out coverage" in name:
        return Figure(f"{subset} {name}", _what(name), value, "", bar)
    unit = {"nasa": "", "cpu": "s"}.get(name, "" if "coverage" in name else "cycles")
    return Figure(f"{subset} {name}", _what(name), value, unit, bar, "lower")


def _what(name: str) -> str:
    if name.startswith("left out"):
        return "training engines left out"
    if name == "service path":
        return "RMSE by the saved model, one engine and one flight at a time, less the RMSE all at once"
    return "training with calibration" if name == "cpu" else "test engines, last cycle"
