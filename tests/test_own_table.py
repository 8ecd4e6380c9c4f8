"""What is proposed for machines of which there is nothing but a table of readings."""

import shlex
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.adapters.memory_readings import MemoryReadings
from pdm.errors import ConfigurationError
from pdm.ingest.files import files_in
from pdm.ingest.history import import_files
from pdm.ingest.own_table import look_at
from pdm.own_plant import failures_text, import_command, plant_text, proposed_files, readiness, rules_text
from pdm.plant.file import parse_plant
from pdm.plant.wire import OF_FILE, TableForm
from pdm.rules.ruleset import DepartureRule, parse_rules

PLAIN = TableForm()
NOW = 1_768_600_000_000  # 2026-01-16
HOURS = pd.date_range("2026-01-01", periods=300, freq="h", tz="UTC")


def table(**more: object) -> pd.DataFrame:
    """300 hours of one machine."""
    random = np.random.default_rng(1)
    columns = {"Timestamp": HOURS, "Oil temp [C]": random.normal(60, 1, 300).round(1), "current_kA": random.random(300)}
    return pd.DataFrame(columns | more)


def written(folder: Path, frame: pd.DataFrame, name: str = "press_4.csv", **options: Any) -> Path:
    frame.to_csv(folder / name, index=False, **options)
    return folder / name


def test_times_machine_sensors_and_units_are_read_off_a_wide_table(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table()), PLAIN)
    assert look.form.time_column == "Timestamp"
    assert look.machines == ("press_4",)
    assert look.form.source == "press_4"
    assert [(one.name, one.column, one.unit) for one in look.sensors] == [
        ("Oil_temp", "Oil temp [C]", "degC"),
        ("current_kA", "current_kA", ""),
    ]
    assert (look.rows, look.every_ms, look.last_ms - look.first_ms) == (300, 3_600_000, 299 * 3_600_000)


def test_a_parquet_file_is_looked_at_as_well(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "press_4.parquet")
    look = look_at(tmp_path / "press_4.parquet", PLAIN)
    assert (look.machines, look.rows, look.every_ms) == (("press_4",), 300, 3_600_000)


def test_a_column_that_repeats_names_tells_the_machines_apart(tmp_path: Path) -> None:
    frame = pd.concat([table(machine=name) for name in ("A", "B")])
    look = look_at(written(tmp_path, frame), PLAIN)
    assert look.machines == ("A", "B")
    assert look.form.source_column == "machine"
    assert look.form.source is None


def test_a_column_of_any_name_tells_the_machines_apart_if_times_run_backwards_without_it(tmp_path: Path) -> None:
    frame = pd.concat([table(**{"Akku-Nr.": name, "hall": hall}) for name, hall in (("A", 1), ("B", 1), ("C", 2))])
    frame["operator"] = np.random.default_rng(2).choice(["Ada", "Bo"], len(frame))
    look = look_at(written(tmp_path, frame), PLAIN)
    assert (look.machines, look.form.source_column) == (("A", "B", "C"), "Akku-Nr.")
    assert look.left_out["operator"] == "no numbers"


def test_where_one_machine_is_taken_for_granted_other_columns_of_names_are_pointed_out(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(operator="Ada")), PLAIN)
    assert look.machines == ("press_4",)
    assert look.left_out["operator"] == "no numbers; if it names the machines: --source-column 'operator'"


def test_machines_that_came_later_than_others_are_taken_to_have_been_new(tmp_path: Path) -> None:
    frame = pd.concat([table(machine="old"), table(machine="new").iloc[200:]])
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    starts = {serial: asset.start_of_life_ms for serial, asset in parse_plant(plant_text(look, path)).assets.items()}
    assert starts == {"old": None, "new": int(HOURS[200].timestamp() * 1000)}
    assert any("1 machine came later than others" in sentence for sentence in readiness(look, NOW))


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("R (mOhm)", "mohm"),
        ("p [MPa]", "MPa"),
        ("depth %", "%"),
        ("flow [m3/h]", "m3/h"),
        ("level (max)", ""),
        ("pump A", ""),
        ("x [foo]", ""),
    ],
)
def test_a_unit_in_the_name_of_a_column_is_read_off(tmp_path: Path, column: str, unit: str) -> None:
    frame = table(**{column: np.random.default_rng(3).random(300)})
    assert look_at(written(tmp_path, frame), PLAIN).sensors[-1].unit == unit


def test_times_without_an_offset_are_said_to_be_taken_as_utc(tmp_path: Path) -> None:
    frame = table(Timestamp=HOURS.strftime("%Y-%m-%d %H:%M"))
    look = look_at(written(tmp_path, frame), PLAIN)
    assert any("taken as UTC" in sentence for sentence in readiness(look, NOW))
    look = look_at(written(tmp_path, frame), replace(PLAIN, time_zone=ZoneInfo("Europe/Berlin")))
    assert not any("taken as UTC" in sentence for sentence in readiness(look, NOW))


def test_one_value_a_row_is_a_table_of_sensors(tmp_path: Path) -> None:
    long = table().melt(id_vars="Timestamp", var_name="tag", value_name="value")
    look = look_at(written(tmp_path, long), PLAIN)
    assert (look.form.sensor_column, look.form.value_column) == ("tag", "value")
    assert [one.name for one in look.sensors] == ["Oil_temp", "current_kA"]
    assert look.rows == 300


def test_german_cells_are_understood(tmp_path: Path) -> None:
    frame = table().rename(columns={"Timestamp": "Zeit"})
    frame["Zeit"] = frame["Zeit"].dt.strftime("%d.%m.%Y %H:%M")
    path = written(tmp_path, frame, sep=";", decimal=",")
    look = look_at(path, replace(PLAIN, time_zone=ZoneInfo("Europe/Berlin")))
    assert look.form.time_format == "%d.%m.%Y %H:%M"
    assert look.first_ms == 1_767_222_000_000  # midnight in Berlin
    assert look.sensors[0].low == pytest.approx(frame["Oil temp [C]"].min())


def test_numbers_since_1970_are_times_in_their_unit(tmp_path: Path) -> None:
    frame = table(Timestamp=HOURS.as_unit("ms").asi8)
    assert look_at(written(tmp_path, frame), PLAIN).form.epoch_unit == "ms"


def test_dates_that_may_be_two_are_asked_about(tmp_path: Path) -> None:
    days = pd.date_range("2026-01-01", periods=12, freq="D").strftime("%m/%d/%Y %H:%M")
    path = written(tmp_path, pd.DataFrame({"time": days, "temp": np.arange(12) % 5}))
    with pytest.raises(ConfigurationError, match="--time-format"):
        look_at(path, PLAIN)
    assert look_at(path, replace(PLAIN, time_format="%m/%d/%Y %H:%M")).every_ms == 86_400_000


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("failure", np.r_[np.zeros(299), 1], "label"),
        ("row", np.arange(300), "counts the rows"),
        ("firmware", np.full(300, 7.5), "always 7.5"),
        ("operator", ["Ada"] * 300, "no numbers"),
    ],
)
def test_what_is_no_sensor_is_left_out_with_the_reason(tmp_path: Path, column: str, values: object, why: str) -> None:
    look = look_at(written(tmp_path, table(**{column: values})), PLAIN)
    assert why in look.left_out[column]
    assert column in look.form.ignore
    assert [one.name for one in look.sensors] == ["Oil_temp", "current_kA"]


def test_rows_marked_as_failures_are_counted_for_people(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(failure=np.r_[np.zeros(297), 1, 1, 1])), PLAIN)
    assert "may hold failures: failure is not zero in 3 rows" in readiness(look, NOW)


def test_a_table_without_times_or_sensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no column of a, b holds times"):
        look_at(written(tmp_path, pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": [4.0, 5.0, 7.0]})), PLAIN)
    with pytest.raises(ConfigurationError, match="looks like a sensor"):
        look_at(written(tmp_path, pd.DataFrame({"time": HOURS, "state": ["on"] * 300})), PLAIN)
    with pytest.raises(ConfigurationError, match="has no column 'when'"):
        look_at(written(tmp_path, table()), replace(PLAIN, time_column="when"))


def test_the_proposed_plant_takes_the_whole_table_in(tmp_path: Path) -> None:
    frame = pd.concat([table(machine=name, failure=0) for name in ("A 1", "B#2", "wêird/𐀀")])
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    plant = parse_plant(plant_text(look, path))
    kinds = {type(rule) for rule in parse_rules(rules_text(look), plant).rules}
    assert DepartureRule in kinds  # or nobody would hear what is learned from fewer than three failures
    store = MemoryReadings()
    done = import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert (done[0].rows, done[0].bad_rows) == (900, 0)
    assert len(store.window("machine", look.machines, 0, 2**60)) == 900


def test_the_command_to_import_says_what_was_found(tmp_path: Path) -> None:
    path = written(tmp_path, table(operator="Ada"))
    words = shlex.split(import_command(look_at(path, PLAIN), path))
    assert words[:4] == ["pdm-twin", "import", "readings", str(path)]
    assert words[4:] == [
        *("--time-column", "Timestamp", "--source", "press_4"),
        *("--rename", "Oil temp [C]=Oil_temp", "--ignore", "operator"),
    ]


@pytest.mark.parametrize(
    ("every", "rows", "step"),
    [
        *(("1s", 20_000, "1 min"), ("1min", 2_000, "10 min"), ("15min", 50, "15 min"), ("1h", 300, "1 h")),
        *(("12h", 300, "each: reading"), ("1D", 300, "1 d")),
    ],
)
def test_a_life_step_holds_a_reading_and_a_record_many(tmp_path: Path, every: str, rows: int, step: str) -> None:
    times = pd.date_range("2026-01-01", periods=rows, freq=every, tz="UTC")
    path = written(tmp_path, pd.DataFrame({"time": times, "temp": np.random.default_rng(1).random(rows)}))
    assert f"{{{step}" in plant_text(look_at(path, PLAIN), path).replace("every: ", "")


def test_a_table_that_windows_wrote_is_looked_at(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(**{"Öldruck [bar]": np.arange(300) % 7}), encoding="cp1252"), PLAIN)
    assert look.sensors[-1].column == "Öldruck [bar]"


def cycles(cells: int = 4) -> pd.DataFrame:
    """Cells of which only the number of the cycle is known, 40 to 70 of each."""
    rows = [
        pd.DataFrame({"Cell ID": f"B{cell}", "Cycle no.": np.arange(1, 41 + 10 * cell), "Capacity [Ah]": 2.0})
        for cell in range(cells)
    ]
    frame = pd.concat(rows, ignore_index=True)
    frame["Capacity [Ah]"] -= 0.001 * frame["Cycle no."]
    return frame


def test_a_table_that_counts_cycles_has_times_made_up_and_lives_from_the_first_cycle(tmp_path: Path) -> None:
    path = written(tmp_path, cycles())
    look = look_at(path, PLAIN)
    assert (look.form.source_column, look.form.time_column, look.form.epoch_unit) == ("Cell ID", "Cycle no.", "h")
    assert [sensor.name for sensor in look.sensors] == ["Capacity"]
    assert any(
        "times are made up: 'Cycle no.' counts h from 2020-01-01" in sentence for sentence in readiness(look, NOW)
    )
    plant = parse_plant(plant_text(look, path))
    assert (plant.classes["machine"].life_step.unit, plant.classes["machine"].horizon) == ("cycle", 28)
    assert {asset.start_of_life_ms for asset in plant.assets.values()} == {1_577_840_400_000}
    store = MemoryReadings()
    (done,) = import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert (done.rows, done.bad_rows) == (220, 0)
    assert store.window("machine", ["B0"], 0, 2**60).time_ms[-1] == 1_577_836_800_000 + 40 * 3_600_000


def test_a_column_of_seconds_from_the_start_is_time(tmp_path: Path) -> None:
    frame = pd.concat([table(rig=name).assign(Timestamp=np.arange(300) * 600.0) for name in ("R 1", "R 2")])
    look = look_at(written(tmp_path, frame.rename(columns={"Timestamp": "Elapsed (s)"})), PLAIN)
    assert (look.form.time_column, look.form.epoch_unit, look.form.source_column) == ("Elapsed (s)", "s", "rig")
    assert look.every_ms == 600_000


def test_a_time_of_day_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    frame = table(Timestamp=HOURS.strftime("%H:%M:%S")).rename(columns={"Timestamp": "Time"})
    with pytest.raises(ConfigurationError, match="no column was found that holds their date"):
        look_at(written(tmp_path, frame), PLAIN)


@pytest.mark.parametrize(
    ("date", "clock", "time_format"),
    [
        *(("%d.%m.%Y", "%H:%M:%S", "%d.%m.%Y %H:%M:%S"), ("%Y-%m-%d", "%H:%M", None)),
        *(("%Y-%m-%d 00:00:00", "%H:%M:%S", None), ("%Y%m%d", "%H:%M", None)),
        *(("%m/%d/%Y", "%I:%M %p", "%m/%d/%Y %I:%M %p"), ("%d-%b-%y", "%H:%M:%S", "%d-%b-%y %H:%M:%S")),
    ],
)
def test_a_date_and_a_time_of_day_in_two_columns_are_one_time(
    tmp_path: Path, date: str, clock: str, time_format: str | None
) -> None:
    frame = table(Time=HOURS.strftime(clock), Date=HOURS.strftime(date)).drop(columns="Timestamp")
    path = written(tmp_path, frame, sep=";")
    look = look_at(path, PLAIN)
    assert (look.form.time_column, look.form.clock_column, look.form.source) == ("Date", "Time", "press_4")
    assert look.form.time_format == time_format
    assert "--clock-column Time" in import_command(look, path)
    store = MemoryReadings()
    plant = parse_plant(plant_text(look, path))
    import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert store.window("machine", ["press_4"], 0, 2**60).time_ms.tolist() == HOURS.as_unit("ms").asi8.tolist()


def test_milliseconds_in_a_column_of_their_own_are_added(tmp_path: Path) -> None:
    times = pd.date_range("2026-01-01", periods=300, freq="250ms", tz="UTC").as_unit("ms")
    frame = table(epoch=times.asi8 // 1000, ms=times.asi8 % 1000).drop(columns="Timestamp")
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    assert (look.form.time_column, look.form.clock_column, look.form.epoch_unit) == ("epoch", "ms", "s")
    assert look.every_ms == 250
    store = MemoryReadings()
    plant = parse_plant(plant_text(look, path))
    import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert store.window("machine", ["press_4"], 0, 2**60).time_ms.tolist() == times.asi8.tolist()


def test_a_time_of_day_beside_whole_times_is_none_of_them(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(shift="06:00", built="2020-01-04")), PLAIN)
    assert (look.form.time_column, look.form.clock_column) == ("Timestamp", None)


def test_a_table_of_times_and_values_alone_is_a_machine_with_one_sensor(tmp_path: Path) -> None:
    frame = table()[["Timestamp", "Oil temp [C]"]].rename(columns={"Oil temp [C]": "value"})
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    assert [sensor.name for sensor in look.sensors] == ["value"]
    store = MemoryReadings()
    plant = parse_plant(plant_text(look, path))
    (done,) = import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert (done.rows, done.bad_rows) == (300, 0)


def test_a_table_without_names_of_columns_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the first row has to name the columns"):
        look_at(written(tmp_path, table(), sep=";", decimal=",", header=False), PLAIN)


def counted(*, first: float = 0.0, anew: int | None = None, pace: float = 0.5) -> pd.Series:
    """A counter of 300 hours of which a machine runs half."""
    count = first + pace * np.arange(300)
    if anew is not None:
        count[anew:] -= count[anew]
    return pd.Series(count.round(1))


def test_a_counter_of_hours_tells_when_machines_were_new_and_is_no_sensor(tmp_path: Path) -> None:
    frame = pd.concat([table(machine=m, hours=counted(first=h)) for m, h in (("A", 0.0), ("B", 100.0))])
    path = written(tmp_path, frame.rename(columns={"hours": "Pump hours [h]"}))
    look = look_at(path, PLAIN)
    assert "its age" in look.left_out["Pump hours [h]"]
    starts = {serial: asset.start_of_life_ms for serial, asset in parse_plant(plant_text(look, path)).assets.items()}
    assert starts["A"] == int(HOURS[0].timestamp() * 1000)
    assert starts["B"] == int(HOURS[0].timestamp() * 1000) - 200 * 3_600_000
    said = " ".join(readiness(look, NOW))
    assert "'Pump hours [h]' counts the age of each machine" in said
    assert "1 machine had run before the table begins" in said
    assert "came later" not in said
    assert "renewals" not in said


def test_a_count_that_begins_anew_is_proposed_as_another_life(tmp_path: Path) -> None:
    frame = pd.concat([table(machine=m, **{"Cycle counter": counted(anew=a)}) for m, a in (("A", 200), ("B", None))])
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    files = proposed_files(look, path)
    assert files["renewals.csv"].splitlines()[1:] == ['"A",2026-01-09T07:00:01Z,replaced,2026-01-09T08:00:00Z']
    assert "{kind: failed, at: ended, where: {why: failed}, mode: wear}" in files["renewals.yaml"]
    assert any("begins anew 1 time on 1 machine: renewals.csv" in sentence for sentence in readiness(look, NOW))
    assert ",failed," in proposed_files(look.run_to_failure(), path)["renewals.csv"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Tool wear [h]", np.arange(300) * 2.0),
        ("running hours left", np.arange(300)[::-1] * 0.5),
        ("hours of operation", np.random.default_rng(4).random(300)),
    ],
)
def test_what_is_not_called_so_or_falls_counts_no_age(tmp_path: Path, column: str, values: object) -> None:
    assert look_at(written(tmp_path, table(**{column: values})), PLAIN).ages is None


def test_the_files_of_a_folder_are_machines_unless_a_column_names_them(tmp_path: Path) -> None:
    folder = tmp_path / "presses"
    folder.mkdir()
    for name in ("Press 1", "Press 2"):
        written(folder, table(), f"{name}.csv", sep=";", decimal=",")
    look = look_at(folder, PLAIN)
    assert (look.machines, look.form.source) == (("Press 1", "Press 2"), OF_FILE)
    assert readiness(look, NOW)[0].startswith("2 machines by the names of files, 2 sensors, 600 rows")
    plant, store = parse_plant(plant_text(look, folder)), MemoryReadings()
    paths = files_in(folder)
    done = import_files(paths, store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert [(one.rows, one.bad_rows) for one in done] == [(300, 0), (300, 0)]
    assert len(store.window("machine", ["Press 2"], 0, 2**60)) == 300
    for month, name in enumerate(("2026-01", "2026-02")):
        frame = pd.concat([table(machine=m) for m in ("A", "B")])
        frame["Timestamp"] += pd.Timedelta(days=31 * month)
        written(folder, frame, f"{name}.csv", sep=";", decimal=",")
    for name in ("Press 1", "Press 2"):
        (folder / f"{name}.csv").unlink()
    assert look_at(folder, PLAIN).machines == ("A", "B")
    with pytest.raises(ConfigurationError, match="holds no tables"):
        look_at(tmp_path, PLAIN)


def test_a_number_that_stands_for_no_value_is_left_out_by_the_range(tmp_path: Path) -> None:
    pressure = np.random.default_rng(3).normal(3, 0.1, 300)
    pressure[[5, 100]] = -9999
    path = written(tmp_path, table(**{"p [bar]": pressure, "count": np.r_[np.full(298, 5.0), 9999, 7]}))
    look = look_at(path, PLAIN)
    assert [sensor.no_value for sensor in look.sensors] == [None, None, -9999, None]
    (sensor,) = (one for one in parse_plant(plant_text(look, path)).classes["machine"].sensors if one.name == "p")
    assert sensor.low is not None
    assert -9999 < sensor.low < 2
    assert any("stands for no value: p (-9999)" in sentence for sentence in readiness(look, NOW))


def test_a_table_that_is_longer_than_what_was_looked_at_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, table())
    assert not look_at(path, PLAIN).cut
    monkeypatch.setattr("pdm.ingest.own_table.MOST_ROWS", 100)
    assert any("only the beginning was looked at" in sentence for sentence in readiness(look_at(path, PLAIN), NOW))


def test_sensors_that_are_called_after_operation_are_named_as_likely_conditions(tmp_path: Path) -> None:
    path = written(tmp_path, table(**{"Motor load %": np.arange(300) % 9, "AmbientTemp": np.arange(300) % 7}))
    look = look_at(path, PLAIN)
    assert "conditions: []            # confirm; called so: Motor_load, AmbientTemp\n" in plant_text(look, path)
    assert any("called so: Motor_load, AmbientTemp" in sentence for sentence in readiness(look, NOW))


def test_an_angle_that_goes_round_is_no_sensor(tmp_path: Path) -> None:
    turning = np.cumsum(np.random.default_rng(6).normal(0, 20, 300))
    angles = {"Yaw [deg]": turning % 360, "pitch [deg]": (turning % 25).round()}
    look = look_at(written(tmp_path, table(**angles)), PLAIN)
    assert "goes round" in look.left_out["Yaw [deg]"]
    assert "pitch [deg]" not in look.left_out


@pytest.mark.parametrize("index", ["time", "count", "delimiter"])
def test_a_column_without_a_name_is_an_index_or_nothing(tmp_path: Path, index: str) -> None:
    frame = table().rename(columns={"Timestamp": ""}) if index == "time" else table(**{"": None})
    frame = table().reset_index(names="") if index == "count" else frame
    path = written(tmp_path, frame)
    look = look_at(path, PLAIN)
    assert [sensor.name for sensor in look.sensors] == ["Oil_temp", "current_kA"]
    plant, store = parse_plant(plant_text(look, path)), MemoryReadings()
    (done,) = import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert (done.rows, done.bad_rows) == (300, 0)


def test_lines_above_the_names_of_columns_are_told_to_go(tmp_path: Path) -> None:
    path = written(tmp_path, table(), sep=";")
    path.write_text("Export of press 4\n\n" + path.read_text())
    with pytest.raises(ConfigurationError, match="what stands above them, such as 'Export of press 4', has to go"):
        look_at(path, PLAIN)


def test_a_comma_in_seconds_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, table(Timestamp=HOURS.strftime("%Y-%m-%d %H:%M:%S,250")), sep=";")
    look = look_at(path, PLAIN)
    plant, store = parse_plant(plant_text(look, path)), MemoryReadings()
    import_files([path], store, plant, look.form, 1_800_000_000_000, report=tmp_path / "report.csv")
    assert store.window("machine", ["press_4"], 0, 2**60).time_ms[0] == int(HOURS[0].timestamp() * 1000) + 250


def test_rows_that_stand_twice_do_not_hide_which_column_names_the_machines(tmp_path: Path) -> None:
    frame = pd.concat([table(rig=name) for name in ("R1", "R2")])
    frame = pd.concat([frame, frame[::10]]).sort_values(["rig", "Timestamp"])
    path = written(tmp_path, frame)
    assert look_at(path, PLAIN).form.source_column == "rig"


def test_names_that_each_stand_in_a_stretch_of_rows_are_machines(tmp_path: Path) -> None:
    frame = table(**{"test piece": [f"T{n // 60}" for n in range(300)], "phase": ["warm", "hot", "cold"] * 100})
    look = look_at(written(tmp_path, frame), PLAIN)
    assert (look.form.source_column, len(look.machines)) == ("test piece", 5)
    phases = ["warm"] * 100 + ["hot"] * 100 + ["cold"] * 100
    assert look_at(written(tmp_path, table(phase=phases)), PLAIN).form.source == "press_4"


@pytest.mark.parametrize(
    ("column", "values"), [("Bearing", ["B1"] * 150 + ["B2"] * 150), ("Tool no", [71] * 150 + [72] * 150)]
)
def test_a_column_that_is_called_after_machines_names_them(tmp_path: Path, column: str, values: list[object]) -> None:
    assert look_at(written(tmp_path, table(**{column: values})), PLAIN).form.source_column == column


def test_a_measurement_that_is_called_after_a_machine_names_none(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(Motor=np.arange(300) % 5)), PLAIN)
    assert (look.form.source, look.sensors[-1].name) == ("press_4", "Motor")


def test_whole_numbers_that_name_something_are_no_sensor(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table(order_no=np.arange(300) // 7)), PLAIN)
    assert "numbers something" in look.left_out["order_no"]


def test_machines_marked_in_their_last_row_alone_are_proposed_as_failed(tmp_path: Path) -> None:
    end = np.r_[np.zeros(299), 1]
    frame = pd.concat([table(machine="A", failure=end), table(machine="B", failure=0)])
    look = look_at(written(tmp_path, frame), PLAIN)
    assert failures_text(look) == 'machine,failed\n"A",2026-01-13T11:00:01Z\n'
    marked_before = pd.concat([table(machine="A", failure=np.roll(end, -5)), table(machine="B", failure=end)])
    assert look_at(written(tmp_path, marked_before), PLAIN).failed_ms == {}


def test_what_ran_to_failure_was_new_at_its_first_row_and_failed_at_its_last(tmp_path: Path) -> None:
    path = written(tmp_path, pd.concat([table(machine=name) for name in ("A", "B")]))
    look = look_at(path, PLAIN).run_to_failure()
    starts = [asset.start_of_life_ms for asset in parse_plant(plant_text(look, path)).assets.values()]
    assert starts == [int(HOURS[0].timestamp() * 1000)] * 2
    assert len(failures_text(look).splitlines()) == 3
    assert any("2 machines failed as far as the table shows: see" in sentence for sentence in readiness(look, NOW))


def test_short_lives_get_a_horizon_and_a_notice_within_them(tmp_path: Path) -> None:
    path = written(tmp_path, pd.concat([table(machine=name).iloc[:24] for name in ("A", "B")]))
    look = look_at(path, PLAIN)
    plant = parse_plant(plant_text(look, path))
    assert plant.classes["machine"].horizon == 12
    assert plant.classes["machine"].notice_ms == 3 * 3_600_000
    assert "within: 3" in rules_text(look)


def test_lives_too_short_for_steps_of_a_minute_count_their_readings(tmp_path: Path) -> None:
    seconds = pd.concat(
        [pd.DataFrame({"rig": name, "second": range(110), "p": np.arange(110) ** 1.5 % 7}) for name in "AB"]
    )
    look = look_at(written(tmp_path, seconds), PLAIN)
    for said, step_ms, horizon in ((look, 60_000, 10), (look.run_to_failure(), None, 55)):
        rig = parse_plant(plant_text(said, tmp_path / "press_4.csv")).classes["machine"]
        assert (rig.life_step.duration_ms, rig.horizon) == (step_ms, horizon)


def test_cycles_without_dates_have_a_horizon_of_half_a_life_however_many_they_are(tmp_path: Path) -> None:
    counted = pd.DataFrame({"cell": "A", "cycle": range(1, 3001), "capacity": np.random.default_rng(1).random(3000)})
    path = written(tmp_path, counted)
    assert parse_plant(plant_text(look_at(path, PLAIN), path)).classes["machine"].horizon == 1500


def test_a_date_of_failure_that_each_row_of_a_machine_repeats_is_its_failure(tmp_path: Path) -> None:
    failed, running = table(machine="A", failure_date="2026-01-14"), table(machine="B", failure_date=None)
    look = look_at(written(tmp_path, pd.concat([failed, running])), PLAIN)
    assert failures_text(look) == 'machine,failed\n"A",2026-01-14T00:00:00Z\n'
    frame = pd.concat([failed, running]).assign(failure_date=lambda made: pd.to_datetime(made["failure_date"]))
    frame.to_parquet(tmp_path / "press_4.parquet")
    assert look_at(tmp_path / "press_4.parquet", PLAIN).failed_ms == look.failed_ms


def test_a_measurement_that_only_grows_is_no_time(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Tool wear [min]": np.arange(300) * 2.0, "Torque [Nm]": np.arange(300) % 7})
    with pytest.raises(ConfigurationError, match="holds times, or counts cycles or hours"):
        look_at(written(tmp_path, frame), PLAIN)


def test_a_table_of_events_is_sent_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="failures and repairs come beside them"):
        look_at(written(tmp_path, pd.DataFrame({"time": HOURS, "failure": ["comp1"] * 300})), PLAIN)


def test_a_table_that_ends_in_the_past_is_said_to_show_no_forecasts_by_itself(tmp_path: Path) -> None:
    look = look_at(written(tmp_path, table()), PLAIN)
    (said,) = (one for one in readiness(look, NOW) if "ends in the past" in one)
    assert "`stale_after: 369 d`" in said
    assert not any("ends in the past" in one for one in readiness(look, look.last_ms))


def test_short_lives_of_many_machines_are_not_too_short_to_learn_from(tmp_path: Path) -> None:
    for machines, too_short in ((2, True), (20, False)):
        frame = pd.concat([table(machine=f"T{number}").iloc[:30] for number in range(machines)])
        look = look_at(written(tmp_path, frame), PLAIN)
        assert any("too short to learn from" in one for one in readiness(look, NOW)) == too_short


def in_groups(groups: dict[str, object]) -> pd.DataFrame:
    """A table of some machines with the group of each; of several where that is a list."""
    return pd.concat([table(machine=name, protocol=group) for name, group in groups.items()], ignore_index=True)


GROUP = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1)


@settings(max_examples=20, deadline=None)
@given(st.lists(GROUP, min_size=2, max_size=6))
def test_the_group_of_each_machine_goes_from_its_column_into_the_plant_file(groups: list[str]) -> None:
    named = {f"M-{number}": group for number, group in enumerate(groups)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cells.parquet"
        in_groups(dict(named)).to_parquet(path)
        look = look_at(path, PLAIN, "protocol")
        plant = parse_plant(plant_text(look, path))
    assert {serial: asset.group for serial, asset in plant.assets.items()} == named
    assert [sensor.name for sensor in look.sensors] == ["Oil_temp", "current_kA"]
    assert look.form.source_column == "machine"


def test_a_numbered_group_is_no_sensor_and_a_machine_may_have_none(tmp_path: Path) -> None:
    path = written(tmp_path, in_groups({"A": 1, "B": 2, "C": None}))
    look = look_at(path, PLAIN, "protocol")
    groups = {serial: asset.group for serial, asset in parse_plant(plant_text(look, path)).assets.items()}
    assert groups == {"A": "1", "B": "2", "C": None}
    assert "--ignore protocol" in import_command(look, path)
    (said,) = (sentence for sentence in readiness(look, NOW) if "group" in sentence)
    assert said.startswith("2 groups of machines, and 1 machine without one: to judge models on whole groups left out")


def test_a_column_that_machines_share_is_pointed_out(tmp_path: Path) -> None:
    shared = in_groups({"A": "fast", "B": "fast", "C": "slow"})
    look = look_at(written(tmp_path, shared.assign(batch=shared["machine"] + "1")), PLAIN)
    assert look.left_out == {
        "protocol": "no numbers; if machines share it: --group-column 'protocol'",
        "batch": "no numbers",
    }


def test_a_table_of_one_value_a_row_names_groups_too(tmp_path: Path) -> None:
    frame = in_groups({name: f"line {name}" for name in "ABCDE"})
    long = frame.melt(id_vars=["Timestamp", "machine", "protocol"], var_name="tag", value_name="value")
    look = look_at(written(tmp_path, long), PLAIN, "protocol")
    assert look.groups == {name: f"line {name}" for name in "ABCDE"}
    assert [sensor.name for sensor in look.sensors] == ["Oil_temp", "current_kA"]
    assert "5 groups of machines: with failures in 5 of them or more, models are" in " ".join(readiness(look, NOW))


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (
            "protocol",
            r"'protocol' names several groups of B \(fast, slow\): expected the same in all rows of a machine",
        ),
        ("protokoll", "has no column 'protokoll': it has Timestamp, "),
        ("machine", "'machine' tells the time or the machine of a row: expected groups in another column"),
    ],
)
def test_a_column_that_holds_no_groups_is_refused(tmp_path: Path, column: str, why: str) -> None:
    path = written(tmp_path, in_groups({"A": "fast", "B": ["fast"] * 200 + ["slow"] * 100}))
    with pytest.raises(ConfigurationError, match=why):
        look_at(path, replace(PLAIN, source_column="machine"), column)
