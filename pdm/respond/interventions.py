"""Intervention windows: accept, reject, schedule, start, finish, and the work-order numbers of other systems."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row

from pdm.durations import DAY_MS
from pdm.errors import ConflictError
from pdm.respond.act import FUTURE_MS, Act, DuplicateWorkError, RequestError, expect_mode, expect_revision
from pdm.state import plants, told
from pdm.state.schema import interventions
from pdm.state.told import ENDED, InterventionStatus
from pdm.windows import intervention

_FORWARD = frozenset(
    {InterventionStatus.SCHEDULED, InterventionStatus.IN_PROGRESS, InterventionStatus.DONE, InterventionStatus.REJECTED}
)

NEXT: Mapping[str, frozenset[InterventionStatus]] = {
    InterventionStatus.PROPOSED: _FORWARD | {InterventionStatus.ACCEPTED},
    InterventionStatus.ACCEPTED: _FORWARD | {InterventionStatus.PROPOSED},
    InterventionStatus.SCHEDULED: _FORWARD | {InterventionStatus.ACCEPTED},
    InterventionStatus.IN_PROGRESS: _FORWARD - {InterventionStatus.IN_PROGRESS},
}
"""What people may turn each status into. Done, rejected and withdrawn are final; scheduling may be repeated."""

_WITHOUT_DATES = (InterventionStatus.PROPOSED, InterventionStatus.REJECTED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found and done: the end of the loop."""

    started_ms: int
    finished_ms: int
    found: str
    mode: str | None = None
    parts: tuple[str, ...] = ()
    value: float | None = None


FARTHEST_START_MS = 5 * 365 * DAY_MS


def accept(connection: Connection, intervention_id: str, act: Act, start_ms: int | None = None) -> None:
    """Take up a window, by default at its preferred start. From now on its dates belong to the planner."""
    set_status(connection, intervention_id, InterventionStatus.ACCEPTED, act, start_ms)


def reject(connection: Connection, intervention_id: str, act: Act) -> None:
    """Turn a window down; the reason is kept."""
    set_status(connection, intervention_id, InterventionStatus.REJECTED, act)


def set_status(
    connection: Connection,
    intervention_id: str,
    status: InterventionStatus,
    act: Act,
    start_ms: int | None = None,
    outcome: Outcome | None = None,
) -> None:
    """Move a window along its life. The same status with the same dates again changes nothing.

    Args:
        start_ms: the committed start; None keeps the one that stands, or takes the preferred one.
        outcome: what was found and done; only with `done`, which needs it.

    Raises:
        ConflictError: a window of that status cannot become the other.
        RequestError: a reason or an outcome is missing, or does not belong here.
    """
    stored = told.get(connection, interventions, intervention_id)
    expect_revision(stored, act)
    if (status == InterventionStatus.DONE) != (outcome is not None):
        raise RequestError("outcome", "work that is done, and no other, tells its actual times and what was found")
    if status == InterventionStatus.REJECTED and not act.reason.strip():
        raise RequestError("reason", "a rejection needs its reason: it is what the next advice is judged by")
    if start_ms is not None and not -DAY_MS <= start_ms - act.at_ms <= FARTHEST_START_MS:
        raise RequestError("start", "a start can be committed from yesterday until five years ahead")
    if outcome is not None:
        _check_mode(connection, stored.serial, outcome.mode)
    committed = _committed(stored, status, act, start_ms)
    finished = _finished(status, act, outcome)
    if stored.status == status and _same_dates(stored.committed, committed):
        return
    if status not in NEXT.get(stored.status, frozenset()):
        raise ConflictError(f"an intervention that is {stored.status} cannot become {status}")
    told.change_intervention(
        connection,
        intervention_id,
        status=status,
        updated_ms=act.at_ms,
        committed=committed,
        attention=None if status in ENDED else _attention(stored, committed),
        outcome=finished,
    )


def put_external(connection: Connection, intervention_id: str, system: str, number: str, act: Act) -> None:
    """Keep the work-order number that another system gave to this window. The same again changes nothing.

    Raises:
        DuplicateWorkError: a work order is already open for this asset and target.
        ConflictError: the window has ended.
    """
    stored = told.get(connection, interventions, intervention_id)
    expect_revision(stored, act)
    if stored.external.get(system) == number:
        return
    if stored.status in ENDED:
        raise ConflictError(f"this intervention is {stored.status}: it takes no work order")
    for other in told.open_interventions(connection, [stored.serial]):
        if other.target == stored.target and other.external:
            _refuse_second(other)
    told.change_intervention(
        connection, intervention_id, updated_ms=act.at_ms, external={**stored.external, system: number}
    )


def remove_external(connection: Connection, intervention_id: str, system: str, act: Act) -> None:
    """Take a work-order number back, for example one that was mistyped. Without one nothing changes."""
    stored = told.get(connection, interventions, intervention_id)
    expect_revision(stored, act)
    if system in stored.external:
        kept = {name: number for name, number in stored.external.items() if name != system}
        told.change_intervention(connection, intervention_id, updated_ms=act.at_ms, external=kept)


def _check_mode(connection: Connection, serial: str, mode: str | None) -> None:
    current = plants.current_plant(connection)
    asset = plants.fleet_within(connection).assets.get(serial)
    if asset is not None:
        expect_mode(mode, current.plant.class_of(asset), "outcome.mode")


def _committed(stored: Row[Any], status: InterventionStatus, act: Act, start_ms: int | None) -> dict[str, Any] | None:
    """The dates that the planner answers for; none before acceptance and after rejection."""
    if status in _WITHOUT_DATES:
        return None
    standing = stored.committed or {}
    start = start_ms or standing.get("start_ms") or stored.advised["preferred_start_ms"]
    finish = start + round(stored.advised["duration_hours"] * 3_600_000)
    who = act.who if start != standing.get("start_ms") else standing["who"]
    return {"start_ms": start, "finish_ms": finish, "who": who}


def _attention(stored: Row[Any], committed: dict[str, Any] | None) -> str | None:
    """Why these dates need attention; a reason that was not about the dates before stays."""
    before, now = (
        intervention.attention(dates, stored.advised) if dates else None for dates in (stored.committed, committed)
    )
    return now if stored.attention in (None, before) else str(stored.attention)


def _finished(status: InterventionStatus, act: Act, outcome: Outcome | None) -> dict[str, Any] | None:
    """What is kept about the end of a window."""
    if outcome is not None:
        if not outcome.started_ms <= outcome.finished_ms <= act.at_ms + FUTURE_MS:
            raise RequestError("outcome", "work starts before it finishes, and is reported afterwards")
        return {**asdict(outcome), "who": act.who, "reason": act.reason}
    return {"who": act.who, "reason": act.reason} if status == InterventionStatus.REJECTED else None


def _same_dates(stored: Mapping[str, Any] | None, wanted: Mapping[str, Any] | None) -> bool:
    return (stored or {}).get("start_ms") == (wanted or {}).get("start_ms")


def _refuse_second(first: Row[Any]) -> None:
    system, number = next(iter(first.external.items()))
    raise DuplicateWorkError(
        f"work order {number} of {system} is already open for {first.serial}",
        {"intervention": first.id, "system": system, "number": number},
    )
