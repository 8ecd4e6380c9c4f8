"""Small seams to the outside world; adapters implement them, wiring picks one of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pdm.readings import Readings


class Changes(NamedTuple):
    """What came in since a cursor: per source the earliest new reading time, and the cursor to ask from next time."""

    source: NDArray[Any]  # [m] object array of source names, each once
    earliest_ms: NDArray[np.int64]  # [m]
    cursor: str  # opaque to everybody but the store


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be read, with the reason."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter as kept: equal payloads on one topic with one reason are one row with a count."""

    id: int
    topic: str
    payload: bytes
    reason: str
    detail: str
    first_seen_ms: int
    last_seen_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Totals since the store was made, for metrics, the demo and `doctor`."""

    readings: int  # rows written, resends included
    dead_letters: int  # messages, repeats included
    batches: int


class ReadingWriter(Protocol):
    """The ingesting side of a reading store: one process, one log."""

    def append(self, batches: dict[str, Readings], dead: Sequence[DeadLetter]) -> None:
        """Commit durably, or raise `StoreError` and keep nothing. Keys of `batches` are class names.

        When it returns, every reading and dead letter given is on disk; only then may a message be acknowledged.
        """
        ...

    def close(self) -> None: ...


class ReadingStore(Protocol):
    """The reading side; any number of processes, while a writer writes."""

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What arrived for a class since `cursor` ("" is the beginning)."""
        ...

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        ...

    def counts(self) -> StoreCounts: ...

    def dead_letters(self, limit: int = 100) -> list[StoredDeadLetter]:
        """Newest first."""
        ...

    def close(self) -> None: ...
