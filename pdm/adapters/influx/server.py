"""One bucket of an InfluxDB server: requests over the pool of influxdb-client, and what its answers mean."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import structlog
import urllib3
from influxdb_client import BucketRetentionRules, InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from pdm.adapters.influx.names import SOURCE, identifier, literal, measurement
from pdm.errors import BusyStoreError, FailedWriteError, RefusedWriteError, StoreError

LONGEST_WAIT_S = 300.0
"""Whatever a server asks for, it is asked again after this."""

LARGEST_ANSWER = 2_000_000_000
"""Bytes; more would not fit into memory beside the rest."""

_PIECE = 1 << 20
_END_MARK = b"name,tags,name\ndatabases,"
_FIRST_US, _LAST_US = -9_223_372_036_000_000, 9_223_372_036_000_000

_REASONS = (("type conflict", "type_conflict"), ("retention policy", "outside_retention"))

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InfluxLink:
    """How a bucket is reached.

    Attributes:
        retention_ms: how long the bucket keeps readings; None keeps them for good.
        timeout_ms: how long one request may take to answer.
    """

    url: str
    org: str
    bucket: str
    token: str = field(repr=False)
    retention_ms: int | None = None
    timeout_ms: int = 30_000


class InfluxServer:
    """One bucket. Threads may share it.

    Attributes:
        name: says which bucket of which server this is.
    """

    def __init__(self, link: InfluxLink):
        self._link = link
        self.name = f"{link.url} {link.org} {link.bucket}"
        # its gzip costs eight times the throughput; its batching keeps readings in memory and drops them
        self._client = InfluxDBClient(
            url=link.url,
            token=link.token,
            org=link.org,
            timeout=link.timeout_ms,
            enable_gzip=False,
            connection_pool_maxsize=8,
        )
        self._writing = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, lines: bytes) -> None:
        """Write lines; errors as `InfluxPoints.write`."""
        with self._errors(writing=True):
            self._writing.write(self._link.bucket, record=lines, write_precision=WritePrecision.MS)

    def query(self, statement: str) -> bytes:
        """The rows that an InfluxQL statement gives, as CSV with its header line; empty for none.

        Raises:
            StoreError: no answer, or not the whole of it.
        """
        # in CSV an error inside an answer is invisible: a second statement is answered only if the first was
        parameters = [("db", self._link.bucket), ("epoch", "ms"), ("q", f"{statement}; SHOW DATABASES")]
        with self._errors():
            answer = self._client.api_client.call_api(
                "/query",
                "GET",
                query_params=parameters,
                header_params={"Accept": "application/csv"},
                _preload_content=False,
                _return_http_data_only=True,
            )
            try:
                body = self._read(answer)
            finally:
                answer.close()
        if body.startswith(_END_MARK):
            return b""
        rows, mark, _ = body.rpartition(b"\n\n" + _END_MARK)
        if not mark:
            raise StoreError(f"InfluxDB at {self._link.url}: the answer has no end; is there a bucket {self._bucket}?")
        return rows

    def prepare_bucket(self) -> None:
        """Make the bucket if there is none, and set its retention."""
        with self._errors():
            try:
                self._prepare_bucket()
            except ApiException as error:
                if error.status not in (401, 403):
                    raise
                # a token may be good for reading and writing one bucket and for nothing else
                _log.warning("the token may not look after the bucket: it must be there", bucket=self._link.bucket)

    def delete(self, class_name: str, source: str, start_ms: int, end_ms: int) -> None:
        """Delete the readings of a source with start <= time < end, late ones too."""
        # up to the last microsecond before the end: whether it is within depends on the server
        begin, end = (_moment(at) for at in (start_ms * 1_000, end_ms * 1_000 - 1))
        for late in (False, True):
            named = f"_measurement={literal(measurement(class_name, late))} AND {SOURCE}={literal(source)}"
            with self._errors():
                self._client.delete_api().delete(begin, end, named, bucket=self._link.bucket, org=self._link.org)

    def close(self) -> None:
        """Let go of the connections."""
        self._writing.close()
        self._client.close()

    @property
    def _bucket(self) -> str:
        return identifier(self._link.bucket)

    def _prepare_bucket(self) -> None:
        buckets, link = self._client.buckets_api(), self._link
        every_s = 0 if link.retention_ms is None else link.retention_ms // 1000
        rules = [BucketRetentionRules(type="expire", every_seconds=every_s)]
        try:
            found = buckets.find_buckets(name=link.bucket, org=link.org).buckets
        except ApiException as error:
            if error.status != 404:
                raise
            found = []
        if not found:
            buckets.create_bucket(bucket_name=link.bucket, retention_rules=rules, org=link.org)
            _log.info("bucket made", bucket=link.bucket, retention_s=every_s or None)
        elif [rule.every_seconds for rule in found[0].retention_rules if rule.every_seconds] != [every_s] * bool(
            every_s
        ):
            found[0].retention_rules = [BucketRetentionRules(type="expire", every_seconds=every_s)]
            buckets.update_bucket(found[0])
            _log.info("retention of the bucket set", bucket=link.bucket, retention_s=every_s or None)

    def _read(self, answer: Any) -> bytes:
        """The whole body, within bounds of size and time."""
        pieces, size = [], 0
        deadline = time.monotonic() + 10 * self._link.timeout_ms / 1000
        for piece in answer.stream(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_ANSWER or time.monotonic() > deadline:
                raise StoreError(
                    f"InfluxDB at {self._link.url}: an answer is too large or too slow, {size:,} bytes so far"
                )
        return b"".join(pieces)

    @contextmanager
    def _errors(self, *, writing: bool = False) -> Iterator[None]:
        """Errors of the client as errors of a store. They never carry headers: a token stands in them."""
        where = f"InfluxDB at {self._link.url}"
        try:
            yield
        except ApiException as error:
            raise _meaning(error, where, writing) from None
        except urllib3.exceptions.ReadTimeoutError:
            kind = FailedWriteError if writing else StoreError
            raise kind(f"{where} does not answer within {self._link.timeout_ms / 1000:g} s") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreError(f"{where} does not answer: {type(error).__name__}") from None


def _moment(time_us: int) -> datetime:
    """Microseconds since 1970 as a time that the server knows."""
    known = min(max(time_us, _FIRST_US), _LAST_US)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=known)


def _meaning(error: ApiException, where: str, writing: bool) -> StoreError:
    """What a status says about the request, the server, or us."""
    status, said = error.status, _said(error)
    if status in (429, 503):
        return BusyStoreError(f"{where} asks to wait: {said}", _retry_after_s(error))
    if status in (401, 403):
        return StoreError(f"{where} refuses the token: {said}")
    if writing and status in (400, 413, 422):
        return RefusedWriteError(next((reason for text, reason in _REASONS if text in said), "refused_by_store"), said)
    if writing and status is not None and status >= 500:
        return FailedWriteError(f"{where} failed: {status} {said}")
    return StoreError(f"{where}: {status} {said}")


def _said(error: ApiException) -> str:
    """The sentence in an answer."""
    body = error.body or str(error.reason)
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        body = orjson.loads(body)["message"]
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    return " ".join(text.split())[:300]


def _retry_after_s(error: ApiException) -> float | None:
    """How long the server asks to wait, in seconds or as a date; None if it does not say."""
    asked = (error.headers or {}).get("Retry-After")
    if asked is None:
        return None
    try:
        seconds = (
            float(asked) if asked.isdigit() else (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
