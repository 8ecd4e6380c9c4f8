"""The shapes of what people and other systems read: one explicit type for each, the same for pages and API.

In Python a time is integer milliseconds UTC; in JSON it is RFC 3339. What is not known is None, in JSON null; `to_json`
turns a stray NaN or infinity into null as well, so that what goes out is always valid JSON.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import PlainSerializer, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at_ms: int) -> str:
    """Milliseconds UTC as `2026-12-04T06:00:00Z`; the milliseconds are written only where there are any."""
    timespec = "milliseconds" if at_ms % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec=timespec).replace("+00:00", "Z")


Instant = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Milliseconds UTC; RFC 3339 in JSON."""


def to_json(shape: Any, value: Any) -> bytes:
    """JSON of a value of this shape; NaN and infinities become null."""
    return _adapter(shape).dump_json(value)


T = TypeVar("T")


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of records; `next` is the cursor of the page after it, null on the last one."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class QuantileView:
    """A quantile of the remaining life; `at` is its date, None beyond the horizon or where the duty is unknown."""

    level: float
    life: float
    at: Instant | None


@dataclass(frozen=True, slots=True)
class RulView:
    """Remaining useful life: median and the band that holds four in five [unit]."""

    p10: float
    p50: float
    p90: float
    unit: str


@dataclass(frozen=True, slots=True)
class RiskView:
    """The probability of failing before a time, None where it is not known."""

    name: str
    until: Instant
    probability: float | None


@dataclass(frozen=True, slots=True)
class ModeView:
    """A failure mode that may come first, None where nobody can tell how likely."""

    name: str
    title: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class PrognosisView:
    """The time to failure of one target, or a refusal with its reason.

    Attributes:
        text: what a page says, for example "likely 10-27 Dec (4 in 5)".
        made_at: the plant time that dates and risks count from.
        basis: none, declared_life or learned.
        refusal: why there is none, as a code (None: there is one); `refusal_text` says what would lift it.
        horizon: how far ahead a date is worth anything [unit].
        beyond_horizon: probability of outliving the horizon.
        duty_rate: life used per hour of plant time [unit/h].
    """

    target: str
    text: str
    made_at: Instant
    unit: str
    basis: str
    refusal: str | None
    refusal_text: str | None
    rul: RulView | None
    likely_from: Instant | None
    likely_until: Instant | None
    median_at: Instant | None
    horizon: float
    beyond_horizon: float | None
    duty_rate: float | None
    likely_mode: ModeView | None
    modes: tuple[ModeView, ...]
    risks: tuple[RiskView, ...]
    quantiles: tuple[QuantileView, ...]


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A start of the work: what it costs to expect, and what bounds it (notice, calendar, cost, risk_cap, ...)."""

    start: Instant
    failure_probability: float | None
    cost: float | None
    bound: str


@dataclass(frozen=True, slots=True)
class WindowView:
    """The intervention window as published. Amounts in `currency`, None where no costs are declared."""

    earliest: EdgeView
    preferred: EdgeView
    latest: EdgeView
    cost_now: float | None
    cost_week_later: float | None
    cost_run_to_failure: float | None
    currency: str


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
    """The sentences of a recommendation; `text` is all of them. A field is empty where it does not apply."""

    title: str
    what_wears: str
    how_we_know: str
    what_to_do: str
    by_when: str
    cost_of_waiting: str
    evidence: list[str]
    text: str


@dataclass(frozen=True, slots=True)
class RecommendationView:
    """What to do, by when and why, in plain words, and what somebody answered."""

    id: str
    revision: int
    serial: str
    target: str
    state: str
    at: Instant
    alert_id: str | None
    prognosis_id: str | None
    answer: AnswerView | None
    body: AdviceBody


@dataclass(frozen=True, slots=True)
class SensorView:
    """The latest summary of one step column, in the declared unit."""

    column: str
    sensor: str
    title: str
    unit: str
    value: float | None


@dataclass(frozen=True, slots=True)
class TwinView:
    """The belief about one machine after its latest step.

    Attributes:
        tick, revision: version of the twin (the tick that concluded it; how often its history was folded again, None
            where an older twin was folded on demand).
        made_at: plant time of that tick; `seen_until` is the end of the latest step folded.
        exposure: life used [unit]; `used_life` its share of used plus median remaining life, 0 to 1.
        complete: whether the history reaches back to the start of this life.
        running_share: share of the latest step that the machine ran, None in a gap.
    """

    serial: str
    tick: int
    revision: int | None
    made_at: Instant
    seen_until: Instant | None
    steps: int
    exposure: float
    unit: str
    used_life: float | None
    complete: bool
    running_share: float | None
    duty_rate: float | None
    sensors: tuple[SensorView, ...]
    prognosis: PrognosisView


@dataclass(frozen=True, slots=True)
class ReadinessView:
    """What this asset can do today, and what would unlock the next step.

    `level` is forecast (learned), declared (from the declared life), watched (limits only) or none.
    """

    level: str
    today: str
    next: str | None


@dataclass(frozen=True, slots=True)
class MirrorView:
    """The latest readings, beside the twin and outside its version; `sync` is in_sync, stale or offline."""

    serial: str
    sync: str
    read_at: Instant | None
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class LifeView:
    """The present life of a machine."""

    started_at: Instant | None
    failed: bool
    ended_at: Instant | None
    mode: str | None


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
class AssetView:
    """All that a page or a system shows of one machine."""

    serial: str
    class_name: str
    class_title: str
    slot: str
    source: str | None
    place: tuple[str, ...]
    criticality: int
    external: dict[str, dict[str, str]]
    in_service: bool
    life: LifeView
    attention: str | None
    readiness: ReadinessView
    twin: TwinView | None
    window: WindowView | None
    alerts: tuple[AlertView, ...]
    recommendations: tuple[RecommendationView, ...]
    interventions: tuple[InterventionView, ...]


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One line of the fleet.

    Attributes:
        attention: now, soon, blind (no forecast although it should have one) or None.
        risk: probability of failing within the notice period, which ends at `risk_until`.
        expected_loss: risk times what the failure costs, None without declared costs.
        text: the forecast in words; `likely_mode` the title of the mode that it is most likely about.
        alert: the gravest live alert.
    """

    serial: str
    class_name: str
    slot: str
    place: tuple[str, ...]
    criticality: int
    in_service: bool
    attention: str | None
    text: str
    basis: str
    refusal: str | None
    likely_mode: str | None
    median_at: Instant | None
    risk: float | None
    risk_until: Instant | None
    expected_loss: float | None
    currency: str
    exposure: float | None
    used_life: float | None
    unit: str
    window: WindowView | None
    alert: AlertView | None
    seen_until: Instant | None


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Machines in service, and what can be said about them."""

    assets: int
    attention: int
    forecast: int
    watched: int
    no_forecast: int
    failed: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """A page of the fleet; `matching` machines meet the filter, `next` is where the following page starts.

    `made_at` is the plant time of the oldest belief shown, None before the first tick.
    """

    plant: str
    currency: str
    simulated: bool
    made_at: Instant | None
    counts: FleetCounts
    matching: int
    rows: tuple[AssetRow, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class IssuedView:
    """A prognosis as it was frozen when it was told."""

    id: str
    serial: str
    target: str
    issued_at: Instant
    step_start: Instant
    twin_revision: int
    exposure: float
    unit: str
    basis: str
    refusal: str | None
    model: str
    plant_version: str
    mode: str | None
    duty_rate: float | None
    preferred_start: Instant | None
    rul: RulView | None
    used_life: float | None
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EventView:
    """A maintenance event as reported."""

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
    note: str | None
    value: float | None
    voided: bool


@dataclass(frozen=True, slots=True)
class RunView:
    """One run of a scheduled job."""

    job: str
    scheduled_at: Instant
    started_at: Instant
    finished_at: Instant | None
    outcome: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A message that could not be read; `payload` is its beginning as text, `count` how often it came."""

    id: str
    topic: str
    reason: str
    detail: str
    first_seen: Instant
    last_seen: Instant
    count: int
    payload: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class SimulationView:
    """Simulated time: `rate` is plant seconds per second."""

    plant_time: Instant
    rate: float
    paused: bool
    done: bool


@dataclass(frozen=True, slots=True)
class SeriesColumn:
    """The values of one sensor in its declared unit, null where nothing was measured."""

    unit: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class SeriesView:
    """Readings of a machine in columns; `time_ms` are milliseconds UTC, `every_ms` says over how long was averaged."""

    serial: str
    start: Instant
    end: Instant
    every_ms: int | None
    time_ms: tuple[int, ...]
    sensors: dict[str, SeriesColumn]


@dataclass(frozen=True, slots=True)
class RefusedReading:
    """A message of a body that was not stored; it is in the dead letters under the same reason."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReadingsAccepted:
    """What became of a body of readings; `late` ones came too late to change a step."""

    stored: int
    late: int
    problems: tuple[RefusedReading, ...]
