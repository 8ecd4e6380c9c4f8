"""OpenAPI: every documented example works, and every answer is what is documented."""

from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from pdm.plant import AssetClass
from pdm.ports import TrainedVersion
from pdm.services import Services
from pdm.state import schema
from pdm.web.api.description import example_path, example_requests, operations_of
from pdm.web.app import create_app
from tests.web import station
from tests.web.schema_check import mismatch

STREAM = "/api/v1/stream"  # never ends: tests/web/test_stream.py reads it


class Pace:
    """A simulated plant that stands still."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {"plant_ms": station.NOW, "rate": 60.0, "paused": False, "done": False}

    def state(self) -> dict[str, Any]:
        return self.now

    def control(self, *, paused: bool | None = None, rate: float | None = None) -> None:
        changed = {"paused": paused, "rate": rate}
        self.now |= {name: value for name, value in changed.items() if value is not None}


class OneModel:
    """Models of which there is one, that can be used."""

    def versions(self, class_name: str) -> list[str]:
        return ["0002-0123456789ab"]

    def described(self, asset_class: AssetClass) -> list[TrainedVersion]:
        return [TrainedVersion(version, None, "", None) for version in self.versions(asset_class.name)]

    def load(self, asset_class: AssetClass, version: str) -> Any:
        return None


API = create_app(Services(engine=None, readings=None, clock=None)).openapi()  # type: ignore[arg-type]
OPERATIONS = [(method, path, operation) for method, path, operation in operations_of(API) if path != STREAM]


@pytest.fixture
def client(services: Services, app: FastAPI) -> TestClient:
    services.simulation, services.trained = Pace(), OneModel()
    return station.client_on(app)


def real_ids(services: Services, client: TestClient, path: str) -> dict[str, str]:
    """Ids of records that are there, in place of those of the examples."""
    client.post(
        "/api/v1/events", json={"id": "WO-1", "serial": "F-1", "kind": "inspected", "at": "2026-01-20T14:00:00Z"}
    )
    ids = {"event_id": "WO-1", "serial": "F-1", "slot": "FAN-1", "system": "maximo"}
    with schema.read(services.engine) as connection:
        for name, table in (
            ("alert_id", schema.alerts),
            ("recommendation_id", schema.recommendations),
            ("intervention_id", schema.interventions),
            ("prognosis_id", schema.prognoses),
        ):
            ids[name] = connection.execute(select(table.c.id).where(table.c.serial == "F-1")).scalars().first() or ""
    if path.endswith("/undo"):
        client.post(f"/api/v1/alerts/{ids['alert_id']}/acknowledge", json={})
    return ids


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[operation["operationId"] for _, _, operation in OPERATIONS]
)
def test_every_documented_example_works_and_is_answered_as_documented(
    services: Services, client: TestClient, method: str, path: str, operation: dict[str, Any]
) -> None:
    ids = real_ids(services, client, path)
    url = example_path(operation, path, lambda name, value: ids.get(name, value))
    bodies = example_requests(API, operation)
    assert bodies, f"{path} has a body without an example"
    for body in bodies:
        answer = client.request(method, url, json=body)
        assert answer.status_code < 400, answer.text
        documented = operation["responses"][str(answer.status_code)].get("content", {})
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type == "application/json":
            assert mismatch(API, documented[media_type]["schema"], answer.json()) is None


def test_every_operation_says_what_it_is_for_and_how_it_fails() -> None:
    for method, path, operation in operations_of(API):
        assert operation["summary"], (method, path)
        problems = [status for status in operation["responses"] if status == "default" or status >= "400"]
        for status in problems:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                assert parameter["schema"].get("examples"), (path, parameter["name"])


def test_operation_ids_are_names_and_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in operations_of(API)]
    assert len(ids) == len(set(ids))
    assert "alerts.acknowledge" in ids


def test_the_page_of_the_api_shows_every_operation_without_script_or_another_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for _, path, operation in operations_of(API):
        assert f'id="{operation["operationId"]}"' in page.text
        assert f"<code>{path}</code>" in page.text
    assert "<script" not in page.text
    assert 'style="' not in page.text
    assert "http://" not in page.text.replace("http://localhost:8421", "")
    assert "https://" not in page.text
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")


def test_the_documented_examples_are_valid_json_for_a_shell(client: TestClient) -> None:
    for _, _, operation in OPERATIONS:
        for body in example_requests(API, operation):
            assert "'" not in unquote(orjson.dumps(body).decode())
