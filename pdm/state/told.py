"""What people were told: prognoses, alerts and their transitions, deliveries, recommendations, interventions."""

import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pdm.errors import NotFoundError
from pdm.state.schema import (
    alerts,
    deliveries,
    interventions,
    next_number,
    next_numbers,
    prognoses,
    recommendations,
    transitions,
)

_IDS = uuid.UUID("5f1c9d0e-7b1e-4a6a-9a44-0d6b5c1f2e11")

TICK = "pdm-twin"
"""Who made a transition that no person made."""


class AlertState(StrEnum):
    """Where an alert stands. A resolved one opens no second time until its condition has cleared."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    RESOLVED = "resolved"
    CLOSED = "closed"


class InterventionStatus(StrEnum):
    """The life of an intervention window; the last three end it."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    DONE = "done"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


MOST_LISTED = 10_000
"""A statement names no more machines than this: from there on it reads what all of them have."""

ENDED = (InterventionStatus.DONE, InterventionStatus.REJECTED, InterventionStatus.WITHDRAWN)

_LIVE = select(alerts).where(alerts.c.state != AlertState.CLOSED).order_by(alerts.c.opened_ms, alerts.c.id)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_STANDING = (
    select(*(interventions.c[name] for name in ("id", "serial", "status", "committed")))
    .where(interventions.c.status.not_in(ENDED))
    .order_by(interventions.c.revision)
)
_ADVISED_SERIALS = select(interventions.c.serial).where(interventions.c.status.not_in(ENDED))
_ACCEPTED = _STANDING.where(interventions.c.status.in_((InterventionStatus.ACCEPTED, InterventionStatus.SCHEDULED)))
_CHANGE_ALERT = update(alerts).where(alerts.c.id == bindparam("of_id"))
_NEXT_ORDINAL = select(func.coalesce(func.max(transitions.c.ordinal), 0) + 1).where(
    transitions.c.alert_id == bindparam("of_alert")
)
_SUPERSEDE = (
    update(recommendations)
    .where(
        recommendations.c.serial == bindparam("of_serial"),
        recommendations.c.alert_id == bindparam("of_alert"),
        recommendations.c.state == "open",
        recommendations.c.id != bindparam("but_id"),
    )
    .values(state="superseded")
)
_SAID_WITHOUT = [
    update(table)
    .where(table.c.serial == bindparam("of_serial"), said_ms > bindparam("since"), table.c.said_without_ms.is_(None))
    .values(said_without_ms=bindparam("at"))
    for table, said_ms in ((prognoses, prognoses.c.issued_ms), (recommendations, recommendations.c.at_ms))
]
_CHANGE_INTERVENTION = update(interventions).where(interventions.c.id == bindparam("of_id"))
_LIVE_OF = _LIVE.where(alerts.c.serial.in_(bindparam("serials", expanding=True)))


def derived_id(*parts: object) -> str:
    """The same id for the same thing, however often a tick is repeated."""
    return str(uuid.uuid5(_IDS, "\x1f".join(str(part) for part in parts)))


def live_alerts(connection: Connection, serials: Sequence[str] | None = None) -> list[Row[Any]]:
    """Alerts that are not closed, the oldest first."""
    if serials is None:
        return list(connection.execute(_LIVE))
    return list(connection.execute(_LIVE_OF, {"serials": list(serials)}))


def get(connection: Connection, table: Table, record_id: str) -> Row[Any]:
    """One record by id.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute(select(table).where(table.c.id == record_id)).first()
    if row is None:
        raise NotFoundError(f"there is no {table.name.removesuffix('s')} {record_id}")
    return row


def add_alert(connection: Connection, row: dict[str, Any], reason: str, routes: Sequence[str], wall_ms: int) -> None:
    """Open an alert: the record, its first transition, one delivery a route."""
    connection.execute(insert(alerts), {"revision": next_number(connection, "revision"), **row})
    add_transition(connection, row["id"], "opened", row["opened_ms"], TICK, reason, row["severity"], routes, wall_ms)


def change_alert(connection: Connection, alert_id: str, **changed: Any) -> None:
    revision = next_number(connection, "revision")
    connection.execute(_CHANGE_ALERT, {"of_id": alert_id, "revision": revision, **changed})


def add_transition(
    connection: Connection,
    alert_id: str,
    kind: str,
    at_ms: int,
    who: str,
    reason: str,
    severity: str,
    routes: Sequence[str] = (),
    wall_ms: int = 0,
) -> int:
    """Store a change of an alert with its reason, and one delivery for each route that shall hear of it."""
    ordinal = int(connection.execute(_NEXT_ORDINAL, {"of_alert": alert_id}).scalar_one())
    key = {"alert_id": alert_id, "ordinal": ordinal}
    change = {"kind": kind, "at_ms": at_ms, "who": who, "reason": reason, "severity": severity}
    connection.execute(insert(transitions), key | change)
    for route in routes:
        delivery = {"id": derived_id("delivery", alert_id, ordinal, route), "route": route, "due_ms": wall_ms}
        connection.execute(insert(deliveries), key | delivery | {"state": "due", "attempts": 0})
    return ordinal


def add_message(connection: Connection, about: str, route: str, delivery_id: str, message: bytes, wall_ms: int) -> None:
    """Have a route hear of something that is no alert, in a message that is made already."""
    delivery = {"id": delivery_id, "alert_id": about, "ordinal": 1, "route": route, "message": message}
    connection.execute(insert(deliveries), delivery | {"state": "due", "attempts": 0, "due_ms": wall_ms})


def alert_transitions(connection: Connection, alert_id: str) -> list[Row[Any]]:
    query = select(transitions).where(transitions.c.alert_id == alert_id).order_by(transitions.c.ordinal)
    return list(connection.execute(query))


def add_prognoses(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Freeze prognoses; one that is already frozen under the same id stays as it is."""
    if rows:
        connection.execute(_INSERT[connection.dialect.name](prognoses).on_conflict_do_nothing(), rows)


def issued_prognoses(
    connection: Connection, serial: str, since_ms: int | None = None, most: int | None = None
) -> list[Row[Any]]:
    """Frozen prognoses of a machine, the oldest first; of more than `most` so many, spread evenly, with the last."""
    order = (prognoses.c.issued_ms, prognoses.c.tick)
    place, count = func.row_number().over(order_by=order), func.count().over()
    mine = select(prognoses, place.label("place"), count.label("count"))
    mine = mine.where(prognoses.c.serial == serial)
    if since_ms is not None:
        mine = mine.where(prognoses.c.issued_ms >= since_ms)
    if most is None:
        return list(connection.execute(mine.order_by(*order)))
    found = mine.subquery()
    # the k-th of n is shown where the whole part of k most / n rises
    now, before = (found.c.place * most // found.c.count, (found.c.place - 1) * most // found.c.count)
    return list(connection.execute(select(found).where(now > before).order_by(found.c.place)))


def prognoses_after(connection: Connection, tick: int, limit: int) -> list[Row[Any]]:
    """Frozen prognoses of whole ticks after this one, about `limit` of them, in the order of the ticks."""
    after = select(prognoses.c.tick).where(prognoses.c.tick > tick).order_by(prognoses.c.tick)
    last = connection.execute(after.offset(limit - 1).limit(1)).scalar()
    wanted = select(prognoses).where(prognoses.c.tick > tick).order_by(prognoses.c.tick, prognoses.c.serial)
    return list(connection.execute(wanted if last is None else wanted.where(prognoses.c.tick <= last)))


def mark_said_without(connection: Connection, since_ms: Mapping[str, int], at_ms: int) -> None:
    """Note at plant time `at_ms` that what was told of machines since these times was said without what came later."""
    rows = [{"of_serial": serial, "since": since, "at": at_ms} for serial, since in since_ms.items()]
    for statement in _SAID_WITHOUT if rows else ():
        connection.execute(statement, rows)


def put_recommendation(connection: Connection, row: dict[str, Any]) -> None:
    """Store a recommendation; an older one about the same alert is superseded."""
    revision = next_number(connection, "revision")
    same = {"of_serial": row["serial"], "of_alert": row["alert_id"], "but_id": row["id"]}
    connection.execute(_SUPERSEDE, {"revision": revision, **same})
    new = {"revision": revision, "state": "open", **row}
    connection.execute(_INSERT[connection.dialect.name](recommendations).on_conflict_do_nothing(), new)


def close_recommendations(connection: Connection, alert_id: str) -> None:
    """What was advised because of an alert no longer stands: the alert is closed."""
    open_ones = and_(recommendations.c.alert_id == alert_id, recommendations.c.state == "open")
    revision = next_number(connection, "revision")
    connection.execute(update(recommendations).where(open_ones).values(state="closed", revision=revision))


def open_interventions(connection: Connection, serials: Sequence[str] | None = None) -> list[Row[Any]]:
    """Intervention windows that are not done, rejected or withdrawn."""
    query = select(interventions).where(interventions.c.status.not_in(ENDED))
    if serials is not None:
        query = query.where(interventions.c.serial.in_(serials))
    return list(connection.execute(query.order_by(interventions.c.revision)))


def standing_interventions(connection: Connection, serials: Sequence[str]) -> dict[str, Row[Any]]:
    """Id, status and commitment of the open windows of these machines, by serial."""
    query = _STANDING if len(serials) > MOST_LISTED else _STANDING.where(interventions.c.serial.in_(serials))
    wanted = set(serials)
    return {row.serial: row for row in connection.execute(query) if row.serial in wanted}


def advised_serials(connection: Connection) -> set[str]:
    """The machines that have an open window."""
    return set(connection.execute(_ADVISED_SERIALS).scalars())


def accepted_interventions(connection: Connection) -> list[Row[Any]]:
    """Id, serial, status and commitment of the windows that somebody has accepted and nobody has begun."""
    return list(connection.execute(_ACCEPTED))


def add_interventions(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep new windows, each under a revision of its own."""
    if rows:
        first = next_numbers(connection, "revision", len(rows))
        numbered = [{"revision": first + i, "external": {}, **row} for i, row in enumerate(rows)]
        connection.execute(insert(interventions), numbered)


def change_intervention(connection: Connection, intervention_id: str, **changed: Any) -> int:
    """Change a window under a new revision."""
    return change_interventions(connection, {intervention_id: changed})


def change_interventions(connection: Connection, changed: Mapping[str, Mapping[str, Any]]) -> int:
    """Change windows by id, each under a revision of its own; returns the first."""
    first = next_numbers(connection, "revision", len(changed))
    rows = [{"of_id": key, "revision": first + i, **values} for i, (key, values) in enumerate(changed.items())]
    for _, alike in groupby(sorted(rows, key=sorted), key=sorted):  # those that change the same columns
        connection.execute(_CHANGE_INTERVENTION, list(alike))
    return first


def page(query: Select[Any], table: Table, after_revision: int, limit: int) -> Select[Any]:
    """The next records of a feed above a revision, in the order in which they changed."""
    return query.where(table.c.revision > after_revision).order_by(table.c.revision).limit(limit)


def change_delivery(connection: Connection, delivery_id: str, **changed: Any) -> None:
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**changed))
