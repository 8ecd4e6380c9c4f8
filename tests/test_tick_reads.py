"""A tick on InfluxDB asks for what is new, whatever lies behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxReadings, InfluxServer
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.clocks import ServiceClock
from pdm.forward import Forwarder
from pdm.tick import tick
from tests.influx import ORG, TOKEN, InfluxDB, Proxy
from tests.small_plant import HOUR, START, make_services, readings


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    server = InfluxDB(tmp_path / "influx").start()
    made = Proxy(server.port)
    yield made
    made.close()
    server.stop()


def bytes_of_ticks(folder: Path, proxy: Proxy, history: int) -> list[int]:
    """How many bytes the ticks read in each of the four hours after so many hours of history."""
    services, spool = make_services(folder), Spool(folder / "readings")
    server = InfluxServer(InfluxLink(proxy.url, ORG, folder.name, TOKEN))
    log, letters = SpoolWriter(folder / "readings" / "http.db", 10**9), ReadingLogWriter(folder / "readings" / "f.db")
    forwarder = Forwarder(services.engine, spool, InfluxPoints(server), lambda: letters, ServiceClock(), 10**9)
    services.readings = InfluxReadings(server, services.engine, spool)
    found = []
    for first, last in [(0, history), *((hour, hour + 1) for hour in range(history, history + 4))]:
        for source in ("fan1", "fan2"):
            log.append({"fan": readings(source, range(first, last))})
        forwarder.forward()
        proxy.answered.clear()
        tick(services, START + (last + 1) * HOUR)
        found.append(sum(proxy.answered))
    for store in (log, letters, services):
        store.close()
    return found[1:]


def test_the_bytes_that_a_tick_reads_do_not_grow_with_history(tmp_path: Path, proxy: Proxy) -> None:
    short, long = (bytes_of_ticks(tmp_path / f"after{hours}", proxy, hours) for hours in (20, 500))
    assert min(short) > 200
    assert max(long) < 1.2 * max(short)  # numbers may have a digit more
