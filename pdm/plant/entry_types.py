"""What the entries of plant and rule files are made of: their base, the types of their values, and what they say when
a value is wrong."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, model_validator

from pdm.durations import duration_ms

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRITTEN_SHARE = re.compile(r"(?P<percent>\d+(?:\.\d+)?) ?%|(?P<plain>\d*\.?\d+(?:e-?\d+)?)", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,159}")
_SENSOR_NAME = re.compile(r"\w[\w.:-]{0,63}")


class Entry(BaseModel):
    """One section of a file. A key without a value is as good as absent; a key that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """The keys as they are written in a file."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


def _from_text(read: Callable[[str], T]) -> Callable[[Any], T]:
    """A reader of text that refuses lists and sections."""

    def validate(value: Any) -> T:
        if not isinstance(value, str):
            raise ValueError("expected one value, not a list or a section")
        return read(value)

    return validate


def _share(text: str) -> float:
    written = _WRITTEN_SHARE.fullmatch(text.strip())
    share = float("nan") if written is None else float(written["plain"] or float(written["percent"]) / 100)
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share such as 5 % or 0.05, not {text!r}")
    return share


def instant_ms(text: str) -> int:
    """RFC 3339 time as milliseconds UTC; ValueError says what was expected."""
    try:
        return (datetime.fromisoformat(text.strip()) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, TypeError):  # the latter: it has no offset
        raise ValueError(f"expected a time with its offset such as 2026-01-04T06:00:00Z, not {text!r}") from None


def _longer_than_nothing(milliseconds: int) -> int:
    if not milliseconds:
        raise ValueError("expected a duration longer than nothing")
    return milliseconds


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    if value == []:
        raise ValueError("expected at least one")
    return _listed(value)


def _identity(text: str) -> str:
    if not text.strip() or text != text.strip():
        raise ValueError("expected text without blanks around it")
    if len(text) > 300:
        raise ValueError(f"expected at most 300 characters, not {len(text)}")
    if "\\" in text or not text.isprintable():
        raise ValueError("must not contain a backslash, a line break or another control character")
    return text


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"expected a date such as 2026-12-25, not {text!r}") from None


Duration = Annotated[int, PlainValidator(_from_text(duration_ms))]
"""Milliseconds, written `48 h`."""

LongerThanNothing = Annotated[Duration, AfterValidator(_longer_than_nothing)]
"""A duration above zero."""

Share = Annotated[float, PlainValidator(_from_text(_share))]
"""0 to 1, written `5 %` or `0.05`."""

Day = Annotated[date, PlainValidator(_from_text(_date))]
"""A date, written `2026-12-25`."""

Identity = Annotated[str, AfterValidator(_identity)]
"""What a thing is called elsewhere: any printable text of at most 300 characters without a backslash."""

Listed = Annotated[tuple[T, ...], BeforeValidator(_listed)]
"""A list, or one value without brackets."""

OneOrMore = Annotated[tuple[T, ...], BeforeValidator(_one_or_more)]
"""The same, and not an empty list."""


def wrong_name(name: str) -> str | None:
    """Why this cannot name a class, a failure mode or a calendar; None if it can."""
    return None if _NAME.fullmatch(name) else "a name has letters, digits, - and _ only, at most 64"


def wrong_rule_name(name: str) -> str | None:
    """Why this cannot name a rule or a route; None if it can."""
    return None if _RULE_NAME.fullmatch(name) else "a name has letters, digits, - and _ only, at most 160"


def wrong_sensor_name(name: str) -> str | None:
    """Why this cannot name a sensor; None if it can."""
    return None if _SENSOR_NAME.fullmatch(name) else "a sensor name has letters, digits, _ . : and - only, at most 64"


_EXPECTED = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a section of keys",
    "model": "a section of keys",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "enum": "one of {expected}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "too_short": "at least one",
    "too_long": "at most {max_length}",
    "string_too_short": "text of {min_length} or more characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that fits the pattern {pattern}",
}


def expected(problem: Mapping[str, Any]) -> str:
    """What a problem that pydantic found means, without what stood there."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    wanted = _EXPECTED.get(kind) or _EXPECTED.get(kind.split("_")[0])
    return str(problem["msg"]) if wanted is None else f"expected {wanted.format(**context)}"


def expectation(problem: Mapping[str, Any]) -> str:
    """What a problem that pydantic found means to the writer of the file."""
    said = expected(problem)
    return said if problem["type"] == "value_error" else f"{said}, not {_shown(problem['input'])}"


def _shown(value: Any) -> str:
    if value in (None, [], {}, ()):
        return "nothing"
    return "a section" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else repr(value)
