"""Trained models from host to host through the state database: who has one shares it, who lacks it takes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from sqlalchemy import Engine

from pdm.adapters import model_folder
from pdm.errors import DamagedModelError
from pdm.plant import Plant
from pdm.prognosis.learned import Model
from pdm.state import models as shared
from pdm.state.schema import read, write

_log = structlog.stdlib.get_logger(__name__)


def share(engine: Engine, models: Mapping[str, Model], folders: Sequence[Path]) -> None:
    """Have the models that are in use here in the state database for other hosts."""
    for class_name, model in models.items():
        with read(engine) as connection:
            if model.version in shared.shared_versions(connection, class_name):
                continue
        files = model_folder.whole_files(_folder_of(class_name, model.version, folders))
        with write(engine) as connection:
            shared.share(connection, class_name, model.version, files)
        _log.info("model shared", asset_class=class_name, version=model.version)


def take_shared(engine: Engine, plant: Plant, folders: Sequence[Path], into: Path) -> None:
    """Bring the models that other hosts share, and no folder here has, into one; loading proves them like any other."""
    for class_name in plant.classes:
        there = {version for folder in folders for version in model_folder.versions(folder, class_name)}
        with read(engine) as connection:
            lacking = [one for one in shared.shared_versions(connection, class_name) if one not in there]
            found = {version: shared.shared_files(connection, class_name, version) for version in lacking}
        for version, files in found.items():
            try:
                model_folder.keep(files, into / class_name / version)
                _log.info("model taken over", asset_class=class_name, version=version)
            except (DamagedModelError, OSError) as error:
                _log.error("shared model left out", asset_class=class_name, version=version, why=str(error))


def _folder_of(class_name: str, version: str, folders: Sequence[Path]) -> Path:
    return next(
        folder / class_name / version for folder in folders if version in model_folder.versions(folder, class_name)
    )
