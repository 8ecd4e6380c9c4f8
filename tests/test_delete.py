"""`pdm-twin delete readings`: one machine, on whichever store, and what stays."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.cli import app
from pdm.delete_command import AT_ONCE_MS, Place, delete_readings, places_of
from pdm.errors import ConfigurationError, NotFoundError
from pdm.installations import ALWAYS_MS, NEVER_MS, EventKind, MaintenanceEvent
from pdm.settings import Settings
from tests.adapters import deletion_sweep
from tests.adapters.compaction_sweep import filled, kill_everywhere
from tests.small_plant import HOUR, START, make_services, readings, report, rows

DAY = 24 * HOUR


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two fans for 30 hours; then the spare takes over from the second one for good."""
    services = make_services(tmp_path, ReadingLog(tmp_path / "readings"))
    report(services, MaintenanceEvent("F-2", EventKind.REPLACED, START + 30 * HOUR, by_serial="F-3"))
    with closing(ReadingLogWriter(tmp_path / "readings" / "mqtt.db")) as writer:
        writer.append({"fan": readings("fan1", range(30))})
        LogCompactor(tmp_path / "readings").compact(2**62)
        writer.append({"fan": readings("fan2", range(40))})
    services.close()
    return Settings(data_dir=tmp_path)


def left(settings: Settings, source: str) -> int:
    with closing(ReadingLog(settings.readings_folder())) as store:
        return len(store.window("fan", [source], ALWAYS_MS, NEVER_MS))


def delete(settings: Settings, *arguments: str) -> str:
    """What the command says."""
    environment = {"PDM_DATA_DIR": str(settings.data_dir)}
    return CliRunner().invoke(app, ["delete", "readings", *arguments], env=environment, catch_exceptions=False).output


def test_the_readings_of_one_machine_go_and_those_of_others_stay(settings: Settings) -> None:
    assert delete(settings, "--asset", "F-1", "--yes") == "F-1: 90 readings deleted\n"
    assert (left(settings, "fan1"), left(settings, "fan2")) == (0, 120)
    assert delete(settings, "--asset", "F-1", "--yes", "--json") == '{"asset": "F-1", "readings": 0}\n'


def test_of_a_source_that_two_machines_sat_behind_only_those_of_one_go(settings: Settings) -> None:
    assert delete(settings, "--asset", "F-2", "--yes") == "F-2: 90 readings deleted\n"
    assert left(settings, "fan2") == 30


def test_only_what_lies_between_from_and_to_goes(settings: Settings) -> None:
    between = ("--from", "2026-01-05T10:00:00Z", "--to", "2026-01-05T12:00:00Z")
    assert delete(settings, "--asset", "F-1", *between, "--yes") == "F-1: 6 readings deleted\n"
    assert left(settings, "fan1") == 84


def test_years_are_deleted_part_by_part(settings: Settings) -> None:
    times = START + np.arange(8) * AT_ONCE_MS // 2
    with closing(ReadingLogWriter(settings.readings_folder() / "import.db")) as writer:
        writer.append({"fan": rows("fan1", times, np.ones((8, 2)))})
    assert delete_readings(settings, places_of(settings, "F-1", None, None)) == 98
    assert left(settings, "fan1") == 0


def test_what_is_wrong_is_said_before_anything_goes(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="--asset: there is no 'F-9'; did you mean 'F-"):
        places_of(settings, "F-9", None, None)
    with pytest.raises(ConfigurationError, match="--to: expected a time after --from"):
        places_of(settings, "F-1", START, START)
    with pytest.raises(NotFoundError, match="F-2 sat behind no source in that time"):
        places_of(settings, "F-2", START + 31 * HOUR, None)
    with pytest.raises(ConfigurationError, match="--yes goes on without asking"):
        delete(settings, "--asset", "F-1")
    assert left(settings, "fan1") == 90


def test_a_question_names_sources_and_times() -> None:
    assert str(Place("fan", "fan1", ALWAYS_MS, NEVER_MS)) == "'fan1'"
    assert re.fullmatch(
        r"'fan1' from 2026-01-05T00:00.* to 2026-01-06T00:00.*", str(Place("fan", "fan1", START, START + DAY))
    )


@pytest.mark.parametrize("every", [311, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_anywhere_a_deletion_has_deleted_all_or_nothing(tmp_path: Path, every: int) -> None:
    (sound := tmp_path / "sound").mkdir()
    filled(sound)
    assert kill_everywhere(sound, tmp_path / "killed", every, deletion_sweep.__name__) > 500 // every
