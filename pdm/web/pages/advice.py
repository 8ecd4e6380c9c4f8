"""What to do about a machine: the window, its price, and the work, as one card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from pdm import words
from pdm.plant import ANY_TARGET
from pdm.state.told import AlertState, InterventionStatus
from pdm.web import charts
from pdm.web.pages.fleet import SEVERITIES, action_of, starts, work
from pdm.web.pages.stories import Story, advice_in, next_step
from pdm.web.shapes import AlertView, AssetView, EdgeView, InterventionView, WindowView
from pdm.web.snapshot import Snapshot

_BOUNDS = {
    "none": "",
    "notice": "people cannot be there earlier",
    "calendar": "nobody works earlier",
    "wasted_life": "earlier throws away more life than it saves",
    "cost": "later costs more",
    "risk_cap": "later would exceed the accepted risk",
    "horizon": "the forecast reaches no further",
}
"""What sets an edge, in words."""


@dataclass(frozen=True, slots=True)
class Price:
    """Expected cost of one start."""

    start: str
    amount: str
    bar: Markup
    best: bool = False


@dataclass(frozen=True, slots=True)
class Matter:
    """One alert: what its rule saw, and what to do about that where the window does not say so."""

    severity: str
    word: str
    why: str
    next: str


@dataclass(frozen=True, slots=True)
class Todo:
    """The card: the alerts, the gravest first, then the window. Without either `quiet` says why there is nothing to do.
    `aside` is said before a window that knows nothing of an alert; `accept` is where accepting is sent."""

    matters: Sequence[Matter] = ()
    quiet: str = ""
    aside: str = ""
    action: str = ""
    window: str = ""
    bounds: str = ""
    preferred: str = ""
    preferred_bound: str = ""
    work: str = ""
    parts: str = ""
    timeline: Markup = field(default_factory=Markup)
    timeline_span: str = ""
    likely: str = ""
    prices: Sequence[Price] = ()
    attention: str = ""
    status: str = ""
    accept: str = ""
    revision: int = 0


def todo_of(now: Snapshot, view: AssetView, stories: Mapping[str, Story], now_ms: int) -> Todo:
    """What to do about a machine."""
    record = view.interventions[0] if view.interventions else None
    matters = _matters(view, stories)
    if view.window is None:
        quiet = "" if matters and not view.life.failed else _quiet(view)
        return Todo(matters, quiet, status=_status(now, record, now_ms), attention=_attention(record))
    zone, window = now.current.plant.time_zone, view.window
    until = _timeline_until(view, window)
    risk_cap = now.current.plant.classes[view.class_name].risk_cap
    return Todo(
        matters,
        aside="From the forecast alone, which knows nothing of this:" if any(matter.next for matter in matters) else "",
        action="Plan an intervention" if record is None else action_of(record.action, record.failure_mode),
        window=starts(window, zone, now_ms),
        bounds="; ".join(filter(None, (_bound(window.earliest, risk_cap), _bound(window.latest, risk_cap)))),
        preferred=words.moment(window.preferred.start, zone, now_ms),
        preferred_bound=", ".join(
            [
                _ahead(window.preferred.start, now_ms),
                f"{words.percent(window.preferred.failure_probability)} risk of failing before",
            ]
        ),
        work="" if record is None else _work(record),
        parts="" if record is None else words.listed(record.parts),
        timeline=_timeline(view, window, now_ms, until),
        timeline_span=f"now to {words.day(until, zone, now_ms)}",
        likely=view.twin.prognosis.text if view.twin is not None and view.twin.prognosis.likely_from else "",
        prices=prices(window),
        attention=_attention(record),
        status=_status(now, record, now_ms),
        accept=_accept(record),
        revision=0 if record is None else record.revision,
    )


def _matters(view: AssetView, stories: Mapping[str, Story]) -> list[Matter]:
    """The alerts that nobody has resolved; those about the forecast are answered by its window where there is one."""

    def matter(alert: AlertView) -> Matter:
        advice = advice_in(stories.get(alert.id, ()))
        answered = alert.target == ANY_TARGET and view.window is not None
        why = advice.get("seen") or alert.title
        return Matter(alert.severity, SEVERITIES[alert.severity], why, "" if answered else next_step(advice))

    live = [alert for alert in view.alerts if alert.state != AlertState.RESOLVED]
    return [matter(alert) for alert in sorted(live, key=lambda alert: list(SEVERITIES).index(alert.severity))]


def prices(window: WindowView) -> list[Price]:
    """Expected cost of starting now, at the best time, a week later, and never; empty without declared costs."""
    starts = (
        ("now", window.cost_now),
        ("preferred", window.preferred.cost),
        ("a week later", window.cost_week_later),
        ("run to failure", window.cost_run_to_failure),
    )
    known = [(start, cost) for start, cost in starts if cost is not None]
    if window.preferred.cost is None:
        return []
    highest = max(cost for _, cost in known)
    return [
        Price(
            start,
            words.amount(cost, window.currency),
            charts.bar(cost / highest, "best" if start == "preferred" else ""),
            start == "preferred",
        )
        for start, cost in known
    ]


def _bound(edge: EdgeView, risk_cap: float) -> str:
    """What sets an edge; where even the first start is too risky, that it is."""
    if edge.bound == "risk_cap" and (edge.failure_probability or 0.0) > risk_cap:
        return f"the accepted risk of {words.percent(risk_cap)} is exceeded already"
    return _BOUNDS[edge.bound]


def _ahead(at_ms: int, now_ms: int) -> str:
    """How long until the preferred start; a window moves on material change only, so it may have passed."""
    return words.ahead(at_ms, now_ms) if at_ms > now_ms else "as soon as possible"


def _work(record: InterventionView) -> str:
    stopped = "machine stopped" if record.machine_stopped else "machine running"
    return ", ".join([*work(record.duration_hours, record.crew, record.skills), stopped])


def _quiet(view: AssetView) -> str:
    """Why there is nothing to do."""
    if view.life.failed:
        return "It has failed: repair or replace it, and report that below."
    if view.twin is None or view.twin.prognosis.refusal is not None:
        return "Nothing can be advised without a forecast."
    horizon = words.life(view.twin.prognosis.horizon, view.twin.unit)
    return f"Nothing to plan yet: the best start lies beyond the next {horizon}."


def _timeline_until(view: AssetView, window: WindowView) -> int:
    """Up to where the timeline reaches: a little beyond the window and the likely failure."""
    start = window.earliest.start if view.twin is None else view.twin.made_at
    ends = [window.latest.start]
    if view.twin is not None:
        prognosis = view.twin.prognosis
        ends += [at for at in (prognosis.likely_from, prognosis.median_at, prognosis.likely_until) if at is not None]
    return start + round(1.1 * (max(ends) - start))


def _timeline(view: AssetView, window: WindowView, now_ms: int, until_ms: int) -> Markup:
    def ahead(at_ms: int) -> float:
        return max(at_ms - now_ms, 0)

    edges = (ahead(window.earliest.start), ahead(window.preferred.start), ahead(window.latest.start))
    likely = None
    if view.twin is not None and view.twin.prognosis.likely_from is not None:
        prognosis = view.twin.prognosis
        median = until_ms if prognosis.median_at is None else prognosis.median_at
        last = until_ms if prognosis.likely_until is None else prognosis.likely_until
        likely = (ahead(prognosis.likely_from or 0), ahead(median), ahead(last))
    title = "The window and the likely failure on one line of time"
    return charts.timeline(max(ahead(until_ms), 1.0), edges, likely, title)


def _attention(record: InterventionView | None) -> str:
    text = "" if record is None else record.attention or ""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _status(now: Snapshot, record: InterventionView | None, now_ms: int) -> str:
    """What people have decided about the window; empty while it is only proposed."""
    if record is None or record.status == InterventionStatus.PROPOSED:
        return ""
    zone = now.current.plant.time_zone
    when = "" if record.committed is None else f" for {words.moment(record.committed.start, zone, now_ms)}"
    numbers = [f"{system} {number}" for system, number in record.external.items()]
    return f"{record.status.replace('_', ' ').capitalize()}{when}{f' ({words.listed(numbers)})' if numbers else ''}"


def _accept(record: InterventionView | None) -> str:
    if record is None or record.status != InterventionStatus.PROPOSED:
        return ""
    return f"/api/v1/interventions/{record.id}/accept"
