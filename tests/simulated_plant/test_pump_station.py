"""Whole lives, and the station that lives them hour by hour."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pdm.simulated_plant
from pdm.simulated_plant import PUMP_SENSORS, FailureMode, HourReadings, PumpLives, PumpStation, pump, simulate_pumps

HOUR_MS = 3_600_000
START_MS = 1_767_571_200_000  # Monday, 5 January 2026
NAMES = [sensor.name for sensor in PUMP_SENSORS]


@pytest.fixture(scope="module")
def fleet() -> PumpLives:
    return simulate_pumps(16, seed=3, start_ms=START_MS)


def _bytes(lives: PumpLives, i: int) -> bytes:
    truth = lives.truth[i]
    columns = [lives.time_ms[i], *lives.values[i].values(), truth.running_hours, truth.impeller, truth.thrust_friction]
    return b"".join(column.tobytes() for column in columns)


def _readings(station: PumpStation, hours: int, pump_index: int) -> Iterator[dict[str, float]]:
    for _ in range(hours):
        hour = station.advance()
        if hour.sent[pump_index]:
            yield {name: float(values[pump_index]) for name, values in hour.values.items()}


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (simulate_pumps(3, seed=5, start_ms=START_MS, max_hours=600) for _ in range(2))
    assert [_bytes(first, i) for i in range(3)] == [_bytes(second, i) for i in range(3)]


def test_another_seed_gives_other_pumps_in_other_weather() -> None:
    first, second = (simulate_pumps(1, seed=seed, start_ms=START_MS, max_hours=100) for seed in (5, 6))
    for name in ("ambient_temperature", "set_speed", "thrust_bearing_temperature"):
        assert not np.array_equal(first.values[0][name][:90], second.values[0][name][:90], equal_nan=True)


def test_more_pumps_leave_the_others_as_they_are(fleet: PumpLives) -> None:
    few = simulate_pumps(3, seed=3, start_ms=START_MS)
    assert [_bytes(few, i) for i in range(3)] == [_bytes(fleet, i) for i in range(3)]


def test_neighbouring_seeds_and_pumps_share_no_stream() -> None:
    first, second = (simulate_pumps(2, seed=seed, start_ms=START_MS, max_hours=50) for seed in (5, 6))
    lives = [lives.truth[i].impeller.tobytes() for lives in (first, second) for i in range(2)]
    assert len(set(lives)) == 4


def test_whole_lives_are_the_station_run_to_the_end(fleet: PumpLives) -> None:
    station = PumpStation(16, seed=3, start_ms=START_MS)
    hours: list[HourReadings] = []
    while station.alive.any():
        hours.append(station.advance())
    failures = {failure.pump: failure for hour in hours for failure in hour.failures}
    for i in range(16):
        sent = [hour for hour in hours if hour.sent[i]]
        assert [hour.time_ms for hour in sent] == fleet.time_ms[i].tolist()
        for name in NAMES:
            assert np.array([hour.values[name][i] for hour in sent]).tobytes() == fleet.values[i][name].tobytes()
        assert (failures[i].time_ms, failures[i].mode) == (fleet.truth[i].failure_ms, fleet.truth[i].failure_mode)


def test_a_reading_carries_a_time_within_its_hour(fleet: PumpLives) -> None:
    for times in fleet.time_ms:
        assert (times % HOUR_MS == HOUR_MS - 60_000).all()
        assert (np.diff(times) > 0).all()
        assert times[0] > START_MS


def test_no_reading_follows_the_failure(fleet: PumpLives) -> None:
    for times, truth in zip(fleet.time_ms, fleet.truth, strict=True):
        assert truth.failure_ms is not None
        assert times[-1] < truth.failure_ms
        assert truth.hour_end_ms[-1] == truth.failure_ms


def test_a_pump_fails_of_what_has_worn_out(fleet: PumpLives) -> None:
    modes = {truth.failure_mode for truth in fleet.truth}
    assert modes == set(FailureMode)
    for truth in fleet.truth:
        worn_out = truth.impeller[-1] <= pump.IMPELLER_LIMIT
        assert worn_out == (truth.failure_mode is FailureMode.IMPELLER)
        assert (truth.impeller[:-1] > pump.IMPELLER_LIMIT).all()


def test_a_bearing_failure_shows_three_hot_hours_of_the_last_ten(fleet: PumpLives) -> None:
    names = {
        FailureMode.THRUST_BEARING: "thrust_bearing_temperature",
        FailureMode.RADIAL_BEARING: "radial_bearing_temperature",
    }
    for values, truth in zip(fleet.values, fleet.truth, strict=True):
        if truth.failure_mode in names:
            running = values["set_speed"] > 0
            last = {name: values[name][running][-10:] for name in (names[truth.failure_mode], "oil_temperature")}
            limits = {"oil_temperature": pump.OIL_LIMIT}
            hot = [(v >= limits.get(name, pump.BEARING_LIMIT) - 273.15 - 2).sum() for name, v in last.items()]
            assert max(hot) >= 2  # noise and a lost value may hide one


def test_wear_only_grows_and_rests_at_night(fleet: PumpLives) -> None:
    for truth in fleet.truth:
        ran = np.diff(truth.running_hours) > 0
        assert set(np.diff(truth.running_hours).tolist()) == {0, 1}
        for wear in (-truth.impeller, truth.thrust_friction, truth.radial_friction):
            assert (np.diff(wear)[ran] > 0).all()
            assert (np.diff(wear)[~ran] == 0).all()


def test_lives_are_weeks_to_months_of_running(fleet: PumpLives) -> None:
    lives = [truth.life_hours for truth in fleet.truth]
    assert min(lives) > 700
    assert max(lives) < 4_200
    assert np.std(lives) > 200


def test_some_values_and_some_readings_get_lost(fleet: PumpLives) -> None:
    values = np.concatenate([np.concatenate(list(columns.values())) for columns in fleet.values])
    assert np.isnan(values).mean() == pytest.approx(0.002, rel=0.1)
    hours = sum(len(truth.hour_end_ms) for truth in fleet.truth)
    assert 1 - sum(map(len, fleet.time_ms)) / hours == pytest.approx(0.005, rel=0.2)


def test_values_stay_within_the_declared_ranges(fleet: PumpLives) -> None:
    for columns in fleet.values:
        for sensor in PUMP_SENSORS:
            assert np.nanmin(columns[sensor.name]) >= sensor.low
            assert np.nanmax(columns[sensor.name]) < sensor.high


def test_a_pump_at_rest_still_reports_and_cools_down() -> None:
    station = PumpStation(1, seed=8, start_ms=START_MS)
    day = list(_readings(station, 24 * 7, 0))
    resting = [reading for reading in day if reading["set_speed"] == 0]
    assert len(resting) > 24
    assert all(reading["speed"] == reading["flow"] == reading["motor_power"] == 0 for reading in resting)
    before_dawn = [r["thrust_bearing_temperature"] - r["ambient_temperature"] for r in resting]
    assert min(before_dawn) < 2


def test_a_simulation_cut_short_leaves_its_pumps_without_a_failure() -> None:
    truth = simulate_pumps(1, seed=5, start_ms=START_MS, max_hours=48).truth[0]
    assert (truth.failure_ms, truth.failure_mode, len(truth.hour_end_ms)) == (None, None, 48)
    assert truth.life_hours == 36  # Monday and Tuesday from 5 to 23


def test_repair_puts_a_new_pump_in_the_place_and_leaves_the_others_alone() -> None:
    touched, untouched = (PumpStation(3, seed=5, start_ms=START_MS) for _ in range(2))
    for station in (touched, untouched):
        for _ in range(200):
            station.advance()
    touched.repair(1)
    assert touched.wear[:, 1].tolist() == [pump.NEW_IMPELLER, pump.NEW_THRUST_FRICTION, pump.NEW_RADIAL_FRICTION]
    assert touched.running_hours[1] == 0
    for _ in range(200):
        after, before = touched.advance(), untouched.advance()
    for name in NAMES:
        np.testing.assert_array_equal(after.values[name][[0, 2]], before.values[name][[0, 2]])
    assert touched.wear[0, 1] != untouched.wear[0, 1]


def test_a_new_pump_wears_at_a_rate_of_its_own() -> None:
    station = PumpStation(1, seed=5, start_ms=START_MS)
    lost = []
    for _ in range(2):
        for _ in range(7 * 24):
            station.advance()
        lost.append(pump.NEW_IMPELLER - station.wear[0, 0])
        station.repair(0)
    assert lost[0] != pytest.approx(lost[1], rel=0.02)


def test_a_failed_pump_is_silent_until_it_is_repaired(fleet: PumpLives) -> None:
    first = min(range(16), key=lambda i: fleet.truth[i].failure_ms or 0)
    station = PumpStation(first + 1, seed=3, start_ms=START_MS)
    while station.alive[first]:
        hour = station.advance()
    assert [failure.pump for failure in hour.failures] == [first]
    worn = station.wear[:, first]
    silent = [station.advance() for _ in range(48)]
    assert not any(hour.sent[first] or hour.failures for hour in silent)
    assert station.wear[:, first].tolist() == worn.tolist()
    station.repair(first)
    assert sum(bool(station.advance().sent[first]) for _ in range(48)) > 40


def test_one_or_two_of_a_dozen_pumps_start_with_a_sensor_at_fault() -> None:
    for seed in range(20):
        station = PumpStation(12, seed=seed, start_ms=START_MS)
        assert len(station._faults) in {1, 2}


def test_what_a_caller_kept_is_not_changed_behind_its_back() -> None:
    station = PumpStation(2, seed=5, start_ms=START_MS)
    for _ in range(30):
        station.advance()
    kept = station.wear, station.running_hours, station.alive
    copies = [array.copy() for array in kept]
    station.repair(0)
    station.advance()
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_simulated_plant_knows_nothing_of_the_twin() -> None:
    for path in Path(pdm.simulated_plant.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pdm"):
                assert node.module.startswith("pdm.simulated_plant"), f"{path.name} imports {node.module}"
