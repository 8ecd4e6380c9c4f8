"""Readings in and out, runs, dead letters, the simulation."""

from dataclasses import dataclass

from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class RunView:
    """One run of a scheduled job."""

    job: str
    scheduled_at: Instant
    started_at: Instant
    finished_at: Instant | None
    outcome: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A message that could not be read; `payload` is its beginning as text, `count` how often it came."""

    id: str
    topic: str
    reason: str
    detail: str
    first_seen: Instant
    last_seen: Instant
    count: int
    payload: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class SimulationView:
    """Simulated time: `rate` is plant seconds per second."""

    plant_time: Instant
    rate: float
    paused: bool
    done: bool


@dataclass(frozen=True, slots=True)
class SeriesColumn:
    """The values of one sensor in its declared unit, null where nothing was measured. Where `values` are means over
    stretches of time, `low` and `high` are the lowest and the highest value of each."""

    unit: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class SeriesView:
    """Readings of a machine in columns; `time_ms` are milliseconds UTC, `every_ms` says over how long was averaged."""

    serial: str
    start: Instant
    end: Instant
    every_ms: int | None
    time_ms: tuple[int, ...]
    sensors: dict[str, SeriesColumn]


@dataclass(frozen=True, slots=True)
class RefusedReading:
    """A message of a body that was not stored; it is in the dead letters under the same reason."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ReadingsAccepted:
    """What became of a body of readings; `late` ones came too late to change a step."""

    stored: int
    late: int
    problems: tuple[RefusedReading, ...]
