"""The fleet page: who needs somebody first, and by when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pdm import words
from pdm.services import Services
from pdm.web import charts, fleet
from pdm.web.fleet import FleetFilter
from pdm.web.pages.wear import wear_of
from pdm.web.shapes import AssetRow, FleetCounts, WindowView
from pdm.web.snapshot import Snapshot
from pdm.windows.intervention import UNKNOWN_MODE

PAGE = 24
"""Rows shown at first; as many more each time somebody asks."""

MOST_SHOWN = 10_000
"""A page never has more rows, whatever its address asks for."""

SEVERITIES = {"now": "Now", "shift": "This shift", "week": "This week", "plan": "Plan"}
"""The words beside the shapes of severity, the most urgent first."""


@dataclass(frozen=True, slots=True)
class FleetLine:
    """One machine in words; `kind` is attention, stable, refused or ended."""

    serial: str
    href: str
    name: str
    place: str
    kind: str
    severity: str
    word: str
    what: str
    when: str
    why: str
    risk: str
    risk_until: str
    wear: str
    spark: Markup
    window: str
    preferred: str
    work: str
    loss: str


@dataclass(frozen=True, slots=True)
class FleetPage:
    """What the template shows; `order` names the column that the rows are sorted by."""

    counts: FleetCounts
    rows: Sequence[FleetLine]
    order: str
    query: str
    line: str
    class_name: str
    lines: Sequence[str]
    classes: Sequence[tuple[str, str]]
    matching: int
    others: str
    more: str

    @property
    def filtered(self) -> bool:
        return bool(self.query or self.line or self.class_name)


def asset_href(serial: str) -> str:
    return f"/assets/{quote(serial, safe='')}"


def rows_asked(asked: Mapping[str, str], at_first: int) -> int:
    """How many rows the query string asks to `show`: at first, and where that is no number, so many."""
    text = asked.get("show", "")
    if not text.isdecimal():
        return at_first
    return min(int(text), MOST_SHOWN) if len(text) < 10 else MOST_SHOWN


def fleet_page(services: Services, now: Snapshot, asked: Mapping[str, str]) -> FleetPage:
    """The page for what the query string asks: `q`, `line`, `class`, and how many rows to `show`."""
    show = rows_asked(asked, PAGE)
    wanted = FleetFilter(
        search=asked.get("q") or None,
        line=asked.get("line") or None,
        class_name=asked.get("class") or None,
        limit=max(show, 1),
    )
    view = fleet.fleet_of(now, wanted)
    wear = wear_of(services, [row.serial for row in view.rows])
    now_ms = services.clock.plant_ms()
    hidden = view.matching - len(view.rows)
    more = {**{name: asked[name] for name in ("q", "line", "class") if asked.get(name)}, "show": str(show + 4 * PAGE)}
    priced = any(row.expected_loss is not None for row in view.rows)
    return FleetPage(
        counts=view.counts,
        rows=[_line(now, row, wear[row.serial], priced, now_ms) for row in view.rows],
        order="Expected loss" if priced or not view.rows else "Criticality",
        query=asked.get("q", ""),
        line=asked.get("line", ""),
        class_name=asked.get("class", ""),
        lines=sorted(set(fleet.ranked(now).line) - {""}),
        classes=[(name, c.title or name) for name, c in sorted(now.current.plant.classes.items())],
        matching=view.matching,
        others=_others(now, view.rows, hidden, now_ms) if hidden else "",
        more=f"/?{urlencode(more)}",
    )


def _line(now: Snapshot, row: AssetRow, wear: NDArray[np.float64], priced: bool, now_ms: int) -> FleetLine:
    zone = now.current.plant.time_zone
    attention = row.attention in ("now", "soon")
    severity = row.alert.severity if attention and row.alert is not None else ""
    kind = "attention" if attention else "ended" if not row.in_service else "refused" if row.refusal else "stable"
    until_now = wear if row.used_life is None else np.r_[wear, row.used_life]
    return FleetLine(
        serial=row.serial,
        href=asset_href(row.serial),
        name=row.slot or row.serial,
        place=" / ".join(row.place[1:] or row.place) if row.slot == row.serial else f"serial {row.serial}",
        kind=kind,
        severity=severity,
        word="No forecast" if kind == "refused" else SEVERITIES.get(severity, ""),
        what=(row.likely_mode or "") if row.median_at is not None else "",  # far ahead any part may be the first
        when=row.text,
        why=_why(now, row, now_ms),
        risk=words.percent(row.risk) if row.risk is not None else "",
        risk_until=f"until {words.day(row.risk_until, zone, now_ms)}" if row.risk_until is not None else "",
        wear=f"{words.percent(row.used_life)}" if row.used_life is not None else "",
        spark=charts.spark(until_now, f"wear {words.percent(row.used_life)}"),
        window=_window(now, row, now_ms),
        preferred=_preferred(now, row, now_ms),
        work=_work(now, row),
        loss=_loss(row, priced),
    )


def _loss(row: AssetRow, priced: bool) -> str:
    """What the order is by: expected loss, or criticality where costs are not declared; nothing without a forecast."""
    if row.expected_loss is not None:
        return words.amount(row.expected_loss, row.currency)
    if not priced:
        return str(row.criticality)
    return "" if row.risk is None else f"criticality {row.criticality}"


def _why(now: Snapshot, row: AssetRow, now_ms: int) -> str:
    """Why people were told of it, or since when nothing was heard."""
    if row.alert is not None and row.in_service:
        told = (record.body for record in now.recommendations.get(row.serial, ()) if record.alert_id == row.alert.id)
        advice: Mapping[str, Any] = next(told, {})
        return (
            next(iter(advice.get("evidence", ())), "")
            or advice.get("seen", "").removesuffix(".")
            or row.alert.title.removeprefix(f"{row.slot}: ")
        )
    if row.refusal is not None and row.seen_until is not None:
        return f"last step ended {words.ago(row.seen_until, now_ms)}"
    return ""


def _window(now: Snapshot, row: AssetRow, now_ms: int) -> str:
    return "" if row.window is None else starts(row.window, now.current.plant.time_zone, now_ms)


def starts(window: WindowView, zone: ZoneInfo, now_ms: int) -> str:
    """From the earliest to the latest start of the work; one moment where they are the same."""
    earliest, latest = window.earliest.start, window.latest.start
    return words.moment(earliest, zone, now_ms) if earliest == latest else words.span(earliest, latest, zone, now_ms)


def _preferred(now: Snapshot, row: AssetRow, now_ms: int) -> str:
    """The preferred start, where the window leaves a choice."""
    if row.window is None or row.window.earliest.start == row.window.latest.start:
        return ""
    return f"preferred {words.moment(row.window.preferred.start, now.current.plant.time_zone, now_ms)}"


def _work(now: Snapshot, row: AssetRow) -> str:
    """What the intervention on record takes."""
    records = now.interventions.get(row.serial, ())
    if row.window is None or not records:
        return ""
    advised = records[0].advised
    return ", ".join(work(advised["duration_hours"], advised["crew"], advised["skills"]))


def planned(now: Snapshot, serial: str, now_ms: int) -> str:
    """What is advised for a machine in one sentence; empty where there is no window."""
    row = fleet.row_of(now, serial)
    if row.window is None or not (records := now.interventions.get(serial)):
        return ""
    action = action_of(records[0].advised["action"], records[0].advised["failure_mode"])
    zone = now.current.plant.time_zone
    preferred = words.moment(row.window.preferred.start, zone, now_ms)
    choice = _preferred(now, row, now_ms)
    window = f"window {_window(now, row, now_ms)}, {choice}" if choice else preferred
    return f"{action}: {window}, {_work(now, row)}."


def action_of(action: str, mode: str) -> str:
    """What is done in a window, or why that cannot be said."""
    unsaid = "a failure mode that is not known yet" if mode == UNKNOWN_MODE.name else "it, no action is declared"
    return f"{action[:1].upper()}{action[1:]}" if action else f"Work on {unsaid}"


def work(hours: float, crew: int, skills: Sequence[str]) -> list[str]:
    """How long the work takes and whom it needs: "6 h", "2 x fitter"."""
    people = f"{crew} x {' / '.join(skills)}" if crew > 1 and skills else ", ".join(skills)
    return [text for text in (words.quantity(hours, "h"), people) if text]


def _others(now: Snapshot, shown: Sequence[AssetRow], hidden: int, now_ms: int) -> str:
    """The rest in one sentence, with the first window among them."""
    seen = {row.serial for row in shown}
    coming = [
        (int(record.advised["preferred_start_ms"]), serial)
        for serial, records in now.interventions.items()
        for record in records
        if serial not in seen and serial in now.fleet.assets
    ]
    if not coming:
        return f"{words.plural(hidden, 'other')}."
    at_ms, serial = min(coming)
    return (
        f"{words.plural(hidden, 'other')}, next window: {now.fleet.assets[serial].slot} {words.ahead(at_ms, now_ms)}."
    )
