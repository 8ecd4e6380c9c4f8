"""What moved a forecast, and lives that it is like."""

from dataclasses import dataclass

from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class MoverView:
    """One reason that has become stronger or weaker: `change` is what it does to the expected remaining life, negative
    where it shortens it more than before [unit of life]."""

    column: str
    text: str
    change: float


@dataclass(frozen=True, slots=True)
class ChangeView:
    """What moved the forecast of a machine since one that was issued before.

    Attributes:
        since: when that one was issued, `prognosis_id` names it.
        used: life used since [unit].
        median_before, median_now: of the remaining life [unit], None beyond what can be said.
        beyond_use: by how much the median moved more than life was used, negative: it fell by more [unit].
        reasons: other causes in words: another model, other bands, a sensor at fault.
        movers: which sensors moved it, the strongest first; empty where the forecast is not learned.
    """

    serial: str
    since: Instant
    prognosis_id: str
    unit: str
    used: float
    median_before: float | None
    median_now: float | None
    beyond_use: float | None
    reasons: tuple[str, ...]
    movers: tuple[MoverView, ...]


@dataclass(frozen=True, slots=True)
class SimilarView:
    """A finished life that looked most like a machine does now at the time `at`, `alike` being 1 where no tree of the
    model tells them apart. `used` and `remaining` are its life then [unit]; `mode` ended it."""

    serial: str
    at: Instant
    unit: str
    used: float
    remaining: float
    ended_at: Instant
    mode: str | None
    alike: float


@dataclass(frozen=True, slots=True)
class SimilarLivesView:
    """The most similar finished lives of a machine, the most similar first; none without finished lives of its class,
    or where its forecast is not a learned one."""

    serial: str
    lives: tuple[SimilarView, ...]
