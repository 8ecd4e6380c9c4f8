"""The API under /api/v1: one module for each family of resources, thin over `pdm.respond` and `pdm.web.views`."""

import threading

from fastapi import APIRouter

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


def make_router(services: Services, metrics: Metrics, stopping: threading.Event) -> APIRouter:
    """All routes of the API and of operation."""
    router = APIRouter()
    for resource in _RESOURCES:
        router.include_router(resource.make_router(services), prefix=PREFIX)
    router.include_router(stream.make_router(services, stopping), prefix=PREFIX)
    router.include_router(health.make_router(services, metrics))
    return router
