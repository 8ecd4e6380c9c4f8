"""What every request passes before a route sees it, and what every answer carries: plain ASGI, no copy of any body."""

import time
from collections.abc import Collection, Mapping
from urllib.parse import quote, unquote, urlsplit

from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pdm.web.auth import Gate, is_open
from pdm.web.metrics import Metrics
from pdm.web.problems import problem, refusal

SLASH_IN_SEGMENT = "\ufdd0"
"""Stands for `%2F` while routes are matched: a character that no text may contain."""

HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none, a browser calls the origin of our own forms "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SegmentConvertor(Convertor[str]):
    """One segment of a path that may hold any text, slashes too (as `%2F`): serials are what they are."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(SLASH_IN_SEGMENT, "/")

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("segment", SegmentConvertor())


class Guard:
    """Refuses what must not reach a route: foreign hosts and origins, no key, too large a body.

    Args:
        local_names: host names that are answered where no key is asked for.
        body_limits: largest body by path [bytes]; "" for all others.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        metrics: Metrics,
        local_names: Collection[str],
        body_limits: Mapping[str, int],
    ):
        self._app = app
        self._gate = gate
        self._metrics = metrics
        self._local_names = frozenset(local_names)
        self._body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, started = time.perf_counter(), 500, False

        async def send_guarded(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is None:
                _keep_slashes(scope)
            await (refused or self._app)(scope, _counted(receive, self._limit(scope)), send_guarded)
        except Exception:
            if not started:
                await problem(500)(scope, receive, send_guarded)
            raise  # the server logs it
        finally:
            self._metrics.answered(scope, status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer that turns a request away, None to let it through."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._gate.asks and _name_of(host) not in self._local_names:
            return refusal(path, 421, "without API keys the service answers under the names of its own machine only")
        if scope["method"] not in _SAFE and _is_foreign(headers, host):
            return refusal(path, 403, "this request was made by a page of another site")
        if not is_open(path) and self._gate.asks and not self._gate.admits(headers, _cookies(headers)):
            if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"/login?onward={quote(path)}", 303)
            return refusal(path, 401, "an API key is needed", {"WWW-Authenticate": "Bearer"})
        if not _declared_length(headers) <= self._limit(scope):
            return refusal(path, 413, f"the body is larger than {self._limit(scope)} bytes")
        return None

    def _limit(self, scope: Scope) -> int:
        return self._body_limits.get(scope["path"], self._body_limits[""])


def _counted(receive: Receive, limit: int) -> Receive:
    """Stop a body that does not declare its length, or lies about it, at the limit. The middleware of Starlette would
    answer in plain text and without the headers of a closed house."""
    taken = 0

    async def receive_counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413, f"the body is larger than {limit} bytes")
        return message

    return receive_counted


def _keep_slashes(scope: Scope) -> None:
    """Below /api keep an encoded slash apart from those that part segments."""
    raw = scope.get("raw_path") or b""
    if b"%2f" in raw.lower() and scope["path"].startswith("/api/"):
        segments = raw.partition(b"?")[0].decode("latin-1").split("/")
        scope["path"] = "/".join(unquote(segment).replace("/", SLASH_IN_SEGMENT) for segment in segments)


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that the request comes from another site; programs send neither header."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != host


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.lower()


def _cookies(headers: Headers) -> dict[str, str]:
    return cookie_parser(headers.get("cookie", ""))


def _declared_length(headers: Headers) -> float:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else float("nan")
