"""Alerts open, rise and close; plant time, hysteresis and missing knowledge between them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.features.health import Fault
from pdm.plant import AssetClass, FailureMode, LifeStep, Limit, Sensor
from pdm.prognosis import LEVELS
from pdm.rules import Change, Intent, RuleMemory, Severity, Situation, evaluate
from pdm.rules.ruleset import (
    DepartureRule,
    FailureProbabilityRule,
    Rule,
    RulQuantileRule,
    SensorFaultRule,
    SensorLimitRule,
    SilentSensorRule,
)

HOUR = 3_600_000
NOW = 1_796_000_000_000
PUMP = AssetClass(
    name="pump",
    title="Pump",
    sensors=(Sensor("temp", "degC", "bearing temperature"), Sensor("flow", "m3/h", "flow")),
    conditions=(),
    life_step=LifeStep("hour", HOUR),
    horizon=1000.0,
    notice_ms=48 * HOUR,
    failure_modes=(FailureMode("bearing", "Bearing wear", limit=Limit("temp", above=95.0)),),
)
RISKY = FailureProbabilityRule(name="risky", title="", classes=("pump",), within=168.0, above=0.3, clear_below=0.2)
SHORT = RulQuantileRule(name="short", title="", classes=("pump",), level=0.5, below_steps=100.0, clear_steps=120.0)
SOON = RulQuantileRule(name="soon", title="", classes=("pump",), level=0.5, below_ms=200 * HOUR, clear_ms=240 * HOUR)
HOT = SensorLimitRule(name="hot", title="", classes=("pump",), sensor="temp", above=90.0, clear=85.0)
DRY = SensorLimitRule(name="dry", title="", classes=("pump",), sensor="flow", below=10.0, clear=12.0)
CHANGED = DepartureRule(name="changed", title="", classes=("pump",), above=1.0, clear=0.8)
WRONG = SensorFaultRule(name="wrong-temp", title="", classes=("pump",), sensor="temp", for_ms=3 * HOUR)
SILENT = SilentSensorRule(name="silent", title="", classes=("pump",), for_ms=2 * HOUR)


def situation(
    fails_within: float | list[float] = 1e6,
    at_ms: int = NOW,
    temp: float = 60.0,
    flow: float = 50.0,
    departure: float = np.nan,
    fault: Fault = Fault.NONE,
    *,
    doubted: bool = False,
) -> Situation:
    """Machines of which each life up to `fails_within` hours is as likely as any other; none longer."""
    lives = np.atleast_1d(np.asarray(fails_within, dtype=np.float64))
    count = len(lives)
    return Situation(
        asset_class=PUMP,
        now_ms=at_ms,
        source=np.array([f"gw/{row}" for row in range(count)], dtype=object),
        in_service=np.ones(count, dtype=bool),
        running=np.ones(count, dtype=bool),
        quantiles=lives[:, None] * LEVELS,
        duty_rate=np.ones(count),
        latest=np.tile([temp, flow], (count, 1)),
        departure=np.full(count, departure),
        faults=np.tile(np.array([fault, 0], dtype=np.int8), (count, 1)),
        doubted=np.tile([doubted or fault > 0, False], (count, 1)),
        last_reading_ms=np.full(count, at_ms - HOUR // 2),
    )


def play(rule: Rule, *turns: Situation, memory: RuleMemory | None = None) -> list[Intent]:
    """All that one rule tells over several ticks."""
    memory = memory or RuleMemory.none(len(turns[0]), 1)
    told: list[Intent] = []
    for turn in turns:
        memory, intents = evaluate([rule], turn, memory)
        told += intents
    return told


def changes(told: list[Intent]) -> list[tuple[str, int, str]]:
    return [(intent.change.value, intent.row, intent.severity.code) for intent in told]


def test_only_the_machines_above_the_probability_alarm_and_each_only_once() -> None:
    # P(fail within 168 h) = 168 / life: 0.42, 0.28 and 0.84; one in ten fails within 40 h and 20 h
    turn = situation([400.0, 600.0, 200.0])
    told = play(RISKY, turn, turn)
    assert changes(told) == [("open", 0, "now"), ("open", 2, "now")]
    assert (told[0].rule, told[0].target) == ("risky", "any")
    assert told[0].facts == pytest.approx({"value": 0.42, "limit": 0.3})


def test_an_open_alert_stays_open_between_its_two_limits() -> None:
    told = play(RISKY, situation(400.0), situation(600.0), situation(400.0), situation(900.0), situation(600.0))
    assert changes(told) == [("open", 0, "now"), ("close", 0, "none")]
    assert told[1].facts == pytest.approx({"value": 168 / 900, "limit": 0.3})


def test_a_condition_must_hold_for_its_time_without_a_break() -> None:
    rule = replace(RISKY, for_ms=3 * HOUR)
    bad = [situation(400.0, NOW + hour * HOUR) for hour in range(7)]
    good = situation(900.0, NOW + 3 * HOUR)
    assert not play(rule, bad[0], bad[2], good, bad[4], bad[6])
    assert changes(play(rule, *bad[:3])) == []
    assert changes(play(rule, *bad)) == [("open", 0, "now")]


def test_time_that_nobody_knows_anything_about_neither_breaks_nor_ends_a_condition() -> None:
    rule = replace(RISKY, for_ms=3 * HOUR)
    bad, later = situation(400.0), situation(400.0, NOW + 5 * HOUR)
    unknown = replace(later, quantiles=np.full((1, 21), np.nan))
    stopped = replace(later, running=np.zeros(1, dtype=bool))
    assert not play(rule, bad, unknown, stopped)
    assert changes(play(rule, bad, unknown, stopped, later)) == [("open", 0, "now")]


def test_a_lost_prognosis_does_not_close_an_alert() -> None:
    lost = replace(situation(), quantiles=np.full((1, 21), np.nan), duty_rate=np.full(1, np.nan))
    assert changes(play(RISKY, situation(400.0), lost)) == [("open", 0, "now")]


def test_a_stopped_machine_neither_alarms_nor_clears() -> None:
    stopped = np.zeros(1, dtype=bool)
    assert not play(HOT, replace(situation(temp=94.0), running=stopped))
    assert changes(play(HOT, situation(temp=94.0), replace(situation(temp=20.0), running=stopped))) == [
        ("open", 0, "week")
    ]


def test_a_departure_opens_at_the_level_of_the_alarm_and_clears_well_below() -> None:
    turns = [situation(departure=value) for value in (0.9, 1.1, 0.9, np.nan, 0.7)]
    assert changes(play(CHANGED, *turns)) == [("open", 0, "week"), ("close", 0, "none")]
    assert play(CHANGED, *turns)[0].facts == {"value": 1.1, "limit": 1.0}


@pytest.mark.parametrize(
    ("life", "severity"),
    # one in ten fails within a tenth of the life, of which 48 h are needed to get there
    [(480.0, "now"), (600.0, "shift"), (601.0, "week"), (2160.0, "week"), (2161.0, "plan")],
)
def test_severity_is_the_time_left_beyond_the_notice(life: float, severity: str) -> None:
    rule = replace(SHORT, level=0.5, below_steps=5000.0, clear_steps=6000.0)
    assert changes(play(rule, situation(life))) == [("open", 0, severity)]


def test_a_machine_that_runs_half_the_time_has_twice_the_time_left() -> None:
    rule = replace(SHORT, below_steps=5000.0, clear_steps=6000.0)
    told = play(rule, replace(situation(480.0), duty_rate=np.array([0.5])))
    assert changes(told) == [("open", 0, "week")]


def test_a_rise_in_severity_is_told_and_a_fall_is_not() -> None:
    rule = replace(SHORT, below_steps=5000.0, clear_steps=6000.0)
    told = play(rule, *(situation(life) for life in (3000.0, 1000.0, 3000.0, 1000.0, 400.0, 500.0)))
    assert changes(told) == [("open", 0, "plan"), ("rise", 0, "week"), ("rise", 0, "now")]


def test_an_alert_that_opens_again_starts_with_the_severity_of_that_day() -> None:
    rule = replace(SHORT, below_steps=1500.0, clear_steps=1600.0)
    told = play(rule, situation(400.0), situation(4000.0), situation(2500.0))
    assert changes(told) == [("open", 0, "now"), ("close", 0, "none"), ("open", 0, "plan")]


def test_a_short_remaining_life_can_be_asked_for_in_life_or_in_calendar_time() -> None:
    half_duty = replace(situation([180.0, 220.0]), duty_rate=np.array([0.5, 0.5]))
    assert [intent.row for intent in play(SHORT, half_duty)] == [0]
    assert [intent.row for intent in play(SOON, half_duty)] == [0]  # medians in 180 h and 220 h of plant time
    assert play(SOON, half_duty)[0].facts == pytest.approx({"value": 180 * HOUR, "limit": 200 * HOUR})
    assert changes(play(SOON, half_duty, replace(half_duty, quantiles=half_duty.quantiles * 1.4)))[1:] == [
        ("close", 0, "none")
    ]


def test_a_sensor_limit_alarms_about_the_sensor_and_at_once_beyond_the_limit_of_a_failure_mode() -> None:
    told = play(HOT, situation(temp=90.0), situation(temp=91.0), situation(temp=96.0), situation(temp=85.0))
    assert changes(told) == [("open", 0, "week"), ("rise", 0, "now"), ("close", 0, "none")]
    assert {intent.target for intent in told} == {"temp"}


def test_a_sensor_limit_can_be_a_lower_one() -> None:
    told = play(DRY, situation(flow=9.0), situation(flow=11.0), situation(flow=12.0))
    assert changes(told) == [("open", 0, "week"), ("close", 0, "none")]


def test_a_missing_value_crosses_no_limit() -> None:
    assert not play(HOT, situation(temp=np.nan))
    assert changes(play(HOT, situation(temp=94.0), situation(temp=np.nan))) == [("open", 0, "week")]


def test_a_silent_source_is_told_even_when_the_machine_stands_still_and_clears_with_a_reading() -> None:
    stopped = replace(situation(), running=np.zeros(1, dtype=bool))
    silent = replace(stopped, last_reading_ms=np.array([NOW - 2 * HOUR]))
    told = play(SILENT, stopped, silent, stopped)
    assert changes(told) == [("open", 0, "shift"), ("close", 0, "none")]
    assert (told[0].target, told[0].facts["value"]) == ("gw/0", 2 * HOUR)


def test_a_source_that_never_spoke_is_not_silent() -> None:
    assert not play(SILENT, replace(situation(), last_reading_ms=np.array([-1])))


def test_the_end_of_a_life_closes_its_alerts_and_opens_none() -> None:
    ended = replace(situation(400.0), in_service=np.zeros(1, dtype=bool), last_reading_ms=np.array([0]))
    assert not play(RISKY, ended) + play(SILENT, ended)
    told = play(RISKY, situation(400.0), ended, ended)
    assert changes(told) == [("open", 0, "now"), ("close", 0, "none")]
    assert told[1].facts == {}


def test_several_rules_keep_their_own_alerts() -> None:
    rules: list[Rule] = [RISKY, SHORT, HOT, SILENT]
    turn = situation([150.0, 2000.0], temp=91.0)
    memory, intents = evaluate(rules, turn, RuleMemory.none(2, 4))
    assert [(i.rule, i.row) for i in intents] == [("risky", 0), ("short", 0), ("hot", 0), ("hot", 1)]
    assert memory.open.tolist() == [[True, True, True, False], [False, False, True, False]]


def test_a_class_without_rules_is_no_problem() -> None:
    assert evaluate([], situation(), RuleMemory.none(1, 0))[1] == ()


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(50.0, 3000.0), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_alerts_open_and_close_in_turn_and_severity_only_rises_between(turns: list[tuple[float, bool, bool]]) -> None:
    memory = RuleMemory.none(1, 1)
    highest = Severity.NONE
    for hour, (life, known, running) in enumerate(turns):
        turn = situation(life if known else np.nan, NOW + hour * HOUR)
        turn = replace(turn, running=np.array([running]))
        was_open = bool(memory.open[0, 0])
        memory, intents = evaluate([RISKY], turn, memory)
        assert len(intents) <= 1
        for intent in intents:
            assert known
            assert running
            assert was_open == (intent.change != Change.OPEN)
            assert intent.severity > highest or intent.change == Change.CLOSE
            highest = intent.severity
        assert memory.severity[0, 0] == highest
        assert memory.open[0, 0] == (highest != Severity.NONE)


def test_a_sensor_at_fault_is_one_alert_however_often_it_comes_and_goes_until_it_has_been_sound_for_a_while() -> None:
    stuck, sound = {"fault": Fault.STUCK}, {"doubted": True}
    turns = [stuck, sound, stuck, stuck, stuck, sound, stuck, sound, {}, {}]
    told = play(WRONG, *(situation(at_ms=NOW + HOUR * hour, **turn) for hour, turn in enumerate(turns)))  # type: ignore[arg-type]
    assert changes(told) == [("open", 0, "week"), ("close", 0, "none")]
    assert told[0].facts == {"value": Fault.STUCK, "limit": Fault.NONE, "since_ms": NOW}
    assert told[0].target == "temp"


def test_a_sensor_at_fault_is_told_again_once_the_forecast_is_refused_for_it() -> None:
    going, refused = situation(fault=Fault.LEVEL, at_ms=NOW), situation(np.nan, NOW + 9 * HOUR, fault=Fault.LEVEL)
    told = play(WRONG, going, replace(going, now_ms=NOW + 3 * HOUR), refused)
    assert changes(told) == [("open", 0, "week"), ("rise", 0, "shift")]


def test_a_short_fault_and_one_of_another_sensor_are_no_alert_of_this_one() -> None:
    short = [situation(fault=Fault.SPIKE), situation(at_ms=NOW + HOUR), situation(at_ms=NOW + 9 * HOUR)]
    other = replace(situation(), faults=np.array([[0, 2]], dtype=np.int8), doubted=np.array([[False, True]]))
    assert play(WRONG, *short) == []
    assert play(WRONG, other, replace(other, now_ms=NOW + 9 * HOUR)) == []
