"""Whatever is sent, the answer is a problem the client can act on, and never a failure of ours."""

import json
import re
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from pdm.services import Services
from pdm.state import schema
from pdm.web.api.description import operations_of
from tests.web import station
from tests.web.test_openapi import API, STREAM, Pace

OPERATIONS = [(method, path, operation) for method, path, operation in operations_of(API) if path != STREAM]

NASTY = [
    "",
    " ",
    "\x00",
    "a\nb",
    "\\",
    "..",
    "../../etc/passwd",
    "%2F",
    "%",
    "\ufdd0",
    "\u202e",
    "🛠️",
    "'; DROP TABLE alerts; --",
    "<script>",
    "=1+1",
    "null",
    "-1",
    "1e999",
    "NaN",
    "9" * 40,
    "2026-13-45T99:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-01-25T00:00:00+14:00",
    "1969-12-31T23:59:59.9999999Z",
    "x" * 5000,
]
LIBRARY_WORDS = re.compile(r"should (be|have|match)|Field required|Value error|Object missing|got `|decode error")
TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture
def client(services: Services, app: FastAPI) -> TestClient:
    services.simulation = Pace()
    return station.client_on(app)


def segment(text: str) -> str:
    """Text as one segment of a path; what no client can send is left out."""
    encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
    return encoded if encoded.strip(".") else "x"


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], dict[str, str], Any]:
    """A request to some operation with anything in the place of any of its parameters."""
    method, path, operation = draw(st.sampled_from(OPERATIONS))
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            likely = [parameter["schema"]["examples"][0], "@id"]
            path = path.replace(f"{{{name}}}", draw(st.one_of(st.sampled_from(likely), TEXT).map(segment)))
        elif draw(st.booleans()):
            value = draw(TEXT)
            if parameter["in"] == "query":
                query[name] = value
            else:
                headers[name] = quote(value)
    body = None
    if "requestBody" in operation:
        fields = _fields(operation)
        body = draw(st.one_of(VALUE, st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUE))))
    return method, path, query, headers, body


def _fields(operation: dict[str, Any]) -> list[str]:
    """The fields of a body, and one that it does not have."""
    shape = operation["requestBody"]["content"]["application/json"]["schema"]
    reference = shape.get("$ref", "").rpartition("/")[2]
    declared = API["components"]["schemas"].get(reference, {"properties": {"source": {}, "ts": {}, "values": {}}})
    return [*declared["properties"], "revision"]


@given(request=requests())
@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_makes_the_service_fail(services: Services, client: TestClient, request: tuple[Any, ...]) -> None:
    method, path, query, headers, body = request
    with schema.read(services.engine) as connection:
        record = connection.execute(select(schema.alerts.c.id)).scalars().first() or ""
    content = None if body is None else as_json(body)
    answer = client.request(
        method,
        path.replace("%40id", record),
        params={name: value.encode("utf-8", "replace") for name, value in query.items()},
        headers={**headers, "Content-Type": "application/json"},
        content=content,
    )
    assert answer.status_code < 500, (request, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert not LIBRARY_WORDS.search(answer.text), answer.text


def as_json(body: Any) -> bytes:
    """JSON, also of what is none (NaN, infinities, lone surrogates)."""
    return json.dumps(body).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe",
        b'"\\ud800"',
        b'{"serial": "\\ud800"}',
        b"NaN",
        b"\x00",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/readings", "/api/v1/alerts/x/acknowledge"])
def test_broken_json_is_a_problem_of_the_client(client: TestClient, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    orjson.loads(answer.content)


@pytest.mark.parametrize("name", ["{\\ud800}", "\\u0000", "x" * 500])
def test_the_name_of_an_undeclared_field_cannot_break_the_answer(client: TestClient, name: str) -> None:
    body = b'{"' + name.encode() + b'": 1}'
    answer = client.post("/api/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert len(answer.content) < 10_000


def test_what_was_sent_is_not_sent_back(client: TestClient) -> None:
    answer = client.post("/api/v1/events", json={"serial": ["canary"], "kind": "canary", "at": "x" * 9000})
    assert answer.status_code == 422
    assert "canary" not in answer.text
    assert len(answer.content) < 1000


def test_a_surprise_tells_nothing_of_what_is_inside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret-canary in /srv/secret")

    monkeypatch.setattr("pdm.web.records.alert_detail", fail)
    answer = client.get("/api/v1/alerts/x")
    assert (answer.status_code, answer.json()["detail"]) == (500, "")
    assert "canary" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
