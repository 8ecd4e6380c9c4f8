"""Trained models: what there is, and which one speaks."""

from dataclasses import dataclass

from pdm.web.shapes.track_record import FigureView
from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class ActivationView:
    """One choice of a model, with who made it and why."""

    version: str
    at: Instant
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One version. `problem` says why it cannot be active. Of machines left out of training, `crps` is that of who
    speaks (over the last part of life, what is left cut at the horizon), `figures` those of the forests where failure
    came within the horizon."""

    version: str
    active: bool
    problem: str | None
    origin: str | None
    lives: int | None
    failures: int | None
    crps: float | None
    figures: dict[str, float]
    card: str


@dataclass(frozen=True, slots=True)
class ComingView:
    """A model that was activated, and speaks once the history of all machines is folded."""

    version: str
    at: Instant
    who: str
    reason: str
    folded: int
    machines: int


@dataclass(frozen=True, slots=True)
class ClassModelsView:
    """The models of one class, the one to take first, and every choice, the newest first. `speaks` is the version in
    use now, null without one; `problem` says why the active one is not; `coming` catches up and speaks next."""

    class_name: str
    active: str | None
    speaks: str | None
    problem: str | None
    coming: ComingView | None
    versions: tuple[ModelView, ...]
    activations: tuple[ActivationView, ...]


@dataclass(frozen=True, slots=True)
class SaidView:
    """What is said of a machine: median remaining life, why there is none, preferred start of its window."""

    median: float | None
    refusal: str | None
    preferred_start: Instant | None


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """A machine about which people would be told something else."""

    serial: str
    now: SaidView
    then: SaidView
    alerts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImpactView:
    """What a model would change if it were activated now. `other_medians` counts machines whose median would differ by
    more than a tenth; lives are in `unit`."""

    class_name: str
    version: str
    unit: str
    machines: int
    other_medians: int
    differences: tuple[DifferenceView, ...]


@dataclass(frozen=True, slots=True)
class BesideView:
    """Two models on the same lives, which neither had seen: `since` is when the later one was trained, null where that
    is not known; `active` is the one that speaks, null without one. `crps_change` is the CRPS of `version` less that of
    the active one, below 0 it is better [unit]."""

    class_name: str
    active: str | None
    version: str
    unit: str
    since: Instant | None
    lives: int
    active_figures: tuple[FigureView, ...]
    figures: tuple[FigureView, ...]
    crps_change: FigureView


@dataclass(frozen=True, slots=True)
class ModelsView:
    """The models of all classes."""

    classes: tuple[ClassModelsView, ...]
