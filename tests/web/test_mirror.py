"""The mirror: what a machine said last, and whether it says anything."""

from fastapi.testclient import TestClient

from pdm.services import Services
from tests.web import station

LATEST = "/api/v1/assets/F-1/latest"


def test_a_machine_that_said_goodbye_is_offline_until_it_speaks_again(services: Services, client: TestClient) -> None:
    assert client.get(LATEST).json()["sync"] == "in_sync"
    services.gone = lambda: {"fan1": station.NOW}
    assert client.get(LATEST).json()["sync"] == "offline"
    assert "offline, last reading" in client.get("/assets/F-1").text
    services.gone = lambda: {"fan1": station.NOW - 7_200_000}
    assert client.get(LATEST).json()["sync"] == "in_sync", "it has spoken since"
