"""What if: a branch of the live twin under another duty, returned with the difference to today. Nothing is stored."""

from math import inf
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from pdm.durations import HOUR_MS, duration_ms
from pdm.respond import RequestError
from pdm.scenario import Duty, Stretch
from pdm.services import Services
from pdm.web import snapshot
from pdm.web.api.common import PROBLEMS, Body, Line, json_answer
from pdm.web.shapes import WhatIfView
from pdm.web.what_if import what_if

_MOST_COLUMNS = 50
_MOST_STRETCHES = 100

Factor = Annotated[float, Field(gt=0, le=100)]


class DutyBody(Body):
    """A duty, by step column that a law of stress is of."""

    factor: dict[Line, Factor] = Field(
        default_factory=dict,
        max_length=_MOST_COLUMNS,
        description="As lately, times this.",
        examples=[{"speed": 0.85}],
    )
    duty: dict[Line, float] = Field(
        default_factory=dict, max_length=_MOST_COLUMNS, description="At this value, in the unit of its sensor."
    )

    def meant(self) -> Duty:
        return Duty(self.factor, self.duty)


class StretchBody(DutyBody):
    """A duty that holds for a while."""

    lasting: Line | None = Field(
        default=None, description="How long, in plant time; the last stretch has none and goes on.", examples=["3 d"]
    )


class Simulation(DutyBody):
    """The duty from now on, or in `profile` several, one after another."""

    serial: Line = Field(description="The machine.", examples=["F-1"])
    profile: list[StretchBody] = Field(
        default_factory=list, max_length=_MOST_STRETCHES, description="Instead of `factor` and `duty`."
    )

    def stretches(self) -> list[Stretch]:
        """Raises `RequestError` where it is not clear what holds when."""
        if not self.profile:
            return [Stretch(self.meant())]
        if self.factor or self.duty:
            raise RequestError("profile", "expected it instead of factor and duty, not beside them")
        return [
            Stretch(one.meant(), _hours(one.lasting, number == len(self.profile)))
            for number, one in enumerate(self.profile, 1)
        ]


def _hours(lasting: str | None, last: bool) -> float:
    """How long a stretch of a profile holds [h]."""
    if (lasting is None) != last:
        raise RequestError("profile", "expected how long it is lasting of each stretch but the last, which goes on")
    try:
        return inf if lasting is None else duration_ms(lasting) / HOUR_MS
    except ValueError as error:
        raise RequestError("profile", str(error)) from None


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/simulations", tags=["simulations"], responses=PROBLEMS)

    @router.post("", response_model=WhatIfView, summary="What another duty would mean, from the live twin")
    def simulate(request: Request, asked: Simulation) -> Response:
        found = what_if(services, snapshot.latest(services), asked.serial, asked.stretches())
        return json_answer(request, WhatIfView, found)

    return router
