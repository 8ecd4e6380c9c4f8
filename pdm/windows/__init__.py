"""When to maintain: the priced intervention window of every machine of a cohort, over common candidate starts.

    cost(t) = planned S(t) + unplanned F(t) + g E[(T - t)+]

S and F are survival and failure probability at the start t under the forecast T, and g is the long-run cost of a life
step: the last term is the price of the life that a replacement at t throws away. Without it "now" would always be the
cheapest. The preferred start is the cheapest feasible one that keeps the risk cap; the window around it holds the
starts that cost at most `COST_TOLERANCE` of a planned intervention more.

Without prices the risk cap alone makes the window, which then ends with the preferred start.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammainc

from pdm.degradation import Weibull
from pdm.durations import DAY_MS, HOUR_MS
from pdm.prognosis.quantiles import survival_and_excess

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

COST_TOLERANCE = 0.05
"""How much dearer than the preferred start an edge of the window may be [share of the planned cost]."""

EARLY_RISK = 0.2
"""Without prices a window opens when the risk reaches this share of the cap: earlier wastes life for little."""

TOLD_AGAIN_BY = 2.0
"""A window is told again when the odds of failing before its preferred start change by this factor (a fixed band edge
would flicker where a window is bound by the risk cap)."""

FAR_AHEAD = 0.1
"""A start moves materially only by more than this share of the time until it: nobody plans a day two months ahead."""

_WEEK_HOURS = 7 * 24.0


class Bound(IntEnum):
    """What sets an edge of a window. The name in lower case is the public code."""

    NONE = 0  # the cheapest start, nothing in its way
    NOTICE = 1  # people cannot be there earlier
    CALENDAR = 2  # nobody works earlier
    WASTED_LIFE = 3  # earlier would throw away more life than it saves
    COST = 4  # later would cost more
    RISK_CAP = 5  # later would exceed the highest acceptable probability of failing before the start
    HORIZON = 6  # the forecast reaches no further

    @property
    def code(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Prices:
    """What the choice of a start costs, per machine `[n]` [plant currency]; NaN where nobody declared it.

    Attributes:
        planned: an intervention at a chosen time.
        unplanned: the failure that it prevents.
        life: a life step that is thrown away, see `long_run_cost_rate` [plant currency per life step].
    """

    planned: Floats
    unplanned: Floats
    life: Floats

    def take(self, rows: Indices) -> "Prices":
        """The prices of these rows."""
        return Prices(self.planned[rows], self.unplanned[rows], self.life[rows])


@dataclass(frozen=True, slots=True)
class Terms:
    """What a class asks of its windows.

    Attributes:
        notice_ms: the time that people need before they can start.
        horizon: how far ahead a date is worth anything [life steps].
        risk_cap: highest acceptable probability of failing before the work starts.
    """

    notice_ms: int
    horizon: float
    risk_cap: float


@dataclass(frozen=True, slots=True)
class InterventionWindow:
    """The window of one machine: for each edge the start [ms UTC], P(failed by then), its cost and its `Bound`."""

    earliest_ms: int
    earliest_probability: float
    earliest_cost: float
    earliest_bound: int
    preferred_ms: int
    preferred_probability: float
    preferred_cost: float
    preferred_bound: int
    latest_ms: int
    latest_probability: float
    latest_cost: float
    latest_bound: int
    cost_now: float
    cost_week_later: float
    cost_run_to_failure: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a cohort as columns `[n]`; -1, NaN and `Bound.NONE` where there is no window.

    Attributes:
        earliest_ms, preferred_ms, latest_ms: starts of the work [ms UTC].
        *_probability: P(failed before that start).
        *_cost: expected cost of that start [plant currency]; NaN without prices.
        *_bound: int8, `Bound`.
        cost_now: of starting at once, whatever the notice; known without a window too.
        cost_week_later: of starting a week after the preferred start.
        cost_run_to_failure: of never starting; known without a window too.
    """

    earliest_ms: NDArray[np.int64]
    earliest_probability: Floats
    earliest_cost: Floats
    earliest_bound: NDArray[np.int8]
    preferred_ms: NDArray[np.int64]
    preferred_probability: Floats
    preferred_cost: Floats
    preferred_bound: NDArray[np.int8]
    latest_ms: NDArray[np.int64]
    latest_probability: Floats
    latest_cost: Floats
    latest_bound: NDArray[np.int8]
    cost_now: Floats
    cost_week_later: Floats
    cost_run_to_failure: Floats

    @staticmethod
    def none(count: int) -> "Windows":
        """No window for any of `count` machines."""
        columns: dict[str, NDArray[Any]] = {}
        for field in fields(Windows):
            if field.name.endswith("_ms"):
                columns[field.name] = np.full(count, -1, dtype=np.int64)
            elif field.name.endswith("_bound"):
                columns[field.name] = np.zeros(count, dtype=np.int8)
            else:
                columns[field.name] = np.full(count, np.nan)
        return Windows(**columns)

    def __len__(self) -> int:
        return len(self.preferred_ms)

    def take(self, rows: NDArray[Any]) -> "Windows":
        """The windows of these rows (indices or mask)."""
        return Windows(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def put(self, rows: Indices, other: "Windows") -> None:
        """Take over the windows of `other` as those of these rows, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def replaced(self, rows: NDArray[np.bool_], by: "Windows") -> "Windows":
        """These windows, with those of `by` in the rows that the mask names."""
        if not rows.any():
            return self
        return Windows(**{f.name: np.where(rows, getattr(by, f.name), getattr(self, f.name)) for f in fields(self)})

    def row(self, row: int) -> InterventionWindow | None:
        """The window of one machine."""
        if self.preferred_ms[row] < 0:
            return None
        return self.take(np.array([row])).rows()[0]

    def rows(self) -> list[InterventionWindow]:
        """The windows of all machines, each of which must have one."""
        names = [field.name for field in fields(self)]
        columns = [getattr(self, name).tolist() for name in names]
        return [InterventionWindow(**dict(zip(names, window, strict=True))) for window in zip(*columns, strict=True)]


def long_run_cost_rate(life: Weibull, planned: float, unplanned: float) -> float:
    """The lowest cost per life step that replacement by age can reach, run to failure included.

    Renewal-reward: Barlow and Proschan, Mathematical Theory of Reliability, 1965, doi 10.1137/1.9781611971194.
    """

    def cost_rate(log_hazard: Floats) -> Floats:
        # with z = (a / scale)^k the cumulative hazard at the replacement age a:
        # rate(a) = (planned S(a) + unplanned F(a)) / E[min(T, a)],   S = e^-z,   E[min(T, a)] = E[T] P(1/k, z)
        hazard = np.exp(log_hazard)
        survival = np.exp(-hazard)
        cycle = life.mean * gammainc(1 / life.shape, hazard)
        return np.asarray((planned * survival + unplanned * (1 - survival)) / cycle)

    grid = np.linspace(np.log(1e-9), np.log(50.0), 500)
    best = int(np.argmin(cost_rate(grid)))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    finest = minimize_scalar(cost_rate, bounds=around, method="bounded", options={"xatol": 1e-9})
    return min(float(finest.fun), unplanned / life.mean)


def plan_windows(
    quantiles: Floats,
    duty_rate: Floats,
    prices: Prices,
    terms: Terms,
    now_ms: int,
    starts_ms: NDArray[np.int64],
) -> Windows:
    """The window of every machine.

    There is none where nothing is known (no prognosis, no duty), or where the best start is the last one within the
    horizon: then it is too early to name a date. Where even the first start exceeds the risk cap, the window is that
    start: as soon as possible.

    Args:
        quantiles: `[n, 21]` remaining life [life steps].
        duty_rate: `[n]` life used per hour of plant time [life steps/h].
        prices: `[n]` each.
        terms: of the class.
        now_ms: plant time.
        starts_ms: `[t]` feasible starts from now + notice on, rising (`pdm.plant.calendars.feasible_starts`).
    """
    if not len(starts_ms):
        return Windows.none(len(quantiles))
    hours = (starts_ms - now_ms) / HOUR_MS
    survival, excess = survival_and_excess(quantiles, duty_rate[:, None] * hours)
    cost = _cost(prices, survival, excess)
    with np.errstate(divide="ignore"):
        within = np.searchsorted(hours, terms.horizon / duty_rate, side="right")
    choice = _choose(survival, cost, COST_TOLERANCE * prices.planned, within, terms.risk_cap)
    found = choice.found & (duty_rate > 0)
    first_bound = Bound.NOTICE if starts_ms[0] <= now_ms + terms.notice_ms else Bound.CALENDAR
    edges: dict[str, NDArray[Any]] = {}
    for name, start, bound in _bounded(choice, first_bound):
        edges[f"{name}_ms"] = np.where(found, starts_ms[start], -1)
        edges[f"{name}_probability"] = np.where(found, 1.0 - _at(survival, start), np.nan)
        edges[f"{name}_cost"] = np.where(found, _at(cost, start), np.nan)
        edges[f"{name}_bound"] = np.where(found, bound, Bound.NONE).astype(np.int8)
    now, later = _cost_now_and_at(quantiles, duty_rate * (hours[choice.preferred] + _WEEK_HOURS), prices)
    return Windows(
        **edges,
        cost_now=now,
        cost_week_later=np.where(found, later, np.nan),
        cost_run_to_failure=prices.unplanned.astype(np.float64),
    )


def materially_different(a: Windows, b: Windows, now_ms: int) -> NDArray[np.bool_]:
    """Where two windows of the same machines differ so much that people are told again `[n]`.

    One is none, an edge or the preferred start moved by more than a day (and by more than `FAR_AHEAD` of the time that
    is left until then), or the odds of failing before the preferred start changed by `TOLD_AGAIN_BY`.
    """
    moved = np.zeros(len(a), dtype=np.bool_)
    allowed = np.maximum(DAY_MS, FAR_AHEAD * (np.maximum(a.preferred_ms, b.preferred_ms) - now_ms))
    for name in ("earliest_ms", "preferred_ms", "latest_ms"):
        moved |= np.abs(getattr(a, name) - getattr(b, name)) > allowed  # -1 is decades before any other start
    probabilities = (np.nan_to_num(w.preferred_probability) for w in (a, b))
    odds_a, odds_b = (p / np.maximum(1.0 - p, 1e-9) for p in probabilities)
    low, high = np.minimum(odds_a, odds_b), np.maximum(odds_a, odds_b)
    different: NDArray[np.bool_] = moved | ((high > TOLD_AGAIN_BY * low) & (high > 0.01))  # below 1 % nobody minds
    return different


@dataclass(frozen=True, slots=True)
class _Choice:
    """Indices of candidate starts, `[n]` each.

    Attributes:
        earliest, preferred, latest: the window.
        allowed: how many candidates lie within the horizon and keep the risk cap (they come first).
        within: how many lie within the horizon.
        urgent: not even the first candidate keeps the risk cap.
        found: whether there is a window.
    """

    earliest: Indices
    preferred: Indices
    latest: Indices
    allowed: Indices
    within: Indices
    urgent: NDArray[np.bool_]
    found: NDArray[np.bool_]


def _cost(prices: Prices, survival: Floats, excess: Floats) -> Floats:
    """Expected cost `[n, t]` of starting where survival is S and the life thrown away is E."""
    # planned S + unplanned (1 - S) + g E
    saved = (prices.unplanned - prices.planned)[:, None]
    return prices.unplanned[:, None] - saved * survival + prices.life[:, None] * excess


def _choose(survival: Floats, cost: Floats, tolerance: Floats, within: Indices, risk_cap: float) -> _Choice:
    """The window in candidate starts; all that must come before something are found by counting, since risk rises."""
    allowed = np.minimum(within, np.count_nonzero(survival >= 1.0 - risk_cap, axis=1))
    candidate = np.arange(cost.shape[1])
    feasible_cost = np.where(candidate < allowed[:, None], cost, np.inf)
    preferred = np.argmin(feasible_cost, axis=1)
    dear = ~(feasible_cost <= (_at(feasible_cost, preferred) + tolerance)[:, None])
    earliest = np.where(dear & (candidate < preferred[:, None]), candidate + 1, 0).max(axis=1)
    latest = np.where(dear & (candidate > preferred[:, None]), candidate, cost.shape[1]).min(axis=1) - 1
    # without prices: the last start that keeps the cap, and those before it at which waiting has begun to matter
    unpriced, last = np.isnan(cost[:, 0]), np.maximum(allowed - 1, 0)
    open_from = np.count_nonzero(survival > 1.0 - EARLY_RISK * risk_cap, axis=1)
    preferred, latest = np.where(unpriced, last, preferred), np.where(unpriced, last, latest)
    earliest = np.where(unpriced, np.minimum(open_from, last), earliest)
    urgent = survival[:, 0] < 1.0 - risk_cap
    return _Choice(
        earliest=np.where(urgent, 0, earliest),
        preferred=np.where(urgent, 0, preferred),
        latest=np.where(urgent, 0, latest),
        allowed=allowed,
        within=within,
        urgent=urgent,
        found=urgent | ((allowed > 0) & (preferred < within - 1)),
    )


def _bounded(choice: _Choice, first_bound: Bound) -> list[tuple[str, Indices, NDArray[Any]]]:
    """Name, candidate and bound `[n]` of the three edges."""
    capped = choice.urgent | (choice.allowed < choice.within)  # the cap, not the horizon, ends the candidates
    last = np.maximum(choice.allowed - 1, 0)
    earliest = np.where(choice.earliest == 0, first_bound, Bound.WASTED_LIFE)
    cheapest = np.where(choice.preferred == 0, first_bound, Bound.NONE)
    return [
        ("earliest", choice.earliest, earliest),
        ("preferred", choice.preferred, np.where(capped & (choice.preferred == last), Bound.RISK_CAP, cheapest)),
        (
            "latest",
            choice.latest,
            np.where(choice.latest < last, Bound.COST, np.where(capped, Bound.RISK_CAP, Bound.HORIZON)),
        ),
    ]


def _cost_now_and_at(quantiles: Floats, life: Floats, prices: Prices) -> tuple[Floats, Floats]:
    """Expected cost of starting at once, and when this much life has passed `[n]`."""
    survival, excess = survival_and_excess(quantiles, np.column_stack([np.zeros_like(life), life]))
    cost = _cost(prices, survival, excess)
    return cost[:, 0], cost[:, 1]


def _at(values: Floats, index: Indices) -> Floats:
    """The value of each row at its index."""
    return values[np.arange(len(values)), index]
