"""The page about how forecasts did: what was said before each failure, false alarms, then calibration."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from markupsafe import Markup

from pdm import words
from pdm.services import Services
from pdm.web import charts
from pdm.web.shapes import FailureView, FigureView, InspectedView, TrackRecordView, WideningView
from pdm.web.snapshot import Snapshot
from pdm.web.track_record import track_record

_NAMES = {
    "coverage_50": "Truths in the 50 % band",
    "coverage_80": "Truths in the 80 % band",
    "coverage_90": "Truths in the 90 % band",
    "width_80": "Width of the 80 % band",
    "crps": "CRPS, the smaller the better",
    "nasa": "NASA score, late counts more",
    "pinball_10": "Pinball loss at 10 %",
    "pinball_50": "Pinball loss at 50 %",
    "pinball_90": "Pinball loss at 90 %",
    "alpha_lambda": "Right within 20 % at half of the life",
    "prognostic_horizon": "First right within 10 % of the life, so long before",
}
_SHARES = ("coverage_50", "coverage_80", "coverage_90", "alpha_lambda")


@dataclass(frozen=True, slots=True)
class Tab:
    """A class to choose."""

    title: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failure in words; `href` leads to the machine, `forecast` to what was said, empty where nothing was."""

    name: str
    href: str
    when: str
    mode: str
    warned: str
    said: str
    came: str
    verdict: str
    forecast: str


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure in words."""

    name: str
    value: str
    band: str


@dataclass(frozen=True, slots=True)
class InspectedRow:
    """What inspections of one failure mode came to, in words."""

    mode: str
    counted: str
    error: str
    absolute_error: str
    coverage: str


@dataclass(frozen=True, slots=True)
class TrackRecordPage:
    """All of the page."""

    title: str
    tabs: tuple[Tab, ...]
    counted: str
    too_few: bool
    under_covered: bool
    widened: str
    widenings: tuple[tuple[str, str, str], ...]
    failures: tuple[FailureRow, ...]
    false_alarms: tuple[tuple[str, str, str], ...]
    inspected: tuple[InspectedRow, ...]
    figures: tuple[FigureRow, ...]
    reliability: Markup
    reliability_rows: tuple[tuple[str, str, str], ...]
    spread: Markup
    spread_rows: tuple[tuple[str, str], ...]
    months: tuple[tuple[str, str, str], ...]


def track_record_page(services: Services, now: Snapshot, asked: Mapping[str, str]) -> TrackRecordPage:
    """The page of the class that is asked for, or of the first."""
    view = track_record(services, now, asked.get("class"), asked.get("mode"), asked.get("model"))
    classes, zone, now_ms = now.current.plant.classes, now.current.plant.time_zone, services.clock.plant_ms()
    curve = [one for one in view.reliability if one.observed is not None]
    return TrackRecordPage(
        title=classes[view.class_name].title or view.class_name,
        tabs=tuple(
            Tab(one.title or name, f"/track-record?{urlencode({'class': name})}", name == view.class_name)
            for name, one in classes.items()
        ),
        counted=_counted(view),
        too_few=not view.enough,
        under_covered=view.under_covered,
        widened=f"{words.number(view.widening, 2)} times" if view.widening > 1.0 else "",
        widenings=tuple((words.moment(one.from_at, zone, now_ms), one.model, _widening(one)) for one in view.widenings),
        failures=tuple(_failure(view, one, now) for one in sorted(view.failures, key=lambda one: -one.failed_at)),
        false_alarms=tuple(
            (_name(one.serial, now), words.span(one.opened_at, one.closed_at, zone, now_ms), one.title)
            for one in view.false_alarms
        ),
        inspected=tuple(_inspected(view, one, now) for one in view.inspected),
        figures=tuple(_figure(view, one) for one in view.figures),
        reliability=charts.reliability(
            [(one.stated, one.observed or 0.0, one.low, one.high) for one in curve],
            "Stated probability across, observed share upwards; calibrated forecasts lie on the diagonal",
        ),
        reliability_rows=tuple(
            (words.percent(one.stated), words.percent(one.observed), _range(one.low, one.high)) for one in curve
        ),
        spread=charts.histogram(
            view.spread, "Share of truths in each tenth of what was said; calibrated ones are level"
        ),
        months=tuple((one.month, f"{one.lives}", words.percent(one.coverage_80)) for one in view.months),
        spread_rows=tuple(
            (f"{10 * n} to {10 * n + 10} %", words.percent(share)) for n, share in enumerate(view.spread)
        ),
    )


def _counted(view: TrackRecordView) -> str:
    alive = f", {words.plural(view.censored, 'life', 'lives')} ended alive" if view.censored else ""
    failed = words.plural(view.failed, "failure")
    return f"{failed}{alive}; {words.plural(view.forecasts, 'issued forecast')} inside the horizon."


def _failure(view: TrackRecordView, one: FailureView, now: Snapshot) -> FailureRow:
    zone = now.current.plant.time_zone
    modes = {mode.name: mode.title or mode.name for mode in now.current.plant.classes[view.class_name].failure_modes}
    warned = "no" if one.warned_at is None else f"{words.duration(one.failed_at - one.warned_at)} before"
    said = "nothing" if one.said is None else words.life_range(one.said.p10, one.said.p90, view.unit)
    verdict = {None: "", True: "inside", False: "outside"}[one.inside]
    if one.said is not None and one.came is not None and not one.inside:
        verdict = "failed earlier" if one.came < one.said.p10 else "lived longer"
    return FailureRow(
        name=_name(one.serial, now),
        href=f"/assets/{quote(one.serial, safe='')}",
        when=words.moment(one.failed_at, zone, one.failed_at),
        mode="unknown" if one.mode is None else modes.get(one.mode, one.mode),
        warned=warned,
        said=said,
        came="" if one.came is None else words.life(one.came, view.unit),
        verdict=verdict,
        forecast="" if one.prognosis_id is None else f"/api/v1/prognoses/{one.prognosis_id}",
    )


def _inspected(view: TrackRecordView, one: InspectedView, now: Snapshot) -> InspectedRow:
    modes = {mode.name: mode.title or mode.name for mode in now.current.plant.classes[view.class_name].failure_modes}
    error, absolute, coverage = one.figures
    few = "" if one.enough else ": too few to tell"
    lives = words.plural(one.lives, "life", "lives")
    side = "more" if (error.value or 0.0) > 0 else "less"
    return InspectedRow(
        mode=modes[one.mode],
        counted=f"{words.plural(one.inspections, 'inspection')} of {lives}{few}",
        error=f"{words.percent(abs(error.value or 0.0))} {side} wear than found",
        absolute_error=f"{words.percent(absolute.value)}{_in_brackets(absolute)}",
        coverage=f"{words.percent(coverage.value)}{_in_brackets(coverage)}",
    )


def _in_brackets(one: FigureView) -> str:
    band = _range(one.low, one.high)
    return band and f" ({band})"


def _figure(view: TrackRecordView, one: FigureView) -> FigureRow:
    def said(value: float | None) -> str:
        if one.name in _SHARES:
            return words.percent(value)
        return words.number(value) if one.name == "nasa" else words.life(value, view.unit)

    band = "" if one.low is None else f"{said(one.low)} to {said(one.high)}"
    return FigureRow(_NAMES[one.name], said(one.value), band)


def _widening(one: WideningView) -> str:
    truths = f"{words.percent(one.coverage)} of the truths of {words.plural(one.lives, 'life', 'lives')}"
    if one.factor == 1.0:
        return f"as it says them again: {truths} lay in the 80 % band"
    return f"{words.number(one.factor, 2)} times as wide as it says them: {truths} lay in the 80 % band"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{words.percent(low)} to {words.percent(high)}"


def _name(serial: str, now: Snapshot) -> str:
    return now.fleet.assets[serial].slot or serial
