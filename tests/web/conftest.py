from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pdm.services import Services
from tests.web import station


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Services:
    return station.build(tmp_path_factory.mktemp("station"))


@pytest.fixture
def services(built: Services, tmp_path: Path) -> Iterator[Services]:
    """A station that this test may change."""
    copied = station.copy(built, tmp_path)
    yield copied
    copied.engine.dispose()


@pytest.fixture
def client(services: Services) -> TestClient:
    return station.client_of(services)
