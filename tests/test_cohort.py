"""Cohorts between two ticks: from memory, from a checkpoint, from nothing, and under a plant that changes."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from pdm import cohort, twin
from pdm.cohort import Cohort
from pdm.columns import Columns
from pdm.installations import EventKind, MaintenanceEvent
from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state import cohorts
from pdm.state import steps as stored_steps
from pdm.state.plants import store_plant
from pdm.state.schema import checkpoints, read, write
from pdm.state.steps import Asked, history, merge
from pdm.steps import Steps, joined, laid_over
from pdm.tick import tick
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report, rows


def kept(services: Services) -> Cohort:
    return services.cohorts["fan"]


def twins(services: Services) -> dict[str, Any]:
    """The twins by serial, without the count of how often they were folded."""
    columns = twin.to_columns(kept(services).twin, kept(services).serials)
    return {name: values for name, values in columns.items() if name != "revision"}


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def live(services: Services, hours: range) -> None:
    """Hour by hour: readings arrive, the hour ends, the tick runs."""
    for hour in hours:
        feed(services, readings("fan1", [hour]), readings("fan2", [hour]))
        tick(services, START + (hour + 1) * HOUR)


def restart(services: Services, at_hour: int) -> None:
    """Memory is lost, and the next tick has nothing new."""
    services.cohorts.clear()
    tick(services, START + at_hour * HOUR)


def apply(services: Services, plant: str, rules: str = RULES) -> None:
    with write(services.engine) as connection:
        store_plant(connection, plant, rules, START)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(tmp_path)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint every third tick; few batches of steps are worth a merge."""
    monkeypatch.setattr(cohort, "CHECKPOINT_EVERY_TICKS", 3)
    monkeypatch.setattr(stored_steps, "MERGE_BATCHES", 2)


def checkpoint_ticks(services: Services) -> list[int]:
    with read(services.engine) as connection:
        return list(connection.execute(select(checkpoints.c.tick).order_by(checkpoints.c.tick)).scalars())


# Checkpoints


@pytest.mark.usefixtures("often")
def test_a_checkpoint_is_written_now_and_then_and_the_older_ones_get_fewer(services: Services) -> None:
    live(services, range(25))
    assert checkpoint_ticks(services) == [3, 12, 18, 21, 24]


@given(count=st.integers(1, 300))
def test_however_late_a_reading_is_a_checkpoint_is_near_the_time_before_it(count: int) -> None:
    kept: list[int] = []
    for tick_number in range(1, count + 1):
        kept = [tick_number, *kept]
        dropped = cohorts._too_close(kept)
        kept = [number for number in kept if number not in dropped]
    for late in range(1, count):
        before = [number for number in kept if number <= count - late]
        assert not before or count - before[0] <= max(2, 4 * late)
    assert kept[-1] == 1
    assert len(kept) <= 3 + count.bit_length()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("lost", range(4))
def test_a_restart_gives_the_same_twins_whatever_became_of_the_checkpoints(services: Services, lost: int) -> None:
    live(services, range(11))
    before = twins(services)
    with write(services.engine) as connection:
        for number in checkpoint_ticks(services)[3 - lost :]:
            connection.execute(update(checkpoints).where(checkpoints.c.tick == number).values(crc=1))
    restart(services, 11)
    assert_same_bits(twins(services), before)


@pytest.mark.usefixtures("often")
def test_a_late_reading_after_the_checkpoint_counts_after_a_restart(services: Services) -> None:
    live(services, range(10))
    feed(services, rows("fan1", np.array([START + 2 * HOUR + 50 * 60_000]), np.array([[0.0, 8.0]])))
    tick(services, START + 10 * HOUR + 1)
    before = twins(services)
    assert checkpoint_ticks(services)[-1] == 9
    restart(services, 10)
    assert_same_bits(twins(services), before)
    assert before["exposure"].tolist() == [9.75, 10.0, 0.0]


@pytest.mark.usefixtures("often")
def test_a_repair_after_the_checkpoint_counts_after_a_restart(services: Services) -> None:
    live(services, range(10))
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + 4 * HOUR))
    tick(services, START + 10 * HOUR + 1)
    before = twins(services)
    restart(services, 10)
    assert_same_bits(twins(services), before)
    assert before["exposure"].tolist() == [6.0, 10.0, 0.0]


@pytest.mark.usefixtures("often")
def test_a_late_reading_reads_the_steps_since_the_checkpoint_before_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(services, range(25))
    unpacked, unpack = list[int](), stored_steps._unpacked

    def noted(asset_class: AssetClass, stored: Any, what: str) -> Columns:
        unpacked.append(stored.tick)
        return unpack(asset_class, stored, what)

    monkeypatch.setattr(stored_steps, "_unpacked", noted)
    feed(services, rows("fan1", np.array([START + 19 * HOUR + 50 * 60_000]), np.array([[0.0, 8.0]])))
    tick(services, START + 25 * HOUR + 1)
    assert twins(services)["exposure"].tolist() == [24.75, 25.0, 0.0]
    assert min(unpacked) == 19


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("known", [None, 5, 12])
@pytest.mark.parametrize("since", [None, 9])
@pytest.mark.parametrize("tick_number", [0, 7])
def test_merged_steps_are_the_same_steps(
    services: Services, known: int | None, since: int | None, tick_number: int
) -> None:
    live(services, range(10))
    feed(services, rows("fan1", np.array([START + 2 * HOUR + 50 * 60_000]), np.array([[0.0, 8.0]])))
    live(services, range(10, 12))
    asked = Asked(tick_number, *(None if hour is None else START + hour * HOUR for hour in (known, since)))
    asset_class, serials = kept(services).asset_class, ["F-2", "F-1"]
    with write(services.engine) as connection:
        before = [find(connection, asset_class, serials, asked) for find in (history, stored_steps.made)]
        assert merge(connection, "fan") == 12
        assert merge(connection, "fan") == 0
        after = [find(connection, asset_class, serials, asked) for find in (history, stored_steps.made)]
    assert_same_bits(*(found[0].to_columns(np.array(serials)) for found in (before, after)))
    assert len(before[1]) == len(after[1])


@pytest.mark.usefixtures("often")
def test_a_column_that_came_later_survives_a_merge(services: Services) -> None:
    live(services, range(3))
    apply(services, CHANGES["a sensor more"])
    live(services, range(3, 5))
    asset_class = kept(services).asset_class
    with write(services.engine) as connection:
        before = history(connection, asset_class, ["F-1"])
        merge(connection, "fan")
        after = history(connection, asset_class, ["F-1"])
    np.testing.assert_array_equal(after.values, before.values)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["late", "repaired", "sensor", "restart", "merge", "hour", "hour"]),
        st.integers(0, 30),
        st.booleans(),
    ),
    max_size=12,
)


@given(acts=ACTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("often")
def test_whatever_comes_late_the_twins_are_those_of_a_cold_fold(acts: list[tuple[str, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        services = make_services(Path(folder))
        live(services, range(8))
        now = 8
        for number, (act, hour, first) in enumerate(acts):
            then, source = START + hour % now * HOUR, "fan1" if first else "fan2"
            match act:
                case "hour":
                    live(services, range(now, now + 1))
                    now += 1
                case "late":
                    feed(services, rows(source, np.array([then + number * 60_000]), np.array([[0.0, 8.0]])))
                case "repaired":
                    serial = "F-1" if first else "F-2"
                    report(services, MaintenanceEvent(serial, EventKind.REPAIRED, then), f"e{number}")
                case "sensor":
                    serial = "F-1" if first else "F-2"
                    replaced = MaintenanceEvent(serial, EventKind.SENSOR_REPLACED, then, sensor="vibration")
                    report(services, replaced, f"e{number}")
                case "merge":
                    with write(services.engine) as connection:
                        merge(connection, "fan")
                case "restart":
                    services.cohorts.clear()
            tick(services, START + now * HOUR + number + 1)
        warm = twins(services)
        with write(services.engine) as connection:
            connection.execute(delete(checkpoints))
        restart(services, now)
        assert_same_bits(twins(services), warm)
        services.engine.dispose()


def test_what_is_in_memory_is_used_until_something_changes(services: Services) -> None:
    live(services, range(2))
    first = kept(services)
    live(services, range(2, 3))
    assert kept(services) is first
    report(services, MaintenanceEvent("F-1", EventKind.INSPECTED, START + HOUR))
    live(services, range(3, 4))
    assert kept(services) is first
    apply(services, PLANT.replace("notice: 24 h", "notice: 36 h"))
    live(services, range(4, 5))
    assert kept(services) is not first
    assert kept(services).twin.steps.tolist() == [5, 5, 0]


def test_a_tick_that_fails_forgets_the_cohort_that_it_had_half_changed(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(services, range(5))
    feed(services, readings("fan1", [5]), readings("fan2", [5]))
    with monkeypatch.context() as patched:
        patched.setattr("pdm.tick.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tick(services, START + 6 * HOUR)
    assert services.cohorts == {}
    tick(services, START + 6 * HOUR)
    assert kept(services).twin.steps.tolist() == [6, 6, 0]


# A plant that changes

MODE = "    failure_modes:\n      bearing: {title: Bearing, action: Replace it}\n"
NEW_SENSOR = "      temperature: {unit: degC, range: [0, 100], title: Temperature}\n"
NEWCOMER = '  - {serial: A-1, class: fan, slot: FAN-4, source: fan4, start_of_life: "2026-01-05T00:00:00Z"}\n'
F_2 = next(line + "\n" for line in PLANT.splitlines() if "F-2" in line)

CHANGES = {
    "another horizon": PLANT.replace("horizon: 1000", "horizon: 500"),
    "a mode more": PLANT.replace("    failure_modes:\n", MODE),
    "a sensor more": PLANT.replace("      vibration: {", NEW_SENSOR + "      vibration: {"),
    "another summary": PLANT.replace("summary: [mean, max]", "summary: [min, max]"),
    "sensors in another order": PLANT.replace("summary: [mean, max]", "summary: [max, mean]"),
    "an asset more": PLANT + NEWCOMER,
    "an asset less": PLANT.replace(F_2, ""),
}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("changed", CHANGES)
def test_a_changed_plant_goes_on_with_the_history_that_it_has(services: Services, tmp_path: Path, changed: str) -> None:
    live(services, range(10))
    apply(services, CHANGES[changed])
    live(services, range(10, 12))
    assert kept(services).twin.steps[list(kept(services).serials).index("F-1")] == 12
    before = twins(services)
    restart(services, 12)
    assert_same_bits(twins(services), before)
    feed(services, rows("fan1", np.array([START + 2 * HOUR + 50 * 60_000]), np.array([[0.0, 8.0]])))
    tick(services, START + 12 * HOUR + 1)
    assert twins(services)["exposure"][list(kept(services).serials).index("F-1")] == 11.75
    believed = kept(services).before
    asset_class = kept(services).asset_class
    assert believed.prognosis.horizon == asset_class.horizon
    assert believed.prognosis.mode.shape[1] == len(asset_class.failure_modes)


def test_a_column_keeps_its_values_when_the_class_gets_others(services: Services) -> None:
    live(services, range(3))
    with read(services.engine) as connection:
        before = history(connection, kept(services).asset_class, ["F-1"])
    apply(services, CHANGES["a sensor more"].replace("[mean, max]", "[max, mean]"))
    live(services, range(3, 4))
    asset_class = kept(services).asset_class
    assert asset_class.column_names == ("speed", "temperature", "vibration_max", "vibration_mean")
    with read(services.engine) as connection:
        after = history(connection, asset_class, ["F-1"])
    assert after.values[:3, [0, 3, 2]].tolist() == before.values.tolist()
    assert np.isnan(after.values[:, 1]).all()


def test_a_rule_that_waits_goes_on_waiting_when_another_one_comes(services: Services) -> None:
    live(services, range(3))
    for hour in (3, 4):
        feed(services, rows("fan1", np.array([START + hour * HOUR + 60_000]), np.array([[1500.0, 9.5]])))
        tick(services, START + (hour + 1) * HOUR)
    pending = kept(services).before.pending_ms
    assert pending[0].tolist() == [-1, START + 4 * HOUR]
    apply(
        services, PLANT, RULES.replace("rules:\n", "rules:\n  quiet: {kind: silent_sensor, title: Quiet, for: 2 d}\n")
    )
    tick(services, START + 5 * HOUR + 1)
    assert kept(services).before.pending_ms[0].tolist() == [-1, -1, START + 4 * HOUR]


# Steps laid over each other


def some(*made: tuple[int, int, int]) -> Steps:
    """Steps of row, start and count."""
    row, start, count = (np.array(column, dtype=np.int64) for column in zip(*made, strict=True))
    return Steps(row, start, start + 1, np.ones(len(row)), count.astype(np.int32), np.zeros((len(row), 1)))


def told(steps: Steps) -> list[tuple[int, int, int]]:
    return list(zip(steps.row.tolist(), steps.start_ms.tolist(), steps.count.tolist(), strict=True))


def test_a_step_made_again_stands_over_the_stored_one_and_one_taken_back_over_none() -> None:
    stored = some((0, 10, 1), (0, 20, 1), (1, 10, 1), (1, 20, 1))
    made = some((0, 20, 7), (0, 30, 1), (1, 10, -1))
    assert told(laid_over(stored, made)) == [(0, 10, 1), (0, 20, 7), (0, 30, 1), (1, 20, 1)]


def test_no_steps_change_nothing_and_may_have_no_columns() -> None:
    none = Steps(*(np.empty(0, dtype=np.int64),) * 3, np.empty(0), np.empty(0, dtype=np.int32), np.empty((0, 0)))
    one = some((0, 10, 1))
    assert told(laid_over(none, one)) == told(laid_over(one, none)) == told(joined([none, one])) == [(0, 10, 1)]
    assert len(laid_over(none, none)) == 0
