import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import pdm.ingest.files
from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.errors import ConfigurationError, StoreError
from pdm.ingest.history import Imported, import_files
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor
from pdm.plant.wire import Decimal, TableForm
from pdm.ports import DeadLetter, ImportProgress
from pdm.readings import ArrivalFlag, Readings, columns_of

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
T0 = 1_577_836_800_000  # 2020-01-01T00:00:00Z
HOUR = 3_600_000


LONG = TableForm(sensor_column="tag", value_column="value")


def machines(name: str, *sensors: Sensor) -> AssetClass:
    return AssetClass(name, name, sensors, (), LifeStep("h", HOUR), 1000, 0, ())


PLANT = Plant(
    name="Nord",
    currency="EUR",
    time_zone=ZoneInfo("Europe/Berlin"),
    classes={
        "pump": machines("pump", Sensor("temp", "degC", "Temperature"), Sensor("vib", "mm/s", "Vibration")),
        "fan": machines("fan", Sensor("temp", "K", "Temperature"), Sensor("speed", "rpm", "Speed")),
    },
    calendars={},
    assets={
        "S1": Asset("S1", "pump", "P1", "p1", None),
        "S2": Asset("S2", "pump", "P2", "007", None),
        "S3": Asset("S3", "fan", "F1", "f1", None),
    },
    version="1",
)


class Bench:
    """An import into memory, with what was told on the way."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.store = MemoryReadings()
        self.report = folder / "rejected.csv"
        self.told: list[float] = []

    def run(self, text: str | bytes | Path, form: TableForm | None = None, *, plant: Plant = PLANT) -> Imported:
        path = text if isinstance(text, Path) else self.folder / "history.csv"
        if not isinstance(text, Path):
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        (imported,) = import_files(
            [path],
            self.store,
            plant,
            form or TableForm(),
            NOW,
            report=self.report,
            progress=lambda _, done: self.told.append(done),
        )
        return imported

    def rows(self, source: str = "p1", class_name: str = "pump") -> list[tuple[float | None, ...]]:
        window = self.store.window(class_name, [source], 0, 2 * NOW)
        values = columns_of(window, PLANT.classes[class_name].sensor_names)
        return [
            ((time - T0) / HOUR, *(None if np.isnan(value) else value for value in row))
            for time, row in zip(window.time_ms.tolist(), values.tolist(), strict=True)
        ]

    def bad(self) -> list[tuple[int, str]]:
        with self.report.open(newline="") as file:
            return [(int(row["row"]), row["reason"]) for row in csv.DictReader(file)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_wide_table_becomes_readings_of_each_class(bench: Bench) -> None:
    imported = bench.run(
        "source,time,temp,vib,speed\n"
        "p1,2020-01-01T00:00:00Z,20.5,2,\n"
        "f1,2020-01-01T00:00:00Z,300,,1480\n"
        "007,2020-01-01T02:00:00+01:00,,3,\n"
    )
    assert (imported.rows, imported.bad_rows, imported.already) == (3, 0, False)
    assert bench.rows("p1") == [(0, 20.5, 2)]
    assert bench.rows("007") == [(1, None, 3)]
    assert bench.rows("f1", "fan") == [(0, 300, 1480)]
    assert not bench.report.exists()
    assert bench.told[-1] == 1.0


def test_imported_readings_are_marked_and_never_late(bench: Bench) -> None:
    bench.run("source,time,temp\np1,2001-01-01T00:00:00Z,1\n")
    assert bench.store.window("pump", ["p1"], 0, NOW).flags.tolist() == [ArrivalFlag.IMPORTED]
    assert bench.store.counts().late == 0


def test_bad_rows_go_to_the_report_with_their_row_and_reason_and_the_rest_is_imported(bench: Bench) -> None:
    imported = bench.run(
        "source,time,temp,vib,speed\n"
        "p1,2020-01-01T00:00:00Z,20.5,,\n"
        "p1,2020-01-01T01:00:00Z,hot,,\n"
        "p1,2020-01-01T02:00:00Z,1,2\n"
        "nobody,2020-01-01T03:00:00Z,1,,\n"
        "p1,yesterday,1,,\n"
        "p1,2020-01-01T05:00:00,1,,\n"
        "p1,2036-01-01T05:00:00Z,1,,\n"
        "p1,1970-01-01T05:00:00Z,1,,\n"
        "p1,2020-01-01T06:00:00Z,,,\n"
        "p1,2020-01-01T07:00:00Z,1,,1480\n"
        "p1,2020-01-01T08:00:00Z,inf,,\n"
        "p1,2020-01-01T09:00:00Z,1e308,,\n"
        'p1,2020-01-01T10:00:00Z,"71,2",,\n'
        ",2020-01-01T11:00:00Z,1,,\n"
        "p1,,1,,\n"
        "p1,2020-01-01T12:00:00Z,21,-inf,\n"
    )
    assert bench.rows() == [(0, 20.5, None), (12, 21, None)]
    assert bench.bad() == [
        (3, "not_a_number"),
        (4, "wrong_number_of_fields"),
        (5, "unknown_source"),
        (6, "wrong_timestamp"),
        (7, "timestamp_without_zone"),
        (8, "in_the_future"),
        (9, "before_1990"),
        (10, "no_values"),
        (11, "unknown_sensor"),
        (12, "no_values"),
        (13, "number_too_large"),
        (14, "not_a_number"),
        (15, "unknown_source"),
        (16, "wrong_timestamp"),
    ]
    assert (imported.rows, imported.bad_rows) == (16, 14)


def test_rows_are_counted_and_numbered_as_people_do_who_see_blank_lines(bench: Bench) -> None:
    imported = bench.run(
        "source,time,temp\n"
        "p1,2020-01-01T00:00:00Z,20\n"
        "\n"
        "p1,2020-01-01T01:00:00Z,hot\n"
        "p1,2020-01-01T02:00:00Z\n"
        "p1,2020-01-01T03:00:00Z,21\n"
        "\n"
        "p1\n"
        "\n"
    )
    assert bench.bad() == [(4, "not_a_number"), (5, "wrong_number_of_fields"), (8, "wrong_number_of_fields")]
    assert (imported.rows, imported.bad_rows) == (5, 3)
    assert bench.rows() == [(0, 20, None), (3, 21, None)]


def test_blanks_around_the_names_of_columns_do_not_matter(bench: Bench) -> None:
    bench.run("source, time , temp\np1,2020-01-01T00:00:00Z,1\n")
    assert bench.rows() == [(0, 1, None)]


@pytest.mark.parametrize(("time", "option"), [("1577836800", "--epoch-unit"), ("2020-01-01T00:00:00", "--time-zone")])
def test_times_that_need_an_option_name_it_and_the_file(bench: Bench, time: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"history\.csv: .*{option}"):
        bench.run(f"source,time,temp\np1,{time},1\np1,{time},2\n")


@pytest.mark.parametrize("name", ["history.parquet", "history.csv"])
def test_of_a_file_that_is_no_table_no_bytes_are_shown(bench: Bench, name: str) -> None:
    path = bench.folder / name
    path.write_bytes(b"\x7fELF\x02\x01\0\xff\x1b[31m,\0" * 9)
    with pytest.raises(ConfigurationError) as refused:
        bench.run(path)
    assert str(refused.value) == f"{name}: is neither CSV nor Parquet"


def test_nothing_in_the_report_is_a_formula(bench: Bench) -> None:
    bench.run("source,time,temp\n=HYPERLINK('http://x')\n")
    with bench.report.open(newline="") as file:
        assert next(csv.DictReader(file))["detail"] == "'=HYPERLINK('http://x')"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_and_a_byte_order_mark_are_read(bench: Bench, delimiter: str) -> None:
    text = "source,time,temp\np1,2020-01-01T00:00:00Z,1\n".replace(",", delimiter)
    bench.run(b"\xef\xbb\xbf" + text.encode())
    assert bench.rows() == [(0, 1, None)]


def test_a_compressed_file_is_read(bench: Bench) -> None:
    path = bench.folder / "history.csv.gz"
    path.write_bytes(gzip.compress(b"source,time,temp\np1,2020-01-01T00:00:00Z,1\n"))
    bench.run(path)
    assert bench.rows() == [(0, 1, None)]


@pytest.mark.parametrize(("unit", "factor"), [("s", 0.001), ("ms", 1), ("us", 1000), ("ns", 1_000_000)])
def test_times_that_are_numbers_count_in_the_declared_unit(bench: Bench, unit: str, factor: float) -> None:
    ts = int((T0 + HOUR) * factor)
    bench.run(f"source,time,temp\np1,{ts},1\np1,soon,2\n", TableForm(epoch_unit=unit))  # type: ignore[arg-type]
    assert bench.rows() == [(1, 1, None)]
    assert bench.bad() == [(3, "wrong_timestamp")]


def test_local_times_are_placed_in_the_zone_that_is_given(bench: Bench) -> None:
    form = TableForm(time_zone=ZoneInfo("Europe/Berlin"))
    text = (
        "source,time,temp\n"
        "p1,2020-01-01 01:00:00,1\n"  # midnight UTC
        "p1,2020-01-01T02:00:00.5Z,2\n"  # carries its own
        "p1,2020-03-29 02:30:00,3\n"  # never struck
        "p1,2020-10-25 02:30:00,4\n"  # struck twice
        "p1,2020-01-02,5\n"  # a day is its first moment
    )
    bench.run(text, form)
    assert bench.rows() == [(0, 1, None), (2 + 0.5 / 3600, 2, None), (23, 5, None)]
    assert bench.bad() == [(4, "wrong_timestamp"), (5, "wrong_timestamp")]


def test_a_time_of_day_and_milliseconds_may_stand_in_a_column_of_their_own(bench: Bench) -> None:
    form = TableForm(time_column="day", clock_column="clock", time_zone=ZoneInfo("Europe/Berlin"))
    text = "source,day,clock,temp\np1,2020-01-01 00:00:00, 02:00,1\np1,2020-01-01,,2\np1,2020-01-01,soon,3\n"
    bench.run(text, form)
    assert bench.rows() == [(1, 1, None)]
    assert bench.bad() == [(3, "wrong_timestamp"), (4, "wrong_timestamp")]
    form = TableForm(time_column="s", clock_column="ms", epoch_unit="s")
    bench.run(f"source,s,ms,temp\np1,{T0 // 1000 + 7200},500,4\np1,{T0 // 1000},1000,5\n", form)
    assert bench.rows() == [(1, 1, None), (2 + 0.5 / 3600, 4, None)]
    assert bench.bad()[2:] == [(3, "wrong_timestamp")]


def test_a_file_without_a_source_column_is_of_the_source_that_is_given(bench: Bench) -> None:
    bench.run("time,temp\n2020-01-01T00:00:00Z,1\n", TableForm(source="p1"))
    assert bench.rows() == [(0, 1, None)]


def test_columns_can_be_renamed_and_ignored_and_units_converted(bench: Bench) -> None:
    form = TableForm(
        source_column="machine",
        time_column="t",
        rename={"T_oil": "temp"},
        ignore=("operator",),
        units={"temp": "degF"},
    )
    bench.run("machine,t,T_oil,operator\np1,2020-01-01T00:00:00Z,212,Kim\nf1,2020-01-01T00:00:00Z,212,Kim\n", form)
    assert bench.rows("p1")[0][1] == pytest.approx(100)
    assert bench.rows("f1", "fan")[0][1] == pytest.approx(373.15)  # fans declare kelvin


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("time,temp\n", TableForm(), r"history\.csv: has no column 'source' \(--source-column\); it has time, temp"),
        ("source,temp\n", TableForm(), "has no column 'time'"),
        ("source,time,tmep\n", TableForm(), "the columns tmep hold no sensor of the plant; rename or ignore them"),
        ("source,time,temp,temp\n", TableForm(), "two columns hold the same sensor"),
        ("source,time,temp\n", TableForm(units={"temp": "bar"}), "unit of temp: 'bar' cannot be converted"),
        ("source,time,temp\n", TableForm(units={"tmep": "degF"}), r"unit of tmep: .* no such sensor \(--unit\)"),
        ("source,time,tag,value\n", TableForm(), r"say which column names the sensors \(--sensor-column\)"),
        ("source,time,value\n", TableForm(sensor_column="tag"), r"has no column 'tag' \(--sensor-column\)"),
        ("source,time,tag,v\n", TableForm(sensor_column="tag"), r"has no column 'value' \(--value-column\)"),
        ("source,time,tag,value\n", replace(LONG, rename={"T1": "tmep"}), "the columns T1 hold no sensor"),
        ("", TableForm(), "has no column"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_to_do(
    bench: Bench, text: str, form: TableForm, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        bench.run(text, form)


def test_a_file_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.csv: cannot be opened: No such file"):
        bench.run(bench.folder / "absent.csv")


def test_a_damaged_parquet_file_is_named(bench: Bench) -> None:
    path = bench.folder / "history.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(ConfigurationError, match=r"history\.parquet: cannot be read as CSV or Parquet"):
        bench.run(path)


def test_a_table_without_rows_is_imported_at_once(bench: Bench) -> None:
    assert bench.run("source,time,temp\n").rows == 0


def test_a_long_table_has_one_row_for_each_value(bench: Bench) -> None:
    imported = bench.run(
        "time,source,tag,value,quality\n"
        "2020-01-01T00:00:00Z,p1,T1,212,good\n"
        "2020-01-01T00:00:00Z,f1,T1,212,good\n"
        "2020-01-01T01:00:00Z,p1,vib,3,good\n"
        "2020-01-01T00:00:00Z,p1,vib,2,good\n"
        "2020-01-01T01:00:00Z,p1,vib,4,good\n"
        "2020-01-01T01:00:00Z,p1,state,RUN,good\n"
        "2020-01-01T01:00:00Z,p1,speed,1480,good\n"
        "2020-01-01T01:00:00Z,p1,vib,RUN,good\n",
        replace(LONG, rename={"T1": "temp"}, units={"temp": "degF"}, ignore=("state",)),
    )
    (first, second), (fan,) = bench.rows(), bench.rows("f1", "fan")
    assert first[1] == pytest.approx(100)
    assert first[2] == 2
    assert fan[1] == pytest.approx(373.15)
    assert second == (1, None, 4)  # the later of two values counts
    assert bench.bad() == [(8, "unknown_sensor"), (9, "not_a_number")]
    assert (imported.rows, imported.bad_rows) == (8, 2)
    assert imported.read_as == "one value a row, of the sensor under tag; cells between commas; decimal point"


@pytest.mark.parametrize("decimal", [None, ","])
def test_a_decimal_comma_is_seen_and_said(bench: Bench, decimal: Decimal | None) -> None:
    thousands = "1.234" if decimal else "warm"
    imported = bench.run(
        f"source;time;temp;vib\np1;2020-01-01T00:00:00Z;71,25;2\np1;2020-01-01T01:00:00Z;-1,2;{thousands}\n"
        "p1;2020-01-01T02:00:00Z;1,234;3\np1;2020-01-01T03:00:00Z;hot;3\n",
        TableForm(decimal=decimal),
    )
    assert imported.read_as == "temp, vib; cells between semicolons; decimal comma"
    assert bench.rows() == [(0, 71.25, 2), (2, 1.234, 3)]
    assert bench.bad() == [(3, "not_a_number"), (5, "not_a_number")]


def test_numbers_that_may_mean_two_things_are_asked_about(bench: Bench) -> None:
    text = "source;time;temp\np1;2020-01-01T00:00:00Z;1,234\np1;2020-01-01T01:00:00Z;5\n"
    with pytest.raises(ConfigurationError, match=r"'1,234' may mean 1\.234 or 1234: .* \(--decimal\)"):
        bench.run(text)
    bench.run(text, TableForm(decimal=","))
    assert bench.rows() == [(0, 1.234, None), (1, 5, None)]


def test_with_a_decimal_point_a_comma_is_never_read_over(bench: Bench) -> None:
    bench.run("source;time;temp\np1;2020-01-01T00:00:00Z;1,234\n", TableForm(decimal="."))
    assert bench.bad() == [(2, "not_a_number")]
    with bench.report.open(newline="") as file:
        assert next(csv.DictReader(file))["detail"] == (
            "temp: expected a number with a decimal point (--decimal), or a word for none (--missing), not '1,234'"
        )


@pytest.mark.parametrize("number", ["1.234,5", "1,234.5"])
def test_thousands_that_are_grouped_are_refused(bench: Bench, number: str) -> None:
    with pytest.raises(ConfigurationError, match="group their thousands"):
        bench.run(f"source;time;temp\np1;2020-01-01T00:00:00Z;{number}\n")


@pytest.mark.parametrize("word", ["Bad", "NaN", "n/a", "---", "I/O Timeout", "BAD INPUT", "Wartung", ""])
@pytest.mark.parametrize("other", ["2", "hot"])  # all numbers or words, or rows that are looked at one by one
def test_words_for_no_value_are_missing_values_however_they_are_written(bench: Bench, word: str, other: str) -> None:
    text = f"source,time,temp,vib\np1,2020-01-01T00:00:00Z,{word},2\np1,2020-01-01T01:00:00Z,1,{other}\n"
    bench.run(text, TableForm(missing=("wartung",)))
    assert bench.rows()[0] == (0, None, 2)
    assert len(bench.rows()) == (2 if other == "2" else 1)


def test_a_source_may_be_called_like_a_word_for_no_value(bench: Bench) -> None:
    assets = {"S1": replace(PLANT.assets["S1"], source="NA")}
    bench.run("source,time,temp\nNA,2020-01-01T00:00:00Z,1\n", plant=replace(PLANT, assets=assets))
    assert bench.rows("NA") == [(0, 1, None)]


def test_times_are_read_in_the_format_that_is_given(bench: Bench) -> None:
    text = "source,time,temp\np1,02.01.2020 01:00,1\np1,2020-01-03T00:00:00Z,2\n"
    bench.run(text, TableForm(time_format="%d.%m.%Y %H:%M", time_zone=ZoneInfo("Europe/Berlin")))
    assert bench.rows() == [(24, 1, None)]
    assert bench.bad() == [(3, "wrong_timestamp")]


def test_a_format_of_times_may_hold_their_offset(bench: Bench) -> None:
    text = "source,time,temp\np1,01/02/2020 01:00 +0100,1\n"
    bench.run(text, TableForm(time_format="%m/%d/%Y %H:%M %z"))
    assert bench.rows() == [(24, 1, None)]


def frame(hours: Sequence[float], **columns: object) -> pd.DataFrame:
    times = pd.to_datetime([T0 + int(hour * HOUR) for hour in hours], unit="ms", utc=True)
    return pd.DataFrame({"source": "p1", "time": times, **columns})


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_is_read_in_its_own_types(bench: Bench, unit: str) -> None:
    path = bench.folder / "history.parquet"
    table = frame([0, 1], temp=np.array([1.5, np.nan], np.float32), vib=pd.array([None, 7], "Int64"))
    table.assign(time=table["time"].dt.as_unit(unit)).to_parquet(path)
    bench.run(path)
    assert bench.rows() == [(0, 1.5, None), (1, None, 7)]


def test_parquet_times_without_a_zone_need_one(bench: Bench) -> None:
    path = bench.folder / "history.parquet"
    table = frame([0], temp=[1.0])
    table.assign(time=table["time"].dt.tz_localize(None)).to_parquet(path)
    with pytest.raises(ConfigurationError, match="say which time zone they are in"):
        bench.run(path)
    bench.run(path, TableForm(time_zone=ZoneInfo("UTC")))
    assert bench.rows() == [(0, 1, None)]


def test_parquet_times_that_are_numbers_need_a_unit(bench: Bench) -> None:
    path = bench.folder / "history.parquet"
    frame([0], temp=[1.0]).assign(time=[T0]).to_parquet(path)
    with pytest.raises(ConfigurationError, match="say what they count"):
        bench.run(path)
    bench.run(path, TableForm(epoch_unit="ms"))
    assert bench.rows() == [(0, 1, None)]


@pytest.mark.parametrize("column", [[True], [pd.Timestamp("2020-01-01")], [[1.0]]])
def test_a_parquet_column_that_holds_no_numbers_is_named(bench: Bench, column: list[object]) -> None:
    path = bench.folder / "history.parquet"
    frame([0], temp=column).to_parquet(path)
    with pytest.raises(ConfigurationError, match="the column 'temp' does not hold numbers"):
        bench.run(path)


def test_a_finished_file_is_not_imported_again_whatever_its_name(bench: Bench) -> None:
    text = "source,time,temp\np1,2020-01-01T00:00:00Z,1\np1,yesterday,1\n"
    bench.run(text)
    other = bench.folder / "copy.csv"
    other.write_text(text)
    again = bench.run(other)
    assert (again.rows, again.bad_rows, again.already) == (2, 1, True)
    assert bench.store.counts().readings == 1


def test_a_file_is_imported_again_when_it_would_be_read_otherwise(bench: Bench) -> None:
    text = "source,time,temp\np1,2020-01-01T00:00:00,1\np1,2020-01-01T01:00:00Z,1\n"
    assert bench.run(text).bad_rows == 1
    assert bench.run(text, TableForm(time_zone=ZoneInfo("UTC"))).bad_rows == 0
    newer = replace(PLANT, version="2")
    assert not bench.run(text, TableForm(time_zone=ZoneInfo("UTC")), plant=newer).already


class Interrupted(MemoryReadings):
    """A store that fails at its n-th commit."""

    def __init__(self) -> None:
        super().__init__()
        self.until_failure = -1

    def append(
        self,
        batches: Mapping[str, Readings],
        dead: Sequence[DeadLetter] = (),
        imported: ImportProgress | None = None,
    ) -> None:
        self.until_failure -= 1
        if self.until_failure == -1:
            raise StoreError("the disk is full")
        super().append(batches, dead, imported)


def many_rows(n: int) -> str:
    lines = [f"p1,{T0 + i * 1000},{i}" for i in range(n)]
    lines[n // 2] += ",1"  # malformed
    lines[n // 3] = f"p1,{T0},hot"
    lines[n // 4] += "\n"  # a blank line follows
    return "source,time,temp\n" + "\n".join(lines) + "\np1\n"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_import_cut_short_anywhere_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(pdm.ingest.files, "_BLOCK_BYTES", 2_000)
    monkeypatch.setattr(pdm.ingest.files, "_PARQUET_ROWS", 100)
    path = tmp_path / f"history.{kind}"
    if kind == "csv":
        path.write_text(many_rows(1000))
    else:
        frame([i / 3600 for i in range(998)], temp=np.arange(998.0)).to_parquet(path)
    form = TableForm(epoch_unit="ms" if kind == "csv" else None)
    commits = 0
    for failing in range(100):
        store, bench = Interrupted(), Bench(tmp_path)
        bench.store = store
        bench.report.unlink(missing_ok=True)
        store.until_failure = failing
        try:
            bench.run(path, form)
        except StoreError:
            commits += 1
            imported = bench.run(path, form)
            assert not imported.already
        assert len(bench.rows()) == 998
        assert store.counts().readings == 998  # no row was stored twice
        if kind == "csv":
            assert bench.run(path, form).bad_rows == 3
            assert set(bench.bad()) == {
                (336, "not_a_number"),
                (503, "wrong_number_of_fields"),
                (1003, "wrong_number_of_fields"),
            }
        if not store.until_failure < -1:
            break
    assert commits > 5


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_parts_however_its_lines_end(bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(pdm.ingest.files, "_BLOCK_BYTES", 2_001)
    assert bench.run(many_rows(1000).replace("\n", end), TableForm(epoch_unit="ms")).rows == 1001
    assert [row for row, _ in bench.bad()] == [336, 503, 1003]
    assert bench.told[0] < 0.2
    assert bench.told == sorted(bench.told)


@pytest.mark.parametrize("size", range(200, 240, 3))
def test_a_line_break_between_quotes_ends_no_row_wherever_a_part_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(pdm.ingest.files, "_BLOCK_BYTES", size)
    rows = [f'p1,2020-01-01T00:{minute:02}:00Z,{minute},"hall\nline {minute}"' for minute in range(50)]
    imported = bench.run("\n".join(["source,time,temp,place", *rows]), TableForm(ignore=("place",)))
    assert (imported.rows, imported.bad_rows) == (50, 0)


def test_a_header_alone_holds_nothing(bench: Bench) -> None:
    assert [bench.run(f"source,time,temp{end}").rows for end in ("", "\n")] == [0, 0]


def test_a_file_of_one_endless_line_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdm.ingest.files, "_BLOCK_BYTES", 300)
    with pytest.raises(ConfigurationError, match=r"history\.csv: .* a line is longer than 300 bytes"):
        bench.run("source,time,temp\np1,2026-01-04T06:00:00Z,1" + 300 * "0")


def test_an_import_through_the_log_survives_another_process(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("source,time,temp\np1,2020-01-01T00:00:00Z,1\n")
    for already in (False, True):
        writer = ReadingLogWriter(tmp_path / "readings" / "import.db")
        (imported,) = import_files([path], writer, PLANT, TableForm(), NOW, report=tmp_path / "rejected.csv")
        assert imported.already is already
        writer.close()
    reader = ReadingLog(tmp_path / "readings")
    assert reader.counts().readings == 1
    reader.close()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16"])
def test_names_of_columns_are_read_as_the_file_is_encoded(bench: Bench, encoding: str) -> None:
    text = "time,source,Öltemp\n2020-01-01T01:00:00Z,p1,7.5\n"
    assert bench.run(text.encode(encoding), TableForm(rename={"Öltemp": "temp"})).bad_rows == 0
    assert bench.rows() == [(1, 7.5, None)]
