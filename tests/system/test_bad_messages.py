"""What cannot be read, sent to a running service by MQTT and HTTP: a dead letter each, and what follows is stored."""

from typing import NamedTuple

import orjson
import pytest

from pdm.clocks import ServiceClock
from tests.system.conftest import Station
from tests.system.service import DAY_MS, Service, message, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS
SOURCE = "s5"


class Bad(NamedTuple):
    """One message without its source, and the reason that its dead letter carries."""

    reason: str
    payload: bytes


def with_values(values: str, more: str = "") -> bytes:
    return f'{{"ts": {BASE_MS}, "values": {values}{more}}}'.encode()


BAD = {
    "another unit": Bad("unit_mismatch", with_values('{"number": 1}', ', "units": {"number": "bar"}')),
    "no unit at all": Bad("unknown_unit", with_values('{"number": 1}', ', "units": {"number": "furlongs?"}')),
    "NaN": Bad("not_a_number", with_values('{"number": NaN}')),
    "infinity": Bad("not_a_number", with_values('{"number": -Infinity}')),
    "text for a number": Bad("wrong_type", with_values('{"number": "1,5"}')),
    "too large a number": Bad("number_too_large", with_values('{"number": 1e308}')),
    "another sensor": Bad("unknown_sensor", with_values('{"temperature": 1}')),
    "the future": Bad("in_the_future", b'{"ts": "2199-01-01T00:00:00Z", "values": {"number": 1}}'),
    "a clock never set": Bad("before_1990", b'{"ts": "1970-01-01T00:00:00Z", "values": {"number": 1}}'),
    "seconds for milliseconds": Bad("before_1990", f'{{"ts": {BASE_MS // 1000}, "values": {{"number": 1}}}}'.encode()),
    "nothing": Bad("broken_json", b""),
    "half a message": Bad("broken_json", with_values('{"number": 1}')[:-3]),
    "brackets without end": Bad("wrong_type", b"[" * 200_000),
    "objects without end": Bad("unknown_sensor", b'{"values":' * 100_000),
    "a deep note": Bad("unknown_field", b'{"note": ' + b"[" * 200_000),
    "no UTF-8": Bad("broken_json", b'{"\xff\xfe": 1, "values": {"number": 1}}'),
    "UTF-16": Bad("broken_json", '{"values": {"number": 1}}'.encode("utf-16")),
    "ten megabytes": Bad("too_large", with_values('{"number": 1}', ', "note": "' + "x" * 10_000_000 + '"')),
}

BREAKS_ITS_BODY = (
    "NaN",
    "infinity",
    "nothing",
    "half a message",
    "brackets without end",
    "objects without end",
    "a deep note",
    "UTF-16",
)


def dead_letters(service: Service, topic: str) -> dict[str, int]:
    """How many of a topic by reason."""
    found: dict[str, int] = {}
    for letter in service.get("dead-letters", limit=500)["items"]:
        if letter["topic"] == topic:
            found[letter["reason"]] = found.get(letter["reason"], 0) + letter["count"]
    return found


def counted(reasons: list[str]) -> dict[str, int]:
    return {reason: reasons.count(reason) for reason in reasons}


def steps(service: Service, serial: str) -> int:
    return int(service.get(f"assets/{serial}/twin")["steps"])


def test_each_bad_message_by_mqtt_is_a_dead_letter_and_the_good_ones_between_them_are_stored(station: Station) -> None:
    for number, bad in enumerate(BAD.values()):
        station.publish(SOURCE, bad.payload)
        station.publish(SOURCE, orjson.dumps(message(number, BASE_MS)))
    station.publish("nobody", orjson.dumps(message(0, BASE_MS)))
    station.flush()
    expected = counted([bad.reason for bad in BAD.values()])
    wait_until(lambda: dead_letters(station.service, f"pdm/site/line/{SOURCE}") == expected, "dead letters are missing")
    wait_until(lambda: dead_letters(station.service, "pdm/site/line/nobody") == {"unknown_source": 1}, "none")
    wait_until(lambda: steps(station.service, "S-5") == len(BAD), "good readings are missing")


def test_bad_messages_in_one_http_body_are_named_one_by_one_and_the_good_ones_are_stored(station: Station) -> None:
    service = station.service
    readable = {name: bad for name, bad in BAD.items() if name not in (*BREAKS_ITS_BODY, "ten megabytes")}
    named = [b'{"source": "s6", ' + bad.payload[1:] for bad in readable.values()]
    good = [orjson.dumps(message(number, BASE_MS, source="s6")) for number in range(len(named))]
    parts = [part for pair in zip(named, good, strict=True) for part in pair]
    before = dead_letters(service, "http")
    answer = service.post(b"[" + b",".join([*parts, b'{"source": "nobody", "values": {}}']) + b"]")
    assert answer.status_code == 207
    reasons = [problem["reason"] for problem in answer.json()["problems"]]
    assert reasons == [*(bad.reason for bad in readable.values()), "unknown_source"]
    assert answer.json()["stored"] == len(good)
    wait_until(lambda: steps(service, "S-6") == len(good), "good readings are missing")
    found = dead_letters(service, "http")
    assert {reason: found[reason] - before.get(reason, 0) for reason in counted(reasons)} == counted(reasons)


@pytest.mark.parametrize("name", BREAKS_ITS_BODY)
def test_a_body_that_is_no_json_is_refused_as_a_whole(station: Station, name: str) -> None:
    answer = station.service.post(BAD[name].payload)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(("broken_json: ", "not_a_number: "))


def test_ten_megabytes_by_http_are_refused_and_the_service_goes_on(station: Station) -> None:
    assert station.service.post(BAD["ten megabytes"].payload).status_code == 413
    assert station.service.post(message(0, BASE_MS, source="s7")).status_code == 200
