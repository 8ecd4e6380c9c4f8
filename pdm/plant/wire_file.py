"""What `plant.yaml` says about the names that gateways use, checked against its sources and sensors."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pdm.errors import UnreadableMessageError
from pdm.plant import AssetClass
from pdm.plant.marked_yaml import Document, Path
from pdm.plant.wire import (
    LINES_TOPIC,
    SENSOR,
    SPARKPLUG,
    FileForm,
    LineForm,
    Pattern,
    SparkplugForm,
    Template,
    TopicForm,
    WireSensor,
)
from pdm.plant.wire_entries import FileFormEntry, LineFormEntry, SparkplugFormEntry, TopicFormEntry, WireSensorEntry
from pdm.units import conversion


class Known:
    """What names on the wire can stand for."""

    def __init__(self, classes: Mapping[str, AssetClass], sources: Collection[str]):
        self.classes = classes
        self.sources = sources
        self.sensors = tuple(dict.fromkeys(name for found in classes.values() for name in found.sensor_names))


def line_forms(document: Document, known: Known) -> tuple[LineForm, ...]:
    """How line protocol is read; notes what can never come to anything."""
    forms: dict[str | None, LineForm] = {}
    first: dict[str | None, int] = {}
    for position in range(_count(document, "lines")):
        at = ("lines", position)
        sensors = wire_sensors(document, at, known)
        if (entry := document.entry(LineFormEntry, *at)) is None:
            continue
        if (before := first.setdefault(entry.measurement, position)) != position:
            name = "any measurement" if entry.measurement is None else f"measurement {entry.measurement!r}"
            document.refuse(at, f"how {name} is read stands in line {document.line('lines', before)} already")
        if "field" in entry.source.names:
            document.refuse((*at, "source"), "a source is made of the tags of a line: expected no {field}")
        check_pattern(document, (*at, "source"), entry.source, known.sources, "source")
        check_sensor_pattern(document, (*at, "sensor"), entry.sensor, sensors, known)
        check_ignored(document, at, entry.ignore, sensors)
        forms[entry.measurement] = LineForm(entry.measurement, entry.source, entry.sensor, sensors, entry.ignore)
    return tuple(forms.values())


def topic_forms(document: Document, known: Known) -> tuple[TopicForm, ...]:
    """How topics of own forms are read; notes those that overlap, and what can never come to anything."""
    forms: dict[int, TopicForm] = {}
    for position in range(_count(document, "topics")):
        at = ("topics", position)
        sensors = wire_sensors(document, at, known)
        if (entry := document.entry(TopicFormEntry, *at)) is None:
            continue
        sensor = entry.sensor or (SENSOR if "sensor" in entry.topic.names else None)
        if entry.payload == "json":
            check_placeholders(document, (*at, "source"), entry.source, entry.topic.names)
            check_pattern(document, (*at, "source"), entry.source, known.sources, "source")
            check_ignored(document, at, entry.ignore, sensors)
        if entry.payload == "json" and sensor is not None:
            check_placeholders(document, (*at, "sensor"), sensor, entry.topic.names)
            check_sensor_pattern(document, (*at, "sensor"), sensor, sensors, known)
        _check_topic(document, (*at, "topic"), entry.topic, forms)
        forms[position] = TopicForm(
            topic=entry.topic,
            payload=entry.payload,
            source=entry.source,
            sensor=sensor,
            value=entry.value,
            time=entry.time,
            epoch_unit=entry.epoch_unit,
            sensors=sensors,
            ignore=entry.ignore,
        )
    return tuple(forms.values())


def sparkplug_forms(document: Document, known: Known) -> tuple[SparkplugForm, ...]:
    """How Sparkplug B is read; notes nodes that stand twice, and what can never come to anything."""
    forms: dict[int, SparkplugForm] = {}
    for position in range(_count(document, "sparkplug")):
        at = ("sparkplug", position)
        sensors = wire_sensors(document, at, known)
        if (entry := document.entry(SparkplugFormEntry, *at)) is None:
            continue
        check_placeholders(document, (*at, "source"), entry.source, (*entry.node.names, "group", "node", "device"))
        check_pattern(document, (*at, "source"), entry.source, known.sources, "source")
        check_ignored(document, at, entry.ignore, sensors)
        for before, other in forms.items():
            if entry.node.overlaps(other.node):
                line = document.line("sparkplug", before)
                document.refuse((*at, "node"), f"some nodes would also have the form {other.node} of line {line}")
        forms[position] = SparkplugForm(entry.node, entry.source, sensors, entry.ignore)
    return tuple(forms.values())


def file_forms(document: Document, known: Known) -> tuple[FileForm, ...]:
    """How files in the drop folder are laid out; notes sources and sensors that there are not."""
    forms = []
    for position in range(_count(document, "files")):
        at = ("files", position)
        if (entry := document.entry(FileFormEntry, *at)) is None:
            continue
        if entry.source is not None:
            document.check_known((*at, "source"), entry.source, known.sources, "source")
        for column, sensor in entry.rename.items():
            document.check_known((*at, "rename", column), sensor, known.sensors, "sensor")
        for sensor, unit in entry.unit.items():
            if document.check_known((*at, "unit", sensor), sensor, known.sensors, "sensor"):
                _check_unit(document, (*at, "unit", sensor), sensor, unit, known)
        plain = FileFormEntry.model_fields.keys() - {"unit", "count_from"}
        facts = {name: getattr(entry, name) for name in plain}
        forms.append(FileForm(**facts, count_from_ms=entry.count_from, units=MappingProxyType(entry.unit)))
    return tuple(forms)


def _check_topic(document: Document, at: Path, topic: Template, before: Mapping[int, TopicForm]) -> None:
    if topic.startswith("$") or topic.split("/")[0] == SPARKPLUG:
        document.refuse(at, f"no reading comes under {topic.split('/')[0]} in a form of your own")
    if topic == LINES_TOPIC:
        document.refuse(at, "this is where line protocol comes in, without being declared")
    for position, other in before.items():
        if topic.overlaps(other.topic):
            line = document.line("topics", position)
            document.refuse(at, f"some topics would also have the form {other.topic} of line {line}")


def check_placeholders(document: Document, at: Path, pattern: Pattern, known: Collection[str]) -> None:
    """Note placeholders that the topic does not have."""
    for name in pattern.names:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            document.refuse(at, f"there is no placeholder {{{name}}}: {there}")


def wire_sensors(document: Document, at: Path, known: Known) -> Mapping[str, WireSensor]:
    """What stands under `sensors`; notes sensors that there are not, and units that do not fit them."""
    entries = document.entries(WireSensorEntry, *at, "sensors", wrong_name=lambda name: None)
    for name, entry in entries.items():
        here = (*at, "sensors", name)
        if document.check_known(here, entry.sensor, known.sensors, "sensor") and entry.unit is not None:
            _check_unit(document, (*here, "unit"), entry.sensor, entry.unit, known)
    return MappingProxyType(
        {name: WireSensor(entry.sensor, entry.factor, entry.unit) for name, entry in entries.items()}
    )


def check_pattern(document: Document, at: Path, pattern: Pattern, known: Collection[str], what: str) -> None:
    """Note a name without placeholders that nothing has."""
    if not pattern.names:
        document.check_known(at, pattern, known, what)


def check_sensor_pattern(
    document: Document, at: Path, pattern: Pattern, sensors: Mapping[str, WireSensor], known: Known
) -> None:
    """The same of a sensor, which may also be one of the names on the wire."""
    check_pattern(document, at, pattern, (*known.sensors, *sensors), "sensor")


def check_ignored(document: Document, at: Path, ignored: Collection[str], sensors: Mapping[str, WireSensor]) -> None:
    """Note names that are both read and ignored."""
    for name in sensors.keys() & set(ignored):
        document.refuse((*at, "ignore"), f"{name!r} stands under sensors as well")


def _check_unit(document: Document, at: Path, sensor: str, unit: str, known: Known) -> None:
    for asset_class in known.classes.values():
        if sensor in asset_class.sensor_names:
            try:
                conversion(unit, asset_class.sensor(sensor).unit)
            except UnreadableMessageError as error:
                document.refuse(at, error.detail)
                return


def _count(document: Document, key: str) -> int:
    listed = document.at(key)
    return len(listed) if isinstance(listed, list) else 0
