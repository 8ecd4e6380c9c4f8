"""The API under /api/v1: one module for each family of resources, thin over `pdm.respond` and `pdm.web.views`."""

import threading

from fastapi import APIRouter

from pdm.services import Services
from pdm.web.api import health
from pdm.web.metrics import Metrics


def make_router(services: Services, metrics: Metrics, stopping: threading.Event) -> APIRouter:
    """All routes of the API and of operation."""
    router = APIRouter()
    router.include_router(health.make_router(services, metrics))
    return router
