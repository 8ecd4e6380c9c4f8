"""The part of the asset page that says what more or less load would do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdm import words
from pdm.plant import AssetClass
from pdm.scenario import Duty, Stretch, duty_columns
from pdm.services import Services
from pdm.web.shapes import BranchView, WhatIfView
from pdm.web.snapshot import Snapshot
from pdm.web.what_if import what_if

LEAST, MOST, USUAL = 50, 150, 100
"""Ends and middle of the slider [% of the duty lately]."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the comparison."""

    what: str
    today: str
    then: str


@dataclass(frozen=True, slots=True)
class WhatIfPart:
    """The answer to one position of the slider; `quiet` where there is none."""

    headline: str
    rows: Sequence[Compared]
    notes: Sequence[str]
    quiet: str


def duty_slider(asset_class: AssetClass) -> str:
    """What the slider changes, in words; empty where no law of stress is known that a factor of the duty enters."""
    titles = [asset_class.column_sensor(column).title for column in _scaled(asset_class)]
    return words.listed([titles[0], *(title[:1].lower() + title[1:] for title in titles[1:])]) if titles else ""


def what_if_part(services: Services, now: Snapshot, serial: str, asked: Mapping[str, str]) -> WhatIfPart:
    """The comparison for a position of the slider.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
    """
    asset_class = now.current.plant.class_of(now.fleet.assets[serial]) if serial in now.fleet.assets else None
    percent = _percent(asked.get("percent", ""))
    factor = dict.fromkeys(_scaled(asset_class), percent / 100) if asset_class is not None else {}
    found = what_if(services, now, serial, [Stretch(Duty(factor=factor))])
    if found.refusal is not None or found.today is None or found.scenario is None:
        return WhatIfPart("", (), (), words.sentence(found.refusal_text or "there is no answer"))
    return WhatIfPart(
        headline=_headline(percent, found),
        rows=_rows(now, asset_class, found.today, found.scenario) if asset_class is not None else (),
        notes=[
            f"{one.column} counts as {words.number(one.counts_as)}: the law holds no further." for one in found.beyond
        ],
        quiet="",
    )


def _scaled(asset_class: AssetClass) -> list[str]:
    return [column for column, scales in duty_columns(asset_class).items() if scales]


def _percent(text: str) -> int:
    return min(max(int(text), LEAST), MOST) if text.isascii() and text.isdigit() and len(text) < 5 else USUAL


def _headline(percent: int, found: WhatIfView) -> str:
    faster = f"life passes {words.number(found.faster, 2)} times as fast as lately"
    hours = None if found.difference is None else found.difference.median_hours
    if hours is None or abs(hours) < 1:
        return f"At {percent} %: {faster}."
    return f"At {percent} %: {faster}, {words.duration(hours * 3_600_000)} {'more' if hours > 0 else 'less'}."


def _rows(now: Snapshot, asset_class: AssetClass, today: BranchView, then: BranchView) -> list[Compared]:
    zone = now.current.plant.time_zone
    at_ms = today.prognosis.made_at

    def each(branch: BranchView) -> list[str]:
        week = next((risk.probability for risk in branch.prognosis.risks if risk.name == "week"), None)
        window = branch.window
        start = "no date yet" if window is None else words.moment(window.preferred.start, zone, at_ms)
        cost = words.UNKNOWN if window is None else words.amount(window.preferred.cost, window.currency)
        return [branch.prognosis.text, words.percent(week), start, cost]

    labels = ["Failure", "Risk within a week", "Preferred start", "Expected cost then"]
    rows = [Compared(*row) for row in zip(labels, each(today), each(then), strict=True)]
    return rows if asset_class.costs is not None else rows[:-1]
