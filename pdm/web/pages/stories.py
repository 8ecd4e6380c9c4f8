"""The stories of alerts: each change with what was advised with it, in the words of then. What an alert says now came
later."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from pdm.state.schema import alerts, recommendations, transitions

Story = Sequence[Row[Any]]

_ADVISED_THEN = and_(
    recommendations.c.alert_id == transitions.c.alert_id, recommendations.c.at_ms == transitions.c.at_ms
)
_CHANGES = (
    select(transitions, alerts.c.opened_exposure, recommendations.c.body.label("advice"))
    .join_from(transitions, alerts, alerts.c.id == transitions.c.alert_id)
    .outerjoin(recommendations, _ADVISED_THEN)
    .order_by(alerts.c.opened_ms, transitions.c.alert_id, transitions.c.ordinal)
)


def stories_of(connection: Connection, which: ColumnElement[bool]) -> Mapping[str, Story]:
    """The changes of these alerts by alert, each oldest first; `advice` is None where nothing was advised."""
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for change in connection.execute(_CHANGES.where(which)):
        found[change.alert_id].append(change)
    return found


def title_then(change: Row[Any], machine: str) -> str:
    """What people were told in one line, without the name of the machine."""
    if change.advice is None:
        return str(change.reason.split("\n")[0].removesuffix("."))
    return str(change.advice["title"].removeprefix(f"{machine}: "))


def told_then(change: Row[Any], machine: str) -> str:
    """What people were told in one line, with the rule and what it saw."""
    title, seen = title_then(change, machine), (change.advice or {}).get("seen", "").removesuffix(".")
    return seen if title in seen else ". ".join(filter(None, (title, seen)))


def advice_in(story: Story) -> Mapping[str, Any]:
    """The latest advice of an alert, part by part; empty where there was none."""
    return next((change.advice for change in reversed(story) if change.advice is not None), {})


def next_step(advice: Mapping[str, Any]) -> str:
    """What to do, and by when; empty where somebody has answered the advice."""
    return "" if "answer" in advice else f"{advice.get('what_to_do', '')} {advice.get('by_when', '')}".strip()
