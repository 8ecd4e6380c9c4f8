"""The API under /api/v1: one module for each family of resources, thin over `pdm.respond` and `pdm.web.views`."""

import threading

from fastapi import FastAPI

from pdm.services import Services
from pdm.web import stream
from pdm.web.api import (
    alerts,
    assets,
    events,
    health,
    interventions,
    operation,
    prognoses,
    readings,
    recommendations,
    slots,
)
from pdm.web.metrics import Metrics

PREFIX = "/api/v1"

_RESOURCES = (assets, readings, slots, prognoses, alerts, recommendations, interventions, events, operation)


def install(app: FastAPI, services: Services, metrics: Metrics, stopping: threading.Event) -> None:
    """Add all routes of the API and of operation; one level of routers, since each costs time at every request."""
    app.include_router(health.make_router(services, metrics))
    for resource in _RESOURCES:
        app.include_router(resource.make_router(services), prefix=PREFIX)
    app.include_router(stream.make_router(services, stopping), prefix=PREFIX)
