"""Operation: runs of the scheduled jobs, messages that could not be read, and the simulated plant if there is one."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from pdm.errors import NotFoundError
from pdm.ports import Simulation
from pdm.respond import RequestError
from pdm.services import Services
from pdm.state import schema
from pdm.state.ledger import last_runs
from pdm.web.api.common import PROBLEMS, Body, Limit, json_answer
from pdm.web.shapes import DeadLetterView, RunView, SimulationView, to_json

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

    @router.get("/runs", response_model=list[RunView], summary="The latest runs of the scheduled jobs")
    def runs(request: Request, limit: Limit = 50) -> Response:
        with schema.read(services.engine) as connection:
            rows = last_runs(connection, limit)
        found = [
            RunView(row.job, row.scheduled_ms, row.started_ms, row.finished_ms, row.outcome, row.detail) for row in rows
        ]
        return json_answer(request, list[RunView], found)

    @router.get(
        "/dead-letters", response_model=list[DeadLetterView], summary="Messages that could not be read, and why"
    )
    def dead_letters(
        request: Request,
        limit: Limit = 100,
        reason: Annotated[str | None, Query(max_length=100, description="Only those with this reason.")] = None,
    ) -> Response:
        kept = services.readings.dead_letters(limit)
        found = [
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
            if reason is None or letter.reason == reason
        ]
        return json_answer(request, list[DeadLetterView], found)

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
