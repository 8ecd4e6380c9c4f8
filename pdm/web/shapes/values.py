"""How values go out: times, JSON, pages of lists.

In Python a time is integer milliseconds UTC; in JSON it is RFC 3339. What is not known is None, in JSON null; `to_json`
turns a stray NaN or infinity into null as well, so that what goes out is always valid JSON.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import PlainSerializer, TypeAdapter, WithJsonSchema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at_ms: int) -> str:
    """Milliseconds UTC as `2026-12-04T06:00:00Z`; the milliseconds are written only where there are any."""
    timespec = "milliseconds" if at_ms % 1000 else "seconds"
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec=timespec).replace("+00:00", "Z")


Instant = Annotated[
    int,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Milliseconds UTC; RFC 3339 in JSON."""


def to_json(shape: Any, value: Any) -> bytes:
    """JSON of a value of this shape; NaN and infinities become null."""
    return _adapter(shape).dump_json(value)


T = TypeVar("T")


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of records; `next` is the cursor of the page after it, null on the last one."""

    items: tuple[T, ...]
    next: str | None
