"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.durations import UNITS_MS, duration_ms, duration_text


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("48 h", 172_800_000),
        ("5 min", 300_000),
        ("7 d", 604_800_000),
        ("1.5 h", 5_400_000),
        ("250ms", 250),
        ("2 w", 1_209_600_000),
    ],
)
def test_durations_are_written_with_their_unit(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "48", "h", "-1 h", "1 h 30 min", "1e3 h", "٣ h", "2 months", "40000 d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        duration_ms(text)


@given(st.integers(0, 1_000), st.sampled_from(sorted(UNITS_MS)))
def test_a_duration_written_out_is_read_as_the_same(amount: int, unit: str) -> None:
    milliseconds = amount * UNITS_MS[unit]
    assert duration_ms(duration_text(milliseconds)) == milliseconds
