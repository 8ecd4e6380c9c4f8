"""Prognoses as they were frozen when they were told: what is scored and replayed."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Select, select
from starlette.responses import Response

from pdm.services import Services
from pdm.state import schema, told
from pdm.web import records, snapshot
from pdm.web.api.common import PROBLEMS, Cursor, Limit, Moment, RecordId, json_answer, page_after
from pdm.web.shapes import IssuedView, Page


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/prognoses", tags=["prognoses"], responses=PROBLEMS)

    @router.get("", response_model=Page[IssuedView], summary="Issued prognoses in the order in which they were told")
    def prognoses(
        request: Request,
        serial: Annotated[str | None, Query(max_length=300, examples=["F-1"])] = None,
        since: Annotated[
            Moment | None, Query(description="Issued at this time or later.", examples=["2026-01-20T00:00:00Z"])
        ] = None,
        until: Annotated[
            Moment | None, Query(description="Issued by this time.", examples=["2026-01-25T00:00:00Z"])
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        query = select(schema.prognoses)
        if serial is not None:
            query = query.where(schema.prognoses.c.serial == serial)
        if since is not None:
            query = query.where(schema.prognoses.c.issued_ms >= since)
        return issued_page(request, services, query, until, cursor, limit)

    @router.get("/{prognosis_id}", response_model=IssuedView, summary="One issued prognosis")
    def prognosis(request: Request, prognosis_id: RecordId) -> Response:
        with schema.read(services.engine) as connection:
            row = told.get(connection, schema.prognoses, prognosis_id)
        return json_answer(request, IssuedView, records.issued_in(snapshot.latest(services), row))

    return router


def issued_page(
    request: Request, services: Services, query: Select[Any], until_ms: int | None, cursor: str | None, limit: int
) -> Response:
    """A page of the issued prognoses that a query finds, in the order in which they were told."""
    table = schema.prognoses
    if until_ms is not None:
        query = query.where(table.c.issued_ms <= until_ms)
    now = snapshot.latest(services)
    with schema.read(services.engine) as connection:
        rows, after = page_after(connection, query, (table.c.tick, table.c.id), cursor, limit)
    return json_answer(request, Page[IssuedView], Page(tuple(records.issued_in(now, row) for row in rows), after))
