"""The commands beside `up`: what they print, what they change, and the code that they end with."""

import json
import shlex
from pathlib import Path

import pytest

from pdm import __version__
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.errors import StoreError
from pdm.ingest import files as reading_files
from pdm.state import told
from pdm.state.lock import sole_writer
from pdm.state.migrations import known_versions
from pdm.state.plants import current_plant
from pdm.state.schema import open_state, read, write
from tests.small_plant import PLANT, RULES, START
from tests.system.conftest import Ended, Shell


@pytest.fixture
def plant(shell: Shell, tmp_path: Path) -> Path:
    """The small plant in force; its file."""
    (tmp_path / "plant.yaml").write_text(PLANT)
    (tmp_path / "rules.yaml").write_text(RULES)
    assert shell("apply", "--yes").code == 0
    return tmp_path / "plant.yaml"


AS_READ = "(speed, vibration; cells between commas; decimal point)"
"""What `import readings` says that it has taken a file for."""


def state_url() -> str:
    return "sqlite:///pdm-data/state.db"


def test_the_version_is_shown(shell: Shell) -> None:
    assert shell("--version") == Ended(0, f"pdm-twin {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("up", "--fast"), ("run",), ("import", "readings", "--epoch-unit", "w", "x")],
)
def test_bad_usage_ends_with_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage" in ended.err


def test_a_table_becomes_a_plant_with_its_readings_by_the_commands_that_init_says(shell: Shell, tmp_path: Path) -> None:
    lines = [f"2026-01-{1 + hour // 24:02} {hour % 24:02}:00,{60 + hour % 7},Ada" for hour in range(240)]
    (tmp_path / "press 4.csv").write_text("\n".join(["Time,Oil temp [C],operator", *lines]))
    told = shell("init", "--from-csv", "press 4.csv", "--time-zone", "Europe/Berlin").out
    assert shell("check").code == shell("apply", "--yes").code == 0
    command = next(line for line in told.splitlines() if "pdm-twin import readings" in line).partition("pdm-twin ")[2]
    assert "240 rows" in shell(*shlex.split(command)).out
    assert shell("run", "tick").out.startswith("1 machine, ")


def test_cells_of_which_only_cycles_are_known_come_to_their_failures_by_the_commands_that_init_says(
    shell: Shell, tmp_path: Path
) -> None:
    lines = [f"B{cell};{cycle};{2 - cycle / 500:.3f};{cell % 2}C" for cell in range(3) for cycle in range(1, 41)]
    (tmp_path / "Zellen.csv").write_text("\n".join(["Cell ID;Cycle;Capacity [Ah];Rate", *lines]))
    told = shell("init", "--from-csv", "Zellen.csv", "--run-to-failure", "--group-column", "Rate").out
    assert "3 machines by 'Cell ID'" in told
    assert shell("apply", "--yes").code == 0
    commands = [line.partition("pdm-twin ")[2] for line in told.splitlines() if "pdm-twin import" in line]
    imported = [command for command in commands if "--count-from" in command or "failures.csv" in command]
    assert "120 rows" in shell(*shlex.split(imported[1])).out
    assert shell("run", "tick").code == 0
    assert "3 rows, 3 events" in shell(*shlex.split(imported[0])).out
    assert shell("run", "tick").code == shell("train", "machine").code == 0
    assert "since they name 2 groups, fewer than 5" in shell("models", "show", "machine").out


def test_a_folder_of_files_with_counters_and_clocks_becomes_a_plant_by_the_commands_that_init_says(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "presses").mkdir()
    for press, anew in (("Press 1", 150), ("Press 2", 300)):
        lines = [f"{1 + hour // 24:02}.01.2026;{hour % 24:02}:00;{60 + hour % 7};{hour % anew}" for hour in range(240)]
        rows = "\n".join(["Date;Time;Oil temp [C];Press hours", *lines])
        (tmp_path / "presses" / f"{press}.csv").write_text(rows)
    told = shell("init", "--from-csv", "presses", "--time-zone", "Europe/Berlin", "--from-new").out
    assert "2 machines by the names of files" in told
    assert shell("apply", "--yes").code == 0
    renew, read = (
        line.partition("pdm-twin ")[2]
        for line in told.splitlines()
        if "pdm-twin import " in line and "learned" not in line
    )
    assert "240 rows" in shell(*shlex.split(read)).out
    assert "1 rows, 1 events" in shell(*shlex.split(renew)).out


def test_work_orders_alone_become_a_life_table_by_the_commands_that_init_says(shell: Shell, tmp_path: Path) -> None:
    rows = "\n".join(f"P-{number};2020-01-01;2021-0{number + 1}-01" for number in range(8))
    (tmp_path / "orders.csv").write_text(f"Pump no;Installed;Failed\n{rows}\n")
    told = shell("init", "--from-orders", "orders.csv").out
    assert shell("apply", "--yes").code == 0
    (command,) = (line.partition("pdm-twin ")[2] for line in told.splitlines() if "import events" in line)
    assert "8 rows, 24 events" in shell(*shlex.split(command)).out
    trained = shell("train", "machine")
    assert trained.code == 0
    assert "life table of 8 failures" in trained.out


def test_what_init_writes_can_be_checked_applied_and_ticked(shell: Shell, tmp_path: Path) -> None:
    assert "pdm-twin check" in shell("init").out
    checked = json.loads(shell("check", "--json").out)
    assert (checked["classes"], checked["assets"]) == (1, 1)
    assert "- adds asset" in shell("apply", "--yes").out
    assert shell("run", "tick").out == "1 machine, 0 steps, 0 forecast, 0 told\n"
    assert (tmp_path / "pdm-data" / "state.db").exists()


def test_topics_explain_says_how_a_message_would_be_read(shell: Shell, plant: Path) -> None:
    plant.write_text(f'{PLANT}topics: [{{topic: "acme/{{source}}/{{sensor}}"}}]')
    said = shell("topics", "explain", "acme/fan1/speed", "1498")
    assert said.code == 0
    assert "by its subscription to acme/+/+." in said.out
    assert said.out.endswith("the time of arrival: speed 1498 rpm\n")
    (plant.parent / "payload").write_bytes(b"fast")
    refused = shell("topics", "explain", "acme/fan1/speed", "@payload", "--json")
    assert refused.code == 1
    told = json.loads(refused.out)
    assert not told["readable"]
    assert told["sentences"][-1].startswith("It would be a dead letter: wrong_type")


def test_init_overwrites_only_by_force(shell: Shell, tmp_path: Path) -> None:
    assert shell("init").code == 0
    (tmp_path / "plant.yaml").write_text("mine")
    refused = shell("init")
    assert (refused.code, (tmp_path / "plant.yaml").read_text()) == (2, "mine")
    assert "plant.yaml" in refused.err
    assert "--force" in refused.err
    assert shell("init", "--force").code == 0
    assert (tmp_path / "plant.yaml").read_text() != "mine"


def test_check_names_file_line_and_key_of_everything_that_is_wrong(shell: Shell, plant: Path) -> None:
    plant.write_text(PLANT.replace("unit: rpm", "unit: rpmm").replace("horizon: 1000", "horizon: soon"))
    ended = shell("check")
    assert ended.code == 2
    lines = ended.err.splitlines()
    wanted = PLANT.splitlines()
    horizon, rpm = (1 + next(i for i, line in enumerate(wanted) if text in line) for text in ("horizon", "unit: rpm"))
    assert f"plant.yaml:{horizon}: classes.fan.horizon" in lines[0]
    assert f"plant.yaml:{rpm}: classes.fan.sensors.speed.unit" in lines[1]


def test_check_warns_of_a_life_that_is_still_to_come_on_a_real_plant(shell: Shell, plant: Path) -> None:
    assert shell("check").err == ""
    text = PLANT.replace('fan2, start_of_life: "2026', 'fan2, start_of_life: "2126')
    line = next(i for i, written in enumerate(text.splitlines(), 1) if "2126" in written)
    plant.write_text(text)
    ended = shell("check")
    assert (ended.code, ended.err) == (
        0,
        f"warning: plant.yaml:{line}: assets[1].start_of_life: is still to come: until then nothing is counted\n",
    )
    plant.write_text("simulated: true" + text)
    assert shell("check").err == ""


def test_a_broken_plant_file_leaves_the_version_in_force(shell: Shell, plant: Path) -> None:
    plant.write_text(PLANT.replace("classes:", "classes"))
    assert shell("apply", "--yes").code == 2
    with read(engine := open_state(state_url())) as connection:
        assert current_plant(connection).number == 1
    engine.dispose()


def test_apply_shows_what_it_changes_and_the_same_again_changes_nothing(shell: Shell, plant: Path) -> None:
    plant.write_text(PLANT.replace("notice: 24 h", "notice: 36 h"))
    assert shell("apply", "--yes").out == "- class fan: notice was 1 d, becomes 36 h\nVersion 2 is in force.\n"
    assert shell("apply", "--yes").out == "- nothing changes\nVersion 2 is in force.\n"


def test_apply_changes_nothing_where_nobody_can_be_asked_unless_it_is_told_to(shell: Shell, plant: Path) -> None:
    assert shell("apply").out == "- nothing changes\nVersion 1 is in force.\n"
    plant.write_text(PLANT.replace("notice: 24 h", "notice: 36 h"))
    ended = shell("apply")
    assert (ended.code, ended.out) == (2, "- class fan: notice was 1 d, becomes 36 h\n")
    assert "nobody is there to be asked; --yes goes on without asking" in ended.err
    with read(engine := open_state(state_url())) as connection:
        assert current_plant(connection).number == 1
    engine.dispose()


def test_apply_refuses_to_orphan_what_is_open(shell: Shell, plant: Path) -> None:
    window = {"id": "w", "serial": "F-2", "target": "any", "status": "proposed", "updated_ms": START, "advised": {}}
    with write(engine := open_state(state_url())) as connection:
        told.add_interventions(connection, [window])
    plant.write_text("\n".join(line for line in PLANT.splitlines() if "F-2" not in line))
    ended = shell("apply", "--yes")
    assert ended.code == 2
    assert "asset F-2 still has open matters" in ended.err
    with read(engine) as connection:
        assert current_plant(connection).number == 1
    engine.dispose()


def test_without_a_plant_a_command_says_how_to_get_one(shell: Shell) -> None:
    for command in (("run", "tick"), ("import", "readings", "x.csv")):
        ended = shell(*command)
        assert (ended.code, ended.out) == (2, "")
        assert "pdm-twin apply" in ended.err


def test_run_names_the_pipelines_that_there_are(shell: Shell, plant: Path) -> None:
    ended = shell("run", "tock")
    assert ended.code == 2
    assert "tick" in ended.err


def test_run_leaves_the_work_to_a_service_that_is_up(shell: Shell, plant: Path) -> None:
    with sole_writer(state_url()):
        ended = shell("run", "tick")
    assert ended.code == 1
    assert "another pdm-twin (process " in ended.err
    assert shell("run", "tick").code == 0


def test_models_need_a_plant_whose_classes_they_are_of(shell: Shell) -> None:
    ended = shell("models", "list")
    assert ended.code == 1
    assert "no plant yet" in ended.err


def test_a_backtest_says_what_there_is_to_learn_from(shell: Shell, tmp_path: Path) -> None:
    times = ("--from", "2026-01-05T00:00:00Z", "--to", "2026-02-05T00:00:00Z")
    assert "no plant yet" in shell("backtest", "forecasts", "--class", "fan", *times).err
    assert shell("init").code == 0
    assert shell("apply", "--yes").code == 0
    assert "expected " in shell("backtest", "forecasts", "--class", "ship", *times).err
    said = shell("backtest", "forecasts", "--class", "fan", *times, "--out", "page.html")
    assert "0 models, 0 forecasts, 0 failures, 0 false alarms." in said.out
    assert "lives from start to failure" in said.out
    assert (tmp_path / "page.html").exists()


def history(hours: range) -> str:
    rows = [f"fan1,2026-01-05T{hour:02}:30:00Z,1500,{2 + hour / 100}" for hour in hours]
    return "\n".join(["source,time,speed,vibration", *rows, ""])


def stored() -> int:
    log = ReadingLog(Path("pdm-data/readings"))
    try:
        return len(log.window("fan", ["fan1"], 0, 2**60))
    finally:
        log.close()


def test_imported_readings_are_ticked_and_not_imported_twice(shell: Shell, plant: Path) -> None:
    Path("history.csv").write_text(history(range(10)))
    assert shell("import", "readings", "history.csv").out == f"history.csv: 10 rows {AS_READ}\n"
    assert shell("import", "readings", "history.csv").out == "history.csv: 10 rows, imported before\n"
    assert stored() == 10
    assert shell("run", "tick").out.startswith("3 machines, ")
    assert json.loads(shell("import", "readings", "history.csv", "--json").out)["already"] is True


def test_a_file_with_other_columns_and_units_is_imported_as_the_options_say(shell: Shell, plant: Path) -> None:
    text = "source,time,vib,operator\nfan1,2026-01-05T06:00:00Z,0.1,Kim\n"
    Path("history.csv").write_text(text)
    options = ("--rename", "vib=vibration", "--unit", "vibration=in/s", "--ignore", "operator")
    assert (
        shell("import", "readings", "history.csv", *options).out
        == f"history.csv: 1 row {AS_READ.replace('speed, vibration', 'vib as vibration')}\n"
    )
    assert stored() == 1


def test_an_import_that_was_cut_short_goes_on_where_it_stopped(
    shell: Shell, plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_files, "_BLOCK_BYTES", 300)
    Path("history.csv").write_text(history(range(24)))
    append, calls = ReadingLogWriter.append, []

    def fails_once(writer: ReadingLogWriter, *given: object, **named: object) -> None:
        calls.append(named)
        if len(calls) == 2:
            raise StoreError("the disk is full")
        append(writer, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ReadingLogWriter, "append", fails_once)
    ended = shell("import", "readings", "history.csv")
    assert (ended.code, "the disk is full" in ended.err) == (1, True)
    before = stored()
    assert 0 < before < 24
    assert shell("import", "readings", "history.csv").out == f"history.csv: 24 rows {AS_READ}\n"
    assert stored() == 24


def test_bad_rows_go_to_a_report_and_the_others_in(shell: Shell, plant: Path) -> None:
    Path("history.csv").write_text(history(range(3)) + "fan1,tomorrow,1,1\nnobody,2026-01-05T00:00:00Z,1,1\n")
    ended = shell("import", "readings", "history.csv")
    assert ended.out == f"history.csv: 5 rows, 2 of them bad: see pdm-data/import-report.csv {AS_READ}\n"
    report = Path("pdm-data/import-report.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in report[1:]] == ["wrong_timestamp", "unknown_source"]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (None, (), "cannot be opened"),
        ("source,when,speed\n", (), "has no column 'time'"),
        ("source,time,torque\n", (), "hold no sensor of the plant"),
        ("source,time,speed\n", ("--unit", "speed"), "--unit: expected NAME=VALUE, each name once, not 'speed'"),
        ("source,time,speed\n", ("--time-zone", "Nowhere"), "expected a zone such as Europe/Berlin, not 'Nowhere'"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_was_expected(
    shell: Shell, plant: Path, text: str | None, options: tuple[str, ...], words: str
) -> None:
    if text is not None:
        Path("history.csv").write_text(text)
    ended = shell("import", "readings", "history.csv", *options)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_migrate_goes_down_only_when_told_to_and_up_again(shell: Shell) -> None:
    newest = known_versions()[-1]
    assert shell("init").code == shell("apply", "--yes").code == 0
    assert shell("migrate").out == f"The state database has schema {newest}.\n"
    assert (shell("migrate", "--to", "0001").code, shell("migrate", "--to", "12", "--yes").code) == (2, 2)
    assert shell("migrate", "--to", "0001", "--yes").out == f"The state database has schema 0001. It had {newest}.\n"
    assert shell("migrate").out == f"The state database has schema {newest}. It had 0001.\n"
    assert shell("apply", "--yes").code == 0
