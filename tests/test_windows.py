"""The priced intervention window, against hand calculations under a uniform law of remaining life."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from pdm.degradation import Weibull
from pdm.plant import Plant
from pdm.plant.file import parse_plant
from pdm.prognosis import LEVELS, forecast
from pdm.windows import (
    COST_TOLERANCE,
    Bound,
    Prices,
    Terms,
    Windows,
    advice,
    long_run_cost_rate,
    materially_different,
    plan_windows,
)
from tests.small_plant import PLANT

HOUR = 3_600_000
NOW = 1_796_000_000_000
UNIFORM = LEVELS[None, :] * 100.0  # fails within the next 100 h, every hour as likely as any other
STARTS = NOW + np.arange(1, 80) * HOUR
TERMS = Terms(notice_ms=HOUR, horizon=79.0, risk_cap=0.5)

DAY_SHIFT_PLANT = PLANT.replace(
    "classes:", "calendars:\n  day: {shifts: [{days: mon-fri, from: '06:00', to: '14:00'}]}\nclasses:", 1
).replace("    notice: 24 h", "    notice: 24 h\n    calendar: day")
"""People work on the small plant's fans on weekdays from six to two."""


def prices(planned: float = 1.0, unplanned: float = 5.0, life: float = 0.05, count: int = 1) -> Prices:
    return Prices(np.full(count, planned), np.full(count, unplanned), np.full(count, life))


def plan(
    law: np.ndarray = UNIFORM,
    duty: float = 1.0,
    money: Prices | None = None,
    terms: Terms = TERMS,
    starts: np.ndarray = STARTS,
) -> Windows:
    return plan_windows(law, np.full(len(law), duty), money or prices(count=len(law)), terms, NOW, starts)


def hours(start_ms: int) -> float:
    return (start_ms - NOW) / HOUR


def test_the_preferred_start_is_where_a_later_one_would_cost_more_than_the_life_it_saves() -> None:
    # cost(t) = (1 - t/100) + 5 t/100 + 0.05 (100 - t)^2 / 200,   smallest where 4 = 0.05 (100 - t):   t = 20
    window = plan().row(0)
    assert window is not None
    assert hours(window.preferred_ms) == 20
    assert window.preferred_probability == pytest.approx(0.2)
    assert window.preferred_cost == pytest.approx(0.8 + 5 * 0.2 + 0.05 * 80**2 / 200, abs=1e-3)
    assert window.preferred_bound == Bound.NONE


def test_the_window_holds_the_starts_that_cost_a_twentieth_of_the_planned_cost_more_at_most() -> None:
    # cost(t) - cost(20) = 0.00025 (t - 20)^2 <= 0.05   =>   |t - 20| <= 14.1
    window = plan().row(0)
    assert window is not None
    assert (hours(window.earliest_ms), hours(window.latest_ms)) == (6, 34)
    assert (window.earliest_bound, window.latest_bound) == (Bound.WASTED_LIFE, Bound.COST)
    assert window.latest_probability == pytest.approx(0.34)


def test_now_a_week_later_and_run_to_failure_have_their_price() -> None:
    window = plan().row(0)
    assert window is not None
    assert window.cost_now == pytest.approx(1 + 0.05 * 100**2 / 200, abs=1e-3)
    assert window.cost_week_later == pytest.approx(5.0)  # it has failed by then
    assert window.cost_run_to_failure == 5.0


def test_a_machine_that_runs_half_the_time_has_twice_the_time() -> None:
    starts = NOW + np.arange(1, 160) * HOUR
    window = plan(duty=0.5, starts=starts).row(0)
    assert window is not None
    assert hours(window.preferred_ms) == 40


def test_when_the_best_start_is_beyond_the_horizon_it_is_too_early_to_name_a_date() -> None:
    assert plan(terms=Terms(HOUR, 20.0, 0.5)).row(0) is None
    assert plan(terms=Terms(HOUR, 21.0, 0.5)).row(0) is not None


def test_the_risk_cap_brings_the_preferred_start_forward_and_is_named() -> None:
    window = plan(terms=Terms(HOUR, 79.0, 0.1)).row(0)
    assert window is not None
    assert hours(window.preferred_ms) == hours(window.latest_ms) == 10
    assert (window.preferred_bound, window.latest_bound) == (Bound.RISK_CAP, Bound.RISK_CAP)


def test_when_even_the_first_start_exceeds_the_risk_cap_the_window_is_as_soon_as_possible() -> None:
    starts = STARTS[30:]
    window = plan(terms=Terms(31 * HOUR, 79.0, 0.1), starts=starts).row(0)
    assert window is not None
    assert hours(window.earliest_ms) == hours(window.preferred_ms) == hours(window.latest_ms) == 31
    assert window.preferred_bound == Bound.RISK_CAP


def test_the_first_start_is_bounded_by_the_notice_or_by_the_calendar() -> None:
    late = STARTS[24:]
    notice = plan(terms=Terms(25 * HOUR, 79.0, 0.5), starts=late)
    calendar = plan(terms=Terms(HOUR, 79.0, 0.5), starts=late)
    assert hours(notice.preferred_ms[0]) == 25
    assert (notice.preferred_bound[0], notice.earliest_bound[0]) == (Bound.NOTICE, Bound.NOTICE)
    assert (calendar.preferred_bound[0], calendar.earliest_bound[0]) == (Bound.CALENDAR, Bound.CALENDAR)


def test_without_prices_the_risk_cap_alone_makes_the_window() -> None:
    window = plan(money=prices(np.nan, np.nan, np.nan), terms=Terms(HOUR, 79.0, 0.5)).row(0)
    assert window is not None
    assert (hours(window.earliest_ms), hours(window.preferred_ms), hours(window.latest_ms)) == (10, 50, 50)
    assert window.preferred_bound == Bound.RISK_CAP
    assert np.isnan([window.preferred_cost, window.cost_now, window.cost_week_later]).all()


def test_without_prices_and_risk_there_is_no_window() -> None:
    assert plan(money=prices(np.nan, np.nan, np.nan), terms=Terms(HOUR, 40.0, 0.5)).row(0) is None


def test_a_machine_without_prognosis_or_without_duty_gets_no_window_and_disturbs_nobody() -> None:
    laws = np.concatenate([np.full((1, 21), np.nan), UNIFORM, UNIFORM, UNIFORM])
    duty = np.array([1.0, np.nan, 0.0, 1.0])
    windows = plan_windows(laws, duty, prices(count=4), TERMS, NOW, STARTS)
    assert [windows.row(row) is None for row in range(4)] == [True, True, True, False]
    assert windows.preferred_bound.tolist() == [0, 0, 0, 0]


def test_when_nobody_ever_works_there_is_no_window() -> None:
    assert plan(starts=STARTS[:0]).row(0) is None


def test_a_life_without_wear_is_best_run_to_failure() -> None:
    # hazard (unplanned - planned) < g = unplanned / mean, at every age
    life = Weibull(1.0, 1000.0)
    rate = long_run_cost_rate(life, 1.0, 5.0)
    assert rate == pytest.approx(5.0 / 1000.0)
    starts = NOW + np.arange(1, 150) * 5 * HOUR
    law = life.remaining(0.0, LEVELS)[None, :]
    assert plan(law, money=prices(life=rate), terms=Terms(HOUR, 700.0, 0.9), starts=starts).row(0) is None


def test_the_long_run_cost_rate_matches_a_published_example() -> None:
    # M. Reid, reliability (Python library), optimal_replacement_time: preventive 1, corrective 5, Weibull scale 1000
    # and shape 2.5, replaced as new: 0.0035 per unit of time, at 493.19
    life = Weibull(2.5, 1000.0)
    rate = long_run_cost_rate(life, 1.0, 5.0)
    survival = float(life.survival(493.19))
    assert round(rate, 4) == 0.0035
    assert rate == pytest.approx((survival + 5 * (1 - survival)) / quad(life.survival, 0, 493.19)[0], rel=1e-6)


def test_a_planned_stop_as_dear_as_a_failure_is_never_worth_it() -> None:
    life = Weibull(3.0, 1000.0)
    assert long_run_cost_rate(life, 5.0, 5.0) == pytest.approx(5.0 / life.mean)


def test_a_window_changes_materially_by_more_than_a_day_or_by_its_risk_or_by_vanishing() -> None:
    window, none = plan(), Windows.none(1)
    shift = np.array([24 * HOUR])
    within_a_day = replace(window, preferred_probability=np.array([0.3]), latest_ms=window.latest_ms + shift)
    a_day_and_more = replace(window, latest_ms=window.latest_ms + shift + 1)
    same_odds, other_odds = (replace(window, preferred_probability=np.array([p])) for p in (0.3, 0.7))
    same = replace(window, preferred_probability=np.array([0.21]), preferred_cost=np.array([9.9]))
    assert [bool(materially_different(same, other, NOW)[0]) for other in (within_a_day, same_odds)] == [False, False]
    assert [bool(materially_different(same, other, NOW)[0]) for other in (a_day_and_more, other_odds)] == [True, True]
    assert [bool(materially_different(none, other, NOW)[0]) for other in (none, window)] == [False, True]


def test_what_was_published_stays_where_nothing_material_changed() -> None:
    both = plan(law=np.concatenate([UNIFORM, UNIFORM]))
    kept = Windows.none(2).replaced(np.array([True, False]), both)
    assert [kept.row(row) is None for row in range(2)] == [False, True]
    assert kept.take(np.array([0])).row(0) == both.row(0)


def windows_of_fans(plant: Plant, duty_rate: list[float]) -> Windows:
    """Windows of fans that fail within the next 100 h of running, each hour as likely as any other."""
    count, fan = len(duty_rate), plant.classes["fan"]
    prognosis = forecast.empty(fan, count)
    prognosis.quantiles[:] = UNIFORM
    return advice.windows_of(plant, fan, None, prognosis, np.array(duty_rate), NOW)


def test_a_class_at_rest_has_no_date_however_little_duty_is_left_of_its_last_run() -> None:
    plant = parse_plant(DAY_SHIFT_PLANT)
    for duty in (1e-6, 1e-9, 1e-12, 1e-300):
        assert windows_of_fans(plant, [duty, duty]).row(0) is None


def test_machines_at_rest_do_not_coarsen_the_dates_of_one_that_runs() -> None:
    alone = windows_of_fans(parse_plant(DAY_SHIFT_PLANT), [1.0])
    among = windows_of_fans(parse_plant(DAY_SHIFT_PLANT), [1.0, 1e-7, 1e-7, 1e-7])
    assert among.row(0) == alone.row(0) is not None


@pytest.mark.parametrize("duty", [1.0, 0.1, 0.01, 0.003, 1e-4])
def test_a_bounded_number_of_starts_is_compared_however_slowly_a_class_lives(
    monkeypatch: pytest.MonkeyPatch, duty: float
) -> None:
    compared: list[int] = []

    def counted(*arguments: Any) -> Windows:
        compared.append(len(arguments[-1]))
        return plan_windows(*arguments)

    monkeypatch.setattr(advice, "plan_windows", counted)
    for text in (PLANT, DAY_SHIFT_PLANT):
        windows_of_fans(parse_plant(text), [duty])
    assert 0 < max(compared) <= advice.CANDIDATES


def test_the_costs_of_the_only_failure_mode_count_even_where_no_mode_is_known_to_come_first() -> None:
    of_class = "    costs: {planned: 1000, unplanned: 8000}\n"
    of_mode = PLANT.replace(of_class, "").replace("belt,", "belt, costs: {planned: 1000, unplanned: 8000},")
    assert windows_of_fans(parse_plant(of_mode), [1.0]).row(0) == windows_of_fans(parse_plant(PLANT), [1.0]).row(0)
    assert windows_of_fans(parse_plant(of_mode), [1.0]).cost_run_to_failure[0] == 8000.0


TWO_MODES_PLANT = DAY_SHIFT_PLANT.replace(
    "failure_modes:\n", "failure_modes:\n      lube: {title: Lubrication, action: grease, duration: 30 min}\n"
).replace("Replace the belt,", "Replace the belt, duration: 7 h,")
"""Greasing takes half an hour, a belt nearly the whole shift."""


def test_each_machine_starts_when_the_job_of_its_likely_mode_is_done_within_the_shift() -> None:
    plant = parse_plant(TWO_MODES_PLANT)
    fan, count = plant.classes["fan"], 4
    prognosis = forecast.empty(fan, count)
    prognosis.quantiles[:] = UNIFORM
    prognosis.mode[:] = [[0.9, 0.1], [0.1, 0.9], [np.nan, np.nan], [0.8, 0.2]]
    now = 1_796_025_600_000  # Monday 2026-11-30 08:00 UTC: from 08:00 on Tuesday on
    windows = advice.windows_of(plant, fan, None, prognosis, np.ones(count), now)
    first = [(start - now) / HOUR for start in windows.earliest_ms.tolist()]
    assert first == [24, 46, 24, 24]  # grease on Tuesday at eight; the belt on Wednesday at six; 4 h of inspection
    assert windows.earliest_bound.tolist() == [Bound.NOTICE, Bound.CALENDAR, Bound.NOTICE, Bound.NOTICE]
    latest = (windows.latest_ms % (24 * HOUR)) / HOUR
    assert 6 <= latest[1] <= 7


@settings(deadline=None)
@given(
    scale=st.floats(20.0, 5000.0),
    shape=st.floats(0.7, 8.0),
    duty=st.floats(0.05, 1.0),
    unplanned=st.floats(1.0, 20.0),
    cap=st.floats(0.01, 0.9),
)
def test_a_window_keeps_its_order_its_tolerance_and_its_risk(
    scale: float, shape: float, duty: float, unplanned: float, cap: float
) -> None:
    life = Weibull(shape, scale)
    laws = life.remaining(np.array([[0.0], [scale / 2], [scale]]), LEVELS)
    money = prices(1.0, unplanned, long_run_cost_rate(life, 1.0, unplanned), count=3)
    starts = NOW + np.arange(48, 48 + 6 * 150, 6) * HOUR
    terms = Terms(48 * HOUR, 700.0, cap)
    windows = plan_windows(laws, np.full(3, duty), money, terms, NOW, starts)
    for row in range(3):
        window = windows.row(row)
        if window is None:
            continue
        assert window.earliest_ms <= window.preferred_ms <= window.latest_ms
        assert {window.earliest_ms, window.preferred_ms, window.latest_ms} <= set(starts.tolist())
        dearest = max(window.earliest_cost, window.latest_cost)
        assert window.preferred_cost - 1e-9 <= dearest <= window.preferred_cost + COST_TOLERANCE + 1e-9
        assert window.latest_probability <= cap + 1e-9 or window.preferred_ms == starts[0]


def test_a_cohort_of_one_gets_the_same_window() -> None:
    generator = np.random.default_rng(7)
    laws = np.sort(generator.gamma(2.0, 200.0, (40, 21)), axis=1)
    together = plan(laws)
    for row in range(40):
        assert plan(laws[row : row + 1]).row(0) == together.row(row)
