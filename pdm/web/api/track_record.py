"""How past forecasts did."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pdm.services import Services
from pdm.web import snapshot
from pdm.web.api.common import PROBLEMS, json_answer
from pdm.web.shapes import TrackRecordView
from pdm.web.track_record import track_record


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/track-record", tags=["prognoses"], responses=PROBLEMS)

    @router.get("", response_model=TrackRecordView, summary="How past forecasts did")
    def record(
        request: Request,
        class_name: Annotated[
            str | None,
            Query(alias="class", max_length=300, description="The first class by default.", examples=["fan"]),
        ] = None,
        mode: Annotated[
            str | None, Query(max_length=300, description="Lives that this mode ended.", examples=["belt"])
        ] = None,
        model: Annotated[
            str | None, Query(max_length=300, description="Forecasts of this model version.", examples=["none"])
        ] = None,
    ) -> Response:
        """Counted in lives that ended in failure; those that ended alive are censored. Bands come by resampling."""
        found = track_record(services, snapshot.latest(services), class_name, mode, model)
        return json_answer(request, TrackRecordView, found)

    return router
