"""What came of forecasts, for the API and the page: lives that ended, and what had been said of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from statistics import mean
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pdm.errors import NotFoundError
from pdm.inspected import Found, found_by_mode
from pdm.plant import ANY_TARGET, AssetClass
from pdm.prognosis import MEDIAN
from pdm.recommend import EARLY, LATE
from pdm.scoring import track_record as scoring
from pdm.scoring.track_record import FEWEST_LIVES, Figure, Judged
from pdm.services import Services
from pdm.state import schema
from pdm.state.outcomes import Outcomes, StoredAlert, alerts_about, outcomes
from pdm.state.widenings import widenings_of
from pdm.web.forecasts import known
from pdm.web.shapes import (
    FailureView,
    FalseAlarmView,
    FigureView,
    InspectedView,
    MonthView,
    ReliabilityView,
    RulView,
    TrackRecordView,
    WideningView,
)
from pdm.web.snapshot import Snapshot
from pdm.web.views import widening_in


def track_record(
    services: Services, now: Snapshot, class_name: str | None, mode: str | None, model: str | None
) -> TrackRecordView:
    """How the forecasts of a class did (None: of the first), of lives that one mode ended, or by one model version.

    Raises:
        NotFoundError: there is no such class.
    """
    classes = now.current.plant.classes
    if class_name is not None and class_name not in classes:
        raise NotFoundError(f"there is no class {class_name!r}")
    asset_class = classes[class_name or next(iter(classes))]
    key = ("track record", asset_class.name)
    if key not in now.made:
        with schema.read(services.engine) as connection:
            now.made[key] = (
                outcomes(connection, asset_class, now.fleet),
                alerts_about(connection, now.fleet.serials_of(asset_class.name)),
                widenings_of(connection, asset_class.name),
                found_by_mode(connection, asset_class, now.fleet),
            )
    found, alerts, widened, inspected = now.made[key]
    view = _view(asset_class, found, alerts, mode, model, now.current.plant.time_zone)
    changes = [WideningView(row.from_ms, row.model, row.factor, row.lives, row.coverage) for row in reversed(widened)]
    return replace(
        view,
        widening=widening_in(now.classes[asset_class.name]),
        widenings=tuple(changes),
        inspected=tuple(_inspected(one) for one in inspected),
    )


def _view(
    asset_class: AssetClass,
    found: Outcomes,
    alerts: Sequence[StoredAlert],
    mode: str | None,
    model: str | None,
    zone: ZoneInfo,
) -> TrackRecordView:
    failed = [n for n, one in enumerate(found.lives) if one.life.failed and mode in (None, one.life.mode)]
    counted = np.isin(found.of, failed) & np.array([model in (None, name) for name in found.models], dtype=bool)
    length = np.array([one.used for one in found.lives], dtype=np.float64)
    judged = Judged(found.quantiles[counted], found.remaining[counted], length[found.of[counted]], found.of[counted])
    scored, horizon = judged.inside(asset_class.horizon), asset_class.horizon
    found_figures = scoring.figures(judged, horizon)
    coverage = found_figures.get("coverage_80")
    return TrackRecordView(
        class_name=asset_class.name,
        unit=asset_class.life_step.unit,
        horizon=horizon,
        failed=len(failed),
        censored=sum(not one.life.failed for one in found.lives),
        forecasts=len(scored.life),
        enough=len(np.unique(scored.life)) >= FEWEST_LIVES,
        under_covered=coverage is not None and coverage.high < 0.8,
        widening=1.0,
        widenings=(),
        models=tuple(sorted(set(found.models))),
        modes=tuple(sorted({one.life.mode for one in found.lives if one.life.failed and one.life.mode})),
        figures=tuple(FigureView(name, *_known(one)) for name, one in found_figures.items()),
        reliability=tuple(ReliabilityView(p, *_known(one)) for p, one in scoring.reliability(judged, horizon))
        if len(scored.life)
        else (),
        spread=tuple(scoring.transforms(judged, horizon).tolist()) if len(scored.life) else (),
        months=_months(found, scored, zone),
        failures=tuple(_failure(asset_class, found, alerts, number, counted) for number in failed),
        false_alarms=_false_alarms(found, alerts),
        inspected=(),
    )


def _inspected(one: Found) -> InspectedView:
    """What inspections of one mode came to."""
    figures = (("error", one.error), ("absolute_error", one.absolute_error), ("coverage_80", one.coverage_80))
    views = tuple(FigureView(name, *_known(figure)) for name, figure in figures)
    return InspectedView(one.mode, one.inspections, one.lives, one.lives >= FEWEST_LIVES, views)


def _months(found: Outcomes, scored: Judged, zone: ZoneInfo) -> tuple[MonthView, ...]:
    """Coverage by the month of the failure, the earliest first."""
    if not len(scored.life):
        return ()
    held = scoring.per_life(scored, scoring.inside_band(scored.quantiles, scored.remaining))
    ends = [datetime.fromtimestamp(found.lives[n].life.to_ms / 1000, zone) for n in np.unique(scored.life).tolist()]
    of_month: dict[str, list[float]] = {}
    for end, share in zip(ends, held.tolist(), strict=True):
        of_month.setdefault(f"{end:%Y-%m}", []).append(share)
    return tuple(MonthView(month, len(shares), mean(shares)) for month, shares in sorted(of_month.items()))


def _failure(
    asset_class: AssetClass, found: Outcomes, alerts: Sequence[StoredAlert], number: int, counted: NDArray[np.bool_]
) -> FailureView:
    serial, life, used = found.lives[number]
    open_then = [one for one in alerts if one.serial == serial and life.from_ms <= one.opened_ms < life.to_ms]
    warned = [one.opened_ms for one in open_then if one.closed_ms is None or one.closed_ms >= life.to_ms]
    mine = np.flatnonzero(counted & (found.of == number) & (found.issued_ms <= life.to_ms - asset_class.notice_ms))
    told = FailureView(serial, life.to_ms, life.mode, used, warned[0] if warned else None, None, None, None, None, None)
    if not len(mine):
        return told
    last = int(mine[-1])
    low, middle, high = (float(found.quantiles[last, level]) for level in (EARLY, MEDIAN, LATE))
    came = float(found.remaining[last])
    return replace(
        told,
        prognosis_id=found.ids[last],
        issued_at=int(found.issued_ms[last]),
        said=RulView(low, middle, high, asset_class.life_step.unit),
        came=came,
        inside=low <= came <= high,
    )


def _false_alarms(found: Outcomes, alerts: Sequence[StoredAlert]) -> tuple[FalseAlarmView, ...]:
    """Alerts about a failure that closed in a life that has not failed, or before the failure."""
    failures = [(one.serial, one.life) for one in found.lives if one.life.failed]

    def came_true(alert: StoredAlert) -> bool:
        return any(serial == alert.serial and life.from_ms <= alert.opened_ms < life.to_ms for serial, life in failures)

    return tuple(
        FalseAlarmView(one.id, one.serial, one.title, one.opened_ms, one.closed_ms)
        for one in alerts
        if one.target == ANY_TARGET and one.closed_ms is not None and not came_true(one)
    )


def _known(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return known(figure.value), known(figure.low), known(figure.high)
