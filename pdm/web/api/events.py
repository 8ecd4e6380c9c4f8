"""Maintenance events: what happened to machines, from people or the CMMS, of any age; the labels for training."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import Connection, select
from starlette.responses import Response

from pdm import respond
from pdm.installations import EventKind, MaintenanceEvent
from pdm.services import Services
from pdm.state import schema, told
from pdm.web import records
from pdm.web.api.common import (
    PROBLEMS,
    WRITE_PROBLEMS,
    Body,
    Cursor,
    Limit,
    Line,
    Moment,
    Note,
    RecordId,
    Said,
    Who,
    Write,
    answer,
    cursor_of,
    json_answer,
    revision_of,
    revision_tag,
)
from pdm.web.shapes import EventView, Page, to_json


class Report(Body):
    """What happened to a machine. `by_serial` goes with `replaced`, `source` with `installed`, `sensor` with
    `sensor_replaced`."""

    id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._:-]{1,100}$",
        description="The reporter's id: reported again under the same id it counts once.",
        examples=["WO-4711"],
    )
    serial: Line = Field(examples=["F-1"])
    kind: EventKind = Field(examples=["inspected"])
    at: Moment = Field(examples=["2026-01-20T14:00:00Z"])
    mode: Line | None = Field(default=None, description="The failure mode, as its class names it.", examples=["belt"])
    by_serial: Line | None = None
    source: Line | None = None
    sensor: Line | None = Field(default=None, description="The sensor that was replaced, as its class names it.")
    note: Note | None = Field(default=None, examples=["crack of 2 mm"])
    value: float | None = Field(default=None, examples=[2.0])
    who: Who = Field(default="api", examples=["Ada"])

    def event(self) -> MaintenanceEvent:
        return MaintenanceEvent(
            self.serial, self.kind, self.at, self.mode, self.by_serial, self.source, self.sensor, self.value
        )


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/events", tags=["events"])

    @router.get(
        "",
        response_model=Page[EventView],
        responses=PROBLEMS,
        summary="Events in the order in which they were reported",
    )
    def events(
        request: Request,
        serial: Annotated[str | None, Query(max_length=300, examples=["F-1"])] = None,
        kind: EventKind | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        table = schema.events
        query = select(table)
        if serial is not None:
            query = query.where((table.c.serial == serial) | (table.c.by_serial == serial))
        if kind is not None:
            query = query.where(table.c.kind == kind)
        with schema.read(services.engine) as connection:
            rows = connection.execute(told.page(query, table, revision_of(cursor), limit)).all()
        after = cursor_of(rows[-1].revision) if len(rows) == limit else None
        return json_answer(request, Page[EventView], Page(tuple(map(records.event_view, rows)), after))

    @router.get("/{event_id}", response_model=EventView, responses=PROBLEMS, summary="One event")
    def event(request: Request, event_id: RecordId) -> Response:
        with schema.read(services.engine) as connection:
            found = records.event_view(told.get(connection, schema.events, event_id))
        return answer(request, revision_tag(found.revision), to_json(EventView, found))

    @router.post(
        "",
        status_code=201,
        response_model=EventView,
        responses=WRITE_PROBLEMS,
        summary="Report what happened to a machine, however long ago",
    )
    def report(said: Report, writing: Write) -> Response:
        def record(connection: Connection) -> tuple[type, EventView]:
            act = writing.act(services, Said(who=said.who))
            event_id = said.id or str(uuid.uuid4())
            respond.record_event(connection, event_id, said.event(), act, said.note)
            return EventView, records.event_view(told.get(connection, schema.events, event_id))

        return writing.once(services, said, record, 201)

    @router.post(
        "/{event_id}/void",
        response_model=EventView,
        responses=WRITE_PROBLEMS,
        summary="Take a report back; what followed from it is made again",
    )
    def void(event_id: RecordId, said: Said, writing: Write) -> Response:
        def change(connection: Connection) -> tuple[type, EventView]:
            respond.void_event(connection, event_id, writing.act(services, said))
            return EventView, records.event_view(told.get(connection, schema.events, event_id))

        return writing.once(services, said, change)

    return router
