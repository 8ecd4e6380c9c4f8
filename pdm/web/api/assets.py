"""Machines: the list, one of them, its twin now and then, its forecast, its mirror."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pdm.services import Services
from pdm.state import schema
from pdm.web import mirror, past, snapshot, views
from pdm.web.api.common import (
    PROBLEMS,
    Cursor,
    Limit,
    Moment,
    Serial,
    answer,
    current,
    cursor_of,
    hot,
    json_answer,
    position_of,
    tag,
)
from pdm.web.api.prognoses import issued_page
from pdm.web.changes import what_changed
from pdm.web.fleet import FleetFilter, fleet_of
from pdm.web.forecasts import Until
from pdm.web.shapes import (
    AssetView,
    ChangeView,
    FleetView,
    IssuedView,
    MirrorView,
    Page,
    PrognosisView,
    SimilarLivesView,
    TwinView,
    to_json,
)
from pdm.web.similar import similar_lives

Name = Annotated[str | None, Query(max_length=300)]


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/assets", tags=["assets"], responses=PROBLEMS)

    @router.get("", response_model=FleetView, summary="Machines, by serial or by who needs somebody first")
    def assets(
        request: Request,
        search: Annotated[str | None, Query(max_length=300, description="Part of serial, slot or source.")] = None,
        site: Name = None,
        line: Name = None,
        class_name: Annotated[str | None, Query(alias="class", max_length=300, examples=["fan"])] = None,
        attention: Literal["any", "now", "soon", "blind"] | None = None,
        in_service: Annotated[bool | None, Query(description="Only machines whose life goes on, or has ended.")] = None,
        order: Annotated[
            Literal["serial", "loss"], Query(description="`loss`: largest expected loss first.")
        ] = "serial",
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        after, by_loss = position_of(cursor), order == "loss"
        wanted = FleetFilter(search, site, line, class_name, attention, in_service, by_loss, after, limit)
        now = snapshot.latest(services)
        page = fleet_of(now, wanted)  # ranks the fleet after each tick: too long for the event loop on a large plant
        return answer(request, tag(now.version, wanted), to_json(FleetView, replace(page, next=cursor_of(page.next))))

    @router.get("/{serial:segment}", response_model=AssetView, summary="All that is shown of one machine")
    async def asset(request: Request, serial: Serial) -> Response:
        now = await current(services)
        return hot(request, now, ("asset", serial), lambda: (AssetView, views.asset_of(now, services, serial)))

    @router.get("/{serial:segment}/twin", response_model=TwinView, summary="The twin of a machine, now or then")
    async def twin(
        request: Request,
        serial: Serial,
        as_of: Annotated[
            Moment | None,
            Query(description="Machine time: after the steps that ended by then.", examples=["2026-01-20T00:00:00Z"]),
        ] = None,
        known_at: Annotated[
            Moment | None, Query(description="From what had been recorded by then.", examples=["2026-01-25T00:00:00Z"])
        ] = None,
    ) -> Response:
        then = known_at if as_of is None else as_of
        if then is None:
            now = await current(services)
            return hot(request, now, ("twin", serial), lambda: (TwinView, views.twin_in(now, serial)))
        return json_answer(request, TwinView, await run_in_threadpool(past.past_twin, services, serial, then, known_at))

    @router.get(
        "/{serial:segment}/twin/history",
        response_model=Page[IssuedView],
        summary="What was forecast over the life of a machine, as it was told, the oldest first",
    )
    def history(
        request: Request,
        serial: Serial,
        until: Annotated[
            Moment | None, Query(description="Only what was issued by then.", examples=["2026-01-25T00:00:00Z"])
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        known = views.asset(snapshot.latest(services), serial)
        query = select(schema.prognoses).where(schema.prognoses.c.serial == known.serial)
        return issued_page(request, services, query, until, cursor, limit)

    @router.get("/{serial:segment}/prognosis", response_model=PrognosisView, summary="When a machine is likely to fail")
    async def prognosis(
        request: Request,
        serial: Serial,
        until: Annotated[
            list[Moment] | None,
            Query(
                max_length=50,
                description="Also the risk of failing before these times.",
                examples=[["2026-01-29T06:00:00Z"]],
            ),
        ] = None,
    ) -> Response:
        now = await current(services)
        if not until:
            return hot(
                request, now, ("prognosis", serial), lambda: (PrognosisView, views.twin_in(now, serial).prognosis)
            )
        return json_answer(
            request, PrognosisView, views.prognosis_until(now, serial, [Until("asked", at) for at in until])
        )

    @router.get(
        "/{serial:segment}/changes", response_model=ChangeView, summary="What moved a forecast since it was last issued"
    )
    def changes(request: Request, serial: Serial) -> Response:
        """The twin of then is folded again, and its reasons are held against those of now."""
        return json_answer(request, ChangeView, what_changed(services, snapshot.latest(services), serial))

    @router.get(
        "/{serial:segment}/similar", response_model=SimilarLivesView, summary="Finished lives that looked like it"
    )
    def similar(request: Request, serial: Serial) -> Response:
        """The first question about a class folds its finished lives again, which takes seconds on a large plant."""
        found = similar_lives(services, snapshot.latest(services), serial)
        return json_answer(request, SimilarLivesView, SimilarLivesView(serial, found))

    @router.get("/{serial:segment}/latest", response_model=MirrorView, summary="The latest readings of a machine")
    def latest(request: Request, serial: Serial) -> Response:
        return json_answer(request, MirrorView, mirror.mirror_view(services, serial))

    return router
