"""Ingest as a process of its own: a tick never delays it, and it writes nothing but its log."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog

from pdm.adapters.mqtt import MqttLink, run_ingest
from pdm.clocks import ServiceClock
from pdm.ingest.sparkplug import NODES_FILE
from pdm.settings import Settings
from pdm.settings.sections import MqttSettings
from pdm.state.engines import state_engine
from pdm.wiring import adopted_bucket, drop_folder, open_forwarder, open_log, plant_in_force

BROKER_ANSWERS_S = 2.0

GROUP = "pdm-twin"
"""The shared subscription of several ingesting processes, where the settings name none."""

_log = structlog.stdlib.get_logger(__name__)


class IngestProcess:
    """An ingesting process as the service sees it: started again when it ends, ended with the service."""

    def __init__(self, mqtt: MqttSettings, settings_file: Path | None, number: int = 1) -> None:
        self._mqtt = mqtt
        self._command = [sys.executable, "-m", "pdm.cli", "ingest", "--parent", str(os.getpid())]
        self._command += ["--number", str(number)]
        if settings_file is not None:
            self._command += ["--settings", str(settings_file)]
        self._child: subprocess.Popen[bytes] | None = None
        self._broken = self._alone = False

    def look(self) -> None:
        """Start it if it does not run and there is a broker to listen to; say so when that changes."""
        if self._child is not None and self._child.poll() is None:
            if self._broken:
                _log.info("ingest works again")
            self._broken = False
            return
        if self._child is not None and not self._broken:
            _log.error("ingest has ended and is started again", code=self._child.returncode)
            self._broken = True
        if self._wanted():
            self._child = subprocess.Popen(self._command)  # noqa: S603 - our own program

    def ask_to_stop(self) -> None:
        """Have it store what has come, and end."""
        if self._child is not None:
            self._child.terminate()

    def stop(self, patience_s: float) -> None:
        """Have it end within this time."""
        self.ask_to_stop()
        if self._child is not None:
            try:
                self._child.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None

    def _wanted(self) -> bool:
        if self._mqtt.enabled != "auto" or self._child is not None:  # where there was a broker it is waited for
            return self._mqtt.enabled != "off"
        answers = _answers(self._mqtt.host, self._mqtt.port)
        if not answers and not self._alone:
            where = f"{self._mqtt.host}:{self._mqtt.port}"
            _log.warning("no broker answers: readings come by HTTP and from files until one does", where=where)
        self._alone = not answers
        return answers


def take_readings(settings: Settings, number: int, parent: int | None) -> None:
    """Take readings from the broker into the log of this process, until SIGINT, SIGTERM or the end of its parent.

    Args:
        number: which of the ingesting processes of this host this is.
        parent: the service that started this process, and forwards its log; None where it stands alone.
    """
    if parent is not None and os.getppid() != parent:
        return  # it ended while we began
    clock, engine = ServiceClock(), state_engine(settings.state_url())
    plant = partial(plant_in_force, engine)

    with ExitStack() as stack:
        if parent is None and (forwarder := open_forwarder(settings, engine, clock)) is not None:
            stack.callback(forwarder.stop)
        if parent is None and number == 1 and (folder := drop_folder(settings, engine, clock)) is not None:
            stack.callback(folder.stop)
        if parent is None and number == 1 and (adopted := adopted_bucket(settings, engine, clock)) is not None:
            stack.callback(adopted.close)
        log, link = partial(open_log, settings, _numbered("mqtt", number)), broker_link(settings, number)
        nodes = settings.readings_folder() / NODES_FILE if number == 1 else None
        run_ingest(log, link, plant, clock, epoch_unit=settings.mqtt.epoch_unit, nodes_file=nodes)


def broker_link(settings: Settings, number: int = 1) -> MqttLink:
    """How one of the ingesting processes of this host reaches the broker."""
    mqtt = settings.mqtt
    return MqttLink(
        host=mqtt.host,
        port=mqtt.port,
        topics=tuple(mqtt.topics),
        client_id=_numbered(mqtt.client_id, number),
        shared_group=mqtt.shared_group or (GROUP if max(mqtt.processes, number) > 1 else None),
        sparkplug=number == 1,
        username=mqtt.username,
        password=settings.mqtt_password(),
        tls=mqtt.tls.enabled,
        ca_file=mqtt.tls.ca_file,
        cert_file=mqtt.tls.cert_file,
        key_file=mqtt.tls.key_file,
    )


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), BROKER_ANSWERS_S).close()
    except OSError:
        return False
    return True
