"""The service in several processes on one PostgreSQL: readings divided, one that leads, pages from any of them."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.ingest_process import GROUP
from tests.mosquitto import Mosquitto
from tests.postgres import Postgres
from tests.system.conftest import Shell
from tests.system.drill import subscribe_once
from tests.system.roles import BASE_MS, Process, Site
from tests.system.service import PATIENCE_S, Service, message, wait_until

TOLD_ONCE = {("P-1", "high"): 1}


@pytest.fixture
def site(tmp_path: Path, broker: Mosquitto) -> Iterator[Site]:
    server = Postgres().start()
    site = Site(tmp_path, server, broker)
    yield site
    site.stop()
    server.remove()


@pytest.mark.timeout(300)
def test_one_process_ticks_what_another_takes_and_shows(site: Site) -> None:
    leader = site.start("pipeline")
    leader.wait_for("leading")
    server = site.start("serve")
    server.wait_for("serving")
    site.post(range(20))
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
    by_log = rows_by_log(site.service.data)
    assert by_log.keys() == {"mqtt.db", "mqtt-2.db"}
    assert min(by_log.values()) > 20
    second.wait_for("waiting to lead")
    assert (first.stop(), second.wait_for("leading")["fence"]) == (0, 2)
    site.post(range(401, 402))
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
    site.post(range(100))
    wait_until(lambda: site.steps() == 50, "the leader does not tick")
    first.send(signal.SIGSTOP)
    stopped = time.monotonic()
    assert second.wait_for("leading")["fence"] == 2
    site.post(range(100, 200))
    wait_until(lambda: site.steps() == 100, "the next leader does not tick")
    time.sleep(max(0.0, stopped + silence_s - time.monotonic()))
    first.send(signal.SIGCONT)
    first.wait_for("waiting to lead", times=2)
    site.post(range(200, 300))
    wait_until(lambda: site.steps() == 150, "the leader does not go on")
    assert site.alerts() == TOLD_ONCE
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
        site.post(range(100 * turn, 100 * (turn + 1)))
        processes[-2].kill()
        processes[-1].wait_for("leading")
        wait_until(lambda steps=50 * (turn + 1): site.steps() == steps, "it does not go on")  # type: ignore[misc]
    assert site.alerts() == TOLD_ONCE


@pytest.mark.slow
def test_the_processes_of_one_service_divide_the_messages(tmp_path: Path, broker: Mosquitto) -> None:
    settings = {"mqtt": {"enabled": "on", "port": broker.port, "processes": 2}}
    with Service(tmp_path / "service", settings) as service:
        for name in ("pdm-twin", "pdm-twin-2"):
            subscribe_once(broker, client_id=name, shared_group=GROUP)
        service.start()
        publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"), timeout_s=PATIENCE_S)
        for number in range(200):
            publisher.publish("pdm/site/line/p1", orjson.dumps(message(number, BASE_MS)))
        publisher.flush()
        publisher.close()
        wait_until(lambda: len(service.stored()["p1"]) == 200, "readings are missing")
        assert service.stop() == 0
        by_log = rows_by_log(service.data)
        assert sum(by_log.values()) == 200
        assert min(by_log.values()) > 20


def rows_by_log(data: Path) -> dict[str, int]:
    """How many readings each log of the broker's holds."""
    found = {}
    for path in (data / "readings").glob("mqtt*.db"):
        with closing(sqlite3.connect(path)) as log:
            found[path.name] = int(log.execute("SELECT coalesce(sum(rows), 0) FROM batches").fetchone()[0])
    return found


def test_roles_say_that_they_need_a_server(tmp_path: Path, shell: Shell) -> None:
    with Service(tmp_path) as service:
        for role in ("pipeline", "serve"):
            ended = shell(role, "--settings", str(service.folder / "pdm.yaml"))
            assert (ended.code, f"`{role}` needs PostgreSQL" in ended.err) == (2, True)
