"""The pages about the plant and rule files say what the code reads: every key, its example and its default."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pdm.plant import entries as plant_entries
from pdm.plant import wire_entries
from pdm.plant.entry_types import Entry
from pdm.plant.file import parse_plant
from pdm.plant.marked_yaml import Document
from pdm.rules import entries as rule_entries
from pdm.rules.ruleset import parse_rules

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {page: (DOCS / page).read_text(encoding="utf-8") for page in ("plant-file.md", "rules-file.md")}

SECTIONS: dict[tuple[str, str], type[Entry]] = {
    ("plant-file.md", "Plant"): plant_entries.PlantEntry,
    ("plant-file.md", "Calendar"): plant_entries.CalendarEntry,
    ("plant-file.md", "Shift"): plant_entries.ShiftEntry,
    ("plant-file.md", "Class"): plant_entries.ClassEntry,
    ("plant-file.md", "Life step"): plant_entries.LifeStepEntry,
    ("plant-file.md", "Running when"): plant_entries.RunningWhenEntry,
    ("plant-file.md", "Expected life"): plant_entries.ExpectedLifeEntry,
    ("plant-file.md", "Stress"): plant_entries.StressEntry,
    ("plant-file.md", "Wear"): plant_entries.WearEntry,
    ("plant-file.md", "Costs"): plant_entries.CostsEntry,
    ("plant-file.md", "Sensor"): plant_entries.SensorEntry,
    ("plant-file.md", "Failure mode"): plant_entries.FailureModeEntry,
    ("plant-file.md", "Limit"): plant_entries.LimitEntry,
    ("plant-file.md", "Asset"): plant_entries.AssetEntry,
    ("plant-file.md", "Topic"): wire_entries.TopicFormEntry,
    ("plant-file.md", "Sparkplug"): wire_entries.SparkplugFormEntry,
    ("plant-file.md", "File"): wire_entries.FileFormEntry,
    ("plant-file.md", "Line protocol"): wire_entries.LineFormEntry,
    ("plant-file.md", "Sensor on the wire"): wire_entries.WireSensorEntry,
    ("rules-file.md", "File"): rule_entries.RulesEntry,
    ("rules-file.md", "Failure probability"): rule_entries.FailureProbabilityEntry,
    ("rules-file.md", "Remaining life"): rule_entries.RulQuantileEntry,
    ("rules-file.md", "Sensor limit"): rule_entries.SensorLimitEntry,
    ("rules-file.md", "Departure"): rule_entries.DepartureEntry,
    ("rules-file.md", "Sensor at fault"): rule_entries.SensorFaultEntry,
    ("rules-file.md", "Silence"): rule_entries.SilentSensorEntry,
    ("rules-file.md", "Log"): rule_entries.LogEntry,
    ("rules-file.md", "Webhook"): rule_entries.WebhookEntry,
    ("rules-file.md", "E-mail"): rule_entries.SmtpEntry,
}


BY_POWER = {"law": "inverse_power", "of": "speed", "reference": "1450", "exponent": "3"}

COMPANIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("Stress", "of"): BY_POWER,
    ("Stress", "reference"): BY_POWER,
    ("Stress", "exponent"): BY_POWER,
    ("Stress", "range"): BY_POWER,
    ("Stress", "activation_energy"): {"law": "arrhenius", "of": "temperature", "reference": "70"},
    ("Wear", "exponent"): {"shape": "power"},
}
"""What a key only goes with."""


class Row(NamedTuple):
    key: str
    example: str
    default: str


def rows_of(page: str, heading: str) -> list[Row]:
    (section,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `([a-z_]+)` \| `(.+?)` \| (.+?) \|", section, flags=re.MULTILINE)
    return [Row(*row) for row in rows]


def read(written: str) -> Any:
    return Document(f"value: {written}", "docs").at("value")


def smallest(rows: list[Row], *, choice: str = "") -> dict[str, Any]:
    """The examples of what an entry cannot do without; of "one of these" the choice, or the first."""
    choices = [row for row in rows if row.default == "one of these"]
    chosen = [row for row in choices if row.key == choice] or choices[:1]
    return {row.key: read(row.example) for row in rows if row.default == "required"} | {
        row.key: read(row.example) for row in chosen
    }


sections = pytest.mark.parametrize(("page", "heading"), SECTIONS, ids=[heading for _, heading in SECTIONS])


@sections
def test_every_key_is_documented_and_none_that_does_not_exist(page: str, heading: str) -> None:
    assert sorted(row.key for row in rows_of(page, heading)) == sorted(SECTIONS[page, heading].keys())


@sections
def test_every_example_is_accepted(page: str, heading: str) -> None:
    rows = rows_of(page, heading)
    needs_user = {"secret_file", "secret_env"} if heading == "E-mail" else set()
    for row in rows:
        if row.key == "user":
            continue  # goes with a secret, and is tried with both below
        with_user = {"user": "twin"} if row.key in needs_user else {}
        entry = smallest(rows, choice=row.key) | {row.key: read(row.example)} | with_user
        entry |= COMPANIONS.get((heading, row.key), {})
        SECTIONS[page, heading].model_validate(entry)


@sections
def test_every_default_is_the_one_in_force(page: str, heading: str) -> None:
    model, rows = SECTIONS[page, heading], rows_of(page, heading)
    required = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    assert {row.key for row in rows if row.default == "required"} == required
    without = model.model_validate(smallest(rows))
    for row in rows:
        if row.default.startswith("`"):
            assert model.model_validate(smallest(rows) | {row.key: read(row.default.strip("`"))}) == without
        elif row.default == "—":
            name = next(name for name, field in model.model_fields.items() if (field.alias or name) == row.key)
            assert getattr(without, name) in (None, "", (), {})


def test_no_entry_is_left_out_of_the_pages() -> None:
    declared = {
        thing
        for module in (plant_entries, wire_entries, rule_entries)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Entry)
    }
    shared = {Entry, rule_entries.RuleEntry, rule_entries.RouteEntry}
    assert declared - shared == set(SECTIONS.values())


def test_the_examples_of_both_pages_are_valid_and_fit_together() -> None:
    plant_text, rules_text = (re.findall(r"```yaml\n(.*?)```", PAGES[page], flags=re.DOTALL)[0] for page in PAGES)
    plant = parse_plant(plant_text)
    assert set(parse_rules(rules_text, plant).routes) == {"log", "planner", "shift_mail"}


def test_links_within_the_plant_page_lead_somewhere() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGES["plant-file.md"], re.M)}
    assert set(re.findall(r"\]\(#(.+?)\)", PAGES["plant-file.md"])) <= headings
