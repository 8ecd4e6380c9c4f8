"""The whole service with its readings in a real InfluxDB (tests/influx.py), by settings alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine, Table, select

from benchmarks.demo_servers import servers
from pdm.clocks import ServiceClock
from pdm.demo import Demo, DemoProgress
from pdm.demo.fleets import PumpFleet
from pdm.settings import load_settings
from pdm.state import schema
from pdm.state.schema import read
from tests.influx import ORG, TOKEN, InfluxDB, Proxy
from tests.system.service import DAY_MS, Service, message, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS


class Influx(NamedTuple):
    """A server, and the settings that lead to it."""

    server: InfluxDB
    settings: dict[str, Any]


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    server = InfluxDB(tmp_path / "influx").start()
    proxy = Proxy(server.port)
    yield Influx(server, {"influx": {"url": proxy.url, "org": ORG, "token": TOKEN, "bucket": "readings"}})
    proxy.close()
    server.stop()


def test_the_service_takes_readings_on_while_influxdb_is_away_and_stops_when_told(
    influx: Influx, tmp_path: Path
) -> None:
    with Service(tmp_path / "service", influx.settings) as service:
        service.start()
        send(service, range(5))
        wait_until(lambda: steps(service) == 5, "the twin does not follow")
        influx.server.kill()
        send(service, range(5, 8))
        wait_until(lambda: "3 readings wait in the logs" in degraded(service), "nobody says that it is away")
        assert service.stop() == 0
        influx.server.start()
        service.start()
        wait_until(lambda: steps(service) == 8, "the twin does not catch up")
        assert degraded(service) == ""
        wait_until(lambda: plotted(influx) == 8, "the twin cannot be plotted")
        assert service.stop() == 0


def plotted(influx: Influx) -> int:
    """Steps of the twin as of the latest tick in InfluxDB."""
    asked = urlencode({"db": "readings", "q": """SELECT last("steps") FROM "press.twin" WHERE "serial" = 'P-1'"""})
    with urlopen(f"http://127.0.0.1:{influx.server.port}/query?{asked}") as answer:
        series = json.load(answer)["results"][0].get("series")
    return int(series[0]["values"][0][1]) if series else 0


def send(service: Service, numbers: range) -> None:
    answer = service.post([message(number, BASE_MS, source="p1") for number in numbers])
    assert (answer.status_code, answer.json()["stored"]) == (200, len(numbers))


def steps(service: Service) -> int:
    """Of a machine; 0 before the first tick."""
    answer = service._client.get(f"{service.address}/api/v1/assets/P-1/twin")
    return int(answer.json().get("steps", 0))


def degraded(service: Service) -> str:
    """What `/readyz` says is wrong."""
    answer = service._client.get(f"{service.address}/readyz")
    assert answer.status_code == 200
    return "; ".join(answer.json()["degraded"])


@pytest.mark.slow
def test_the_demo_gives_the_same_steps_and_forecasts_on_servers_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    embedded = told(tmp_path / "embedded")
    with servers() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        on_servers = told(tmp_path / "on-servers")
    assert len(embedded["step_batches"]) == HOURS
    assert len(embedded["prognoses"]) > 2
    assert on_servers == embedded


HOURS = 150


def told(folder: Path) -> dict[str, list[Any]]:
    """What the first days of three pumps leave in the state database."""
    with Demo(PumpFleet(3, seed=5), load_settings(given={"data_dir": folder, "http": {"port": 0}})) as demo:
        hours = iter(range(1, HOURS))

        def report(_: DemoProgress) -> None:
            if next(hours, None) is None:
                demo.stopping.set()

        demo.run(report)
        return {
            table.name: rows(demo.services.engine, table)
            for table in (schema.step_batches, schema.prognoses, schema.alerts)
        }


def rows(engine: Engine, table: Table) -> list[Any]:
    with read(engine) as connection:
        return sorted(map(repr, connection.execute(select(table))))
