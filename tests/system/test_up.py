"""`pdm-twin up` with a real broker: what it takes in, what it does by itself, what may come and go while it runs."""

import os
import signal
from pathlib import Path

import numpy as np
import orjson
import pytest
from sqlalchemy import select

from pdm.clocks import ServiceClock
from pdm.settings import load_settings
from pdm.state.schema import read, runs
from pdm.wiring import open_services
from tests.system.conftest import MORE_ASSETS, Shell, Station
from tests.system.service import DAY_MS, PLANT, RULES, Service, apply, message, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS


def payload(number: int) -> bytes:
    return orjson.dumps(message(number, BASE_MS))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_readings_by_mqtt_and_by_http_reach_the_api_and_the_twin(station: Station) -> None:
    service = station.service
    for number in range(5):
        station.publish("p1", payload(number))
    answer = service.post([message(number, BASE_MS, source="p1") for number in range(5, 8)])
    assert (answer.status_code, answer.json()["stored"]) == (200, 3)
    wait_until(lambda: service.get("runs")["items"], "there is no tick")
    twin = wait_until(lambda: (t := service.get("assets/P-1/twin"))["steps"] == 8 and t, "the twin does not follow")
    assert (twin["exposure"], twin["sensors"][0]["value"]) == (8.0, 7.0)
    since = np.datetime_as_string(np.datetime64(BASE_MS, "ms"), timezone="UTC")
    readings = service.get("assets/P-1/readings", start=since)
    assert readings["sensors"]["number"]["values"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_the_schedule_runs_and_its_runs_stand_in_the_ledger(station: Station) -> None:
    seen = {run["scheduled_at"] for run in station.service.get("runs")["items"] if run["job"] == "tick"}

    def later() -> bool:
        runs = station.service.get("runs")["items"]
        done = {run["scheduled_at"] for run in runs if (run["job"], run["outcome"]) == ("tick", "done")}
        return len(done - seen) >= 2

    wait_until(later, "no tick")
    assert {run["outcome"] for run in station.service.get("runs")["items"]} <= {"done", "running"}


def test_a_second_service_on_the_same_data_says_who_works_on_it(
    station: Station, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(station.service.folder)
    ended = shell("up")
    assert (ended.code, ended.out) == (1, "")
    assert f"another pdm-twin (process {station.service.pid}) works on" in ended.err


def test_an_ingest_that_dies_is_started_again_and_loses_nothing(station: Station) -> None:
    service = station.service
    (ingest,) = children(service.pid)
    station.publish("s1", payload(0))
    os.kill(ingest, signal.SIGKILL)
    station.publish("s1", payload(1))
    station.flush()
    wait_until(lambda: service.get("assets/S-1/twin")["steps"] == 2, "readings are missing")
    assert children(service.pid) != [ingest]


def test_a_plant_applied_meanwhile_is_used_by_http_and_by_mqtt(station: Station) -> None:
    service = station.service
    assert service.post(message(0, BASE_MS, source="new")).json()["problems"][0]["reason"] == "unknown_source"
    asset = "  - {serial: NEW, class: press, slot: NEW, source: new, start_of_life: unknown}\n"
    (service.folder / "plant.yaml").write_text(PLANT + MORE_ASSETS + asset)
    applied = service.run("apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    assert "- adds asset NEW" in applied.stdout
    wait_until(lambda: service.post(message(1, BASE_MS, source="new")).status_code == 200, "HTTP does not follow")

    def by_mqtt() -> bool:
        station.publish("new", payload(2))  # known from its next look on
        return bool(service.get("assets/NEW/twin")["steps"] == 2)

    wait_until(by_mqtt, "MQTT does not follow")


def test_a_route_without_its_secret_is_named_and_the_service_goes_on(station: Station) -> None:
    service = station.service
    route = "routes:\n  cmms: {kind: webhook, url: https://cmms.example.com/hook, secret_env: NOT_SET}\n"
    apply(f"sqlite:///{service.data / 'state.db'}", PLANT + MORE_ASSETS, RULES + route)
    named = service.wait_for_event("plant version in use, but not all of it")
    assert "NOT_SET" in named["why"]
    assert service.post(message(0, BASE_MS, source="s2")).status_code == 200
    wait_until(lambda: service.get("assets/S-2/twin")["steps"] == 1, "no tick any more")


def test_a_run_that_takes_long_is_cut_short_by_the_end_and_named_so_at_the_next_start(tmp_path: Path) -> None:
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / "long.py").write_text(
        "import time\nSCHEDULE = 1\ndef run(services, at):\n    print('began', flush=True)\n    time.sleep(600)\n"
    )
    with Service(tmp_path / "plant", {"pipelines": str(pipelines)}) as service:
        service.start()
        wait_until(lambda: "began" in service.log_text(), "it does not run")
        assert service.stop() == 0
        assert any(line["event"].startswith("a run is cut short") for line in service.logged())
    services = open_services(load_settings(given={"data_dir": service.data}), ServiceClock())
    with read(services.engine) as connection:
        assert [run.outcome for run in connection.execute(select(runs))] == ["interrupted"]
    services.close()
