"""Models that cannot be used: the service starts, says which and why, and its class refuses by a code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pdm.adapters.reading_log import ReadingLogWriter
from pdm.clocks import ReplayClock
from pdm.demo_plants import pump_plant, pump_rules
from pdm.prognosis import Refusal
from pdm.readings import Readings
from pdm.services import Services
from pdm.settings import load_settings, shipped_folder
from pdm.simulated_plant import PUMP_SENSORS
from pdm.state.plants import store_plant
from pdm.state.schema import open_state, write
from pdm.tick import tick
from pdm.web.app import create_app
from pdm.wiring import open_services
from tests.small_plant import HOUR, START
from tests.web.station import client_on

SHIPPED = sorted((shipped_folder("trained_models") / "pump").iterdir())[-1]


def station(folder: Path, plant: str) -> Services:
    """A station of one pump with this plant file; models from `folder / "models"` and those that are shipped."""
    engine = open_state(f"sqlite:///{folder / 'data' / 'state.db'}")
    with write(engine) as connection:
        store_plant(connection, plant, pump_rules(), START)
    engine.dispose()
    settings = load_settings(given={"data_dir": folder / "data", "models": (folder / "models",)})
    return open_services(settings, ReplayClock(START))


def hours_of_a_pump(hours: int) -> Readings:
    """A reading an hour from within the range of each sensor."""
    middle = [(sensor.low + sensor.high) / 2 for sensor in PUMP_SENSORS]
    return Readings(
        sensors=tuple(sensor.name for sensor in PUMP_SENSORS),
        source=np.full(hours, "pump01", dtype=object),
        time_ms=START + HOUR * np.arange(hours),
        values=np.tile(middle, (hours, 1)),
        flags=np.zeros(hours, dtype=np.uint8),
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a copy of the shipped model under a later name, so that it counts more."""
    shutil.copytree(SHIPPED, tmp_path / "models" / "pump" / f"9999-{SHIPPED.name[5:]}")
    return tmp_path / "models"


def test_a_truncated_model_is_named_and_an_older_whole_one_used(models: Path, tmp_path: Path) -> None:
    (forest,) = models.glob("pump/*/squared0.txt")
    forest.write_bytes(forest.read_bytes()[:-1000])
    services = station(tmp_path, pump_plant(1, start_ms=START))
    assert services.models["pump"].version == SHIPPED.name
    assert "squared0.txt does not match its hash" in services.model_problems["pump"]
    degraded = client_on(create_app(services)).get("/readyz").json()
    assert degraded["status"] == "degraded"
    assert "squared0.txt" in degraded["degraded"][0]
    services.close()


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"facts": {}, "files": {}}', '{"files": "x", "facts": 1}'])
def test_whatever_stands_in_a_manifest_the_service_starts(models: Path, tmp_path: Path, manifest: str) -> None:
    (file,) = models.glob("pump/*/manifest.json")
    file.write_text(manifest)
    services = station(tmp_path, pump_plant(1, start_ms=START))
    assert services.models["pump"].version == SHIPPED.name
    assert services.model_problems["pump"]
    services.close()


def test_a_model_of_other_machines_is_refused_by_a_code_that_the_api_shows(models: Path, tmp_path: Path) -> None:
    plant = pump_plant(1, start_ms=START).replace("degC", "degF")
    services = station(tmp_path, plant.replace("    expected_life: {mean: 2000, sd: 600}\n", ""))
    assert "pump" not in services.models
    assert "trained for another description of class pump" in services.model_problems["pump"]
    log = ReadingLogWriter(tmp_path / "data" / "readings" / "mqtt.db")
    log.append({"pump": hours_of_a_pump(30)})
    log.close()
    tick(services, START + 30 * HOUR)
    assert [Refusal(code) for code in services.cohorts["pump"].before.prognosis.refusal] == [Refusal.FOREIGN_MODEL]
    client = client_on(create_app(services))
    assert client.get("/api/v1/assets/P-001/prognosis").json()["refusal"] == "foreign_model"
    assert "trained for another description" in json.dumps(client.get("/api/v1/assets/P-001").json()["readiness"])
    services.close()
