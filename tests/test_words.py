"""How figures and times read."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import words

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    """Milliseconds UTC of a local time in Berlin."""
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


NOW = at("2026-11-22 10:00")


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0 %"),
        (0.0004, "less than 0.1 %"),
        (0.003, "0.3 %"),
        (0.06, "6 %"),
        (0.618, "62 %"),
        (0.996, "99.6 %"),
        (0.99951, "more than 99.9 %"),
        (1.0, "100 %"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_a_probability_reads_without_feigned_precision(probability: float | None, text: str) -> None:
    assert words.percent(probability) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_what_is_not_certain_never_reads_as_certain(probability: float) -> None:
    assert words.percent(probability) not in ("0 %", "0.0 %", "100 %", "100.0 %")


@pytest.mark.parametrize(
    ("value", "text"), [(3.25, "3.2"), (43.4, "43"), (620.4, "620"), (1_284.0, "1,300"), (11_240.0, "11,000")]
)
def test_a_forecast_has_two_digits(value: float, text: str) -> None:
    assert words.about(value) == text


def test_units_are_symbols_or_words_that_know_their_plural() -> None:
    assert words.quantity(11_240.2, "hour") == "11,240 h"
    assert words.quantity(1, "cycle") == "1 cycle"
    assert words.quantity(43, "cycle") == "43 cycles"
    assert words.quantity(87.26, "degC") == "87.3 °C"
    assert words.life_range(432, 828, "hour") == "430-830 h"


@pytest.mark.parametrize(
    ("value", "text"), [(432.0, "430 h"), (1000.0, "more than 1,000 h"), (float("inf"), "more than 1,000 h")]
)
def test_a_life_is_cut_where_nobody_looks_further(value: float, text: str) -> None:
    assert words.life_or_more(value, 1000.0, "hour") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_400, "12.4 k EUR"), (950, "950 EUR"), (999.7, "1.0 k EUR"), (1.23, "1.2 EUR"), (2_500_000, "2.5 M EUR")],
)
def test_money_is_short_and_names_its_currency(value: float, text: str) -> None:
    assert words.amount(value, "EUR") == text


@pytest.mark.parametrize(
    ("begin", "end", "text"),
    [
        ("2026-12-10 06:00", "2026-12-27 06:00", "10-27 Dec"),
        ("2026-11-28 06:00", "2026-12-03 06:00", "28 Nov-3 Dec"),
        ("2026-12-04 06:00", "2026-12-04 14:00", "4 Dec 06:00-14:00"),
        ("2026-12-04 22:00", "2026-12-05 14:00", "4 Dec 22:00-5 Dec 14:00"),
        ("2026-12-20 06:00", "2027-01-03 06:00", "20 Dec-3 Jan 2027"),
        ("2027-01-03 06:00", "2027-01-09 06:00", "3-9 Jan 2027"),
    ],
)
def test_a_span_is_said_once_and_in_the_zone_of_the_plant(begin: str, end: str, text: str) -> None:
    assert words.span(at(begin), at(end), BERLIN, NOW) == text


def test_a_moment_names_the_weekday_and_other_years_only() -> None:
    assert words.moment(at("2026-12-04 06:00"), BERLIN, NOW) == "Fri 4 Dec 06:00"
    assert words.moment(at("2027-01-04 06:00"), BERLIN, NOW) == "Mon 4 Jan 2027 06:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4, "4 s"), (240, "4 min"), (3 * 3600, "3 h"), (47 * 3600, "47 h"), (74 * 86400, "74 days"), (1e8, "3 years")],
)
def test_a_length_of_time_has_one_unit(seconds: float, text: str) -> None:
    assert words.duration(1000 * seconds) == text


def test_ages_count_back_and_dates_ahead() -> None:
    assert words.ago(NOW - 4_000, NOW) == "4 s ago"
    assert words.ago(None, NOW) == "never"
    assert words.ahead(NOW + 74 * 86_400_000, NOW) == "in 74 days"
    assert words.ahead(NOW - 3_600_000, NOW) == "60 min ago"


def test_lists_read_as_people_speak() -> None:
    assert [words.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
