"""Machines: the twin, the mirror, all of one asset, the fleet."""

from dataclasses import dataclass

from pdm.web.shapes.forecasts import PrognosisView, WindowView
from pdm.web.shapes.records import AlertView, InterventionView, RecommendationView
from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class SensorView:
    """The latest summary of one step column, in the declared unit.

    Attributes:
        fault: dropout, stuck, spike, level, noise, drift or unit_mismatch where the sensor cannot be right: it is left
            out. Noise is limited; of a level the jump is taken off, unless it is wear by what the model learned.
        told_in: of a unit_mismatch the unit that its values seem to be in.
    """

    column: str
    sensor: str
    title: str
    unit: str
    value: float | None
    fault: str | None
    told_in: str | None


@dataclass(frozen=True, slots=True)
class WearView:
    """The wear of one failure mode: 0 new, 1 at its limit.

    Attributes:
        wear, low, high: the middle of what is believed, and the band that holds four in five.
        measured: values of the indicator, by sensor or inspection, that it rests on; 0: on duty and declared life.
        exposure: life used as this mode counts it [unit].
        stress: how much faster than at the reference duty it was used over the last 28 days, None before it ran.
    """

    mode: str
    title: str
    wear: float
    low: float
    high: float
    measured: int
    exposure: float
    stress: float | None


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
        widening: how much wider bands are than they come from the model, since too few truths lay within them.
        departure: how far it is from its own early life, 1 at the level of the alarm; None where no model tells.
        wear: of the failure modes that declare an expected life.
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
    widening: float
    departure: float | None
    sensors: tuple[SensorView, ...]
    wear: tuple[WearView, ...]
    prognosis: PrognosisView


@dataclass(frozen=True, slots=True)
class ReadinessView:
    """What this asset can do today, and what would unlock the next step.

    `level` is forecast (learned), declared (from a declared life or declared wear), watched (limits only) or none.
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
class AssetView:
    """All that a page or a system shows of one machine."""

    serial: str
    class_name: str
    class_title: str
    slot: str
    source: str | None
    place: tuple[str, ...]
    criticality: int
    group: str | None
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
    group: str | None
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
