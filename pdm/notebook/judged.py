"""Forecasts held against what came, as the page *Track record* does it."""

from typing import Any

import numpy as np
import pandas as pd

from pdm.prognosis import LEVELS
from pdm.scoring.track_record import Judged, figures


def track_record(said: Any, truth: Any, horizon: float) -> Any:
    """Figures with their 90 % band over lives that ended in failure, each weighing the same.

    Args:
        said: forecasts by asset and time, of `predict` or `backtest`.
        truth: what came, of `truth`.
        horizon: up to which true remaining life forecasts count [life steps].
    """
    found = figures(judged(said, truth), horizon)
    return pd.DataFrame.from_dict(found, orient="index", columns=["value", "low", "high"])


def judged(said: Any, truth: Any) -> Judged:
    """Forecasts and truths of lives that failed, matched by asset and time."""
    came = truth.reindex(said.index)
    failed = came["remaining"].notna().to_numpy()
    came, quantiles = came[failed], said.loc[failed, LEVELS.tolist()].to_numpy(np.float64)
    remaining = came["remaining"].to_numpy()
    return Judged(quantiles, remaining, remaining + came["used"].to_numpy(), came["life"].to_numpy(np.int64))
