"""How names stand in lines, queries and predicates: the only place that quotes and escapes."""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

SOURCE = "source"
"""The tag of readings."""

SERIAL = "serial"
"""The tag of twins and prognoses: they belong to the machine, wherever it reports."""

FLAGS = "arrival_flags"
"""The field of `ArrivalFlag`."""

_RESERVED = frozenset({"time", SOURCE, FLAGS})
_OF_REGEX = re.compile(r"[\\.+*?()|\[\]{}^$/]")
_OF_LINES = re.compile(r"[,= ]")
_FIRST_MS, _LAST_MS = -9_223_372_036_854, 9_223_372_036_854  # what fits into nanoseconds of 64 bits
_LONGEST_CHOICE = 20_000
"""Bytes of names in one query: it travels in the first line of a request, which servers and proxies limit."""


def measurement(class_name: str, late: bool) -> str:
    """The measurement of a class. Names of classes have no dot, so late readings are apart from every class."""
    return f"{class_name}.late" if late else class_name


def projected(class_name: str, kind: str) -> str:
    """The measurement of what is projected of a class, apart from all readings."""
    return f"{class_name}.{kind}"


def field(sensor: str) -> str:
    """The field of a sensor; a sensor never begins with a dot, so no two share one."""
    return f".{sensor}" if sensor in _RESERVED else sensor


def unwritable(name: str) -> str | None:
    """Why a name cannot be a tag, None if it can: a backslash there is literal and breaks the line at its end."""
    if not name:
        return "the source has no name"
    if "\\" in name or not name.isprintable():
        return "the name of the source has a backslash, a line break or another control character"
    return None


def in_line(name: str) -> str:
    """A measurement, tag or field in a line to write."""
    return _OF_LINES.sub(lambda found: f"\\{found[0]}", name)


def identifier(name: str) -> str:
    """A measurement, tag or field in a query; always quoted, since `inf` or `time` are keywords."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """A text in a line to write or in the predicate of a deletion."""
    return identifier(text)


def instant(time_ms: int) -> str:
    """A time in a query, not beyond what the server knows."""
    return f"{min(max(time_ms, _FIRST_MS), _LAST_MS)}ms"


def number(value: float) -> str:
    """A number in a query, which knows no exponents."""
    return np.format_float_positional(value, trim="0")


def any_of(names: Iterable[str]) -> str:
    """A regular expression that matches exactly these names."""
    return f"/^({'|'.join(_OF_REGEX.sub(lambda found: chr(92) + found[0], name) for name in names)})$/"


def choices(names: Sequence[str]) -> Iterator[list[str]]:
    """Names in groups that fit into one query each."""
    group, size = list[str](), 0
    for name in names:
        if group and size + len(name.encode()) > _LONGEST_CHOICE:
            yield group
            group, size = [], 0
        group.append(name)
        size += len(name.encode()) + 1
    if group:
        yield group
