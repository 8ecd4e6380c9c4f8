"""The service in several processes and on several hosts, around a database that all reach: `pipeline` and `serve`.

`up` (`pdm.running`) is all of it on one machine. Who takes readings (`pdm.ingest_process`) needs nothing but its log.
"""

from contextlib import closing
from threading import Event

import structlog

from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError
from pdm.running import LOOK_S, STOP_WITHIN_S, InUse, follow_plant, leave, plant_number, stop_on_signal
from pdm.schedule import Schedule, load_pipelines
from pdm.serving import Server
from pdm.settings import Settings
from pdm.state.engines import database_file
from pdm.state.lease import Lease
from pdm.state.lock import next_leader
from pdm.web.app import create_app
from pdm.wiring import heartbeat_of, open_services, open_web_services, start_sending

_log = structlog.stdlib.get_logger(__name__)


def lead_pipelines(settings: Settings) -> None:
    """Run what is scheduled while this process leads, and wait for its turn while another one does; until SIGTERM.

    Raises:
        ConfigurationError: settings, plant or pipelines do not allow it.
    """
    _require_server(settings, "pipeline")
    stopping = stop_on_signal()
    while not stopping.is_set():
        _log.info("waiting to lead")
        with next_leader(settings.state_url(), stopping) as lease:
            if lease is not None:
                _lead(settings, lease, stopping)


def _lead(settings: Settings, lease: Lease, stopping: Event) -> None:
    with closing(open_services(settings, ServiceClock(), fence=lease.fence)) as services:
        in_use = InUse(plant_number(services))
        pipelines = load_pipelines(settings.pipelines_folder(), {"tick": settings.tick.interval_ms})
        schedule = Schedule(services, pipelines, heartbeat_of(settings))
        start_sending(services)
        schedule.start()
        _log.info("leading", fence=lease.fence)
        while not stopping.wait(LOOK_S) and not lease.lost.is_set():
            schedule.follow_clock()
            in_use = follow_plant(services, settings, in_use)
        if lease.lost.is_set():
            _log.error("another process leads: this one has fallen silent for too long")
        if not schedule.stop(STOP_WITHIN_S):
            lease.give_back()
            leave("a run is cut short; whoever leads next repeats it")
        _log.info("no longer leading")


def serve(settings: Settings) -> None:
    """Answer people and systems until SIGTERM; any number of such processes, of which those of one host share a port.

    Raises:
        ConfigurationError: settings do not allow it.
        StoreError: the state database does not answer, or has another schema.
    """
    _require_server(settings, "serve")
    settings.check_exposure()
    stopping = stop_on_signal()
    with closing(open_web_services(settings, ServiceClock())) as services:
        in_use = InUse(plant_number(services))
        app = create_app(services, settings.api_key_hashes())
        server = Server(app, settings.http.host, settings.http.port, shared=True)
        server.start()
        _log.info("serving", pages=server.address)
        while not stopping.wait(LOOK_S):
            in_use = follow_plant(services, settings, in_use)
        server.stop()
        _log.info("stopped")


def _require_server(settings: Settings, role: str) -> None:
    if database_file(settings.state_url()) is not None:
        raise ConfigurationError(
            f"is a file, which one process writes: `{role}` needs PostgreSQL, or run all of it by `pdm-twin up`",
            key="state.url",
        )
