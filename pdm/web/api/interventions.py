"""Intervention windows: the feed that planners and the CMMS pull, and what they give back."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field, model_validator
from sqlalchemy import Connection, Row, select
from starlette.responses import Response

from pdm import respond
from pdm.respond import Act, Outcome
from pdm.services import Services
from pdm.state import schema, told
from pdm.state.told import InterventionStatus
from pdm.web import records, snapshot
from pdm.web.api.common import (
    PROBLEMS,
    WRITE_PROBLEMS,
    Body,
    Cursor,
    Limit,
    Line,
    Moment,
    Note,
    Reasoned,
    RecordId,
    Said,
    Write,
    Writing,
    answer,
    csv_bytes,
    cursor_of,
    is_known,
    not_modified,
    revision_of,
    revision_tag,
    tag,
)
from pdm.web.shapes import InterventionFeed, InterventionView, rfc3339, to_json

System = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name of the other system.", examples=["maximo"])
]

COLUMNS = (
    "id",
    "revision",
    "updated_at",
    "status",
    "serial",
    "functional_location",
    "place",
    "target",
    "failure_mode",
    "mechanism",
    "cause",
    "action",
    "earliest_start",
    "preferred_start",
    "latest_start",
    "latest_finish",
    "duration_hours",
    "crew",
    "skills",
    "parts",
    "machine_stopped",
    "priority",
    "cost.earliest",
    "cost.preferred",
    "cost.latest",
    "currency",
    "attention",
)
"""Columns of the CSV form, the same names as in JSON, with a dot before what is inside; dates RFC 3339, lists parted by
`; `."""

_TIMES = ("updated_at", "earliest_start", "preferred_start", "latest_start", "latest_finish")


class Acceptance(Said):
    """When the planner means to start; the preferred start where nothing is said."""

    start: Moment | None = Field(default=None, examples=["2026-01-29T06:00:00Z"])


class Finding(Body):
    """What was found and done."""

    started_at: Moment = Field(examples=["2026-01-24T08:00:00Z"])
    finished_at: Moment = Field(examples=["2026-01-24T13:00:00Z"])
    found: Note = Field(description="The condition found.", examples=["edges frayed"])
    mode: Line | None = Field(default=None, examples=["belt"])
    parts: list[Line] = Field(default_factory=list, max_length=50, examples=[["B-17"]])
    value: float | None = Field(default=None, description="A measured value.", examples=[2.0])


class Progress(Said):
    """How far the work has come. `done` needs its outcome, `rejected` its reason."""

    status: Literal["proposed", "accepted", "scheduled", "in_progress", "done", "rejected"] = Field(
        examples=["scheduled"]
    )
    start: Moment | None = Field(default=None, examples=["2026-01-29T06:00:00Z"])
    outcome: Finding | None = None

    @model_validator(mode="after")
    def _outcome_when_done(self) -> "Progress":
        if (self.status == "done") != (self.outcome is not None):
            raise ValueError("work that is done, and no other, tells its outcome")
        return self


class WorkOrder(Said):
    """The number that another system gave to the work."""

    number: Line = Field(max_length=100, examples=["WO-4711"])


def make_router(services: Services) -> APIRouter:
    router = APIRouter(prefix="/interventions", tags=["interventions"])

    @router.get(
        "",
        response_model=InterventionFeed,
        responses={
            **PROBLEMS,
            200: {
                "content": {"text/csv": {}},
                "description": "Windows, and the cursor to go on from at the next pull.",
            },
        },
        summary="Windows in the order in which they changed: the feed to pull",
    )
    def feed(
        request: Request,
        cursor: Cursor = None,
        updated_since: Annotated[
            Moment | None, Query(description="Changed at this plant time or later.", examples=["2026-01-20T00:00:00Z"])
        ] = None,
        status: Annotated[list[InterventionStatus] | None, Query(max_length=7)] = None,
        serial: Annotated[str | None, Query(max_length=300, examples=["F-1"])] = None,
        limit: Limit = 100,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        """Pull with `next` of the answer before, and nothing is missed: a withdrawn window stays as a tombstone."""
        etag = tag(snapshot.latest(services).version.revision, request.url.query)
        if is_known(request, etag):
            return not_modified(etag)
        rows = _rows(services, revision_of(cursor), updated_since, status, serial, limit)
        after = cursor_of(rows[-1].revision) if rows else cursor
        if form == "csv":
            response = answer(request, etag, _csv(rows), "text/csv; charset=utf-8; header=present")
            response.headers["Link"] = f'<{request.url.include_query_params(cursor=after or "")}>; rel="next"'
            return response
        found = InterventionFeed(tuple(map(records.intervention_view, rows)), after, len(rows) == limit)
        return answer(request, etag, to_json(InterventionFeed, found))

    @router.get("/{intervention_id}", response_model=InterventionView, responses=PROBLEMS, summary="One window")
    def intervention(request: Request, intervention_id: RecordId) -> Response:
        with schema.read(services.engine) as connection:
            found = _view(connection, intervention_id)
        return answer(request, revision_tag(found.revision), to_json(InterventionView, found))

    def act_on(
        writing: Writing, intervention_id: str, said: Said, change: Callable[[Connection, Act], None]
    ) -> Response:
        def changed(connection: Connection) -> tuple[type, InterventionView]:
            change(connection, writing.act(services, said))
            return InterventionView, _view(connection, intervention_id)

        return writing.once(services, said, changed)

    def action(path: str, summary: str) -> dict[str, Any]:
        return {
            "path": f"/{{intervention_id}}/{path}",
            "response_model": InterventionView,
            "responses": WRITE_PROBLEMS,
            "summary": summary,
        }

    @router.post(**action("accept", "Take a window up; its dates are the planner's from now on"))
    def accept(intervention_id: RecordId, said: Acceptance, writing: Write) -> Response:
        return act_on(
            writing, intervention_id, said, lambda c, act: respond.accept(c, intervention_id, act, said.start)
        )

    @router.post(**action("reject", "Turn a window down, and say why"))
    def reject(intervention_id: RecordId, said: Reasoned, writing: Write) -> Response:
        return act_on(writing, intervention_id, said, lambda c, act: respond.reject(c, intervention_id, act))

    @router.post(**action("status", "Say how far the work has come, and at its end what was found"))
    def status(intervention_id: RecordId, said: Progress, writing: Write) -> Response:
        wanted, outcome = InterventionStatus(said.status), _outcome(said.outcome)
        return act_on(
            writing,
            intervention_id,
            said,
            lambda c, act: respond.set_status(c, intervention_id, wanted, act, said.start, outcome),
        )

    @router.put(**action("external/{system}", "Keep the work-order number of another system"))
    def put_external(intervention_id: RecordId, system: System, said: WorkOrder, writing: Write) -> Response:
        """A second open work order for the same machine and target is refused, with a pointer to the first."""
        return act_on(
            writing,
            intervention_id,
            said,
            lambda c, act: respond.put_external(c, intervention_id, system, said.number, act),
        )

    @router.delete(**action("external/{system}", "Take a work-order number back"))
    def remove_external(intervention_id: RecordId, system: System, writing: Write) -> Response:
        return act_on(
            writing,
            intervention_id,
            Said(),
            lambda c, act: respond.remove_external(c, intervention_id, system, act),
        )

    return router


def _rows(
    services: Services,
    after: int,
    updated_since: int | None,
    status: Sequence[InterventionStatus] | None,
    serial: str | None,
    limit: int,
) -> Sequence[Row[Any]]:
    table = schema.interventions
    query = select(table)
    if updated_since is not None:
        query = query.where(table.c.updated_ms >= updated_since)
    if status:
        query = query.where(table.c.status.in_(status))
    if serial is not None:
        query = query.where(table.c.serial == serial)
    with schema.read(services.engine) as connection:
        return connection.execute(told.page(query, table, after, limit)).all()


def _csv(rows: Sequence[Row[Any]]) -> bytes:
    windows = [records.intervention_view(row) for row in rows]
    return csv_bytes(COLUMNS, [[_cell(name, attrgetter(name)(window)) for name in COLUMNS] for window in windows])


def _cell(name: str, value: Any) -> Any:
    if name in _TIMES:
        return rfc3339(value)
    return "; ".join(value) if isinstance(value, list | tuple) else value


def _outcome(finding: Finding | None) -> Outcome | None:
    if finding is None:
        return None
    return Outcome(
        finding.started_at, finding.finished_at, finding.found, finding.mode, tuple(finding.parts), finding.value
    )


def _view(connection: Connection, intervention_id: str) -> InterventionView:
    return records.intervention_view(told.get(connection, schema.interventions, intervention_id))
