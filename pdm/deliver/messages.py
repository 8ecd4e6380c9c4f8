"""What a message says: one alert in plain words and as data, or many at once when a storm of them comes together.

The stored bytes of a message are the JSON that a webhook posts. They carry the subject and the text that people read
too, so one record is all that any later attempt needs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from pdm import words
from pdm.plant import Asset, Plant
from pdm.ports import Message

_URGENCY = ("now", "shift", "week", "plan")
_ADVISED = frozenset({"opened", "raised"})
"""Kinds of transition that come with advice; their reason is its text."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a message says beside the alert itself: the plant, its machines, where its pages are ("" if unknown)."""

    plant: Plant
    assets: Mapping[str, Asset]
    public_url: str


def alert_message(delivery_id: str, matter: Any, advice: Mapping[str, Any] | None, site: Site) -> bytes:
    """One change of one alert.

    Args:
        matter: delivery, alert and transition in one row (`pdm.state.telling.matter`).
        advice: the recommendation that stands for this alert.
    """
    asset = site.assets.get(matter.serial)
    links = _links(matter, site)
    return _encoded(
        delivery_id,
        f"alert.{matter.kind}",
        matter.at_ms,
        subject=_tagged(site, matter.severity if matter.kind in _ADVISED else matter.kind, matter.title),
        text=_alert_text(matter, asset, links, site),
        data={
            "alert": _alert_data(matter),
            "transition": {
                "ordinal": matter.ordinal,
                "kind": matter.kind,
                "at": words.iso(matter.at_ms),
                "who": matter.who,
                "reason": matter.reason,
                "severity": matter.severity,
            },
            "recommendation": advice,
            "asset": None if asset is None else _asset_data(asset),
            "plant": _plant_data(site),
            "links": links,
        },
    )


def group_message(delivery_id: str, matters: Sequence[Any], site: Site) -> bytes:
    """Many changes at once, the most urgent first; every one is listed, with the id of its own delivery."""
    ordered = sorted(matters, key=lambda matter: (_rank(matter.severity), matter.serial))
    counts = Counter(matter.severity for matter in ordered)
    summary = ", ".join(f"{counts[severity]:,} {severity}" for severity in sorted(counts, key=_rank))
    title = f"{words.plural(len(matters), 'alert')} at once ({summary})"
    lines = [f"[{matter.severity}] {_one_line(matter.title)} ({matter.kind})" for matter in ordered]
    return _encoded(
        delivery_id,
        "alerts.grouped",
        max(matter.at_ms for matter in matters),
        subject=_tagged(site, ordered[0].severity, f"{site.plant.name}: {title}"),
        text="\n".join([f"{title}:", "", *lines, *_footer(site, "/alerts")]),
        data={
            "members": [
                {"delivery": matter.id, "kind": matter.kind, "severity": matter.severity, **_member_data(matter)}
                for matter in ordered
            ],
            "plant": _plant_data(site),
            "links": {"alerts": f"{site.public_url}/alerts"},
        },
    )


def bands_message(
    delivery_id: str, class_name: str, model: str, factor: float, lives: int, coverage: float, at_ms: int, site: Site
) -> bytes:
    """Bands of forecasts that are `factor` times as wide from now on, 1 for as the model says them again.

    Args:
        lives, coverage: on which finished lives that rests, and the share of truths in their 80 % bands.
    """
    name = site.plant.classes[class_name].title or class_name
    held = f"{words.percent(coverage)} of the truths of {words.plural(lives, 'life', 'lives')} lay in the 80 % bands"
    wide = f"{words.number(factor, 2)} times as wide as the model says them"
    what, do = "as the model says them again", "Nothing is to be done."
    if factor > 1.0:
        what, do = wide, "Train again on the lives that have ended, so that they can be narrow again."
    title = f"{name}: forecasts are {what}"
    return _encoded(
        delivery_id,
        "forecasts.widened" if factor > 1.0 else "forecasts.restored",
        at_ms,
        subject=_tagged(site, "forecasts", title),
        text="\n".join([f"{title}. Of forecasts of model {model}, {held}. {do}", *_footer(site, "/track-record")]),
        data={
            "forecasts": {
                "class": class_name,
                "model": model,
                "factor": factor,
                "lives": lives,
                "coverage_80": coverage,
            },
            "plant": _plant_data(site),
            "links": {"track_record": f"{site.public_url}/track-record"},
        },
    )


def message_of(stored: bytes) -> Message:
    """The message that was stored before its first attempt."""
    said = orjson.loads(stored)
    return Message(said["id"], said["subject"], said["text"], stored)


def _encoded(message_id: str, kind: str, at_ms: int, *, subject: str, text: str, data: Mapping[str, Any]) -> bytes:
    return orjson.dumps(
        {"id": message_id, "type": kind, "timestamp": words.iso(at_ms), "subject": subject, "text": text, "data": data}
    )


def _alert_text(matter: Any, asset: Asset | None, links: Mapping[str, str], site: Site) -> str:
    zone, now_ms = site.plant.time_zone, matter.at_ms
    machine = [] if asset is None else [f"Machine: {asset.serial} in {' / '.join((*asset.place, asset.slot))}"]
    return "\n".join(
        [
            matter.reason if matter.kind in _ADVISED else f"{matter.kind.capitalize()}: {matter.reason}",
            "",
            *machine,
            f"Open since {words.moment(matter.opened_ms, zone, now_ms)} ({zone.key})",
            *([links["alert"]] if site.public_url else []),
        ]
    )


def _footer(site: Site, path: str) -> list[str]:
    return ["", f"{site.public_url}{path}"] if site.public_url else []


def _tagged(site: Site, tag: str, title: str) -> str:
    simulated = "[simulated] " if site.plant.simulated else ""
    return f"{simulated}[{tag}] {_one_line(title)}"


def _one_line(text: str) -> str:
    """Names that people and gateways choose must not start lines, or headers, of their own."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _alert_data(matter: Any) -> dict[str, Any]:
    return {
        "id": matter.alert_id,
        "serial": matter.serial,
        "target": matter.target,
        "rule": matter.rule,
        "state": matter.state,
        "severity": matter.severity,
        "title": matter.title,
        "opened_at": words.iso(matter.opened_ms),
        "prognosis": matter.prognosis_id,
        "facts": matter.facts,
    }


def _member_data(matter: Any) -> dict[str, Any]:
    return {"alert": matter.alert_id, "serial": matter.serial, "target": matter.target, "title": matter.title}


def _asset_data(asset: Asset) -> dict[str, Any]:
    return {
        "serial": asset.serial,
        "slot": asset.slot,
        "class": asset.class_name,
        "place": list(asset.place),
        "criticality": asset.criticality,
        "external": {system: dict(keys) for system, keys in asset.external.items()},
    }


def _plant_data(site: Site) -> dict[str, Any]:
    return {"name": site.plant.name, "simulated": site.plant.simulated}


def _links(matter: Any, site: Site) -> dict[str, str]:
    asset = quote(matter.serial, safe="")
    return {
        "alert": f"{site.public_url}/alerts#alert-{matter.alert_id}",
        "asset": f"{site.public_url}/assets/{asset}",
        "api": f"{site.public_url}/api/v1/alerts/{matter.alert_id}",
    }


def _rank(severity: str) -> int:
    return _URGENCY.index(severity) if severity in _URGENCY else len(_URGENCY)
