"""From names and numbers on the wire to sensors and their declared units."""

from math import isnan
from typing import Any

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import MOST, unknown_sensor
from pdm.plant import AssetClass
from pdm.plant.wire import WireSensor
from pdm.units import Conversion, conversion


def place_of(wire: WireSensor, asset_class: AssetClass) -> tuple[int, Conversion]:
    """Where a number belongs among the sensors of a class, and how it comes into the declared unit.

    Raises:
        UnreadableMessageError: the class has no such sensor, or the units do not fit.
    """
    if wire.sensor not in asset_class.sensor_names:
        raise unknown_sensor(wire.sensor, asset_class.name, asset_class.sensor_names)
    declared = asset_class.sensor(wire.sensor).unit
    scaled = conversion(wire.unit or declared, declared)
    return asset_class.sensor_names.index(wire.sensor), Conversion(wire.factor * scaled.scale, scaled.offset)


def number_of(name: str, value: Any) -> float:
    """A value that was sent under a name, as a number.

    Raises:
        UnreadableMessageError: it is none, or one that no machine reports.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableMessageError("wrong_type", f"{name}: expected a number, not {shown(value)}")
    if isinstance(value, float) and isnan(value):
        raise UnreadableMessageError("not_a_number", f"{name}: expected a number, not {value}")
    if abs(value) > MOST:
        raise UnreadableMessageError("number_too_large", f"{name}: expected a number between -{MOST:g} and {MOST:g}")
    return float(value)


def shown(value: Any) -> str:
    """Something that was not expected, in a few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)[:60]
