"""The service in several processes, as an operator spreads it: on one PostgreSQL, with one folder of logs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
from sqlalchemy import func, select

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.clocks import ServiceClock
from pdm.ingest_process import GROUP
from pdm.state import schema
from pdm.state.engines import opened_engine
from tests.mosquitto import Mosquitto, free_port
from tests.postgres import Postgres
from tests.system.drill import subscribe_once
from tests.system.service import DAY_MS, PATIENCE_S, PLANT, Service, apply, message, stored_numbers, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS

RULES = """
rules:
  high: {kind: sensor_limit, sensor: number, above: 20, title: Number is high, routes: [log]}
"""


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
        apply(self.url, PLANT, RULES)
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

    def post(self, numbers: range) -> None:
        """By HTTP, until each is acknowledged."""
        with httpx2.Client(timeout=PATIENCE_S, verify=False) as client:
            for number in numbers:
                body = {"source": "p1" if number % 2 else "f1", **message(number, BASE_MS)}
                answer = client.post(f"{self.address}/api/v1/readings", json=body)
                assert answer.status_code == 200, answer.text

    def alerts(self) -> Counter[tuple[str, str]]:
        """How often each rule has opened an alert about each machine."""
        opened = select(schema.alerts.c.serial, schema.alerts.c.rule)
        with opened_engine(self.url) as engine, schema.read(engine) as connection:
            return Counter((row.serial, row.rule) for row in connection.execute(opened))

    def deliveries(self) -> int:
        """Messages that were put on their way."""
        with opened_engine(self.url) as engine, schema.read(engine) as connection:
            return int(connection.execute(select(func.count()).select_from(schema.deliveries)).scalar_one())

    def stop(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            process.kill()
        self.service.kill()
