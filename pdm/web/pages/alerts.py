"""The alerts page: a list that can be worked with one thumb."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, case, select

from pdm import words
from pdm.durations import DAY_MS
from pdm.plant import ANY_TARGET
from pdm.plant.calendars import working_time
from pdm.services import Services
from pdm.state import schema
from pdm.state.told import TICK, AlertState
from pdm.web import fleet, snapshot
from pdm.web.pages.fleet import SEVERITIES, asset_href, planned, rows_asked
from pdm.web.pages.stories import Story, advice_in, next_step, stories_of
from pdm.web.snapshot import Snapshot

PAGE = 50
"""Alerts shown at first."""

_SETTLED = (AlertState.RESOLVED, AlertState.CLOSED)

_TABS = {
    "open": ("To do", (AlertState.OPEN,)),
    "acknowledged": ("In hand", (AlertState.ACKNOWLEDGED,)),
    "shelved": ("Shelved", (AlertState.SHELVED,)),
    "settled": ("Settled", _SETTLED),
}

_EMPTY = {
    "open": ("Nothing to do", "No alert is open. What changes comes here by itself."),
    "acknowledged": ("Nothing in hand", "Alerts that somebody takes care of are listed here."),
    "shelved": (
        "Nothing shelved",
        "Shelved alerts wait here until their time has come, or until they get more urgent.",
    ),
    "settled": ("Nothing settled yet", "Alerts that were resolved, or whose condition has cleared, are listed here."),
}

_KINDS = {
    "opened": "opened",
    "raised": "more urgent: told again",
    "unacknowledged": "handed back",
    "cleared": "cleared by itself",
    "ended": "ended",
    "wrong_alarm": "called a wrong alarm",
    "commented": "note",
}

_DELIVERIES = {
    "due": "waits to be sent",
    "claimed": "is being sent",
    "sent": "sent",
    "failed": "not delivered",
    "disabled": "not delivered: the route was closed by its receiver",
    "grouped": "sent together with others",
}
"""How far the telling has come, in words."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button, or a small form: `choices` are radio buttons of `choice_name`, then a text of `text_name`."""

    title: str
    url: str
    done: str
    undo: str = ""
    choice_name: str = ""
    choices: Sequence[tuple[str, str]] = ()
    text_name: str = ""
    text_title: str = ""
    text_required: bool = False

    @property
    def fields(self) -> bool:
        return bool(self.choices or self.text_name)


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the story of an alert; `told` says how it reached people."""

    when: str
    text: str
    told: str


@dataclass(frozen=True, slots=True)
class AlertCard:
    """One alert; `why` is what its rule saw, where the sentence does not say so."""

    id: str
    revision: int
    severity: str
    word: str
    state: str
    state_text: str
    age: str
    name: str
    place: str
    href: str
    sentence: str
    why: str
    next: str
    actions: Sequence[Action]
    log: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Tab:
    """A part of the list."""

    href: str
    title: str
    count: int
    current: bool


@dataclass(frozen=True, slots=True)
class AlertsPage:
    """What the template shows."""

    tabs: Sequence[Tab]
    cards: Sequence[AlertCard]
    empty_title: str
    empty_text: str
    more: str


def alerts_page(services: Services, now: Snapshot, asked: Mapping[str, str]) -> AlertsPage:
    """The page for what the query string asks: which `state`, and how many to `show`."""
    current = asked.get("state", "open") if asked.get("state", "open") in _TABS else "open"
    show = rows_asked(asked, PAGE)
    with schema.read(services.engine) as connection:
        counts = snapshot.count_by(connection, schema.alerts.c.state)
        rows = connection.execute(_query(_TABS[current][1], show + 1)).all()
        ids = [row.id for row in rows[:show]]
        stories = stories_of(connection, schema.alerts.c.id.in_(ids))
        sent = _deliveries(connection, ids)
    title, text = _EMPTY[current]
    return AlertsPage(
        tabs=[
            Tab(f"/alerts?state={key}", name, sum(counts.get(state, 0) for state in states), key == current)
            for key, (name, states) in _TABS.items()
        ],
        cards=[_card(services, now, row, stories[row.id], sent[row.id]) for row in rows[:show]],
        empty_title=title,
        empty_text=text,
        more=f"/alerts?state={current}&show={show + PAGE}" if len(rows) > show else "",
    )


def _query(states: Sequence[str], limit: int) -> Any:
    """The most urgent first; settled ones by when they were settled."""
    alerts = schema.alerts
    urgency = case({severity: place for place, severity in enumerate(SEVERITIES)}, value=alerts.c.severity)
    order = [alerts.c.updated_ms.desc()] if AlertState.CLOSED in states else [urgency, alerts.c.opened_ms]
    return select(alerts).where(alerts.c.state.in_(states)).order_by(*order, alerts.c.id).limit(limit)


def _deliveries(connection: Connection, alert_ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    deliveries = schema.deliveries
    for row in connection.execute(select(deliveries).where(deliveries.c.alert_id.in_(alert_ids))):
        found[row.alert_id].append(row)
    return found


def _card(services: Services, now: Snapshot, row: Row[Any], story: Story, sent: Sequence[Row[Any]]) -> AlertCard:
    advice, settled = advice_in(story), row.state in _SETTLED
    machine, now_ms = now.fleet.assets.get(row.serial), services.clock.plant_ms()
    zone = now.current.plant.time_zone
    name = row.serial if machine is None else machine.slot
    word = SEVERITIES.get(row.severity, row.severity)
    return AlertCard(
        id=row.id,
        revision=row.revision,
        severity="done" if settled else row.severity,
        word=row.state.capitalize() if settled else word,
        state=row.state,
        state_text=f"was: {word.lower()}" if settled else _state(row, zone, now_ms),
        age=f"opened {words.ago(row.opened_ms, now_ms)}",
        name=name,
        place="" if machine is None else " / ".join(machine.place[1:]),
        href=asset_href(row.serial),
        sentence=words.sentence(_matter(now, row, name, advice)),
        why=advice.get("seen", "") if row.target == ANY_TARGET else "",
        next="" if settled else _next_step(now, row, advice, now_ms),
        actions=_actions(now, row, story, now_ms),
        log=[_change(change, sent, zone, now_ms) for change in story],
    )


def _matter(now: Snapshot, row: Row[Any], name: str, advice: Mapping[str, Any]) -> str:
    """What it is about: a failure as forecast now, or as it was told where it is settled; else what the rule saw."""
    if row.target != ANY_TARGET and "seen" in advice:
        return str(advice["seen"])
    if row.target == ANY_TARGET and row.state not in _SETTLED and row.serial in now.fleet.assets:
        line = fleet.row_of(now, row.serial)
        if line.refusal is None:
            return f"{line.likely_mode or 'failure'}, {line.text}"
    return str(row.title.removeprefix(f"{name}: "))


def _next_step(now: Snapshot, row: Row[Any], advice: Mapping[str, Any], now_ms: int) -> str:
    """The window of a failure as it is advised now, otherwise what was advised about this very alert."""
    step = planned(now, row.serial, now_ms) if row.target == ANY_TARGET else ""
    return step or next_step(advice)


def _state(row: Row[Any], zone: ZoneInfo, now_ms: int) -> str:
    match row.state:
        case AlertState.ACKNOWLEDGED:
            return f"in the hands of {row.acknowledged_by}"
        case AlertState.SHELVED:
            return f"shelved until {words.moment(row.shelved_until_ms, zone, now_ms)}"
        case _:
            return str(row.state)


def _actions(now: Snapshot, row: Row[Any], story: Story, now_ms: int) -> list[Action]:
    """What can be done in this state; nothing is offered that would be refused."""
    at = f"/api/v1/alerts/{row.id}"
    note = Action("Note", f"{at}/comment", "Note kept", text_name="reason", text_title="Note", text_required=True)
    if row.state == AlertState.CLOSED:
        return [note]
    if row.state == AlertState.RESOLVED:
        return [Action("Open again", f"{at}/undo", "Opened again"), note]
    undo = f"{at}/undo"
    first = {
        AlertState.OPEN: Action("Acknowledge", f"{at}/acknowledge", "In your hands", undo),
        AlertState.ACKNOWLEDGED: Action("Resolve", f"{at}/resolve", "Resolved", undo),
        AlertState.SHELVED: Action("Unshelve", f"{at}/unshelve", "Back on the list"),
    }[AlertState(row.state)]
    others = [
        Action("Shelve", f"{at}/shelve", "Shelved", undo, "until", _until(now, row.serial, now_ms)),
        Action(
            "Wrong alarm",
            f"{at}/wrong-alarm",
            "Noted as a wrong alarm",
            undo,
            text_name="reason",
            text_title="Why is it wrong?",
            text_required=True,
        ),
        note,
    ]
    if row.state == AlertState.OPEN:
        others.insert(1, Action("Resolve", f"{at}/resolve", "Resolved", undo))
    if row.state == AlertState.ACKNOWLEDGED and _changes(story)[-1:] == ["acknowledged"]:
        others.insert(0, Action("Hand back", undo, "Back on the list"))
    return [first, *(others if row.state != AlertState.SHELVED else others[1:])]


def _changes(story: Story) -> list[str]:
    """What changed the alert: a note does not."""
    return [change.kind for change in story if change.kind != "commented"]


def _until(now: Snapshot, serial: str, now_ms: int) -> list[tuple[str, str]]:
    """Times to shelve until: the next shift, tomorrow, a week, four weeks."""
    plant = now.current.plant
    machine = now.fleet.assets.get(serial)
    times = {now_ms + 28 * DAY_MS: "4 weeks", now_ms + 7 * DAY_MS: "a week"}
    times[_tomorrow(now_ms, plant.time_zone)] = "tomorrow"
    if machine is not None and (asset_class := plant.class_of(machine)).calendar:
        stretches = working_time(plant.calendar_of(asset_class), plant.time_zone, now_ms, now_ms + 8 * DAY_MS)
        times |= {int(start): "next shift" for start in stretches[stretches[:, 0] > now_ms, 0][:1]}
    return [
        (words.iso(at_ms), f"{title}, {words.moment(at_ms, plant.time_zone, now_ms)}")
        for at_ms, title in sorted(times.items())
    ]


def _tomorrow(now_ms: int, zone: ZoneInfo) -> int:
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
    return round(datetime.combine(today + timedelta(days=1), time(6), zone).timestamp() * 1000)


def _change(change: Row[Any], sent: Sequence[Row[Any]], zone: ZoneInfo, now_ms: int) -> Change:
    who = "" if change.who == TICK else f" by {change.who}"
    reason = change.reason.split("\n")[0] if change.reason else ""
    what = f"{_KINDS.get(change.kind, change.kind.replace('_', ' '))}{who}"
    told = [_delivery(delivery) for delivery in sent if delivery.ordinal == change.ordinal]
    return Change(
        when=words.moment(change.at_ms, zone, now_ms),
        text=words.sentence(f"{what}: {reason}" if reason else what),
        told=f"By {'; '.join(told)}." if told else "",
    )


def _delivery(row: Row[Any]) -> str:
    """One route and what came of it: "planner: not delivered (503)"."""
    why = f" ({row.result})" if row.result and row.state in ("due", "failed") else ""
    return f"{row.route}: {_DELIVERIES.get(row.state, row.state)}{why}"
