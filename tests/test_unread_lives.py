"""Lives of which work orders tell and no readings."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pdm.applying import apply_files, read_files
from pdm.fleet_lives import review_lives
from pdm.installations import EventKind, MaintenanceEvent, fleet_of
from pdm.learn import Life
from pdm.models_command import train
from pdm.plant.file import parse_plant
from pdm.settings import load_settings
from pdm.state.fleet_lives import fleet_lives_of
from pdm.state.plants import add_event, store_plant
from pdm.state.schema import opened_state, read, write
from pdm.unread_lives import unread_lives
from tests.small_plant import HOUR, PLANT, RULES, START, make_services

HEAD, _ = PLANT.split("assets:")
ASSETS = [f"  - {{serial: F-{n}, class: fan, slot: S-{n}, source: f-{n}, start_of_life: unknown}}" for n in range(40)]
MANY = "\n".join([HEAD.replace("    running_when: {sensor: speed, above: 100}\n", ""), "assets:", *ASSETS])


def event(serial: int, kind: EventKind, hour: float) -> MaintenanceEvent:
    return MaintenanceEvent(f"F-{serial}", kind, START + round(hour * HOUR))


def orders() -> list[MaintenanceEvent]:
    """Forty machines new at hour 0: thirty fail by a Weibull law (shape 3, mean 1,000 h), five are taken out before."""
    lives = 1120 * np.random.default_rng(5).weibull(3, 40)
    made = [event(n, EventKind.REPAIRED, 0) for n in range(40)]
    for n, hours in enumerate(lives):
        if n % 4:
            made.append(event(n, EventKind.FAILED, hours))
        elif n % 8:
            made.append(event(n, EventKind.REMOVED, 0.6 * hours))
    return [*made, event(0, EventKind.INSPECTED, 0)]


def test_a_life_lasts_while_the_machine_is_installed_and_until_the_last_that_is_known() -> None:
    told = [
        *(event(1, EventKind.REPAIRED, 0), event(1, EventKind.FAILED, 100), event(1, EventKind.REPAIRED, 110)),
        *(event(2, EventKind.REPAIRED, 10), event(2, EventKind.REMOVED, 50), event(3, EventKind.REPAIRED, 130)),
    ]
    plant = parse_plant(MANY)
    lives = unread_lives(fleet_of(plant, told), plant.classes["fan"], [])
    assert [(one.serial, one.length, one.failed, one.running) for one in lives] == [
        *(("F-1", 100, True, False), ("F-1", 20, False, True), ("F-2", 40, False, False)),
    ]
    seen = Life("F-1", np.ones((1, 3)), np.ones(1), failed=True, end_ms=np.array([START + 60 * HOUR]))
    assert len(unread_lives(fleet_of(plant, told), plant.classes["fan"], [seen])) == 2


def test_a_silent_machine_is_a_spare_where_others_have_readings() -> None:
    plant = parse_plant(MANY.replace("source: f-9, start_of_life: unknown", "source: f-9, start_of_life: 2026-01-01"))
    fleet = fleet_of(plant, [event(2, EventKind.REPAIRED, 10), event(2, EventKind.FAILED, 50)])
    seen = Life("F-1", np.ones((1, 3)), np.ones(1), failed=True, end_ms=np.array([START + 60 * HOUR]))
    assert [one.serial for one in unread_lives(fleet, plant.classes["fan"], [])] == ["F-2", "F-9"]
    assert [one.serial for one in unread_lives(fleet, plant.classes["fan"], [seen])] == ["F-2"]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plant.yaml").write_text(MANY)
    Path("rules.yaml").write_text(RULES)
    settings = load_settings()
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        apply_files(connection, read_files(settings.plant, settings.rules), 0)
        for number, one in enumerate(orders()):
            add_event(connection, f"e{number}", one, who="test", recorded_ms=START)


@pytest.mark.usefixtures("plant")
def test_training_without_readings_gives_a_life_table_and_forecasts_by_age() -> None:
    found = train(load_settings(), "fan")
    assert found.version is None
    assert "life table of 30 failures and 10 lives that did not end so, all without readings" in found.text
    mean = float(found.text.split("expected_life: {mean: ")[1].split(",")[0])
    assert mean == pytest.approx(1000, rel=0.15)
    path = load_settings().data_dir / "by-age-fan.csv"
    assert str(path) in found.text
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 5
    assert {row["basis"] for row in rows} == {"life_table"}
    risks = [float(row["fails_within_horizon"]) for row in rows]
    assert risks == sorted(risks, reverse=True)


def test_a_declared_life_is_corrected_by_lives_without_readings(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    with write(services.engine) as connection:
        store_plant(connection, MANY, RULES, START)
        for number, one in enumerate(orders()):
            add_event(connection, f"e{number}", one, who="test", recorded_ms=START)
    assert "Fan lasts" in review_lives(services, START)
    with read(services.engine) as connection:
        (found,) = fleet_lives_of(connection)
    assert found.failures == 30
    assert found.mean == pytest.approx(950, rel=0.15)
