"""Functional locations: who sits there."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path
from starlette.responses import RedirectResponse, Response

from pdm.errors import NotFoundError
from pdm.services import Services
from pdm.web.api.common import PROBLEMS, current


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/slots", tags=["assets"], responses=PROBLEMS)

    @router.get(
        "/{slot:segment}",
        status_code=307,
        response_class=Response,
        summary="The machine that sits in a functional location",
    )
    async def slot(slot: Annotated[str, Path(max_length=300, examples=["FAN-1"])]) -> Response:
        """Redirects to the asset; serials come and go, the location stays."""
        now = await current(services)
        serial = now.fleet.in_slot(slot, services.clock.plant_ms())
        if serial is None:
            raise NotFoundError(f"nothing sits in {slot!r} now")
        return RedirectResponse(f"/api/v1/assets/{quote(serial, safe='')}", 307)

    return router
