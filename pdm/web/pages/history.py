"""What a machine has been through: its sensors as small multiples, its wear, and what happened to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pdm import words
from pdm.features.change_point import change_points
from pdm.installations import NEVER_MS
from pdm.plant import AssetClass, Column
from pdm.services import Services
from pdm.state import schema
from pdm.steps import Steps
from pdm.web import charts, views
from pdm.web.pages.asset import event_text
from pdm.web.pages.fleet import asset_href
from pdm.web.pages.mirror import MirrorPart, mirror_of
from pdm.web.pages.seen_steps import seen_steps
from pdm.web.pages.stories import stories_of, title_then, told_then
from pdm.web.shapes import AssetView, EventView
from pdm.web.snapshot import Snapshot

POINTS = 240
"""Points of a small multiple, about one a pixel."""

HEALTHY_STEPS = 200
"""The first steps of a life, whose central nine tenths are the grey band."""

_TOLD = {"opened": "alert opened", "raised": "alert more urgent"}
_CLOSED = ("cleared", "ended")
"""Changes of an alert that are part of the story of its machine."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Multiple:
    """One step column; `sensor` where its latest value is that of the latest reading, else empty."""

    title: str
    sensor: str
    latest: str
    chart: Markup
    note: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened; `shape` names its sign, `event` the report that can be taken back."""

    when: str
    text: str
    shape: str
    event: str


@dataclass(frozen=True, slots=True)
class History:
    """What the fragment shows."""

    name: str
    asset: str
    period: str
    sensors: Sequence[Multiple]
    legend: str
    wear: Markup | None
    wear_now: str
    log: Sequence[Entry]


def history_page(services: Services, now: Snapshot, serial: str) -> History:
    """The history of one machine.

    Raises:
        NotFoundError: no such machine.
    """
    view = views.asset_of(now, services, serial)
    asset_class = now.current.plant.classes[view.class_name]
    steps = steps_of(services, asset_class, view)
    zone, now_ms = now.current.plant.time_zone, services.clock.plant_ms()
    wear = [record.used_life for record in views.issued_in_life(services, now, view)]
    known = [share for share in wear if share is not None]
    used = view.twin.used_life if view.twin is not None and view.in_service else next(reversed(known), None)
    return History(
        name=view.slot or serial,
        asset=asset_href(serial),
        period=words.span(int(steps.start_ms[0]), int(steps.end_ms[-1]), zone, now_ms) if len(steps) else "",
        sensors=_multiples(asset_class, steps, mirror_of(services, now, view), changes_of(services, now, view, steps)),
        legend=_legend(asset_class),
        wear=_wear(known, used),
        wear_now=words.percent(used),
        log=_log(services, now, view, now_ms),
    )


def _wear(shares: Sequence[float], used: float | None) -> Markup | None:
    if len(shares) < 2:
        return None
    return charts.spark(shares, f"wear over life, now {words.percent(used)}", 960.0, 96.0, stretch=True)


def steps_of(services: Services, asset_class: AssetClass, view: AssetView) -> Steps:
    """The steps of the present life."""
    steps = seen_steps(services, asset_class, view.serial)
    begin = -NEVER_MS if view.life.started_at is None else view.life.started_at
    end = NEVER_MS if view.life.ended_at is None else view.life.ended_at
    return steps.take((steps.start_ms >= begin) & (steps.start_ms < end))


def changes_of(services: Services, now: Snapshot, view: AssetView, steps: Steps) -> dict[str, str]:
    """Since when sensors read otherwise than before, by column: "0.53 mm/s (5.3 sd) higher since about 13 Jan"."""
    model, asset_class = services.models.get(view.class_name), now.current.plant.classes[view.class_name]
    ran = steps.take(steps.share > 0)
    if model is None or not len(ran):
        return {}
    zone, now_ms, told = now.current.plant.time_zone, services.clock.plant_ms(), dict[str, str]()
    sd = dict(zip(model.frame.channel_names, model.frame.sd.tolist(), strict=False))
    for name, (step, shift) in change_points(model.frame, ran.values).items():
        size = words.quantity(abs(shift) * sd[name], asset_class.column_sensor(name).unit)
        side, since = "higher" if shift > 0 else "lower", words.day(int(ran.start_ms[step]), zone, now_ms)
        told[name] = f"{size} ({words.number(abs(shift), 2)} sd) {side} since about {since}"
    return told


def _multiples(asset_class: AssetClass, steps: Steps, mirror: MirrorPart, changes: Mapping[str, str]) -> list[Multiple]:
    ran = steps.take(steps.share != 0)  # stopped time says nothing of a sensor that measures the running machine
    if not len(ran):
        return []
    conditions_last = sorted(enumerate(asset_class.columns), key=lambda pair: pair[1].sensor in asset_class.conditions)
    return [
        _multiple(asset_class, column, ran, ran.values[:, index], mirror, changes.get(column.name, ""))
        for index, column in conditions_last
    ]


def _multiple(
    asset_class: AssetClass, column: Column, steps: Steps, values: Floats, mirror: MirrorPart, change: str
) -> Multiple:
    sensor = asset_class.sensor(column.sensor)
    title, alone = sensor.title or sensor.name, column.name == sensor.name
    measured = values[~np.isnan(values)]
    latest = words.quantity(float(measured[-1]), sensor.unit) if len(measured) else "nothing measured"
    times, drawn = _thinned(steps.start_ms.astype(np.float64), values)
    return Multiple(
        title=title if alone else f"{title} ({column.summary})",
        sensor=sensor.name if alone else "",
        latest=mirror.values.get(sensor.name, latest) if alone else latest,
        chart=charts.multiple(times, drawn, _healthy(values), f"{title}: {latest}"),
        note="; ".join(filter(None, (_span(measured, sensor.unit), change))),
    )


def _span(measured: Floats, unit: str) -> str:
    return (
        f"{words.number(float(measured.min()))} to {words.quantity(float(measured.max()), unit)}"
        if len(measured)
        else ""
    )


def _healthy(values: Floats) -> tuple[float, float] | None:
    """The central nine tenths of the first steps that ran."""
    first = values[:HEALTHY_STEPS]
    first = first[~np.isnan(first)]
    if len(first) < HEALTHY_STEPS // 4:
        return None
    low, high = np.quantile(first, [0.05, 0.95])
    return float(low), float(high)


def _thinned(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """At most `POINTS` points: means of what was measured in each stretch, NaN where nothing was."""
    if len(times) <= POINTS:
        return times, values
    first = np.linspace(0, len(times), POINTS, endpoint=False).astype(np.int64)
    usable = ~np.isnan(values)
    count = np.add.reduceat(usable, first, dtype=np.int64)
    total = np.add.reduceat(np.where(usable, values, 0.0), first)
    return times[first], np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _legend(asset_class: AssetClass) -> str:
    steps = words.life(HEALTHY_STEPS, asset_class.life_step.unit)
    return f"While running. Grey band: 9 in 10 values of its first {steps}. Hatched: nothing usable was measured."


def _taken_back(event: EventView) -> str:
    why = f": {event.voided_reason}" if event.voided_reason else ""
    return f"; taken back by {event.voided_by}{why}" if event.voided else ""


def _log(services: Services, now: Snapshot, view: AssetView, now_ms: int) -> list[Entry]:
    """Events and alerts of all lives, the latest first."""
    zone, asset_class = now.current.plant.time_zone, now.current.plant.classes[view.class_name]

    def entries() -> Iterable[tuple[int, str, str, str]]:
        if view.life.started_at is not None:
            yield view.life.started_at, "its present life began", "done", ""
        for event in views.events_of(services, view.serial):
            note = f": {event.note}" if event.note else ""
            text = f"{event_text(event, asset_class)}{note}, reported by {event.who}{_taken_back(event)}"
            yield event.at, text, _sign(event.kind), "" if event.voided else event.id
        for at_ms, text, shape in _alert_entries(services, view):
            yield at_ms, text, shape, ""

    return [
        Entry(words.moment(at_ms, zone, now_ms), text, shape, event)
        for at_ms, text, shape, event in sorted(entries(), key=lambda entry: -entry[0])
    ]


def _alert_entries(services: Services, view: AssetView) -> Iterable[tuple[int, str, str]]:
    """When alerts were opened, told again and closed, in the words of then: what an alert says now came later."""
    with schema.read(services.engine) as connection:
        stories = stories_of(connection, schema.alerts.c.serial == view.serial)
    for story in stories.values():
        title = ""
        for change in story:
            if change.kind in _TOLD:
                title = title_then(change, view.slot)
                yield change.at_ms, f"{_TOLD[change.kind]}: {told_then(change, view.slot)}", "late"
            elif change.kind in _CLOSED:
                why = change.reason.removesuffix(".")
                yield change.at_ms, f"alert closed, {why}: {title}", "done"


def _sign(kind: str) -> str:
    return "failed" if kind == "failed" else "done"
