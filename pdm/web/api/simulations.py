"""What if: a branch of the live twin under another duty, returned with the difference to today. Nothing is stored."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from pdm.scenario import Duty
from pdm.services import Services
from pdm.web import snapshot
from pdm.web.api.common import PROBLEMS, Body, Line, json_answer
from pdm.web.shapes import WhatIfView
from pdm.web.what_if import what_if

_MOST_COLUMNS = 50

Factor = Annotated[float, Field(gt=0, le=100)]


class Simulation(Body):
    """The duty from now on, by step column that a law of stress is of."""

    serial: Line = Field(description="The machine.", examples=["F-1"])
    factor: dict[Line, Factor] = Field(
        default_factory=dict,
        max_length=_MOST_COLUMNS,
        description="As lately, times this.",
        examples=[{"speed": 0.85}],
    )
    duty: dict[Line, float] = Field(
        default_factory=dict, max_length=_MOST_COLUMNS, description="At this value, in the unit of its sensor."
    )


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/simulations", tags=["simulations"], responses=PROBLEMS)

    @router.post("", response_model=WhatIfView, summary="What another duty would mean, from the live twin")
    def simulate(request: Request, asked: Simulation) -> Response:
        duty = Duty(asked.factor, asked.duty)
        return json_answer(request, WhatIfView, what_if(services, snapshot.latest(services), asked.serial, duty))

    return router
