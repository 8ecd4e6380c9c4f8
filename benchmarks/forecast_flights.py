"""N-CMAPSS, one row a flight: engines with real flight profiles, each left out once, by the same recipe.

Every engine is forecast after each flight by a model of the other four fifths of all engines of all nine sets. The
error is that of the expected remaining flights, the score NASA's with its own constants, a mean over flights; no label
is clipped.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecast_engines import rms
from benchmarks.report import Figure
from pdm.learn import Life, train
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import stacked
from pdm.plant import AssetClass, LifeStep, Sensor
from pdm.prognosis import learned
from pdm.prognosis.learned import Origin
from pdm.prognosis.quantiles import mean
from pdm.scoring import nasa_score

CONDITIONS = ("alt", "Mach", "TRA", "T2")
CHANNELS = ("T24", "T30", "T48", "T50", "P15", "P2", "P21", "P24", "Ps30", "P40", "P50", "Nf", "Nc", "Wf")
STATISTICS = ("mean", "std", "min", "max")
PARTS = 5
NASA_HORIZON = 125.0  # at which the score has its published constants


def measure_flights(data: Path, _: int) -> list[Figure]:
    """Errors over all flights of all engines, and set by set."""
    table = pd.read_parquet(data / "ncmapss_cycles" / "ncmapss_cycles.parquet")
    asset_class, lives, sets = _lives(table)
    part_of = np.random.default_rng(1).permutation(len(lives)) % PARTS
    errors = list[np.ndarray]()
    members = list[np.ndarray]()
    for part in range(PARTS):
        model = train(asset_class, _some(lives, part_of != part), seed=1, origin=Origin.BENCHMARK)
        stack = stacked(_some(lives, part_of == part))
        rows = fold_lives(model.frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_))
        used = stack.used[rows.step]
        said = learned.forecast(model, rows.features, used, np.ones(len(used), dtype=np.bool_))
        errors.append(mean(said) - stack.remaining[rows.step])
        members.append(np.flatnonzero(part_of == part)[rows.life])
        print(f"part {part}: RMSE {rms(errors[-1]):.2f}", flush=True)
    error, of = np.concatenate(errors), np.array(sets)[np.concatenate(members)]
    return [
        figure
        for name in ("all", *sorted(set(sets)))
        for figure in _figures(name, error if name == "all" else error[of == name])
    ]


def _figures(name: str, error: np.ndarray) -> list[Figure]:
    what = f"{len(error)} flights of engines left out"
    nasa = float(nasa_score(error, NASA_HORIZON).mean())
    return [
        Figure(f"N-CMAPSS {name} rmse", what, rms(error), "flights", better="lower"),
        Figure(f"N-CMAPSS {name} nasa", f"{what}, mean", nasa, better="lower"),
    ]


def _lives(table: pd.DataFrame) -> tuple[AssetClass, list[Life], list[str]]:
    """The class, its lives, and the set that each engine is of."""
    columns = [f"{name}_mean" for name in CONDITIONS]
    columns += [f"{name}_{statistic}" for name in CHANNELS for statistic in STATISTICS]
    asset_class = AssetClass(
        name="engine",
        title="Engine",
        sensors=tuple(Sensor(name, "1", name) for name in columns),
        conditions=tuple(columns[: len(CONDITIONS)]),
        life_step=LifeStep("flight"),
        horizon=100.0,
        notice_ms=0,
        failure_modes=(),
    )
    lives, sets = list[Life](), list[str]()
    for (name, unit), flights in table.sort_values("cycle").groupby(["dataset", "unit"]):
        values = flights[columns].to_numpy(np.float64)
        lives.append(Life(f"{name}-{unit}", values, np.ones(len(values)), failed=True))
        sets.append(str(name))
    return asset_class, lives, sets


def _some(lives: list[Life], wanted: np.ndarray) -> list[Life]:
    return [life for life, this in zip(lives, wanted.tolist(), strict=True) if this]
