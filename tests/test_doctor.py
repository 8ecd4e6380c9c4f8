"""What `pdm-twin doctor` finds, in a folder like that of a plant."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdm.applying import apply_files, read_files
from pdm.cli import app
from pdm.doctor import Finding, Level, examine
from pdm.settings import Settings, load_settings
from pdm.state import migrations
from pdm.state.engines import opened_engine
from pdm.state.ledger import begin_run, end_run
from pdm.state.schema import migrate_state, opened_state, read, write
from tests.mosquitto import Mosquitto
from tests.small_plant import HOUR, PLANT, RULES

MAIL = "routes:\n  crew: {kind: smtp, host: mail.example.com, to: [crew@example.com], from: pdm@example.com}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plant.yaml").write_text(PLANT)
    Path("rules.yaml").write_text(RULES)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()


def found(settings: Settings | None = None) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(settings or load_settings())}


def apply() -> None:
    settings = load_settings()
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        apply_files(connection, read_files(settings.plant, settings.rules), 0)


def ticked(outcome: str, ago_ms: int = 0) -> None:
    now_ms = time.time_ns() // 1_000_000 - ago_ms
    with opened_state(load_settings().state_url()) as engine, write(engine) as connection:
        begin_run(connection, "tick", now_ms, now_ms)
        end_run(connection, "tick", now_ms, now_ms, outcome, "ZeroDivisionError: x")


def test_before_there_is_anything_it_says_what_to_do_first() -> None:
    state = found()["state database"]
    assert (state.level, state.remedy) == (Level.WARNING, "run `pdm-twin apply`")
    assert not Path("pdm-data").exists()


def test_a_broken_plant_file_is_a_fault_and_the_rest_is_looked_at_all_the_same() -> None:
    Path("plant.yaml").write_text("plant: [")
    findings = found()
    assert findings["plant and rules file"].level == Level.FAULT
    assert "plant.yaml" in findings["plant and rules file"].found
    assert {"disk", "clock", "reading store"} <= findings.keys()


def test_files_that_say_something_else_than_what_is_in_force_are_named() -> None:
    apply()
    assert found()["plant in force"].level == Level.OK
    Path("plant.yaml").write_text(PLANT.replace("notice: 24 h", "notice: 48 h"))
    assert found()["plant in force"].found == "version 1; the files say 1 thing otherwise"


@pytest.mark.parametrize(
    ("outcome", "ago_ms", "level", "words"),
    [
        ("done", 0, Level.OK, "just now"),
        ("failed", 0, Level.FAULT, "ZeroDivisionError"),
        ("done", 3 * HOUR, Level.FAULT, "3 h ago"),
        ("done", -24 * HOUR, Level.FAULT, "in the future"),
    ],
)
def test_the_last_tick_is_judged(outcome: str, ago_ms: int, level: Level, words: str) -> None:
    apply()
    ticked(outcome, ago_ms)
    tick = found()["tick"]
    assert tick.level == level
    assert words in tick.found


def test_alerts_that_reach_nobody_are_a_warning() -> None:
    assert found()["routes"].level == Level.WARNING
    Path("rules.yaml").write_text(MAIL + RULES.replace("above: 10 %", "above: 10 %\n    routes: [crew]"))
    assert found()["routes"].found == "crew for 1 rule"


def test_a_damaged_state_database_is_a_fault() -> None:
    apply()
    file = Path("pdm-data/state.db")
    body = bytearray(file.read_bytes())
    body[4096 : len(body) // 2] = b"\x55" * (len(body) // 2 - 4096)
    file.write_bytes(body)
    assert found()["state database"].level == Level.FAULT


def test_a_database_of_an_older_schema_is_named_and_left_as_it_is() -> None:
    apply()
    url = load_settings().state_url()
    migrate_state(url, "0001")
    assert "has schema 0001" in found()["state database"].found
    with opened_engine(url) as engine, read(engine) as connection:
        assert migrations.version_of(connection) == "0001"


def test_an_influxdb_that_does_not_answer_is_a_fault() -> None:
    Path("pdm-data/readings").mkdir(parents=True)
    nobody = {"url": "http://127.0.0.1:9", "org": "plant", "token": "secret-token"}
    store = [one for one in examine(load_settings(given={"influx": nobody})) if one.what == "reading store"]
    assert [one.level for one in store] == [Level.OK, Level.FAULT]
    assert "secret-token" not in store[1].found


def test_an_adopted_bucket_that_does_not_answer_is_a_fault() -> None:
    nobody = {"url": "http://127.0.0.1:9", "bucket": "theirs", "token": "secret-token"}
    found_there = found(load_settings(given={"adopt": nobody}))["adopted bucket"]
    assert found_there.level == Level.FAULT
    assert "secret-token" not in found_there.found
    assert "adopted bucket" not in found()


def test_a_broker_that_answers_is_told_from_one_that_does_not(broker: Mosquitto) -> None:
    there = load_settings(given={"mqtt": {"port": broker.port}})
    assert found(there)["broker"].found == f"127.0.0.1:{broker.port} answers and lets us in"
    broker.stop()
    assert found(there)["broker"].level == Level.WARNING
    assert found(load_settings(given={"mqtt": {"port": broker.port, "enabled": "on"}}))["broker"].level == Level.FAULT
    assert found(load_settings(given={"mqtt": {"enabled": "off"}}))["broker"].level == Level.OK


def test_a_broker_that_refuses_us_says_why(tmp_path: Path) -> None:
    closed = Mosquitto(tmp_path, "allow_anonymous false\n").start()
    try:
        refused = found(load_settings(given={"mqtt": {"port": closed.port, "enabled": "on"}}))["broker"]
    finally:
        closed.stop()
    assert refused.level == Level.FAULT
    assert "Not authorized" in refused.found


def test_an_address_that_anybody_can_reach_without_a_key_is_a_fault() -> None:
    assert found(load_settings(given={"http": {"host": "0.0.0.0"}}))["exposure"].level == Level.FAULT  # noqa: S104


def test_the_command_fails_on_faults_alone_and_speaks_json() -> None:
    apply()
    ticked("done")
    told = CliRunner().invoke(app, ["doctor", "--json"])
    assert told.exit_code == 0
    assert {"what", "level", "found", "remedy"} == json.loads(told.stdout.splitlines()[0]).keys()
    ticked("failed", -1)
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1
