"""The sections of `plant.yaml` that say what gateways call things, as they are written; `pdm.plant.wire_file` reads
them."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, model_validator

from pdm.plant.entries import unit_text
from pdm.plant.entry_types import Entry, Identity, Listed
from pdm.plant.wire import FIELD, SOURCE, Pattern

_NAME = TypeAdapter(Identity)


def _pattern(value: Any) -> Pattern:
    text = rest = _NAME.validate_python(value)
    for name in Pattern(text).names:
        rest = rest.replace(f"{{{name}}}", "")
    if not text or "{" in rest or "}" in rest:
        raise ValueError(f"expected text with placeholders such as {{host}}, not {text!r}")
    return Pattern(text)


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


class LineFormEntry(Entry):
    measurement: Identity | None = None
    source: PatternText = SOURCE
    sensor: PatternText = FIELD
    sensors: dict[str, Any] = Field(default_factory=dict)
    ignore: Listed[str] = ()
