"""Alerts: acknowledge, shelve, resolve, note. What a person sets is kept in columns, the state follows from them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from pdm.errors import ConflictError
from pdm.respond.act import Act, RequestError, expect_revision
from pdm.rules.ruleset import Ruleset
from pdm.state import told
from pdm.state.schema import alerts
from pdm.state.told import TICK, AlertState

_SHELVED_UNTIL = (
    select(alerts)
    .where(alerts.c.state == AlertState.SHELVED, alerts.c.shelved_until_ms <= bindparam("at_ms"))
    .order_by(alerts.c.id)
)


def acknowledge(connection: Connection, alert_id: str, act: Act) -> None:
    """Somebody has seen it and takes care. Acknowledging again changes nothing."""
    alert = _standing_alert(connection, alert_id, act)
    if alert.acknowledged_by is None:
        _change_alert(connection, alert, "acknowledged", act, acknowledged_by=act.who)


def shelve(connection: Connection, alert_id: str, until_ms: int, act: Act) -> None:
    """Take an alert off the list until a time."""
    if until_ms <= act.at_ms:
        raise RequestError("until", "an alert can only be shelved until a time that is still to come")
    alert = _standing_alert(connection, alert_id, act)
    if alert.shelved_until_ms != until_ms:
        _change_alert(connection, alert, "shelved", act, shelved_until_ms=until_ms)


def unshelve(connection: Connection, alert_id: str, act: Act) -> None:
    """Put a shelved alert back on the list."""
    alert = _standing_alert(connection, alert_id, act)
    if alert.shelved_until_ms is not None:
        _change_alert(connection, alert, "unshelved", act, shelved_until_ms=None)


def resolve(connection: Connection, alert_id: str, act: Act) -> None:
    """The matter is settled; it opens again only after its condition has cleared once."""
    _resolve(connection, alert_id, "resolved", act)


def note_wrong_alarm(connection: Connection, alert_id: str, act: Act) -> None:
    """Somebody holds the alarm to be wrong: an opinion with its reason, not a label for training.

    It settles a live alert; about a closed one it is only noted.
    """
    _resolve(connection, alert_id, "wrong_alarm", act)


def comment(connection: Connection, alert_id: str, act: Act) -> None:
    """Add a note to the story of an alert, live or closed."""
    alert = told.get(connection, alerts, alert_id)
    expect_revision(alert, act)
    _change_alert(connection, alert, "commented", act)


def undo(connection: Connection, alert_id: str, act: Act) -> None:
    """Take back the latest thing that a person changed, if nothing has changed the alert since.

    Raises:
        ConflictError: there is nothing to take back.
    """
    alert = told.get(connection, alerts, alert_id)
    expect_revision(alert, act)
    changes = [t.kind for t in told.alert_transitions(connection, alert_id) if t.kind != "commented"]
    match changes[-1:], AlertState(alert.state):
        case ["acknowledged"], AlertState.ACKNOWLEDGED | AlertState.SHELVED:
            _change_alert(connection, alert, "unacknowledged", act, acknowledged_by=None)
        case ["shelved"], AlertState.SHELVED:
            _change_alert(connection, alert, "unshelved", act, shelved_until_ms=None)
        case ["resolved" | "wrong_alarm"], AlertState.RESOLVED:
            _change_alert(connection, alert, "reopened", act, state=AlertState.OPEN)
        case _:
            raise ConflictError("nobody has changed this alert since it last changed by itself: nothing to undo")


def end_shelving(connection: Connection, rules: Ruleset, at_ms: int, wall_ms: int) -> int:
    """Put alerts back on the list whose shelving is over, and tell of them again; returns how many."""
    routes = {rule.name: rule.routes for rule in rules.rules}
    lapsed = connection.execute(_SHELVED_UNTIL, {"at_ms": at_ms}).all()
    for alert in lapsed:
        act = Act(TICK, at_ms, "the time for which it was shelved is over")
        _change_alert(connection, alert, "unshelved", act, routes.get(alert.rule, ()), wall_ms, shelved_until_ms=None)
    return len(lapsed)


def _resolve(connection: Connection, alert_id: str, kind: str, act: Act) -> None:
    alert = told.get(connection, alerts, alert_id)
    expect_revision(alert, act)
    if alert.state not in (AlertState.RESOLVED, AlertState.CLOSED):
        _change_alert(connection, alert, kind, act, state=AlertState.RESOLVED)
    elif kind == "wrong_alarm":
        _change_alert(connection, alert, kind, act)


def _standing_alert(connection: Connection, alert_id: str, act: Act) -> Row[Any]:
    alert = told.get(connection, alerts, alert_id)
    expect_revision(alert, act)
    if alert.state in (AlertState.RESOLVED, AlertState.CLOSED):
        raise ConflictError(f"this alert is {alert.state}")
    return alert


def _change_alert(
    connection: Connection,
    alert: Row[Any],
    kind: str,
    act: Act,
    routes: Sequence[str] = (),
    wall_ms: int = 0,
    **changed: Any,
) -> None:
    """Store a transition and what it changes; the state is the strongest of resolved, shelved, acknowledged."""
    after = {**alert._mapping, **changed}
    if after["state"] not in (AlertState.RESOLVED, AlertState.CLOSED):
        shelved, acknowledged = after["shelved_until_ms"] is not None, after["acknowledged_by"] is not None
        changed["state"] = (
            AlertState.SHELVED if shelved else AlertState.ACKNOWLEDGED if acknowledged else AlertState.OPEN
        )
    told.change_alert(connection, alert.id, updated_ms=act.at_ms, **changed)
    told.add_transition(connection, alert.id, kind, act.at_ms, act.who, act.reason, alert.severity, routes, wall_ms)
