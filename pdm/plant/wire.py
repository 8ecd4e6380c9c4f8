"""What gateways call things: how forms other than our own JSON name sources and sensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

EpochUnit = Literal["s", "ms", "us", "ns"]
"""What a time that is a number counts, since 1970."""

TableUnit = EpochUnit | Literal["min", "h", "d"]
"""What a time in a table that is a number counts."""

Decimal = Literal[".", ","]
"""What stands between the ones and the tenths."""

LINES_TOPIC = "pdm/lines"
"""Where line protocol comes in by MQTT without being declared, its times in nanoseconds."""

SPARKPLUG = "spBv1.0"
"""The first level of topics in Sparkplug B."""

OF_FILE = "{file}"
"""In place of a source: the name of the file, without its ending."""

_PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")
_STEP = r"""\.([\w-]+)|\[(\d{1,6})\]|\[["']([^"']+)["']\]"""
_PATH_STEP = re.compile(_STEP)
_PATH = re.compile(rf"\$(?:{_STEP})*")


class Pattern(str):
    """Text with placeholders such as `{host}`."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its placeholders, each once."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self)))

    def filled(self, known: Mapping[str, str]) -> str:
        """The text with what is known in place of the placeholders.

        Raises:
            KeyError: one of them is not known; its name.
        """
        return _PLACEHOLDER.sub(lambda found: known[found[1]], self)


class Template(Pattern):
    """Topics of one form, `{site}/{line}/{source}/{sensor}`: each placeholder, and each `+`, stands for what one level
    holds, a placeholder also for a part of it (`sensor.{name}`)."""

    __slots__ = ()

    @property
    def filter(self) -> str:
        """What is subscribed to."""
        return "/".join("+" if _PLACEHOLDER.search(level) else level for level in self.split("/"))

    def match(self, topic: str) -> dict[str, str] | None:
        """The text of each placeholder in a topic; None if it has another form."""
        found = _template(self).fullmatch(topic)
        return None if found is None else dict(zip(_PLACEHOLDER.findall(self), found.groups(), strict=True))

    def overlaps(self, other: "Template") -> bool:
        """Whether some topic has both forms."""
        levels = self.split("/"), other.split("/")
        return len(levels[0]) == len(levels[1]) and all(map(_share_a_text, *levels))


class JsonPath(str):
    """Where something stands in a JSON document: `$`, `$.state.value`, `$.values[0]`, `$["oil temp"]`."""

    __slots__ = ()

    @property
    def steps(self) -> tuple[str | int, ...]:
        """Names and places, from the outside in.

        Raises:
            ValueError: it is no such path.
        """
        return _path_steps(self)


SOURCE = Pattern("{source}")
FIELD = Pattern("{field}")
SENSOR = Pattern("{sensor}")
DEVICE = Pattern("{device}")
WHOLE = JsonPath("$")


@dataclass(frozen=True, slots=True)
class WireSensor:
    """What a number on the wire is: `sensor`, once it is multiplied by `factor` and brought from `unit` (None: the
    declared one) into the unit of the sensor."""

    sensor: str
    factor: float = 1.0
    unit: str | None = None


class _Form:
    """What forms of both kinds know."""

    __slots__ = ()
    sensors: Mapping[str, WireSensor]
    ignore: tuple[str, ...]

    def wire_sensor(self, name: str) -> WireSensor | None:
        """What stands under a name; None if it is to be ignored."""
        return None if name in self.ignore else self.sensors.get(name, WireSensor(name))


@dataclass(frozen=True, slots=True)
class LineForm(_Form):
    """How line protocol of one measurement is read.

    Attributes:
        measurement: which lines this is about; None for all that no other form is about.
        source: made of the tags of a line and its `{measurement}`.
        sensor: made of the same, and of the `{field}`.
        sensors: by what `sensor` comes to, where that is not a sensor as it is.
        ignore: what `sensor` comes to and nobody wants.
    """

    measurement: str | None = None
    source: Pattern = SOURCE
    sensor: Pattern = FIELD
    sensors: Mapping[str, WireSensor] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicForm(_Form):
    """How messages on topics of one form are read.

    Attributes:
        topic: the form.
        payload: `json` (a plain number is JSON too), or `lines`, which say everything else themselves.
        source: made of the placeholders of the topic.
        sensor: made of the same; None where the value is an object with a number for each of several sensors.
        value: where it stands in the payload.
        time: where its time stands; None if there is none, and the time of arrival stands in.
        epoch_unit: what a time that is a number counts; None: as the settings say (lines: ns).
        sensors: by what `sensor` comes to, or by the keys of the object, where that is not a sensor as it is.
        ignore: names of them that nobody wants.
    """

    topic: Template
    payload: Literal["json", "lines"] = "json"
    source: Pattern = SOURCE
    sensor: Pattern | None = None
    value: JsonPath = WHOLE
    time: JsonPath | None = None
    epoch_unit: EpochUnit | None = None
    sensors: Mapping[str, WireSensor] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SparkplugForm(_Form):
    """How Sparkplug B of some edge nodes is read.

    Attributes:
        node: group and node, `{group}/{node}`.
        source: made of the placeholders of `node`, of `{group}` and `{node}`, and of `{device}`: without a device
            such a message is of no machine.
        sensors: by the name of the metric, where that is not a sensor as it is.
        ignore: metrics that nobody wants, although a sensor is named so.
    """

    node: Template
    source: Pattern = DEVICE
    sensors: Mapping[str, WireSensor] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()

    @property
    def filter(self) -> str:
        """What is subscribed to."""
        group, node = self.node.filter.split("/")
        return f"{SPARKPLUG}/{group}/+/{node}/#"


@dataclass(frozen=True, slots=True)
class TableForm:
    """How files of readings are laid out: a column for each sensor, or one row for each value.

    Attributes:
        source: of all rows, in files without a column for it; `OF_FILE` is the name of the file.
        source_column, time_column: their names.
        clock_column: holds the rest of the time: the time of day beside a date, or milliseconds.
        sensor_column: names the sensor of each row; None: the table is wide.
        value_column: holds the values of a table that has a `sensor_column`.
        delimiter: between the cells of a CSV file; None: the one that its header has most of.
        decimal: of its numbers; None: as the first values show.
        missing: words that stand for no value, beside those that always do.
        time_format: of times in text, as in `strptime`; None: ISO 8601.
        time_zone: of times without an offset; None refuses them.
        epoch_unit: what a time that is a number counts.
        count_from_ms: since when it counts; None: since 1970.
        rename: sensor by the column or name that holds it, where the two differ.
        ignore: columns or names to leave out.
        units: unit in the file by sensor, where it is not the declared one.
    """

    source: str | None = None
    source_column: str = "source"
    time_column: str = "time"
    clock_column: str | None = None
    sensor_column: str | None = None
    value_column: str = "value"
    delimiter: str | None = None
    decimal: Decimal | None = None
    missing: tuple[str, ...] = ()
    time_format: str | None = None
    time_zone: ZoneInfo | None = None
    epoch_unit: TableUnit | None = None
    count_from_ms: int | None = None
    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ignore: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class FileForm(TableForm):
    """The same of files in the drop folder whose names fit the pattern `name`, `pump*.csv`."""

    name: str = "*"


@lru_cache(10_000)
def _template(text: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(text)  # text, name, text, ..., name, text
    written = [
        "/".join("[^/]+" if level == "+" else re.escape(level) for level in part.split("/")) for part in parts[::2]
    ]
    return re.compile("([^/]+)".join(written), re.DOTALL)


def _share_a_text(a: str, b: str) -> bool:
    """Whether some text fits both of two levels of templates."""
    (start, is_open, end), (other_start, other_is_open, other_end) = _ends(a), _ends(b)
    if is_open and other_is_open:
        starts = start.startswith(other_start) or other_start.startswith(start)
        return starts and (end.endswith(other_end) or other_end.endswith(end))
    if is_open or other_is_open:
        return _template(a if is_open else b).fullmatch(b if is_open else a) is not None
    return a == b


def _ends(level: str) -> tuple[str, bool, str]:
    """What a level begins and ends with, and whether there is anything between."""
    if level == "+":
        return "", True, ""
    parts = _PLACEHOLDER.split(level)
    return parts[0], len(parts) > 1, parts[-1] if len(parts) > 1 else ""


@lru_cache(10_000)
def _path_steps(text: str) -> tuple[str | int, ...]:
    if not _PATH.fullmatch(text):
        raise ValueError(f'expected a path such as $.state.value or $["oil temp"], not {text!r}')
    found = _PATH_STEP.findall(text)
    return tuple(int(place) if place else name or quoted for name, place, quoted in found)
