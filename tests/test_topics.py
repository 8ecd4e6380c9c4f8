"""Topics of own forms: what they name, what a payload says, and what is refused before it is applied."""

import json
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttLink, covers
from pdm.clocks import ReplayClock
from pdm.errors import UnreadableMessageError
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder, Samples
from pdm.ingest.dialects import Dialects, filters
from pdm.ingest.explain import explain
from pdm.plant import Plant
from pdm.plant.difference import difference
from pdm.plant.file import parse_plant
from pdm.plant.wire import JsonPath, Template
from pdm.readings import ArrivalFlag
from tests.small_plant import PLANT
from tests.test_wire_file import FIRST, complaints

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z

UNIFIED = 'topic: "acme/{area}/{line}/{source}/{sensor}"'
HOME = """topic: home/sensor/{name}/state
    source: "fan{name}"
    value: $.state
    time: $.meta["last seen"]
    sensors: {temperature: vibration, n: {sensor: speed, factor: 60, unit: rpm}}
    ignore: [battery]"""


def plant(*forms: str) -> Plant:
    return parse_plant(PLANT + "topics:\n" + "".join(f"  - {form}\n" for form in forms))


def read(form: str, topic: str, payload: object) -> Samples:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (samples,) = Dialects(Decoder(plant(form), epoch_unit="ms")).read(topic, content, NOW)
    assert isinstance(samples, Samples)
    return samples


def refused(form: str, topic: str, payload: object) -> UnreadableMessageError:
    with pytest.raises(UnreadableMessageError) as caught:
        read(form, topic, payload)
    return caught.value


def values(samples: Samples) -> list[float | None]:
    return [None if isnan(value) else value for value in samples.values]


@pytest.mark.parametrize(
    ("payload", "value"), [(b"1498", 1498), (b" 1498.5\n", 1498.5), (b"+.5", 0.5), (b"5.", 5), (b"1.5e3", 1500)]
)
def test_a_topic_names_source_and_sensor_and_the_payload_is_a_number(payload: bytes, value: float) -> None:
    samples = read(UNIFIED, "acme/hall2/line1/fan1/speed", payload)
    assert (samples.source, samples.times_ms, values(samples)) == ("fan1", [NOW], [value, None])
    assert samples.flags == bytes([ArrivalFlag.NO_TIMESTAMP])


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"unavailable", "wrong_type", "expected a number, not 'unavailable'"),
        (b"21,5", "wrong_type", "expected a number, not '21,5'"),
        (b'"21.5"', "wrong_type", "speed: expected a number, not '21.5'"),
        (b"true", "wrong_type", "speed: expected a number, not true"),
        (b"{}", "wrong_type", "speed: expected a number, not an object"),
        (b"1e31", "number_too_large", "speed: expected a number between -1e+30 and 1e+30"),
        (b"", "wrong_type", "expected a number, not ''"),
    ],
)
def test_a_payload_that_is_no_number_is_refused(payload: bytes, reason: str, detail: str) -> None:
    error = refused(UNIFIED, "acme/hall2/line1/fan1/speed", payload)
    assert (error.reason, error.detail) == (reason, detail)


def test_an_unknown_source_and_sensor_are_refused() -> None:
    assert refused(UNIFIED, "acme/hall2/line1/fan9/speed", 1).reason == "unknown_source"
    assert refused(UNIFIED, "acme/hall2/line1/fan1/sped", 1).reason == "unknown_sensor"


def test_an_object_says_several_sensors_with_their_time_and_units() -> None:
    message = {
        "state": {"temperature": 2.5, "n": 25, "battery": 97},
        "meta": {"last seen": "2026-11-22T09:59:00Z"},
    }
    samples = read(HOME, "home/sensor/2/state", message)
    assert (samples.source, samples.times_ms) == ("fan2", [NOW - 60_000])
    assert values(samples) == [1500, 2.5]
    message["meta"] = {"last seen": NOW - 1000}
    assert read(HOME, "home/sensor/2/state", message).times_ms == [NOW - 1000]


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        ({"meta": {}}, "missing_field", "there is no value at $.state: 'state' is missing"),
        ({"state": {"n": 1}}, "missing_field", """there is no time at $.meta["last seen"]: 'meta' is missing"""),
        ({"state": {"n": 1}, "meta": {"last seen": []}}, "wrong_timestamp", None),
        ({"state": {"n": 1}, "meta": {"last seen": "2026-11-22T09:59:00"}}, "timestamp_without_zone", None),
        ({"state": {"n": 1}, "meta": {"last seen": "noon"}}, "wrong_timestamp", None),
        ({"state": {"n": 1}, "meta": {"last seen": NOW * 2}}, "in_the_future", None),
        ({"state": 1}, "wrong_type", None),
        ({"state": {}}, "no_values", None),
        ({"state": {"humidity": 1}}, "unknown_sensor", None),
        (b"{", "broken_json", None),
        (b"[" * 200_000, "broken_json", None),
        (b'"' + b"x" * 1_000_001, "too_large", None),
    ],
)
def test_an_object_that_is_not_as_it_was_declared_is_refused(message: object, reason: str, detail: str | None) -> None:
    error = refused(HOME, "home/sensor/2/state", message)
    assert (error.reason, detail or error.detail) == (reason, error.detail)


def test_a_message_of_which_all_is_ignored_is_nothing() -> None:
    reader = Dialects(Decoder(plant(HOME)))
    assert list(reader.read("home/sensor/2/state", b'{"state": {"battery": 3}}', NOW)) == []


def test_a_null_is_a_missing_value() -> None:
    message = {"state": {"temperature": None, "n": 25}, "meta": {"last seen": NOW}}
    assert values(read(HOME, "home/sensor/2/state", message)) == [1500, None]


def test_what_has_no_form_of_its_own_is_our_json() -> None:
    assert values(read(UNIFIED, "pdm/hall2/fan1", {"values": {"speed": 7}})) == [7, None]


def test_lines_come_on_declared_topics_with_the_declared_times() -> None:
    form = "{topic: 'telegraf/+/{plugin}', payload: lines, epoch_unit: s}"
    samples = read(form, "telegraf/gw1/modbus", f"fan,source=fan1 speed=7 {NOW // 1000}".encode())
    assert (samples.source, samples.times_ms) == ("fan1", [NOW])


def test_readings_of_own_topics_are_kept() -> None:
    store = MemoryReadings()
    ingest = Ingest(Decoder(plant(UNIFIED)), store, ReplayClock(NOW))
    for sensor, payload in (("speed", b"1498"), ("vibration", b"2.9"), ("sped", b"1")):
        ingest.add(f"acme/a/b/fan1/{sensor}", payload, NOW)
    assert ingest.commit() == 2
    assert [letter.reason for letter in store.dead_letters()] == ["unknown_sensor"]
    window = store.window("fan", ["fan1"], NOW, NOW + 1)
    assert window.values.tolist() == [[1498.0, 2.9]]


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ("{topic: 'a/{x}'}", "source: there is no placeholder {source}: it has x"),
        ("{topic: a/b}", "source: there is no placeholder {source}: it has none"),
        ("{topic: 'a/{source}', sensor: '{field}'}", "sensor: there is no placeholder {field}: it has source"),
        ("{topic: 'a/{s}', source: fan9}", "source: there is no source 'fan9'; did you mean 'fan3'?"),
        ("{topic: 'a/{source}', sensor: sped}", "sensor: there is no sensor 'sped'; did you mean 'speed'?"),
        ("{topic: 'a/{source}/#'}", "topic: expected + for a whole level that does not matter, and no #"),
        ("{topic: 'a/{source}_{sensor}'}", "topic: expected at most one placeholder in each level"),
        ("{topic: '$SYS/{source}'}", "topic: no reading comes under $SYS in a form of your own"),
        ("{topic: 'spBv1.0/{source}'}", "topic: no reading comes under spBv1.0 in a form of your own"),
        (
            "{topic: pdm/lines, source: fan1}",
            "topic: this is where line protocol comes in, without being declared",
        ),
        (
            "{topic: 'a/{source}', value: state}",
            """value: expected a path such as $.state.value or $["oil temp"], not 'state'""",
        ),
        ("{topic: a/b, payload: text}", "payload: expected 'json' or 'lines', not 'text'"),
        ("{source: fan1}", "topic: is missing: expected a form of topics such as {site}/{line}/{source}/{sensor}"),
    ],
)
def test_a_form_that_can_come_to_nothing_is_refused_with_its_line_and_key(form: str, complaint: str) -> None:
    assert complaints(f"topics:\n  - {form}\n") == [f"{FIRST}: topics[0].{complaint}"]


def test_lines_take_no_form_of_their_own() -> None:
    (said,) = complaints("topics:\n  - {topic: a/b, payload: lines, source: fan1}\n")
    assert said.endswith("topics[0]: lines say themselves what they are about: expected no source")


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a/{source}", "{source}/b", True),
        ("a/{source}", "b/{source}", False),
        ("a/{source}/{sensor}", "a/{source}", False),
        ("{source}/temp", "{source}/{sensor}", True),
        ("a/sensor.{source}", "a/light.{source}", False),
        ("a/sensor.{source}", "a/s{source}", True),
        ("a/{source}.x", "a/{source}.y", False),
        ("a/{source}/+", "a/fan1/b", True),
    ],
)
def test_forms_that_share_topics_are_refused(one: str, other: str, overlap: bool) -> None:
    entries = (f"  - {{topic: '{topic}', source: fan1, sensor: speed}}\n" for topic in (one, other))
    section = f"topics:\n{''.join(entries)}"
    expected = f"{FIRST + 1}: topics[1].topic: some topics would also have the form {one} of line {FIRST}"
    if overlap:
        assert complaints(section) == [expected]
    else:
        assert len(parse_plant(PLANT + section).topics) == 2


levels = st.sampled_from(["a", "b", "ab", "a.b", "{x}", "a{y}", "{z}b", "+"])
templates = st.lists(levels, min_size=1, max_size=3).map("/".join)
topics = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)


@given(templates, templates, topics)
def test_what_does_not_overlap_never_matches_one_topic(one: str, other: str, topic: str) -> None:
    if not Template(one).overlaps(Template(other)):
        assert Template(one).match(topic) is None or Template(other).match(topic) is None


@given(templates, topics)
def test_what_a_form_matches_is_subscribed_to(template: str, topic: str) -> None:
    if Template(template).match(topic) is not None:
        assert covers(Template(template).filter, topic)


def test_a_path_leads_into_objects_and_lists() -> None:
    assert JsonPath("""$.a.b-c[0]["oil temp"]['x']""").steps == ("a", "b-c", 0, "oil temp", "x")


def test_each_message_comes_once_whatever_is_subscribed_to() -> None:
    link = MqttLink(topics=("pdm/#", "x/+"), shared_group="g")
    wanted = link.filters(("pdm/+/+/state", "x/y", "acme/+/+", "acme/+/+"))
    assert wanted == ("$share/g/pdm/#", "$share/g/x/+", "$share/g/acme/+/+")
    assert filters(plant(UNIFIED, HOME)) == ("acme/+/+/+/+", "home/sensor/+/state")


def test_a_change_of_a_form_is_told_before_it_is_applied() -> None:
    was, becomes = plant(UNIFIED), plant(UNIFIED + "\n    value: $.v")
    assert difference(was, becomes) == ["topic acme/{area}/{line}/{source}/{sensor}: value was $, becomes $.v"]


def explained(topic: str, payload: bytes | None = None) -> tuple[list[str], bool]:
    found = explain(plant(UNIFIED, HOME), "ms", ("pdm/#", "acme/+/+/+/+", "home/#"), topic, payload, NOW)
    return found.sentences[1:], found.readable


def test_a_topic_is_explained_without_a_payload() -> None:
    assert explained("acme/a/b/fan1/speed") == (
        [
            "It has the form acme/{area}/{line}/{source}/{sensor}.",
            "Its source is 'fan1': asset F-1, class fan.",
            "'speed' is the sensor speed.",
        ],
        True,
    )
    assert explained("acme/a/b/fan1/sped")[0][-1] == "'sped' is no sensor of it."
    assert explained("acme/a/b/fan9/speed") == (
        [
            "It has the form acme/{area}/{line}/{source}/{sensor}.",
            "Its source is 'fan9', and no asset of the plant has it.",
        ],
        False,
    )
    assert explained("home/sensor/1/state")[0][-1] == "The payload says which sensors it is about."
    assert explained("pdm/lines")[0] == ["It is read as line protocol.", "The lines say which machines they are about."]


def test_a_message_is_explained_with_what_comes_out_of_it() -> None:
    told, readable = explained("acme/a/b/fan1/speed", b"1498")
    assert readable
    assert told[-1] == "Asset F-1 (fan1) at 2026-11-22T10:00:00.000+00:00, the time of arrival: speed 1498 rpm"
    told, readable = explained("acme/a/b/fan1/speed", b"fast")
    assert not readable
    assert told[-1] == "It would be a dead letter: wrong_type: expected a number, not 'fast'"
    told, readable = explained("pdm/hall/fan2", b'{"ts": [0, 1], "values": {"speed": [1, 2]}}')
    assert (readable, told[-1][:37]) == (False, "It would be a dead letter: before_199")
    told, readable = explained("pdm/lines", b"fan,source=fan1 speed=1\nnonsense")
    assert not readable
    assert told[-1] == "Line 2 would be a dead letter: broken_line: missing fields"
    assert explained("home/sensor/1/state", b'{"state": {"battery": 1}}')[0][-1].startswith("Nothing of it is wanted")


def test_a_topic_that_nobody_listens_to_is_said_to_be_so() -> None:
    found = explain(plant(UNIFIED), "ms", ("pdm/#", "acme/+/+"), "other/fan1", None, NOW)
    assert found.sentences[0] == (
        "The service does NOT hear it: it subscribes to pdm/#, acme/+/+ (mqtt.topics and plant.yaml)."
    )
    heard = explain(plant(UNIFIED), "ms", ("pdm/#",), "pdm", None, NOW)
    assert heard.sentences[0] == "The service hears it by its subscription to pdm/#."
