"""Line protocol by HTTP, as clients of InfluxDB send it."""

import gzip
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pdm.errors import StoreError
from pdm.services import Services
from pdm.web import auth
from pdm.web.api.influx import LARGEST_BODY
from tests.web import station

WRITE = "/api/v2/write?org=plant&bucket=pdm&precision=ms"


def line(source: str = "fan1", speed: object = 1498, at_ms: int = station.NOW - 60_000) -> str:
    return f"fan,source={source} speed={speed},vibration=2.9 {at_ms}"


def stored(services: Services, source: str = "fan1") -> list[float]:
    window = services.readings.window("fan", [source], station.NOW - 60_000, station.NOW + 1)
    return window.values[:, window.sensors.index("speed")].tolist() if len(window) else []


def test_lines_are_stored_and_answered_with_nothing(services: Services, client: TestClient) -> None:
    answer = client.post(WRITE, content=f"{line()}\n{line('fan2', '1499i')}\n")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (stored(services), stored(services, "fan2")) == ([1498.0], [1499.0])


def test_a_body_without_lines_is_nothing_wrong(client: TestClient) -> None:
    assert client.post(WRITE, content=b"").status_code == 204


@pytest.mark.parametrize(("precision", "factor"), [("s", 0.001), ("ms", 1), ("us", 1000), ("ns", 1_000_000)])
def test_the_precision_says_what_times_count_in(
    services: Services, client: TestClient, precision: str, factor: float
) -> None:
    url = WRITE.replace("=ms", f"={precision}")
    assert client.post(url, content=line(at_ms=round((station.NOW - 60_000) * factor))).status_code == 204
    assert stored(services) == [1498.0]


def test_without_a_precision_times_are_nanoseconds(services: Services, client: TestClient) -> None:
    body = line(at_ms=(station.NOW - 60_000) * 1_000_000)
    assert client.post("/api/v2/write", content=body).status_code == 204
    assert stored(services) == [1498.0]


def test_another_precision_is_refused_as_influxdb_does(client: TestClient) -> None:
    answer = client.post(WRITE.replace("=ms", "=h"), content=line())
    assert answer.status_code == 400
    assert answer.json() == {
        "code": "invalid",
        "message": "invalid precision; valid precision units are ns, us, ms, and s",
    }


def test_good_lines_are_stored_and_bad_ones_named_and_kept(services: Services, client: TestClient) -> None:
    answer = client.post(WRITE, content=f"{line('nobody')}\n{line()}\n{line(speed='true')}\n")
    assert answer.status_code == 422
    told = answer.json()
    assert told["code"] == "unprocessable entity"
    assert told["message"].splitlines() == [
        "partial write: 1 stored, dropped=2",
        "line 1: unknown_source: no asset of the plant has the source 'nobody'",
        "line 3: wrong_type: speed: expected a number, not true",
    ]
    assert stored(services) == [1498.0]
    letters = {letter.reason: letter for letter in services.readings.dead_letters() if letter.topic == "http/lines"}
    assert letters["unknown_source"].payload == line("nobody").encode()
    assert letters["wrong_type"].payload == line(speed="true").encode()


def test_a_line_that_is_none_is_a_bad_request(services: Services, client: TestClient) -> None:
    answer = client.post(WRITE, content=f"nonsense\n{line()}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "line 1: broken_line: missing fields" in answer.json()["message"]
    assert stored(services) == [1498.0], "the others are stored all the same"


def test_a_packed_body_is_unpacked(services: Services, client: TestClient) -> None:
    answer = client.post(WRITE, content=gzip.compress(line().encode()), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 204
    assert stored(services) == [1498.0]


def test_a_packed_body_that_unpacks_to_too_much_is_refused_before_it_does(client: TestClient) -> None:
    bomb = gzip.compress(b"\n" * (40 * LARGEST_BODY))
    assert len(bomb) < LARGEST_BODY
    answer = client.post(WRITE, content=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "request too large")


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"fan,source=fan1 speed=1")[:-9]], ids=["no gzip", "cut short"]
)
def test_a_damaged_packed_body_is_a_bad_request(client: TestClient, body: bytes) -> None:
    answer = client.post(WRITE, content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_body_that_is_too_large_is_refused_in_the_words_of_influxdb(client: TestClient) -> None:
    answer = client.post(WRITE, content=b"x" * (LARGEST_BODY + 1))
    assert answer.status_code == 413
    assert {"code", "message"} <= answer.json().keys()


def test_a_full_disk_is_worth_another_try(
    services: Services, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(services.ingest, "accept_lines", full)
    answer = client.post(WRITE, content=line())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]


def test_a_key_is_taken_as_a_token_and_its_absence_told_as_influxdb_does(services: Services) -> None:
    locked = station.client_of(services, key_hashes=[auth.hash_key("key")])
    assert locked.post(WRITE, content=line(), headers={"Authorization": "Token key"}).status_code == 204
    assert locked.post(WRITE, content=line(), headers={"Authorization": "Bearer key"}).status_code == 204
    refused = locked.post(WRITE, content=line(), headers={"Authorization": "Token wrong"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


def test_what_clients_ask_before_they_write_is_answered(client: TestClient) -> None:
    assert client.get("/ping").status_code == client.head("/ping").status_code == 204
    assert client.get("/health").json()["status"] == "pass"
