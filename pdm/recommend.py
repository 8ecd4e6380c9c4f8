"""What to do, in plain words: what wears, how we know, what to do, by when, what waiting costs.

The same words go to people's phones, to the pages and to the API. Four in five is the band between the 10 % and the
90 % quantile; a date says what is likely, never that something "fails (80 %)".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pdm import words
from pdm.durations import CENTURY_MS, HOUR_MS
from pdm.features.health import Fault
from pdm.features.told_units import told_in
from pdm.plant import Asset, AssetClass, ExpectedLife, FailureMode, Plant
from pdm.prognosis import LEVELS, MEDIAN, Basis, Refusal
from pdm.prognosis.learned import AGE, OVERALL, Driver
from pdm.rules import Intent, Severity
from pdm.rules.ruleset import (
    DepartureRule,
    FailureProbabilityRule,
    Rule,
    RulQuantileRule,
    SensorFaultRule,
    SensorLimitRule,
    SilentSensorRule,
)
from pdm.windows import Bound, InterventionWindow
from pdm.windows.intervention import UNKNOWN_MODE

EARLY, LATE = int(np.argmin(np.abs(LEVELS - 0.1))), int(np.argmin(np.abs(LEVELS - 0.9)))
"""Indices in `LEVELS` of the band that holds four in five."""

MOST_DRIVERS = 3
"""How many reasons a person reads before deciding."""

FEW_LIVES = 10
"""Learned from fewer finished lives than this, a forecast is marked as of low confidence."""


_IN_TIME = {
    Severity.NOW: "At once",
    Severity.SHIFT: "Within this shift",
    Severity.WEEK: "Within a week",
    Severity.PLAN: "With the next planned stop",
}
_REFUSALS = {
    Refusal.NO_READINGS: "no life step with readings has closed yet; the first one lifts this",
    Refusal.STALE: "the latest reading is too old; the next reading lifts this",
    Refusal.HISTORY_INCOMPLETE: (
        "its history does not reach back to the start of its life; importing older readings, reporting a repair or "
        "replacement or, where a model was learned, waiting for some more steps lifts this"
    ),
    Refusal.NO_MODEL: "no life is declared for its class and no model was trained; either lifts this",
    Refusal.TOO_FEW_FAILURES: (
        "too few machines of its class have failed to learn from, and no life is declared for it; more recorded "
        "failures, or a life in the plant file, lifts this"
    ),
    Refusal.FOREIGN_MODEL: "the model in force was made for other machines; training one for this class lifts this",
    Refusal.OUT_OF_ENVELOPE: (
        "it is operated unlike any machine that the model has seen; training on such operation lifts this"
    ),
    Refusal.SENSOR_SUSPECT: "a sensor that the forecast needs has been silent for long; its next reading lifts this",
    Refusal.UNIT_MISMATCH: (
        "a sensor speaks in another unit than the plant file declares for it; naming that unit where its readings are "
        "described, or undoing the change, lifts this"
    ),
    Refusal.FAILED: "its life has ended: it failed or was taken out; reporting its repair or installation lifts this",
}
_FAULTS = {
    "dropout": "is silent, or out of its range",
    "stuck": "is stuck",
    "spike": "has jumped",
    "level": "has jumped and stays there",
    "noise": "is far noisier than usual",
    "drift": "drifts away from the other sensors",
}
_MEANWHILE = {  # faults beside which a forecast goes on, however long they last
    "noise": "What it says still counts, no single value for much.",
    "level": "The jump is taken off what it says, unless machines of its class jumped so before they failed.",
    "drift": "What it says is left out of the forecast.",
}
_REPAIRS = {
    "dropout": "Check its cable, its supply, and whether it reports values outside of its declared range.",
    "stuck": "Check whether it still measures, and whether the gateway sends an old value again and again.",
    "noise": "Check its mounting, its cable and its shield.",
    "level": "Check its mounting, its cable and its measuring range against another instrument.",
    "drift": "Hold it against another instrument. If it is right, check the sensors that say how the machine is run.",
    "unit_mismatch": "Name {told} where its readings are described, or undo the change of its unit.",
}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One matter in sentences; `title` is one line, `text` all of it. A field is empty where it does not apply.

    `seen` is the rule and what it saw, `how_we_know` what the forecast rests on.
    """

    title: str
    what_wears: str
    seen: str
    how_we_know: str
    what_to_do: str
    by_when: str
    cost_of_waiting: str
    evidence: tuple[str, ...]
    text: str


class Readiness(NamedTuple):
    """What an asset can do today, and what would unlock the next step (empty when nothing would).

    `level` is forecast (learned), declared (from a declared life or declared wear), watched (limits only) or none.
    """

    level: str
    today: str
    next: str


def recommendation(
    *,
    plant: Plant,
    asset: Asset,
    mode: FailureMode,
    intent: Intent,
    rule: Rule,
    prognosis: NDArray[np.float64],
    basis: Basis,
    lives: int,
    duty_rate: float,
    window: InterventionWindow | None,
    drivers: Sequence[Driver],
    now_ms: int,
) -> Recommendation:
    """What to tell people about one change of one alert.

    Args:
        mode: the failure mode that most likely comes first.
        prognosis: `[21]` remaining life [life steps].
        lives: those that the model was learned from.
        duty_rate: life used per hour of plant time [life steps/h].
        drivers: why the forecast is what it is, most shortening first.
    """
    asset_class = plant.class_of(asset)
    reason = alert_sentence(asset_class, rule, intent)
    seen = words.sentence(f"{rule.title}: {reason}")
    if isinstance(rule, SilentSensorRule):
        return _composed(
            title=f"{asset.slot}: {reason}",
            seen=seen,
            what_to_do=f"Check the gateway, the network and the power of {intent.target}.",
            by_when=f"{_IN_TIME[intent.severity]}.",
            cost_of_waiting=f"After {words.duration(asset_class.stale_after_ms)} of silence there is no forecast.",
        )
    if isinstance(rule, SensorFaultRule):
        return _check_sensor(plant, asset, rule, intent, now_ms, goes_on=not np.isnan(prognosis[MEDIAN]))
    if isinstance(rule, SensorLimitRule):
        crossed = _mode_of_limit(asset_class, rule.sensor)
        return _composed(
            title=f"{asset.slot}: {reason}",
            what_wears=f"{crossed.title} is a possible cause." if crossed else "",
            seen=seen,
            what_to_do=action_text(crossed) if crossed else _no_action(f"a failure mode with a limit on {rule.sensor}"),
            by_when=f"{_IN_TIME[intent.severity]}.",
        )
    if isinstance(rule, DepartureRule):
        return _composed(
            title=f"{asset.slot}: departs from its own early life, {reason}",
            seen=seen,
            how_we_know=f"Learned from {words.plural(lives, 'machine')} of its class early in life.",
            evidence=driver_texts(asset_class, drivers),
            what_to_do="Find out what has changed. Which part it is and how long it lasts cannot be said yet: too few "
            "of its class have failed.",
            by_when=f"{_IN_TIME[intent.severity]}.",
        )
    likely = likely_text(asset_class, plant.time_zone, now_ms, prognosis, duty_rate)
    return _composed(
        title=f"{asset.slot}: {mode.title}, {likely}",
        what_wears=f"{mode.title}, {likely}.",
        seen=seen,
        how_we_know=_how_we_know(asset_class, basis, lives),
        what_to_do=_choice_text(asset_class) if mode is UNKNOWN_MODE else action_text(mode),
        by_when=when_text(plant, asset_class, window, now_ms),
        cost_of_waiting=waiting_text(window, plant.currency),
        evidence=driver_texts(asset_class, drivers),
    )


def alert_sentence(asset_class: AssetClass, rule: Rule, intent: Intent) -> str:
    """What was judged against which limit, without a capital or a full stop, to stand in a list."""
    if not intent.facts:
        return "the life of this machine has ended"
    value, limit = intent.facts["value"], intent.facts["limit"]
    unit = asset_class.life_step.unit
    match rule:
        case FailureProbabilityRule():
            horizon = words.quantity(rule.within, unit)
            return f"{words.percent(value)} risk of failing within {horizon} (limit {words.percent(limit)})"
        case RulQuantileRule(below_ms=None):
            figures = f"{words.life(value, unit)} (limit {words.quantity(limit, unit)})"
            return f"remaining life at the {words.percent(rule.level)} level {figures}"
        case RulQuantileRule():
            figures = f"{words.duration(value)} ahead (limit {words.duration(limit)})"
            return f"date at the {words.percent(rule.level)} level {figures}"
        case SensorLimitRule():
            title, sensor_unit = _column_title(asset_class, rule.sensor)
            return f"{title} {words.quantity(value, sensor_unit)} (limit {words.quantity(limit, sensor_unit)})"
        case DepartureRule():
            return f"{words.number(value, 2)} times as far as healthy machines do (limit {words.number(limit, 2)})"
        case SensorFaultRule():
            return _fault_sentence(asset_class, rule, int(value))
        case SilentSensorRule():
            return f"nothing heard for {words.duration(value)} (limit {words.duration(limit)})"


def likely_text(
    asset_class: AssetClass, zone: ZoneInfo, now_ms: int, quantiles: NDArray[np.float64], duty_rate: float
) -> str:
    """When it fails, as people are told: "likely 10-27 Dec (4 in 5)", or by how much it outlasts the horizon.

    Args:
        quantiles: `[21]` remaining life [life steps].
        duty_rate: life used per hour of plant time [life steps/h].
    """
    unit, horizon = asset_class.life_step.unit, asset_class.horizon
    low, middle, high = (float(quantiles[index]) for index in (EARLY, MEDIAN, LATE))
    if middle > horizon:
        return f"more than {_ahead(min(low, horizon), duty_rate, unit)}"
    if not duty_rate > 0 or low / duty_rate * HOUR_MS > CENTURY_MS:
        return f"likely {words.life_range(low, high, unit)} (4 in 5)"
    begin, end = (now_ms + round(life / duty_rate * HOUR_MS) for life in (low, min(high, horizon)))
    if high > horizon:
        return f"not before {words.day(begin, zone, now_ms)} (9 in 10)"
    return f"likely {words.span(begin, end, zone, now_ms)} (4 in 5)"


def when_text(plant: Plant, asset_class: AssetClass, window: InterventionWindow | None, now_ms: int) -> str:
    """By when to do it, and what sets that date."""
    if window is None:
        return "No date yet: the best one lies beyond what the forecast can see."
    earliest, preferred, latest = (
        words.moment(start, plant.time_zone, now_ms)
        for start in (window.earliest_ms, window.preferred_ms, window.latest_ms)
    )
    risk = f"{words.percent(window.preferred_probability)} risk of failing before"
    if window.preferred_probability > asset_class.risk_cap:
        return f"As soon as possible: {preferred} is the first possible start, {risk}."
    why = {
        Bound.NONE: "the cheapest start",
        Bound.NOTICE: f"the first start after {words.duration(asset_class.notice_ms)} of notice",
        Bound.CALENDAR: "the first start that the calendar allows",
        Bound.RISK_CAP: f"the last start below {words.percent(asset_class.risk_cap)} risk",
    }[Bound(window.preferred_bound)]
    return f"Best {preferred}, {why} ({risk}); not before {earliest}, at the latest {latest}."


def waiting_text(window: InterventionWindow | None, currency: str) -> str:
    """What the choice of a start costs; empty where no costs are declared."""
    if window is None or np.isnan(window.preferred_cost):
        return ""
    at_best, now, later, never = (
        words.amount(cost, currency)
        for cost in (window.preferred_cost, window.cost_now, window.cost_week_later, window.cost_run_to_failure)
    )
    return f"Expected cost {at_best} at the best start; {now} now, {later} a week later, {never} when run to failure."


def action_text(mode: FailureMode) -> str:
    """What to do about a failure mode, and what that takes; where no action is declared, what to declare."""
    if not mode.action:
        return _no_action(f"failure mode {mode.name}")
    needs = [
        f"{mode.duration_ms / HOUR_MS:g} h",
        f"crew of {mode.crew}" + (f" ({words.listed(mode.skills)})" if mode.skills else ""),
        *([f"parts {words.listed(mode.parts)}"] if mode.parts else []),
        "machine stopped" if mode.machine_stopped else "machine running",
    ]
    return f"{words.sentence(mode.action)[:-1]}: {', '.join(needs)}."


def driver_texts(asset_class: AssetClass, drivers: Sequence[Driver]) -> tuple[str, ...]:
    """The strongest reasons why the forecast is as short as it is."""
    shortening = [driver for driver in drivers if driver.contribution < 0 and driver.column != OVERALL]
    return tuple(driver_text(asset_class, driver) for driver in shortening[:MOST_DRIVERS])


def readiness(
    asset_class: AssetClass,
    rules: Sequence[Rule],
    basis: Basis,
    refusal: Refusal,
    lives: int,
    failures: int,
    failures_needed: int,
    watched: int = 0,
) -> Readiness:
    """What an asset can do today, and what would unlock the next step.

    Args:
        rules: those that watch the class.
        lives: finished lives that the model in force rests on, 0 without one.
        failures: failures of the class that are on record.
        failures_needed: from how many on a forecast can be learned.
        watched: machines that an alarm on departure from early life was learned from, 0 without one.
    """
    unit, expected = asset_class.life_step.unit, asset_class.expected_life
    learn = _to_learn(lives, failures, failures_needed)
    if basis == Basis.LEARNED:
        few = lives < FEW_LIVES
        today = f"Forecast learned from {lives} finished lives{', low confidence' if few else ''}."
        return Readiness("forecast", today, f"{FEW_LIVES - lives} more finished lives" if few else "")
    if basis == Basis.LIFE_TABLE:
        doubt = ", low confidence" if lives < FEW_LIVES else ""
        today = f"Forecast from its age and {lives} finished lives of its class{doubt}: its sensors tell no more yet."
        return Readiness("forecast", today, "more finished lives, or a sensor that shows what wears")
    if basis == Basis.DECLARED_LIFE and expected is not None:
        life = f"{_declared(expected, unit)}, spread {words.life(expected.sd, unit)}"
        return Readiness("declared", f"Forecast from the declared life of its class ({life}) and its age.", learn)
    if basis == Basis.DECLARED_WEAR:
        seen = words.plural(failures, "failure")
        return Readiness(
            "declared", f"Forecast from {_declared_wear(asset_class)}; low confidence, {seen} seen.", learn
        )
    limits = {_column_title(asset_class, rule.sensor)[0]: None for rule in rules if isinstance(rule, SensorLimitRule)}
    how = f"by limits on {words.listed(list(limits))}" if limits else "for silence"
    if watched:
        how = f"for departure from early life, learned from {words.plural(watched, 'machine')}, and {how}"
    level, today = "watched" if limits or watched else "none", f"Watched {how}; no dates."
    if refusal in (Refusal.NO_MODEL, Refusal.TOO_FEW_FAILURES):
        return Readiness(level, today, f"an expected life in the plant file, or {learn}")
    return Readiness(level, today, refusal_text(refusal))


def _to_learn(lives: int, failures: int, failures_needed: int) -> str:
    """What a learned forecast wants, where another one speaks or none does."""
    if lives:
        return f"more than the {lives} finished lives, on which nothing learned was nearer"
    if failures < failures_needed:
        return f"{words.plural(failures_needed, 'recorded failure')} of its class, of which there are {failures}"
    return f"training on the {failures} recorded failures of its class"


def refusal_text(refusal: Refusal) -> str:
    """Why there is no forecast, and what would lift that; empty where there is one."""
    return _REFUSALS.get(refusal, "")


def _check_sensor(
    plant: Plant, asset: Asset, rule: SensorFaultRule, intent: Intent, now_ms: int, *, goes_on: bool
) -> Recommendation:
    """A sensor at fault: which, how, since when, what the forecast does meanwhile, what to do."""
    asset_class = plant.class_of(asset)
    reason = alert_sentence(asset_class, rule, intent)
    since = words.moment(int(intent.facts["since_ms"]), plant.time_zone, now_ms)
    fault, told = _fault_of(asset_class, rule, int(intent.facts["value"]))
    left_out = "What it says is left out of the forecast." if goes_on else "There is no forecast until it is sound."
    do = _REPAIRS.get(fault or "", _REPAIRS["level"]).format(told=told or "the other unit")
    return _composed(
        title=f"{asset.slot}: {reason}",
        seen=f"{words.sentence(f'{rule.title}: {reason}')[:-1]} since {since}.",
        how_we_know=_MEANWHILE.get(fault or "", left_out),
        what_to_do=f"{do} After a replacement or a calibration report sensor_replaced.",
        by_when=f"{_IN_TIME[intent.severity]}.",
        cost_of_waiting="If it lasts, the forecast is refused." if goes_on and fault not in _MEANWHILE else "",
    )


def _fault_sentence(asset_class: AssetClass, rule: SensorFaultRule, number: int) -> str:
    fault, told = _fault_of(asset_class, rule, number)
    sensor = asset_class.sensor(rule.sensor)
    title = sensor.title or sensor.name
    return f"{title} is sound again" if fault is None else f"{title} {fault_text(fault, sensor.unit, told)}"


def _fault_of(asset_class: AssetClass, rule: SensorFaultRule, number: int) -> tuple[str | None, str | None]:
    """The code of the fault of a sensor, and of a mismatch of units the one that it seems to speak in."""
    return Fault(number).code if number else None, told_in(asset_class.sensor(rule.sensor).unit, number)


def fault_text(fault: str, unit: str, told_in: str | None) -> str:
    """What is wrong with a sensor by the code of its fault, after its name.

    Args:
        told_in: of a mismatch of units the one that it seems to speak in.
    """
    return _FAULTS.get(fault, f"seems to speak in {told_in or 'another unit'} instead of {unit}")


def _composed(
    title: str,
    seen: str,
    what_to_do: str,
    by_when: str,
    cost_of_waiting: str = "",
    what_wears: str = "",
    how_we_know: str = "",
    evidence: tuple[str, ...] = (),
) -> Recommendation:
    reasons = f"Because: {'; '.join(evidence)}." if evidence else ""
    known = f"{seen} {how_we_know}".strip()
    sentences = (what_wears, known, reasons, what_to_do, by_when, cost_of_waiting)
    return Recommendation(
        title=title,
        what_wears=what_wears,
        seen=seen,
        how_we_know=how_we_know,
        what_to_do=what_to_do,
        by_when=by_when,
        cost_of_waiting=cost_of_waiting,
        evidence=evidence,
        text="\n".join(filter(None, sentences)),
    )


def _choice_text(asset_class: AssetClass) -> str:
    """The actions that there are, where no failure mode is known to come first."""
    actions = [mode.action for mode in asset_class.failure_modes if mode.action]
    declared = f"declared are: {'; '.join(actions)}" if actions else "no action is declared"
    return f"Judge what to do: which failure mode comes first is not known ({declared})."


def _no_action(of: str) -> str:
    return f"The plant file declares no action for this (it would be that of {of}): judge what to do."


def _how_we_know(asset_class: AssetClass, basis: Basis, lives: int) -> str:
    if basis == Basis.LEARNED:
        confidence = f" (fewer than {FEW_LIVES}: low confidence)" if lives < FEW_LIVES else ""
        return f"Learned from {lives} machines that ran to failure{confidence}."
    if basis == Basis.LIFE_TABLE:
        return f"From its age and {lives} finished lives of its class: on machines left out no sensor told more."
    expected = asset_class.expected_life
    if basis == Basis.DECLARED_LIFE and expected is not None:
        life = _declared(expected, asset_class.life_step.unit)
        return f"From its age and the declared life of its class ({life}) alone; nothing measured on it enters."
    if basis == Basis.DECLARED_WEAR:
        why = f"on {lives} finished lives nothing learned was nearer" if lives else "no failure was learned from"
        return f"From {_declared_wear(asset_class)}; low confidence, since {why}."
    return ""


def _declared(life: ExpectedLife, unit: str) -> str:
    """A declared life in words, with what has corrected it."""
    corrected = f", corrected by {words.plural(life.ended, 'life', 'lives')} of the fleet" if life.ended else ""
    return f"{words.life(life.mean, unit)}{corrected}"


def _declared_wear(asset_class: AssetClass) -> str:
    """What declared wear rests on."""
    unit = asset_class.life_step.unit
    lives = [f"{m.title} {_declared(m.expected_life, unit)}" for m in asset_class.wearing if m.expected_life]
    measured = any(mode.wear is not None for mode in asset_class.wearing)
    source = "the wear measured on it and the declared lives" if measured else "its duty and the declared lives"
    return f"{source} of its failure modes ({', '.join(lives)})"


def driver_text(asset_class: AssetClass, driver: Driver) -> str:
    """One reason in words, whichever way it moves the forecast."""
    unit = asset_class.life_step.unit
    if driver.column == OVERALL:
        return "several sensors together"
    if driver.column == AGE:
        return f"age, {words.quantity(driver.moving_for, unit)} used"
    side, way = ("above", "rising") if driver.departure > 0 else ("below", "falling")
    moving = f", {way} for about {words.life(driver.moving_for, unit)}" if driver.moving_for > 0 else ""
    title, column_unit = _column_title(asset_class, driver.column)
    size = f"{words.number(abs(driver.departure), 2)} sd"
    if np.isfinite(driver.size):
        size = f"{words.number(abs(driver.size), 2)} {words.unit(column_unit)} ({size})"
    return f"{title} {size} {side} its own start{moving}"


def _column_title(asset_class: AssetClass, name: str) -> tuple[str, str]:
    """How people call a step column, and its unit."""
    column = next(column for column in asset_class.columns if column.name == name)
    sensor = asset_class.sensor(column.sensor)
    title = sensor.title or sensor.name
    return (title if len(sensor.summaries) == 1 else f"{title} ({column.summary})"), sensor.unit


def _mode_of_limit(asset_class: AssetClass, column: str) -> FailureMode | None:
    """The failure mode that declares a limit on this column."""
    return next((m for m in asset_class.failure_modes if m.limit is not None and m.limit.sensor == column), None)


def _ahead(life: float, duty_rate: float, unit: str) -> str:
    """A life as time ahead where the duty is known, otherwise in its own unit."""
    if duty_rate > 0 and life / duty_rate * HOUR_MS <= CENTURY_MS:
        return words.duration(life / duty_rate * HOUR_MS)
    return words.life(life, unit)
