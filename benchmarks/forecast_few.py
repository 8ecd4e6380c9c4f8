"""Few failures, and machines that joined late: on training engines of C-MAPSS that the model has not seen.

Forecasts after every flight of which at least 30 % of the life have passed; each engine weighs the same. Forecast and
truth are clipped to the horizon of 125 cycles.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.forecast_engines import training_lives, turbofan, within
from benchmarks.report import Figure
from pdm.features.frame import Floats
from pdm.learn import Life, train
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import begun_late, stacked
from pdm.plant import AssetClass
from pdm.prognosis import learned
from pdm.prognosis.learned import Model, Origin

FEW = {3: 18.5, 5: 17.0, 10: 13.5, 20: 11.5}
"""How many engines have failed, and the bar of the RMSE."""

DRAWS = 20
LATE = {"FD001": 11.8, "FD002": 14.5, "FD003": 11.8}
MISSED = (0.2, 0.6)  # share of its life that a late joiner was not seen
PARTS = 5
TOLD = 0.3


class Said(NamedTuple):
    """Forecasts `[m, 21]` of engines: which one, life used and left."""

    quantiles: Floats
    life: NDArray[np.intp]
    used: Floats
    remaining: Floats


def measure_few(data: Path, _: int) -> list[Figure]:
    """The error of models of few failed engines, on all other engines."""
    asset_class, lives = turbofan(), training_lives(data, "FD001")
    return [figure for count, bar in FEW.items() for figure in _few(asset_class, lives, count, bar)]


def _few(asset_class: AssetClass, lives: Sequence[Life], count: int, bar: float) -> Iterator[Figure]:
    errors, held = [], []
    for draw in range(DRAWS):
        seen = np.random.default_rng([count, draw]).permutation(len(lives)) < count
        model = train(asset_class, _some(lives, seen), seed=1, origin=Origin.BENCHMARK)
        others = _some(lives, ~seen)
        said = _say(model, others, _lengths(others), late=False)
        errors.append(_rmse(said, asset_class.horizon))
        held.append(_coverage(said, asset_class.horizon))
    what = f"mean of {DRAWS} draws of {count} failed engines, on all others"
    yield Figure(f"FD001 {count} failures rmse", what, float(np.mean(errors)), "cycles", bar, "lower")
    yield Figure(f"FD001 {count} failures coverage 80", what, float(np.mean(held)))


def measure_late(data: Path, _: int) -> list[Figure]:
    """The error on engines whose first 20 to 60 % were not seen, beside that on their whole record."""
    return [figure for subset, bar in LATE.items() for figure in _late(turbofan(), data, subset, bar)]


def _late(asset_class: AssetClass, data: Path, subset: str, bar: float) -> Iterator[Figure]:
    lives = training_lives(data, subset)
    part_of = np.random.default_rng(1).permutation(len(lives)) % PARTS
    late, whole, pretended, held = [], [], [], []
    for part in range(PARTS):
        model = train(asset_class, _some(lives, part_of != part), seed=1, origin=Origin.BENCHMARK)
        judged = _some(lives, part_of == part)
        missed = np.random.default_rng([part, 1]).uniform(*MISSED, len(judged))
        cut, lengths = [begun_late(life, share) for life, share in zip(judged, missed, strict=True)], _lengths(judged)
        seen, full = _say(model, cut, lengths, late=True), _say(model, judged, lengths, late=False)
        blind = _say(model, cut, lengths, late=False)
        enough = seen.used >= model.frame.baseline  # before, the service refuses
        late.append(_rmse(_only(seen, enough), asset_class.horizon))
        held.append(_coverage(_only(seen, enough), asset_class.horizon))
        whole.append(_rmse(full, asset_class.horizon))
        pretended.append(_rmse(_only(blind, enough), asset_class.horizon))
        print(
            f"{subset} part {part}: {late[-1]:.2f} late, {_rmse(seen, asset_class.horizon):.2f} from the first flight"
        )
    what = f"engines left out, {MISSED[0]:.0%} to {MISSED[1]:.0%} of their life not seen"
    yield Figure(f"{subset} late rmse", what, float(np.mean(late)), "cycles", bar, "lower")
    yield Figure(f"{subset} late coverage 80", what, float(np.mean(held)))
    yield Figure(f"{subset} whole rmse", "the same engines, seen from their start", float(np.mean(whole)), "cycles")
    pretence = "late joiners forecast as if they had been seen from their start"
    yield Figure(f"{subset} late as whole rmse", pretence, float(np.mean(pretended)), "cycles", better="lower")


def _some(lives: Sequence[Life], wanted: NDArray[np.bool_]) -> list[Life]:
    return [life for life, this in zip(lives, wanted.tolist(), strict=True) if this]


def _say(model: Model, lives: Sequence[Life], lengths: Floats, *, late: bool) -> Said:
    """What the model says after every flight, of lives that were so long in all `[n]`."""
    stack = stacked(lives)
    rows = fold_lives(model.frame, stack, np.ones(stack.lengths.max(), dtype=np.bool_))
    used, remaining = stack.used[rows.step], stack.remaining[rows.step]
    said = learned.forecast(model, rows.features, used, np.full(len(used), not late))
    return _only(Said(said, rows.life, used, remaining), remaining <= (1 - TOLD) * lengths[rows.life])


def _lengths(lives: Sequence[Life]) -> Floats:
    return np.array([life.length for life in lives])


def _only(said: Said, rows: NDArray[np.bool_]) -> Said:
    return Said(said.quantiles[rows], said.life[rows], said.used[rows], said.remaining[rows])


def _weights(said: Said) -> Floats:
    return np.asarray(1 / np.bincount(said.life)[said.life], dtype=np.float64)


def _rmse(said: Said, horizon: float) -> float:
    error = within(said.quantiles, horizon) - np.minimum(said.remaining, horizon)
    return float(np.sqrt(np.average(error**2, weights=_weights(said))))


def _coverage(said: Said, horizon: float) -> float:
    quantiles, truth = np.minimum(said.quantiles, horizon), np.minimum(said.remaining, horizon)
    return float(np.average((truth >= quantiles[:, 3]) & (truth <= quantiles[:, -4]), weights=_weights(said)))
