"""The service on a PostgreSQL that restarts, stays away, or does not let it in."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import httpx2
import pytest

from pdm.clocks import ServiceClock
from pdm.state import engines
from tests.postgres import Postgres
from tests.system.conftest import Shell
from tests.system.service import DAY_MS, Service, message, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS


@pytest.fixture
def server() -> Iterator[Postgres]:
    made = Postgres().start()
    yield made
    made.remove()


class Visitors:
    """People who look at pages and the API all the time, and what they were answered."""

    def __init__(self, address: str, count: int = 4) -> None:
        self.answers: list[httpx2.Response] = []
        self._address, self._stopping = address, Event()
        self._threads = [Thread(target=self._visit) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        with httpx2.Client(base_url=self._address, timeout=60, verify=False) as client:
            while not self._stopping.is_set():
                for path in ("/api/v1/runs", "/api/v1/assets/P-1/prognoses", "/api/v1/assets", "/"):
                    self.answers.append(client.get(path))


def steps(service: Service, serial: str = "P-1") -> int:
    answer = httpx2.get(f"{service.address}/api/v1/assets/{serial}/twin", timeout=60, verify=False)
    return int(answer.json()["steps"]) if answer.status_code == 200 else 0


@pytest.mark.timeout(300)
def test_a_server_that_restarts_is_waited_for(server: Postgres, tmp_path: Path, shell: Shell) -> None:
    with Service(tmp_path, {"state": {"url": server.new_state()}}) as service:
        service.start()
        visitors = Visitors(service.address)
        for number in range(5):
            assert service.post(message(number, BASE_MS, source="p1")).status_code == 200
            wait_until(lambda n=number: steps(service) == n + 1, "it does not tick")  # type: ignore[misc]
            (server.kill if number % 2 else server.stop)()
            server.start()
        wait_until(lambda: steps(service) == 5, "it does not go on")
        visitors.stop()
        refused = [answer for answer in visitors.answers if answer.status_code not in (200, 404)]
        assert {answer.status_code for answer in refused} <= {503}
        assert all(answer.headers["retry-after"] for answer in refused)
        assert len(refused) < len(visitors.answers) / 100 + 1, f"{len(refused)} of {len(visitors.answers)}"
        second = shell("run", "tick", "--settings", str(tmp_path / "pdm.yaml"))
        assert (second.code, "works on the database" in second.err) == (1, True)
        assert service.stop() == 0
        assert all(line.startswith("{") for line in service.log_text().splitlines()), service.log_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_while_a_server_stays_away_readings_are_taken_and_pages_say_so(server: Postgres, tmp_path: Path) -> None:
    with Service(tmp_path, {"state": {"url": server.new_state()}}) as service:
        service.start()
        assert service.post(message(0, BASE_MS, source="p1")).status_code == 200
        wait_until(lambda: steps(service) == 1, "it does not tick")
        server.stop()
        ready = f"{service.address}/readyz"
        wait_until(lambda: httpx2.get(ready, timeout=60, verify=False).status_code == 503, "it says that it is ready")
        began = time.monotonic()
        page = httpx2.get(f"{service.address}/", headers={"accept": "text/html"}, timeout=60, verify=False)
        assert (page.status_code, "tries again by itself" in page.text) == (503, True)
        assert service.post(message(1, BASE_MS, source="p1")).status_code == 200
        assert time.monotonic() - began < 5  # nobody waits any more
        server.start()
        wait_until(lambda: steps(service) == 2, "it does not go on")
        assert service.stop() == 0


def test_who_is_not_let_in_is_told_why_and_never_the_password(
    server: Postgres, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "RESTART_S", 0.0)
    with Service(tmp_path) as service:
        (tmp_path / "password").write_text("canary\n")
        for database, user, why in (("nowhere", "pdm", "does not exist"), ("postgres", "nobody", "does not exist")):
            url = f"postgresql+psycopg://{user}@/{database}?host={server.folder}"
            service.configure({"state": {"url": url, "password_file": str(tmp_path / "password")}})
            ended = shell("apply", "--yes", "--settings", str(tmp_path / "pdm.yaml"))
            assert (ended.code, why in ended.err) == (1, True), ended.err
            assert "canary" not in ended.err + ended.out
