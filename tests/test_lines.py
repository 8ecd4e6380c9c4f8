"""Line protocol: what InfluxDB's own client writes is read, and what is no reading is refused with a reason."""

import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client import Point, WritePrecision

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import Decoder, EpochUnit, Samples
from pdm.ingest.lines import MOST_LINES, LineReader, Unread
from pdm.plant import Plant
from pdm.plant.file import parse_plant
from pdm.readings import ArrivalFlag
from tests.small_plant import PLANT as SMALL_PLANT

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
NS = 1_000_000
STAMP = f"{NOW * NS}"


def plant(lines: str = "") -> Plant:
    return parse_plant(SMALL_PLANT + (f"lines:\n{lines}" if lines else ""))


def read(
    text: str | bytes, lines: str = "", *, unit: EpochUnit = "ns", reader: LineReader | None = None
) -> list[Samples | Unread]:
    body = text if isinstance(text, bytes) else text.encode()
    return list((reader or LineReader(plant(lines))).read(body, unit, NOW))


def one(text: str, lines: str = "", **options: Any) -> Samples:
    (found,) = read(text, lines, **options)
    assert isinstance(found, Samples), found
    return found


def refused(text: str, lines: str = "", **options: Any) -> UnreadableMessageError:
    (found,) = read(text, lines, **options)
    assert isinstance(found, Unread), found
    return found.error


def values(samples: Samples) -> list[float | None]:
    return [None if math.isnan(value) else value for value in samples.values]


def test_a_line_is_one_sample_of_one_machine() -> None:
    samples = one(f"fan,source=fan1,hall=2 vibration=2.9,speed=1498 {STAMP}")
    assert (samples.class_name, samples.source, samples.times_ms) == ("fan", "fan1", [NOW])
    assert samples.sensors == ("speed", "vibration")
    assert values(samples) == [1498.0, 2.9]
    assert samples.flags == bytes([ArrivalFlag.NONE])


def test_a_sensor_that_is_not_in_a_line_is_missing() -> None:
    assert values(one(f"fan,source=fan1 vibration=2.9 {STAMP}")) == [None, 2.9]


@pytest.mark.parametrize(
    ("number", "value"),
    [("1i", 1), ("-7i", -7), ("12u", 12), ("1", 1), ("+1.5", 1.5), (".5", 0.5), ("5.", 5), ("-1.5e-3", -0.0015)],
)
def test_whole_unsigned_and_decimal_numbers_are_numbers(number: str, value: float) -> None:
    assert values(one(f"fan,source=fan1 speed={number} {STAMP}")) == [value, None]
    assert values(one(f"fan,source=fan1 speed={number},vibration=2.5 {STAMP}")) == [value, 2.5]
    assert values(one(f"fan,source=fan1 speed={number},vibration=2i {STAMP}")) == [value, 2.0]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ('"fast"', "wrong_type"),
        ('"a, b=c d"', "wrong_type"),
        ("true", "wrong_type"),
        ("f", "wrong_type"),
        ("NaN", "not_a_number"),
        ("+Inf", "not_a_number"),
        ("1e400", "number_too_large"),
        ("99999999999999999999999999999999999i", "number_too_large"),
        ("1.5i", "broken_line"),
        ("1_000", "broken_line"),
        ("1;5", "broken_line"),
        ("-5u", "broken_line"),
        ("0x10", "broken_line"),
        ("null", "broken_line"),
        ("", "broken_line"),
    ],
)
def test_what_is_no_number_is_refused_with_the_name_of_its_field(field: str, reason: str) -> None:
    error = refused(f"fan,source=fan1 vibration=1,speed={field} {STAMP}")
    assert error.reason == reason
    assert "speed" in error.detail


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("fan", "missing fields"),
        ("fan,source=fan1", "missing fields"),
        ("fan,source=fan1 ", "missing fields"),
        ("fan,source= speed=1", "missing tag value of 'source'"),
        ("fan,=x speed=1", "missing tag key"),
        ("fan, speed=1", "missing tag key"),
        (",source=fan1 speed=1", "missing measurement"),
        ("fan,source=fan1 speed=1,", "missing field key"),
        ("fan,source=fan1 =1", "missing fields"),
        ("fan,source=fan1 speed=1 soon", "bad timestamp 'soon': expected a whole number"),
        ("fan,source=fan1 speed=1 1.5", "bad timestamp '1.5': expected a whole number"),
        ("fan,source=fan1 speed=1 1 2", "bad timestamp '1 2': expected a whole number"),
        ("fan,source=fan1 speed=1 " + "9" * 30, "bad timestamp '" + "9" * 30 + "': expected a whole number"),
        ('fan,source=fan1 speed="1', "unbalanced quotes in the value of 'speed'"),
    ],
)
def test_a_malformed_line_says_what_is_missing(line: str, detail: str) -> None:
    error = refused(line)
    assert (error.reason, error.detail) == ("broken_line", detail)


def test_a_bad_line_is_named_by_its_number_and_the_others_are_read() -> None:
    text = f'# a comment\n\nfan,source=fan1 speed=1 {STAMP}\nfan,source=fan1 note="two\nlines" {STAMP}\nnonsense\r\n'
    first, second, third = read(text)
    assert isinstance(first, Samples)
    assert isinstance(second, Unread)
    assert (second.number, second.error.reason) == (4, "unknown_sensor")
    assert second.line.decode().strip() == f'fan,source=fan1 note="two\nlines" {STAMP}'
    assert isinstance(third, Unread)
    assert third.line.strip() == b"nonsense"


def test_a_quote_in_a_tag_does_not_swallow_the_next_line() -> None:
    text = f'fan,source=fan1,room="a speed=1 {STAMP}\nfan,source=fan2,room=b" speed=2 {STAMP}\nfan,source=fan3 x="" 1'
    assert [found.source for found in read(text) if isinstance(found, Samples)] == ["fan1", "fan2"]


@pytest.mark.parametrize(("unit", "factor"), [("ns", 1_000_000), ("us", 1000), ("ms", 1)])
def test_times_count_in_the_unit_that_was_said(unit: EpochUnit, factor: int) -> None:
    assert one(f"fan,source=fan1 speed=1 {NOW * factor}", unit=unit).times_ms == [NOW]


def test_times_in_seconds() -> None:
    assert one(f"fan,source=fan1 speed=1 {NOW // 1000}", unit="s").times_ms == [NOW]


def test_without_a_time_the_arrival_stands_in_and_is_flagged() -> None:
    samples = one("fan,source=fan1 speed=1")
    assert (samples.times_ms, samples.flags) == ([NOW], bytes([ArrivalFlag.NO_TIMESTAMP]))


def test_a_time_in_another_unit_than_was_said_is_no_reading() -> None:
    assert refused(f"fan,source=fan1 speed=1 {NOW}", unit="ns").reason == "before_1990"
    assert refused(f"fan,source=fan1 speed=1 {NOW * NS}", unit="ms").reason == "in_the_future"


def test_a_line_without_the_tag_that_names_its_source_is_refused() -> None:
    error = refused(f"fan,host=gw1 speed=1 {STAMP}")
    assert error.reason == "missing_tag"
    assert error.detail == "the source is in the tag 'source', which this line does not have: its tags are host"
    assert refused("fan speed=1").detail.endswith("does not have: it has none")


def test_an_unknown_source_and_an_unknown_sensor_are_refused() -> None:
    assert refused(f"fan,source=fan9 speed=1 {STAMP}").reason == "unknown_source"
    assert refused(f"fan,source=fan1 sped=1 {STAMP}").reason == "unknown_sensor"


TELEGRAF = """
  - measurement: modbus
    source: "{name}"
    sensors: {Drehzahl: speed, Vib: {sensor: vibration, factor: 0.1, unit: in/s}}
    ignore: [Status, mode]
  - source: "{hall}-{host}"
    sensor: "{measurement}_{field}"
    sensors: {rpm_value: speed}
"""


def test_a_declared_tag_names_the_source_and_declared_fields_are_converted() -> None:
    line = f'modbus,host=gw1,name=fan2,type=x Drehzahl=1498i,Vib=1.0,Status="ok",mode=true {STAMP}'
    samples = one(line, TELEGRAF)
    assert samples.source == "fan2"
    assert values(samples) == [1498.0, pytest.approx(2.54)]


def test_a_source_and_a_sensor_can_be_made_of_several_parts() -> None:
    lines = TELEGRAF.replace("{hall}-{host}", "{hall}{host}")
    assert values(one(f"rpm,hall=fa,host=n1 value=7 {STAMP}", lines)) == [7.0, None]


def test_a_line_of_which_all_is_ignored_is_nothing() -> None:
    assert read(f'modbus,name=fan2 Status="ok",mode=1 {STAMP}', TELEGRAF) == []


def test_the_second_line_of_a_shape_is_read_as_the_first() -> None:
    reader = LineReader(plant(TELEGRAF))
    first, second = (one(f"modbus,name=fan1 Vib={value} {STAMP}", reader=reader) for value in ("1", "2"))
    assert (values(first), values(second)) == ([None, pytest.approx(2.54)], [None, pytest.approx(5.08)])


def test_more_lines_than_are_read_at_once_and_no_text_are_refused_as_a_whole() -> None:
    for line in ("#\n", '# ""\n'):
        assert read(line * MOST_LINES) == []
    for many in ("x\n" * (MOST_LINES + 1), "x\n" * MOST_LINES + "x", 'x y="z"\n' * (MOST_LINES + 1)):
        with pytest.raises(UnreadableMessageError) as caught:
            read(many)
        assert caught.value.reason == "too_many"
    with pytest.raises(UnreadableMessageError) as caught:
        read(b"fan,source=fan1 speed=1\xff")
    assert caught.value.reason == "broken_line"


ODD = parse_plant(
    """
plant: Odd
currency: EUR
time_zone: UTC
classes:
  odd:
    life_step: {every: 1 h, unit: hour}
    horizon: 10
    notice: 1 h
    sensors: {a: {unit: "1"}, b.c-d: {unit: "1"}, "ü:1": {unit: "1"}}
assets:
  - {serial: "1", class: odd, slot: "1", source: "hall 2, line=3 #\\"4\\" ü😀", start_of_life: unknown}
  - {serial: "2", class: odd, slot: "2", source: "plain", start_of_life: unknown}
lines:
  - {source: "{the machine}", sensors: {"a b,c=d": a}}
""".replace("{the machine}", "{machine}")
)

names = st.sampled_from(["a", "a b,c=d", "b.c-d", "ü:1"])
numbers = st.one_of(
    st.floats(-1e30, 1e30, allow_nan=False), st.integers(-(2**62), 2**62), st.integers(0, 2**31).map(float)
)
words = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\\\n\r"), min_size=1)


@given(
    source=st.sampled_from([asset.source for asset in ODD.assets.values()]),
    measurement=words.filter(lambda text: text.strip(" #") == text),
    tags=st.dictionaries(words, words, max_size=3),
    fields=st.dictionaries(names, numbers, min_size=1),
    at_ms=st.integers(NOW - 10_000, NOW),
)
def test_what_the_client_of_influxdb_writes_is_read_as_it_was_meant(
    source: str, measurement: str, tags: dict[str, str], fields: dict[str, float], at_ms: int
) -> None:
    point = Point(measurement).time(at_ms, WritePrecision.MS)
    for name, text in (tags | {"machine": source}).items():
        point.tag(name, text)
    for name, number in fields.items():
        point.field(name, number)
    samples = one(point.to_line_protocol(), unit="ms", reader=LineReader(ODD))
    assert (samples.source, samples.times_ms) == (source, [at_ms])
    wanted = {"a b,c=d": "a"}
    expected = {wanted.get(name, name): float(number) for name, number in fields.items()}
    if len(expected) == len(fields):
        found = {name: value for name, value in zip(samples.sensors, samples.values, strict=True) if value == value}
        assert found == pytest.approx(expected)


pieces = st.sampled_from(
    ["fan", ",source=fan1", " speed=1", " ", ",", "=", '"', "\\", "\n", "1i", "vibration=2", STAMP, "#"]
)


@given(st.lists(pieces | st.text(max_size=3), max_size=20))
def test_no_text_breaks_the_reader(parts: list[str]) -> None:
    for found in read("".join(parts).encode("utf-8", "replace")):
        assert isinstance(found, Samples | Unread)


def test_a_value_in_a_line_costs_at_most_twice_a_value_in_json() -> None:
    decoder, reader = Decoder(plant()), LineReader(plant())
    sample = {"ts": "2026-11-22T10:00:00Z", "values": {"speed": 1498.5, "vibration": 2.5}}
    json = [msgspec.json.encode(sample)] * 500
    body = "\n".join(f"fan,source=fan1 speed=1498.5,vibration=2.5 {STAMP}" for _ in range(500)).encode()

    def cost(run: Any) -> float:
        times = []
        for _ in range(15):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        return min(times)

    of_json = cost(lambda: [decoder.decode("pdm/a/fan1", message, NOW) for message in json])
    of_lines = cost(lambda: list(reader.read(body, "ns", NOW)))
    assert of_lines < 2 * of_json
