import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import MOST_BYTES, Decoder, EpochUnit, Samples
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor
from pdm.readings import ArrivalFlag

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
TOPIC = "pdm/nord/line2/p1"


def machines(name: str, *sensors: Sensor) -> AssetClass:
    return AssetClass(name, name, sensors, (), LifeStep("h", 3_600_000), 1000, 0, ())


PLANT = Plant(
    name="Nord",
    currency="EUR",
    time_zone=ZoneInfo("UTC"),
    classes={
        "pump": machines("pump", Sensor("temp", "degC", "Temperature"), Sensor("vib", "mm/s", "Vibration")),
        "fan": machines("fan", Sensor("Drehzahl 1/min", "rpm", "Speed")),
    },
    calendars={},
    assets={
        "S-1": Asset("S-1", "pump", "P-1", "p1", None),
        "S-2": Asset("S-2", "fan", "F-1", "f1", None),
        "S-3": Asset("S-3", "fan", "F-2", "hall/fan #2 🛠️", None),
    },
    version="0",
)
DECODER = Decoder(PLANT)
READERS: tuple[Callable[[bytes], Samples], ...] = (
    lambda payload: DECODER.decode(TOPIC, payload, NOW),
    lambda payload: DECODER.decode_named(payload, NOW),
)


def decode(message: object, *, now_ms: int = NOW, epoch_unit: EpochUnit | None = None, topic: str = TOPIC) -> Samples:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return Decoder(PLANT, epoch_unit=epoch_unit).decode(topic, payload, now_ms)


def refusal(message: object, **options: object) -> UnreadableMessageError:
    with pytest.raises(UnreadableMessageError) as caught:
        decode(message, **options)  # type: ignore[arg-type]
    return caught.value


def values(samples: Samples) -> list[float | None]:
    return [None if isnan(value) else value for value in samples.values]


def test_one_sample_with_a_time_in_rfc_3339() -> None:
    samples = decode({"ts": "2026-11-22T10:00:00.123Z", "values": {"temp": 71.2, "vib": 2}})
    assert samples.class_name == "pump"
    assert samples.sensors == ("temp", "vib")
    assert samples.source == "p1"
    assert samples.times_ms == [NOW + 123]
    assert values(samples) == [71.2, 2.0]
    assert samples.flags == bytes([ArrivalFlag.NONE])


def test_a_time_with_an_offset_is_the_same_instant() -> None:
    assert decode({"ts": "2026-11-22T15:30:00+05:30", "values": {"temp": 1}}).times_ms == [NOW]


def test_a_sensor_that_is_absent_or_null_is_missing() -> None:
    assert values(decode({"ts": "2026-11-22T10:00:00Z", "values": {"vib": 2.9}})) == [None, 2.9]
    assert values(decode({"ts": "2026-11-22T10:00:00Z", "values": {"temp": None, "vib": 2.9}})) == [None, 2.9]
    assert values(decode({"ts": "2026-11-22T10:00:00Z", "values": {"temp": None}})) == [None, None]


def test_without_a_time_the_arrival_stands_in_and_is_flagged() -> None:
    for message in ({"values": {"temp": 1}}, {"ts": None, "values": {"temp": 1}}):
        samples = decode(message)
        assert samples.times_ms == [NOW]
        assert samples.flags == bytes([ArrivalFlag.NO_TIMESTAMP])


def test_many_samples_in_one_message() -> None:
    stamps = ["2026-11-22T09:59:58Z", "2026-11-22T09:59:59Z", "2026-11-22T10:00:00Z"]
    samples = decode({"ts": stamps, "values": {"vib": [1, None, 3.5]}})
    assert samples.times_ms == [NOW - 2000, NOW - 1000, NOW]
    assert values(samples) == [None, 1.0, None, None, None, 3.5]
    assert samples.flags == bytes(3)


def test_a_sensor_with_any_name_is_read_by_its_name() -> None:
    samples = decode({"ts": "2026-11-22T10:00:00Z", "values": {"Drehzahl 1/min": 1480}}, topic="pdm/a/b/f1")
    assert (samples.class_name, values(samples)) == ("fan", [1480.0])


@pytest.mark.parametrize(
    ("unit", "ts"),
    [("s", NOW / 1000), ("ms", NOW), ("us", NOW * 1000 + 999), ("ns", NOW * 1_000_000 + 400_000), ("s", NOW // 1000)],
)
def test_a_number_as_time_counts_in_the_declared_unit(unit: EpochUnit, ts: float) -> None:
    (time_ms,) = decode({"ts": ts, "values": {"temp": 1}}, epoch_unit=unit).times_ms
    assert time_ms in (NOW, NOW + 1)


def test_a_fraction_of_a_second_keeps_its_milliseconds() -> None:
    assert decode({"ts": 1795341600.123, "values": {"temp": 1}}, epoch_unit="s").times_ms == [NOW + 123]


def test_a_number_as_time_without_a_declared_unit_is_refused() -> None:
    assert refusal({"ts": NOW, "values": {"temp": 1}}).reason == "epoch_unit_undeclared"


@pytest.mark.parametrize(
    ("declared", "ts", "reason"),
    [
        ("s", NOW, "in_the_future"),
        ("ms", NOW // 1000, "before_1990"),
        ("ns", NOW, "before_1990"),
        ("ms", NOW * 1000, "in_the_future"),
        ("s", 1e30, "in_the_future"),
        ("s", 10**40, "in_the_future"),
        ("s", -5, "before_1990"),
    ],
)
def test_a_time_in_another_unit_than_declared_is_noticed(declared: EpochUnit, ts: float, reason: str) -> None:
    assert refusal({"ts": ts, "values": {"temp": 1}}, epoch_unit=declared).reason == reason


def test_a_clock_may_run_five_minutes_ahead() -> None:
    assert decode({"ts": "2026-11-22T10:05:00Z", "values": {"temp": 1}}).times_ms == [NOW + 300_000]
    assert refusal({"ts": "2026-11-22T10:05:00.001Z", "values": {"temp": 1}}).reason == "in_the_future"


def test_one_sample_in_the_future_refuses_the_whole_message() -> None:
    message = {"ts": ["2026-11-22T10:00:00Z", "2036-11-22T10:00:00Z"], "values": {"temp": [1, 2]}}
    assert refusal(message).reason == "in_the_future"


def test_readings_of_more_than_a_week_ago_are_late() -> None:
    message = {"ts": ["2026-11-15T09:59:59Z", "2026-11-15T10:00:00Z"], "values": {"temp": [1, 2]}}
    assert decode(message).flags == bytes([ArrivalFlag.LATE, ArrivalFlag.NONE])


def test_values_in_another_unit_are_converted_into_the_declared_one() -> None:
    message = {
        "ts": ["2026-11-22T09:59:59Z", "2026-11-22T10:00:00Z"],
        "values": {"temp": [32, 212], "vib": [1, 2]},
        "units": {"temp": "degF", "vib": "cm/s"},
    }
    assert list(decode(message).values) == pytest.approx([0, 10, 100, 20])
    single = {"ts": "2026-11-22T10:00:00Z", "values": {"temp": 300}, "units": {"temp": "K"}}
    assert values(decode(single))[0] == pytest.approx(26.85)


@pytest.mark.parametrize(
    ("units", "reason"),
    [({"temp": "bar"}, "unit_mismatch"), ({"temp": "furlongz"}, "unknown_unit"), ({"tmp": "degF"}, "unknown_sensor")],
)
def test_a_unit_that_does_not_fit_is_refused(units: dict[str, str], reason: str) -> None:
    assert refusal({"ts": "2026-11-22T10:00:00Z", "values": {"temp": 1}, "units": units}).reason == reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"values": {"tmep": 1}}, "unknown_sensor"),
        ({"values": {"temp": 1}, "unit": {"temp": "degF"}}, "unknown_field"),
        ({"value": {"temp": 1}}, "unknown_field"),
        ({"ts": "2026-11-22T10:00:00Z"}, "missing_field"),
        ({"values": {}}, "no_values"),
        ({"ts": [], "values": {"temp": []}}, "no_values"),
        ({"values": {"temp": "71.2"}}, "wrong_type"),
        ({"values": {"temp": True}}, "wrong_type"),
        ({"values": {"temp": {"value": 1}}}, "wrong_type"),
        ({"values": [1, 2]}, "wrong_type"),
        ({"values": {"temp": 1e308}}, "number_too_large"),
        ({"values": {"temp": -1e308}}, "number_too_large"),
        ({"ts": "2026-11-22T10:00:00Z", "values": {"temp": [1]}}, "length_mismatch"),
        ({"values": {"temp": [1, 2]}}, "length_mismatch"),
        ({"ts": ["2026-11-22T10:00:00Z"], "values": {"temp": 1}}, "length_mismatch"),
        ({"ts": ["2026-11-22T10:00:00Z"], "values": {"temp": [1, 2]}}, "length_mismatch"),
        ({"ts": "2026-11-22T10:00:00", "values": {"temp": 1}}, "timestamp_without_zone"),
        ({"ts": "22.11.2026", "values": {"temp": 1}}, "wrong_timestamp"),
        ({"ts": True, "values": {"temp": 1}}, "wrong_type"),
        ([], "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"values": {"temp": NaN}}', "not_a_number"),
        (b'{"values": {"temp": -Infinity}}', "not_a_number"),
        (b'{"values": {"temp": 1e999}}', "number_too_large"),
        (b'{"values": {"temp": ' + b"9" * 500 + b"}}", "number_too_large"),
        (b'{"ts": ' + b"9" * 500 + b', "values": {"temp": 1}}', "number_too_large"),
        (b'{"values": {"temp": 71,2}}', "broken_json"),
        (b'{"values": {"temp": 1}', "broken_json"),
        (b'{"values": {"temp": 1}} and more', "broken_json"),
        (b'{"values": {"te\xffmp": 1}}', "broken_json"),
        (b"", "broken_json"),
        (b"\x00\x01\x02", "broken_json"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(message: object, reason: str) -> None:
    assert refusal(message, epoch_unit="ms").reason == reason


def test_an_unknown_sensor_is_named_with_those_that_there_are() -> None:
    assert "'tmep' is no sensor of class pump, which has temp, vib" in refusal({"values": {"tmep": 1}}).detail


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ({"ts": NOW}, "the field values is missing"),
        ({"values": {"temp": 1}, "tss": 1}, "tss is no field of a message"),
        ({"values": {"temp": [1, "x"]}}, "values.temp[1]: expected a number or null, not text"),
        ({"values": 3}, "values: expected an object, not a number"),
        ({"values": {"temp": 1}, "units": {"temp": 3}}, "units: expected text, not a number"),
        ({"values": {"temp": 1e40}}, "values.temp: expected a number between -1e+30 and 1e+30"),
        (
            {"ts": "2026-11-22T10:00", "values": {"temp": 1}},
            "ts: expected a time with its offset such as 2026-01-04T06:00:00Z",
        ),
        (b'{"values', "the JSON breaks off before its end"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words_with_its_field(message: object, detail: str) -> None:
    assert refusal(message).detail == detail


def test_an_unknown_source_is_named() -> None:
    error = refusal({"values": {"temp": 1}}, topic="pdm/nord/line2/p77")
    assert (error.reason, "'p77'" in error.detail) == ("unknown_source", True)
    assert refusal({"values": {"temp": 1}}, topic="").reason == "unknown_source"


def test_minus_zero_and_whole_numbers_are_ordinary_values() -> None:
    assert values(decode({"values": {"temp": -0.0, "vib": 10**15}})) == [0.0, 1e15]


def test_a_message_over_http_names_its_source_whatever_is_in_the_name() -> None:
    payload = json.dumps({"source": "hall/fan #2 🛠️", "values": {"Drehzahl 1/min": 1}}).encode()
    assert DECODER.decode_named(payload, NOW).source == "hall/fan #2 🛠️"
    with pytest.raises(UnreadableMessageError, match="missing_field"):
        DECODER.decode_named(b'{"values": {"temp": 1}}', NOW)
    assert refusal({"source": "p1", "values": {"temp": 1}}).reason == "unknown_field"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"values": {"temp": "' + b"x" * 10_000_000 + b'"}}',
        b"[" * 10_000_000,
        b"[" * 200_000,
        b'{"values":' * 100_000,
        b'{"values":{"temp":' + b"[" * 200_000,
        b'{"ts":' + b"[" * 200_000,
    ],
    ids=["10 MB of text", "10 MB of brackets", "200,000 deep", "objects", "a deep value", "a deep time"],
)
def test_a_huge_or_deep_message_costs_little(payload: bytes) -> None:
    for read in READERS:
        start = time.process_time()
        with pytest.raises(UnreadableMessageError):
            read(payload)
        assert time.process_time() - start < 0.02


def test_the_largest_message_is_still_read() -> None:
    padding = b" " * (MOST_BYTES - 50)
    assert values(decode(b'{"values": {"temp": 1}' + padding + b"}")) == [1.0, None]


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(payload: bytes) -> None:
    for read in READERS:
        with pytest.raises(UnreadableMessageError):
            read(payload)


NUMBER = st.one_of(st.none(), st.floats(-1e30, 1e30), st.integers(-(10**12), 10**12))


@given(st.lists(st.tuples(st.integers(0, 86_400_000), NUMBER, NUMBER), min_size=1, max_size=5))
def test_one_batch_says_what_its_samples_say_one_by_one(samples: list[tuple[int, float | None, float | None]]) -> None:
    times = [
        datetime.fromtimestamp((NOW - age) / 1000, UTC).isoformat(timespec="milliseconds") for age, _, _ in samples
    ]
    batch = decode({"ts": times, "values": {"temp": [s[1] for s in samples], "vib": [s[2] for s in samples]}})
    singles = [
        decode({"ts": ts, "values": {"temp": temp, "vib": vib}})
        for ts, (_, temp, vib) in zip(times, samples, strict=True)
    ]
    assert batch.times_ms == [single.times_ms[0] for single in singles]
    assert values(batch) == [value for single in singles for value in values(single)]
    assert batch.flags == b"".join(single.flags for single in singles)


def test_every_reason_for_a_refusal_stands_in_the_guide() -> None:
    root = Path(__file__).parents[1]
    files = ("pdm/ingest/__init__.py", "pdm/ingest/decode.py", "pdm/units.py")
    source = "".join((root / file).read_text() for file in files)
    reasons = set(re.findall(r'UnreadableMessageError\(\s*"(\w+)"', source))
    reasons |= set(re.findall(r'(?:, |else |reason = |= reason, detail = )"([a-z_0-9]+)"\)?,?$', source, re.MULTILINE))
    guide = (root / "docs" / "readings.md").read_text()
    assert len(reasons) >= 15
    assert {reason for reason in reasons if f"`{reason}`" not in guide} == set()
