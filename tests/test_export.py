"""`pdm-twin export`: what is written can be read by others, and read back."""

import csv
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdm.adapters.reading_log import LogCompactor, ReadingLogWriter
from pdm.errors import ConfigurationError, NotFoundError
from pdm.export_command import Wanted, export_prognoses, export_readings, export_steps, export_twins
from pdm.installations import EventKind, MaintenanceEvent
from pdm.readings import Readings
from pdm.settings import Settings
from pdm.tick import tick
from pdm.wiring import reading_store
from tests.small_plant import HOUR, START, make_services, readings, report

DAY = 24 * HOUR
FANS = Wanted("fan", None, None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path)
    make_services(tmp_path).close()
    with closing(ReadingLogWriter(tmp_path / "readings" / "http.db")) as writer:
        writer.append({"fan": readings("fan1", range(30))})
        LogCompactor(tmp_path / "readings").compact(2**62)
        writer.append({"fan": readings("fan2", range(30))})
    return made


def test_readings_of_a_class_are_one_file_in_whatever_form_they_are_stored(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "fans.parquet"
    assert export_readings(settings, FANS, out, "parquet") == 2 * 30 * 3
    table = pd.read_parquet(out)
    assert list(table.columns) == ["source", "time", "speed", "vibration"]
    expected = readings("fan1", range(30))
    mine = table[table["source"] == "fan1"]
    assert (mine["time"].astype("int64") // (10**6 if mine["time"].dt.unit == "ns" else 1)).tolist() == (
        expected.time_ms.tolist()
    )
    np.testing.assert_array_equal(mine[["speed", "vibration"]].to_numpy(), expected.values)


def test_only_what_lies_between_from_and_to_is_exported(settings: Settings, tmp_path: Path) -> None:
    wanted = Wanted("fan", START + HOUR, START + 2 * HOUR)
    assert export_readings(settings, wanted, tmp_path / "hour.parquet", "parquet") == 6
    with pytest.raises(NotFoundError, match="nothing to export"):
        export_readings(settings, Wanted("fan", START + 9 * DAY, None), tmp_path / "none.parquet", "parquet")
    assert not list(tmp_path.glob("*none*"))


def test_csv_is_safe_in_a_spreadsheet_and_leaves_missing_values_empty(tmp_path: Path) -> None:
    make_services(tmp_path).close()
    values = np.array([[1.5, np.nan]])
    source = np.array(['=HYPERLINK("x"), y'], dtype=object)
    row = Readings(("speed", "vibration"), source, np.array([START]), values, np.zeros(1, dtype=np.uint8))
    with closing(ReadingLogWriter(tmp_path / "readings" / "http.db")) as writer:
        writer.append({"fan": row})
    export_readings(Settings(data_dir=tmp_path), FANS, tmp_path / "fans.csv", "csv")
    with (tmp_path / "fans.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["source", "time", "speed", "vibration"],
            ['\'=HYPERLINK("x"), y', "2026-01-05T00:00:00.000Z", "1.5", ""],
        ]


def test_steps_are_exported_as_they_stand(settings: Settings, tmp_path: Path) -> None:
    services = make_services(tmp_path, reading_store(settings, make_services(tmp_path).engine))
    tick(services, START + 30 * HOUR)
    services.close()
    assert export_steps(settings, FANS, tmp_path / "steps.csv", "csv") == 60
    table = pd.read_csv(tmp_path / "steps.csv")
    assert list(table.columns)[:6] == ["serial", "start", "end", "share", "count", "speed"]
    assert table["serial"].tolist() == ["F-1"] * 30 + ["F-2"] * 30
    assert (table["count"] == 3).all()


@pytest.fixture
def ticked(settings: Settings, tmp_path: Path) -> Settings:
    """After a tick, a failure of the first machine, and another tick."""
    services = make_services(tmp_path, reading_store(settings, make_services(tmp_path).engine))
    tick(services, START + 12 * HOUR)
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 20 * HOUR, mode="belt"))
    tick(services, START + 30 * HOUR)
    services.close()
    return settings


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    """The first row of each machine."""
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False)
    return {row["serial"]: row for row in reversed(table.to_dict("records"))}


def test_issued_prognoses_are_exported_with_how_that_life_ended(ticked: Settings, tmp_path: Path) -> None:
    out = tmp_path / "prognoses.parquet"
    assert export_prognoses(ticked, FANS, out, "parquet") >= 2
    first, other = rows_of(out)["F-1"], rows_of(out)["F-2"]
    assert (first["outcome"], first["outcome_mode"]) == ("failed", "belt")
    assert first["outcome_at"] == pd.Timestamp(START + 20 * HOUR, unit="ms", tz="UTC")
    assert first["issued"] == pd.Timestamp(START + 12 * HOUR, unit="ms", tz="UTC")
    assert pd.isna(other["outcome"])
    assert pd.isna(other["outcome_at"])
    quantiles = [value for name, value in other.items() if name.startswith("rul_q")]
    assert [name for name in other if name.startswith("rul_q")][:2] == ["rul_q0.005", "rul_q0.025"]
    assert len(quantiles) == 21
    assert quantiles == sorted(quantiles)
    assert (other["refusal"], other["basis"]) == ("none", "declared_life")


def test_a_stretch_of_prognoses_is_what_was_issued_in_it(ticked: Settings, tmp_path: Path) -> None:
    wanted = Wanted("fan", START + 13 * HOUR, None)
    export_prognoses(ticked, wanted, tmp_path / "late.csv", "csv")
    issued = pd.to_datetime(pd.read_csv(tmp_path / "late.csv")["issued"])
    assert (issued >= pd.Timestamp(START + 13 * HOUR, unit="ms", tz="UTC")).all()


def test_twins_are_what_is_believed_now(ticked: Settings, tmp_path: Path) -> None:
    assert export_twins(ticked, "fan", tmp_path / "twins.csv", "csv") == 3
    rows = rows_of(tmp_path / "twins.csv")
    assert (rows["F-2"]["source"], rows["F-2"]["steps"]) == ("fan2", 30)
    assert rows["F-2"]["last_reading"] == "2026-01-06T05:45:00.000Z"
    assert rows["F-1"]["refusal"] == "failed"
    assert rows["F-3"]["last_step"] == ""  # nothing was ever heard of it
    assert {"rul_q0.5", "mode_belt", "speed", "vibration_max"} <= rows["F-2"].keys()


def test_there_are_no_twins_before_the_first_tick(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="before the first tick"):
        export_twins(settings, "fan", tmp_path / "twins.csv", "csv")


def test_a_class_that_is_not_there_and_a_file_that_is_are_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--class: expected fan, not 'pump'"):
        export_readings(settings, Wanted("pump", None, None), tmp_path / "x.parquet", "parquet")
    (tmp_path / "x.parquet").touch()
    with pytest.raises(ConfigurationError, match="is there already"):
        export_readings(settings, FANS, tmp_path / "x.parquet", "parquet")
