"""The asset page: how long it lasts, what to do, why, and how far to trust it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pdm import words
from pdm.installations import NEVER_MS
from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state import schema
from pdm.web import charts, views
from pdm.web.charts import Fan, Mark
from pdm.web.pages.advice import Todo, todo_of
from pdm.web.pages.fleet import SEVERITIES, asset_href
from pdm.web.pages.mirror import MirrorPart, mirror_of
from pdm.web.pages.reasons import Reasons, reasons_of
from pdm.web.pages.stories import Story, stories_of, title_then
from pdm.web.pages.what_if import duty_slider
from pdm.web.shapes import AssetView, EventView, IssuedView, PrognosisView, RulView, TwinView
from pdm.web.snapshot import Snapshot

_UNTIL = {
    "end of shift": "until end of shift",
    "next manned shift": "until the next manned shift",
    "day": "within a day",
}
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Risk:
    """A time and the probability of failing before it."""

    until: str
    risk: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no forecast, and what would lift that."""

    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rul:
    """Remaining useful life in words."""

    life: str
    range: str
    when: str
    median: str


@dataclass(frozen=True, slots=True)
class Said:
    """One issued forecast as a row of the table behind the chart."""

    when: str
    age: str
    median: str
    range: str


@dataclass(frozen=True, slots=True)
class AssetPage:
    """What the template shows."""

    serial: str
    href: str
    name: str
    place: Sequence[str]
    class_title: str
    severity: str
    word: str
    running: str
    mirror: MirrorPart
    belief: str
    risks: Sequence[Risk]
    failed: bool
    refused: Refused | None
    rul: Rul | None
    unit: str
    fan: Markup | None
    fan_data: str
    said: Sequence[Said]
    thinned: bool
    todo: Todo
    reasons: Reasons
    modes: Sequence[tuple[str, str]]
    slider: str
    sensors: Sequence[tuple[str, str]]


def asset_page(services: Services, now: Snapshot, serial: str) -> AssetPage:
    """The page of one machine.

    Raises:
        NotFoundError: no such machine.
    """
    view = views.asset_of(now, services, serial)
    asset_class = now.current.plant.classes[view.class_name]
    twin, now_ms = view.twin, services.clock.plant_ms()
    issued = views.issued_in_life(services, now, view)
    with schema.read(services.engine) as connection:
        stories = stories_of(connection, schema.alerts.c.serial == serial)
    fan = fan_of(services, view, asset_class, issued, stories.values())
    gravest, mirror = views.gravest(view.alerts), mirror_of(services, now, view)
    return AssetPage(
        serial=serial,
        href=asset_href(serial),
        name=view.slot or serial,
        place=view.place,
        class_title=view.class_title,
        severity="" if gravest is None else gravest.severity,
        word="" if gravest is None else SEVERITIES.get(gravest.severity, ""),
        running="not seen yet" if twin is None else f"running {words.quantity(twin.exposure, twin.unit)}",
        mirror=mirror,
        belief="not made yet" if twin is None else words.ago(twin.made_at, now_ms),
        risks=[] if twin is None else _risks(now, view, twin.prognosis, now_ms),
        failed=view.life.failed,
        refused=_refused(view),
        rul=None if twin is None else _rul(now, twin.prognosis, now_ms),
        unit=words.unit(asset_class.life_step.unit, 2),
        fan=None if fan is None else charts.fan(fan, _in_one_sentence(view, fan)),
        fan_data="" if fan is None else json.dumps(fan.data(), separators=(",", ":")),
        said=[_said(now, record, now_ms) for record in reversed(issued)],
        thinned=len(issued) == views.ISSUED_SHOWN,
        todo=todo_of(now, view, stories, now_ms),
        reasons=reasons_of(services, now, view),
        modes=[(mode.name, mode.title or mode.name) for mode in asset_class.failure_modes],
        slider="" if twin is None or twin.prognosis.refusal else duty_slider(asset_class),
        sensors=[(sensor.name, sensor.title or sensor.name) for sensor in asset_class.sensors],
    )


def fan_of(
    services: Services,
    view: AssetView,
    asset_class: AssetClass,
    issued: Sequence[IssuedView],
    stories: Iterable[Story],
) -> Fan | None:
    """The chart of all that was said in this life; None before the machine was seen."""
    twin = view.twin
    if twin is None or not (issued or twin.prognosis.rul):
        return None
    rul = twin.prognosis.rul
    return Fan(
        ages=[record.exposure for record in issued],
        low=[_NAN if record.rul is None else record.rul.p10 for record in issued],
        median=[_NAN if record.rul is None else record.rul.p50 for record in issued],
        high=[_NAN if record.rul is None else record.rul.p90 for record in issued],
        horizon=asset_class.horizon,
        age=twin.exposure,
        now=None if rul is None or view.life.failed else (rul.p10, rul.p50, rul.p90),
        unit=words.unit(asset_class.life_step.unit, 2),
        ended=twin.exposure if view.life.failed else None,
        marks=_marks(services, view, asset_class, twin, issued, stories),
        told=[_told(record, asset_class.horizon) for record in issued],
    )


def _told(record: IssuedView, horizon: float) -> str:
    """One issued forecast in words: "At 456 h: 90 h (4 in 5: 20-180 h)"."""
    age = f"At {words.quantity(record.exposure, record.unit)}"
    if record.rul is None:
        return f"{age}: no forecast ({(record.refusal or 'none').replace('_', ' ')})"
    return f"{age}: {_life_text(record.rul, horizon)} ({_band_text(record.rul, horizon)})"


def _life_text(rul: RulView, horizon: float) -> str:
    """The median, or that it lies beyond the horizon."""
    return f"more than {words.life(horizon, rul.unit)}" if rul.p50 > horizon else words.life(rul.p50, rul.unit)


def _band_text(rul: RulView, horizon: float) -> str:
    """The band that holds four in five, or what nine in ten exceed where it is open to above; a figure is said once."""
    if rul.p90 > horizon:
        least = f"more than {words.life(min(rul.p10, horizon), rul.unit)}"
        return "9 in 10" if least == _life_text(rul, horizon) else f"9 in 10: {least}"
    return f"4 in 5: {words.life_range(rul.p10, rul.p90, rul.unit)}"


def _marks(
    services: Services,
    view: AssetView,
    asset_class: AssetClass,
    twin: TwinView,
    issued: Sequence[IssuedView],
    stories: Iterable[Story],
) -> list[Mark]:
    """Events and alerts of this life, at the age at which they happened, in the words of then."""
    begin = -NEVER_MS if view.life.started_at is None else view.life.started_at
    events = [event for event in views.events_of(services, view.serial) if not event.voided and event.at >= begin]
    opened = [story[0] for story in stories if story[0].at_ms >= begin]
    known = [(record.issued_at, record.exposure) for record in issued] + [(twin.made_at, twin.exposure)]
    marks = [
        Mark(_age_at(event.at, known), event.kind, event_text(event, asset_class))
        for event in events
        if event.at > begin
    ]
    marks += [
        Mark(
            _age_at(change.at_ms, known) if change.opened_exposure is None else change.opened_exposure,
            "alert",
            f"alert: {title_then(change, view.slot)}",
        )
        for change in opened
    ]
    return sorted(marks, key=lambda mark: mark.age)


def event_text(event: EventView, asset_class: AssetClass) -> str:
    """An event in words: "failed (Radial bearing wear)", "replaced by 8871-D", "sensor replaced (Oil temperature)",
    "inspected, 3.2"."""
    if event.sensor is not None:
        titles = {sensor.name: sensor.title for sensor in asset_class.sensors}
        return f"sensor replaced ({titles.get(event.sensor) or event.sensor})"
    titles = {mode.name: mode.title for mode in asset_class.failure_modes}
    mode = f" ({titles.get(event.mode, event.mode)})" if event.kind == "failed" and event.mode else ""
    value = f", {words.number(event.value)}" if event.kind == "inspected" and event.value is not None else ""
    return f"{event.kind}{mode}{value}{f' by {event.by_serial}' if event.by_serial else ''}"


def _age_at(at_ms: int, known: Sequence[tuple[int, float]]) -> float:
    """The age at a time between two times at which it is known."""
    before = max((pair for pair in known if pair[0] <= at_ms), default=min(known))
    after = min((pair for pair in known if pair[0] >= at_ms), default=max(known))
    if after[0] == before[0]:
        return before[1]
    return before[1] + (after[1] - before[1]) * (at_ms - before[0]) / (after[0] - before[0])


def _risks(now: Snapshot, view: AssetView, prognosis: PrognosisView, now_ms: int) -> list[Risk]:
    """The risks that people ask about first: the shifts, or a day where there are none; the window, or a week."""
    if prognosis.refusal is not None:
        return []
    named = {risk.name: risk.probability for risk in prognosis.risks if risk.probability is not None}
    shifts = [name for name in ("end of shift", "next manned shift") if name in named]
    risks = [(_UNTIL[name], named[name]) for name in shifts or named.keys() & {"day"}]
    if view.window is not None:
        closes = words.day(view.window.latest.start, now.current.plant.time_zone, now_ms)
        risks.append((f"until the window closes ({closes})", view.window.latest.failure_probability or 0.0))
    elif "week" in named:
        risks.append(("within a week", named["week"]))
    return [
        Risk(until if place else f"{until[:1].upper()}{until[1:]}", words.percent(probability))
        for place, (until, probability) in enumerate(risks)
    ]


def _refused(view: AssetView) -> Refused | None:
    if view.life.failed:
        return Refused("It has failed", "Report its repair or replacement below: another life starts there.")
    if not view.in_service:
        return Refused("Out of service", "It sits in no slot. Report where it is installed to watch it again.")
    if view.twin is None:
        return Refused("No forecast yet", "No life step with readings has closed yet; the first one lifts this.")
    prognosis = view.twin.prognosis
    if prognosis.refusal is None:
        return None
    reason = prognosis.refusal_text or ""
    return Refused(f"No forecast: {prognosis.refusal.replace('_', ' ')}", f"{reason[:1].upper()}{reason[1:]}.")


def _rul(now: Snapshot, prognosis: PrognosisView, now_ms: int) -> Rul | None:
    rul = prognosis.rul
    if rul is None:
        return None
    zone = now.current.plant.time_zone
    return Rul(
        life=_life_text(rul, prognosis.horizon),
        range=_band_text(rul, prognosis.horizon),
        when=prognosis.text,
        median=f"median {words.day(prognosis.median_at, zone, now_ms)}" if prognosis.median_at is not None else "",
    )


def _said(now: Snapshot, record: IssuedView, now_ms: int) -> Said:
    zone = now.current.plant.time_zone
    when = words.moment(record.issued_at, zone, now_ms)
    if record.said_without is not None:
        when += f" (without what came to be known {words.moment(record.said_without, zone, now_ms)})"
    if record.rul is None:
        return Said(when, words.number(record.exposure), "no forecast", (record.refusal or "").replace("_", " "))
    rul = record.rul
    return Said(
        when, words.number(record.exposure), words.about(rul.p50), f"{words.about(rul.p10)}-{words.about(rul.p90)}"
    )


def _in_one_sentence(view: AssetView, fan: Fan) -> str:
    """What the fan chart shows, for those who cannot see it."""
    said = words.plural(len(fan.ages), "forecast")
    if fan.ended is not None:
        return f"{said} over a life that ended at {words.number(fan.ended)} {fan.unit}"
    today = "none today" if view.twin is None else f"today's: {view.twin.prognosis.text}"
    return f"{said} over {words.number(fan.age)} {fan.unit} of life; {today}"
