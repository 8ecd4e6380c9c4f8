"""Alerts: the list, the story of one, and what people do to it."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import Connection, select
from starlette.responses import Response

from pdm import respond
from pdm.respond import Act
from pdm.services import Services
from pdm.state import schema, told
from pdm.state.told import AlertState
from pdm.web import records
from pdm.web.api.common import (
    PROBLEMS,
    WRITE_PROBLEMS,
    Cursor,
    Limit,
    Moment,
    Reasoned,
    RecordId,
    Said,
    Write,
    Writing,
    answer,
    cursor_of,
    json_answer,
    revision_of,
    revision_tag,
)
from pdm.web.shapes import AlertDetail, AlertView, Page, to_json


class Shelving(Said):
    """Until when an alert is taken off the list."""

    until: Moment = Field(examples=["2026-01-28T06:00:00Z"])


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/alerts", tags=["alerts"])

    @router.get(
        "", response_model=Page[AlertView], responses=PROBLEMS, summary="Alerts in the order in which they changed"
    )
    def alerts(
        request: Request,
        state: Annotated[
            Literal["live", "open", "acknowledged", "shelved", "resolved", "closed", "all"],
            Query(description="`live`: all that are not closed."),
        ] = "live",
        serial: Annotated[str | None, Query(max_length=300, examples=["F-1"])] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        table = schema.alerts
        query = select(table)
        if state == "live":
            query = query.where(table.c.state != AlertState.CLOSED)
        elif state != "all":
            query = query.where(table.c.state == state)
        if serial is not None:
            query = query.where(table.c.serial == serial)
        with schema.read(services.engine) as connection:
            rows = connection.execute(told.page(query, table, revision_of(cursor), limit)).all()
        after = cursor_of(rows[-1].revision) if len(rows) == limit else None
        return json_answer(request, Page[AlertView], Page(tuple(map(records.alert_view, rows)), after))

    @router.get("/{alert_id}", response_model=AlertDetail, responses=PROBLEMS, summary="One alert with its whole story")
    def alert(request: Request, alert_id: RecordId) -> Response:
        with schema.read(services.engine) as connection:
            found = records.alert_detail(connection, alert_id)
        return answer(request, revision_tag(found.revision), to_json(AlertDetail, found))

    def act_on(writing: Writing, alert_id: str, said: Said, change: Callable[[Connection, str, Act], None]) -> Response:
        def changed(connection: Connection) -> tuple[type, AlertDetail]:
            change(connection, alert_id, writing.act(services, said))
            return AlertDetail, records.alert_detail(connection, alert_id)

        return writing.once(services, said, changed)

    def action(name: str, summary: str) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
        return router.post(
            f"/{{alert_id}}/{name}", response_model=AlertDetail, responses=WRITE_PROBLEMS, summary=summary
        )

    @action("acknowledge", "Say that somebody takes care of it")
    def acknowledge(alert_id: RecordId, said: Said, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.acknowledge)

    @action("shelve", "Take it off the list until a time")
    def shelve(alert_id: RecordId, said: Shelving, writing: Write) -> Response:
        def until(connection: Connection, shelved: str, act: Act) -> None:
            respond.shelve(connection, shelved, said.until, act)

        return act_on(writing, alert_id, said, until)

    @action("unshelve", "Put it back on the list")
    def unshelve(alert_id: RecordId, said: Said, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.unshelve)

    @action("resolve", "Say that the matter is settled")
    def resolve(alert_id: RecordId, said: Said, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.resolve)

    @action("wrong-alarm", "Say that there was nothing, and why")
    def wrong_alarm(alert_id: RecordId, said: Reasoned, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.note_wrong_alarm)

    @action("comment", "Add a note to its story")
    def comment(alert_id: RecordId, said: Reasoned, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.comment)

    @action("undo", "Take back the latest thing that a person did to it")
    def undo(alert_id: RecordId, said: Said, writing: Write) -> Response:
        return act_on(writing, alert_id, said, respond.undo)

    return router
