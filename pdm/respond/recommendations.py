"""Recommendations: follow one, or turn it down with a reason."""

from typing import Any

from sqlalchemy import Connection, Row, update

from pdm.errors import ConflictError
from pdm.plant import ANY_TARGET
from pdm.respond.act import Act, RequestError, expect_revision
from pdm.respond.interventions import accept
from pdm.state import told
from pdm.state.schema import next_number, recommendations
from pdm.state.told import InterventionStatus


def accept_recommendation(connection: Connection, recommendation_id: str, act: Act) -> None:
    """Follow a piece of advice; where it is about the failure of the machine, also the window that is proposed."""
    advised = _answer(connection, recommendation_id, "accepted", act)
    if advised is not None and advised.target == ANY_TARGET:
        for window in told.open_interventions(connection, [advised.serial]):
            if window.status == InterventionStatus.PROPOSED:
                accept(connection, window.id, Act(act.who, act.at_ms, act.reason))


def dismiss_recommendation(connection: Connection, recommendation_id: str, act: Act) -> None:
    """Turn a piece of advice down, with the reason."""
    if not act.reason.strip():
        raise RequestError("reason", "a dismissal needs its reason: it is what the next advice is judged by")
    _answer(connection, recommendation_id, "dismissed", act)


def _answer(connection: Connection, recommendation_id: str, state: str, act: Act) -> Row[Any] | None:
    """Note somebody's answer beside the advice; None if the same answer stands already."""
    stored = told.get(connection, recommendations, recommendation_id)
    expect_revision(stored, act)
    if stored.state == state:
        return None
    if stored.state != "open":
        raise ConflictError(f"this recommendation is {stored.state}")
    body = {**stored.body, "answer": {"who": act.who, "at_ms": act.at_ms, "reason": act.reason}}
    mine = recommendations.c.id == recommendation_id
    revision = next_number(connection, "revision")
    connection.execute(update(recommendations).where(mine).values(state=state, body=body, revision=revision))
    return stored
