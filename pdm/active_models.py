"""Which model of a class speaks: the one that was activated last, or what stands in for it while it cannot be used.

Who chose it, when and why is a row in the state database. Where nobody has chosen, the first that can be used is taken,
and stays until somebody takes another: a model that is trained later is a challenger.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from pdm import catching_up
from pdm.plant import AssetClass
from pdm.ports import Models
from pdm.prognosis.learned import Model, fingerprint
from pdm.respond import Act
from pdm.shared_models import share
from pdm.state.catching_up import coming_of
from pdm.state.models import activate, activations_of, note_published, published_ms
from pdm.state.plants import current_plant
from pdm.state.schema import write
from pdm.state.told import TICK

_FIRST = "the first model of its class"

_log = structlog.stdlib.get_logger(__name__)


class Speaking(NamedTuple):
    """The model of a class that speaks, None without any, and why one that should speak before it cannot."""

    model: Model | None
    problem: Exception | None


def speaking(models: Models, asset_class: AssetClass, activated: Sequence[str], known: Model | None = None) -> Speaking:
    """The first that can be used: of what was activated, the last one first, then of what there is.

    Args:
        known: what speaks now; it is not loaded again.
    """
    problem: Exception | None = None
    for version in dict.fromkeys([*activated, *models.versions(asset_class.name)]):
        if known is not None and (known.version, known.facts.fingerprint) == (version, fingerprint(asset_class)):
            return Speaking(known, problem)
        try:
            return Speaking(models.load(asset_class, version), problem)
        except Exception as error:  # whatever is in a folder of models, the service starts
            problem = problem or error
            _log.warning("model left out", asset_class=asset_class.name, version=version, why=str(error))
    return Speaking(None, problem)


def note_choice(connection: Connection, class_name: str, found: Speaking, at_ms: int) -> None:
    """Write down what speaks where nobody has chosen: at first, and once what was taken so cannot be used any more."""
    rows = activations_of(connection, class_name)
    if found.model is None or (rows and (rows[0].who != TICK or rows[0].version == found.model.version)):
        return
    why = f"{rows[0].version} cannot be used: {found.problem}" if rows else "nobody had chosen one"
    activate(connection, class_name, found.model.version, at_ms, TICK, why)


class Standing(StrEnum):
    """What a version is after it was published."""

    ACTIVE = "active"
    COMING = "active once it has caught up"
    CHALLENGER = "a challenger"


def publish(engine: Engine, folder: Path, act: Act) -> Standing:
    """Keep a new version in the state database too, for other hosts and backups, and activate it where none is active
    yet. Where one is active, or catching up, the new one is a challenger."""
    class_name, version = folder.parent.name, folder.name
    share(engine, {class_name: version}, [folder.parent.parent])
    with write(engine) as connection:
        if published_ms(connection, class_name, version) is None:  # the same lives and seed give the same version
            note_published(connection, class_name, version, act.at_ms)
        if activations_of(connection, class_name) or coming_of(connection, class_name) is not None:
            return Standing.CHALLENGER
        asset_class = current_plant(connection).plant.classes[class_name]
        at_once = catching_up.activate(connection, asset_class, version, replace(act, reason=_FIRST))
        return Standing.ACTIVE if at_once else Standing.COMING
