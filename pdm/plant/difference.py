"""What applying another plant file would change, in plain sentences, and what it would leave behind."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pdm.durations import duration_text
from pdm.plant import Asset, AssetClass, Plant, Shift
from pdm.plant.entries import EACH_STEP, WEEKDAYS

Thing = tuple[str, ...]
"""What a sentence is about, from the outside in: kind and name, then kind and name of a part of it."""


def difference(old: Plant | None, new: Plant) -> list[str]:
    """A sentence for each thing that comes, changes or goes, times in the zone of the new plant; none where both files
    mean the same."""
    before = {} if old is None else _things(old)
    after = _things(new)
    sentences = []
    for thing, declared in after.items():
        if thing in before:
            sentences += [f"{_words(thing)}: {change}" for change in _changes(before[thing], declared, new.time_zone)]
        elif thing[:2] == thing or thing[:2] in before:  # the parts of what is new as a whole go without saying
            sentences.append(f"adds {_words(thing)}")
    for thing in before:
        if thing not in after and (thing[:2] == thing or thing[:2] in after):
            sentences.append(f"removes {_words(thing)}")
    return sentences


def orphaned(new: Plant, open_serials: Collection[str]) -> list[str]:
    """Why a file cannot be applied as it is: assets with open alerts or interventions that it no longer has."""
    return [
        f"asset {serial} still has open matters and is not in the file: close them first, or keep the asset"
        for serial in sorted(set(open_serials) - new.assets.keys())
    ]


def _things(plant: Plant) -> dict[Thing, Any]:
    """Everything in a plant, and what declares it."""
    things: dict[Thing, Any] = {("the", "plant"): plant}
    things |= {("calendar", name): calendar for name, calendar in plant.calendars.items()}
    for name, asset_class in plant.classes.items():
        things["class", name] = asset_class
        things |= {("class", name, "sensor", sensor.name): sensor for sensor in asset_class.sensors}
        things |= {("class", name, "failure mode", mode.name): mode for mode in asset_class.failure_modes}
    things |= {("topic", form.topic): form for form in plant.topics}
    things |= {("Sparkplug nodes", form.node): form for form in plant.sparkplug}
    things |= {("files", form.name): form for form in plant.files}
    things |= {("line protocol of", form.measurement or "any measurement"): form for form in plant.lines}
    return things | {("asset", serial): asset for serial, asset in plant.assets.items()}


def _changes(before: Any, after: Any, zone: ZoneInfo) -> Iterator[str]:
    """What is said otherwise. Of a hundred thousand assets most are as they were, and cost one comparison."""
    if before == after:
        return
    was, becomes = _facts(before, zone), _facts(after, zone)
    for key in dict.fromkeys((*was, *becomes)):
        if was.get(key) != becomes.get(key):
            yield f"{key} was {was.get(key, 'not given')}, becomes {becomes.get(key, 'not given')}"


def _facts(thing: Any, zone: ZoneInfo) -> dict[str, str]:
    """What a thing says in its own words, without the things in it."""
    match thing:
        case Plant():
            facts = {"name": thing.name, "currency": thing.currency, "time zone": thing.time_zone.key}
            return facts | {"simulated": _text(thing.simulated)}
        case AssetClass():
            facts = {} if thing.issue_every_ms else {"issue every": EACH_STEP}
            return facts | _told(thing, without=("sensors", "failure_modes"))
        case Asset():
            start = _instant(thing.start_of_life_ms, zone)
            return _told(thing, without=("start_of_life_ms",)) | {"start of life": start}
        case _:
            return _told(thing)


def _told(thing: Any, without: Collection[str] = ()) -> dict[str, str]:
    """What the fields of a dataclass say, in words; those inside of others with both names: `costs planned`."""
    facts: dict[str, str] = {}
    for field in fields(thing):
        if field.name not in {"name", *without}:
            facts |= dict(_said(field.name, getattr(thing, field.name)))
    return facts


def _said(name: str, value: Any) -> Iterator[tuple[str, str]]:
    words = name.removesuffix("_ms").removesuffix("_name").replace("_", " ")
    if isinstance(value, Mapping):
        inner = [pair for key, item in value.items() for pair in _said(key, item)]
        yield from ((f"{words} {key}", text) for key, text in inner)
    elif is_dataclass(value) and not isinstance(value, Shift):
        yield from ((f"{words} {key}", text) for key, text in _told(value).items())
    elif name.endswith("_ms") and value is not None:
        yield words, duration_text(value)
    elif value not in (None, "", ()):
        yield words, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Shift):
        start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (value.start_minute, value.end_minute))
        return f"{' '.join(WEEKDAYS[day] for day in value.weekdays)} {start} to {end}"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _instant(milliseconds: int | None, zone: ZoneInfo) -> str:
    return "unknown" if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, zone).isoformat(" ")


def _words(thing: Thing) -> str:
    kind, name, *part = thing
    return f"{part[0]} {part[1]} of {kind} {name}" if part else f"{kind} {name}"
