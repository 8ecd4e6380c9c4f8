"""A small plant at work, for the tests of the API: two fans near the end of their lives, an alert, advice and a window
each, and a spare with an awkward serial."""

from copy import deepcopy
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from pdm.adapters.memory_readings import MemoryReadings
from pdm.clocks import ReplayClock
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.ports import DeadLetter
from pdm.services import Services
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import open_state, read, write
from pdm.tick import tick
from pdm.web.app import create_app
from tests.databases import DATABASES
from tests.small_plant import HOUR, PLANT, RULES, START, feed, readings

AWKWARD = "a/b c#é"
NOW_HOURS = 480
NOW = START + NOW_HOURS * HOUR

_STATION = (
    PLANT.replace("source: fan1,", "source: fan1, place: [Nord, Water, Line 1, Cell 4],").replace(
        "source: fan2,", "source: fan2, place: [Nord, Water, Line 2], group: hot feed, criticality: 5,"
    )
    + f'  - {{serial: "{AWKWARD}", class: fan, slot: "slot/é", source: fan4, start_of_life: unknown}}\n'
)


def build(folder: Path) -> Services:
    """The station after `NOW_HOURS` hours."""
    engine = open_state(DATABASES.url(folder / "state.db"))
    with write(engine) as connection:
        store_plant(connection, _STATION, RULES, START)
    services = Services(engine=engine, readings=MemoryReadings(), clock=ReplayClock(START))
    for begin, end in ((0, NOW_HOURS - 24), (NOW_HOURS - 24, NOW_HOURS)):
        feed(services, *(readings(source, range(begin, end)) for source in ("fan1", "fan2")))
        tick(services, START + end * HOUR)
    assert isinstance(services.readings, MemoryReadings)
    services.readings.append({}, [DeadLetter("pdm/nord/x", b"{", "broken_json", "ends after 1 byte", NOW)])
    assert isinstance(services.clock, ReplayClock)
    services.clock.advance(NOW)
    return services


def copy(built: Services, folder: Path) -> Services:
    """The same station with a state and readings of its own, and a way in for more of them."""
    engine = open_state(DATABASES.copy(built.engine, folder / "state.db"))
    clock, kept = ReplayClock(NOW), deepcopy(built.readings)
    assert isinstance(kept, MemoryReadings)
    with read(engine) as connection:
        decoder = Decoder(current_plant(connection).plant)
    return Services(engine=engine, readings=kept, clock=clock, ingest=Ingest(decoder, kept, clock))


def client_of(services: Services, **options: object) -> TestClient:
    """A client of an application of its own."""
    return client_on(create_app(services, **options))  # type: ignore[arg-type]


def client_on(app: FastAPI) -> TestClient:
    """A client that shows what the application answers, also where it fails."""
    return TestClient(app, base_url="http://localhost", follow_redirects=False, raise_server_exceptions=False)
