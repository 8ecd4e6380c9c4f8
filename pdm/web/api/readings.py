"""Readings: in as JSON, out in columns."""

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pdm.durations import DAY_MS, duration_ms
from pdm.plant import AssetClass
from pdm.respond import RequestError
from pdm.services import Services
from pdm.web import series, snapshot, views
from pdm.web.api.common import PROBLEMS, Moment, Serial, answer, csv_bytes, tag
from pdm.web.series import MOST_ROWS, Series, Thinned
from pdm.web.shapes import ReadingsAccepted, RefusedReading, SeriesColumn, SeriesView, to_json

LONGEST_MS = 400 * DAY_MS
ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv; charset=utf-8; header=present"

LARGEST_BODY = 8 << 20
"""Of a body of readings [bytes]."""

_MESSAGE = {
    "type": "object",
    "required": ["source", "values"],
    "properties": {
        "source": {"type": "string"},
        "ts": {"description": "RFC 3339, or a list of times; the time of arrival if absent."},
        "values": {"type": "object", "description": "Value by sensor, or a list of values for a list of times."},
        "units": {"type": "object", "description": "Unit by sensor where it is not the declared one."},
    },
}
MESSAGES = {
    "schema": {"anyOf": [_MESSAGE, {"type": "array", "items": _MESSAGE}]},
    "examples": {
        "one": {
            "summary": "One sample",
            "value": {"source": "fan1", "ts": "2026-01-24T23:50:00Z", "values": {"speed": 1498.0, "vibration": 4.2}},
        },
        "many": {
            "summary": "Many samples of several sources",
            "value": [
                {
                    "source": "fan1",
                    "ts": ["2026-01-24T23:51:00Z", "2026-01-24T23:52:00Z"],
                    "values": {"speed": [1499.0, 1500.0], "vibration": [4.2, 4.3]},
                },
                {"source": "fan2", "ts": "2026-01-24T23:51:00Z", "values": {"vibration": 3.9}},
            ],
        },
    },
}


def make_router(services: Services) -> APIRouter:
    router = APIRouter(tags=["readings"], responses=PROBLEMS)

    @router.post(
        "/readings",
        response_model=ReadingsAccepted,
        responses={207: {"model": ReadingsAccepted, "description": "Some messages could not be read."}},
        summary="Send readings",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": MESSAGES}}},
    )
    async def send(request: Request) -> Response:
        """One message, a list of them, or `{"readings": [...]}`. What is answered with 2xx is on disk."""
        if services.ingest is None:
            raise HTTPException(503, "this process takes no readings")
        accepted = await run_in_threadpool(services.ingest.accept, await request.body())
        problems = tuple(RefusedReading(p.index, p.reason, p.detail) for p in accepted.problems)
        body = to_json(ReadingsAccepted, ReadingsAccepted(accepted.stored, accepted.late, problems))
        return Response(body, 207 if problems else 200, media_type="application/json")

    @router.get(
        "/assets/{serial:segment}/readings",
        response_model=SeriesView,
        responses={200: {"content": {"text/csv": {}, ARROW: {}}, "description": "Readings in columns."}},
        summary="What a machine said, in columns",
    )
    def readings(
        request: Request,
        serial: Serial,
        start: Annotated[
            Moment | None,
            Query(description="From this time; a day before `end` if absent.", examples=["2026-01-24T00:00:00Z"]),
        ] = None,
        end: Annotated[
            Moment | None,
            Query(description="Until before this time; now if absent.", examples=["2026-01-25T00:00:00Z"]),
        ] = None,
        every: Annotated[
            str | None,
            Query(max_length=30, description="Mean over such stretches, in JSON with low and high.", examples=["1 h"]),
        ] = None,
        sensor: Annotated[list[str] | None, Query(max_length=200, description="Only these sensors.")] = None,
        form: Annotated[Literal["json", "csv", "arrow"], Query(alias="format")] = "json",
    ) -> Response:
        now = snapshot.latest(services)
        asset_class = now.current.plant.class_of(views.asset(now, serial))
        stretch = _stretch(start, services.clock.plant_ms() + 1 if end is None else end)
        every_ms = None if every is None else _every(every, *stretch)
        wanted = _known(asset_class, sensor)
        machine = services.readings, now.fleet, asset_class, serial
        if every_ms is None:
            found = series.picked(series.series_of(*machine, *stretch), wanted)
        else:
            found = series.thinned_of(*machine, *stretch, every_ms, wanted)
        if len(found.time_ms) > MOST_ROWS:
            raise RequestError("every", f"more than {MOST_ROWS:,} readings: ask for a shorter time, or thin by `every`")
        if form == "arrow":
            media_type, body = ARROW, series.as_arrow(found)
        elif form == "csv":
            media_type, body = CSV, csv_bytes(("time", *found.sensors), series.as_rows(found))
        else:
            view = _view(found, asset_class, serial, *stretch, every_ms)
            media_type, body = "application/json", to_json(SeriesView, view)
        return answer(request, tag(body), body, media_type)

    return router


def _stretch(start_ms: int | None, end_ms: int) -> tuple[int, int]:
    """From when to when, a day by default."""
    begin = end_ms - DAY_MS if start_ms is None else start_ms
    if not 0 < end_ms - begin <= LONGEST_MS:
        raise RequestError("end", f"expected an end after the start, by at most {LONGEST_MS // DAY_MS} days")
    return begin, end_ms


def _known(asset_class: AssetClass, asked: list[str] | None) -> tuple[str, ...]:
    """The sensors asked for, all of the class where none is named."""
    unknown = [name for name in asked or () if name not in asset_class.sensor_names]
    if unknown:
        raise RequestError("sensor", f"its class has no sensor {unknown[0]!r}")
    return tuple(dict.fromkeys(asked)) if asked else asset_class.sensor_names


def _every(text: str, start_ms: int, end_ms: int) -> int:
    try:
        every_ms = duration_ms(text)
    except ValueError as error:
        raise RequestError("every", str(error)) from None
    if every_ms < 1:
        raise RequestError("every", "expected a stretch longer than nothing")
    if (end_ms - start_ms) // every_ms > MOST_ROWS:
        raise RequestError("every", f"expected at most {MOST_ROWS:,} stretches in that time")
    return every_ms


def _view(
    found: Series, asset_class: AssetClass, serial: str, start_ms: int, end_ms: int, every_ms: int | None
) -> SeriesView:
    thinned = (found.low, found.high) if isinstance(found, Thinned) else ()
    columns = {
        name: SeriesColumn(
            asset_class.sensor(name).unit, *(tuple(part[:, column].tolist()) for part in (found.values, *thinned))
        )
        for column, name in enumerate(found.sensors)
    }
    return SeriesView(serial, start_ms, end_ms, every_ms, tuple(found.time_ms.tolist()), columns)
