"""How numbers, amounts, times and spans of time read on a page: English, with units, in the plant's zone.

Pure functions. Times are integer milliseconds UTC, probabilities between 0 and 1. NaN and None read as a dash.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

UNKNOWN = "–"

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_SYMBOLS = frozenset({"h", "min", "s", "ms", "d", "km", "m", "mm", "K", "kW", "W", "Pa", "bar", "V", "A", "Hz", "rpm"})


def percent(probability: float | None) -> str:
    """A probability: "0.3 %", "62 %", "more than 99.9 %"; what is not certain never reads as 0 or 100 %."""
    if probability is None or math.isnan(probability):
        return UNKNOWN
    if 0 < probability < 0.001:
        return "less than 0.1 %"
    if 0.999 < probability < 1:
        return "more than 99.9 %"
    exact = 100 * probability
    small = 0 < exact < 0.95 or 99.5 <= exact < 100
    return f"{exact:.1f} %" if small else f"{exact:.0f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A measured value to `digits` significant digits, thousands parted by commas; whole numbers stay whole.

    >>> number(11240.4), number(0.01234), number(87.26)
    ('11,240', '0.0123', '87.3')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def about(value: float | None) -> str:
    """A forecast to two significant digits from 100 on, whole below, one decimal below 10: no feigned precision.

    >>> about(623.0), about(43.4), about(3.25), about(1284.0)
    ('620', '43', '3.2', '1,300')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if abs(value) >= 100:
        grain = 10 ** (math.floor(math.log10(abs(value))) - 1)
        return f"{round(value / grain) * grain:,.0f}"
    return number(value, 2)


def unit(name: str, value: float | None = None) -> str:
    """A unit beside a value: symbols as they are, words in the plural where the value is not one."""
    symbol = {"hour": "h", "degC": "°C", "delta_degC": "K"}.get(name, name)
    plural = symbol not in _SYMBOLS and symbol.isalpha() and len(symbol) > 3 and value != 1
    return symbol + ("s" if plural else "")


def quantity(value: float | None, name: str) -> str:
    """A measured value with its unit: "11,240 h", "1 cycle", "87.3 °C"."""
    text = number(value)
    return text if text == UNKNOWN else f"{text} {unit(name, value)}"


def life(value: float | None, name: str) -> str:
    """A forecast life with its unit: "620 h", "43 cycles"."""
    text = about(value)
    return text if text == UNKNOWN else f"{text} {unit(name, value)}"


def life_or_more(value: float, horizon: float, name: str) -> str:
    """A forecast life, cut where nobody looks further: "620 h", "more than 1,000 h"."""
    return f"more than {life(horizon, name)}" if value >= horizon else life(value, name)


def life_range(low: float | None, high: float | None, name: str) -> str:
    """Two forecast lives with one unit: "430-830 h"."""
    return f"{about(low)}-{about(high)} {unit(name)}"


def amount(value: float | None, currency: str) -> str:
    """Money, short: "12.4 k EUR", "950 EUR", "1.2 EUR"."""
    if value is None or math.isnan(value):
        return UNKNOWN
    for scale, letter in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * scale:
            return f"{value / scale:.1f}{letter} {currency}"
    return f"{value:.0f} {currency}" if abs(value) >= 10 else f"{number(value, 2)} {currency}"


def duration(milliseconds: float) -> str:
    """A length of time in one unit: "4 s", "25 min", "40 h", "12 days", "5 months", "3 years"."""
    lasts = abs(milliseconds)
    for below, size, name in (
        (90 * _SECOND, _SECOND, "s"),
        (90 * _MINUTE, _MINUTE, "min"),
        (48 * _HOUR, _HOUR, "h"),
        (90 * _DAY, _DAY, "days"),
        (730 * _DAY, 30.4 * _DAY, "months"),
    ):
        if lasts < below:
            return f"{round(lasts / size)} {name}"
    return f"{lasts / (365.25 * _DAY):.0f} years"


def ago(at_ms: int | None, now_ms: int) -> str:
    """How long since: "4 s ago"; "never" where it never was."""
    if at_ms is None or at_ms < 0:
        return "never"
    return "just now" if now_ms - at_ms < _SECOND else f"{duration(now_ms - at_ms)} ago"


def ahead(at_ms: int, now_ms: int) -> str:
    """How long until: "in 3 days"; what has passed reads as passed."""
    return f"in {duration(at_ms - now_ms)}" if at_ms > now_ms else ago(at_ms, now_ms)


def iso(at_ms: int) -> str:
    """RFC 3339 in UTC, for machines."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(at_ms: int | None, zone: ZoneInfo, now_ms: int) -> str:
    """A point in time: "Thu 4 Dec 06:00", with the year where it is not this one."""
    if at_ms is None:
        return UNKNOWN
    at = _local(at_ms, zone)
    return f"{at:%a} {at.day} {at:%b}{_year(at, zone, now_ms)} {at:%H:%M}"


def day(at_ms: int, zone: ZoneInfo, now_ms: int) -> str:
    """A date: "4 Dec", with the year where it is not this one."""
    at = _local(at_ms, zone)
    return f"{at.day} {at:%b}{_year(at, zone, now_ms)}"


def span(from_ms: int, to_ms: int, zone: ZoneInfo, now_ms: int) -> str:
    """A stretch of time as short as it can be said: "10-27 Dec", "28 Nov-3 Dec", "4 Dec 06:00-14:00"."""
    begin, end = _local(from_ms, zone), _local(to_ms, zone)
    if begin.date() == end.date():
        return f"{day(from_ms, zone, now_ms)} {begin:%H:%M}-{end:%H:%M}"
    if to_ms - from_ms < 2 * _DAY:
        return f"{day(from_ms, zone, now_ms)} {begin:%H:%M}-{day(to_ms, zone, now_ms)} {end:%H:%M}"
    if (begin.year, begin.month) == (end.year, end.month):
        return f"{begin.day}-{day(to_ms, zone, now_ms)}"
    if begin.year == end.year:
        return f"{begin.day} {begin:%b}-{day(to_ms, zone, now_ms)}"
    return f"{day(from_ms, zone, now_ms)}-{day(to_ms, zone, now_ms)}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """ "1 alert", "3 alerts"; `many` where more is not the noun with an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {many or noun + 's'}"


def sentence(text: str) -> str:
    """A text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def listed(items: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"; or another word before the last."""
    return f" {last} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def _year(at: datetime, zone: ZoneInfo, now_ms: int) -> str:
    return "" if at.year == _local(now_ms, zone).year else f" {at.year}"
