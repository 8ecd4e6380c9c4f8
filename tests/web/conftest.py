from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pdm.services import Services
from pdm.web.app import create_app
from tests.web import station


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return station.build(tmp_path_factory.mktemp("station"))


@pytest.fixture(scope="session")
def app(built: Services) -> FastAPI:
    """One application for all tests, since making one takes longer than most tests; each gives it services anew."""
    return create_app(Services(engine=built.engine, readings=built.readings, clock=built.clock))


@pytest.fixture
def services(built: Services, app: FastAPI, tmp_path: Path) -> Iterator[Services]:
    """A station that this test may change, behind the shared application."""
    copied = station.copy(built, tmp_path)
    served: Services = app.state.services
    for field in fields(Services):
        setattr(served, field.name, getattr(copied, field.name))
    yield served
    copied.engine.dispose()


@pytest.fixture
def client(services: Services, app: FastAPI) -> TestClient:
    return station.client_on(app)
