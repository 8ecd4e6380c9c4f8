"""The stream: nothing between two visits is missed, and it ends when the service stops."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.sse import ServerSentEvent
from sqlalchemy import select
from starlette.types import Message

from pdm import respond
from pdm.respond import Act
from pdm.services import Services
from pdm.state import schema
from pdm.tick import tick
from pdm.web import snapshot, stream
from pdm.web.snapshot import Snapshot, Version
from pdm.web.stream import Place, changes, place_of, resumed
from tests.small_plant import HOUR, feed, readings
from tests.web.station import NOW


def look(services: Services) -> Snapshot:
    snapshot.expire(services)
    return snapshot.latest(services)


def acknowledge(services: Services, serial: str) -> str:
    with schema.write(services.engine) as connection:
        table = schema.alerts
        alert: str = connection.execute(select(table.c.id).where(table.c.serial == serial)).scalar_one()
        respond.acknowledge(connection, alert, Act("Ada", NOW))
    return alert


def told(events: list[ServerSentEvent]) -> list[str | None]:
    return [event.event for event in events]


def test_nothing_is_told_where_nothing_changed(services: Services) -> None:
    now = look(services)
    assert changes(services, now, place_of(now.version)) == []


def test_an_alert_and_a_tick_are_told_in_order_and_the_last_one_carries_the_place(services: Services) -> None:
    before = place_of(look(services).version)
    alert = acknowledge(services, "F-1")
    feed(services, readings("fan1", [480]))
    tick(services, NOW + HOUR)
    now = look(services)
    events = changes(services, now, before)
    assert events[0].event == "alert"
    assert events[0].data["id"] == alert
    assert events[0].data["state"] == "acknowledged"
    assert (events[-1].event, events[-1].data["class"]) == ("twin", "fan")
    assert [event.id for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1].id == str(place_of(now.version))


def test_a_client_that_comes_back_hears_what_it_missed_and_nothing_twice(services: Services) -> None:
    left = str(place_of(look(services).version))
    acknowledge(services, "F-1")
    now = look(services)
    missed = changes(services, now, resumed(left, now.version))
    assert told(missed) == ["alert"]
    assert changes(services, now, resumed(missed[-1].id, now.version)) == []


def test_too_much_to_tell_is_one_reset(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_AT_ONCE", 1)
    now = look(services)
    events = changes(services, now, Place(0, now.version.ticks))
    assert (told(events), events[0].id) == (["reset"], str(place_of(now.version)))


def test_a_change_that_no_feed_shows_still_moves_the_place(services: Services) -> None:
    now = look(services)
    events = changes(services, now, Place(now.version.revision + 1, now.version.ticks))
    assert told(events) == ["place"]


@pytest.mark.parametrize("last", [None, "", "x", "1", "1.x", "1.2-", "-1.2", "1." + "9" * 30, "²." + "1", "1.2\n3"])
def test_a_last_event_id_that_is_none_of_ours_starts_at_the_present(last: str | None) -> None:
    version = Version(1, 7, (("fan", 3),))
    assert resumed(last, version) == place_of(version)


def test_a_place_of_another_set_of_classes_tells_every_twin() -> None:
    assert resumed("5.1-2", Version(1, 7, (("fan", 3),))) == Place(5, ())


def events_of(app: FastAPI, path: str, stop_after: int, headers: dict[str, str] | None = None) -> list[bytes]:
    """What a listener gets until it has `stop_after` pieces, by a service that is then stopped."""
    pieces: list[bytes] = []

    async def listen() -> None:
        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                pieces.append(str(message["status"]).encode())
            elif message.get("body"):
                pieces.append(message["body"])
            if len(pieces) >= stop_after:
                app.state.stopping.set()

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                *((k.lower().encode(), v.encode()) for k, v in (headers or {}).items()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await asyncio.wait_for(app(scope, receive, send), timeout=20)

    app.state.stopping.clear()
    try:
        asyncio.run(listen())
    finally:
        app.state.stopping.clear()
    return pieces


def test_a_listener_is_told_its_place_then_what_it_missed_until_the_service_stops(
    services: Services, app: FastAPI
) -> None:
    left = str(place_of(look(services).version))
    acknowledge(services, "F-1")
    snapshot.expire(services)
    status, hello, missed = events_of(app, "/api/v1/stream", 3, {"Last-Event-ID": left})[:3]
    assert status == b"200"
    assert f"id: {left}".encode() in hello
    assert b"retry: 2000" in hello
    assert b"event: alert" in missed
    assert b'"state": "acknowledged"' in missed


def test_a_listener_too_many_is_sent_away(services: Services, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.Semaphore, "locked", lambda self: True)
    assert events_of(app, "/api/v1/stream", 2)[0] == b"503"
