"""What gateways call things: how forms other than our own JSON name sources and sensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")


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


SOURCE = Pattern("{source}")
FIELD = Pattern("{field}")


@dataclass(frozen=True, slots=True)
class WireSensor:
    """What a number on the wire is: `sensor`, once it is multiplied by `factor` and brought from `unit` (None: the
    declared one) into the unit of the sensor."""

    sensor: str
    factor: float = 1.0
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class LineForm:
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

    def wire_sensor(self, name: str) -> WireSensor | None:
        """What stands under a name; None if it is to be ignored."""
        return None if name in self.ignore else self.sensors.get(name, WireSensor(name))
