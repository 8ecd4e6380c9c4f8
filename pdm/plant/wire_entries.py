"""The sections of `plant.yaml` that say what gateways call things, as they are written; `pdm.plant.wire_file` reads
them."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, TypeAdapter, model_validator

from pdm.plant.entries import Zone, unit_text
from pdm.plant.entry_types import Entry, Identity, Listed, instant_ms
from pdm.plant.wire import DEVICE, FIELD, SOURCE, WHOLE, Decimal, EpochUnit, JsonPath, Pattern, TableUnit, Template

_NAME = TypeAdapter(Identity)


def _pattern(value: Any) -> Pattern:
    text = rest = _NAME.validate_python(value)
    for name in Pattern(text).names:
        rest = rest.replace(f"{{{name}}}", "")
    if not text or "{" in rest or "}" in rest:
        raise ValueError(f"expected text with placeholders such as {{host}}, not {text!r}")
    return Pattern(text)


def _topic(value: Any) -> Template:
    levels = _pattern(value).split("/")
    if any(len(Pattern(level).names) > 1 or level.count("{") > 1 for level in levels):
        raise ValueError("expected at most one placeholder in each level")
    if any(level != "+" and ("+" in level or "#" in level) for level in levels):
        raise ValueError("expected + for a whole level that does not matter, and no #")
    return Template(value)


def _path(value: Any) -> JsonPath:
    path = JsonPath(_NAME.validate_python(value))
    _ = path.steps  # refuses what is none
    return path


TopicText = Annotated[Template, PlainValidator(_topic)]
"""A form of topics."""


def _node(value: Any) -> Template:
    template = _topic(value)
    if template.count("/") != 1:
        raise ValueError(f"expected group and node such as nord/edge1 or nord/{{node}}, not {str(template)!r}")
    return template


NodeText = Annotated[Template, PlainValidator(_node)]
"""A form of groups and nodes."""

PathText = Annotated[JsonPath, PlainValidator(_path)]
"""A path in a JSON document."""

PatternText = Annotated[Pattern, PlainValidator(_pattern)]
"""Text with placeholders: `{host}`."""


class WireSensorEntry(Entry):
    sensor: str = Field(description="the name of a sensor")
    factor: float = 1.0
    unit: Annotated[str, AfterValidator(unit_text)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_its_name(cls, data: Any) -> Any:
        return {"sensor": data} if isinstance(data, str) else data


class TopicFormEntry(Entry):
    topic: TopicText = Field(description="a form of topics such as {site}/{line}/{source}/{sensor}")
    payload: Literal["json", "lines"] = "json"
    source: PatternText = SOURCE
    sensor: PatternText | None = None
    value: PathText = WHOLE
    time: PathText | None = None
    epoch_unit: EpochUnit | None = None
    sensors: dict[str, Any] = Field(default_factory=dict)
    ignore: Listed[str] = ()

    @model_validator(mode="after")
    def _lines_speak_for_themselves(self) -> Self:
        said = {"source", "sensor", "value", "time", "sensors", "ignore"} & self.model_fields_set
        if self.payload == "lines" and said:
            raise ValueError(f"lines say themselves what they are about: expected no {sorted(said)[0]}")
        return self


class SparkplugFormEntry(Entry):
    node: NodeText = Field(description="group and node such as nord/edge1 or nord/{node}")
    source: PatternText = DEVICE
    sensors: dict[str, Any] = Field(default_factory=dict)
    ignore: Listed[str] = ()


class FileFormEntry(Entry):
    name: str = "*"
    source: Identity | None = None
    source_column: str = "source"
    time_column: str = "time"
    clock_column: str | None = None
    sensor_column: str | None = None
    value_column: str = "value"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Decimal | None = None
    missing: Listed[str] = ()
    time_format: str | None = None
    time_zone: Zone | None = None
    epoch_unit: TableUnit | None = None
    count_from: Annotated[int, BeforeValidator(instant_ms)] | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    ignore: Listed[str] = ()
    unit: dict[str, Annotated[str, AfterValidator(unit_text)]] = Field(default_factory=dict)


class LineFormEntry(Entry):
    measurement: Identity | None = None
    source: PatternText = SOURCE
    sensor: PatternText = FIELD
    sensors: dict[str, Any] = Field(default_factory=dict)
    ignore: Listed[str] = ()
