"""Units at the edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.errors import UnreadableMessageError
from pdm.units import IDENTITY, _registry, conversion, is_unit, unit_meant


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "value", "expected"),
    [
        ("degC", "degF", 100.0, 212.0),
        ("degF", "degC", 32.0, 0.0),
        ("degC", "K", 25.0, 298.15),
        ("°C", "K", 0.0, 273.15),
        ("degR", "K", 491.67, 273.15),
        ("delta_degC", "delta_degF", 10.0, 18.0),
        ("bar", "kPa", 2.5, 250.0),
        ("psi", "kPa", 1.0, 6.894757293168361),
        ("m3/h", "l/min", 3.0, 50.0),
        ("m³/h", "m**3/s", 3600.0, 1.0),
        ("rpm", "rad/s", 60.0, 6.283185307179586),
        ("kW", "W", 1.5, 1500.0),
        ("%", "1", 5.0, 0.05),
        ("", "%", 1.0, 100.0),
        ("Nm", "kN*m", 1000.0, 1.0),
        ("Nm3/h", "Nm3/min", 60.0, 1.0),
        ("Nm³/h", "Nm3/h", 1.0, 1.0),
        ("W/m²", "W/m2", 1.0, 1.0),
        ("lbm/s", "kg/s", 1.0, 0.45359237),
        ("in/s", "mm/s", 1.0, 25.4),
        ("mm/s2", "m/s2", 1000.0, 1.0),
    ],
)
def test_a_value_becomes_the_same_amount_in_the_other_unit(
    from_unit: str, to_unit: str, value: float, expected: float
) -> None:
    assert conversion(from_unit, to_unit)(np.array([value])) == pytest.approx([expected], rel=1e-14, abs=1e-14)


def test_freezing_point_is_exactly_32_degrees_fahrenheit() -> None:
    assert conversion("degC", "degF")(np.array([0.0]))[0] == 32.0


@settings(deadline=None)  # the first unit loads all of them
@given(st.floats(-1e6, 1e6), st.sampled_from([("degC", "degF"), ("bar", "psi"), ("m3/h", "l/min"), ("rpm", "rad/s")]))
def test_there_and_back_is_where_one_was(value: float, pair: tuple[str, str]) -> None:
    there, back = conversion(*pair), conversion(*reversed(pair))
    assert back(there(np.array([value])))[0] == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_units_are_loaded_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    _registry.cache_clear()
    _registry()
    assert not caplog.records


def test_the_declared_unit_costs_nothing() -> None:
    values = np.array([1.0, np.nan])
    assert conversion("furlongs of our own", "furlongs of our own") == IDENTITY
    assert IDENTITY(values) is values


def test_missing_values_stay_missing() -> None:
    assert np.isnan(conversion("degC", "K")(np.array([np.nan]))[0])


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "reason"),
    [
        ("degC", "bar", "unit_mismatch"),
        ("degC", "delta_degC", "unit_mismatch"),
        ("Nm3/h", "m3/h", "unit_mismatch"),  # normal cubic metres need pressure and temperature to become others
        ("rpm", "Hz", "unit_mismatch"),  # a turn or a radian a second?
        ("dB", "1", "unit_mismatch"),
        ("rmp", "rpm", "unknown_unit"),
        ("rpm", "turns", "unit_mismatch"),
        ("C", "K", "unknown_unit"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_its_reason(from_unit: str, to_unit: str, reason: str) -> None:
    with pytest.raises(UnreadableMessageError) as refused:
        conversion(from_unit, to_unit)
    assert refused.value.reason == reason
    assert repr(from_unit) in refused.value.detail


@pytest.mark.parametrize(
    "text", ["m3/h", "degC", "%", "1", "", "mm/s", "W/m2", "kg·m", "1/min", "lb/s/psi", "µm", "kft"]
)
def test_units_of_the_shop_floor_are_known(text: str) -> None:
    assert is_unit(text)


@pytest.mark.parametrize("text", ["rmp", "2 m", "C", "F", "m3.h-1x", "degrees of freedom", "m\n", "import os", "None"])
def test_what_is_no_unit_is_not_taken_for_one(text: str) -> None:
    assert not is_unit(text)


def test_a_coulomb_is_taken_for_a_slip_of_the_pen() -> None:
    assert (unit_meant("C"), unit_meant("F"), unit_meant("K")) == ("degC", "degF", None)


@pytest.mark.parametrize(
    "text", ["m**9**9**9", "((km**9)**9)**9", "m**999999", "km²²²²²²", "km^9^9", "(" * 40, "m" * 10_000]
)
def test_powers_of_powers_do_not_reach_the_parser(text: str) -> None:
    assert not is_unit(text)


@settings(deadline=None)  # the first unit loads all of them
@given(st.text(alphabet="mkgs39()*/^-. %²", max_size=60))
def test_any_text_converts_or_is_refused(text: str) -> None:
    reason = ""
    try:
        assert np.isfinite(conversion(text, "m").scale)
    except UnreadableMessageError as refused:
        reason = refused.reason
    assert reason in (("", "unit_mismatch") if is_unit(text) else ("unknown_unit",))
