"""Who may come in: API keys for programs, and a session made from one for the pages.

A key is random, so its plain SHA-256 is what is kept and compared. Without any key the service answers on its own
machine only, and only under the names of that machine: a web page elsewhere that resolves to 127.0.0.1 gets nothing.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Collection
from html import escape
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response

COOKIE = "pdm_session"

SESSION_SECONDS = 12 * 3600
LARGEST_SESSIONS = 1000

OPEN_PATHS = frozenset({"/livez", "/readyz", "/login"})
"""What answers without a key; beside it the static files, which tell nothing about a plant."""

OPEN_FOLDERS = ("/static/",)

_LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/-/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/-/page.css"></head>
<body><main><h1>Sign in</h1>{message}
<form method="post" action="/login">
<input type="hidden" name="onward" value="{onward}">
<p><label>API key
<input type="password" name="key" autocomplete="current-password" required maxlength="200"></label></p>
<p><button>Sign in</button></p>
</form></main></body></html>"""


def hash_key(key: str) -> str:
    """The SHA-256 by which a key is known."""
    return hashlib.sha256(key.encode()).hexdigest()


class Gate:
    """Knows the keys and the sessions made from them. Without keys everybody on this machine may pass."""

    def __init__(self, key_hashes: Collection[str]):
        self._hashes = tuple(key_hashes)
        self._sessions: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def asks(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._hashes)

    def knows(self, key: str) -> bool:
        """Whether this is one of the keys, in a time that does not tell how nearly."""
        hashed = hash_key(key)
        return sum(secrets.compare_digest(hashed, known) for known in self._hashes) > 0

    def admits(self, headers: Headers, cookies: dict[str, str]) -> bool:
        """Whether a request carries a key (`Token` is what clients of InfluxDB call it) or a living session."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() in ("bearer", "token") and self.knows(key.strip()):
            return True
        token = cookies.get(COOKIE)
        with self._lock:
            return token is not None and self._sessions.get(hash_key(token), 0.0) > time.monotonic()

    def open_session(self) -> str:
        """A token for the session cookie; the oldest session makes room where there are too many."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            if len(self._sessions) >= LARGEST_SESSIONS:
                del self._sessions[min(self._sessions, key=self._sessions.__getitem__)]
            self._sessions[hash_key(token)] = time.monotonic() + SESSION_SECONDS
        return token

    def end_session(self, token: str) -> None:
        with self._lock:
            self._sessions.pop(hash_key(token), None)


def is_open(path: str) -> bool:
    """Whether a path answers without a key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def login_router(gate: Gate) -> APIRouter:
    """The form by which a person signs in with a key, and the way out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    async def form(onward: str = "/") -> Response:
        return HTMLResponse(_page("", onward))

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=10))
        onward = sent.get("onward", "/")
        if not gate.knows(sent.get("key", "").strip()):
            return HTMLResponse(_page("<p role=alert>This key is not known.</p>", onward), 401)
        answer = RedirectResponse(_inside(onward), 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, gate.open_session(), SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        gate.end_session(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return router


def _page(message: str, onward: str) -> str:
    return _LOGIN.format(message=message, onward=escape(_inside(onward)))


def _inside(onward: str) -> str:
    """A path of this service, whatever was asked for."""
    parts = urlsplit(onward.replace("\\", "/"))
    return "/" if parts.scheme or parts.netloc or not onward.startswith("/") or onward.startswith("//") else onward
