"""How the service is doing, for whoever operates it."""

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from pdm.errors import StoreError
from pdm.services import Services
from pdm.state import schema
from pdm.web.metrics import MEDIA_TYPE, Metrics
from pdm.web.problems import Problem
from pdm.web.shapes import to_json


class Liveness(BaseModel):
    """The process answers."""

    status: str = Field(default="alive", examples=["alive"])


class Readiness(BaseModel):
    """Ready as soon as the state database answers; `degraded` names what else does not."""

    status: str = Field(examples=["ready"])
    degraded: list[str] = Field(examples=[[]])


def make_router(services: Services, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["operation"])
    alive = to_json(Liveness, Liveness())

    @router.get("/livez", response_model=Liveness, summary="Whether the process answers")
    async def livez() -> Response:
        return Response(alive, media_type="application/json")

    @router.get(
        "/readyz",
        response_model=Readiness,
        responses={503: {"model": Problem, "description": "The state database does not answer."}},
        summary="Whether the service can do its work",
    )
    def readyz() -> Response:
        try:
            with schema.read(services.engine) as connection:
                connection.execute(select(schema.meta.c.value).limit(1))
        except SQLAlchemyError as error:
            raise StoreError("the state database does not answer") from error
        degraded = _degraded(services)
        found = Readiness(status="degraded" if degraded else "ready", degraded=degraded)
        return Response(to_json(Readiness, found), media_type="application/json")

    @router.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    def metrics_text() -> Response:
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    return router


def _degraded(services: Services) -> list[str]:
    found = [f"model of class {name}: {problem}" for name, problem in sorted(services.model_problems.items())]
    found += [f"{name} fails: {why}" for name, why in sorted(services.failing.copy().items())]
    try:
        services.readings.counts()
        if services.forwarder is not None:
            found += services.forwarder.degraded()
        if services.adopted is not None:
            found += services.adopted.degraded()
        if services.projector is not None:
            found += services.projector.degraded()
        if services.workers is not None:
            found += services.workers.degraded()
    except StoreError:
        found.append("the reading store does not answer")
    return found
