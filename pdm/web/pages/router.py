"""The pages as routes: server-rendered HTML under a strict policy, and the files that they load."""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pdm import words
from pdm.errors import NotFoundError, PdmError
from pdm.prognosis import LEVELS
from pdm.services import Services
from pdm.web import problems, snapshot, views
from pdm.web.api.common import csv_bytes
from pdm.web.pages.alerts import alerts_page
from pdm.web.pages.asset import asset_page
from pdm.web.pages.changes import changes_part, similar_part
from pdm.web.pages.fleet import fleet_page
from pdm.web.pages.history import history_page, steps_of
from pdm.web.pages.mirror import mirror_of
from pdm.web.pages.models import models_page
from pdm.web.pages.shell import shell_of
from pdm.web.pages.track_record import track_record_page
from pdm.web.pages.what_if import what_if_part
from pdm.web.problems import RETRY_AFTER_SECONDS
from pdm.web.shapes import rfc3339
from pdm.web.snapshot import Snapshot

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere."""

_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "HX-Request"}

_A_YEAR = "public, max-age=31536000, immutable"

_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "LICENSE": "text/plain"}

Contents = Callable[[Snapshot], dict[str, Any]]


class StaticFile(NamedTuple):
    """A file that pages load."""

    body: bytes
    media_type: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every file under `static`, by its path below it."""
    return dict(_files(resources.files("pdm.web") / "static", ""))


def _files(folder: Traversable, below: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{below}{entry.name}/")
        else:
            media_type = _MEDIA_TYPES[entry.name.rpartition(".")[2]]
            yield f"{below}{entry.name}", StaticFile(entry.read_bytes(), media_type)


@cache
def static_version() -> str:
    """Changes whenever any static file does, so that browsers may keep them for ever."""
    return hashlib.sha256(b"".join(body for _, (body, _) in sorted(static_files().items()))).hexdigest()[:12]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pdm.web"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = lambda name: f"/static/{static_version()}/{name}"
    return environment


def make_router(services: Services) -> APIRouter:
    """The routes of all pages."""
    router = APIRouter(include_in_schema=False)

    def page(request: Request, template: str, name: str, contents: Contents) -> Response:
        return _page(services, request, template, name, contents)

    @router.get("/")
    def fleet(request: Request) -> Response:
        asked = dict(request.query_params)
        return page(request, "fleet.html", "fleet", lambda now: {"fleet": fleet_page(services, now, asked)})

    @router.get("/alerts")
    def alerts(request: Request) -> Response:
        asked = dict(request.query_params)
        return page(request, "alerts.html", "alerts", lambda now: {"alerts": alerts_page(services, now, asked)})

    @router.get("/models")
    def models(request: Request) -> Response:
        return page(request, "models.html", "models", lambda now: {"models": models_page(services, now)})

    @router.get("/track-record")
    def track_record(request: Request) -> Response:
        asked = dict(request.query_params)
        return page(
            request, "track_record.html", "track", lambda now: {"track": track_record_page(services, now, asked)}
        )

    @router.get("/assets/{serial:path}/history")
    def history(request: Request, serial: str) -> Response:
        return page(request, "history.html", "history", lambda now: {"history": history_page(services, now, serial)})

    @router.get("/assets/{serial:path}/mirror")
    def mirror(request: Request, serial: str) -> Response:
        def part(now: Snapshot) -> dict[str, Any]:
            return {"mirror": mirror_of(services, now, views.asset_of(now, services, serial))}

        return page(request, "mirror.html", "mirror", part)

    @router.get("/assets/{serial:path}/changes")
    def changes(request: Request, serial: str) -> Response:
        return page(request, "changes.html", "changes", lambda now: {"changes": changes_part(services, now, serial)})

    @router.get("/assets/{serial:path}/similar")
    def similar(request: Request, serial: str) -> Response:
        return page(request, "similar.html", "similar", lambda now: {"similar": similar_part(services, now, serial)})

    @router.get("/assets/{serial:path}/what-if")
    def what_if(request: Request, serial: str) -> Response:
        asked = dict(request.query_params)
        return page(
            request, "what_if.html", "what_if", lambda now: {"what_if": what_if_part(services, now, serial, asked)}
        )

    @router.get("/assets/{serial:path}/forecasts.csv")
    def forecasts(serial: str) -> Response:
        return _csv(*_issued_table(services, serial))

    @router.get("/assets/{serial:path}/steps.csv")
    def steps(serial: str) -> Response:
        return _csv(*_step_table(services, serial))

    @router.get("/assets/{serial:path}")
    def asset(request: Request, serial: str) -> Response:
        return page(request, "asset.html", "asset", lambda now: {"asset": asset_page(services, now, serial)})

    @router.get("/assets")
    def assets() -> Response:
        return RedirectResponse("/", 308)

    @router.get("/static/{version}/{name:path}")
    def static(version: str, name: str) -> Response:
        found = static_files().get(name)
        if found is None:
            raise NotFoundError(f"there is no file {name!r}")
        kept = _A_YEAR if version == static_version() else "no-cache"
        return Response(found.body, media_type=found.media_type, headers={"Cache-Control": kept})

    return router


def page_of_nothing(services: Services) -> Callable[[Request, Any], Awaitable[Response]]:
    """The answer to an address that nothing has: a page for people, a problem for programs."""

    def nowhere(now: Snapshot) -> dict[str, Any]:
        raise NotFoundError("there is no page at this address")

    async def answer(request: Request, error: Any) -> Response:
        if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("Accept", ""):
            return await problems.of_http(request, error)
        return await run_in_threadpool(_page, services, request, "error.html", "nothing", nowhere)

    return answer


def _page(services: Services, request: Request, template: str, name: str, contents: Contents) -> Response:
    """A page, or only its live part where htmx asks again; an error is a page too."""
    now: Snapshot | None = None
    try:
        now = snapshot.latest(services)
        status, shown = 200, contents(now)
    except NotFoundError as error:
        title = "Nothing here" if now is not None else "No plant yet"
        status, template, shown = 404, "error.html", {"error": {"title": title, "text": words.sentence(str(error))}}
    except (PdmError, SQLAlchemyError) as error:
        text = words.sentence(str(error)) if isinstance(error, PdmError) else "The state database did not answer."
        status, template = 503, "error.html"
        shown = {"error": {"title": "Cannot be shown now", "text": f"{text} This page tries again by itself."}}
    url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    html = (
        _environment()
        .get_template(template)
        .render(shell=shell_of(services, now, name, url), fragment="HX-Request" in request.headers, **shown)
    )
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    return HTMLResponse(html, status, {**_HEADERS, **retry})


def _csv(names: list[str], rows: list[list[Any]]) -> Response:
    return Response(csv_bytes(names, rows), media_type="text/csv", headers={"Cache-Control": "no-cache"})


def _issued_table(services: Services, serial: str) -> tuple[list[str], list[list[Any]]]:
    """Every issued forecast of a machine, all quantiles."""
    names = ["issued_at", "age", "unit", "basis", "refusal", "model", *(f"q{100 * level:g}" for level in LEVELS)]
    rows = [
        [rfc3339(r.issued_at), r.exposure, r.unit, r.basis, r.refusal or "", r.model, *r.quantiles]
        for r in views.history_view(services, serial)
    ]
    return names, rows


def _step_table(services: Services, serial: str) -> tuple[list[str], list[list[Any]]]:
    """The steps that the sensors are drawn from."""
    now = snapshot.latest(services)
    view = views.asset_of(now, services, serial)
    asset_class = now.current.plant.classes[view.class_name]
    steps = steps_of(services, asset_class, view)
    names = ["start", "end", "share", "readings", *asset_class.column_names]
    rows = [
        [rfc3339(int(start)), rfc3339(int(end)), share, int(count), *values]
        for start, end, share, count, values in zip(
            steps.start_ms, steps.end_ms, steps.share.tolist(), steps.count, steps.values.tolist(), strict=True
        )
    ]
    return names, [["" if value != value else value for value in row] for row in rows]
