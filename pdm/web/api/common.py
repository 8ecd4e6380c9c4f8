"""What the resources of the API share: types of parameters, answers with an ETag, cursors, writing once."""

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema
from sqlalchemy import Column, Connection, Row, Select, and_, or_
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pdm.plant.entry_types import instant_ms
from pdm.respond import Act, MovedOnError, RequestError
from pdm.services import Services
from pdm.state import schema
from pdm.web import snapshot
from pdm.web.api import answers
from pdm.web.fleet import LARGEST_PAGE
from pdm.web.problems import Problem
from pdm.web.shapes import to_json
from pdm.words import harmless

MOST_KEPT = 10_000
"""Answers kept as bytes: some 50 MB. Who pulls all machines of a large plant reads each of them once anyway."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such record."},
    422: {"model": Problem, "description": "The request is not what this operation expects."},
}
WRITE_PROBLEMS: dict[int | str, dict[str, Any]] = {
    **PROBLEMS,
    409: {"model": Problem, "description": "The request contradicts the record."},
    412: {"model": Problem, "description": "The record has moved on since it was read."},
}


def _moment(value: Any) -> int:
    """Milliseconds UTC of an RFC 3339 time; a blank stands for the plus that a query string lost."""
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError("expected a time with its offset such as 2026-01-04T06:00:00Z")
    return instant_ms(value.strip().replace(" ", "+"))


Moment = Annotated[int, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as RFC 3339 outside, milliseconds UTC inside."""

_ONE_LINE = r"^[^\x00-\x1f\x7f\\]+$"

Line = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_ONE_LINE)]
"""A name: one line without control characters or backslashes."""

Who = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_ONE_LINE)]
"""A person or system that acts."""

Note = Annotated[str, StringConstraints(max_length=2000)]

Serial = Annotated[
    str, Path(max_length=300, description="The serial, percent-encoded (a slash as `%2F`).", examples=["F-1"])
]
RecordId = Annotated[str, Path(max_length=100, examples=["94f8540d-9d14-5f3d-aa81-b0fbbf300b13"])]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Largest number of records.")]
Cursor = Annotated[str | None, Query(max_length=600, description="`next` of the page before.")]


def _exemplify(schema: dict[str, Any]) -> None:
    """Give a body an example made of those of its fields."""
    fields = schema.get("properties", {})
    schema["examples"] = [{name: field["examples"][0] for name, field in fields.items() if "examples" in field}]


class Body(BaseModel):
    """What a client sends: a field that is not declared is refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra=_exemplify)


class Said(Body):
    """Who acts and why."""

    who: Who = Field(default="api", description="Who acts.", examples=["Ada"])
    reason: Note = Field(default="", description="Why.", examples=["belt ordered"])


class Reasoned(Said):
    """Who acts and why; without a reason it is not done."""

    reason: Annotated[Note, StringConstraints(min_length=1)] = Field(examples=["the gauge was replaced"])


def tag(*parts: object) -> str:
    """A weak ETag of what an answer was made from."""
    return f'W/"{hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]}"'


def revision_tag(revision: int) -> str:
    """The ETag of one record: what `If-Match` expects."""
    return f'"{revision}"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the client has this already (`If-None-Match`)."""
    known = request.headers.get("if-none-match", "")
    return known == "*" or etag.removeprefix("W/") in (part.strip().removeprefix("W/") for part in known.split(","))


def answer(request: Request, etag: str, body: bytes, media_type: str = "application/json") -> Response:
    """The body with its ETag, or 304 where the client has it."""
    if is_known(request, etag):
        return not_modified(etag)
    return Response(body, headers={"ETag": etag, "Cache-Control": "no-cache"}, media_type=media_type)


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-cache"})


def json_answer(request: Request, shape: Any, value: Any) -> Response:
    """The value in its shape, with an ETag of what it says."""
    body = to_json(shape, value)
    return answer(request, tag(body), body)


async def current(services: Services) -> snapshot.Snapshot:
    """The present snapshot; only a look at the database leaves the event loop."""
    at_hand = snapshot.at_hand(services)
    return at_hand if at_hand is not None else await run_in_threadpool(snapshot.latest, services)


def hot(
    request: Request, now: snapshot.Snapshot, key: tuple[Any, ...], make: Callable[[], tuple[type, Any]]
) -> Response:
    """An answer kept as bytes for as long as its snapshot lives."""
    kept = now.made.get(key)
    if kept is None:
        body = to_json(*make())
        kept = tag(body), body
        if len(now.made) < MOST_KEPT:
            now.made[key] = kept
    return answer(request, *kept)


def cursor_of(position: int | str | None) -> str | None:
    """An opaque cursor for a position in a list."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


async def no_unknown_parameters(request: Request) -> None:
    """Refuse a parameter that the operation does not declare: one that is misspelt would silently not count.

    Raises:
        RequestValidationError: with each of them, and those that there are.
    """
    if request.scope["query_string"]:
        known = [field.alias for field in request.scope["route"].dependant.query_params]
        unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
        if unknown:
            raise RequestValidationError(
                [{"type": "extra_forbidden", "loc": ("query", name), "ctx": {"known": known}} for name in unknown]
            )


def position_of(cursor: str | None) -> str | None:
    """The position that a cursor stands for."""
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise RequestError("cursor", "this is no cursor of ours") from None


def place_of(cursor: str | None) -> tuple[int, str] | None:
    """Number and id of the record that the page before ended with."""
    if cursor is None:
        return None
    number, _, last_id = (position_of(cursor) or "").partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise RequestError("cursor", "this is no cursor of this list")
    return int(number), last_id


def page_after(
    connection: Connection,
    query: Select[Any],
    key: tuple[Column[int], Column[str]],
    cursor: str | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> tuple[Sequence[Row[Any]], str | None]:
    """The next rows by (number, id), or from the largest number down, and the cursor to go on from, None at the end."""
    number, record_id = key
    if (place := place_of(cursor)) is not None:
        further = number < place[0] if newest_first else number > place[0]
        query = query.where(or_(further, and_(number == place[0], record_id > place[1])))
    rows = connection.execute(query.order_by(number.desc() if newest_first else number, record_id).limit(limit)).all()
    last = rows[-1] if len(rows) == limit else None
    return rows, None if last is None else cursor_of(f"{getattr(last, number.name)} {getattr(last, record_id.name)}")


def revision_of(cursor: str | None) -> int:
    """The revision that a cursor of a feed stands for, 0 at its beginning."""
    position = position_of(cursor) or "0"
    if not (position.isascii() and position.isdigit() and len(position) < 19):
        raise RequestError("cursor", "this is no cursor of this list")
    return int(position)


@dataclass(frozen=True)
class Writing:
    """One request that changes something: on which revision, and under which key it counts once."""

    request: Request
    revision: int | None
    key: str | None

    def act(self, services: Services, said: Said) -> Act:
        """Who acts, now, and on what they saw."""
        return Act(said.who, services.clock.plant_ms(), said.reason, self.revision)

    def once(
        self,
        services: Services,
        said: BaseModel | None,
        change: Callable[[Connection], tuple[type, Any]],
        status: int = 200,
    ) -> Response:
        """Change something in one transaction and answer with the shape and value that `change` gives.

        With an Idempotency-Key the same request again gets the same answer, and changes nothing.
        """
        asked = f"{self.request.method} {self.request.url.path} {'' if said is None else said.model_dump_json()}"
        with schema.write(services.engine) as connection:
            given = answers.find(connection, self.key, asked)
            if given is None:
                shape, value = change(connection)
                given = answers.Answer(status, to_json(shape, value), getattr(value, "revision", None))
                answers.keep(connection, self.key, asked, given, services.clock.wall_ms())
        snapshot.expire(services)
        headers = {} if given.revision is None else {"ETag": revision_tag(given.revision)}
        return Response(given.body, given.status, headers, "application/json")


def _writing(
    request: Request,
    if_match: Annotated[str | None, Header(max_length=100, description="ETag of the record as it was read.")] = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="The same key and body count once.")
    ] = None,
) -> Writing:
    return Writing(request, _matched(if_match), idempotency_key)


Write = Annotated[Writing, Depends(_writing)]


def _matched(if_match: str | None) -> int | None:
    """The revision that a write is meant for.

    Raises:
        MovedOnError: the header holds no ETag of a record, and so matches none.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    revision = if_match.strip().removeprefix("W/").strip('"')
    if not (revision.isascii() and revision.isdigit() and len(revision) < 19):
        raise MovedOnError('If-Match: expected the ETag of the record as it was read, such as "12"')
    return int(revision)


def csv_bytes(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """CSV that a spreadsheet opens as data: text that would be a formula there is quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    return harmless(value) if isinstance(value, str) else value
