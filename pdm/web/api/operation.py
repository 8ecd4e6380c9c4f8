"""Operation: runs of the scheduled jobs, messages that could not be read, and the simulated plant if there is one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from sqlalchemy import select
from starlette.responses import Response

from pdm.errors import NotFoundError
from pdm.ports import Simulation
from pdm.respond import RequestError
from pdm.services import Services
from pdm.state import schema
from pdm.web.api.common import PROBLEMS, Body, Cursor, Limit, cursor_of, json_answer, page_after, place_of
from pdm.web.shapes import DeadLetterView, Page, RunView, SimulationView, to_json

FASTEST_RATE = 1e7
_SHOWN_BYTES = 2000


class Control(Body):
    """Stop, go on, or change the pace of simulated time."""

    paused: bool | None = Field(default=None, examples=[True])
    rate: float | None = Field(
        default=None, gt=0, le=FASTEST_RATE, description="Plant seconds per second.", examples=[3600]
    )


def make_router(services: Services) -> APIRouter:
    router = APIRouter(tags=["operation"], responses=PROBLEMS)

    @router.get("/runs", response_model=Page[RunView], summary="Runs of the scheduled jobs, the latest first")
    def runs(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
        key = schema.runs.c.scheduled_ms, schema.runs.c.job
        with schema.read(services.engine) as connection:
            rows, after = page_after(connection, select(schema.runs), key, cursor, limit, newest_first=True)
        found = tuple(
            RunView(row.job, row.scheduled_ms, row.started_ms, row.finished_ms, row.outcome, row.detail) for row in rows
        )
        return json_answer(request, Page[RunView], Page(found, after))

    @router.get(
        "/dead-letters",
        response_model=Page[DeadLetterView],
        summary="Messages that could not be read, and why, the latest first",
    )
    def dead_letters(
        request: Request,
        reason: Annotated[str | None, Query(max_length=100, description="Only those with this reason.")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        kept = services.readings.dead_letters(limit, reason, place_of(cursor))
        found = tuple(
            DeadLetterView(
                id=letter.id,
                topic=letter.topic,
                reason=letter.reason,
                detail=letter.detail,
                first_seen=letter.first_seen_ms,
                last_seen=letter.last_seen_ms,
                count=letter.count,
                payload=letter.payload[:_SHOWN_BYTES].decode("utf-8", "replace"),
                payload_bytes=len(letter.payload),
            )
            for letter in kept
        )
        after = cursor_of(f"{kept[-1].last_seen_ms} {kept[-1].id}") if len(kept) == limit else None
        return json_answer(request, Page[DeadLetterView], Page(found, after))

    @router.get("/simulation", response_model=SimulationView, summary="Time and pace of the simulated plant")
    def simulation() -> Response:
        """404 on a real plant."""
        return _simulation_answer(_simulated(services))

    @router.post("/simulation", response_model=SimulationView, summary="Stop, go on, or change the pace")
    def control(wanted: Control) -> Response:
        simulated = _simulated(services)
        if wanted.paused is None and wanted.rate is None:
            raise RequestError("paused", "expected paused or rate")
        simulated.control(paused=wanted.paused, rate=wanted.rate)
        return _simulation_answer(simulated)

    return router


def _simulated(services: Services) -> Simulation:
    if services.simulation is None:
        raise NotFoundError("this plant is not simulated")
    return services.simulation


def _simulation_answer(simulated: Simulation) -> Response:
    state = simulated.state()
    found = SimulationView(state["plant_ms"], state["rate"], state["paused"], state["done"])
    return Response(to_json(SimulationView, found), media_type="application/json")
