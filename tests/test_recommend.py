"""What people read: plain words, every number with its unit, dates in the plant's zone."""

from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pdm.features.health import Fault
from pdm.plant import Asset, AssetClass, ExpectedLife, FailureMode, LifeStep, Limit, Plant, Sensor, Summary
from pdm.prognosis import LEVELS, Basis, Refusal
from pdm.prognosis.learned import AGE, OVERALL, Driver
from pdm.recommend import (
    Recommendation,
    alert_sentence,
    driver_texts,
    likely_text,
    readiness,
    recommendation,
    refusal_text,
    when_text,
)
from pdm.rules import Change, Intent, Severity
from pdm.rules.ruleset import (
    DepartureRule,
    FailureProbabilityRule,
    Rule,
    RulQuantileRule,
    SensorFaultRule,
    SensorLimitRule,
    SilentSensorRule,
)
from pdm.units import others
from pdm.windows import Bound, InterventionWindow
from pdm.windows.intervention import UNKNOWN_MODE

HOUR = 3_600_000
BERLIN = ZoneInfo("Europe/Berlin")
BEARING = FailureMode(
    name="radial",
    title="Radial bearing wear",
    action="replace radial bearing",
    parts=("6312-2Z",),
    skills=("fitter", "electrician"),
    crew=2,
    duration_ms=6 * HOUR,
)
IMPELLER = FailureMode(name="impeller", title="Impeller wear", limit=Limit("pressure", below=5.0))
PUMP = AssetClass(
    name="pump",
    title="Pump",
    sensors=(
        Sensor("temp", "degC", "bearing temperature"),
        Sensor("pressure", "bar", "discharge pressure"),
        Sensor("vibration", "mm/s", "vibration", summaries=(Summary.MEAN, Summary.MAX)),
    ),
    conditions=(),
    life_step=LifeStep("hour", HOUR),
    horizon=1000.0,
    notice_ms=48 * HOUR,
    failure_modes=(BEARING, IMPELLER),
    expected_life=ExpectedLife(2000.0, 500.0),
)
ASSET = Asset("8871-C", "pump", "PUMP-17", "gw/17", None)
PLANT = Plant(
    "Nord",
    "EUR",
    BERLIN,
    MappingProxyType({"pump": PUMP}),
    MappingProxyType({}),
    MappingProxyType({"8871-C": ASSET}),
    version="",
)
RISKY = FailureProbabilityRule(
    name="risky", title="Likely to fail soon", classes=("pump",), within=168.0, above=0.3, clear_below=0.2
)
HOT = SensorLimitRule(name="hot", title="Bearing too hot", classes=("pump",), sensor="temp", above=90.0, clear=85.0)
DROP = SensorLimitRule(name="drop", title="Low pressure", classes=("pump",), sensor="pressure", below=5.0, clear=6.0)
WRONG = SensorFaultRule(name="check-temp", title="Check this sensor", classes=("pump",), for_ms=0, sensor="temp")
SILENT = SilentSensorRule(name="silent", title="No readings", classes=("pump",), for_ms=2 * HOUR)
CHANGED = DepartureRule(name="changed", title="Pump has changed", classes=("pump",), above=1.0, clear=0.8)
DRIVERS = [
    Driver("temp", -120.0, 2.14, 40.0, 4.21),
    Driver(OVERALL, -60.0, np.nan, 0.0),
    Driver(AGE, -50.0, np.nan, 1120.0),
    Driver("pressure", -20.0, -1.5, 0.0),
    Driver("vibration_max", -10.0, 9.0, 4.0),
    Driver("vibration_mean", 30.0, 0.2, 0.0),
]


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


NOW = at("2026-11-22 12:00")
WINDOW = InterventionWindow(
    earliest_ms=at("2026-12-03 06:00"),
    earliest_probability=0.01,
    earliest_cost=4700.0,
    earliest_bound=Bound.WASTED_LIFE,
    preferred_ms=at("2026-12-04 06:00"),
    preferred_probability=0.03,
    preferred_cost=4600.0,
    preferred_bound=Bound.NONE,
    latest_ms=at("2026-12-08 06:00"),
    latest_probability=0.05,
    latest_cost=4790.0,
    latest_bound=Bound.RISK_CAP,
    cost_now=6200.0,
    cost_week_later=7900.0,
    cost_run_to_failure=20000.0,
)


def between(low: float, high: float) -> np.ndarray:
    """Four in five fail between these lives, each as likely as any other."""
    return np.maximum(low + (LEVELS - 0.1) / 0.8 * (high - low), 0.0)


def tell(
    rule: Rule = RISKY,
    target: str = "any",
    severity: Severity = Severity.PLAN,
    value: float = 0.34,
    limit: float = 0.3,
    **changed: Any,
) -> Recommendation:
    usual: dict[str, Any] = {
        "plant": PLANT,
        "asset": ASSET,
        "mode": BEARING,
        "intent": intent(value, limit, target, severity),
        "rule": rule,
        "prognosis": between(430.0, 830.0),
        "basis": Basis.LEARNED,
        "lives": 38,
        "duty_rate": 1.0,
        "window": WINDOW,
        "drivers": DRIVERS,
        "now_ms": NOW,
    }
    return recommendation(**usual | changed)


def intent(value: float, limit: float, target: str = "any", severity: Severity = Severity.PLAN) -> Intent:
    return Intent(Change.OPEN, 0, "", target, severity, {"value": value, "limit": limit})


def test_a_recommendation_says_what_wears_how_we_know_what_to_do_by_when_and_what_waiting_costs() -> None:
    assert tell().text.splitlines() == [
        "Radial bearing wear, likely 10-27 Dec (4 in 5).",
        "Likely to fail soon: 34 % risk of failing within 168 h (limit 30 %). "
        "Learned from 38 machines that ran to failure.",
        "Because: bearing temperature 4.2 °C (2.1 sd) above its own start, rising for about 40 h; age, 1,120 h used; "
        "discharge pressure 1.5 sd below its own start.",
        "Replace radial bearing: 6 h, crew of 2 (fitter and electrician), parts 6312-2Z, machine stopped.",
        "Best Fri 4 Dec 06:00, the cheapest start (3 % risk of failing before); "
        "not before Thu 3 Dec 06:00, at the latest Tue 8 Dec 06:00.",
        "Expected cost 4.6 k EUR at the best start; 6.2 k EUR now, 7.9 k EUR a week later, "
        "20.0 k EUR when run to failure.",
    ]
    assert tell().title == "PUMP-17: Radial bearing wear, likely 10-27 Dec (4 in 5)"


def test_a_forecast_of_the_declared_life_says_that_nothing_measured_enters() -> None:
    known = tell(basis=Basis.DECLARED_LIFE, lives=0, drivers=[]).how_we_know
    assert known.endswith(
        "From its age and the declared life of its class (2,000 h) alone; nothing measured on it enters."
    )


def test_few_lives_are_low_confidence() -> None:
    assert "7 machines that ran to failure (fewer than 10: low confidence)" in tell(lives=7).how_we_know


def test_without_declared_costs_no_amounts_are_shown() -> None:
    window = replace(WINDOW, preferred_cost=np.nan, cost_now=np.nan, cost_week_later=np.nan)
    assert tell(window=window).cost_of_waiting == ""
    assert "EUR" not in tell(window=window).text


def test_without_a_window_no_date_is_advised() -> None:
    assert tell(window=None).by_when == "No date yet: the best one lies beyond what the forecast can see."


def test_the_bound_of_the_preferred_start_is_named() -> None:
    capped = replace(WINDOW, preferred_bound=Bound.RISK_CAP, preferred_probability=0.05)
    urgent = replace(capped, preferred_probability=0.4)
    early = replace(WINDOW, preferred_bound=Bound.NOTICE)
    shifted = replace(WINDOW, preferred_bound=Bound.CALENDAR)
    texts = [when_text(PLANT, PUMP, window, NOW) for window in (capped, urgent, early, shifted)]
    assert "the last start below 5 % risk" in texts[0]
    assert texts[1] == "As soon as possible: Fri 4 Dec 06:00 is the first possible start, 40 % risk of failing before."
    assert "the first start after 2 days of notice" in texts[2]
    assert "the first start that the calendar allows" in texts[3]


def test_a_sensor_limit_names_the_sensor_and_the_failure_mode_that_declares_it() -> None:
    told = tell(DROP, "pressure", Severity.NOW, 4.2, 5.0)
    assert told.title == "PUMP-17: discharge pressure 4.2 bar (limit 5 bar)"
    assert told.what_wears == "Impeller wear is a possible cause."
    assert told.by_when == "At once."


def test_every_advice_names_the_rule_that_saw_it_and_what_it_saw() -> None:
    seen = [
        tell().seen,
        tell(DROP, "pressure", Severity.NOW, 4.2, 5.0).seen,
        tell(SILENT, "gw/17", Severity.SHIFT, 3 * HOUR, 2 * HOUR).seen,
    ]
    assert seen == [
        "Likely to fail soon: 34 % risk of failing within 168 h (limit 30 %).",
        "Low pressure: discharge pressure 4.2 bar (limit 5 bar).",
        "No readings: nothing heard for 3 h (limit 2 h).",
    ]


def test_an_action_that_is_not_declared_is_not_invented_but_asked_for() -> None:
    asks = "The plant file declares no action for this (it would be that of {}): judge what to do."
    hot = tell(HOT, "temp", Severity.WEEK, 92.3, 90.0)
    assert hot.what_to_do == asks.format("a failure mode with a limit on temp")
    assert hot.what_wears == ""
    assert tell(DROP, "pressure").what_to_do == asks.format("failure mode impeller")


def test_where_no_failure_mode_is_known_to_come_first_the_declared_actions_are_named() -> None:
    unknown = "Judge what to do: which failure mode comes first is not known ({})."
    bare = replace(PLANT, classes=MappingProxyType({"pump": replace(PUMP, failure_modes=())}))
    assert tell(mode=UNKNOWN_MODE).what_to_do == unknown.format("declared are: replace radial bearing")
    assert tell(mode=UNKNOWN_MODE, plant=bare).what_to_do == unknown.format("no action is declared")


def test_a_limit_is_not_put_off_to_the_cheapest_start_of_the_forecast() -> None:
    told = tell(DROP, "pressure", Severity.NOW, 4.2, 5.0)
    assert (told.by_when, told.cost_of_waiting, told.evidence) == ("At once.", "", ())


def test_a_silent_source_is_a_matter_of_cables_and_not_of_wear() -> None:
    told = tell(SILENT, "gw/17", Severity.SHIFT, 3 * HOUR, 2 * HOUR)
    assert told.title == "PUMP-17: nothing heard for 3 h (limit 2 h)"
    assert told.what_wears == ""
    assert told.what_to_do == "Check the gateway, the network and the power of gw/17."
    assert (told.by_when, told.evidence) == ("Within this shift.", ())


def test_a_departure_says_what_has_changed_and_that_nobody_knows_for_how_long_it_lasts() -> None:
    told = tell(CHANGED, "any", Severity.WEEK, 1.62, 1.0, prognosis=np.full(21, np.nan), basis=Basis.NONE)
    assert told.title == "PUMP-17: departs from its own early life, 1.6 times as far as healthy machines do (limit 1)"
    assert told.seen == "Pump has changed: 1.6 times as far as healthy machines do (limit 1)."
    assert told.how_we_know == "Learned from 38 machines of its class early in life."
    assert told.evidence[0] == "bearing temperature 4.2 °C (2.1 sd) above its own start, rising for about 40 h"
    assert told.what_to_do.startswith("Find out what has changed.")
    assert (told.by_when, told.cost_of_waiting) == ("Within a week.", "")


def test_each_kind_of_rule_reads_with_its_units() -> None:
    short = RulQuantileRule(name="", title="", classes=("pump",), level=0.5, below_steps=100.0, clear_steps=120.0)
    soon = RulQuantileRule(name="", title="", classes=("pump",), level=0.1, below_ms=72 * HOUR, clear_ms=96 * HOUR)
    assert alert_sentence(PUMP, short, intent(92.0, 100.0)) == "remaining life at the 50 % level 92 h (limit 100 h)"
    assert (
        alert_sentence(PUMP, soon, intent(50 * HOUR, 72 * HOUR)) == "date at the 10 % level 2 days ahead (limit 3 days)"
    )
    assert alert_sentence(PUMP, HOT, intent(92.34, 90.0)) == "bearing temperature 92.3 °C (limit 90 °C)"
    assert alert_sentence(PUMP, HOT, replace(intent(0, 0), facts={})) == "the life of this machine has ended"


@pytest.mark.parametrize(
    ("low", "high", "duty", "text"),
    [
        (430.0, 830.0, 1.0, "likely 10-27 Dec (4 in 5)"),
        (430.0, 830.0, 0.5, "likely 28 Dec-30 Jan 2027 (4 in 5)"),
        (20.0, 40.0, 1.0, "likely 23 Nov 08:00-24 Nov 04:00 (4 in 5)"),
        (430.0, 1500.0, 1.0, "not before 10 Dec (9 in 10)"),
        (900.0, 1500.0, 1.0, "more than 38 days"),
        (3000.0, 9000.0, 1.0, "more than 42 days"),
        (430.0, 830.0, np.nan, "likely 430-830 h (4 in 5)"),
        (3000.0, 9000.0, np.nan, "more than 1,000 h"),
    ],
)
def test_a_forecast_reads_as_what_is_likely(low: float, high: float, duty: float, text: str) -> None:
    assert likely_text(PUMP, BERLIN, NOW, between(low, high), duty) == text


def test_drivers_are_the_few_that_shorten_the_life_most() -> None:
    assert driver_texts(PUMP, DRIVERS[3:]) == (
        "discharge pressure 1.5 sd below its own start",
        "vibration (max) 9 sd above its own start, rising for about 4 h",
    )


def test_readiness_says_what_works_today_and_what_unlocks_the_next_step() -> None:
    undeclared = replace(PUMP, expected_life=None)
    rules = (RISKY, DROP, SILENT, replace(DROP, name="deep_drop", below=3.0))
    lines = [
        readiness(PUMP, rules, Basis.LEARNED, Refusal.NONE, 80, 80, 3),
        readiness(PUMP, rules, Basis.LEARNED, Refusal.NONE, 7, 7, 3),
        readiness(PUMP, rules, Basis.DECLARED_LIFE, Refusal.NONE, 0, 1, 3),
        readiness(undeclared, rules, Basis.NONE, Refusal.NO_MODEL, 0, 0, 3),
        readiness(undeclared, (SILENT,), Basis.NONE, Refusal.NO_MODEL, 0, 0, 3),
        readiness(PUMP, rules, Basis.NONE, Refusal.HISTORY_INCOMPLETE, 80, 80, 3),
        readiness(PUMP, rules, Basis.DECLARED_LIFE, Refusal.NONE, 0, 4, 3),
        readiness(PUMP, rules, Basis.DECLARED_LIFE, Refusal.NONE, 4, 4, 3),
        readiness(undeclared, (SILENT,), Basis.NONE, Refusal.TOO_FEW_FAILURES, 0, 1, 3, watched=12),
    ]
    needed = "3 recorded failures of its class, of which there are"
    assert lines == [
        ("forecast", "Forecast learned from 80 finished lives.", ""),
        ("forecast", "Forecast learned from 7 finished lives, low confidence.", "3 more finished lives"),
        (
            "declared",
            "Forecast from the declared life of its class (2,000 h, spread 500 h) and its age.",
            f"{needed} 1",
        ),
        (
            "watched",
            "Watched by limits on discharge pressure; no dates.",
            f"an expected life in the plant file, or {needed} 0",
        ),
        ("none", "Watched for silence; no dates.", f"an expected life in the plant file, or {needed} 0"),
        (
            "watched",
            "Watched by limits on discharge pressure; no dates.",
            refusal_text(Refusal.HISTORY_INCOMPLETE),
        ),
        (*lines[2][:2], "training on the 4 recorded failures of its class"),
        (*lines[2][:2], "more than the 4 finished lives, on which nothing learned was nearer"),
        (
            "watched",
            "Watched for departure from early life, learned from 12 machines, and for silence; no dates.",
            f"an expected life in the plant file, or {needed} 1",
        ),
    ]


def test_a_limit_of_the_rule_file_watches_a_class_without_failure_modes() -> None:
    bare = replace(PUMP, failure_modes=(), expected_life=None)
    line = readiness(bare, (HOT, DROP), Basis.NONE, Refusal.NO_MODEL, 0, 0, 3)
    assert line.level == "watched"
    assert line.today == "Watched by limits on bearing temperature and discharge pressure; no dates."


def test_every_refusal_says_what_would_lift_it() -> None:
    assert refusal_text(Refusal.NONE) == ""
    for refusal in set(Refusal) - {Refusal.NONE}:
        assert "lifts this" in refusal_text(refusal)


def check(fault: int, **changed: Any) -> list[str]:
    """What is told of a sensor that has been at fault since the morning."""
    facts = {"value": float(fault), "limit": 0.0, "since_ms": float(at("2026-11-22 06:00"))}
    wrong = replace(intent(0, 0, "temp", Severity.WEEK), facts=facts)
    return tell(WRONG, intent=wrong, **changed).text.splitlines()


def test_of_a_sensor_at_fault_people_read_what_is_wrong_since_when_and_what_to_check() -> None:
    assert check(Fault.STUCK) == [
        "Check this sensor: bearing temperature is stuck since Sun 22 Nov 06:00. "
        "What it says is left out of the forecast.",
        "Check whether it still measures, and whether the gateway sends an old value again and again. "
        "After a replacement or a calibration report sensor_replaced.",
        "Within a week.",
        "If it lasts, the forecast is refused.",
    ]


def test_of_noise_and_of_a_new_level_people_read_what_the_forecast_makes_of_them() -> None:
    noise, level = ("\n".join(check(fault)) for fault in (Fault.NOISE, Fault.LEVEL))
    assert "What it says still counts, no single value for much." in noise
    assert "The jump is taken off what it says, unless machines of its class jumped so before they failed." in level
    assert "refused" not in noise + level


def test_of_a_sensor_that_speaks_in_another_unit_people_read_which() -> None:
    number = Fault.UNIT_MISMATCH + [name for name, _ in others("degC")].index("degF")
    seen, do, *_ = check(number, prognosis=np.full(len(LEVELS), np.nan))
    assert "bearing temperature seems to speak in degF instead of degC since Sun 22 Nov 06:00" in seen
    assert seen.endswith("There is no forecast until it is sound.")
    assert do.startswith("Name degF where its readings are described, or undo the change of its unit.")
