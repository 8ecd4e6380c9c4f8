"""What `plant.yaml` says about the names that gateways use."""

import pytest

from pdm.errors import ConfigurationFileError
from pdm.plant.difference import difference
from pdm.plant.file import parse_plant
from tests.small_plant import PLANT

FIRST = PLANT.count("\n") + 2
"""The line of the first entry of a section that stands behind the plant."""


def complaints(section: str) -> list[str]:
    with pytest.raises(ConfigurationFileError) as caught:
        parse_plant(f"{PLANT}{section}")
    return [str(error).removeprefix("plant.yaml:") for error in caught.value.errors]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('{source: "{a b}"}', "source: expected text with placeholders such as {host}, not '{a b}'"),
        ("{source: fan9}", "source: there is no source 'fan9'; did you mean 'fan3'?"),
        ('{source: "{field}"}', "source: a source is made of the tags of a line: expected no {field}"),
        ("{sensor: rpm}", "sensor: there is no sensor 'rpm'; known: speed, vibration"),
        ("{sensors: {a: sped}}", "sensors.a: there is no sensor 'sped'; did you mean 'speed'?"),
        ("{sensors: {a: {sensor: speed, unit: bar}}}", "sensors.a.unit: 'bar' cannot be converted into 'rpm'"),
        ("{sensors: {a: {sensor: speed, factor: x}}}", "sensors.a.factor: expected a number, not 'x'"),
        ("{sensors: {a: {unit: bar}}}", "sensors.a.sensor: is missing: expected the name of a sensor"),
        ("{sensors: {a: speed}, ignore: [a]}", "ignore: 'a' stands under sensors as well"),
        ("{tag: host}", "tag: is not a key here; known: measurement, source, sensor, sensors, ignore"),
    ],
)
def test_what_can_come_to_nothing_is_refused_with_its_line_and_key(entry: str, complaint: str) -> None:
    assert complaints(f"lines:\n  - {entry}\n") == [f"{FIRST}: lines[0].{complaint}"]


def test_a_measurement_is_described_once() -> None:
    twice = "lines:\n  - {measurement: m}\n  - {}\n  - {measurement: m}\n"
    line = f"{FIRST + 2}: lines[2]: how measurement 'm' is read stands in line {FIRST} already"
    assert complaints(twice) == [line]


def test_a_change_of_what_lines_mean_is_told_before_it_is_applied() -> None:
    was = parse_plant(f'{PLANT}lines: [{{source: "{{host}}", sensors: {{n: speed}}}}]')
    becomes = parse_plant(f'{PLANT}lines: [{{source: "{{name}}", sensors: {{n: speed}}}}]')
    assert difference(was, becomes) == ["line protocol of any measurement: source was {host}, becomes {name}"]
    assert difference(parse_plant(PLANT), was) == ["adds line protocol of any measurement"]
