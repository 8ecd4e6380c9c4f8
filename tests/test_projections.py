"""Twins and prognoses as points in a real InfluxDB (tests/influx.py)."""

import csv
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from pdm import projections
from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxServer
from pdm.adapters.influx.points import projected_lines
from pdm.errors import StoreError
from pdm.ports import Projection
from pdm.prognosis import MEDIAN
from pdm.projections import Projector
from pdm.services import Services
from pdm.state import forwarding, schema
from pdm.state.cohorts import load_beliefs
from pdm.state.schema import read, write
from pdm.tick import tick
from tests.influx import ORG, TOKEN, InfluxDB, Proxy, error
from tests.small_plant import HOUR, START, feed, make_services, readings


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    started = InfluxDB(tmp_path_factory.mktemp("influx")).start()
    yield started
    started.stop()


class Bench:
    """A plant, and the bucket that its twins and prognoses go to."""

    def __init__(self, folder: Path, port: int):
        self.services, self.proxy = make_services(folder), Proxy(port)
        self.server = InfluxServer(InfluxLink(self.proxy.url, ORG, f"test-{token_hex(6)}", TOKEN, timeout_ms=5_000))
        self.server.prepare_bucket()
        self.projector = Projector(self.services.engine, InfluxPoints(self.server))

    def tick(self, hour: int) -> None:
        tick(self.services, START + hour * HOUR)

    def points(self, measurement: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self.server.query(f'SELECT * FROM "{measurement}"').decode().splitlines()))  # noqa: S608 - our own name

    def close(self) -> None:
        self.services.close()
        self.server.close()
        self.proxy.close()


@pytest.fixture
def bench(tmp_path: Path, influxdb: InfluxDB) -> Iterator[Bench]:
    made = Bench(tmp_path, influxdb.port)
    feed(made.services, readings("fan1", range(300)), readings("fan2", range(290)))
    made.tick(270)
    yield made
    made.close()


def issued(services: Services) -> list[Any]:
    told = schema.prognoses
    with read(services.engine) as connection:
        return list(connection.execute(select(told).order_by(told.c.issued_ms, told.c.serial)))


def test_every_machine_with_a_step_has_a_point_a_tick(bench: Bench) -> None:
    assert bench.projector.send() == 4
    first, second = bench.points("fan.twin")
    with read(bench.services.engine) as connection:
        stored = load_beliefs(connection, "fan")
    assert stored is not None
    believed = stored.beliefs
    assert (first["serial"], second["serial"], int(first["time"])) == ("F-1", "F-2", START + 270 * HOUR)
    assert float(first["exposure"]) == believed.exposure[0]
    assert float(first["steps"]) == believed.steps[0]
    assert float(first["duty_rate"]) == believed.duty_rate[0]
    median = believed.prognosis.quantiles[0, MEDIAN]
    assert float(first["used_life"]) == believed.exposure[0] / (believed.exposure[0] + median)
    assert float(first["failure_p50_ms"]) == round(stored.at_ms + median / believed.duty_rate[0] * HOUR)
    assert 0 < float(first["risk"]) < 1
    assert (first["refusal"], first["source"]) == ("none", "fan1")


def test_every_issued_prognosis_is_a_point(bench: Bench) -> None:
    for hour in (290, 330):
        bench.tick(hour)
    bench.projector.send()
    told, points = issued(bench.services), bench.points("fan.prognosis")
    assert len(told) > 3
    found = [(int(p["time"]), p["serial"], float(p["rul_p50"]), p["basis"], p["mode"]) for p in points]
    expected = [(p.issued_ms, p.serial, p.quantiles[MEDIAN], p.basis, p.mode or "") for p in told]
    assert sorted(found) == sorted(expected)
    assert all(float(p["rul_p10_hours"]) <= float(p["rul_p50_hours"]) <= float(p["rul_p90_hours"]) for p in points)


def test_a_forecast_that_is_refused_shows_its_reason_and_no_life(bench: Bench) -> None:
    bench.projector.send()
    bench.tick(360)
    bench.projector.send()
    latest = bench.points("fan.twin")[-1]
    assert (latest["refusal"], latest["rul_p50"], latest["risk"]) == ("stale", "", "")


def test_nothing_is_sent_twice_and_sending_again_changes_nothing(bench: Bench) -> None:
    bench.projector.send()
    before, writes = (bench.points("fan.twin"), bench.points("fan.prognosis")), len(bench.proxy.writes)
    assert bench.projector.send() == 0
    assert Projector(bench.services.engine, InfluxPoints(bench.server)).send() == 0
    assert len(bench.proxy.writes) == writes
    with write(bench.services.engine) as connection:
        connection.execute(delete(forwarding.projected))
    assert Projector(bench.services.engine, InfluxPoints(bench.server)).send() == 4
    assert (bench.points("fan.twin"), bench.points("fan.prognosis")) == before


def test_ticks_go_on_while_the_store_is_away_and_no_prognosis_is_missing_afterwards(bench: Bench) -> None:
    bench.proxy.faults.append(lambda _: error(503, "unavailable", "away"))
    for hour in (280, 290, 330):
        bench.tick(hour)
        with pytest.raises(StoreError):
            bench.projector.send()
    bench.proxy.faults.clear()
    bench.projector.send()
    assert len(bench.points("fan.prognosis")) == len(issued(bench.services)) > 3
    assert {int(point["time"]) for point in bench.points("fan.twin")} == {START + 330 * HOUR}


def test_many_points_are_one_write_a_block(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "BLOCK_POINTS", 3)
    for hour in (290, 330):
        bench.tick(hour)
    bench.projector.send()
    sizes = [body.count(b"\n") + 1 for body in bench.proxy.writes]
    assert max(sizes) == 3
    assert len(bench.points("fan.prognosis")) == len(issued(bench.services))


def test_points_that_can_never_be_written_keep_nothing_else_back(bench: Bench) -> None:
    bench.server.write(b"fan.twin,serial=F-0 exposure=1i 1")  # somebody else wrote an integer
    bench.projector.send()
    assert len(bench.points("fan.prognosis")) == len(issued(bench.services))
    assert bench.projector.degraded() == []


def test_a_machine_that_the_plant_no_longer_knows_keeps_nothing_back(bench: Bench) -> None:
    with write(bench.services.engine) as connection:
        connection.execute(schema.prognoses.update().where(schema.prognoses.c.serial == "F-2").values(serial="gone"))
    bench.projector.send()
    assert {point["serial"] for point in bench.points("fan.prognosis")} == {"F-1"}


def test_serials_of_any_name_are_written_but_those_that_break_a_line() -> None:
    serials = np.array(["a b,c=d", "ends in\\", "ü"], dtype=object)
    texts = {"refusal": np.array(["none", "none", 'so "called" \\'], dtype=object)}
    values = np.array([[1.0, np.nan], [2.0, 2.0], [3.0, np.inf]])
    points = Projection("twin", "my fan", serials, np.array([7, 8, 9]), ("steps", "risk"), values, texts)
    assert projected_lines(points).decode().splitlines() == [
        r'my\ fan.twin,serial=a\ b\,c\=d steps=1.0,refusal="none" 7',
        r'my\ fan.twin,serial=ü steps=3.0,refusal="so \"called\" \\" 9',
    ]
