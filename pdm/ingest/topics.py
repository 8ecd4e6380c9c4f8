"""Messages on topics of own forms: the topic names source and sensor, the payload is a number, or JSON with numbers."""

import re
from array import array
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from math import nan
from typing import Annotated, Any, NamedTuple

import msgspec

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import UNITS_PER_MS, EpochUnit, Samples, arrival_flags, parse, time_ms_of, unknown_source
from pdm.ingest.wire import number_of, place_of, shown
from pdm.plant import AssetClass, Plant
from pdm.plant.wire import JsonPath, TopicForm
from pdm.readings import ArrivalFlag

_MOST_TOPICS = 100_000

_JSON = msgspec.json.Decoder()
_DECIMAL = re.compile(rb"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*")
_MOMENT = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)])


class Meant(NamedTuple):
    """What a topic is about."""

    form: TopicForm
    source: str
    sensor: str | None  # as the topic names it; None where the payload does


class TopicReader:
    """Reads the own topics of one plant.

    Args:
        epoch_unit: what a time that is a number counts, where the form does not say.
    """

    def __init__(self, plant: Plant, epoch_unit: EpochUnit | None):
        self._plant = plant
        self._epoch_unit = epoch_unit
        self._place = lru_cache(_MOST_TOPICS)(lambda wire, name: place_of(wire, plant.classes[name]))
        self.meant = lru_cache(_MOST_TOPICS)(self._meant)

    def _meant(self, topic: str) -> Meant | None:
        """What a topic is about; None if it has none of the own forms."""
        for form in self._plant.topics:
            if (found := form.topic.match(topic)) is not None:
                if form.payload == "lines":
                    return Meant(form, "", None)
                return Meant(form, form.source.filled(found), form.sensor and form.sensor.filled(found))
        return None

    def read(self, meant: Meant, payload: bytes, now_ms: int) -> Samples | None:
        """What a message says; None where all of it is ignored.

        Raises:
            UnreadableMessageError: with the reason.
        """
        form = meant.form
        asset = self._plant.asset_of_source.get(meant.source)
        if asset is None:
            raise unknown_source(meant.source)
        document = _document(payload, bare=meant.sensor is not None and not form.value.steps)
        found = _at(document, form.value, "value")
        numbers = _numbers(found, meant.sensor, form.value)
        asset_class = self._plant.class_of(asset)
        row = self._row(form, numbers, asset_class)
        if row is None:
            return None
        time_ms, flag = self._time(form, document, now_ms)
        flags = arrival_flags([time_ms], flag, now_ms)
        return Samples(asset_class.name, asset_class.sensor_names, meant.source, [time_ms], row, flags)

    def _row(self, form: TopicForm, numbers: Mapping[str, Any], asset_class: AssetClass) -> "array[float] | None":
        """The numbers in the order of the sensors, in their declared units; None where all are ignored."""
        row, any_wanted = array("d", [nan] * len(asset_class.sensors)), False
        for name, number in numbers.items():
            if (wire := form.wire_sensor(name)) is None:
                continue
            any_wanted = True
            place, scaled = self._place(wire, asset_class.name)
            if number is not None:
                row[place] = scaled.scale * number_of(name, number) + scaled.offset
        return row if any_wanted else None

    def _time(self, form: TopicForm, document: Any, now_ms: int) -> tuple[int, ArrivalFlag]:
        ts = None if form.time is None else _at(document, form.time, "time")
        if ts is None:
            return now_ms, ArrivalFlag.NO_TIMESTAMP
        if isinstance(ts, bool | list | dict):
            raise UnreadableMessageError("wrong_timestamp", f"{form.time}: expected a time, not {shown(ts)}")
        unit = form.epoch_unit or self._epoch_unit
        moment = parse(_MOMENT, msgspec.json.encode(ts)) if isinstance(ts, str) else ts
        return time_ms_of(moment, UNITS_PER_MS[unit] if unit else None), ArrivalFlag.NONE


def _document(payload: bytes, *, bare: bool) -> Any:
    """A payload as JSON; one number that stands alone may also be written as no JSON allows, such as `+1.` or `.5`."""
    if bare and len(payload) <= 40 and _DECIMAL.fullmatch(payload):
        return float(payload)
    try:
        return parse(_JSON, payload)
    except UnreadableMessageError as error:
        if bare and error.reason == "broken_json" and len(payload) <= 100:
            detail = f"expected a number, not {payload.decode(errors='replace')!r}"
            raise UnreadableMessageError("wrong_type", detail) from None
        raise


def _at(document: Any, path: JsonPath, what: str) -> Any:
    """What stands in a document at a path."""
    found = document
    for step in path.steps:
        try:
            found = found[step]
        except (LookupError, TypeError):
            raise UnreadableMessageError(
                "missing_field", f"there is no {what} at {path}: {step!r} is missing"
            ) from None
    return found


def _numbers(found: Any, sensor: str | None, path: JsonPath) -> Mapping[str, Any]:
    """What is said by the name of what it is about."""
    if sensor is not None:
        return {sensor: found}
    if not isinstance(found, dict):
        detail = f"{path}: the topic names no sensor, so expected an object with a number for each, not {shown(found)}"
        raise UnreadableMessageError("wrong_type", detail)
    if not found:
        raise UnreadableMessageError("no_values", "the message names no sensor")
    return found
