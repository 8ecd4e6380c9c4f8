"""Files applied to a plant that lives."""

from pathlib import Path

from pdm.applying import Files, apply_files
from pdm.installations import EventKind, MaintenanceEvent
from pdm.plant.file import parse_plant
from pdm.rules.ruleset import parse_rules
from pdm.state.schema import write
from pdm.tick import tick
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report


def files(plant_text: str) -> Files:
    plant = parse_plant(plant_text)
    return Files(plant_text, RULES, plant, parse_rules(RULES, plant))


def test_a_machine_keeps_its_past_when_the_file_names_another_source(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(60)))
    tick(services, START + 60 * HOUR)
    with write(services.engine) as connection:
        apply_files(connection, files(PLANT.replace("source: fan1", "source: blower1")), START + 60 * HOUR)
    feed(services, readings("blower1", range(60, 70)))
    tick(services, START + 70 * HOUR)
    report(services, MaintenanceEvent("F-1", EventKind.INSPECTED, START + 10 * HOUR), "look")
    tick(services, START + 71 * HOUR)
    assert services.cohorts["fan"].twin.steps[0] == 70


def test_a_source_that_was_misspelt_and_never_heard_is_corrected_for_all_time(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    tick(services, START + HOUR)
    with write(services.engine) as connection:
        apply_files(connection, files(PLANT.replace("source: fan1", "source: blower1")), START + 60 * HOUR)
    feed(services, readings("blower1", range(60)))
    tick(services, START + 61 * HOUR)
    assert services.cohorts["fan"].twin.steps[0] == 60
