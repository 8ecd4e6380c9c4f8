"""Reading of plant and rule files as plain data that knows its lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.errors import ConfigurationError, ConfigurationFileError
from pdm.plant.file import parse_plant
from pdm.plant.marked_yaml import LARGEST_FILE
from pdm.templates import plant_template

PLANT = plant_template()


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationFileError) as wrong:
        parse_plant(text)
    return [str(error) for error in wrong.value.errors]


def test_a_key_that_stands_twice_is_refused() -> None:
    assert "plant.yaml:2: plant: stands here twice, first in line 1" in errors_of("plant: Nord\nplant: Süd\n")


def test_an_empty_file_lacks_everything() -> None:
    assert [error.split(": ")[1] for error in errors_of("")] == ["plant", "currency", "time_zone", "classes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plant: [", "plant.yaml:2: is not readable as YAML: "),
        ("plant: Nord\n\tcurrency: EUR", "plant.yaml:2: is not readable as YAML: "),
        ("plant: \0", "plant.yaml: is not readable as YAML: "),
        ("plant: \ud800", "plant.yaml: is not readable as YAML: "),
        ("- plant", "plant.yaml:1: expected a section of keys"),
        ("plant: Nord\n---\nplant: Süd", "plant.yaml:3: expected one document, not several"),
        ("plant: !!python/object:os.system x", "plant.yaml:1: tags are not read: tag:yaml.org,2002:python/object"),
        ("plant: &a Nord\ncurrency: *a", "plant.yaml:2: aliases (*name) are not read"),
        ("plant: Nord\n? [a, b]\n: c", "plant.yaml:2: expected text as a key"),
        ("plant: Nord\n'': EUR", "plant.yaml:2: expected text as a key"),
        ("plant: " + "[" * 200_000, "plant.yaml:1: is nested deeper than 20 levels"),
        ("plant:\n" + "- " * 100_000, "plant.yaml:2: is nested deeper than 20 levels"),
    ],
    ids=lambda text: text[:24],
)
def test_what_is_no_plain_data_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        parse_plant(text)
    assert str(wrong.value).startswith(message)


def test_aliases_cannot_stand_for_gigabytes() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(ConfigurationError, match="aliases"):
        parse_plant(bomb)


def test_a_file_that_no_plant_needs_is_not_read() -> None:
    with pytest.raises(ConfigurationError, match="is larger than 32 MB"):
        parse_plant("#" * (LARGEST_FILE + 1))


@settings(deadline=None)  # the first plant loads the units
@given(st.text(max_size=200))
def test_any_text_is_a_plant_or_is_refused_as_one(text: str) -> None:
    with pytest.raises(ConfigurationError):  # too short for a plant
        parse_plant(text)


@settings(deadline=None)  # the first plant loads the units
@given(st.integers(0, len(PLANT) - 1), st.sampled_from([*" :-[]{}'\"#&*!|>%@`,?~\n\t0x", ""]))
def test_a_slip_of_the_pen_is_a_plant_or_is_refused_with_its_place(position: int, slip: str) -> None:
    places: list[int | None] = []
    try:
        parse_plant(PLANT[:position] + slip + PLANT[position + 1 :])
    except ConfigurationFileError as wrong:
        places = [error.line if error.key else None for error in wrong.errors]
    except ConfigurationError as wrong:
        places = [wrong.line]
    assert all(places)
