"""Durations as people write them (`48 h`, `5 min`, `7 d`), and as integer milliseconds."""

import re

UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds of each unit, longest first. A day has 24 h: durations know no calendar."""

HOUR_MS, DAY_MS = UNITS_MS["h"], UNITS_MS["d"]

CENTURY_MS = 36_525 * DAY_MS
"""No duration is longer, and no date lies further ahead: more is a slip of the pen."""

_WRITTEN = re.compile(r"(?P<amount>\d+(?:\.\d+)?) ?(?P<unit>w|d|h|min|s|ms)", re.ASCII)


def duration_ms(text: str) -> int:
    """The duration in milliseconds; ValueError says what was expected.

    >>> duration_ms("1.5 h")
    5400000
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ValueError(f"expected a duration such as 48 h, 5 min or 7 d, not {text!r}")
    milliseconds = round(float(written["amount"]) * UNITS_MS[written["unit"]])
    if milliseconds > CENTURY_MS:
        raise ValueError(f"expected a duration of at most a century, not {text!r}")
    return milliseconds


def duration_text(milliseconds: int) -> str:
    """The duration in the longest unit that leaves a whole number.

    >>> duration_text(172_800_000), duration_text(90_000)
    ('2 d', '90 s')
    """
    unit = next((unit for unit, length in UNITS_MS.items() if milliseconds and milliseconds % length == 0), "s")
    return f"{milliseconds // UNITS_MS[unit]} {unit}"
