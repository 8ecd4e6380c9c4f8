"""A sensor that drifts away from its peers is named; a machine that wears takes all of its sensors along."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdm import features
from pdm.demo.lives import pump_steps
from pdm.demo_plants import pump_plant
from pdm.features import FeatureState, health
from pdm.features.frame import Floats, Frame, Peers
from pdm.features.health import Fault
from pdm.learn import Life, life_of
from pdm.learn.frame_fit import fit_frame
from pdm.learn.lives import stacked
from pdm.learn.peer_fit import FEWEST, fit_peers
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN, Refusal
from pdm.simulated_plant import simulate_pumps
from pdm.state.schema import read
from pdm.state.told import live_alerts
from pdm.tick import tick
from tests.small_lives import FAN, plain_frame, steps_of
from tests.small_plant import HOUR, START
from tests.test_new_sensors import pump_model, pump_services

# Three sensors show the same wear, each as the mean of the other two; what is left over has a usual size of 0.5.
PEERS = Peers(np.ones(3, dtype=np.bool_), (1.5 * np.eye(3) - 0.5) / 0.5, np.full(3, 4.0))
FRAME = replace(plain_frame(3), peers=PEERS)


def said(frame: Frame, values: Floats, new_at: int = -1) -> NDArray[np.int8]:
    """What is said of each sensor after each step `[steps, k]` of one machine; before one of them the first is new."""
    state, found = features.start(frame, 1), []
    for number, step in enumerate(values):
        if number == new_at:
            features.renew(frame, state, np.array([0]), np.array([[True, False, False]]))
        features.fold(frame, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        found.append(health.faults(frame, state.sensors)[0])
    return np.array(found)


def worn(seed: int = 1, steps: int = 600, size: float = 12.0) -> Floats:
    """Steps of a machine whose wear shows in all three sensors."""
    noise = np.random.default_rng(seed).normal(0, 0.5, (steps, 3))
    return noise + size * np.linspace(0, 1, steps)[:, None] ** 2


@pytest.mark.parametrize("sensor", [0, 1, 2])
@pytest.mark.parametrize("size", [-10.0, 10.0])
def test_a_sensor_that_drifts_away_from_its_peers_is_named_and_they_are_not(sensor: int, size: float) -> None:
    values = worn()
    values[200:, sensor] += np.linspace(0, size, 400)
    found = said(FRAME, values)
    assert not found[:250].any()
    assert (found[-200:, sensor] == Fault.DRIFT).all()
    assert not np.delete(found, sensor, axis=1).any()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), size=st.floats(-100, 100))
def test_however_far_a_machine_wears_its_sensors_do_not_drift(seed: int, size: float) -> None:
    assert not (said(FRAME, worn(seed, 200, size)) == Fault.DRIFT).any()


def test_a_drift_is_left_out_of_the_features_and_heard_again_once_it_is_gone() -> None:
    values = worn(size=0.0)
    values[200:500, 0] += np.r_[np.linspace(0, 10, 200), np.linspace(10, 0, 100)]
    found = said(FRAME, values)
    assert found[399, 0] == Fault.DRIFT
    assert not found[-1].any()
    state = features.start(FRAME, 1)
    for step in values[:400]:
        features.fold(FRAME, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
    assert features.silent_steps(FRAME, state)[0, 0] > 50
    assert features.since_start(FRAME, state)[0, 0] < 6


def test_of_the_drift_of_a_sensor_that_is_not_judged_nothing_is_said_of_any() -> None:
    frame = replace(FRAME, peers=replace(PEERS, judged=np.array([False, True, True])))
    values = worn()
    values[200:, 0] += np.linspace(0, 30, 400)
    assert not said(frame, values).any()


def test_behind_a_new_sensor_a_drift_begins_anew() -> None:
    values = worn(size=0.0)
    values[200:300, 0] += np.linspace(0, 10, 100)
    values[300:, 0] -= 5
    found = said(FRAME, values, new_at=300)
    assert found[299, 0] == Fault.DRIFT
    assert not found[300:].any()


def test_what_is_missing_or_at_fault_otherwise_tells_nothing_of_drift() -> None:
    values = worn()
    values[200:, 0] += np.linspace(0, 10, 400)
    values[150:, 1] = np.nan
    found = said(FRAME, values)
    assert not (found == Fault.DRIFT).any()
    assert found[-1].tolist() == [Fault.NONE, Fault.DROPOUT, Fault.NONE]


def test_a_machine_alone_and_among_others_saved_and_loaded_gets_the_same_bits() -> None:
    made = steps_of(FRAME, 1, 120, 7)
    made[60:, 3, 0] += 40
    together, alone = features.start(FRAME, 7), [features.start(FRAME, 1) for _ in range(7)]
    for step in made:
        features.fold(FRAME, together, features.ALL, step, np.ones(7, dtype=np.bool_))
        for number in range(7):
            one = FeatureState.from_columns(FRAME, alone[number].to_columns())
            features.fold(FRAME, one, features.ALL, step[[number]], np.ones(1, dtype=np.bool_))
            alone[number] = one
    assert together.sensors.apart.any()
    for name, values in together.to_columns().items():
        assert np.vstack([one.to_columns()[name] for one in alone]).tobytes() == values.tobytes()


def test_a_state_from_before_drift_was_judged_does_not_fit_and_that_of_a_model_without_peers_is_no_larger() -> None:
    before = features.start(plain_frame(3), 2).to_columns()
    assert "sensor_apart" not in before
    assert len(FeatureState.from_columns(plain_frame(3), before)) == 2
    with pytest.raises(ValueError, match="does not fit"):
        FeatureState.from_columns(FRAME, before)


# Learning


def alike(number: int, alike: int) -> Life:
    """A fan of which so many of three sensors show the wear; the others go ways of their own."""
    random = np.random.default_rng([5, number])
    length = int(random.integers(80, 120))
    wear = 10 * (np.arange(1, length + 1) / length) ** 2
    own = random.normal(0, 1, (length, 3)).cumsum(axis=0)
    sensors = np.where(np.arange(3) < alike, wear[:, None], own) + random.normal(0, 0.2, (length, 3))
    return Life(f"A-{number}", np.c_[random.uniform(0.5, 1.5, length), sensors], np.ones(length), failed=True)


def judged(lives: list[Life]) -> list[str]:
    """The sensors of which a drift is judged."""
    stack = stacked(lives)
    frame = fit_frame(FAN, stack, seed=0)
    peers = fit_peers(FAN, frame, stack, seed=0)
    return [] if peers is None else np.array(frame.channel_names[: frame.sensors])[peers.judged].tolist()


def test_a_drift_is_judged_where_sensors_move_together() -> None:
    assert judged([alike(number, 3) for number in range(40)]) == ["vibration", "temperature", "nameplate"]


def test_of_two_sensors_that_get_apart_nobody_knows_which_drifts_and_of_one_alone_nobody_knows_anything() -> None:
    assert judged([alike(number, 2) for number in range(40)]) == []
    assert judged([alike(number, 0) for number in range(40)]) == []


def test_of_few_lives_no_drift_is_judged() -> None:
    assert judged([alike(number, 3) for number in range(FEWEST - 1)]) == []


# From end to end


@cache
def whole_life() -> Life:
    """A pump that the shipped model has not seen, from new until it failed."""
    pump = parse_plant(pump_plant(1, start_ms=START)).classes["pump"]
    simulated = simulate_pumps(1, seed=5, start_ms=START)
    return life_of(pump, "P-001", pump_steps(pump, simulated, 0, START), None)


def of_pump(life: Life) -> list[tuple[str, int]]:
    """Which drifts are named, and in which steps first."""
    frame = pump_model().frame
    state, found = features.start(frame, 1), []
    assert life.follows is not None
    for step, follows in zip(life.columns, life.follows, strict=True):
        features.fold(frame, state, features.ALL, step[None], np.array([follows]))
        found.append(health.faults(frame, state.sensors)[0] == Fault.DRIFT)
    every = np.array(found)
    return [
        (frame.channel_names[sensor], int(every[:, sensor].argmax())) for sensor in np.flatnonzero(every.any(axis=0))
    ]


def test_a_pump_that_wears_until_it_fails_has_no_sensor_that_drifts() -> None:
    assert of_pump(whole_life()) == []


def test_a_motor_power_that_drifts_on_a_worn_pump_is_named_within_a_week() -> None:
    life = whole_life()
    columns, since = life.columns.copy(), len(life.columns) - 250
    power = pump_model().frame.column_names.index("motor_power")
    columns[since:, power] += 3 * np.arange(250) / 112  # 1 % of its range in a week of 16 hours a day
    ((name, step),) = of_pump(replace(life, columns=columns))
    assert name == "motor_power"
    assert since < step < since + 112 + 16


def test_a_drift_opens_an_alert_and_is_left_out_while_the_other_sensors_go_on_to_tell(tmp_path: Path) -> None:
    services = pump_services(tmp_path, "motor_power", a_week=12.0)
    for hour in range(480, 761, 20):
        tick(services, START + hour * HOUR)
    cohort = services.cohorts["pump"]
    names = cohort.asset_class.column_names
    assert cohort.before.faults[0].nonzero()[0].tolist() == [names.index("motor_power")]
    assert cohort.before.faults[0, names.index("motor_power")] == Fault.DRIFT
    with read(services.engine) as connection:
        (alert,) = live_alerts(connection)
    assert alert.rule == "check_sensor-motor_power"
    assert alert.title == "PUMP-01: Motor power drifts away from the other sensors"
    assert cohort.before.prognosis.refusal[0] == Refusal.NONE
    assert np.isfinite(cohort.before.prognosis.quantiles[0, MEDIAN])
