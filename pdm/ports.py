"""Small seams to the outside world; adapters implement them, wiring picks one of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pdm.plant import AssetClass, Sensor
from pdm.prognosis.learned import Facts, Inferred, Model
from pdm.readings import Downsampled, Readings


class Changes(NamedTuple):
    """What came in since a cursor: per source the earliest and the latest time, and the cursor to ask from next."""

    source: NDArray[Any]  # [m] object array of source names, each once, sorted
    earliest_ms: NDArray[np.int64]  # [m]
    latest_ms: NDArray[np.int64]  # [m]
    cursor: str  # opaque to everybody but the store


class Tail(NamedTuple):
    """The next readings since a cursor in the order of their arrival, and the cursor to ask from next time."""

    readings: Readings  # as they came; merged where they were compacted before anybody asked for them
    cursor: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be read, with the reason; `payload` may be cut to what is worth keeping."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter as kept: equal payloads on one topic with one reason are one row with a count."""

    id: str  # opaque, unique over all logs
    topic: str
    payload: bytes
    reason: str
    detail: str
    first_seen_ms: int
    last_seen_ms: int
    count: int

    @property
    def place(self) -> tuple[int, str]:
        """Its place in a list that begins with the latest."""
        return -self.last_seen_ms, self.id


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Totals since the store was made, for metrics, the demo and `doctor`."""

    readings: int  # rows written, resends and late ones included
    dead_letters: int  # messages, repeats included
    batches: int
    late: int = 0  # rows that came after the lateness window: kept apart, never read by steps
    dead_letters_dropped: int = 0  # kept dead letters that made room for newer ones
    sessions_lost: int = 0  # how often a broker came back without what it should have kept for us
    damaged: int = 0  # batches that this reader found damaged and skipped


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far a file or bucket has been imported. A file is known by the digest of its bytes, whatever its name."""

    digest: str
    name: str
    rows: int  # rows read; bad ones are among them, blank lines are not
    bad_rows: int
    finished: bool
    reached_ms: Mapping[str, int] = field(default_factory=dict)  # of what is read in the order of time, by name


class ReadingWriter(Protocol):
    """The ingesting side of a reading store: one process, one log."""

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        """Commit durably, or raise `StoreError` and keep nothing. Keys of `batches` are class names.

        When it returns, all that was given is on disk; only then may a message be acknowledged. `imported` replaces
        what was known about its file in the same commit, but for names in `reached_ms` that it does not have.
        """
        ...

    def import_progress(self, digest: str) -> ImportProgress | None:
        """How far the file with this digest has been imported."""
        ...

    def note_lost_session(self) -> None:
        """Count that the broker came back without what it should have kept for us, or raise `StoreError`."""
        ...

    def close(self) -> None: ...


class ReadingStore(Protocol):
    """The reading side; any number of processes, while a writer writes. Late readings are counted, but never read."""

    def changes(self, class_name: str, cursor: str) -> Changes:
        """What arrived for a class since `cursor` ("" is the beginning)."""
        ...

    def tail(self, class_name: str, cursor: str, limit: int = 100_000) -> Tail:
        """The next readings that arrived for a class since `cursor`, about `limit` at most; none when up to date."""
        ...

    def latest_cursor(self) -> str:
        """The cursor after everything that has arrived: to follow from now on."""
        ...

    def window(self, class_name: str, sources: Sequence[str], start_ms: int, end_ms: int) -> Readings:
        """Readings of these sources with start <= time < end, one row for each (source, time), later values winning
        sensor by sensor, sorted by source in the order given and then by time. Columns: all sensors ever seen."""
        ...

    def downsampled(
        self, class_name: str, source: str, sensors: Sequence[Sensor], start_ms: int, end_ms: int, every_ms: int
    ) -> Downsampled:
        """What these sensors of a source said with start <= time < end, over stretches of `every_ms` that begin at its
        multiples since 1970; values that a sensor cannot report are left out."""
        ...

    def delete(self, class_name: str, source: str, start_ms: int, end_ms: int) -> int:
        """Delete the readings of a source with start <= time < end, late ones too; returns how many there were, which
        `counts` goes on counting.

        Raises:
            StoreError: it cannot be done now.
        """
        ...

    def counts(self) -> StoreCounts: ...

    def dead_letters(
        self, limit: int = 100, reason: str | None = None, after: tuple[int, str] | None = None
    ) -> list[StoredDeadLetter]:
        """Newest first, of one reason or of all; `after` is `last_seen_ms` and `id` of the one to go on from."""
        ...

    def close(self) -> None: ...


class PointsWanted(NamedTuple):
    """What is read of a bucket that others write."""

    measurement: str
    fields: tuple[str, ...]  # that hold numbers
    tags: Mapping[str, Sequence[str]]  # only series that have one of these values in each of these tags


class Points(NamedTuple):
    """Points of n times in columns."""

    series: list[str]  # measurement and tags, each once
    number: NDArray[np.int64]  # [n] which of them
    time_ms: NDArray[np.int64]  # [n]
    values: NDArray[np.float64]  # [n, fields], NaN where there is none


class PointSource(Protocol):
    """A bucket that others write. All of its methods raise `StoreError` where an answer is missing or not whole."""

    name: str

    def measurements(self) -> list[str]: ...

    def fields(self, measurement: str) -> dict[str, tuple[str, ...]]:
        """The fields of a measurement with their types."""
        ...

    def series(self, measurement: str) -> list[str]:
        """Measurement and tags of each series, as line protocol begins."""
        ...

    def next_ms(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> int | None:
        """The time of the first point with start <= time < end; None if there is none."""
        ...

    def count(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> int:
        """How many values there are with start <= time < end."""
        ...

    def points(self, wanted: PointsWanted, start_ms: int, end_ms: int) -> Points:
        """All of them with start <= time < end."""
        ...

    def close(self) -> None: ...


class SpoolPart(NamedTuple):
    """Readings of one class in the order of their arrival, of `batches` commits."""

    class_name: str
    late: bool  # after the lateness window: kept apart, never read by steps
    readings: Readings
    batches: int = 1


class SpoolBlock(NamedTuple):
    """What is forwarded next, and the cursor after it."""

    parts: tuple[SpoolPart, ...]
    cursor: str


class Waiting(NamedTuple):
    """What is still to be forwarded: readings, bytes, and when the first of them was committed (wall time)."""

    rows: int
    bytes: int
    oldest_ms: int


class Spool(Protocol):
    """The logs in front of another store."""

    @property
    def name(self) -> str:
        """Tells these logs from those of other hosts."""
        ...

    def next_block(self, cursor: str, limit: int) -> SpoolBlock | None:
        """The next readings after a cursor ("" is the beginning), about `limit`; None if there are none."""
        ...

    def waiting(self, cursor: str) -> Waiting:
        """How much there is after a cursor."""
        ...

    def note_forwarded(self, cursor: str) -> None:
        """Tell the writers of the logs up to where nothing waits any more."""
        ...


class PointStore(Protocol):
    """The writing side of a store that readings are forwarded to."""

    name: str

    def prepare(self) -> None:
        """Have ready what readings are written to."""
        ...

    def write(self, part: SpoolPart) -> None:
        """Write readings; writing them again changes nothing.

        Raises:
            RefusedWriteError: not all of it can be written, now or later; some of it may have been.
            FailedWriteError: the store failed on it.
            BusyStoreError: it asks to wait.
            StoreError: it does not answer, or refuses us.
        """
        ...


class Projection(NamedTuple):
    """What is known of machines of one class, to be plotted: one point a machine and time, never read by us.

    Attributes:
        kind: `twin` or `prognosis`.
        values: `[n, k]` in the order of `fields`; NaN is left out.
        texts: by field `[n]` object array.
    """

    kind: str
    class_name: str
    serial: NDArray[Any]  # [n]
    time_ms: NDArray[np.int64]  # [n]
    fields: tuple[str, ...]
    values: NDArray[np.float64]
    texts: Mapping[str, NDArray[Any]]

    def take(self, rows: NDArray[Any] | slice) -> "Projection":
        """The points of these rows (indices, mask or slice)."""
        texts = {name: text[rows] for name, text in self.texts.items()}
        return self._replace(
            serial=self.serial[rows], time_ms=self.time_ms[rows], values=self.values[rows], texts=texts
        )


class ProjectionStore(Protocol):
    """A store that others plot from."""

    name: str

    def project(self, points: Projection) -> None:
        """Write points, a serial that cannot be written left out; writing them again changes nothing.

        Raises: as `PointStore.write`.
        """
        ...


class Compaction(NamedTuple):
    """What a compaction did."""

    batches: int
    rows: int
    files: int


class Compactor(Protocol):
    """Keeps the logs of readings small: batches become files by class and day, which go when they are old enough."""

    def compact(self, before_ms: int) -> Compaction:
        """Move every batch that was committed before this wall time into files."""
        ...

    def expire(self, class_name: str, before_ms: int) -> int:
        """Remove the files of a class whose days ended by this time; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A version of a model that is there. `problem` says why it cannot be active, None where nothing speaks against it;
    `facts` and `card` are known where its files are whole."""

    version: str
    facts: Facts | None
    card: str
    problem: str | None


class Models(Protocol):
    """Where trained models are kept."""

    def versions(self, class_name: str) -> list[str]:
        """The versions of a class; the first is the one to take where nobody has chosen."""
        ...

    def described(self, asset_class: AssetClass) -> list[TrainedVersion]:
        """The same with what is known of each. Whether it keeps its word only `load` finds out."""
        ...

    def load(self, asset_class: AssetClass, version: str) -> Model:
        """A proven model.

        Raises:
            NotFoundError: there is no such version.
            ModelError: it cannot be used, with the reason.
        """
        ...


class Workers(Protocol):
    """Where learned forecasts are worked out."""

    def infer(
        self,
        model: Model,
        features: NDArray[np.float64],
        exposure: NDArray[np.float64],
        complete: NDArray[np.bool_],
        names: Sequence[str],
    ) -> Inferred:
        """As `learned.infer`, to the last bit."""
        ...

    def degraded(self) -> list[str]:
        """What is wrong with them, in sentences."""
        ...

    def close(self) -> None: ...


class Clock(Protocol):
    """The two clocks of the service (UTC now in the service, the time replayed in a demo)."""

    def plant_ms(self) -> int:
        """Plant time: drives ticks, staleness, rule durations, windows, and what is late or in the future."""
        ...

    def wall_ms(self) -> int:
        """Wall time: drives leases, claims, retries and rate limits."""
        ...


class Simulation(Protocol):
    """What a page may ask of a simulated plant."""

    def state(self) -> dict[str, Any]:
        """`plant_ms`, `rate` [plant seconds per second], `paused`, `done`."""
        ...

    def control(self, *, paused: bool | None = None, rate: float | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """What a notifier sends: one stable id for every attempt, the body as bytes, and a plain text for people."""

    id: str
    subject: str
    text: str
    body: bytes


class Notifier(Protocol):
    """One route to people or systems."""

    def send(self, message: Message) -> None:
        """Send or raise `DeliveryError`, which says whether trying again can help."""
        ...
