"""What changes, as server-sent events: twins by tick, alerts, recommendations, windows and events by revision.

The id of an event is the place in the stream up to where all has been told. A browser that comes back sends it as
Last-Event-ID, and nothing between is missed.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Header, HTTPException
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from pdm.services import Services
from pdm.state import schema, told
from pdm.web.api.common import PROBLEMS, current
from pdm.web.shapes import rfc3339
from pdm.web.snapshot import Snapshot, Version

LOOK_EVERY_SECONDS = 0.5
RECONNECT_MS = 2000
MOST_STREAMS = 100
MOST_AT_ONCE = 500
"""Changes told in one go; a client that was away for longer reads the feeds."""

_FEEDS = (("alert", schema.alerts), ("recommendation", schema.recommendations), ("window", schema.interventions))


class Place(NamedTuple):
    """Up to where a listener has been told: a revision, and a tick for each class."""

    revision: int
    ticks: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{self.revision}." + "-".join(f"{tick}" for _, tick in self.ticks)


def place_of(version: Version) -> Place:
    return Place(version.revision, version.ticks)


def resumed(last_event_id: str | None, version: Version) -> Place:
    """The place that a Last-Event-ID stands for; the present one where it stands for none."""
    revision, _, ticks = (last_event_id or "").partition(".")
    numbers = [revision, *ticks.split("-")]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        return place_of(version)
    names = [name for name, _ in version.ticks]
    if len(names) != len(numbers) - 1:
        return Place(int(revision), ())
    return Place(int(revision), tuple(zip(names, map(int, numbers[1:]), strict=True)))


def changes(services: Services, now: Snapshot, since: Place) -> list[ServerSentEvent]:
    """What has happened since a place, the oldest first; only the last one carries the place up to which all is told.

    A single `reset` stands for more than can be told: then the client reads everything again.
    """
    place = place_of(now.version)
    if since == place:
        return []
    records = _records(services, since.revision)
    if len(records) > MOST_AT_ONCE:
        return [ServerSentEvent(event="reset", data={}, id=str(place))]
    *found, last = [*records, *_twins(now, since)] or [ServerSentEvent(event="place", data={})]
    return [*found, last.model_copy(update={"id": str(place)})]


def make_router(services: Services, stopping: threading.Event) -> APIRouter:
    router = APIRouter(tags=["stream"], responses=PROBLEMS)
    seats = asyncio.Semaphore(MOST_STREAMS)

    async def seat() -> AsyncIterator[None]:
        """A place among the listeners, given back at the end; nobody waits for one."""
        if seats.locked():
            raise HTTPException(503, f"{MOST_STREAMS} listeners are connected already")
        await current(services)  # without a plant there is nothing to follow: say so while a status can still be sent
        async with seats:
            yield

    @router.get(
        "/stream",
        response_class=EventSourceResponse,
        dependencies=[Depends(seat)],
        summary="Changes of twins, alerts, recommendations and windows as they happen",
    )
    async def stream(
        last_event_id: Annotated[str | None, Header(max_length=2000, description="Where a client left off.")] = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `twin`, `alert`, `recommendation`, `window`, `reset`."""
        now = await current(services)
        told_until = resumed(last_event_id, now.version)
        yield ServerSentEvent(event="place", data={}, id=str(told_until), retry=RECONNECT_MS)
        while not stopping.is_set():
            now = await current(services)
            for event in await run_in_threadpool(changes, services, now, told_until):
                yield event
            told_until = place_of(now.version)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    return router


def _twins(now: Snapshot, since: Place) -> list[ServerSentEvent]:
    seen = dict(since.ticks)
    return [
        ServerSentEvent(event="twin", data={"class": name, "tick": tick, "at": rfc3339(of_class.stored.at_ms)})
        for name, tick in now.version.ticks
        if tick > seen.get(name, 0) and (of_class := now.classes[name]).stored is not None
    ]


def _records(services: Services, revision: int) -> list[ServerSentEvent]:
    """Records that changed above a revision, in that order; one more than can be told where there are too many."""
    most = MOST_AT_ONCE + 1
    with schema.read(services.engine) as connection:
        changed = [
            (row.revision, ServerSentEvent(event=name, data=_said(name, row)))
            for name, table in _FEEDS
            for row in connection.execute(told.page(select(table), table, revision, most))
        ]
    return [event for _, event in sorted(changed, key=lambda change: change[0])[:most]]


def _said(name: str, row: Any) -> dict[str, Any]:
    """Enough to know what to read again."""
    state = row.status if name == "window" else row.state
    said = {"id": row.id, "revision": row.revision, "serial": row.serial, "target": row.target, "state": state}
    return {**said, "severity": row.severity, "title": row.title} if name == "alert" else said
