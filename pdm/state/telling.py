"""What delivery reads and remembers: matters that wait to be told, which of them travel together, routes at rest."""

from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, update

from pdm.state.schema import alerts, deliveries, meta, plant_versions, recommendations, transitions

GROUPED = "grouped"
"""State of a delivery that travels in the message of another, whose id its `result` holds meanwhile."""


class RouteRest(NamedTuple):
    """Why a route is not used for the moment.

    Attributes:
        quiet_until_ms: wall time before which nothing new is told after a message that told of many.
        disabled: why it is not used at all; "" if it is.
        plant_number: the version of the plant and rule files under which it was disabled.
    """

    quiet_until_ms: int = 0
    disabled: str = ""
    plant_number: int = 0


def waiting_routes(connection: Connection, wall_ms: int) -> list[str]:
    """Routes to which something is to be sent now."""
    query = select(deliveries.c.route).where(_waits(wall_ms)).distinct().order_by(deliveries.c.route)
    return list(connection.execute(query).scalars())


def next_delivery(connection: Connection, route: str, wall_ms: int, with_message: bool) -> Row[Any] | None:
    """The delivery that has waited longest: one whose message is already made, or one that was never tried."""
    made = deliveries.c.message.is_not(None) if with_message else deliveries.c.message.is_(None)
    query = select(deliveries).where(deliveries.c.route == route, made, _waits(wall_ms))
    return connection.execute(query.order_by(deliveries.c.due_ms, deliveries.c.id).limit(1)).first()


def untold_matters(connection: Connection, route: str, wall_ms: int) -> list[Row[Any]]:
    """What was never told to a route and is due: delivery, alert and transition in one row, the oldest first."""
    return _matters(connection, and_(deliveries.c.route == route, _untold(wall_ms)))


def matter(connection: Connection, delivery_id: str) -> Row[Any]:
    """What one delivery is about."""
    return _matters(connection, deliveries.c.id == delivery_id)[0]


def advice_on(connection: Connection, alert_id: str) -> Any:
    """The body of the newest recommendation that still stands for an alert; None if there is none."""
    query = select(recommendations.c.body).where(recommendations.c.alert_id == alert_id)
    standing = query.where(recommendations.c.state == "open").order_by(recommendations.c.revision.desc())
    return connection.execute(standing.limit(1)).scalar()


def group_under(connection: Connection, leader: str, route: str, wall_ms: int) -> None:
    """Let everything that was never told to a route travel in the message of one delivery."""
    others = and_(deliveries.c.route == route, _untold(wall_ms), deliveries.c.id != leader)
    connection.execute(update(deliveries).where(others).values(state=GROUPED, result=leader))


def end_group(connection: Connection, leader: str, state: str, result: str | None) -> None:
    """What travelled in the message of a delivery ends as it did."""
    members = and_(deliveries.c.state == GROUPED, deliveries.c.result == leader)
    connection.execute(update(deliveries).where(members).values(state=state, result=result))


def hold(connection: Connection, route: str, wall_ms: int, until_ms: int, why: str) -> bool:
    """Let what waits for a route wait on, with the reason; returns whether any of it had waited for another one."""
    waiting = and_(deliveries.c.route == route, _waits(wall_ms))
    query = select(func.count()).where(waiting, func.coalesce(deliveries.c.result, "") != why)
    new = connection.execute(query).scalar_one()
    connection.execute(update(deliveries).where(waiting).values(state="due", due_ms=until_ms, result=why))
    return bool(new)


def disable_waiting(connection: Connection, route: str, result: str) -> None:
    """Nothing more is sent to a route, whether it was tried before or not."""
    waiting = and_(deliveries.c.route == route, deliveries.c.state.in_(("due", "claimed", GROUPED)))
    connection.execute(update(deliveries).where(waiting).values(state="disabled", result=result))


def rest_of(connection: Connection, route: str) -> RouteRest:
    """How a route rests. One that was disabled is used again under newer plant and rule files."""
    stored = connection.execute(select(meta.c.value).where(meta.c.key == _key(route))).scalar()
    rest = RouteRest() if stored is None else RouteRest(**orjson.loads(stored))
    return rest if rest.plant_number == _plant_number(connection) else rest._replace(disabled="")


def disable_route(connection: Connection, route: str, why: str) -> None:
    rest = rest_of(connection, route)
    _store(connection, route, rest._replace(disabled=why, plant_number=_plant_number(connection)))


def keep_quiet(connection: Connection, route: str, until_ms: int) -> None:
    _store(connection, route, rest_of(connection, route)._replace(quiet_until_ms=until_ms))


def _waits(wall_ms: int) -> ColumnElement[bool]:
    waiting = and_(deliveries.c.state == "due", deliveries.c.due_ms <= wall_ms)
    lapsed = and_(deliveries.c.state == "claimed", deliveries.c.claimed_until_ms <= wall_ms)
    return or_(waiting, lapsed)


def _untold(wall_ms: int) -> ColumnElement[bool]:
    return and_(deliveries.c.message.is_(None), _waits(wall_ms))


def _matters(connection: Connection, which: ColumnElement[bool]) -> list[Row[Any]]:
    this = and_(transitions.c.alert_id == deliveries.c.alert_id, transitions.c.ordinal == deliveries.c.ordinal)
    query = (
        select(
            deliveries.c.id,
            transitions,
            *(column for column in alerts.c if column.name not in ("id", "severity")),
        )
        .join_from(deliveries, transitions, this)
        .join(alerts, alerts.c.id == deliveries.c.alert_id)
        .where(which)
    )
    return list(connection.execute(query.order_by(deliveries.c.due_ms, deliveries.c.id)))


def _plant_number(connection: Connection) -> int:
    return connection.execute(select(func.max(plant_versions.c.number))).scalar() or 0


def _key(route: str) -> str:
    return f"rest of route {route}"


def _store(connection: Connection, route: str, rest: RouteRest) -> None:
    value = orjson.dumps(rest._asdict()).decode()
    if not connection.execute(update(meta).where(meta.c.key == _key(route)).values(value=value)).rowcount:
        connection.execute(insert(meta).values(key=_key(route), value=value))
