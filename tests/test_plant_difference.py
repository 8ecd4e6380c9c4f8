"""What applying another plant file would change."""

import pytest

from pdm.demo_plants import pump_plant
from pdm.plant.difference import difference, orphaned
from pdm.plant.file import parse_plant

TEXT = pump_plant(2, start_ms=1_767_506_400_000)
PLANT = parse_plant(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("currency: EUR", "currency: CHF", "the plant: currency was EUR, becomes CHF"),
        ("plant: Pumping station", "plant: Nord", "the plant: name was Pumping station, becomes Nord"),
        ("simulated: true", "simulated: false", "the plant: simulated was yes, becomes no"),
        ("notice: 48 h", "notice: 36 h", "class pump: notice was 2 d, becomes 36 h"),
        ("issue_every: 1 d", "issue_every: each step", "class pump: issue every was 1 d, becomes each step"),
        ("every: 1 h", "every: 2 h", "class pump: life step duration was 1 h, becomes 2 h"),
        ("4000, unplanned", "4500, unplanned", "class pump: costs planned was 4000, becomes 4500"),
        ("mean: 2000", "mean: 2000.5", "class pump: expected life mean was 2000, becomes 2000.5"),
        ("    calendar: two_shifts\n", "", "class pump: calendar was two_shifts, becomes not given"),
        ("unit: kW", "unit: W", "sensor motor_power of class pump: unit was kW, becomes W"),
        (
            "resolution: 0.1, title: Motor",
            "resolution: 0.1, summary: [mean, max], title: Motor",
            "sensor motor_power of class pump: summaries was mean, becomes mean, max",
        ),
        (
            "thrust_bearing_temperature, above: 97",
            "thrust_bearing_temperature, above: 95",
            "failure mode thrust_bearing of class pump: limit above was 97, becomes 95",
        ),
        (
            "mon-sat",
            "mon-tue",
            "calendar two_shifts: shifts was mon tue wed thu fri sat 06:00 to 22:00, becomes mon tue 06:00 to 22:00",
        ),
        ("slot: PUMP-02", "slot: PUMP-02, group: north", "asset P-002: group was not given, becomes north"),
        ("slot: PUMP-02", "slot: PUMP-09", "asset P-002: slot was PUMP-02, becomes PUMP-09"),
        (
            '"2026-01-04T06:00:00+00:00"',
            "unknown",
            "asset P-001: start of life was 2026-01-04 07:00:00+01:00, becomes unknown",
        ),
        (
            "source: pump02,",
            "source: pump02, external: {sap: {plant: 1000}},",
            "asset P-002: external sap plant was not given, becomes 1000",
        ),
    ],
)
def test_a_change_is_one_plain_sentence(old: str, new: str, sentence: str) -> None:
    assert old in TEXT
    assert difference(PLANT, parse_plant(TEXT.replace(old, new, 1))) == [sentence]


def test_what_comes_and_what_goes_is_named() -> None:
    text = TEXT.replace("P-002", "P-003").replace("motor_power:", "power:").replace("impeller:", "wheel:")
    assert difference(PLANT, parse_plant(text)) == [
        "adds sensor power of class pump",
        "adds failure mode wheel of class pump",
        "adds asset P-003",
        "removes sensor motor_power of class pump",
        "removes failure mode impeller of class pump",
        "removes asset P-002",
    ]


def test_the_parts_of_what_is_new_or_gone_as_a_whole_go_without_saying() -> None:
    renamed = parse_plant(TEXT.replace("  pump:", "  water_pump:").replace("class: pump", "class: water_pump"))
    said = difference(PLANT, renamed)
    assert "adds class water_pump" in said
    assert "removes class pump" in said
    assert not [sentence for sentence in said if "sensor" in sentence or "failure mode" in sentence]


def test_the_first_plant_is_all_new() -> None:
    assert difference(None, PLANT) == [
        "adds the plant",
        "adds calendar two_shifts",
        "adds class pump",
        "adds asset P-001",
        "adds asset P-002",
    ]


def test_other_words_for_the_same_are_no_difference() -> None:
    text = "# a comment\n" + TEXT.replace("48 h", "2 d").replace("5 %", "0.05").replace("4000,", "4e3,")
    other = parse_plant(text)
    assert other.version != PLANT.version
    assert difference(PLANT, other) == []


def test_an_asset_with_open_matters_cannot_just_vanish() -> None:
    smaller = parse_plant(pump_plant(1, start_ms=0))
    assert orphaned(smaller, {"P-001", "P-002"}) == [
        "asset P-002 still has open matters and is not in the file: close them first, or keep the asset"
    ]
    assert orphaned(PLANT, {"P-001", "P-002"}) == []
