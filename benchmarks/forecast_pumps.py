"""The shipped model on simulated pumps that it never saw, issued daily, on stations that start all over the year."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.forecast_engines import rms
from benchmarks.report import Figure
from pdm import demo_plants, twin
from pdm.adapters import model_folder
from pdm.demo.lives import pump_steps
from pdm.durations import DAY_MS
from pdm.features.frame import Floats
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN
from pdm.prognosis.forecast import forecast
from pdm.prognosis.learned import Model
from pdm.scoring import age_only, score
from pdm.settings import shipped_folder
from pdm.simulated_plant import simulate_pumps
from pdm.steps import Steps, joined

STATIONS, PUMPS, FIRST_SEED = 16, 15, 501
START_MS = 1_767_571_200_000
YEAR_DAYS = 364
LAST_THIRD = 2 / 3
AHEAD, NEARLY = 100.0, 12.0  # how long before a failure its mode must be known, and how near to that counts [h]


def measure_pumps(_data: Path, _seeds: int) -> list[Figure]:
    """The shipped model on pumps that it never saw, and the two terms that a plant worth forecasting meets."""
    asset_class = parse_plant(demo_plants.pump_plant(1, start_ms=START_MS)).classes["pump"]
    folder = shipped_folder("trained_models")
    model = model_folder.load(folder / "pump" / model_folder.versions(folder, "pump")[-1], asset_class)
    issued = Issued(*(np.concatenate(column) for column in zip(*_stations(asset_class, model), strict=True))).spoken()
    lives, life = np.unique(issued.pump, return_inverse=True)
    length = np.bincount(life, weights=issued.age + issued.remaining) / np.bincount(life)
    by_age = age_only(np.array(model.facts.rivals.lengths), issued.age)
    ours = score(issued.quantiles, issued.remaining, life, asset_class.horizon).mean()
    theirs = score(by_age, issued.remaining, life, asset_class.horizon).mean()
    late = issued.age >= LAST_THIRD * length[life]
    rmse, rmse_age = (rms((one[:, MEDIAN] - issued.remaining)[late]) for one in (issued.quantiles, by_age))
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
        *_mode_figures(asset_class, issued),
    ]


def _mode_figures(asset_class: AssetClass, issued: "Issued") -> Iterator[Figure]:
    """How often the mode that came was named, a while before, and the bands of the pumps that each mode ended."""
    names = np.array([mode.name for mode in asset_class.failure_modes])
    ahead = np.abs(issued.remaining - AHEAD) <= NEARLY
    right = names[issued.likely] == issued.mode
    what = f"likeliest mode is the one, {AHEAD:g} h before the failure"
    yield Figure("pumps mode named", what, float(right[ahead].mean()), "", 0.8)
    for name in names:
        its = issued.mode == name
        scores = score(issued.quantiles[its], issued.remaining[its], issued.pump[its], asset_class.horizon).mean()
        whose = f"{scores.lives} pumps that ended by {name}, less 0.8 or 0.9"
        for level, covered in (("80", scores.coverage_80 - 0.8), ("90", scores.coverage_90 - 0.9)):
            yield Figure(f"pumps {name} coverage {level} off", whose, abs(covered), "", 0.03, "lower")


class Issued(NamedTuple):
    """Forecasts of pumps that ran, day by day, `[m]` each: which pump, life used and left [h], quantiles `[m, 21]`,
    index of the likeliest mode, and the mode that came."""

    pump: NDArray[np.int64]
    age: Floats
    remaining: Floats
    quantiles: Floats
    likely: NDArray[np.intp]
    mode: NDArray[Any]

    def spoken(self) -> "Issued":
        """Those that said something: while a sensor is at fault for long, nothing is."""
        said = ~np.isnan(self.quantiles[:, MEDIAN])
        return Issued(
            self.pump[said],
            self.age[said],
            self.remaining[said],
            self.quantiles[said],
            self.likely[said],
            self.mode[said],
        )


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
        modes = np.array([str(truth.failure_mode) for truth in fleet.truth], dtype=object)
        left = length[told.pump] - told.age
        yield told._replace(pump=told.pump + station * PUMPS, remaining=left, mode=modes[told.pump])


def _daily(asset_class: AssetClass, model: Model, steps: Steps) -> Iterator[Issued]:
    """Fold one day after the other and forecast the pumps that are alive."""
    twins = twin.start(asset_class, model.frame, PUMPS)
    day = steps.start_ms // DAY_MS
    for number in np.unique(day):
        of_day = steps.take(np.flatnonzero(day == number))
        twin.fold(asset_class, model.frame, twins, of_day)
        rows = np.unique(of_day.row)
        said = forecast(asset_class, model, twins, rows, np.ones(len(rows), dtype=np.bool_))
        likely = np.argmax(np.nan_to_num(said.mode), axis=1)
        yield Issued(
            rows, twins.exposure[rows], np.zeros(len(rows)), said.quantiles, likely, np.empty(len(rows), object)
        )


def _of_row(row: int, steps: Steps) -> Steps:
    return replace(steps, row=np.full(len(steps), row))
