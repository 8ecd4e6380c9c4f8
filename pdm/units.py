"""Units at the edge: values that come in another unit are converted once, into the unit that their sensor declares."""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.errors import UnreadableMessageError

# Units of the shop floor that pint does not know, or takes for something else (`Nm` for a number of metres).
_ADDED = (
    "newton_meter = newton * meter = Nm",
    "normal_cubic_meter = [normal_volume] = Nm3",
    "volt_ampere_reactive = volt * ampere = var",
    "pound_mass = pound = lbm",
)
# What sensors of the shop floor speak in, the usual ones of each kind first.
_USUAL = """
    degC degF K  bar kPa psi MPa Pa mbar mmHg inHg mmH2O inH2O  mm/s m/s inch/s ft/s ft/min km/h mph cm/s
    m/s2 g_0 mm/s2 ft/s2 inch/s2  mm um m inch mil ft cm  m3/h l/min l/s gal/min ft3/min m3/s l/h gal/h ft3/h m3/min
    kg/h kg/s t/h lb/h kg/min lb/min  rpm rad/s deg/s  Hz kHz 1/min  kW W hp MW BTU/h  kWh MWh MJ J kJ Wh
    A mA  V mV kV  ohm kohm Mohm  N kN lbf kgf  Nm lbf*ft lbf*inch kNm  kg g t lb  m3 l gal ft3 ml  1 % ppm  deg rad
    h min s ms us  mPa*s Pa*s  mm2/s m2/s  kg/m3 g/cm3 lb/ft3
"""
_ALIKE = 0.02  # units that differ by less cannot be told apart by their values
_NOT_MEANT = {"C": "degC", "F": "degF"}  # coulomb and farad: hardly ever, next to people who mean a temperature
_SIGNS = str.maketrans({"%": "percent", "·": "*", "²": "2", "³": "3"})
_POWER = re.compile(r"(?<=[A-Za-z])(?<!\bNm)([23])\b")  # m3 for pint's m**3
# Messages carry units too: nothing long, no exponent of several digits and no power of a power reaches pint's parser.
_READABLE = re.compile(r"(?!.*[\d⁰-⁹¹²³]{2})(?!.*[\d)] *(\*\*|\^))[\w%°/*^·.() -]{1,40}")


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one unit to another: value * scale + offset."""

    scale: float
    offset: float

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of any shape in the other unit; the same array where both are one."""
        return values if self == IDENTITY else values * self.scale + self.offset


IDENTITY = Conversion(1.0, 0.0)


@lru_cache(maxsize=1024)
def is_unit(text: str) -> bool:
    """Whether this names a unit, such as `m3/h`, `degC`, `mm/s`, `%`, or `1` for none."""
    return _unit(text) is not None


def unit_meant(text: str) -> str | None:
    """The unit that was probably meant by something that is none."""
    return _NOT_MEANT.get(text)


@lru_cache(maxsize=1024)
def conversion(from_unit: str, to_unit: str) -> Conversion:
    """How values in one unit become values in the other.

    A temperature is a point on its scale; a difference of temperatures is written `delta_degC`. Frequencies do not
    become speeds of rotation: whether 1 Hz is a turn or a radian a second is for people to say.

    Raises:
        UnreadableMessageError: `unknown_unit` or `unit_mismatch`.
    """
    if from_unit == to_unit:
        return IDENTITY
    source, target = _known_unit(from_unit), _known_unit(to_unit)
    refusal = UnreadableMessageError("unit_mismatch", f"{from_unit!r} cannot be converted into {to_unit!r}")
    registry = _registry()
    source_factor, source_base = registry.get_base_units(source)
    target_factor, target_base = registry.get_base_units(target)
    if source_base != target_base:
        raise refusal
    try:
        at_0, at_1, at_2 = (float(registry.Quantity(Decimal(value), source).m_as(target)) for value in range(3))
    except (TypeError, ValueError, ArithmeticError):
        raise refusal from None
    if not isclose(at_2 - at_1, at_1 - at_0):  # decibels and the like are not affine
        raise refusal
    return Conversion(float(Decimal(source_factor) / Decimal(target_factor)), at_0)


@lru_cache(maxsize=1024)
def others(unit: str) -> tuple[tuple[str, Conversion], ...]:
    """The units that values of a sensor may come in by mistake, and how those of its own unit look in them."""
    found = []
    for other in _USUAL.split():
        try:
            made = conversion(unit, other)
        except UnreadableMessageError:
            continue
        if made.offset or not isclose(made.scale, 1, rel_tol=_ALIKE):
            found.append((other, made))
    return tuple(found)


def _known_unit(text: str) -> Any:
    if (unit := _unit(text)) is None:
        raise UnreadableMessageError("unknown_unit", f"{text!r} is not a unit")
    return unit


@cache
def _registry() -> Any:
    """The one registry. Decimals keep factors exact: 0 degC is 32 degF, not 31.99999999999994."""
    import pint  # here, since it takes half a second that a command without units should not cost

    registry: Any = pint.UnitRegistry(non_int_type=Decimal, on_redefinition="ignore")
    for definition in _ADDED:
        registry.define(definition)
    return registry


def _unit(text: str) -> Any:
    """The unit in pint's terms, or None."""
    if text in ("", "1"):
        return _registry().Unit("")
    if text in _NOT_MEANT or not _READABLE.fullmatch(text):
        return None
    try:
        return _registry().Unit(_POWER.sub(r"**\1", text.translate(_SIGNS)))
    except Exception:  # pint's parser lets errors of a dozen kinds through, from TokenError to TypeError
        return None
