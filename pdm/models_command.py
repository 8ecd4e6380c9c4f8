"""`pdm-twin train` and `pdm-twin models`: what there is, which one is active, and take another one."""

import csv
import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Engine

from pdm import catching_up, respond
from pdm.active_models import speaking
from pdm.adapters.model_folder import ModelFolders
from pdm.beside import beside
from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError, NotFoundError
from pdm.impact import impact_of
from pdm.plant import AssetClass
from pdm.ports import TrainedVersion
from pdm.progress import progress_bar
from pdm.respond import Act
from pdm.scoring.track_record import Figure, Judged, figures
from pdm.settings import Settings
from pdm.state.catching_up import Coming, coming_of
from pdm.state.models import activations_of
from pdm.state.outcomes import Outcomes, outcomes
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import opened_state, read, write
from pdm.training import Trained, train_class
from pdm.unread_lives import ByAge
from pdm.words import harmless, listed, plural

BY_AGE = "by-age-{}.csv"
"""What the life table of a class says of machines without readings, in the data folder."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A version in a list; `crps` is that of who speaks [life steps], `problem` says why it cannot be active,
    `coming` how far it has caught up."""

    class_name: str
    version: str
    active: bool
    failures: int | None
    crps: float | None
    problem: str | None
    coming: Coming | None = None


class Activated(NamedTuple):
    """The version that was chosen, and what is catching up until it speaks; None where it does already."""

    version: str
    coming: Coming | None


def train(settings: Settings, class_name: str) -> Trained:
    """Train and publish a model of one class, beside the service or without it.

    Raises:
        ConfigurationError: there is no such class.
    """
    with _opened(settings, class_name) as (engine, _), progress_bar() as bar:
        task = bar.add_task(f"training {class_name}", total=1.0)
        trained = train_class(
            engine,
            class_name,
            settings.own_models_folder(),
            _act(""),
            lambda what, share: bar.update(task, description=what, completed=share),
        )
    if not trained.by_age:
        return trained
    path = settings.data_dir / BY_AGE.format(class_name)
    _write_by_age(path, trained.by_age)
    told = f"; what it says of {plural(len(trained.by_age), 'machine')} without readings is in {path}"
    return trained._replace(text=trained.text + told)


def _write_by_age(path: Path, rows: Sequence[ByAge]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ByAge._fields)
        writer.writerows(
            (harmless(serial), basis, *(f"{value:.6g}" for value in said)) for serial, basis, *said in rows
        )


def list_models(settings: Settings) -> list[ListedModel]:
    """Every version of every class of the plant, the one to take first."""
    folders, found = ModelFolders(settings.model_folders()), list[ListedModel]()
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        for name, asset_class in current_plant(connection).plant.classes.items():
            rows = activations_of(connection, name)
            active, coming = rows[0].version if rows else None, coming_of(connection, name)
            found += [_listed(name, one, active, coming) for one in folders.described(asset_class)]
    return found


def show_model(settings: Settings, class_name: str, version: str | None) -> dict[str, Any]:
    """The card of a version (None: the active one), and every activation of its class, the newest first.

    Raises:
        ConfigurationError: there is no such class.
        NotFoundError: there is no such version, or none is active.
    """
    with _opened(settings, class_name) as (engine, asset_class):
        with read(engine) as connection:
            rows = activations_of(connection, class_name)
            coming = coming_of(connection, class_name)
        shown = version or (rows[0].version if rows else coming and coming.version)
        if shown is None:
            raise NotFoundError(f"class {class_name} has no active model: start the service, or activate one")
        one = described(ModelFolders(settings.model_folders()), asset_class, shown)
    names = ("version", "at_ms", "who", "reason")
    activations = [{name: getattr(row, name) for name in names} for row in rows]
    return {"class": class_name, "version": shown, "card": one.card, "problem": one.problem} | {
        "facts": None if one.facts is None else asdict(one.facts),
        "activations": activations,
    }


def activate_model(
    settings: Settings, class_name: str, version: str | None, reason: str, *, now: bool = False
) -> Activated:
    """Have a version speak (None: the one that was active before), once it has caught up unless `now`.

    Raises:
        ConfigurationError: there is no such class.
        NotFoundError: there is no such version.
        ConflictError: it cannot be used, with the reason, or is active already.
    """
    with _opened(settings, class_name) as (engine, asset_class):
        if version is None:
            with read(engine) as connection:
                version = catching_up.version_before(connection, class_name)
        respond.expect_usable(ModelFolders(settings.model_folders()), asset_class, version)
        with write(engine) as connection:
            catching_up.activate(connection, asset_class, version, _act(reason), now=now)
            return Activated(version, coming_of(connection, class_name))


def compare(settings: Settings, class_name: str, version: str) -> dict[str, Any]:
    """A version beside the active one: figures on machines left out, figures of issued forecasts on finished lives, of
    both on the same lives that neither had seen, and what would change for people if it were activated now.

    Raises:
        ConfigurationError: there is no such class.
        NotFoundError: there is no such version.
        ModelError: it cannot be used.
    """
    folders = ModelFolders(settings.model_folders())
    with _opened(settings, class_name) as (engine, asset_class):
        model = folders.load(asset_class, version)
        with read(engine) as connection:
            plant = current_plant(connection)
            rows = activations_of(connection, class_name)
            fleet = current_fleet(connection, plant)
            found = impact_of(connection, plant, asset_class, model)
            ended = outcomes(connection, asset_class, fleet)
            active = speaking(folders, asset_class, [row.version for row in rows]).model
            both = None if active is None else beside(connection, fleet, asset_class, active, model)
    versions = [*([rows[0].version] if rows else []), version]
    facts = {one.version: one.facts for one in folders.described(asset_class) if one.version in versions}
    return {
        "class": class_name,
        "version": version,
        "active": rows[0].version if rows else None,
        "left_out": {name: dict(one.figures) for name, one in facts.items() if one is not None},
        "live": {name: live_figures(ended, name, asset_class.horizon) for name in versions},
        "beside": None if both is None else both._asdict(),
        "impact": asdict(found),
    }


def live_figures(ended: Outcomes, version: str, horizon: float) -> dict[str, Figure]:
    """Value and 90 % band of each figure of what a version has issued; NaN where lives are too few for a band."""
    failed = np.array([one.life.failed for one in ended.lives], dtype=bool)
    length = np.array([one.used for one in ended.lives], dtype=np.float64)
    counted = np.array([name == version for name in ended.models], dtype=bool) & failed[ended.of]
    of = ended.of[counted]
    judged = Judged(ended.quantiles[counted], ended.remaining[counted], length[of], of)
    return figures(judged, horizon)


def described(folders: ModelFolders, asset_class: AssetClass, version: str) -> TrainedVersion:
    """One version.

    Raises:
        NotFoundError: there is none of this name.
    """
    folders.folder(asset_class.name, version)
    return next(one for one in folders.described(asset_class) if one.version == version)


@contextmanager
def _opened(settings: Settings, class_name: str) -> Iterator[tuple[Engine, AssetClass]]:
    """The state database, and a class of its plant."""
    with opened_state(settings.state_url()) as engine:
        with read(engine) as connection:
            classes = current_plant(connection).plant.classes
        if class_name not in classes:
            raise ConfigurationError(f"expected {listed(list(classes), 'or')}, not {class_name!r}", key="CLASS")
        yield engine, classes[class_name]


def _listed(class_name: str, one: TrainedVersion, active: str | None, coming: Coming | None) -> ListedModel:
    failures = None if one.facts is None else one.facts.failures
    crps = None if one.facts is None else one.facts.crps
    mine = coming if coming is not None and coming.version == one.version else None
    return ListedModel(class_name, one.version, one.version == active, failures, crps, one.problem, mine)


def _act(reason: str) -> Act:
    return Act(getpass.getuser(), ServiceClock().plant_ms(), reason)
