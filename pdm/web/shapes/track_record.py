"""How past forecasts did."""

from dataclasses import dataclass

from pdm.web.shapes.forecasts import RulView
from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class FigureView:
    """A mean over finished lives; `low` and `high` are its 90 % band, null where lives are too few to tell."""

    name: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityView:
    """How often the truth lay below the quantile of a stated probability."""

    stated: float
    observed: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class MonthView:
    """Failures of one month ("2026-03", in the zone of the plant), and how often truths lay in the 80 % band before
    them, each life weighing the same."""

    month: str
    lives: int
    coverage_80: float


@dataclass(frozen=True, slots=True)
class FailureView:
    """One failure, and what had been said. `warned_at` is when the first alert opened in that life that was still open;
    the forecast is the last one that was issued at least the notice period before."""

    serial: str
    failed_at: Instant
    mode: str | None
    life: float
    warned_at: Instant | None
    prognosis_id: str | None
    issued_at: Instant | None
    said: RulView | None
    came: float | None
    inside: bool | None


@dataclass(frozen=True, slots=True)
class FalseAlarmView:
    """An alert about a failure that did not come: it closed, and the machine went on or was taken out alive."""

    alert_id: str
    serial: str
    title: str
    opened_at: Instant
    closed_at: Instant


@dataclass(frozen=True, slots=True)
class WideningView:
    """From when on the bands of a model are `factor` times as wide as it says them, and why: the share of the truths of
    so many finished lives that lay in its 80 % bands."""

    from_at: Instant
    model: str
    factor: float
    lives: int
    coverage: float


@dataclass(frozen=True, slots=True)
class InspectedView:
    """How the wear by one failure mode, as expected before each inspection, did against what was measured, in shares of
    the way from new to the limit: `error` (expected less found), `absolute_error` and `coverage_80`, each life weighing
    the same; `enough` is false where lives are too few to tell."""

    mode: str
    inspections: int
    lives: int
    enough: bool
    figures: tuple[FigureView, ...]


@dataclass(frozen=True, slots=True)
class TrackRecordView:
    """What came of the forecasts of one class; lives are in `unit`.

    `failed` lives are what figures are counted in, `censored` ones ended alive; `enough` is false where they are too
    few to tell. `under_covered`: fewer truths lay in the 80 % band than chance explains. `widening`: how much wider
    bands are now than the model says them, 1 for not at all; `widenings` are all changes of it, the newest first.
    `spread`: share of truths in each tenth of what was said. `months` are those in which machines failed.
    """

    class_name: str
    unit: str
    horizon: float
    failed: int
    censored: int
    forecasts: int
    enough: bool
    under_covered: bool
    widening: float
    widenings: tuple[WideningView, ...]
    models: tuple[str, ...]
    modes: tuple[str, ...]
    figures: tuple[FigureView, ...]
    reliability: tuple[ReliabilityView, ...]
    spread: tuple[float, ...]
    months: tuple[MonthView, ...]
    failures: tuple[FailureView, ...]
    false_alarms: tuple[FalseAlarmView, ...]
    inspected: tuple[InspectedView, ...]
