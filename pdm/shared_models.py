"""Trained models from host to host through the state database: who has one shares it, who lacks it takes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from sqlalchemy import Engine

from pdm.adapters import model_folder
from pdm.errors import DamagedModelError
from pdm.plant import Plant
from pdm.state import models as shared
from pdm.state.schema import read, write

_log = structlog.stdlib.get_logger(__name__)


def share(engine: Engine, versions: Mapping[str, str], folders: Sequence[Path]) -> None:
    """Have a version of each of these classes in the state database for other hosts."""
    for class_name, version in versions.items():
        with read(engine) as connection:
            if version in shared.shared_versions(connection, class_name):
                continue
        files = model_folder.whole_files(model_folder.ModelFolders(folders).folder(class_name, version))
        with write(engine) as connection:
            shared.share(connection, class_name, version, files)
        _log.info("model shared", asset_class=class_name, version=version)


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
