"""Readings in line protocol, as every InfluxDB client and Telegraf send them. The answers are those of InfluxDB 2,
since its clients read them."""

import zlib
from typing import cast

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pdm import __version__
from pdm.errors import StoreError, UnreadableMessageError
from pdm.ingest import Accepted
from pdm.ingest.decode import EpochUnit
from pdm.services import Services
from pdm.web.problems import RETRY_AFTER_SECONDS

PATH = "/api/v2/write"

LARGEST_BODY = 8 << 20
"""Of a body of lines as it comes, and of what it unpacks to [bytes]."""

MALFORMED = ("broken_line", "not_a_number", "number_too_large")
"""What InfluxDB would not take for line protocol."""

_PRECISIONS = ("ns", "us", "ms", "s")
_CODES = {400: "invalid", 413: "request too large", 422: "unprocessable entity", 503: "unavailable"}
_HEADERS = {"X-Influxdb-Build": "pdm-twin", "X-Influxdb-Version": __version__}


def make_router(services: Services) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def write(request: Request) -> Response:
        """204: all of it is on disk. 400 and 422 name the lines that are not; the others are."""
        precision = request.query_params.get("precision", "ns")
        if precision not in _PRECISIONS:
            return refusal(400, "invalid precision; valid precision units are ns, us, ms, and s")
        packed = request.headers.get("content-encoding", "identity").lower() == "gzip"
        body = await request.body()
        return await run_in_threadpool(_write, services, body, packed, cast(EpochUnit, precision))

    @router.api_route("/ping", methods=["GET", "HEAD"])
    async def ping() -> Response:
        return Response(status_code=204, headers=_HEADERS)

    @router.get("/health")
    async def health() -> Response:
        found = {"name": "pdm-twin", "message": "ready for writes", "status": "pass", "version": __version__}
        return Response(orjson.dumps({**found, "checks": []}), headers=_HEADERS, media_type="application/json")

    return router


def refusal(status: int, message: str) -> Response:
    """An error as InfluxDB tells it."""
    body = orjson.dumps({"code": _CODES[status], "message": message})
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    return Response(body, status, {**_HEADERS, **retry}, "application/json")


def _write(services: Services, body: bytes, packed: bool, precision: EpochUnit) -> Response:
    if services.ingest is None:
        return refusal(503, "this process takes no readings")
    try:
        accepted = services.ingest.accept_lines(_unpacked(body) if packed else body, precision)
    except UnreadableMessageError as error:
        return refusal(413 if error.reason.startswith("too_") else 400, error.detail)
    except StoreError as error:
        return refusal(503, str(error))
    return _partly(accepted) if accepted.refused else Response(status_code=204, headers=_HEADERS)


def _unpacked(body: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(body, LARGEST_BODY)
    except zlib.error:
        raise UnreadableMessageError("broken_line", "the body is not gzip, although it says so") from None
    if unpacking.unconsumed_tail:
        raise UnreadableMessageError("too_large", f"the body unpacks to more than {LARGEST_BODY} bytes")
    if not unpacking.eof:
        raise UnreadableMessageError("broken_line", "the gzip body breaks off before its end")
    return unpacked


def _partly(accepted: Accepted) -> Response:
    """Which lines are not stored; the others are."""
    malformed = any(problem.reason in MALFORMED for problem in accepted.problems)
    named = "\n".join(f"line {problem.index}: {problem.reason}: {problem.detail}" for problem in accepted.problems)
    message = f"partial write: {accepted.stored} stored, dropped={accepted.refused}\n{named}"
    return refusal(400 if malformed else 422, message)
