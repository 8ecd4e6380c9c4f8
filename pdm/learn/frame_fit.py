"""Fit a frame to the lives of machines."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import euclidean_distances, silhouette_score

from pdm.errors import ModelError
from pdm.features.frame import (
    GROSS,
    HEALTH,
    Conditions,
    Floats,
    Frame,
    nearest_regime,
    read,
    standardised,
    terms,
)
from pdm.learn.jump_fit import fit_jumps, fit_restless
from pdm.learn.stack import Stack
from pdm.plant import AssetClass

REFERENCE_LIFE = 200.0  # the median life for which the memories of the features were chosen [life steps]
MISSING, OFTEN = 0.05, 0.4  # a column that is missing more often is not kept; where all sensors are, OFTEN counts
CONSTANT = 1e-6  # a spread below this share of the mean is none
SEPARATION = 0.75  # silhouette from which clusters of operating conditions are regimes
MAX_REGIMES = 10
CLUSTERED = 2000  # steps looked at to find regimes
EXPLAINED = 0.05  # share of a sensor's variance from which operating conditions matter
NEAR_END = 0.4  # share of the horizon that h1 looks at
CLIP_FLOOR, CLIP_MARGIN = 8.0, 1.5
MOST = 0.02, 0.98  # between these quantiles nearly all values lie; a set point is not as rare as that


def fit_frame(asset_class: AssetClass, stack: Stack, seed: int) -> Frame:
    """The frame of a class, from lives that were seen from their start to their failure."""
    frame = bare_frame(asset_class, stack, seed)
    z, regime = _departures(frame, stack)
    projection, offset = _fit_projection(frame, stack, z, regime, asset_class.horizon)
    change, start, own_offset = _fit_own(frame, stack, z, asset_class.horizon)
    frame = replace(frame, restless=fit_restless(frame, stack))
    return replace(
        frame,
        projection=projection,
        offset=offset,
        own_change=change,
        own_start=start,
        own_offset=own_offset,
        jumps=fit_jumps(frame, stack),
    )


def bare_frame(asset_class: AssetClass, stack: Stack, seed: int) -> Frame:
    """A frame whose health channels say nothing, from lives that need not have ended.

    The memories of the features grow with the square root of the median life: long lives are finer steps of the same
    wear, so that more of them can be averaged, but the last days of a machine do not get longer with its life.
    """
    stack = replace(stack, columns=_without_gross(stack.columns))
    for missing in (MISSING, OFTEN):
        kept, conditions = _fit_conditions(asset_class, stack, seed, missing)
        if len(kept):
            break
    else:
        raise ModelError(
            f"no sensor of class {asset_class.name} moves in the training lives: there is nothing to learn"
        )
    p, regimes = len(kept), conditions.regimes.shape[1]
    frame = Frame(
        column_names=asset_class.column_names,
        kept=kept,
        conditions=conditions,
        clip=np.inf,
        projection=np.zeros((p, len(HEALTH) - 1, regimes)),
        offset=np.zeros((len(HEALTH) - 1, regimes)),
        own_change=np.zeros(p),
        own_start=np.zeros(p),
        own_offset=0.0,
        scale=float(np.sqrt(np.median(stack.lengths) / REFERENCE_LIFE)),
    )
    return replace(frame, clip=_fit_clip(frame, stack, _departures(frame, stack)[0]))


def _without_gross(columns: Floats) -> Floats:
    """Values far beyond nearly all others of their column are left out: one of them would set the scale for all."""
    told = columns.copy()
    for x in told.T:
        low, high = np.quantile(x[np.isfinite(x)], MOST) if np.isfinite(x).any() else (0.0, 0.0)
        if high > low:  # of what hardly ever moves nobody knows
            reach = GROSS * (high - low)
            x[(x < low - reach) | (x > high + reach)] = np.nan
    return told


def _departures(frame: Frame, stack: Stack) -> tuple[Floats, NDArray[np.intp]]:
    """Departures `[p, r]` from what the sensors should read, 0 where a value is missing, and the regimes `[r]`."""
    step = read(frame, stack.columns)
    return np.nan_to_num(standardised(frame, step)), step.regime


def _fit_conditions(
    asset_class: AssetClass, stack: Stack, seed: int, missing: float
) -> tuple[NDArray[np.int64], Conditions]:
    """The columns that carry news, and what they should read: by regime, by a surface, or one level for all.

    Args:
        missing: share of the steps in which a column may be missing.
    """
    known = np.isnan(stack.columns).mean(axis=0) <= missing
    stated = np.array([column.sensor in asset_class.conditions for column in asset_class.columns])
    sensors, columns = np.flatnonzero(known & ~stated), np.flatnonzero(known & stated)
    centre, spread = np.nanmean(stack.columns[:, columns], axis=0), np.nanstd(stack.columns[:, columns], axis=0)
    varies = spread > CONSTANT * np.maximum(1.0, np.abs(centre))
    columns, centre, spread = columns[varies], centre[varies], spread[varies]
    u = (stack.columns[:, columns] - centre).T / spread[:, None]
    regimes = _find_regimes(u, seed)
    conditions = Conditions(
        columns=columns,
        centre=centre,
        spread=spread,
        low=np.nanmin(u, axis=1, initial=np.inf),
        high=np.nanmax(u, axis=1, initial=-np.inf),
        regimes=regimes,
        reach=_reach(regimes),
        mean=np.zeros((0, 1)),
        inverse_sd=np.zeros((0, 1)),
        surface=np.zeros((0, 0)),
    )
    if regimes.shape[1] == 1 and len(columns):
        surface = _fit_surface(stack, sensors, u)
        if surface is not None:
            return _by_surface(stack, conditions, sensors, *surface)
    return _by_regime(stack, conditions, sensors, u)


def _find_regimes(u: Floats, seed: int) -> Floats:
    """Centres `[c, R]` of the regimes in conditions `[c, r]`; one at zero where they vary continuously, or not at all.

    Rousseeuw (1987), doi 10.1016/0377-0427(87)90125-7, for the silhouette.
    """
    one = np.zeros((len(u), 1))
    points = u.T[np.isfinite(u).all(axis=0)]
    sample = np.random.default_rng(seed).permutation(points)[:CLUSTERED]
    distinct = len(np.unique(sample, axis=0))
    most = min(MAX_REGIMES, distinct, len(sample) - 1)
    if not len(u) or distinct < 3:
        return one
    found = [KMeans(k, n_init=3, random_state=seed).fit(sample) for k in range(2, most + 1)]
    apart = euclidean_distances(sample)
    separation = [silhouette_score(apart, clusters.labels_, metric="precomputed") for clusters in found]
    best = int(np.argmax(separation))
    return np.ascontiguousarray(found[best].cluster_centers_.T) if separation[best] > SEPARATION else one


def _reach(regimes: Floats) -> float:
    """Half the distance between the two closest regimes; infinite if there is one."""
    distance = np.sqrt(((regimes[:, :, None] - regimes[:, None, :]) ** 2).sum(axis=0))
    return float(distance[distance > 0].min(initial=np.inf)) / 2


def _by_regime(
    stack: Stack, conditions: Conditions, sensors: NDArray[np.int64], u: Floats
) -> tuple[NDArray[np.int64], Conditions]:
    """Mean and standard deviation within each regime, of the sensors that move in regimes holding half of all steps."""
    regime, _ = nearest_regime(conditions, u)
    count = conditions.regimes.shape[1]
    groups = [stack.columns[regime == r][:, sensors] for r in range(count)]
    mean = np.stack([np.nanmean(group, axis=0) for group in groups], axis=1)
    sd = np.stack([np.nanstd(group, axis=0) for group in groups], axis=1)
    moves = sd > CONSTANT * np.maximum(1.0, np.abs(mean))
    held = np.bincount(regime, minlength=count) / len(regime)
    keep = moves @ held >= 0.5
    inverse_sd = np.divide(1.0, sd, out=np.zeros_like(sd), where=moves)
    kept = sensors[keep]
    fitted = replace(conditions, mean=mean[keep], inverse_sd=inverse_sd[keep], surface=np.zeros((0, len(kept))))
    return kept, fitted


def _fit_surface(stack: Stack, sensors: NDArray[np.int64], u: Floats) -> tuple[Floats, Floats, Floats] | None:
    """What healthy machines read under conditions `[c, r]`: mean `[p]`, sd `[p]` and coefficients `[T, p]`.

    None where the conditions explain nothing of any sensor.
    """
    design = np.stack(terms(u), axis=1)
    known = stack.early & np.isfinite(design).all(axis=1)
    mean, sd, explained = np.zeros(len(sensors)), np.zeros(len(sensors)), np.zeros(len(sensors))
    coefficients = np.zeros((design.shape[1], len(sensors)))
    for number, sensor in enumerate(sensors):
        rows = known & np.isfinite(stack.columns[:, sensor])
        x = stack.columns[rows, sensor]
        fit = Ridge(alpha=1.0).fit(design[rows], x)
        mean[number], coefficients[:, number] = fit.intercept_, fit.coef_
        sd[number] = np.std(x - fit.predict(design[rows]))
        if np.std(x) > CONSTANT * max(1.0, abs(mean[number])):
            explained[number] = 1 - sd[number] ** 2 / np.var(x)
    return (mean, sd, coefficients) if explained.max(initial=0.0) >= EXPLAINED else None


def _by_surface(
    stack: Stack, conditions: Conditions, sensors: NDArray[np.int64], mean: Floats, sd: Floats, coefficients: Floats
) -> tuple[NDArray[np.int64], Conditions]:
    """Departures from the surface, and beside them the conditions themselves: hard running leaves less life."""
    moves = sd > CONSTANT * np.maximum(1.0, np.abs(mean))
    own = np.zeros((len(coefficients), len(conditions.columns)))
    fitted = replace(
        conditions,
        mean=np.concatenate([mean[moves], conditions.centre])[:, None],
        inverse_sd=1 / np.concatenate([sd[moves], conditions.spread])[:, None],
        surface=np.concatenate([coefficients[:, moves], own], axis=1),
    )
    return np.concatenate([sensors[moves], conditions.columns]), fitted


def _fit_clip(frame: Frame, stack: Stack, z: Floats) -> float:
    """1.5 times the largest departure that a short mean reaches, where the wildest twentieth of lives does not count:
    a broken sensor is no wear."""
    reached = [np.abs(mean).max() for mean in _short_means(frame, stack, z, 15)]
    return max(CLIP_FLOOR, CLIP_MARGIN * float(np.quantile(reached, 0.95, method="lower")))


def _fit_projection(
    frame: Frame, stack: Stack, z: Floats, regime: NDArray[np.intp], horizon: float
) -> tuple[Floats, Floats]:
    """Weights `[p, 5, R]` and offsets `[5, R]`: health by ridge in each regime, main directions of the drift by PCA."""
    projection, offset = np.zeros_like(frame.projection), np.zeros_like(frame.offset)
    for channel, reach in enumerate((horizon, NEAR_END * horizon)):
        health = np.minimum(stack.remaining, reach) / reach
        for number in range(projection.shape[2]):
            rows = regime == number
            fit = Ridge(alpha=10.0).fit(z[:, rows].T, health[rows])
            projection[:, channel, number], offset[channel, number] = fit.coef_, fit.intercept_
    means = np.concatenate(list(_short_means(frame, stack, z, 30)), axis=1).T
    directions = PCA(min(3, frame.sensors), svd_solver="full").fit(means).components_
    projection[:, 2 : 2 + len(directions)] = directions.T[:, :, None]
    return projection, offset


def _fit_own(frame: Frame, stack: Stack, z: Floats, horizon: float) -> tuple[Floats, Floats, float]:
    """Weights of g: health by ridge on the change since, and the level at, each machine's own start."""
    recent = np.concatenate(list(_short_means(frame, stack, z, 15)), axis=1)
    start = np.concatenate([_own_start(frame, z[:, part]) for part in stack.parts], axis=1)
    design = np.concatenate([recent - start, start]).T
    fit = Ridge(alpha=30.0).fit(design, np.minimum(stack.remaining, horizon) / horizon)
    return fit.coef_[: frame.sensors].copy(), fit.coef_[frame.sensors :].copy(), float(fit.intercept_)


def _short_means(frame: Frame, stack: Stack, z: Floats, span: float) -> Iterator[Floats]:
    """The mean that forgets, of each life `[p, L]`."""
    forget = [1.0, -frame.memory(span)]
    for part in stack.parts:
        weight = lfilter([1.0], forget, np.ones(part.stop - part.start))
        yield lfilter([1.0], forget, z[:, part], axis=1) / weight


def _own_start(frame: Frame, z: Floats) -> Floats:
    """Mean of the first steps of one life `[p, L]`, as far as they had come."""
    steps = np.minimum(np.arange(1, z.shape[1] + 1), frame.baseline)
    return np.asarray(np.cumsum(z, axis=1)[:, steps - 1] / steps)
