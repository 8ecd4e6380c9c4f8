"""Forecasts and windows."""

from dataclasses import dataclass

from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class QuantileView:
    """A quantile of the remaining life; `at` is its date, None beyond the horizon or where the duty is unknown."""

    level: float
    life: float
    at: Instant | None


@dataclass(frozen=True, slots=True)
class RulView:
    """Remaining useful life: median and the band that holds four in five [unit]."""

    p10: float
    p50: float
    p90: float
    unit: str


@dataclass(frozen=True, slots=True)
class RiskView:
    """The probability of failing before a time, None where it is not known."""

    name: str
    until: Instant
    probability: float | None


@dataclass(frozen=True, slots=True)
class ModeView:
    """A failure mode that may come first, None where nobody can tell how likely."""

    name: str
    title: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class PrognosisView:
    """The time to failure of one target, or a refusal with its reason.

    Attributes:
        text: what a page says, for example "likely 10-27 Dec (4 in 5)".
        made_at: the plant time that dates and risks count from.
        basis: none, declared_life, declared_wear, life_table or learned.
        refusal: why there is none, as a code (None: there is one); `refusal_text` says what would lift it.
        horizon: how far ahead a date is worth anything [unit].
        beyond_horizon: probability of outliving the horizon.
        duty_rate: life used per hour of plant time [unit/h].
    """

    target: str
    text: str
    made_at: Instant
    unit: str
    basis: str
    refusal: str | None
    refusal_text: str | None
    rul: RulView | None
    likely_from: Instant | None
    likely_until: Instant | None
    median_at: Instant | None
    horizon: float
    beyond_horizon: float | None
    duty_rate: float | None
    likely_mode: ModeView | None
    modes: tuple[ModeView, ...]
    risks: tuple[RiskView, ...]
    quantiles: tuple[QuantileView, ...]


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A start of the work: what it costs to expect, and what bounds it (notice, calendar, cost, risk_cap, ...)."""

    start: Instant
    failure_probability: float | None
    cost: float | None
    bound: str


@dataclass(frozen=True, slots=True)
class WindowView:
    """The intervention window as published. Amounts in `currency`, None where no costs are declared."""

    earliest: EdgeView
    preferred: EdgeView
    latest: EdgeView
    cost_now: float | None
    cost_week_later: float | None
    cost_run_to_failure: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class IssuedView:
    """A prognosis as it was frozen when it was told; `said_without` is when something older came to be known."""

    id: str
    serial: str
    target: str
    issued_at: Instant
    step_start: Instant
    twin_revision: int
    exposure: float
    unit: str
    basis: str
    refusal: str | None
    model: str
    plant_version: str
    mode: str | None
    duty_rate: float | None
    preferred_start: Instant | None
    rul: RulView | None
    used_life: float | None
    quantiles: tuple[float, ...]
    said_without: Instant | None
