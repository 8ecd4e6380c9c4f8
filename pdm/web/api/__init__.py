"""The API under /api/v1: one module for each family of resources, thin over `pdm.respond` and `pdm.web.views`."""

import threading

from fastapi import Depends, FastAPI

from pdm.services import Services
from pdm.web import stream
from pdm.web.api import (
    alerts,
    assets,
    events,
    health,
    influx,
    interventions,
    models,
    operation,
    prognoses,
    readings,
    recommendations,
    simulations,
    slots,
    track_record,
)
from pdm.web.api.common import no_unknown_parameters
from pdm.web.metrics import Metrics

PREFIX = "/api/v1"

_RESOURCES = (
    assets,
    readings,
    slots,
    prognoses,
    track_record,
    alerts,
    recommendations,
    interventions,
    events,
    models,
    simulations,
    operation,
)


def install(app: FastAPI, services: Services, metrics: Metrics, stopping: threading.Event) -> None:
    """Add all routes of the API and of operation; one level of routers, since each costs time at every request."""
    app.include_router(health.make_router(services, metrics))
    app.include_router(influx.make_router(services))
    routers = [*(resource.make_router(services) for resource in _RESOURCES), stream.make_router(services, stopping)]
    for router in routers:
        app.include_router(router, prefix=PREFIX, dependencies=[Depends(no_unknown_parameters)])
