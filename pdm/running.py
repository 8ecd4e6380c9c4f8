"""The service as processes: what `pdm-twin up` starts, runs and stops, and what the commands beside it do."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple, NoReturn

import structlog

from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError, NotFoundError, PdmError, StoreError
from pdm.ingest.decode import Decoder
from pdm.ingest_process import IngestProcess
from pdm.schedule import Schedule, load_pipelines, run_now
from pdm.services import Services
from pdm.serving import Server
from pdm.settings import Settings
from pdm.state.lock import sole_writer
from pdm.state.models import last_activation
from pdm.state.plants import CurrentPlant, current_plant
from pdm.state.schema import read
from pdm.web.app import create_app
from pdm.wiring import heartbeat_of, open_services, use_models, use_plant, use_routes
from pdm.words import listed

LOOK_S = 2.0
"""How often the service looks whether ingest lives and the plant is still the same."""

STOP_WITHIN_S = 6.0
"""Time from the signal to the end. A run that takes longer is cut short, and made again at the next start."""

_log = structlog.stdlib.get_logger(__name__)


class InUse(NamedTuple):
    """The version of the plant that is in use; not the `whole` of it while a route lacks its secret."""

    number: int
    whole: bool = True


def run_service(settings: Settings, settings_file: Path | None) -> None:
    """Run everything until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: settings, plant or pipelines do not allow it.
        ConflictError: another process works on this state database.
    """
    settings.check_exposure()
    stopping = stop_on_signal()
    with sole_writer(settings.state_url()) as lead, ExitStack() as stack:
        services = open_services(settings, ServiceClock(), fence=lead.fence, log_name="http")
        stack.callback(services.close)
        in_use = InUse(plant_number(services))
        pipelines = load_pipelines(settings.pipelines_folder(), {"tick": settings.tick.interval_ms})
        schedule = Schedule(services, pipelines, heartbeat_of(settings))
        server = Server(create_app(services, settings.api_key_hashes()), settings.http.host, settings.http.port)
        ingest = [IngestProcess(settings.mqtt, settings_file, 1 + number) for number in range(settings.mqtt.processes)]
        for process in ingest:
            stack.callback(process.stop, 0.0)  # whatever happens, it does not stay behind
            process.look()
        schedule.start()
        server.start()
        _log.info("up", pages=server.address, data=str(settings.data_dir))
        while not stopping.wait(LOOK_S):
            lead.check()
            schedule.follow_clock()
            for process in ingest:
                process.look()
            in_use = follow_plant(services, settings, in_use)
        _stop(server, schedule, ingest)


def run_pipeline(settings: Settings, name: str) -> str:
    """Run one pipeline once, now; returns what it reports.

    Raises:
        ConfigurationError: there is no such pipeline.
        ConflictError: a service is running, and runs it itself.
    """
    pipelines = load_pipelines(settings.pipelines_folder())
    if name not in pipelines:
        raise ConfigurationError(f"there is no pipeline {name!r}: expected {listed(list(pipelines), 'or')}")
    with sole_writer(settings.state_url()) as lead:
        services = open_services(settings, ServiceClock(), fence=lead.fence)
        try:
            plant_number(services)
            if services.forwarder is not None:
                with suppress(StoreError):  # who needs what is in the logs finds that it is not there
                    services.forwarder.forward()
            report = run_now(services, pipelines[name], services.clock.plant_ms())
            if services.projector is not None:
                with suppress(StoreError):  # it is sent later
                    services.projector.send()
            return report
        finally:
            services.close()


def plant_number(services: Services) -> int:
    """The version in force; without one there is nothing to watch, and that is a matter of configuration."""
    with read(services.engine) as connection:
        try:
            return current_plant(connection).number
        except NotFoundError as error:
            raise ConfigurationError(str(error)) from None


def follow_plant(services: Services, settings: Settings, in_use: InUse) -> InUse:
    """Bring a plant or a model that was applied or activated meanwhile into use, and what could not be used of a plant
    as soon as it can."""
    with suppress(PdmError), read(services.engine) as connection:
        plant = current_plant(connection)
        if plant.number == in_use.number and services.activation != last_activation(connection):
            use_models(services, settings, plant)
            _log.info("models in use", versions={name: model.version for name, model in services.models.items()})
        if plant.number == in_use.number and in_use.whole:
            return in_use
        whole = _use(services, settings, plant, known=plant.number == in_use.number)
        return InUse(plant.number, whole)
    return in_use


def _use(services: Services, settings: Settings, plant: CurrentPlant, known: bool) -> bool:
    """Use a version of the plant, of one that is `known` only the routes; returns whether all of it is in use now."""
    if not known and services.ingest is not None:
        services.ingest.use(Decoder(plant.plant, epoch_unit=settings.mqtt.epoch_unit))
    try:
        (use_routes if known else use_plant)(services, settings, plant)
    except PdmError as error:
        if not known:
            _log.error("plant version in use, but not all of it", number=plant.number, why=str(error))
        return False
    _log.info("plant version in use", number=plant.number)
    return True


def _stop(server: Server, schedule: Schedule, ingest: Sequence[IngestProcess]) -> None:
    """Answer what is in flight, keep what has come, end what runs: all of it at the same time."""
    _log.info("stopping")
    deadline = monotonic() + STOP_WITHIN_S
    for process in ingest:
        process.ask_to_stop()
    server.stop()
    finished = schedule.stop(max(deadline - monotonic(), 0.0))
    for process in ingest:
        process.stop(max(deadline - monotonic(), 0.0))
    _log.info("stopped")
    if not finished:
        leave("a run is cut short; the next start repeats it")


def leave(why: str) -> NoReturn:
    """End this process although a thread of it is at work: the end of Python would wait for it."""
    _log.warning(why)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def stop_on_signal() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
