"""The client library of InfluxDB, used as its users do, against a running service."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from pdm.clocks import ServiceClock
from tests.system.conftest import Station
from tests.system.service import DAY_MS, Service, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS


@pytest.fixture
def client(station: Station) -> Iterator[Any]:
    with InfluxDBClient(url=station.service.address, token="any", org="plant") as client:
        yield client


def steps(service: Service, serial: str) -> int:
    return int(service.get(f"assets/{serial}/twin")["steps"])


def test_points_and_a_table_that_the_client_writes_are_readings(station: Station, client: Any) -> None:
    writing = client.write_api(write_options=SYNCHRONOUS)
    points = [
        Point("press").tag("source", "s8").field("number", number).time(BASE_MS + 1000 * number, WritePrecision.MS)
        for number in range(20)
    ]
    writing.write("pdm", record=points, write_precision=WritePrecision.MS)
    times = pd.date_range(pd.Timestamp(BASE_MS, unit="ms", tz="UTC"), periods=30, freq="s", name="time")
    table = pd.DataFrame({"number": range(30), "source": "s9"}, index=times)
    writing.write("pdm", record=table, data_frame_measurement_name="press", data_frame_tag_columns=["source"])
    wait_until(lambda: (steps(station.service, "S-8"), steps(station.service, "S-9")) == (20, 30), "no readings")


def test_the_client_is_told_which_lines_are_refused(client: Any) -> None:
    lines = [f"press,source={source} number=1 {BASE_MS}" for source in ("nobody", "s8")]
    with pytest.raises(ApiException) as caught:
        client.write_api(write_options=SYNCHRONOUS).write("pdm", record=lines, write_precision=WritePrecision.MS)
    assert caught.value.status == 422
    assert "line 1: unknown_source" in caught.value.message


def test_the_client_finds_the_service_in_order(client: Any) -> None:
    assert client.ping()
    assert client.version()
