"""Life tables of real machines, held against another implementation: the data sets and estimates of relife.

Lives of power transformers, circuit breakers and insulator strings, most of them cut short alive. Both fit the same
Weibull law by maximum likelihood; the cost of replacing by age is ten times as high for a failure. What a life table
here does not know is said too: many of these machines were old when their record began (left truncation).
"""

from pathlib import Path
from typing import Any

import numpy as np
from relife import policies
from relife.datasets import load
from relife.lifetime_models import Weibull

from benchmarks.report import Figure
from pdm.scoring.life_table import fit_life_table
from pdm.windows import long_run_cost_rate

FLEETS = ("power_transformer", "circuit_breaker", "insulator_string")
AGES = np.arange(1.0, 101.0)  # [years]
PLANNED, UNPLANNED = 1.0, 10.0
WIDE = 1.96  # standard errors of a 95 % band


def measure_lives(_: Path, __: int) -> list[Figure]:
    """The figures of all fleets."""
    return [figure for fleet in FLEETS for figure in _fleet_figures(fleet)]


def _fleet_figures(fleet: str) -> list[Figure]:
    lives = getattr(load, f"load_{fleet}")()
    ours = fit_life_table(lives["time"], lives["event"])
    theirs = Weibull().fit(lives["time"], event=lives["event"])
    whole = Weibull().fit(lives["time"], event=lives["event"], entry=lives["entry"])
    apart = np.abs(ours.survival(AGES) - theirs.sf(AGES)) / (WIDE * _standard_error(theirs))
    truncated = np.abs(ours.survival(AGES) - whole.sf(AGES)).max()
    rate = long_run_cost_rate(ours, PLANNED, UNPLANNED) / _cost_rate(theirs)
    name, what = fleet.replace("_", " "), f"{len(lives)} lives, {lives['event'].sum()} failures"
    return [
        Figure(f"{name} survival", f"{what}: apart, in half 95 % bands", float(apart.max()), "", 1.0, "lower"),
        Figure(f"{name} cost rate", "of replacement by age: ours / relife's less 1", abs(rate - 1)),
        Figure(f"{name} unseen youth", "survival apart from an estimate that knows of it", float(truncated)),
    ]


def _standard_error(model: Any) -> np.ndarray:
    """Of the survival at `AGES`, by the delta method."""
    jacobian = np.asarray(model.jac_sf(AGES)).reshape(2, -1)
    variance = np.einsum("ia,ij,ja->a", jacobian, model.fitting_results.covariance_matrix, jacobian)
    return np.asarray(np.sqrt(variance))


def _cost_rate(model: Any) -> float:
    policy = policies.AgeReplacementPolicy(model)
    age = policy.compute_optimal_ar(cf=UNPLANNED, cp=PLANNED)
    return float(policy.asymptotic_expected_equivalent_annual_cost(ar=age, cf=UNPLANNED, cp=PLANNED))
