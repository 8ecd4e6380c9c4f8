"""One prognosis, one window, in the form that people and systems read: dates, risks and words from stored columns."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pdm.durations import CENTURY_MS, DAY_MS, HOUR_MS
from pdm.plant import ANY_TARGET, AssetClass, Plant
from pdm.plant.calendars import working_time
from pdm.prognosis import LEVELS, MEDIAN, Basis, Prognosis, Refusal
from pdm.prognosis.quantiles import failure_probability
from pdm.recommend import EARLY, LATE, likely_text, refusal_text
from pdm.web.shapes import EdgeView, ModeView, PrognosisView, QuantileView, RiskView, RulView, WindowView
from pdm.windows import Bound, Windows


class Until(NamedTuple):
    """A named time that a risk is asked for."""

    name: str
    at_ms: int


def known(value: float) -> float | None:
    """The number, or None where it is not one."""
    return float(value) if math.isfinite(value) else None


def instant(at_ms: int) -> int | None:
    """The stored time, or None where -1 says that there is none."""
    return int(at_ms) if at_ms >= 0 else None


def usual_times(plant: Plant, asset_class: AssetClass, at_ms: int) -> list[Until]:
    """The times that people ask about first: the shifts, the notice period, a day, a week."""
    stretches = working_time(plant.calendar_of(asset_class), plant.time_zone, at_ms, at_ms + 8 * DAY_MS)
    ends = [Until("end of shift", int(end)) for start, end in stretches if start <= at_ms < end]
    starts = [Until("next manned shift", int(start)) for start, _ in stretches if start > at_ms]
    shifts = [*ends[:1], *starts[:1]] if asset_class.calendar else []
    fixed = [
        Until("notice", at_ms + asset_class.notice_ms),
        Until("day", at_ms + DAY_MS),
        Until("week", at_ms + 7 * DAY_MS),
    ]
    return shifts + fixed


def prognosis_view(
    asset_class: AssetClass,
    zone: ZoneInfo,
    at_ms: int,
    prognosis: Prognosis,
    row: int,
    duty_rate: float,
    until: Sequence[Until] = (),
) -> PrognosisView:
    """The prognosis of one row of a cohort.

    Args:
        at_ms: the plant time that it counts from.
        duty_rate: life used per hour of plant time [life steps/h], NaN where unknown.
    """
    quantiles = prognosis.quantiles[row]
    refusal = Refusal(int(prognosis.refusal[row]))
    unit = asset_class.life_step.unit
    speaks = refusal == Refusal.NONE
    dates = [date_of(life, duty_rate, at_ms, asset_class.horizon) if speaks else None for life in quantiles.tolist()]
    modes = modes_of(asset_class, prognosis.mode[row], speaks)
    return PrognosisView(
        target=ANY_TARGET,
        text=in_words(asset_class, zone, at_ms, quantiles, duty_rate, refusal),
        made_at=at_ms,
        unit=unit,
        basis=Basis(int(prognosis.basis[row])).name.lower(),
        refusal=None if speaks else refusal.code,
        refusal_text=None if speaks else refusal_text(refusal),
        rul=rul_of(quantiles.tolist(), unit),
        likely_from=dates[EARLY],
        likely_until=dates[LATE],
        median_at=dates[MEDIAN],
        horizon=asset_class.horizon,
        beyond_horizon=known(1.0 - _probability(quantiles, asset_class.horizon)),
        duty_rate=known(duty_rate),
        likely_mode=modes[0] if modes else None,
        modes=tuple(modes),
        risks=tuple(risks(quantiles, duty_rate, at_ms, until)),
        quantiles=tuple(map(QuantileView, LEVELS.tolist(), quantiles.tolist(), dates)) if speaks else (),
    )


def risks(quantiles: NDArray[np.float64], duty_rate: float, at_ms: int, until: Iterable[Until]) -> list[RiskView]:
    """The probability of failing before each time, under the usual duty."""
    lives = [duty_rate * max(time.at_ms - at_ms, 0) / HOUR_MS for time in until]
    return [
        RiskView(time.name, time.at_ms, known(_probability(quantiles, life)))
        for time, life in zip(until, lives, strict=True)
    ]


def date_of(life: float, duty_rate: float, at_ms: int, horizon: float) -> int | None:
    """When this much life has passed, None beyond the horizon or where the duty says nothing."""
    if not (duty_rate > 0 and life <= horizon) or life / duty_rate * HOUR_MS > CENTURY_MS:
        return None
    return at_ms + round(life / duty_rate * HOUR_MS)


def rul_of(quantiles: Sequence[float | None], unit: str) -> RulView | None:
    """Median and four-in-five band of 21 quantiles, None where refused."""
    low, middle, high = (quantiles[index] for index in (EARLY, MEDIAN, LATE))
    if low is None or middle is None or high is None or math.isnan(middle):
        return None
    return RulView(low, middle, high, unit)


def window_view(windows: Windows, row: int, currency: str) -> WindowView | None:
    """The window of one row, None where there is none."""
    window = windows.row(row)
    if window is None:
        return None

    def edge(name: str) -> EdgeView:
        return EdgeView(
            start=getattr(window, f"{name}_ms"),
            failure_probability=known(getattr(window, f"{name}_probability")),
            cost=known(getattr(window, f"{name}_cost")),
            bound=Bound(getattr(window, f"{name}_bound")).code,
        )

    return WindowView(
        earliest=edge("earliest"),
        preferred=edge("preferred"),
        latest=edge("latest"),
        cost_now=known(window.cost_now),
        cost_week_later=known(window.cost_week_later),
        cost_run_to_failure=known(window.cost_run_to_failure),
        currency=currency,
    )


def _probability(quantiles: NDArray[np.float64], life: float) -> float:
    """P(T <= life)."""
    return float(failure_probability(quantiles[None, :], np.array([life]))[0])


def modes_of(asset_class: AssetClass, probabilities: NDArray[np.float64], speaks: bool) -> list[ModeView]:
    """The failure modes, the likeliest first; the only one of a class needs no probability to be named."""
    declared = asset_class.failure_modes
    if not speaks or (np.isnan(probabilities).all() and len(declared) != 1):
        return []
    found = [
        ModeView(mode.name, mode.title or mode.name, known(p))
        for mode, p in zip(declared, probabilities.tolist(), strict=True)
    ]
    return sorted(found, key=lambda mode: -(mode.probability or 0.0))


def in_words(
    asset_class: AssetClass,
    zone: ZoneInfo,
    at_ms: int,
    quantiles: NDArray[np.float64],
    duty_rate: float,
    refusal: Refusal,
) -> str:
    """What a page says of a prognosis: the same words that people are told."""
    if refusal != Refusal.NONE:
        return f"no forecast: {refusal.code.replace('_', ' ')}"
    return likely_text(asset_class, zone, at_ms, quantiles, duty_rate)
