"""Puts the service together: picks the adapters that settings ask for, and nothing else does."""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import joblib
import structlog
from sqlalchemy import Engine

from pdm.active_models import note_choice, speaking
from pdm.adapters.heartbeat import Heartbeat
from pdm.adapters.model_folder import ModelFolders
from pdm.adapters.notifiers import notifiers_of
from pdm.adapters.reading_log import LogCompactor, LogThinner, ReadingLog, ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.adapters.workers import Workers
from pdm.errors import ConfigurationError, ForeignModelError, NotFoundError, TakenError
from pdm.forward import Forwarder
from pdm.ingest import Ingest
from pdm.ingest.adopt import LOOK_MS, OVERLAP_MS, AdoptedBucket
from pdm.ingest.decode import Decoder
from pdm.ingest.drop import DropFolder
from pdm.ingest.sparkplug import NODES_FILE, GoneFile
from pdm.plant import Plant
from pdm.ports import Clock, Notifier, PointSource, ReadingStore, Simulation
from pdm.projections import Projector
from pdm.rules.ruleset import Secret
from pdm.services import Services
from pdm.settings import Settings, read_secret
from pdm.shared_models import share, take_shared
from pdm.state.engines import database_file, refuse_damaged, state_engine
from pdm.state.ledger import interrupt_runs
from pdm.state.models import activations_of, last_activation
from pdm.state.plants import CurrentPlant, current_plant
from pdm.state.schema import open_state, read, require_newest, write

if TYPE_CHECKING:
    from pdm.adapters import influx

_log = structlog.stdlib.get_logger(__name__)


def open_services(
    settings: Settings,
    clock: Clock,
    *,
    fence: int | None = None,
    log_name: str | None = None,
    simulation: Simulation | None = None,
) -> Services:
    """The service on its stores, for the one process that ticks.

    Args:
        fence: the number of the lease by which this process leads; without one a lock keeps others out.
        log_name: name of the reading log that this process writes for readings that come by HTTP; None takes none.
    """
    refuse_damaged(settings.state_url())
    engine = open_state(settings.state_url()).execution_options(fence=fence)
    with write(engine) as connection:
        interrupt_runs(connection)
    services = _services(settings, engine, clock)
    services.compactor = LogCompactor(settings.readings_folder())
    if services.forwarder is not None:
        services.compactor = services.forwarder.thinner
    services.leads = True
    services.workers = Workers(settings.pipeline.backend, settings.pipeline.workers or joblib.cpu_count())
    services.simulation = simulation
    with read(engine) as connection:
        try:
            plant = current_plant(connection)
        except NotFoundError:
            return services
    use_plant(services, settings, plant)
    if log_name is not None:
        services.ingest = open_ingest(settings, plant, clock, log_name)
        start_sending(services)
        services.drop = drop_folder(settings, engine, clock)
        services.adopted = adopted_bucket(settings, engine, clock)
    return services


def open_web_services(settings: Settings, clock: Clock) -> Services:
    """The service for a process that answers people while another one ticks; it writes a log of its own.

    Raises:
        StoreError: the state database has not the schema of this program: the process that ticks brings it there.
        NotFoundError: there is no plant yet.
    """
    engine = state_engine(settings.state_url())
    with read(engine) as connection:
        require_newest(connection)
        plant = current_plant(connection)
    services = _services(settings, engine, clock)
    use_plant(services, settings, plant)
    services.ingest = open_ingest(settings, plant, clock, "http", *(f"http-{number}" for number in range(2, 100)))
    if services.forwarder is not None:
        services.forwarder.start()
    return services


def start_sending(services: Services) -> None:
    """Send readings and conclusions on, where there is another store for them."""
    if services.forwarder is not None:
        services.forwarder.start()
    if services.projector is not None:
        services.projector.background.start()


def open_forwarder(settings: Settings, engine: Engine, clock: Clock) -> Forwarder | None:
    """What forwards the logs of this host in a process that only takes readings; None where they are the store."""
    forwarder = _open_readings(settings, engine, clock)[1]
    if forwarder is not None:
        forwarder.start()
    return forwarder


def _services(settings: Settings, engine: Engine, clock: Clock) -> Services:
    readings, forwarder, projector = _open_readings(settings, engine, clock)
    return Services(
        engine=engine,
        readings=readings,
        forwarder=forwarder,
        projector=projector,
        clock=clock,
        gone=GoneFile(settings.readings_folder() / NODES_FILE),
        trained=ModelFolders(settings.model_folders()),
        own_models=settings.own_models_folder(),
        public_url=settings.http.public_url or "",
    )


def adopted_bucket(settings: Settings, engine: Engine, clock: Clock) -> AdoptedBucket | None:
    """The bucket of others whose new readings go into a log of their own, read from now on; None where there is none.

    Raises:
        ConfigurationError: its token is missing.
    """
    given = settings.adopt
    if given.url is None:
        return None
    adopted = AdoptedBucket(
        foreign_bucket(given.url, given.org, given.bucket, settings.adopt_token()),
        given.measurements,
        partial(open_log, settings, "adopted"),
        partial(plant_in_force, engine),
        clock,
        interval_ms=LOOK_MS if given.interval_ms is None else given.interval_ms,
        overlap_ms=OVERLAP_MS if given.overlap_ms is None else given.overlap_ms,
    )
    adopted.background.start()
    return adopted


def plant_in_force(engine: Engine) -> Plant:
    """The plant of this moment, for those who ask again and again."""
    with read(engine) as connection:
        return current_plant(connection).plant


def drop_folder(settings: Settings, engine: Engine, clock: Clock) -> DropFolder | None:
    """The folder whose files go into a log of their own, watched from now on; None where there is none."""
    if settings.readings.drop_folder is None:
        return None
    log, plant = partial(open_log, settings, "drop", large=True), partial(plant_in_force, engine)
    folder = DropFolder(settings.readings.drop_folder, log, plant, clock)
    folder.start()
    return folder


def _open_readings(
    settings: Settings, engine: Engine, clock: Clock
) -> tuple[ReadingStore, Forwarder | None, Projector | None]:
    """What readings are read from: the logs, or InfluxDB and what forwards the logs and projects conclusions to it."""
    folder = settings.readings_folder()
    if settings.influx.url is None:
        return ReadingLog(folder), None, None
    from pdm.adapters import influx  # takes half a second, which only those who use it should wait

    folder.mkdir(parents=True, exist_ok=True)
    server, spool = influx.InfluxServer(_influx_link(settings)), _spool(settings)
    points = influx.InfluxPoints(server)
    forwarder = Forwarder(
        engine,
        spool,
        points,
        partial(ReadingLogWriter, folder / "forward.db"),
        clock,
        _spool_bytes(settings),
        partial(LogThinner, folder),
    )
    return influx.InfluxReadings(server, engine, spool), forwarder, Projector(engine, points)


def reading_store(settings: Settings, engine: Engine) -> ReadingStore:
    """What readings are read from, for a command beside the service."""
    if settings.influx.url is None:
        return ReadingLog(settings.readings_folder())
    from pdm.adapters import influx

    server = influx.InfluxServer(_influx_link(settings))
    return influx.InfluxReadings(server, engine, _spool(settings))


def ask_influx(settings: Settings) -> None:
    """See whether InfluxDB answers and has the bucket.

    Raises:
        StoreError: it does not, with the reason.
    """
    from pdm.adapters import influx

    with closing(influx.InfluxServer(_influx_link(settings))) as server:
        server.query("SHOW MEASUREMENTS LIMIT 1")


def foreign_bucket(url: str, org: str, bucket: str, token: str) -> PointSource:
    """A bucket that others write, to be read and never written."""
    from pdm.adapters import influx

    return influx.InfluxBucket(influx.InfluxServer(influx.InfluxLink(url, org, bucket, token)))


def _influx_link(settings: Settings) -> "influx.InfluxLink":
    from pdm.adapters import influx

    given, token = settings.influx, settings.influx_token()
    link = influx.InfluxLink(given.url or "", given.org, given.bucket, token, given.retention_ms)
    return link if given.timeout_ms is None else replace(link, timeout_ms=given.timeout_ms)


def _spool(settings: Settings) -> Spool:
    return Spool(settings.readings_folder(), kept_ms=settings.influx.retention_ms)


def open_log(settings: Settings, name: str, *, large: bool = False) -> ReadingLogWriter:
    """The log that one process writes, perhaps in large commits; bounded where it is the spool in front of a store."""
    folder = settings.readings_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.db"
    if settings.influx.url is None:
        return ReadingLogWriter(path, large=large)
    return SpoolWriter(path, _spool_bytes(settings), large=large)


def _spool_bytes(settings: Settings) -> int:
    return settings.influx.spool_mb * 1_000_000


def use_plant(services: Services, settings: Settings, plant: CurrentPlant) -> None:
    """Bring the models and routes of a plant into use; a model that cannot be used is named and left out.

    Raises:
        ConfigurationError: a route cannot be used; everything else is in use.
    """
    use_models(services, settings, plant)
    use_routes(services, settings, plant)


def use_models(services: Services, settings: Settings, plant: CurrentPlant) -> None:
    """Bring the active models into use; one that cannot be used is named, and another one speaks in its place."""
    take_shared(services.engine, plant.plant, settings.model_folders(), settings.taken_models_folder())
    with read(services.engine) as connection:
        number = last_activation(connection)
        chosen = {name: [row.version for row in activations_of(connection, name)] for name in plant.plant.classes}
    trained = ModelFolders(settings.model_folders())
    found = {
        name: speaking(trained, asset_class, chosen[name], services.models.get(name))
        for name, asset_class in plant.plant.classes.items()
    }
    if services.leads:
        with write(services.engine) as connection:
            for name, one in found.items():
                note_choice(connection, name, one, services.clock.plant_ms())
    # at once, since a tick may be under way
    services.models = {name: one.model for name, one in found.items() if one.model is not None}
    services.model_problems = {name: str(one.problem) for name, one in found.items() if one.problem is not None}
    services.foreign_models = {
        name for name, one in found.items() if one.model is None and isinstance(one.problem, ForeignModelError)
    }
    services.activation = number
    if database_file(settings.state_url()) is None:
        versions = {name: model.version for name, model in services.models.items()}
        share(services.engine, versions, settings.model_folders())


def use_routes(services: Services, settings: Settings, plant: CurrentPlant) -> None:
    """Bring the routes of a plant into use, all that can be; one that cannot stays as it was.

    Raises:
        ConfigurationError: a route lacks its secret, or its address is refused.
    """
    routes, errors = dict[str, Notifier](), list[ConfigurationError]()
    for name, route in plant.rules.routes.items():
        try:
            routes |= notifiers_of({name: route}, _secret_of, settings.notify.allow_private)
        except ConfigurationError as error:
            errors.append(error)
            if name in services.notifiers:
                routes[name] = services.notifiers[name]
    services.notifiers = routes
    if errors:
        raise errors[0]


def open_ingest(settings: Settings, plant: CurrentPlant, clock: Clock, *log_names: str) -> Ingest:
    """The way of readings into the log of this process: the first of these that no other one writes.

    Raises:
        TakenError: others write them all.
    """
    for name in log_names[:-1]:
        with suppress(TakenError):
            return _ingest_into(open_log(settings, name), settings, plant, clock)
    return _ingest_into(open_log(settings, log_names[-1]), settings, plant, clock)


def _ingest_into(writer: ReadingLogWriter, settings: Settings, plant: CurrentPlant, clock: Clock) -> Ingest:
    return Ingest(Decoder(plant.plant, epoch_unit=settings.mqtt.epoch_unit), writer, clock)


def heartbeat_of(settings: Settings) -> Callable[[], None]:
    """What to call after each good tick.

    Raises:
        ConfigurationError: the address is refused.
    """
    url = settings.heartbeat_url()
    return (lambda: None) if url is None else Heartbeat(url, settings.notify.allow_private).beat


def _secret_of(secret: Secret) -> str:
    return read_secret(secret.file, secret.env)
