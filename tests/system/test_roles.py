"""The service in several processes on one PostgreSQL: readings divided, one that leads, pages from any of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from sqlalchemy import func, select

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.clocks import ServiceClock
from pdm.ingest_process import GROUP
from pdm.state import schema
from pdm.state.engines import opened_engine
from tests.mosquitto import Mosquitto, free_port
from tests.postgres import Postgres
from tests.system.conftest import Shell
from tests.system.drill import subscribe_once
from tests.system.service import DAY_MS, PATIENCE_S, Service, message, stored_numbers, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS


class Process:
    """One process of the service, and what it has said."""

    def __init__(self, service: Service, *command: str):
        self._log = service.folder / f"{time.monotonic_ns()}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PDM_")}
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "pdm.cli", *command], cwd=service.folder, env=environment, stdout=log, stderr=log
            )

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines()
        return [line for line in map(json.loads, filter(_is_whole, lines)) if line["event"] == event]

    def wait_for(self, event: str, times: int = 1) -> dict[str, Any]:
        def look() -> list[dict[str, Any]]:
            assert self._child.poll() is None, self._log.read_text()
            return self.said(event)[times - 1 :]

        return dict(wait_until(look, f"no {event!r}:\n{self._log.read_text()}")[0])

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self._child.wait(PATIENCE_S)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._child.kill()
        self._child.wait(PATIENCE_S)


def _is_whole(line: str) -> bool:
    return line.startswith("{") and line.endswith("}")


class Site:
    """A plant on servers, and the processes that work on it."""

    def __init__(self, folder: Path, server: Postgres, broker: Mosquitto):
        self.url, self._broker, self._port = server.new_state(), broker, free_port()
        self.service = Service(
            folder,
            {
                "state": {"url": self.url},
                "mqtt": {"enabled": "on", "port": broker.port, "processes": 2},
                "http": {"port": self._port},
                "tick": {"interval": "1 s"},
            },
        )
        self.processes: list[Process] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, *command: str) -> Process:
        self.processes.append(Process(self.service, *command))
        return self.processes[-1]

    def publish(self, numbers: range) -> None:
        """Until the broker has taken them all."""
        publisher = MqttPublisher(MqttLink(port=self._broker.port, client_id="gateway"), timeout_s=PATIENCE_S)
        for number in numbers:
            publisher.publish(f"pdm/site/line/{'p1' if number % 2 else 'f1'}", orjson.dumps(message(number, BASE_MS)))
        publisher.flush()
        publisher.close()

    def subscribed(self) -> None:
        """Have the sessions of both ingesting processes at the broker, as they are after their first start."""
        for number in ("", "-2"):
            subscribe_once(self._broker, client_id=f"pdm-twin{number}", shared_group=GROUP)

    def stored(self) -> dict[str, list[int]]:
        return stored_numbers(self.service.data)

    def steps(self, serial: str = "P-1") -> int:
        answer = self.get(f"/api/v1/assets/{serial}/twin")
        return int(answer.json()["steps"]) if answer.status_code == 200 else 0

    def get(self, path: str) -> httpx2.Response:
        """Each on a connection of its own, so that any of the processes may answer."""
        return httpx2.get(f"{self.address}{path}", timeout=PATIENCE_S, verify=False)

    def ticks_that_failed(self) -> int:
        failed = select(func.count()).select_from(schema.runs).where(schema.runs.c.outcome == "failed")
        with opened_engine(self.url) as engine, schema.read(engine) as connection:
            return int(connection.execute(failed).scalar_one())


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Iterator[Site]:
    server = Postgres().start()
    site = Site(tmp_path, server, broker)
    yield site
    for process in site.processes:
        process.kill()
    server.remove()


@pytest.mark.timeout(300)
def test_one_process_ticks_what_another_takes_and_shows(site: Site) -> None:
    leader = site.start("pipeline")
    leader.wait_for("leading")
    server = site.start("serve")
    server.wait_for("serving")
    publish(site, range(20))
    wait_until(lambda: site.steps() == 10, "no tick, or none that the pages see")
    assert site.get("/").status_code == 200
    assert (server.stop(), leader.stop()) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_readings_are_divided_pages_come_from_any_process_and_the_next_leads_when_one_stops(site: Site) -> None:
    site.subscribed()
    first = site.start("pipeline")
    first.wait_for("leading")
    second, takers = site.start("pipeline"), [site.start("ingest", "--number", str(number)) for number in (1, 2)]
    site.publish(range(400))
    wait_until(lambda: sum(map(len, site.stored().values())) == 400, "readings are missing")
    servers = [site.start("serve"), site.start("serve")]
    for server in servers:
        server.wait_for("serving")
    wait_until(lambda: site.steps() == 200, "no tick, or none that the pages see")
    by_log = {path.name: path.stat().st_size for path in (site.service.data / "readings").glob("mqtt*.db")}
    assert by_log.keys() == {"mqtt.db", "mqtt-2.db"}
    second.wait_for("waiting to lead")
    assert (first.stop(), second.wait_for("leading")["fence"]) == (0, 2)
    publish(site, range(401, 402))
    wait_until(lambda: site.steps() == 201, "the next leader does not tick")
    assert all(site.get("/").status_code == 200 for _ in range(10))
    assert [process.stop() for process in (*takers, *servers, second)] == [0] * 5
    assert site.ticks_that_failed() == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("silence_s", [60])
def test_a_leader_that_was_stopped_for_a_minute_writes_nothing_more(site: Site, silence_s: float) -> None:
    first, server = site.start("pipeline"), site.start("serve")
    first.wait_for("leading")
    second = site.start("pipeline")
    server.wait_for("serving")
    publish(site, range(100))
    wait_until(lambda: site.steps() == 50, "the leader does not tick")
    first.send(signal.SIGSTOP)
    stopped = time.monotonic()
    assert second.wait_for("leading")["fence"] == 2
    publish(site, range(100, 200))
    wait_until(lambda: site.steps() == 100, "the next leader does not tick")
    time.sleep(max(0.0, stopped + silence_s - time.monotonic()))
    first.send(signal.SIGCONT)
    first.wait_for("waiting to lead", times=2)
    publish(site, range(200, 300))
    wait_until(lambda: site.steps() == 150, "the leader does not go on")
    assert alerts_are_told_once(site)
    assert [process.stop() for process in (first, second, server)] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_leaders_are_followed_and_each_reading_counts_once(site: Site) -> None:
    processes: list[Process] = [site.start("pipeline")]
    processes[0].wait_for("leading")
    server = site.start("serve")
    server.wait_for("serving")
    for turn in range(3):
        processes.append(site.start("pipeline"))
        publish(site, range(100 * turn, 100 * (turn + 1)))
        processes[-2].kill()
        processes[-1].wait_for("leading")
        wait_until(lambda steps=50 * (turn + 1): site.steps() == steps, "it does not go on")  # type: ignore[misc]
    assert alerts_are_told_once(site)


def publish(site: Site, numbers: range) -> None:
    """By HTTP, since these tests are about ticks."""
    for number in numbers:
        body = {"source": "p1" if number % 2 else "f1", **message(number, BASE_MS)}
        answer = httpx2.post(f"{site.address}/api/v1/readings", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 200


def alerts_are_told_once(site: Site) -> bool:
    keys = schema.alerts.c.serial, schema.alerts.c.target, schema.alerts.c.rule
    twice = select(func.count()).select_from(schema.alerts).where(schema.alerts.c.state != "closed").group_by(*keys)
    with opened_engine(site.url) as engine, schema.read(engine) as connection:
        return max(connection.execute(twice).scalars(), default=1) == 1


def test_roles_say_that_they_need_a_server(tmp_path: Path, shell: Shell) -> None:
    with Service(tmp_path) as service:
        for role in ("pipeline", "serve"):
            ended = shell(role, "--settings", str(service.folder / "pdm.yaml"))
            assert (ended.code, f"`{role}` needs PostgreSQL" in ended.err) == (2, True)
