"""How a message would be read: for whoever connects a gateway, without storing anything."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from typing import NamedTuple

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import Decoder, EpochUnit, Samples
from pdm.ingest.dialects import Dialects
from pdm.ingest.lines import Unread
from pdm.ingest.sparkplug import FIRST_LEVEL, address_of
from pdm.plant import Plant
from pdm.plant.wire import LINES_TOPIC
from pdm.readings import ArrivalFlag

_MOST_TOLD = 20


class Explanation(NamedTuple):
    """What would become of a message, in sentences."""

    sentences: list[str]
    readable: bool


def explain(
    plant: Plant,
    epoch_unit: EpochUnit | None,
    subscribed: Sequence[str],
    topic: str,
    payload: bytes | None,
    now_ms: int,
) -> Explanation:
    """What a topic is about, and what comes out of a payload on it (None: it was not given).

    Args:
        subscribed: the filters by which messages come at all.
    """
    dialects = Dialects(Decoder(plant, epoch_unit=epoch_unit))
    told = [_heard(topic, subscribed), _dialect(dialects, topic)]
    if payload is None:
        return _of_topic(dialects, plant, topic, told)
    try:
        found = list(dialects.read(topic, payload, now_ms))
    except UnreadableMessageError as error:
        return Explanation([*told, f"It would be a dead letter: {error}"], False)
    for part in found[:_MOST_TOLD]:
        told += _unread(part) if isinstance(part, Unread) else _readings(plant, part)
    if len(found) > _MOST_TOLD:
        told.append(f"And so on: {len(found)} in all.")
    if not found:
        told.append("Nothing of it is wanted: it would be passed over.")
    return Explanation(told, bool(found) and not any(isinstance(part, Unread) for part in found))


def _heard(topic: str, subscribed: Sequence[str]) -> str:
    for one in subscribed:
        if _matches(one, topic):
            return f"The service hears it by its subscription to {one}."
    return f"The service does NOT hear it: it subscribes to {', '.join(subscribed)} (mqtt.topics and plant.yaml)."


def _matches(one: str, topic: str) -> bool:
    levels, wanted = topic.split("/"), one.split("/")
    if wanted[-1] == "#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(levels) == len(wanted) and all(a in ("+", b) for a, b in zip(wanted, levels, strict=True))


def _dialect(dialects: Dialects, topic: str) -> str:
    if topic == LINES_TOPIC:
        return "It is read as line protocol."
    if topic.startswith(FIRST_LEVEL):
        return _sparkplug(topic)
    meant = dialects.topics.meant(topic)
    if meant is None:
        return "It has none of the forms under topics in plant.yaml: it is read as JSON, its last level is the source."
    return f"It has the form {meant.form.topic}."


def _sparkplug(topic: str) -> str:
    try:
        at = address_of(topic)
    except UnreadableMessageError as error:
        return f"It is no topic of Sparkplug B: {error.detail}."
    if at is None:
        return "It is Sparkplug B, and not for us."
    device = f", device {at.device}" if at.device else ""
    return f"It is Sparkplug B, {at.kind} of {at.name}{device}."


def _of_topic(dialects: Dialects, plant: Plant, topic: str, told: list[str]) -> Explanation:
    """What can be said without a payload."""
    meant = dialects.topics.meant(topic)
    if topic.startswith(FIRST_LEVEL):
        return Explanation([*told, "What comes out is said of a payload: @FILE takes it from a file."], True)
    if topic == LINES_TOPIC or (meant is not None and meant.form.payload == "lines"):
        return Explanation([*told, "The lines say which machines they are about."], True)
    source = topic.rpartition("/")[2] if meant is None else meant.source
    asset = plant.asset_of_source.get(source)
    if asset is None:
        return Explanation([*told, f"Its source is {source!r}, and no asset of the plant has it."], False)
    told.append(f"Its source is {source!r}: asset {asset.serial}, class {asset.class_name}.")
    if meant is None or meant.sensor is None:
        return Explanation([*told, "The payload says which sensors it is about."], True)
    wire = meant.form.wire_sensor(meant.sensor)
    known = wire is not None and wire.sensor in plant.class_of(asset).sensor_names
    sensor = "is to be ignored" if wire is None else f"is the sensor {wire.sensor}" if known else "is no sensor of it"
    return Explanation([*told, f"{meant.sensor!r} {sensor}."], wire is None or known)


def _unread(part: Unread) -> list[str]:
    return [f"Line {part.number} would be a dead letter: {part.error}"]


def _readings(plant: Plant, samples: Samples) -> list[str]:
    """What a reading says, sample by sample."""
    asset = plant.asset_of_source[samples.source]
    units = {sensor.name: sensor.unit for sensor in plant.class_of(asset).sensors}
    width = len(samples.sensors)
    told = []
    for row, (time_ms, flag) in enumerate(zip(samples.times_ms, samples.flags, strict=True)):
        values = zip(samples.sensors, samples.values[row * width : (row + 1) * width], strict=True)
        said = ", ".join(f"{name} {value:.6g} {units[name]}" for name, value in values if not isnan(value))
        stamp = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
        arrival = ", the time of arrival" if flag & ArrivalFlag.NO_TIMESTAMP else ""
        late = "; too late to change a step" if flag & ArrivalFlag.LATE else ""
        told.append(f"Asset {asset.serial} ({samples.source}) at {stamp}{arrival}: {said or 'no value'}{late}")
    return told[:_MOST_TOLD]
