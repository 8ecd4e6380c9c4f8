"""Plots of forecasts against what came; they need matplotlib (`pip install pdm-twin[plot]`)."""

from typing import Any

import numpy as np

from pdm.notebook.judged import judged
from pdm.notebook.tables import ASSET
from pdm.scoring.track_record import ALPHA, BINS, reliability, transforms

try:
    import matplotlib.pyplot as plt
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'pdm-twin[plot]'") from error

BANDS = ((0.05, 0.95, 0.15), (0.1, 0.9, 0.25), (0.25, 0.75, 0.35))
"""Lower and upper level of each band, and how dark it is."""


def fan(said: Any, asset: Any, truth: Any = None, ax: Any = None) -> Any:
    """The remaining life of one asset as it was forecast over time, against what was left.

    Args:
        said: forecasts by asset and time, of `predict` or `backtest`.
        truth: what came, of `truth`.

    Returns:
        The axes.
    """
    ax = plt.figure().gca() if ax is None else ax
    mine = said.xs(asset, level=ASSET)
    for low, high, shade in BANDS:
        label = f"{high - low:.0%}"
        ax.fill_between(mine.index, mine[low], mine[high], color="tab:blue", alpha=shade, lw=0, label=label)
    ax.plot(mine.index, mine[0.5], color="tab:blue", label="median")
    if truth is not None:
        came = truth.xs(asset, level=ASSET)
        ax.plot(came.index, came["remaining"], "k--", label="what was left")
    ax.set(title=str(asset), ylabel="remaining life [life steps]", ylim=(0, None))
    ax.tick_params(axis="x", rotation=30)
    ax.legend()
    return ax


def calibration(said: Any, truth: Any, horizon: float = np.inf) -> Any:
    """Whether stated probabilities came true, and where truths fell within what was said.

    Each life weighs the same; bars are 90 % bands by resampling lives.

    Args:
        said: forecasts by asset and time, of `predict` or `backtest`.
        truth: what came, of `truth`.
        horizon: count only truths up to it [life steps]. Those are the short ones of what was possible: even a perfect
            forecast then shows more truths below its quantiles than it states.

    Returns:
        Two axes: truths below each quantile, and their probability integral transform in tenths.
    """
    found = judged(said, truth)
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    stated, came = zip(*reliability(found, horizon), strict=True)
    value, low, high = np.array(came).T
    left.plot([0, 1], [0, 1], color="grey", lw=0.8)
    left.errorbar(stated, value, yerr=np.nan_to_num([value - low, high - value]), fmt="o", capsize=2)
    left.set(xlabel="stated probability", ylabel="share of truths below", xlim=(0, 1), ylim=(0, 1))
    right.bar((np.arange(BINS) + 0.5) / BINS, transforms(found, horizon), 0.9 / BINS)
    right.axhline(1 / BINS, color="grey", lw=0.8)
    right.set(xlabel="where the truth fell within the forecast", ylabel="share of truths")
    return left, right


def alpha_lambda(said: Any, asset: Any, truth: Any, alpha: float = ALPHA, ax: Any = None) -> Any:
    """Forecasts of one asset over its life, against the cone of what was left, give or take the share `alpha`.

    Saxena et al. 2010, doi 10.36001/ijphm.2010.v1i1.1336.

    Returns:
        The axes.
    """
    ax = plt.figure().gca() if ax is None else ax
    mine = said.xs(asset, level=ASSET)
    came = truth.xs(asset, level=ASSET).reindex(mine.index)
    lived, left = came["used"] / (came["used"] + came["remaining"]), came["remaining"]
    ax.fill_between(lived, left * (1 - alpha), left * (1 + alpha), color="grey", alpha=0.3, label=f"± {alpha:.0%}")
    ax.plot(lived, left, "k--", label="what was left")
    ax.fill_between(lived, mine[0.1], mine[0.9], color="tab:blue", alpha=0.25, lw=0, label="80%")
    ax.plot(lived, mine[0.5], color="tab:blue", label="median")
    ax.set(title=str(asset), xlabel="share of the life", ylabel="remaining life [life steps]", ylim=(0, None))
    ax.legend()
    return ax
