"""A model with another frame: its twins are folded portion by portion while the one before it speaks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from sqlalchemy import delete, update

from pdm import catching_up, cohort, respond, twin
from pdm.catching_up import activate, catch_up, version_before, work
from pdm.clocks import ReplayClock
from pdm.columns import Columns
from pdm.errors import ConflictError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life, train
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.ports import Models
from pdm.prognosis.learned import Model, Origin
from pdm.respond import Act
from pdm.services import Services
from pdm.state.catching_up import coming_of
from pdm.state.models import activations_of
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import catching_up as kept_rows
from pdm.state.schema import checkpoints, read, write
from pdm.tick import tick
from pdm.web import snapshot
from tests.small_plant import HOUR, PLANT, START, feed, make_services, readings, report
from tests.web.station import client_of

FAN = parse_plant(PLANT).classes["fan"]
ADA = Act("Ada", START, "spring lives included")
HOURS = 60


@dataclass
class Shelf:
    """Models that are proven already."""

    models: dict[str, Model]
    loaded: int = 0

    def versions(self, class_name: str) -> list[str]:
        return list(self.models)

    def described(self, asset_class: AssetClass) -> list[object]:
        return []

    def load(self, asset_class: AssetClass, version: str) -> Model:
        self.loaded += 1
        return self.models[version]


@pytest.fixture(scope="module")
def old() -> Model:
    lives = []
    for number, hours in enumerate((300, 420, 540)):
        random = np.random.default_rng(number)
        vibration = 2.0 + 2.4 * np.arange(hours) / hours + 0.06 * random.standard_normal(hours)
        speed = 1500 + random.standard_normal(hours)
        columns = np.column_stack([speed, vibration, vibration + 0.1])
        lives.append(Life(f"T-{number}", columns, np.ones(hours), failed=True))
    return replace(train(FAN, lives, seed=1, origin=Origin.SIMULATED), version="0001")


@pytest.fixture
def services(tmp_path: Path, old: Model) -> Services:
    """Three fans after some days under the first model; another one waits on the shelf."""
    services = make_services(tmp_path)
    shelf = Shelf({"0001": old, "0002": replace(old, version="0002")})
    services.trained, services.models = cast(Models, shelf), {"fan": old}
    with write(services.engine) as connection:
        respond.activate_model(connection, "fan", "0001", Act("Ada", START))
    feed(services, *(readings(source, range(HOURS)) for source in ("fan1", "fan2", "fan3")))
    tick(services, START + HOURS * HOUR)
    return services


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A portion takes one machine."""
    monkeypatch.setattr(catching_up, "PORTION_S", 0.0)


def choose(services: Services, version: str, *, now: bool = False) -> bool:
    with write(services.engine) as connection:
        return activate(connection, FAN, version, ADA, now=now)


def active(services: Services) -> str:
    with read(services.engine) as connection:
        return str(activations_of(connection, "fan")[0].version)


def coming(services: Services) -> str:
    with read(services.engine) as connection:
        return str(coming_of(connection, "fan"))


def restarted(services: Services, model: Model) -> Services:
    """The same station after a kill: what was in memory is gone."""
    return Services(
        engine=services.engine,
        readings=services.readings,
        clock=services.clock,
        trained=services.trained,
        models={"fan": model},
    )


def twins(services: Services, model: Model) -> Columns:
    """The twins as the state database gives them back."""
    with read(services.engine) as connection:
        plant = current_plant(connection)
        fleet = current_fleet(connection, plant)
        found = cohort.restored(connection, plant, FAN, model, fleet, fleet.serials_of("fan"))
        return twin.to_columns(found.twin, found.serials)


def test_a_short_history_is_folded_at_once(services: Services) -> None:
    assert choose(services, "0002")
    assert active(services) == "0002"
    assert catch_up(services) == "nothing to catch up"


@pytest.mark.usefixtures("one_by_one")
def test_while_a_model_catches_up_the_one_before_it_speaks_and_a_kill_costs_a_portion(
    services: Services, old: Model
) -> None:
    assert not choose(services, "0002")
    assert (active(services), coming(services)) == ("0001", "catching up: 0 of 3 machines")
    assert catch_up(services) == "fan: 0002 is catching up: 1 of 3 machines"
    services = restarted(services, old)
    assert catch_up(services) == "fan: 0002 is catching up: 2 of 3 machines"
    feed(services, *(readings(source, range(HOURS, HOURS + 12)) for source in ("fan1", "fan2", "fan3")))
    tick(services, START + (HOURS + 12) * HOUR)
    assert services.cohorts["fan"].model is old
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + (HOURS + 6) * HOUR))
    tick(services, START + (HOURS + 13) * HOUR)
    assert catch_up(services) == "fan: 0002 has caught up and speaks"
    with read(services.engine) as connection:
        newest = activations_of(connection, "fan")[0]
        assert (newest.version, newest.who, newest.reason) == ("0002", ADA.who, ADA.reason)
        assert coming_of(connection, "fan") is None
    model = replace(old, version="0002")
    beside = twins(services, model)
    with write(services.engine) as connection:
        connection.execute(delete(checkpoints))
    from_all_steps = twins(services, model)
    assert all(
        np.array_equal(beside[name], values, equal_nan=values.dtype.kind == "f")
        for name, values in from_all_steps.items()
    )


@pytest.mark.usefixtures("one_by_one")
def test_to_go_back_gives_up_what_is_catching_up_and_is_at_once_where_twins_are_kept(
    services: Services, old: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(services, "0002")
    with pytest.raises(ConflictError, match="catching up: 0 of 3 machines"):
        choose(services, "0002")
    with read(services.engine) as connection:
        assert version_before(connection, "fan") == "0001"
    assert choose(services, "0001")
    assert (active(services), coming(services)) == ("0001", "None")
    assert choose(services, "0002", now=True)
    services.models["fan"] = replace(old, version="0002")
    monkeypatch.setattr(cohort, "CHECKPOINT_EVERY_TICKS", 1)
    tick(services, START + (HOURS + 1) * HOUR)
    with read(services.engine) as connection:
        assert version_before(connection, "fan") == "0001"
    assert not choose(services, "0001")
    assert choose(services, "0001", now=True)
    assert choose(services, "0002")
    assert active(services) == "0002"


@pytest.mark.usefixtures("one_by_one")
def test_damaged_twins_are_folded_anew_and_another_choice_gives_up_the_first(services: Services) -> None:
    choose(services, "0002")
    catch_up(services)
    with write(services.engine) as connection:
        connection.execute(update(kept_rows).values(crc=1))
    assert catch_up(services) == "fan: 0002 is catching up: 1 of 3 machines"
    cast(Shelf, services.trained).models["0003"] = replace(services.models["fan"], version="0003")
    assert not choose(services, "0003")
    assert coming(services) == "catching up: 0 of 3 machines"
    assert catch_up(services) == "fan: 0003 is catching up: 1 of 3 machines"


@pytest.mark.usefixtures("one_by_one")
def test_the_page_and_the_api_say_how_far_it_is(services: Services) -> None:
    assert isinstance(services.clock, ReplayClock)
    services.clock.advance(START + HOURS * HOUR)
    client = client_of(services)
    choice = {"version": "0002", "who": "Ada", "reason": "spring lives included"}
    answer = client.post("/api/v1/models/fan/activate", json=choice)
    assert answer.status_code == 200, answer.text
    assert answer.json()["active"] == "0001"
    assert answer.json()["coming"]["machines"] == 3
    catch_up(services)
    snapshot.expire(services)
    shown = client.get("/models").text
    assert "0002, activated by Ada" in shown
    assert "is catching up: 1 of 3 machines" in shown


def test_machines_side_by_side_are_folded_cheaper_than_one_after_the_other() -> None:
    year = np.full(1000, 8760)
    assert work(year) < 1000 * work(year[:1]) / 10
    assert work(np.empty(0, dtype=np.int64)) == 0.0
