"""Who acts on our records, and the errors of acts that cannot be carried out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from pdm.errors import ConflictError, PdmError
from pdm.plant import AssetClass

FUTURE_MS = 5 * 60_000
"""How far ahead of plant time something that is reported may lie: clocks differ."""


class RequestError(PdmError):
    """The request makes no sense for this record; `field` is the part of it that is wrong."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


class MovedOnError(ConflictError):
    """The record has another revision than the one that the request was made for."""


class DuplicateWorkError(ConflictError):
    """Another work order is open for the same asset and target; `existing` points to it."""

    def __init__(self, message: str, existing: Mapping[str, str]):
        super().__init__(message)
        self.existing = dict(existing)


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, when (plant time), why, and on which revision (None: on whatever stands)."""

    who: str
    at_ms: int
    reason: str = ""
    revision: int | None = None


def expect_mode(mode: str | None, asset_class: AssetClass, field: str = "mode") -> None:
    """Refuse a failure mode that the class of the machine does not declare."""
    known = [declared.name for declared in asset_class.failure_modes]
    if mode is not None and mode not in known:
        raise RequestError(field, f"its class has no failure mode {mode!r}; it has {', '.join(known) or 'none'}")


def expect_revision(stored: Row[Any], act: Act) -> None:
    """Refuse an act on a record that has moved on since the actor saw it."""
    if act.revision is not None and stored.revision != act.revision:
        raise MovedOnError(f"the record now has revision {stored.revision}, not {act.revision}: read it again")
