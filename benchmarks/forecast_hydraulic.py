"""UCI hydraulic test rig: the graded wear of four parts, by the forests of the recipe, in grouped cross-validation.

The rig has no lives, so nothing is forecast: the same forests that estimate remaining life estimate here how worn each
part is, from the means of all channels over one load cycle. Damage was set in blocks, so whole blocks are left out.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.model_selection import GroupKFold

from benchmarks.report import Figure
from pdm.features.frame import Floats
from pdm.learn.forest_fit import Rows, fit_forests
from pdm.prognosis.forests import Target, estimate

PARTS = {"cooler_pct": "cooler", "valve_pct": "valve", "pump_leak": "pump", "accumulator_bar": "accumulator"}
FOLDS = 5


def measure_hydraulic(data: Path, _: int) -> list[Figure]:
    """How often the grade of each part is right, and how its estimate ranks."""
    folder = data / "uci_hydraulic"
    profile = pd.read_csv(folder / "profile.csv")
    means = pd.read_csv(folder / "cycle_means.csv").drop(columns="cycle").to_numpy(np.float32)
    labels = profile[list(PARTS)]
    block = (labels.diff().abs().sum(axis=1) > 0).to_numpy().cumsum()
    return [
        figure for column, part in PARTS.items() for figure in _figures(part, means, labels[column].to_numpy(), block)
    ]


def _figures(
    part: str, features: NDArray[np.float32], label: NDArray[np.int64], block: NDArray[np.int64]
) -> list[Figure]:
    grades, grade = np.unique(label, return_inverse=True)
    said = _left_out(features, grade.astype(np.float64), block)
    right = float((np.clip(np.rint(said), 0, len(grades) - 1) == grade).mean())
    rank = float(spearmanr(said, grade).statistic)
    what = f"{len(grades)} grades, {len(np.unique(block))} blocks of equal damage in {FOLDS} folds"
    return [Figure(f"hydraulic {part} right", what, right), Figure(f"hydraulic {part} rank", f"Spearman, {what}", rank)]


def _left_out(features: NDArray[np.float32], grade: Floats, block: NDArray[np.int64]) -> Floats:
    said = np.empty(len(grade))
    for others, mine in GroupKFold(FOLDS, shuffle=True, random_state=1).split(features, groups=block):
        rows = Rows(features[others], others, np.zeros(len(others), dtype=np.intp))
        forests = fit_forests(rows, grade[others], np.ones(len(others)), Target(), seed=1)
        said[mine] = estimate(forests, features[mine])
    return said
