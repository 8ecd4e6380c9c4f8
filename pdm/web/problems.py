"""Every error as one problem document (RFC 9457), whatever raised it, without a word about what is inside."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pdm.errors import ConflictError, NotFoundError, PdmError, StoreError, UnreadableMessageError
from pdm.plant.entry_types import expected
from pdm.respond import DuplicateWorkError, MovedOnError, RequestError

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_SECONDS = 2

SAY_AGAIN_S = 60.0
"""How often the log says of a route that something it needs is out of service."""

log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(examples=["body.until"])
    what: str = Field(examples=["is missing"])


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(default="", examples=["there is no asset 'P-404'"])
    errors: list[Fault] = Field(default_factory=list, examples=[[]])
    existing: dict[str, Any] | None = Field(default=None, examples=[None])


class IdempotencyError(PdmError):
    """An Idempotency-Key came again with another request."""


def problem(
    status: int,
    detail: str = "",
    errors: Sequence[Fault] = (),
    existing: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer to a request that was not carried out; `existing` points to the record that stands in its way."""
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}
    shape = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=list(errors),
        existing=existing,
    )
    body = orjson.dumps(shape.model_dump(exclude_none=True, exclude_defaults=False))
    return Response(body, status, {**retry, **(headers or {})}, MEDIA_TYPE)


def refusal(path: str, status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that reached no operation; below /api/v2 with what clients of InfluxDB look for."""
    answer = problem(status, detail, headers=headers)
    if not path.startswith("/api/v2/"):
        return answer
    phrase = HTTPStatus(status).phrase
    body = {**orjson.loads(answer.body), "code": phrase.lower(), "message": detail or phrase}
    kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(orjson.dumps(body), status, kept, "application/json")


def install(app: FastAPI) -> None:
    """Answer all errors that are expected with problems; the guard answers for the others."""
    app.state.told_unavailable = {}
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(PdmError, _of_ours)
    app.add_exception_handler(OperationalError, _of_database)
    app.add_exception_handler(DataError, _of_data)


def status_of(error: PdmError) -> int:
    """The HTTP status that says what an error of ours means to the client."""
    match error:
        case NotFoundError():
            return 404
        case MovedOnError():
            return 412
        case ConflictError():
            return 409
        case RequestError() | IdempotencyError() | UnreadableMessageError():
            return 422
        case StoreError():
            return 503 if error.retry_helps else 500
    return 500


async def of_http(request: Request, error: Any) -> Response:
    """The answer to what the routing refused."""
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail if error.detail != phrase else ""
    return refusal(request.url.path, error.status_code, detail, dict(error.headers or {}))


async def _of_validation(_request: Request, error: Any) -> Response:
    faults = [Fault(where=".".join(map(str, fault["loc"])), what=_words(fault)) for fault in error.errors()[:20]]
    return problem(422, "the request is not what this operation expects", [_printable(fault) for fault in faults])


def _words(fault: Mapping[str, Any]) -> str:
    """What is wrong, and what was expected. What was sent is not sent back: it may be large, secret, or no text."""
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden" if "ctx" in fault:
            return f"is no parameter of this operation, which has {', '.join(fault['ctx']['known']) or 'none'}"
        case "extra_forbidden":
            return "is no field of this operation; /docs names those that there are"
        case "json_invalid":
            return "expected JSON; it breaks off or goes wrong at this character"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "expected an object"
    return expected(fault)


async def _of_ours(request: Request, error: Any) -> Response:
    status = status_of(error)
    if status == 503:
        _say_now_and_then(request, error)
    elif status >= 500:
        log.error("%s %s failed: %s", request.method, _route(request), error)
    if isinstance(error, DuplicateWorkError):
        return problem(status, str(error), existing=error.existing)
    if isinstance(error, RequestError):
        return problem(status, str(error), [Fault(where=error.field, what=str(error))])
    return problem(status, str(error) if status != 500 else "")


async def _of_database(request: Request, error: Any) -> Response:
    _say_now_and_then(request, f"the state database did not answer: {error.orig}")
    return problem(503, "the state database did not answer; try again")


async def _of_data(_request: Request, _error: Any) -> Response:
    return problem(422, "the request holds a character or a number that the state database cannot hold")


def _say_now_and_then(request: Request, why: object) -> None:
    """An outage meets every request, and a log that fills up with it would make a full disk worse."""
    where, now = f"{request.method} {_route(request)}", monotonic()
    told = request.app.state.told_unavailable
    if now - told.get(where, -SAY_AGAIN_S) >= SAY_AGAIN_S:
        told[where] = now
        log.error("%s failed: %s", where, why)


def _route(request: Request) -> str:
    """The template of the route: what a client put into the path stays out of the log."""
    return str(getattr(request.scope.get("route"), "path_format", "?"))


def _printable(fault: Fault) -> Fault:
    """A lone surrogate in a field name must not break the answer about it."""
    clean = (text.encode("utf-8", "replace").decode()[:300] for text in (fault.where, fault.what))
    return Fault(where=next(clean), what=next(clean))
