"""The trained models of a plant, for the API and the page."""

from sqlalchemy import Connection

from pdm.beside import NOTHING_BESIDE, beside
from pdm.impact import Said, impact_of
from pdm.plant import AssetClass
from pdm.ports import TrainedVersion
from pdm.prognosis.learned import Model
from pdm.scoring.track_record import Figure
from pdm.services import Services
from pdm.state import schema
from pdm.state.catching_up import coming_of
from pdm.state.models import activations_of
from pdm.state.plants import current_fleet, current_plant
from pdm.web.forecasts import known
from pdm.web.shapes import (
    ActivationView,
    BesideView,
    ClassModelsView,
    ComingView,
    DifferenceView,
    FigureView,
    ImpactView,
    ModelsView,
    ModelView,
    SaidView,
)
from pdm.web.snapshot import Snapshot


def models_of(services: Services, now: Snapshot) -> ModelsView:
    """Every version of every class, and which one is active."""
    with schema.read(services.engine) as connection:
        return ModelsView(tuple(class_models(services, connection, one) for one in now.current.plant.classes.values()))


def class_models(services: Services, connection: Connection, asset_class: AssetClass) -> ClassModelsView:
    """The same of one class."""
    name, rows = asset_class.name, activations_of(connection, asset_class.name)
    active, speaks = rows[0].version if rows else None, services.models.get(name)
    coming = coming_of(connection, name)
    there = [] if services.trained is None else services.trained.described(asset_class)
    return ClassModelsView(
        class_name=name,
        active=active,
        speaks=None if speaks is None else speaks.version,
        problem=services.model_problems.get(name),
        coming=None if coming is None else ComingView(*coming),
        versions=tuple(_version(one, active) for one in there),
        activations=tuple(ActivationView(row.version, row.at_ms, row.who, row.reason) for row in rows),
    )


def impact_view(services: Services, asset_class: AssetClass, version: str, model: Model) -> ImpactView:
    """What a model would change for people."""
    with schema.read(services.engine) as connection:
        found = impact_of(connection, current_plant(connection), asset_class, model)
    differences = tuple(
        DifferenceView(one.serial, _said(one.now), _said(one.then), one.alerts) for one in found.differences
    )
    unit = asset_class.life_step.unit
    return ImpactView(asset_class.name, version, unit, found.machines, found.other_medians, differences)


def beside_view(services: Services, asset_class: AssetClass, version: str, model: Model) -> BesideView:
    """A model beside the one that speaks; where none does there is nothing to tell."""
    active = services.models.get(asset_class.name)
    with schema.read(services.engine) as connection:
        fleet = current_fleet(connection, current_plant(connection))
        found = NOTHING_BESIDE if active is None else beside(connection, fleet, asset_class, active, model)
    return BesideView(
        class_name=asset_class.name,
        active=None if active is None else active.version,
        version=version,
        unit=asset_class.life_step.unit,
        since=found.since_ms,
        lives=found.lives,
        active_figures=tuple(_figure(*one) for one in found.active.items()),
        figures=tuple(_figure(*one) for one in found.other.items()),
        crps_change=_figure("crps", found.crps_change),
    )


def _figure(name: str, figure: Figure) -> FigureView:
    return FigureView(name, *map(known, figure))


def _said(one: Said) -> SaidView:
    return SaidView(one.median, one.refusal, one.preferred_ms)


def _version(one: TrainedVersion, active: str | None) -> ModelView:
    facts = one.facts
    return ModelView(
        version=one.version,
        active=one.version == active,
        problem=one.problem,
        origin=None if facts is None else facts.origin.value,
        lives=None if facts is None else facts.lives,
        failures=None if facts is None else facts.failures,
        crps=None if facts is None else facts.crps,
        figures={} if facts is None else dict(facts.figures),
        card=one.card,
    )
