"""The plant and rule files: read, compared with what is in force, stored as a new version."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from pdm.errors import ConfigurationError, NotFoundError
from pdm.plant import Plant
from pdm.plant.difference import difference, orphaned
from pdm.plant.file import parse_plant
from pdm.rules.default import default_rules
from pdm.rules.ruleset import Ruleset, parse_rules
from pdm.state.plants import CurrentPlant, current_plant, store_plant
from pdm.state.told import live_alerts, open_interventions


class Files(NamedTuple):
    """Both files, as text and as what they say."""

    plant_text: str
    rules_text: str
    plant: Plant
    rules: Ruleset


class Changes(NamedTuple):
    """What a version would change, and which open matters it would leave without their machine."""

    sentences: list[str]
    orphaned: list[str]


def read_files(plant_path: Path, rules_path: Path) -> Files:
    """Read and check both files; a plant without a file of rules gets the default rules.

    Raises:
        ConfigurationError: everything that is wrong in the first file that has an error.
    """
    plant_text = _text(plant_path)
    plant = parse_plant(plant_text, file=str(plant_path))
    rules_text = _text(rules_path) if rules_path.exists() else default_rules(plant)
    return Files(plant_text, rules_text, plant, parse_rules(rules_text, plant, file=str(rules_path)))


def what_changes(connection: Connection, files: Files) -> Changes:
    """What is different from the version in force."""
    try:
        current: CurrentPlant | None = current_plant(connection)
    except NotFoundError:
        current = None
    sentences = difference(None if current is None else current.plant, files.plant)
    if current is not None and current.rules.version != files.rules.version:
        sentences.append("the rules file is another one")
    known = set() if current is None else set(current.plant.assets)
    matters = {row.serial for row in (*live_alerts(connection), *open_interventions(connection))}
    return Changes(sentences, orphaned(files.plant, known & matters))


def apply_files(connection: Connection, files: Files, at_ms: int) -> CurrentPlant:
    """Store both files as the version in force.

    Raises:
        ConfigurationError: machines with open alerts or windows would be gone.
    """
    if lost := what_changes(connection, files).orphaned:
        raise ConfigurationError(f"{'; '.join(lost)}: close what is open about them first, or keep them", key="assets")
    return store_plant(connection, files.plant_text, files.rules_text, at_ms)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read ({error.strerror}); `pdm-twin init` writes one", file=str(path)
        ) from None
    except UnicodeError:
        raise ConfigurationError("is not UTF-8 text", file=str(path)) from None
