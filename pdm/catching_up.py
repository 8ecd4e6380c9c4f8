"""A model whose twins are not there yet folds the history of its class before it speaks, portion by portion.

Folded at once, years of a large plant would have everybody wait for the next tick. What is no more than a portion is
folded there all the same: a small plant takes another model up at once.
"""

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection

from pdm import cohort, respond, twin
from pdm.columns import Columns
from pdm.errors import ConfigurationError, ConflictError
from pdm.plant import AssetClass
from pdm.prognosis.learned import Model
from pdm.respond import Act
from pdm.services import Services
from pdm.state.catching_up import Coming, coming_of, drop_coming, folded_of, put_coming, store_folded
from pdm.state.cohorts import beliefs_tick, has_checkpoint, load_beliefs, store_checkpoint
from pdm.state.models import activations_of
from pdm.state.plants import CurrentPlant, current_fleet, current_plant
from pdm.state.schema import read, write

PORTION_S = 10.0
"""About so much work is done at once [s]."""

_TURN_S, _STEP_S = 0.8e-3, 4e-6  # measured: what a step of machines side by side takes, and what each of them adds

_log = structlog.stdlib.get_logger(__name__)


def activate(connection: Connection, asset_class: AssetClass, version: str, act: Act, *, now: bool = False) -> bool:
    """Have a version that can be used speak, from the next tick on where its twins are there or soon folded (`now`:
    however long that tick takes), otherwise once it has caught up; returns whether at once.

    Activating what is active gives up what is catching up.

    Raises:
        ConflictError: it is active, or catching up, already.
    """
    name, coming = asset_class.name, coming_of(connection, asset_class.name)
    if coming is not None and version == _active(connection, name):
        return drop_coming(connection, name)
    if coming is not None and version == coming.version and not now:
        raise ConflictError(f"model {version} of class {name} is {coming}")
    lacking = np.empty(0, dtype=np.int64) if now else _lacking(connection, asset_class, version)
    if at_once := work(lacking) <= PORTION_S:
        respond.activate_model(connection, name, version, act)
        drop_coming(connection, name)
    else:
        put_coming(connection, name, Coming(version, act.at_ms, act.who, act.reason, 0, len(lacking)))
    return at_once


def version_before(connection: Connection, class_name: str) -> str:
    """What to go back to: what is active, while another one is catching up, otherwise what was active before it.

    Raises:
        NotFoundError: nothing was.
    """
    active = _active(connection, class_name)
    waiting = coming_of(connection, class_name) is not None
    return active if waiting and active is not None else respond.version_before(connection, class_name)


def catch_up(services: Services) -> str:
    """Fold a portion of the history of each class for which a model is to speak; returns how far they are."""
    with read(services.engine) as connection:
        plant = current_plant(connection)
        found = {name: coming_of(connection, name) for name in plant.plant.classes}
    classes = plant.plant.classes
    told = [_portion(services, plant, classes[name], coming) for name, coming in found.items() if coming is not None]
    return "; ".join(told) or "nothing to catch up"


def work(steps: NDArray[np.int64]) -> float:
    """About how long it takes to fold machines of so many steps side by side [s]."""
    return float(_TURN_S * steps.max(initial=0) + _STEP_S * steps.sum())


def _portion(services: Services, plant: CurrentPlant, asset_class: AssetClass, coming: Coming) -> str:
    """Fold a portion, and have the model speak if it was the last."""
    model, name = _model_of(services, asset_class, coming), asset_class.name
    with read(services.engine) as connection:
        tick = beliefs_tick(connection, name)
        machines = current_fleet(connection, plant).serials_of(name)
        columns = _folded_further(connection, plant, asset_class, model)
    coming = coming._replace(folded=len(columns["serial"]), machines=len(machines))
    frame = cohort.checkpoint_name(asset_class, model.version)
    with write(services.engine) as connection:
        if not store_folded(connection, name, coming, tick, columns):
            return f"{name}: {coming.version} is not asked for any more"
        # beside a checkpoint of the same tick there is no room: it speaks after the next one
        if coming.folded < coming.machines or has_checkpoint(connection, name, tick=tick):
            return f"{name}: {coming.version} is {coming}"
        store_checkpoint(connection, name, tick, frame, columns)
        drop_coming(connection, name)
        respond.activate_model(
            connection, name, coming.version, Act(coming.who, services.clock.plant_ms(), coming.reason)
        )
    services.coming.pop(name)
    _log.info("model has caught up", asset_class=name, version=coming.version)
    return f"{name}: {coming.version} has caught up and speaks"


def _model_of(services: Services, asset_class: AssetClass, coming: Coming) -> Model:
    """The model, proven once."""
    known = services.coming.get(asset_class.name)
    if known is None or known.version != coming.version:
        if services.trained is None:
            raise ConfigurationError("expected folders with models", key="models")
        known = services.coming[asset_class.name] = services.trained.load(asset_class, coming.version)
    return known


def _folded_further(connection: Connection, plant: CurrentPlant, asset_class: AssetClass, model: Model) -> Columns:
    """The twins of what was folded before, with what came since, and of the next machines."""
    fleet = current_fleet(connection, plant)
    before = folded_of(connection, asset_class.name)
    serials = fleet.serials_of(asset_class.name)
    known = set(before[1].get("serial", ()))
    done = [serial for serial in serials if serial in known]
    following = _next(connection, asset_class, [serial for serial in serials if serial not in known])
    made = cohort.resumed(connection, plant, asset_class, model, fleet, done, before)
    added = cohort.resumed(connection, plant, asset_class, model, fleet, following, (0, {}))
    both = twin.rearranged(asset_class, model.frame, made.twin, done, [*done, *following])
    twin.put(both, np.arange(len(done), len(both)), added.twin)
    return twin.to_columns(both, np.array([*done, *following], dtype=object))


def _next(connection: Connection, asset_class: AssetClass, waiting: list[str]) -> list[str]:
    """The first of the machines that wait, as many as a portion takes, at least one."""
    stored = load_beliefs(connection, asset_class.name)
    steps_of = {} if stored is None else dict(zip(stored.beliefs.serial, stored.beliefs.steps, strict=True))
    steps = np.array([steps_of.get(serial, 0) for serial in waiting], dtype=np.int64)
    count = 1
    while count < len(steps) and work(steps[: count + 1]) <= PORTION_S:
        count += 1
    return waiting[:count]


def _lacking(connection: Connection, asset_class: AssetClass, version: str) -> NDArray[np.int64]:
    """How many steps of each machine a version has not folded; none where a checkpoint holds its twins of before."""
    stored = load_beliefs(connection, asset_class.name)
    if stored is None or has_checkpoint(connection, asset_class.name, cohort.checkpoint_name(asset_class, version)):
        return np.empty(0, dtype=np.int64)
    return stored.beliefs.steps


def _active(connection: Connection, class_name: str) -> str | None:
    rows = activations_of(connection, class_name)
    return rows[0].version if rows else None
