"""Who may come in, and what every answer carries."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route

from pdm.services import Services
from pdm.web import auth
from pdm.web.app import BODY_LIMITS
from tests.web import station

KEY = secrets.token_urlsafe(32)
BEARER = {"Authorization": f"Bearer {KEY}"}
OPEN = {"/livez", "/readyz", "/login"}


@pytest.fixture(scope="module")
def locked(built: Services) -> TestClient:
    """A client of an application that asks for a key."""
    return station.client_of(built, key_hashes=[auth.hash_key(KEY)])


def paths(client: TestClient) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with something for its parameters."""
    for route in client.app.routes:  # type: ignore[attr-defined]
        yield from _paths(route)


def _paths(route: Any) -> Iterator[tuple[str, str]]:
    if isinstance(route, APIRoute | Route):
        for method in route.methods or ():
            yield method, "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
    elif not isinstance(route, Mount):
        for inner in route.effective_candidates():
            yield from _paths(getattr(inner, "original_route", inner))


def test_the_walk_over_routes_finds_them(locked: TestClient) -> None:
    found = {path for _, path in paths(locked)}
    assert {"/livez", "/login", "/docs", "/metrics"} <= found
    assert len(found) > 30


def test_without_a_key_nothing_but_the_open_paths_answers(locked: TestClient) -> None:
    for method, path in paths(locked):
        if path in OPEN or path.startswith("/static"):
            continue
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Cookie": "pdm_session=x"}):
            answer = locked.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path)
            assert method == "HEAD" or answer.json()["title"] == "Unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_opens_every_path(locked: TestClient) -> None:
    for path in ("/api/v1/assets", "/metrics", "/docs", "/api/v1/openapi.json"):
        assert locked.get(path, headers=BEARER).status_code == 200


def test_a_person_signs_in_with_a_key_and_out_again(built: Services) -> None:
    client = station.client_of(built, key_hashes=[auth.hash_key(KEY)])
    asked = client.get("/docs", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?onward=/docs")
    form = client.get(asked.headers["location"])
    assert 'value="/docs"' in form.text
    entered = client.post("/login", data={"key": KEY, "onward": "/docs"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/docs")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert KEY.lower() not in cookie
    assert client.get("/api/v1/assets").status_code == 200
    client.post("/logout")
    client.cookies.set("pdm_session", entered.cookies["pdm_session"])
    assert client.get("/api/v1/assets").status_code == 401, "an ended session stays ended"


def test_a_wrong_key_at_the_form_gives_no_session(locked: TestClient) -> None:
    refused = locked.post("/login", data={"key": "wrong", "onward": "/"})
    assert refused.status_code == 401
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("onward", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_never_leads_to_another_site(locked: TestClient, onward: str) -> None:
    assert locked.post("/login", data={"key": KEY, "onward": onward}).headers["location"] == "/"
    assert 'value="/"' in locked.get("/login", params={"onward": onward}).text


def test_the_form_escapes_where_it_leads_to(locked: TestClient) -> None:
    assert "<script>" not in locked.get("/login", params={"onward": '/"><script>alert(1)</script>'}).text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_without_keys_a_foreign_host_name_gets_nothing(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/assets", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8421", "127.0.0.1:8421", "[::1]:8421", "LOCALHOST"])
def test_the_names_of_the_own_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_change_anything(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/events", json={}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}])
def test_own_pages_and_programs_can(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/v1/events", json={}, headers=headers).status_code == 422, "it came as far as validation"


def test_json_that_does_not_say_so_is_not_read(client: TestClient) -> None:
    """A form of another site can send text/plain without asking."""
    answer = client.post("/api/v1/events", content=b'{"serial": "F-1"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422


def test_every_answer_carries_the_headers_of_a_closed_house(client: TestClient) -> None:
    for path in ("/livez", "/nope", "/docs", "/api/v1/assets/nope"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("path", "limit"), [("/api/v1/events", BODY_LIMITS[""]), ("/api/v1/readings", BODY_LIMITS["/api/v1/readings"])]
)
def test_a_body_above_the_limit_is_refused_whether_declared_or_not(client: TestClient, path: str, limit: int) -> None:
    headers = {"Content-Type": "application/json"}
    declared = client.post(path, content=b" " * (limit + 1), headers=headers)
    streamed = client.post(path, content=(b" " * 65536 for _ in range(limit // 65536 + 1)), headers=headers)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.headers["content-type"] == "application/problem+json"
    assert client.post(path, content=b" " * limit, headers=headers).status_code == 422


def test_a_length_that_is_no_number_is_refused(client: TestClient) -> None:
    assert client.post("/api/v1/events", content=b"{}", headers={"Content-Length": "1e3"}).status_code == 413


def test_sessions_are_bounded_and_the_oldest_makes_room() -> None:
    gate = auth.Gate([auth.hash_key(KEY)])
    first = gate.open_session()
    for _ in range(auth.LARGEST_SESSIONS):
        gate.open_session()
    assert len(gate._sessions) == auth.LARGEST_SESSIONS
    assert auth.hash_key(first) not in gate._sessions


def test_no_key_is_in_metrics_or_errors(locked: TestClient) -> None:
    canary = "canary-c7f2"
    locked.get(f"/api/v1/assets/{canary}", headers={"Authorization": f"Bearer {canary}"})
    locked.get("/nope", headers={**BEARER, "Cookie": f"pdm_session={canary}"})
    shown = locked.get("/metrics", headers=BEARER).text + locked.get("/nope", headers=BEARER).text
    assert canary not in shown
    assert KEY not in shown
