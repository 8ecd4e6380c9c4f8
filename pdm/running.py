"""The service as processes: what `pdm-twin up` starts, runs and stops."""

import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import structlog

from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.clocks import ServiceClock
from pdm.decode import Decoder
from pdm.schedule import Schedule, load_pipelines
from pdm.serving import Server
from pdm.settings import Settings
from pdm.state.plants import current_plant
from pdm.state.schema import open_state, read
from pdm.web.app import create_app
from pdm.wiring import open_ingest, open_services

LOOK_FOR_PLANT_S = 5.0
INGEST_PATIENCE_S = 8.0

_log = structlog.stdlib.get_logger(__name__)


def run_service(settings: Settings, settings_file: Path | None) -> None:
    """Run everything until SIGINT or SIGTERM."""
    settings.check_exposure()
    stopping = _stop_on_signal()
    with ExitStack() as stack:
        services = open_services(settings, ServiceClock(), log_name="http")
        stack.callback(services.close)
        app = create_app(services, settings.api_key_hashes())
        server = Server(app, settings.http.host, settings.http.port)
        if settings.mqtt.enabled != "off":
            stack.callback(_stop_child, _start_ingest(settings_file))
        schedule = Schedule(services, load_pipelines(settings.pipelines_folder(), {"tick": settings.tick.interval_ms}))
        schedule.start()
        stack.callback(schedule.stop)
        server.start()
        stack.callback(server.stop)
        _log.info("up", pages=server.address, data=str(settings.data_dir))
        stopping.wait()
        _log.info("stopping")


def run_ingest(settings: Settings) -> None:
    """Take readings from the broker into the log of this process, until SIGINT or SIGTERM."""
    stopping = _stop_on_signal()
    clock = ServiceClock()
    engine = open_state(settings.state_url())
    with read(engine) as connection:
        plant = current_plant(connection)
    ingest = open_ingest(settings, plant, clock, "mqtt")
    link = MqttIngest(ingest, _link(settings), clock)
    link.start()
    while not stopping.wait(LOOK_FOR_PLANT_S):
        with read(engine) as connection:
            latest = current_plant(connection)
        if latest.number != plant.number:
            plant = latest
            ingest.use(Decoder(plant.plant, epoch_unit=settings.mqtt.epoch_unit))
            _log.info("plant version in use", number=plant.number)
    link.stop()


def _link(settings: Settings) -> MqttLink:
    mqtt = settings.mqtt
    return MqttLink(
        host=mqtt.host,
        port=mqtt.port,
        topics=tuple(mqtt.topics),
        client_id=mqtt.client_id,
        shared_group=mqtt.shared_group,
        username=mqtt.username,
        password=settings.mqtt_password(),
        tls=mqtt.tls.enabled,
        ca_file=mqtt.tls.ca_file,
        cert_file=mqtt.tls.cert_file,
        key_file=mqtt.tls.key_file,
    )


def _start_ingest(settings_file: Path | None) -> "subprocess.Popen[bytes]":
    """Ingest is a process of its own: a tick never delays it, and it writes nothing but its log."""
    command = [sys.executable, "-m", "pdm.cli", "ingest"]
    if settings_file is not None:
        command += ["--settings", str(settings_file)]
    return subprocess.Popen(command)  # noqa: S603 - our own program


def _stop_child(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(INGEST_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _stop_on_signal() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
