"""Recommendations: what to do in plain words, and what people answer."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection, select
from starlette.responses import Response

from pdm import respond
from pdm.respond import Act
from pdm.services import Services
from pdm.state import schema, told
from pdm.web import records
from pdm.web.api.common import (
    PROBLEMS,
    WRITE_PROBLEMS,
    Cursor,
    Limit,
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
from pdm.web.shapes import Page, RecommendationView, to_json


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/recommendations", tags=["recommendations"])

    @router.get(
        "",
        response_model=Page[RecommendationView],
        responses=PROBLEMS,
        summary="Recommendations in the order in which they changed",
    )
    def recommendations(
        request: Request,
        state: Literal["open", "accepted", "dismissed", "superseded", "closed", "all"] = "open",
        serial: Annotated[str | None, Query(max_length=300, examples=["F-1"])] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        table = schema.recommendations
        query = select(table)
        if state != "all":
            query = query.where(table.c.state == state)
        if serial is not None:
            query = query.where(table.c.serial == serial)
        with schema.read(services.engine) as connection:
            rows = connection.execute(told.page(query, table, revision_of(cursor), limit)).all()
        after = cursor_of(rows[-1].revision) if len(rows) == limit else None
        found = Page(tuple(map(records.recommendation_view, rows)), after)
        return json_answer(request, Page[RecommendationView], found)

    @router.get(
        "/{recommendation_id}", response_model=RecommendationView, responses=PROBLEMS, summary="One recommendation"
    )
    def recommendation(request: Request, recommendation_id: RecordId) -> Response:
        with schema.read(services.engine) as connection:
            found = _view(connection, recommendation_id)
        return answer(request, revision_tag(found.revision), to_json(RecommendationView, found))

    def answered(
        writing: Writing, recommendation_id: str, said: Said, change: Callable[[Connection, str, Act], None]
    ) -> Response:
        def changed(connection: Connection) -> tuple[type, RecommendationView]:
            change(connection, recommendation_id, writing.act(services, said))
            return RecommendationView, _view(connection, recommendation_id)

        return writing.once(services, said, changed)

    @router.post(
        "/{recommendation_id}/accept",
        response_model=RecommendationView,
        responses=WRITE_PROBLEMS,
        summary="Follow it, and accept the window that is proposed for the machine",
    )
    def accept(recommendation_id: RecordId, said: Said, writing: Write) -> Response:
        return answered(writing, recommendation_id, said, respond.accept_recommendation)

    @router.post(
        "/{recommendation_id}/dismiss",
        response_model=RecommendationView,
        responses=WRITE_PROBLEMS,
        summary="Turn it down, and say why",
    )
    def dismiss(recommendation_id: RecordId, said: Reasoned, writing: Write) -> Response:
        return answered(writing, recommendation_id, said, respond.dismiss_recommendation)

    return router


def _view(connection: Connection, recommendation_id: str) -> RecommendationView:
    return records.recommendation_view(told.get(connection, schema.recommendations, recommendation_id))
