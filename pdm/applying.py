"""The plant and rule files: read, compared with what is in force, stored as a new version."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from pdm.errors import ConfigurationError, NotFoundError
from pdm.ingest.decode import OLDEST_MS
from pdm.installations import EventKind, MaintenanceEvent
from pdm.plant import Plant
from pdm.plant.difference import difference, orphaned
from pdm.plant.file import parse_plant
from pdm.plant.marked_yaml import Document
from pdm.rules.default import default_rules
from pdm.rules.ruleset import Ruleset, parse_rules
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import CurrentPlant, add_event, current_plant, store_plant
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


def still_ahead(files: Files, plant_path: Path, now_ms: int) -> list[str]:
    """Where the plant file has lives begin that are still to come: a machine that is planned, or a mistyped year.

    Until then nothing that comes from its source belongs to the machine. A simulated plant has a time of its own.
    """
    starts = [asset.start_of_life_ms or now_ms for asset in files.plant.assets.values()]
    if files.plant.simulated or not any(start > now_ms for start in starts):
        return []
    document = Document(files.plant_text, str(plant_path))
    for position, start in enumerate(starts):
        if start > now_ms:
            document.refuse(("assets", position, "start_of_life"), "is still to come: until then nothing is counted")
    return [str(found) for found in document.errors]


def what_changes(connection: Connection, files: Files) -> Changes:
    """What is different from the version in force."""
    current = _in_force(connection)
    sentences = difference(None if current is None else current.declared, files.plant)
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
    before = _in_force(connection)
    stored = store_plant(connection, files.plant_text, files.rules_text, at_ms)
    if before is not None:
        _keep_past_sources(connection, before.plant, stored, at_ms)
    return stored


def _keep_past_sources(connection: Connection, before: Plant, stored: CurrentPlant, at_ms: int) -> None:
    """A machine that was heard sat behind its former source until now: what came from there stays its own."""
    heard = {serial for name in stored.plant.classes for serial in _heard(connection, name)}
    moved = [
        (before.assets[serial], asset)
        for serial, asset in stored.plant.assets.items()
        if serial in before.assets and serial in heard and before.assets[serial].source != asset.source
    ]
    earlier = [(was.serial, was.source, was.start_of_life_ms or OLDEST_MS) for was, _ in moved]
    for serial, source, since_ms in [*earlier, *((now.serial, now.source, at_ms) for _, now in moved)]:
        event = MaintenanceEvent(serial, EventKind.INSTALLED, since_ms, source=source)
        event_id = f"source-of-{serial}-since-{since_ms}-by-version-{stored.number}"
        add_event(connection, event_id, event, who="plant file", recorded_ms=at_ms)


def _heard(connection: Connection, class_name: str) -> list[str]:
    """The machines of a class that have sent something."""
    stored = load_beliefs(connection, class_name)
    return [] if stored is None else stored.beliefs.serial[stored.beliefs.next_ms >= 0].tolist()


def _in_force(connection: Connection) -> CurrentPlant | None:
    try:
        return current_plant(connection)
    except NotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read ({error.strerror}); `pdm-twin init` writes one", file=str(path)
        ) from None
    except UnicodeError:
        raise ConfigurationError("is not UTF-8 text", file=str(path)) from None
