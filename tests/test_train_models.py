"""The pipeline that trains: lives from the stored steps of the plant, simulated pumps, C-MAPSS engines."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pdm import demo_plants, twin
from pdm.adapters import model_folder
from pdm.demo.lives import pump_lives
from pdm.errors import ConfigurationError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import life_of
from pdm.plant.file import parse_plant
from pdm.respond import Act
from pdm.schedule import load_pipelines
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.state.plants import add_event, current_fleet, current_plant, store_plant
from pdm.state.schema import read, write
from pdm.steps import Steps
from pdm.stored_lives import lives_of
from pdm.tick import tick
from pdm.training import train_class
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report

LIVED = {"F-1": 40, "F-2": 55, "F-3": 48}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Three fans that ran to failure."""
    made = make_services(tmp_path)
    for serial, hours in LIVED.items():
        feed(made, readings(f"fan{serial[-1]}", range(hours)))
        report(made, MaintenanceEvent(serial, EventKind.FAILED, START + hours * HOUR, mode="belt"), f"end of {serial}")
    tick(made, START + 60 * HOUR)
    return made


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipelines(shipped_folder("pipelines"))["train_models"]


def script(pipeline: Any) -> ModuleType:
    return sys.modules[pipeline.run.__module__]


def test_it_runs_by_hand_only(pipeline: Any) -> None:
    assert pipeline.trigger is None


def test_finished_lives_are_the_steps_in_which_a_machine_ran(services: Services, pipeline: Any) -> None:
    with read(services.engine) as connection:
        plant = current_plant(connection)
        fleet = current_fleet(connection, plant)
        lives = list(lives_of(connection, fleet, plant.plant.classes["fan"]))
    lives = [life for life in lives if life.failed]
    assert {life.serial: life.length for life in lives} == LIVED
    assert all(life.complete and life.mode == "belt" for life in lives)


def test_lives_are_of_the_groups_that_the_plant_file_names_now_and_models_made_before_stay_in_use(
    services: Services, tmp_path: Path
) -> None:
    before = str(train_class(services.engine, "fan", tmp_path / "models", Act("test", START)).version)
    with write(services.engine) as connection:
        store_plant(connection, PLANT.replace("slot: FAN-2,", "slot: FAN-2, group: north,"), RULES, START)
        took_over = MaintenanceEvent("F-2", EventKind.REPLACED, START + 55 * HOUR, by_serial="F-9")
        add_event(connection, "F-9 for F-2", took_over, who="test", recorded_ms=START)
    feed(services, readings("fan2", range(55, 60)))
    tick(services, START + 61 * HOUR)
    with read(services.engine) as connection:
        plant = current_plant(connection)
        lives = list(lives_of(connection, current_fleet(connection, plant), plant.plant.classes["fan"]))
    assert {life.serial: life.group for life in lives} == {"F-1": None, "F-2": "north", "F-3": None, "F-9": "north"}
    model = model_folder.load(tmp_path / "models" / "fan" / before, plant.declared.classes["fan"])
    after = train_class(services.engine, "fan", tmp_path / "models", Act("test", START))
    again = model_folder.load(tmp_path / "models" / "fan" / str(after.version), plant.declared.classes["fan"])
    assert (model.facts.groups, again.facts.groups) == (0, 1)


def test_a_plant_learns_from_its_own_failures(services: Services, pipeline: Any, tmp_path: Path) -> None:
    services.own_models = tmp_path / "models"
    said = pipeline.run(services, START)
    kept = model_folder.versions(tmp_path / "models", "fan")
    assert said.startswith(f"fan: {kept[0]} from 3 failures, CRPS ")
    assert "declared life" in said


def test_without_failures_it_says_what_is_missing(tmp_path: Path, pipeline: Any) -> None:
    services = make_services(tmp_path)
    services.own_models = tmp_path / "models"
    assert "no steps yet" in pipeline.run(services, START)
    feed(services, readings("fan1", range(40)))
    tick(services, START + 41 * HOUR)
    assert "3 steps of early life" in pipeline.run(services, START)


def test_without_a_folder_for_models_it_names_the_setting(tmp_path: Path, pipeline: Any) -> None:
    with pytest.raises(ConfigurationError, match="models"):
        pipeline.run(make_services(tmp_path), START)


def test_what_was_used_in_a_gap_counts_with_the_next_step() -> None:
    share = np.array([1.0, 0.5, np.nan, 0.0, 0.9, 1.0])
    hours = START + HOUR * np.arange(6)
    row = np.zeros(6, dtype=np.int64)
    steps = Steps(row, hours, hours + HOUR, share, np.ones(6, dtype=np.int32), np.arange(12.0).reshape(6, 2))
    fan = parse_plant(PLANT).classes["fan"]
    life = life_of(fan, "F-1", steps, None)
    # on average a step used (1 + 0.5 + 0 + 0.9 + 1) / 5 = 0.68
    assert life.share == pytest.approx([1.0, 0.5, 0.68 + 0.9, 1.0])
    assert life.columns[:, 0].tolist() == [0.0, 2.0, 8.0, 10.0]
    assert life.end_ms is not None
    assert life.end_ms[-1] == START + 6 * HOUR


def test_a_life_is_counted_at_the_reference_duty_as_the_twin_counts_it() -> None:
    text = PLANT.replace(
        "    costs:", "    stress: {law: inverse_power, of: speed, reference: 1500, exponent: 3}\n    costs:"
    )
    fan = parse_plant(text).classes["fan"]
    values = np.array([[1500.0, 2, 2], [3000, 2, 2], [0, 2, 2], [750, 2, 2]])
    hours = START + HOUR * np.arange(4)
    share = np.array([1.0, 0.5, 0.0, 1.0])
    steps = Steps(np.zeros(4, dtype=np.int64), hours, hours + HOUR, share, np.ones(4, dtype=np.int32), values)
    state = twin.start(fan, None, 1)
    twin.fold(fan, None, state, steps)
    assert life_of(fan, "F-1", steps, None).share == pytest.approx([1.0, 4.0, 0.125])
    assert life_of(fan, "F-1", steps, None).length == pytest.approx(state.exposure[0])


def test_simulated_pumps_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    pump = parse_plant(demo_plants.pump_plant(1, start_ms=0)).classes["pump"]
    first, again, other = (pump_lives(pump, 1, seed)[0] for seed in (1, 1, 2))
    assert first.columns.tobytes() == again.columns.tobytes()
    assert first.length != other.length
    assert first.mode in {mode.name for mode in pump.failure_modes}
    assert len(first.columns) <= first.length


@pytest.mark.slow
def test_a_pump_model_is_trained_saved_and_proven(pipeline: Any, tmp_path: Path) -> None:
    assert script(pipeline).main(["pump", "--lives", "6", "--out", str(tmp_path)]) == 0
    pump = parse_plant(demo_plants.pump_plant(1, start_ms=0)).classes["pump"]
    (version,) = model_folder.versions(tmp_path, "pump")
    model = model_folder.load(tmp_path / "pump" / version, pump)
    assert model.facts.lives == 6


def test_the_shipped_pump_model_belongs_to_the_pumps_of_the_demo() -> None:
    pump = parse_plant(demo_plants.pump_plant(1, start_ms=0)).classes["pump"]
    folder = shipped_folder("trained_models")
    model = model_folder.load(folder / "pump" / model_folder.versions(folder, "pump")[-1], pump)
    assert (model.facts.origin, model.facts.failures) == ("simulated", 80)


def test_turbofans_need_the_folder_of_their_data(pipeline: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script(pipeline).main(["turbofan"])
    assert "--data" in capsys.readouterr().err


def test_a_repair_ends_a_life_and_does_not_make_it_forgotten(tmp_path: Path, pipeline: Any) -> None:
    services = make_services(tmp_path)
    feed(services, readings("fan1", range(120)), readings("fan2", range(120)))
    tick(services, START + 120 * HOUR)
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 80 * HOUR, mode="belt"), "failure")
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 90 * HOUR), "repair")
    report(services, MaintenanceEvent("F-2", EventKind.REPAIRED, START + 95 * HOUR), "prevention")
    tick(services, START + 121 * HOUR)
    with read(services.engine) as connection:
        plant = current_plant(connection)
        fleet = current_fleet(connection, plant)
        lives = list(lives_of(connection, fleet, plant.plant.classes["fan"]))
    assert [(life.serial, life.length, life.failed) for life in lives[:2]] == [
        ("F-1", 80.0, True),
        ("F-2", 95.0, False),
    ]
    assert [(life.serial, life.failed) for life in lives[2:]] == [("F-1", False), ("F-2", False)]
