import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from pdm import cli
from pdm.adapters.mqtt import MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from tests.mosquitto import Mosquitto
from tests.system.drill import subscribe_once
from tests.system.service import PATIENCE_S, PLANT, Service

MORE_ASSETS = "".join(
    f"  - {{serial: S-{number}, class: press, slot: SLOT-{number}, source: s{number}, start_of_life: unknown}}\n"
    for number in range(10)
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder).start()
    yield broker
    broker.stop()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """Runs commands in the working folder as the program does, in this process: most of a command is its imports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["pdm-twin", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        return Ended(code if isinstance(code, int) else 0, *self._capsys.readouterr())


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    handlers, level, kept = logging.root.handlers, logging.root.level, structlog.get_config()
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Shell(monkeypatch, capsys)
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    structlog.configure(**kept)
    for number, handler in signals.items():
        signal.signal(number, handler)


class Station:
    """A service that is up, a broker, and a gateway that publishes to it."""

    def __init__(self, service: Service, publisher: MqttPublisher):
        self.service, self._publisher = service, publisher

    def publish(self, source: str, payload: bytes) -> None:
        self._publisher.publish(f"pdm/site/line/{source}", payload)

    def flush(self) -> None:
        """Until the broker has taken everything."""
        self._publisher.flush()


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """One service for all tests that leave it as it was, since a start takes seconds; each has sources of its own."""
    broker = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    subscribe_once(broker)
    settings = {"mqtt": {"enabled": "on", "port": broker.port}}
    publisher = MqttPublisher(MqttLink(port=broker.port, client_id="station"), timeout_s=PATIENCE_S)
    with Service(tmp_path_factory.mktemp("station"), settings, plant=PLANT + MORE_ASSETS) as service:
        yield Station(service.start(), publisher)
        assert service.stop() == 0, service.log_text()
    publisher.close()
    broker.stop()
