"""Which model speaks: chosen by people, kept with who, when and why, followed by what runs, never none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from pdm.active_models import Standing, publish
from pdm.adapters import model_folder
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.clocks import ReplayClock
from pdm.demo import Demo
from pdm.demo.fleets import PumpFleet
from pdm.demo_plants import pump_plant, pump_rules
from pdm.errors import ConflictError
from pdm.impact import impact_of
from pdm.models_command import ListedModel
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, head_of
from pdm.respond import Act, activate_model, expect_usable
from pdm.running import InUse, follow_plant, plant_number
from pdm.services import Services
from pdm.settings import Settings, load_settings, shipped_folder
from pdm.state.models import activate, activations_of
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import open_state, read, write
from pdm.tick import tick
from pdm.web.app import create_app
from pdm.wiring import open_services
from tests.small_plant import HOUR, START
from tests.system.conftest import Shell
from tests.system.test_models import hours_of_a_pump
from tests.web.station import client_on

SHIPPED = sorted((shipped_folder("trained_models") / "pump").iterdir())[-1]
PUMP = parse_plant(pump_plant(1, start_ms=START)).classes["pump"]


def trained_again(models: Path, seed: int) -> str:
    """Another version in a folder of models; it says what the shipped one says."""
    shipped: Model = model_folder.load(SHIPPED, PUMP)
    return model_folder.save(replace(shipped, facts=replace(shipped.facts, seed=seed)), models).name


@pytest.fixture(scope="module")
def challengers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions beside the shipped one."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (101, 102):
        trained_again(folder, seed)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A station of one pump; its folder of models is empty."""
    engine = open_state(f"sqlite:///{tmp_path / 'data' / 'state.db'}")
    with write(engine) as connection:
        store_plant(connection, pump_plant(1, start_ms=START), pump_rules(), START)
    engine.dispose()
    return load_settings(given={"data_dir": tmp_path / "data", "models": (tmp_path / "models",)})


@pytest.fixture
def services(settings: Settings, challengers: Path) -> Services:
    """The station after its first start, to which two models came later."""
    open_services(settings, ReplayClock(START)).close()
    shutil.copytree(challengers, settings.models[0])
    return open_services(settings, ReplayClock(START))


def newest(settings: Settings) -> str:
    return model_folder.versions(settings.models[0], "pump")[-1]


def newest_of(services: Services) -> str:
    assert services.trained is not None
    return services.trained.versions("pump")[0]


def history(services: Services) -> list[tuple[str, str, str]]:
    with read(services.engine) as connection:
        return [(row.version, row.who, row.reason) for row in activations_of(connection, "pump")]


def test_the_first_start_takes_what_there_is_and_keeps_it_when_others_are_trained(services: Services) -> None:
    assert services.models["pump"].version == SHIPPED.name
    assert history(services) == [(SHIPPED.name, "pdm-twin", "nobody had chosen one")]
    services.close()


def test_what_runs_follows_an_activation_and_loads_nothing_else_again(services: Services, settings: Settings) -> None:
    in_use, before = InUse(plant_number(services)), services.models["pump"]
    assert follow_plant(services, settings, in_use) == in_use
    assert services.models["pump"] is before
    with write(services.engine) as connection:
        activate_model(connection, "pump", newest(settings), Act("Ada", START, "better on the floor"))
    follow_plant(services, settings, in_use)
    assert services.models["pump"].version == newest(settings)
    assert history(services)[0] == (newest(settings), "Ada", "better on the floor")
    services.close()


def test_a_model_that_cannot_be_used_cannot_be_activated(services: Services, settings: Settings) -> None:
    assert services.trained is not None
    (settings.models[0] / "pump" / newest(settings) / "squared0.txt").write_text("no forest")
    described = {one.version: one for one in services.trained.described(PUMP)}
    assert "does not match its hash" in str(described[newest(settings)].problem)
    with pytest.raises(ConflictError, match=r"squared0\.txt .* What was active stays so"):
        expect_usable(services.trained, PUMP, newest(settings))
    other = replace(PUMP, conditions=())
    assert all("another description" in str(one.problem) for one in services.trained.described(other)[1:])
    services.close()


def test_what_was_active_before_stands_in_for_a_model_that_was_damaged(services: Services, settings: Settings) -> None:
    first, second = model_folder.versions(settings.models[0], "pump")
    with write(services.engine) as connection:
        for version in (first, second):
            activate(connection, "pump", version, START, "Ada", "")
    services.close()
    (settings.models[0] / "pump" / second / "manifest.json").unlink()
    again = open_services(settings, ReplayClock(START))
    assert again.models["pump"].version == first
    assert "manifest" in again.model_problems["pump"]
    assert history(again)[0] == (second, "Ada", "")
    again.close()


def test_what_nobody_chose_is_chosen_again_once_it_is_gone(services: Services, settings: Settings) -> None:
    with write(services.engine) as connection:
        activate(connection, "pump", "0001-0123456789ab", START, "pdm-twin", "nobody had chosen one")
    services.close()
    again = open_services(settings, ReplayClock(START))
    assert again.models["pump"].version == SHIPPED.name
    version, who, why = history(again)[0]
    assert (version, who) == (SHIPPED.name, "pdm-twin")
    assert "0001-0123456789ab cannot be used" in why
    again.close()


def test_the_first_model_of_a_class_becomes_active_and_the_next_one_challenges(
    settings: Settings, challengers: Path, tmp_path: Path
) -> None:
    folders = [challengers / "pump" / version for version in model_folder.versions(challengers, "pump")]
    engine = open_state(settings.state_url())
    assert [publish(engine, folder, Act("Ada", START)) for folder in folders] == [
        Standing.ACTIVE,
        Standing.CHALLENGER,
    ]
    engine.dispose()
    services = open_services(settings, ReplayClock(START))
    assert services.models["pump"].version == folders[0].name
    taken = model_folder.versions(settings.taken_models_folder(), "pump")
    assert taken == [folder.name for folder in folders]
    services.close()


def test_a_demo_takes_up_what_people_activate_while_it_runs(challengers: Path, tmp_path: Path) -> None:
    given = {"data_dir": tmp_path / "demo", "models": (challengers,), "http": {"port": 0}, "mqtt": {"enabled": "off"}}
    with Demo(PumpFleet(1, seed=1), load_settings(given=given)) as demo:
        assert demo.services.models["pump"].version != SHIPPED.name
        url = f"{demo.address}/api/v1/models"
        httpx2.post(f"{url}/pump/activate", json={"version": SHIPPED.name, "who": "Ada"}, timeout=60).raise_for_status()
        demo.follow()
        assert httpx2.get(url, timeout=60).json()["classes"][0]["speaks"] == SHIPPED.name


def test_a_comparison_lists_what_would_change_and_changes_nothing(services: Services) -> None:
    log = ReadingLogWriter(services.own_models.parent / "data" / "readings" / "mqtt.db")  # type: ignore[union-attr]
    log.append({"pump": hours_of_a_pump(300)})
    log.close()
    tick(services, START + 300 * HOUR)
    same = services.models["pump"]
    whole = head_of(same).whole
    spread = replace(whole.spread, quantiles=whole.spread.quantiles / 50)
    short = replace(same, head=replace(head_of(same), whole=replace(whole, spread=spread)))
    before = history(services)
    with read(services.engine) as connection:
        plant = current_plant(connection)
        nothing = impact_of(connection, plant, plant.plant.classes["pump"], same)
        found = impact_of(connection, plant, plant.plant.classes["pump"], replace(short, version="0009-0123456789ab"))
    assert (nothing.machines, nothing.other_medians, nothing.differences) == (1, 0, ())
    assert history(services) == before
    client = client_on(create_app(services))
    beside = client.get("/api/v1/models/pump/beside", params={"version": newest_of(services)}).json()
    assert (beside["active"], beside["lives"], beside["since"]) == (SHIPPED.name, 0, "1970-01-01T00:00:00Z")
    assert client.get("/api/v1/models/pump/beside?version=0009-0123456789ab").status_code == 404
    (difference,) = found.differences
    assert difference.serial == "P-001"
    assert difference.now.median is not None
    assert difference.then.median is not None
    assert difference.then.median < difference.now.median
    assert difference.then.preferred_ms != difference.now.preferred_ms
    services.close()


def test_models_are_listed_shown_activated_and_rolled_back_by_command(
    shell: Shell, challengers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plant.yaml").write_text(pump_plant(1, start_ms=START))
    (tmp_path / "rules.yaml").write_text(pump_rules())
    shutil.copytree(challengers, tmp_path / "models")
    monkeypatch.setenv("PDM_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LOGNAME", "ada")
    assert shell("apply", "--yes").code == 0
    first, second = model_folder.versions(challengers, "pump")
    assert "has no active model" in shell("models", "show", "pump").err
    for version in (first, second):
        assert shell("models", "activate", "pump", version, "--reason", "try it").code == 0
    listed = [json.loads(line) for line in shell("models", "list", "--json").out.splitlines()]
    assert [(one["version"], one["active"]) for one in listed] == [
        (second, True),
        (first, False),
        (SHIPPED.name, False),
    ]
    compared = shell("models", "compare", "pump", first).out
    assert f"{first} beside {second}" in compared
    assert "none of its forecasts has met its end" in compared
    assert "Beside each other: no machine has failed that neither had seen." in compared
    assert json.loads(shell("models", "compare", "pump", first, "--json").out)["impact"]["machines"] == 0
    assert json.loads(shell("models", "rollback", "pump", "--json").out)["version"] == first
    shown = shell("models", "show", "pump").out
    assert "# Model of class pump" in shown
    assert f"{second} activated by ada: try it" in shown
    refused = shell("models", "activate", "pump", first)
    assert refused.code == 1
    assert "is active already" in refused.err
    assert "`pdm-twin models list`" in shell("models", "activate", "pump", "0009-0123456789ab").err
    assert "expected pump" in shell("models", "show", "fan").err
    assert "nothing to learn from" in shell("train", "pump").out


def test_a_model_without_failures_is_listed_as_an_alarm(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [ListedModel("fan", "0001-3b12976323e9", True, 0, None, None)]
    monkeypatch.setattr("pdm.models_command.list_models", lambda settings: listed)
    assert shell("models", "list").out == "fan\t0001-3b12976323e9\tfrom 0 failures, alarm only\tactive\n"
