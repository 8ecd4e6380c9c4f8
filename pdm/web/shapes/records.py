"""What people are told, and what they do about it: alerts, recommendations, intervention windows, events."""

from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from pdm.web.shapes.forecasts import RulView
from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class TransitionView:
    """One stored change of an alert, with who made it and why."""

    ordinal: int
    kind: str
    at: Instant
    who: str
    reason: str
    severity: str


@dataclass(frozen=True, slots=True)
class AlertView:
    """An open matter: one for each asset, target and rule."""

    id: str
    revision: int
    serial: str
    target: str
    rule: str
    title: str
    state: str
    severity: str
    opened_at: Instant
    updated_at: Instant
    closed_at: Instant | None
    acknowledged_by: str | None
    shelved_until: Instant | None
    prognosis_id: str | None
    plant_version: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlertDetail:
    """An alert with its whole story."""

    revision: int
    alert: AlertView
    transitions: tuple[TransitionView, ...]


class AnswerView(TypedDict):
    """What somebody said to a recommendation."""

    who: str
    at: Instant
    reason: str


class AdviceBody(TypedDict, total=False):
    """The sentences of a recommendation; `text` is all of them, `seen` is the rule and what it saw. A field is empty
    where it does not apply."""

    title: str
    what_wears: str
    seen: str
    how_we_know: str
    what_to_do: str
    by_when: str
    cost_of_waiting: str
    evidence: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class RecommendationView:
    """What to do, by when and why, in plain words, and what somebody answered; `said_without` is when something older
    than it came to be known."""

    id: str
    revision: int
    serial: str
    target: str
    state: str
    at: Instant
    alert_id: str | None
    prognosis_id: str | None
    answer: AnswerView | None
    said_without: Instant | None
    body: AdviceBody


@dataclass(frozen=True, slots=True)
class EdgesView:
    """A figure or code for each of the three starts that a window names."""

    earliest: float | str | None
    preferred: float | str | None
    latest: float | str | None


@dataclass(frozen=True, slots=True)
class CostView:
    """Expected cost of each choice of a start; None without declared costs."""

    now: float | None
    earliest: float | None
    preferred: float | None
    latest: float | None
    week_later: float | None
    run_to_failure: float | None


@dataclass(frozen=True, slots=True)
class CommittedView:
    """The dates that the planner answers for, from acceptance on."""

    start: Instant
    finish: Instant
    who: str


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """How it ended: what was found and done, or why it was rejected."""

    who: str
    reason: str
    started_at: Instant | None
    finished_at: Instant | None
    found: str | None
    mode: str | None
    parts: tuple[str, ...]
    value: float | None


@dataclass(frozen=True, slots=True)
class ReplayView:
    """What the advice was derived from."""

    prognosis: str
    tick: int
    model: str
    plant: str


@dataclass(frozen=True, slots=True)
class InterventionView:
    """One intervention window: the record that planners and the CMMS pull.

    Dates named without more are ours and advised; `committed` is the planner's. A revision is a material change.

    Attributes:
        external: work-order number by system. asset_external: keys of the machine in those systems.
        attention: why a planner should look again, None while advice and commitment agree.
        bounded_by: what sets each edge: notice, calendar, wasted_life, cost, risk_cap, horizon or none.
    """

    id: str
    revision: int
    updated_at: Instant
    status: str
    serial: str
    functional_location: str
    place: tuple[str, ...]
    asset_external: dict[str, dict[str, str]]
    target: str
    failure_mode: str
    failure_mode_title: str
    mechanism: str
    cause: str
    action: str
    earliest_start: Instant
    preferred_start: Instant
    latest_start: Instant
    latest_finish: Instant
    duration_hours: float
    crew: int
    skills: tuple[str, ...]
    parts: tuple[str, ...]
    machine_stopped: bool
    priority: int
    rul: RulView
    horizon: float
    failure_probability: EdgesView
    cost: CostView
    currency: str
    priced_at: Instant
    bounded_by: EdgesView
    committed: CommittedView | None
    attention: str | None
    external: dict[str, str]
    outcome: OutcomeView | None
    replay: ReplayView


@dataclass(frozen=True, slots=True)
class InterventionFeed:
    """A page of the feed. `next` is the cursor for the next pull, now or later; `more` says that there is more now."""

    items: tuple[InterventionView, ...]
    next: str | None
    more: bool


@dataclass(frozen=True, slots=True)
class EventView:
    """A maintenance event as reported, and who took it back."""

    id: str
    revision: int
    serial: str
    kind: str
    at: Instant
    recorded_at: Instant
    who: str
    mode: str | None
    by_serial: str | None
    source: str | None
    sensor: str | None
    note: str | None
    value: float | None
    voided: bool
    voided_at: Instant | None
    voided_by: str | None
    voided_reason: str | None
