"""The tick: bring every twin up to date with what is new, forecast, judge, advise, and record it all at once.

    what changed -> steps closed since, or changed -> fold twins -> forecast those that moved
    -> evaluate rules on all -> windows -> record everything and the cursor in one transaction

One cohort (the machines of a class) is one unit of work. A crash before its commit repeats it; after the commit nothing
happens twice, since all ids are derived. Nothing loops over machines, but for the few about which something is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import cohort, rules, twin
from pdm.beliefs import Beliefs, worn
from pdm.closing import Closed, close_steps, what_changed
from pdm.cohort import Cohort
from pdm.plant import AssetClass
from pdm.prognosis import FEWEST_FAILURES, Prognosis, Refusal, forecast
from pdm.prognosis.forecast import Infer
from pdm.record import Conclusions, record
from pdm.rules import Intent, RuleMemory, Severity, Situation
from pdm.rules.ruleset import Rule
from pdm.services import Services
from pdm.state.plants import CurrentPlant, current_plant
from pdm.state.schema import read, write
from pdm.state.told import live_alerts
from pdm.windows import advice
from pdm.words import plural


@dataclass(frozen=True, slots=True)
class TickReport:
    """What one tick did: machines watched, steps made, machines forecast, changes told."""

    machines: int
    steps: int
    forecast: int
    told: int

    def __str__(self) -> str:
        made = f"{plural(self.machines, 'machine')}, {plural(self.steps, 'step')}"
        return f"{made}, {self.forecast} forecast, {self.told} told"


def tick(services: Services, at_ms: int) -> TickReport:
    """Bring all classes up to plant time `at_ms`."""
    with read(services.engine) as connection:
        plant = current_plant(connection)
    reports, errors = list[TickReport](), list[Exception]()
    for asset_class in plant.plant.classes.values():
        try:
            reports.append(tick_class(services, plant, asset_class, at_ms))
        except Exception as error:  # what keeps one class from its tick keeps no other
            error.add_note(f"in the tick of class {asset_class.name}")
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup(f"{len(errors)} classes had no tick", errors)
    return TickReport(**{f.name: sum(getattr(report, f.name) for report in reports) for f in fields(TickReport)})


def tick_class(services: Services, plant: CurrentPlant, asset_class: AssetClass, at_ms: int) -> TickReport:
    """Bring one class up to plant time `at_ms`."""
    watching = plant.rules_of(asset_class)
    try:
        with read(services.engine) as connection:
            machines = cohort.current(connection, services, plant, asset_class)
            cohort.note_widening(connection, machines)
            changed = what_changed(connection, services.readings, machines)
            closed = close_steps(connection, services.readings, machines, changed, at_ms)
            moved = fold_twins(connection, machines, closed)
            memory = rule_memory(connection, machines, watching)
        heard = np.maximum.reduce([machines.before.last_reading_ms, changed.heard_ms, machines.twin.last_row_ms])
        prognosis = forecast_moved(machines, moved, heard, at_ms, services.infer)
        say_why_no_model(services, machines, prognosis)
        memory, intents = rules.evaluate(watching, situation(machines, prognosis, heard, at_ms), memory)
        issued = to_issue(machines, moved, prognosis, intents, at_ms)
        believed = conclude(machines, plant, heard, closed, prognosis, memory, issued, at_ms)
        conclusions = Conclusions(at_ms, changed, closed, issued, believed, intents)
        with write(services.engine) as connection:
            number, told = record(connection, services, machines, plant, conclusions)
        cohort.advance(machines, believed, changed.cursors, number)
    except BaseException:
        services.cohorts.pop(asset_class.name, None)  # half a tick in memory is worth nothing
        raise
    return TickReport(len(machines.serials), len(closed.made), int(moved.sum()), told)


def fold_twins(connection: Connection, machines: Cohort, closed: Closed) -> NDArray[np.bool_]:
    """Bring the twins up to date; returns `[n]` which of them saw a machine run, or have another life than before."""
    moved = np.zeros(len(machines.serials), dtype=bool)
    again, new = np.union1d(closed.rewound, cohort.of_other_lives(machines)), closed.made
    if len(again):
        remade = np.isin(new.row, again)
        cohort.refold(connection, machines, again, new.take(remade))
        moved[again] = True
        new = new.take(~remade)
    cohort.fold(machines, new)
    cohort.note_lives(machines)
    moved[new.row[new.share != 0]] = True  # a gap (NaN) moves a twin too
    return np.asarray(moved | (machines.twin.exposure != machines.before.exposure))


def forecast_moved(
    machines: Cohort, moved: NDArray[np.bool_], heard_ms: NDArray[np.int64], at_ms: int, infer: Infer
) -> Prognosis:
    """Forecast the machines that moved, keep what was said about the others, refuse what is not to be trusted now."""
    asset_class, before = machines.asset_class, machines.before.prognosis
    stale = (heard_ms >= 0) & (at_ms - heard_ms > asset_class.stale_after_ms)
    ended = ~machines.in_service
    lifted = np.isin(before.refusal, (Refusal.STALE, Refusal.FAILED, Refusal.NO_READINGS)) & ~stale & ~ended
    renewed = machines.described_anew & (machines.twin.first_start_ms >= 0)
    rows = np.flatnonzero(moved | lifted | renewed)
    fresh = forecast.forecast(
        asset_class, machines.model, machines.twin, rows, machines.complete[rows], machines.widening, infer
    )
    made = forecast.updated(before, rows, fresh)
    forecast.refuse(made, stale, Refusal.STALE)
    forecast.refuse(made, ended, Refusal.FAILED)
    return made


def say_why_no_model(services: Services, machines: Cohort, prognosis: Prognosis) -> None:
    """Where a model is all that is wanted: it is of other machines, or too few have failed to learn one, in place."""
    name, without = machines.asset_class.name, prognosis.refusal == Refusal.NO_MODEL
    if name in services.foreign_models:
        forecast.refuse(prognosis, without, Refusal.FOREIGN_MODEL)
    elif without.any() and machines.fleet.failures_of(name) < FEWEST_FAILURES:
        forecast.refuse(prognosis, without, Refusal.TOO_FEW_FAILURES)


def rule_memory(connection: Connection, machines: Cohort, watching: Sequence[Rule]) -> RuleMemory:
    """What the rules remember of the last tick, with the alerts as people have left them since."""
    names = [rule.name for rule in watching]
    memory = RuleMemory.none(len(machines.serials), len(names))
    memory.pending_ms[:] = machines.before.pending_ms
    row_of = machines.row_of
    for alert in live_alerts(connection):
        if alert.serial not in row_of or alert.rule not in names:
            continue
        at = row, column = row_of[alert.serial], names.index(alert.rule)
        if alert.target == rules.target_of(watching[column], str(machines.source[row])):
            memory.open[at], memory.severity[at] = True, Severity[alert.severity.upper()]
    return memory


def situation(machines: Cohort, prognosis: Prognosis, heard_ms: NDArray[np.int64], at_ms: int) -> Situation:
    """The cohort as rules see it."""
    return Situation(
        asset_class=machines.asset_class,
        now_ms=at_ms,
        source=machines.source,
        in_service=machines.in_service,
        running=machines.twin.share > 0,
        quantiles=prognosis.quantiles,
        duty_rate=machines.twin.duty_rate,
        latest=machines.twin.latest,
        departure=forecast.departures(machines.model, machines.twin),
        faults=twin.faults(machines.asset_class, machines.frame, machines.twin),
        doubted=twin.doubted(machines.asset_class, machines.frame, machines.twin),
        last_reading_ms=heard_ms,
    )


def to_issue(
    machines: Cohort, moved: NDArray[np.bool_], prognosis: Prognosis, intents: Sequence[Intent], at_ms: int
) -> NDArray[np.bool_]:
    """Which prognoses are frozen now `[n]`: at the fixed times of the class, and whenever something is told."""
    every, last = machines.asset_class.issue_every_ms, machines.before.issued_ms
    due = moved if every is None else moved & (at_ms // every > last // every)
    told = np.zeros(len(moved), dtype=bool)
    told[[intent.row for intent in intents]] = True
    return np.asarray((due | told) & (prognosis.refusal == Refusal.NONE))


def conclude(
    machines: Cohort,
    plant: CurrentPlant,
    heard_ms: NDArray[np.int64],
    closed: Closed,
    prognosis: Prognosis,
    memory: RuleMemory,
    issued: NDArray[np.bool_],
    at_ms: int,
) -> Beliefs:
    """Everything that this tick believes, in columns."""
    asset_class, state, before = machines.asset_class, machines.twin, machines.before
    windows = advice.windows_of(plant.plant, asset_class, machines.model, prognosis, state.duty_rate, at_ms)
    last_step = before.last_step_ms.copy()
    np.maximum.at(last_step, closed.made.row, closed.made.start_ms)
    return Beliefs(
        serial=machines.serials,
        next_ms=closed.next_ms,
        last_step_ms=last_step,
        in_service=machines.in_service,
        complete=machines.complete,
        steps=state.steps.copy(),
        exposure=state.exposure.copy(),
        share=state.share.copy(),
        latest=state.latest.copy(),
        faults=twin.faults(asset_class, machines.frame, state),
        duty_rate=state.duty_rate,
        departure=forecast.departures(machines.model, state),
        revision=state.revision.copy(),
        last_end_ms=state.last_end_ms.copy(),
        last_reading_ms=heard_ms,
        wear=worn(state.wear, len(state)),
        prognosis=prognosis,
        windows=windows,
        published=advice.published(before.published, windows, prognosis, machines.in_service, at_ms),
        pending_ms=memory.pending_ms,
        issued_ms=np.where(issued, at_ms, before.issued_ms),
    )
