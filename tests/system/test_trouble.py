"""Troubles that come and go while the service runs: no broker, no room on the disk."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.clocks import ServiceClock
from tests.mosquitto import Mosquitto
from tests.system.conftest import Shell
from tests.system.drill import subscribe_once
from tests.system.service import DAY_MS, PATIENCE_S, PLANT, SOUND, Service, audit, message, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS
BALLAST = b"x" * 65_536


class Gateway:
    """Publishes numbered readings of one source."""

    def __init__(self, broker: Mosquitto, source: str):
        self._publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"), timeout_s=PATIENCE_S)
        self._source = source

    def publish(self, number: int) -> None:
        self._publisher.publish(f"pdm/site/line/{self._source}", orjson.dumps(message(number, BASE_MS)))
        self._publisher.flush()

    def close(self) -> None:
        self._publisher.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (len(BALLAST), 4096, 1):
            try:
                while file.write(BALLAST[:size]):
                    pass
            except OSError:
                continue
    return ballast


@pytest.mark.timeout(600)
def test_without_a_broker_it_says_so_goes_on_and_listens_when_one_comes(broker: Mosquitto, tmp_path: Path) -> None:
    broker.stop()
    with Service(tmp_path / "plant", {"mqtt": {"port": broker.port}}) as service:
        service.start()
        assert service.wait_for_event("no broker answers: readings come by HTTP and from files until one does")
        assert service.post(message(0, BASE_MS, source="p1")).status_code == 200
        broker.start()
        gateway = Gateway(broker, "p1")

        def heard() -> bool:
            gateway.publish(1)  # what comes before it subscribes, this broker gives to nobody
            with suppress(AssertionError):  # no tick has seen it yet
                return bool(service.get("assets/P-1/twin")["steps"] == 2)
            return False

        wait_until(heard, "it does not listen")
        gateway.close()
        assert service.stop() == 0


def test_on_a_full_disk_a_command_says_so_and_works_with_room_again(disk: Path, tmp_path: Path, shell: Shell) -> None:
    with Service(tmp_path, data=disk / "data"):
        ballast = fill(disk)
        ended = shell("migrate", "--to", "0001", "--yes")
        assert ended.code == 1
        assert "disk is full" in ended.err or "No space left" in ended.err, ended.err
        ballast.unlink()
        assert shell("migrate", "--to", "0001", "--yes").code == 0


@pytest.mark.timeout(600)
def test_with_a_full_disk_nothing_is_acknowledged_and_with_room_again_it_goes_on(
    broker: Mosquitto, disk: Path, tmp_path: Path, shell: Shell
) -> None:
    subscribe_once(broker)
    gateway = Gateway(broker, "p2")
    taken: list[int] = []
    with Service(tmp_path, {"mqtt": {"port": broker.port}}, data=disk / "data") as service:
        (service.folder / "history.csv").write_text("source,time,number\nf1,2026-01-01T00:00:00Z,1\n")

        def post() -> int:
            number = len(taken)
            status = service.post(message(number, BASE_MS, source="p1")).status_code
            if status == 200:
                taken.append(number)
            return status

        service.start()
        gateway.publish(0)
        wait_until(lambda: post() == 200 and service.get("assets/P-2")["twin"] is not None, "it does not begin")
        wait_until(lambda: service.get("assets/P-2/twin")["steps"] == 1, "what was published is missing")

        ballast = fill(disk)
        wait_until(lambda: post() == 503, "readings are taken that cannot be kept")
        gateway.publish(1)
        service.wait_for_event("pipeline failed")
        assert service.get("assets/P-1")["serial"] == "P-1"
        (service.folder / "plant.yaml").write_text(PLANT.replace("System test", "Another name"))
        for command in (("apply", "--yes"), ("import", "readings", "history.csv")):
            ended = shell(*command)
            assert (ended.code, "disk is full" in ended.err) == (1, True), ended.err

        ballast.unlink()
        wait_until(lambda: post() == 200, "it does not recover")
        service.wait_for_event("pipeline works again")
        wait_until(lambda: service.get("assets/P-2/twin")["steps"] == 2, "what the broker kept is missing")
        told = [
            line["event"] for line in service.logged() if line.get("pipeline") == "tick" and "pipeline" in line["event"]
        ]
        assert told == ["pipeline failed", "pipeline works again"]  # once each, however many ticks there were
        assert service.stop() == 0
        sent = {"p1": taken, "p2": [0, 1], "f1": []}
        assert audit(service.data, sent, acknowledged=sent) == SOUND
    gateway.close()
