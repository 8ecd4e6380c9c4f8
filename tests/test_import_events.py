"""Work orders of a maintenance system as events."""

import csv
from pathlib import Path

import pytest
from sqlalchemy import select

from pdm.applying import apply_files, read_files
from pdm.errors import ConfigurationFileError
from pdm.import_events import REPORT, EventsImported, import_events
from pdm.installations import EventKind
from pdm.settings import load_settings
from pdm.state.schema import events, opened_state, read, write
from tests.small_plant import PLANT, RULES

NAMED = PLANT.replace("slot: FAN-2, ", "slot: FAN-2, external: {sap: {equipment: '10004711'}}, ").replace(
    "time_zone: UTC", "time_zone: Europe/Berlin"
)
MAP = """
id: Order
machine: Equipment
note: Text
events:
  - kind: failed
    at: Malfunction start
    where: {Type: PM02, Breakdown: X}
    mode: {column: Damage, values: {B-17: belt}}
  - kind: repaired
    at: Finished
    where: {Type: [PM01, PM02]}
"""
HEAD = "Order;Equipment;Type;Breakdown;Damage;Malfunction start;Finished;Text\n"
BREAKDOWN = "4711;10004711;PM02;X;B-17;2026-02-03 04:00;2026-02-03 16:30;belt torn\n"
PREVENTIVE = "4712;FAN-1;PM01;;;;2026-02-05 10:00;as planned\n"


@pytest.fixture(autouse=True)
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plant.yaml").write_text(NAMED)
    Path("rules.yaml").write_text(RULES)
    Path("map.yaml").write_text(MAP)
    settings = load_settings()
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        apply_files(connection, read_files(settings.plant, settings.rules), 0)


def imported(*rows: str, head: str = HEAD) -> EventsImported:
    Path("orders.csv").write_text(head + "".join(rows), encoding="utf-8-sig")
    return import_events(load_settings(), Path("orders.csv"), Path("map.yaml"))


def stored() -> list[tuple[str, str, str, str | None, str | None]]:
    with opened_state(load_settings().state_url()) as engine, read(engine) as connection:
        rows = connection.execute(select(events).order_by(events.c.at_ms))
        return [(row.serial, row.kind, _clock(row.at_ms), row.mode, row.note) for row in rows]


def _clock(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:%M")


def reasons(found: EventsImported) -> list[tuple[int, str]]:
    return [(problem.line, problem.reason) for problem in found.problems]


def test_a_breakdown_is_a_failure_when_it_began_and_a_repair_when_it_was_finished() -> None:
    found = imported(BREAKDOWN, PREVENTIVE)
    assert (found.rows, found.events, found.problems) == (2, 3, [])
    assert stored() == [
        ("F-2", EventKind.FAILED, "02-03 03:00", "belt", "belt torn"),
        ("F-2", EventKind.REPAIRED, "02-03 15:30", None, "belt torn"),
        ("F-1", EventKind.REPAIRED, "02-05 09:00", None, "as planned"),
    ]


def test_hours_at_failure_tell_when_a_life_of_unknown_start_began() -> None:
    Path("plant.yaml").write_text(NAMED.replace('start_of_life: "2026-01-05T00:00:00Z"', "start_of_life: unknown"))
    Path("map.yaml").write_text(MAP.replace("    mode:", "    age: {column: Hours, per_hour: 0.5}\n    mode:"))
    settings = load_settings()
    with opened_state(settings.state_url()) as engine, write(engine) as connection:
        apply_files(connection, read_files(settings.plant, settings.rules), 1)
    second = BREAKDOWN.replace("4711;1", "4713;1").replace("-03 ", "-05 ")
    rows = [row.replace("belt torn", f"belt torn;{hours}") for row, hours in ((BREAKDOWN, "24,5"), (second, "1000"))]
    found = imported(*rows, head=HEAD.replace("Text", "Text;Hours"))
    assert found.problems == []
    assert [one[:3] for one in stored()] == [
        ("F-2", EventKind.REPAIRED, "02-01 02:00"),
        ("F-2", EventKind.FAILED, "02-03 03:00"),
        ("F-2", EventKind.REPAIRED, "02-03 15:30"),  # what began then is known
        ("F-2", EventKind.FAILED, "02-05 03:00"),
        ("F-2", EventKind.REPAIRED, "02-05 15:30"),
    ]
    assert imported(*rows, head=HEAD.replace("Text", "Text;Hours")).problems == []
    assert len(stored()) == 5
    bad = imported(rows[0].replace("24,5", "1.024,5"), head=HEAD.replace("Text", "Text;Hours"))
    assert reasons(bad) == [(2, "failed: Hours: expected a number without grouped thousands, not '1.024,5'")]


def test_the_time_of_an_event_may_stand_in_two_columns() -> None:
    Path("map.yaml").write_text(
        'time_format: "%d.%m.%Y %H:%M"\nmachine: Equipment\nevents: [{kind: failed, at: [Date, Clock], mode: belt}]\n'
    )
    found = imported("F-2;03.02.2026;04:00\n", "F-1;03.02.2026;\n", head="Equipment;Date;Clock\n")
    assert stored() == [("F-2", EventKind.FAILED, "02-03 03:00", "belt", None)]
    assert reasons(found) == [(3, "failed: expected a time %d.%m.%Y %H:%M, not '03.02.2026'")]


def test_an_order_for_a_sensor_names_it_as_the_plant_file_does() -> None:
    sensors = "    sensor: {column: Damage, values: {VIB: vibration}}\n    at: Finished\n    where: {Type: PM03}\n"
    Path("map.yaml").write_text(MAP + "  - kind: sensor_replaced\n" + sensors)
    found = imported(
        "4713;FAN-1;PM03;;VIB;;2026-02-06 10:00;new probe\n", "4714;FAN-1;PM03;;VOB;;2026-02-06 10:00;new probe\n"
    )
    assert stored() == [("F-1", EventKind.SENSOR_REPLACED, "02-06 09:00", None, "new probe")]
    assert [reason for _, reason in reasons(found)] == [
        "sensor_replaced: class fan has no sensor 'VOB'; known: speed, vibration"
    ]


def test_a_longer_export_adds_only_what_is_new() -> None:
    imported(BREAKDOWN)
    before = stored()
    assert imported(BREAKDOWN, PREVENTIVE).problems == []
    assert stored()[: len(before)] == before
    assert len(stored()) == 3


def test_rows_that_mean_nothing_are_reported_with_their_line_and_why() -> None:
    found = imported(
        "1;10004711;PM05;;;;2026-02-05 10:00;\n",
        "2;UNKNOWN;PM01;;;;2026-02-05 10:00;\n",
        "3;FAN-1;PM01;;;;5.2.2026;\n",
        "4;FAN-1;PM02;X;Z-99;2026-02-06 10:00;;\n",
        "5;FAN-1;PM01;;;;2126-02-05 10:00;\n",
        PREVENTIVE,
    )
    assert (found.rows, found.events) == (6, 1)
    assert [line for line, _ in reasons(found)] == [2, 3, 4, 5, 6]
    for (_, reason), words in zip(
        reasons(found), ["no event of the map", "'UNKNOWN'", "'5.2.2026'", "'Z-99'", "still to come"], strict=True
    ):
        assert words in reason
    with (load_settings().data_dir / REPORT).open(newline="") as file:
        assert [row["order"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5"]


def test_the_report_of_the_last_import_stands_alone() -> None:
    imported("2;UNKNOWN;PM01;;;;2026-02-05 10:00;\n")
    imported(PREVENTIVE)
    assert not (load_settings().data_dir / REPORT).exists()


def test_what_would_be_a_formula_is_none_in_the_report() -> None:
    imported("=cmd(),UNKNOWN;FAN-9;PM01;;;;2026-02-05 10:00;\n".replace(",", ""))
    with (load_settings().data_dir / REPORT).open(newline="") as file:
        assert [row["order"] for row in csv.DictReader(file)] == ["'=cmd()UNKNOWN"]


def test_times_may_have_a_form_and_a_zone_of_their_own() -> None:
    Path("map.yaml").write_text("time_format: '%d.%m.%Y %H:%M'\ntime_zone: America/New_York\n" + MAP)
    imported("4712;FAN-1;PM01;;;;05.02.2026 10:00;x\n")
    assert stored()[0][2] == "02-05 15:00"


def test_the_hour_that_comes_twice_is_the_first_of_both() -> None:
    imported("4712;FAN-1;PM01;;;;2026-10-25 02:30;x\n")
    assert stored()[0][2] == "10-25 00:30"


def test_an_order_that_changed_is_reported_and_not_taken_twice() -> None:
    imported(PREVENTIVE)
    found = imported(PREVENTIVE.replace("10:00", "11:00"))
    assert "already reported with other content" in found.problems[0].reason
    assert len(stored()) == 1


def test_a_map_that_names_a_column_which_the_file_lacks_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationFileError) as caught:
        imported(PREVENTIVE, head=HEAD.replace("Finished", "Finish date"))
    assert "map.yaml:11: events[1].at: the file has no column 'Finished'" in str(caught.value)


def test_a_map_with_a_wrong_key_says_where() -> None:
    Path("map.yaml").write_text(MAP.replace("where: {Type: PM02", "when: {Type: PM02"))
    with pytest.raises(ConfigurationFileError, match=r"map\.yaml:8: events\[0\]\.when"):
        imported(PREVENTIVE)


def test_an_export_of_windows_without_numbers_of_orders_is_taken_in_once(tmp_path: Path) -> None:
    Path("map.yaml").write_text("machine: Gerät\nevents: [{kind: failed, at: Störung, mode: belt}]", encoding="utf-8")
    Path("orders.csv").write_bytes("Gerät;Störung\nFAN-1;2026-02-03 04:00\nFAN-2;2026-03-03 04:00\n".encode("cp1252"))
    for _ in range(2):
        done = import_events(load_settings(), Path("orders.csv"), Path("map.yaml"))
        assert (done.events, done.problems) == (2, [])
    assert [(kind, mode) for _, kind, _, mode, _ in stored()] == [("failed", "belt")] * 2
