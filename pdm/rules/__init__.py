"""Which alerts open, rise and close: the rules of a class, evaluated on all its machines at once.

A rule is judged only where something is known: not while a machine stands still (except for its silence), not without
a prognosis or a value. Where it is not judged everything stays as it was: nothing opens, nothing
closes, and the time for which the condition has held goes on. Between the limit at which a rule holds and the one at
which it clears an open alert stays open. A machine whose life has ended has no open alert.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.durations import HOUR_MS
from pdm.features.health import Fault
from pdm.plant import ANY_TARGET, AssetClass, Limit
from pdm.prognosis import LEVELS
from pdm.prognosis.quantiles import failure_probability, quantile
from pdm.rules.ruleset import (
    DepartureRule,
    FailureProbabilityRule,
    Rule,
    RulQuantileRule,
    SensorFaultRule,
    SensorLimitRule,
    SilentSensorRule,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

EARLY = int(np.argmin(np.abs(LEVELS - 0.1)))
"""Severity counts the time until this quantile of the remaining life: one machine in ten fails earlier."""


class Severity(IntEnum):
    """How soon somebody must act: the time that is left beyond the notice period. Its code is the lower-case name."""

    NONE = 0  # no alert
    PLAN = 1
    WEEK = 2  # seven days or less
    SHIFT = 3  # twelve hours or less
    NOW = 4  # nothing is left

    @property
    def code(self) -> str:
        return self.name.lower()


class Change(StrEnum):
    """What happens to an alert."""

    OPEN = "open"
    RISE = "rise"  # in severity: told again
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Situation:
    """A class of machines as rules see it.

    Attributes:
        now_ms: plant time.
        source: `[n]` object array of source names.
        in_service: `[n]` whether its life goes on.
        running: `[n]` whether it ran in its latest step.
        quantiles: `[n, 21]` remaining life [life steps], NaN where refused.
        duty_rate: `[n]` life used per hour of plant time [life steps/h], NaN before it is known.
        latest: `[n, k]` columns of the latest step, named by `asset_class.column_names`.
        departure: `[n]` how far it has departed from its own early life, 1 at the level of the alarm; NaN if unknown.
        faults: `[n, k]` what is wrong with the sensor behind each column, see `pdm.features.health.Fault`.
        doubted: `[n, k]` whether anything is or was so lately.
        last_reading_ms: `[n]`, -1 before any.
    """

    asset_class: AssetClass
    now_ms: int
    source: NDArray[Any]
    in_service: Flags
    running: Flags
    quantiles: Floats
    duty_rate: Floats
    latest: Floats
    departure: Floats
    faults: NDArray[np.int8]
    doubted: Flags
    last_reading_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True)
class RuleMemory:
    """What the tick before left, one column a rule.

    Attributes:
        pending_ms: `[n, r]` plant time since when the condition holds, -1 if it does not.
        open: `[n, r]` whether an alert is open.
        severity: `[n, r]` int8, highest `Severity` of the open alert so far.
    """

    pending_ms: NDArray[np.int64]
    open: Flags
    severity: NDArray[np.int8]

    @staticmethod
    def none(machines: int, rules: int) -> "RuleMemory":
        """Nothing has happened yet."""
        shape = (machines, rules)
        return RuleMemory(np.full(shape, -1, dtype=np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.int8))


@dataclass(frozen=True, slots=True)
class Intent:
    """One change of one alert, to be applied where people's own changes are known.

    Attributes:
        row: of the machine.
        rule: its name.
        target: `any`, the step column of a sensor limit, the sensor at fault, or the silent source.
        severity: after the change.
        facts: the figure that was judged (`value`), the limit that it crossed (`limit`), both in the terms of the rule
            (life steps, probability, the sensor's unit, levels of the alarm, milliseconds); of a sensor the number of
            its fault, and since when it has had one (`since_ms`, plant time). Empty where the machine's life has ended.
    """

    change: Change
    row: int
    rule: str
    target: str
    severity: Severity
    facts: Mapping[str, float]


def evaluate(rules: Sequence[Rule], situation: Situation, memory: RuleMemory) -> tuple[RuleMemory, tuple[Intent, ...]]:
    """What the rules of a class say now: the memory for the next tick, and the few alerts that change."""
    if not rules:
        return memory, ()
    said = _joined([_judge(rule, situation) for rule in rules])
    # a silence has lasted long enough as soon as its rule holds
    wait_ms = np.array([0 if isinstance(rule, SilentSensorRule) else rule.for_ms for rule in rules])
    holding_ms = np.where(memory.pending_ms < 0, situation.now_ms, memory.pending_ms)
    ended = ~situation.in_service[:, None]
    pending_ms = np.where(said.judged | ended, np.where(said.holds, holding_ms, -1), memory.pending_ms)
    opens = said.holds & ~memory.open & (situation.now_ms - pending_ms >= wait_ms)
    rises = said.judged & ~said.clear & memory.open & (said.severity > memory.severity)
    closes = (said.clear | ended) & memory.open
    severity = np.where(opens | rises, said.severity, np.where(closes, Severity.NONE, memory.severity)).astype(np.int8)
    intents = tuple(
        Intent(
            change=change,
            row=int(row),
            rule=rules[column].name,
            target=target_of(rules[column], str(situation.source[row])),
            severity=Severity(severity[row, column]),
            facts=_facts(said, row, column) | _since(rules[column], int(holding_ms[row, column])),
        )
        for change, changed in ((Change.OPEN, opens), (Change.RISE, rises), (Change.CLOSE, closes))
        for row, column in np.argwhere(changed)
    )
    return RuleMemory(pending_ms, (memory.open | opens) & ~closes, severity), intents


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What one rule says of all machines `[n]`, or all rules of all machines `[n, r]`.

    Attributes:
        judged: whether it says anything; `holds` and `clear` are false otherwise.
        value: the figure that was compared.
        limit: what it was compared with, one number a rule.
    """

    judged: Flags
    holds: Flags
    clear: Flags
    value: Floats
    severity: NDArray[np.int8]
    limit: Any


def _joined(judgements: Sequence[_Judgement]) -> _Judgement:
    """One column a rule."""
    names = [field.name for field in fields(_Judgement)]
    return _Judgement(**{name: np.stack([getattr(said, name) for said in judgements], axis=-1) for name in names})


def _judge(rule: Rule, situation: Situation) -> _Judgement:
    match rule:
        case RulQuantileRule():
            return _judge_quantile(rule, situation)
        case FailureProbabilityRule():
            return _judge_probability(rule, situation)
        case SensorLimitRule():
            return _judge_sensor(rule, situation)
        case DepartureRule():
            return _judge_departure(rule, situation)
        case SensorFaultRule():
            return _judge_fault(rule, situation)
        case SilentSensorRule():
            return _judge_silence(rule, situation)


def _judge_quantile(rule: RulQuantileRule, situation: Situation) -> _Judgement:
    value = quantile(situation.quantiles, rule.level)
    if rule.below_ms is not None:
        value = _plant_time_ms(value, situation.duty_rate)
    below, clear = _limit_and_clear(rule)
    judged = _is_judged(situation, value)
    severity = _severity_of_life(situation)
    return _Judgement(judged, judged & (value < below), judged & (value >= clear), value, severity, below)


def _judge_probability(rule: FailureProbabilityRule, situation: Situation) -> _Judgement:
    value = failure_probability(situation.quantiles, rule.within)
    judged = _is_judged(situation, value)
    holds, clear = judged & (value > rule.above), judged & (value < rule.clear_below)
    return _Judgement(judged, holds, clear, value, _severity_of_life(situation), rule.above)


def _judge_sensor(rule: SensorLimitRule, situation: Situation) -> _Judgement:
    value = situation.latest[:, situation.asset_class.column_names.index(rule.sensor)]
    judged = _is_judged(situation, value)
    if rule.above is not None:
        limit, holds, clear = rule.above, judged & (value > rule.above), judged & (value <= rule.clear)
    else:
        limit = np.nan if rule.below is None else rule.below
        holds, clear = judged & (value < limit), judged & (value >= rule.clear)
    severity = np.full(len(value), Severity.WEEK, dtype=np.int8)
    for mode in situation.asset_class.failure_modes:
        if mode.limit is not None and mode.limit.sensor == rule.sensor:
            severity[_crossed(mode.limit, value)] = Severity.NOW
    return _Judgement(judged, holds, clear, value, severity, limit)


def _judge_departure(rule: DepartureRule, situation: Situation) -> _Judgement:
    value = situation.departure
    judged = _is_judged(situation, value)
    severity = np.full(len(value), Severity.WEEK, dtype=np.int8)
    return _Judgement(judged, judged & (value > rule.above), judged & (value < rule.clear), value, severity, rule.above)


def _judge_fault(rule: SensorFaultRule, situation: Situation) -> _Judgement:
    mine = [number for number, column in enumerate(situation.asset_class.columns) if column.sensor == rule.sensor]
    fault, doubted = situation.faults[:, mine].max(axis=1), situation.doubted[:, mine].any(axis=1)
    at_fault = fault != Fault.NONE
    # while it comes and goes nothing changes, and the time goes on
    judged = situation.in_service & situation.running & (at_fault | ~doubted)
    unknown = np.isnan(situation.quantiles[:, 0])
    severity = np.where(unknown, Severity.SHIFT, Severity.WEEK).astype(np.int8)
    return _Judgement(judged, judged & at_fault, judged & ~at_fault, fault.astype(np.float64), severity, Fault.NONE)


def _judge_silence(rule: SilentSensorRule, situation: Situation) -> _Judgement:
    silent_ms = (situation.now_ms - situation.last_reading_ms).astype(np.float64)
    judged = situation.in_service & (situation.last_reading_ms >= 0)
    holds = judged & (silent_ms >= rule.for_ms)
    severity = np.full(len(holds), Severity.SHIFT, dtype=np.int8)
    return _Judgement(judged, holds, judged & ~holds, silent_ms, severity, rule.for_ms)


def _facts(said: _Judgement, row: int, column: int) -> dict[str, float]:
    if not said.judged[row, column]:
        return {}
    return {"value": float(said.value[row, column]), "limit": float(said.limit[column])}


def _since(rule: Rule, holding_ms: int) -> dict[str, float]:
    return {"since_ms": float(holding_ms)} if isinstance(rule, SensorFaultRule) else {}


def _is_judged(situation: Situation, value: Floats) -> Flags:
    return situation.in_service & situation.running & ~np.isnan(value)


def _limit_and_clear(rule: RulQuantileRule) -> tuple[float, float]:
    """In life steps or in milliseconds, whichever the rule is written in; NaN never holds nor clears."""
    limits = (rule.below_steps, rule.clear_steps) if rule.below_ms is None else (rule.below_ms, rule.clear_ms)
    below, clear = (np.nan if limit is None else float(limit) for limit in limits)
    return below, clear


def _plant_time_ms(life: Floats, duty_rate: Floats) -> Floats:
    """How long a life lasts at the duty of late `[n]` [ms]; NaN where no duty is known, or none is left."""
    rate = np.where(duty_rate > 0, duty_rate, np.nan)
    return life / rate * HOUR_MS


def _severity_of_life(situation: Situation) -> NDArray[np.int8]:
    """Severity by the time that is left until quantile `EARLY`, beyond the notice period; `PLAN` where nobody knows."""
    left_ms = _plant_time_ms(situation.quantiles[:, EARLY], situation.duty_rate)
    hours = (left_ms - situation.asset_class.notice_ms) / HOUR_MS
    steps = [hours <= 0, hours <= 12, hours <= 7 * 24]
    return np.select(steps, [Severity.NOW, Severity.SHIFT, Severity.WEEK], Severity.PLAN).astype(np.int8)


def _crossed(limit: Limit, value: Floats) -> Flags:
    above = np.inf if limit.above is None else limit.above
    below = -np.inf if limit.below is None else limit.below
    return (value > above) | (value < below)


def target_of(rule: Rule, source: str) -> str:
    """What an alert of this rule is about, on a machine behind this source."""
    match rule:
        case SensorLimitRule() | SensorFaultRule():
            return rule.sensor
        case SilentSensorRule():
            return source
        case _:
            return ANY_TARGET
