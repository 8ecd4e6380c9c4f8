"""The page of trained models: what there is, which one is active, and who chose it when and why."""

from dataclasses import dataclass

from pdm import words
from pdm.services import Services
from pdm.web.models import models_of
from pdm.web.shapes import ClassModelsView, ComingView, ModelView
from pdm.web.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version in words."""

    version: str
    state: str
    learned: str
    crps: str
    coverage: str
    card: str


@dataclass(frozen=True, slots=True)
class ClassCard:
    """The models of one class in words; `choices` are when, which, who, why."""

    name: str
    title: str
    speaks: str
    problem: str
    coming: str
    versions: tuple[VersionRow, ...]
    choices: tuple[tuple[str, str, str, str], ...]


def models_page(services: Services, now: Snapshot) -> tuple[ClassCard, ...]:
    """A card for each class."""
    return tuple(_card(one, now, services.clock.plant_ms()) for one in models_of(services, now).classes)


def _card(one: ClassModelsView, now: Snapshot, now_ms: int) -> ClassCard:
    asset_class, zone = now.current.plant.classes[one.class_name], now.current.plant.time_zone
    return ClassCard(
        name=one.class_name,
        title=asset_class.title or one.class_name,
        speaks=f"{one.speaks} speaks." if one.speaks else "No model speaks: declared life, wear and limits do.",
        problem="" if one.problem is None else words.sentence(one.problem),
        coming="" if one.coming is None else _coming(one.coming, now, now_ms),
        versions=tuple(_version(version, asset_class.life_step.unit) for version in one.versions),
        choices=tuple(
            (words.moment(row.at, zone, now_ms), row.version, row.who, row.reason) for row in one.activations
        ),
    )


def _coming(one: ComingView, now: Snapshot, now_ms: int) -> str:
    when = words.moment(one.at, now.current.plant.time_zone, now_ms)
    far = f"{one.folded} of {words.plural(one.machines, 'machine')}"
    return f"{one.version}, activated by {one.who} {when}, is catching up: {far}. It speaks once all are folded."


def _version(one: ModelView, unit: str) -> VersionRow:
    state = "active" if one.active else f"cannot be used: {one.problem}" if one.problem else "can be activated"
    return VersionRow(
        version=one.version,
        state=state,
        learned="" if one.failures is None else f"{words.plural(one.failures, 'failure')} ({one.origin})",
        crps=words.life(one.crps, unit),
        coverage=words.percent(one.figures.get("coverage_80")),
        card=one.card,
    )
