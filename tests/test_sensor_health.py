"""Sensors that cannot be right are seen, left out and named; what a machine does is not held against its sensors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pdm import features, twin
from pdm.features import FeatureState, health, told_units
from pdm.features.frame import Floats, Frame
from pdm.features.health import Fault
from pdm.plant import AssetClass, LifeStep, Sensor
from pdm.state.schema import read
from pdm.state.told import live_alerts
from pdm.steps import Steps
from tests.small_lives import plain_frame, random_frame, steps_of
from tests.small_plant import HOUR, START
from tests.test_new_sensors import medians, pump_services

FRAME = plain_frame(2)


def judged(values: NDArray[np.float64], frame: Frame = FRAME) -> NDArray[np.int8]:
    """What is said of each sensor after each step `[steps, k]` of one machine that never rests."""
    state, said = features.start(frame, 1), []
    for step in values:
        features.fold(frame, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        said.append(health.faults(frame, state.sensors)[0])
    return np.array(said)


def noise(steps: int = 300) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(size=(steps, 2))


def test_of_sensors_that_are_sound_nothing_is_said() -> None:
    assert not judged(noise(5000)).any()


@pytest.mark.parametrize(
    ("fault", "within", "wrong"),
    [
        (Fault.DROPOUT, 3, lambda x: np.full_like(x, np.nan)),
        (Fault.STUCK, 15, lambda x: np.full_like(x, x[0])),
        (Fault.LEVEL, 3, lambda x: x * 1.8 + 32),
        (Fault.NOISE, 30, lambda x: 5 * x),
    ],
)
def test_a_fault_is_named_and_gone_once_it_is_healed(fault: Fault, within: int, wrong: object) -> None:
    values = noise()
    values[100:160, 0] = wrong(values[100:160, 0])  # type: ignore[operator]
    said = judged(values)
    assert not said[:100].any()
    assert fault in said[100 : 100 + within, 0]
    assert (said[140:160, 0] == fault).mean() > 0.9
    assert not said[250:, 0].any()
    assert not said[:, 1].any()


@pytest.mark.parametrize("fault", [Fault.STUCK, Fault.DROPOUT])
def test_a_sensor_that_is_back_is_believed_however_far_the_machine_has_gone_on_meanwhile(fault: Fault) -> None:
    values = noise(900)
    values[:, 0] += np.linspace(0, 60, 900)  # the machine wears
    values[200:500, 0] = np.nan if fault == Fault.DROPOUT else values[200, 0]
    said = judged(values)
    assert (said[220:500, 0] == fault).all()
    assert not said[540:].any()


def test_sensors_that_move_to_a_new_level_together_are_believed_and_one_alone_is_not() -> None:
    one, both = noise(), noise()
    one[100:, 0] += 32
    both[100:] += 32
    both[200:, 1] += 32
    alone, together = judged(one), judged(both)
    assert (alone[102:, 0] == Fault.LEVEL).all()
    assert not (together[102:200] > 0).any()
    assert (together[202:] == [Fault.NONE, Fault.LEVEL]).all()


def test_a_spike_is_one_in_its_own_step_alone() -> None:
    values = noise()
    values[100, 0] += 30
    assert np.flatnonzero(judged(values)[:, 0]).tolist() == [100]
    assert judged(values)[100, 0] == Fault.SPIKE


def test_after_a_rest_a_jump_is_not_believed_before_the_next_step_and_not_named_either() -> None:
    values, state = noise(), features.start(FRAME, 1)
    for number, step in enumerate(values):
        jumped, follows = step + 30 * (number == 100), np.array([number != 100])
        features.fold(FRAME, state, features.ALL, jumped[None], follows)
        assert (features.silent_steps(FRAME, state) > 0).all() == (number == 100)
        assert not health.faults(FRAME, state.sensors).any()


def test_a_spike_in_the_first_step_after_a_rest_is_named_once_it_is_back_and_a_machine_that_warms_up_has_none() -> None:
    values, state, said = noise(), features.start(FRAME, 1), []
    values[::10, 1] -= 20  # cold at first
    values[200, 0] += 30
    for number, step in enumerate(values):
        features.fold(FRAME, state, features.ALL, step[None], np.array([number % 10 != 0]))
        said.append(health.faults(FRAME, state.sensors)[0])
    assert np.argwhere(said).tolist() == [[201, 0]]


def test_a_machine_that_never_runs_for_two_steps_in_a_row_is_heard() -> None:
    values, state = noise(), features.start(FRAME, 1)
    values[:, 0] += np.linspace(0, 40, len(values))
    left_out = 0
    for step in values:
        features.fold(FRAME, state, features.ALL, step[None], np.zeros(1, dtype=np.bool_))
        left_out += int((features.silent_steps(FRAME, state) > 0).sum())
    assert left_out <= 2


def test_a_trend_and_a_sensor_that_reports_on_change_are_no_faults() -> None:
    values = noise(2000)
    values[:, 0] += np.linspace(0, 40, 2000)
    moving = np.random.default_rng(2).normal(size=2000).cumsum()
    said = moving[0]
    for step, value in enumerate(moving):
        said = value if abs(value - said) > 1.5 else said  # it speaks when it has moved by so much
        values[step, 1] = said
    assert not judged(values).any()


def test_a_reading_that_stays_has_not_jumped_where_another_regime_expects_another_one() -> None:
    conditions = replace(
        random_frame(1, sensors=1, conditions=1, regimes=2).conditions,
        centre=np.zeros(1),
        spread=np.ones(1),
        regimes=np.array([[0.0, 10.0]]),
        mean=np.array([[0.0, -40.0]]),
        inverse_sd=np.ones((1, 2)),
    )
    frame = replace(random_frame(1, sensors=1, conditions=1, regimes=2), conditions=conditions, clip=100.0)
    values = noise()[:, ::-1].copy()
    values[:, 0] = 0
    values[150:, 0] = 10
    assert not judged(values, frame).any()
    values[250:, 1] += 40
    assert (judged(values, frame)[252:, 0] == Fault.LEVEL).all()


def recent_of(values: Floats, frame: Frame = FRAME) -> tuple[Floats, Floats]:
    """The recent mean of each sensor after each step, and for how many steps it has been left out `[steps, p]`."""
    state, recent, silent = features.start(frame, 1), [], []
    for step in values:
        features.fold(frame, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        recent.append(features.emit(frame, state)[0, : frame.sensors])
        silent.append(features.silent_steps(frame, state)[0])
    return np.array(recent), np.array(silent)


@pytest.mark.parametrize(("size", "off"), [(5, 1.0), (50, 4.0)])
def test_a_sensor_that_is_noisier_goes_on_to_tell_of_the_machine(size: float, off: float) -> None:
    values, wear = noise(400), np.r_[np.zeros(200), np.linspace(0, 4, 200)]
    noisier = values.copy()
    noisier[150:, 0] *= size
    said = judged(noisier + wear[:, None])[180:, 0]
    assert np.isin(said, [Fault.NOISE, Fault.SPIKE, Fault.LEVEL]).all()
    recent, silent = recent_of(noisier + wear[:, None])
    sound, _ = recent_of(values + wear[:, None])
    assert not silent[180:, 0].any()
    assert np.abs(recent - sound)[180:, 0].mean() < off


@pytest.mark.parametrize("size", [-30.0, 12.0])
def test_of_a_sensor_at_a_new_level_the_jump_is_taken_off_and_what_follows_counts(size: float) -> None:
    values = noise(500) + np.linspace(0, 20, 500)[:, None]
    sound, _ = recent_of(values)
    values[150:400, 0] += size
    said, (recent, silent) = judged(values), recent_of(values)
    assert (said[152:400, 0] == Fault.LEVEL).all()
    assert not said[400:].any()
    assert silent.max() < FRAME.baseline
    assert np.abs(recent - sound).max() < 1.5


@pytest.mark.parametrize(("steps", "named"), [(1, [10]), (2, [10, 11]), (18, [10, 11])])
def test_before_it_is_known_what_is_usual_only_what_no_machine_showed_is_left_out_unless_it_stays(
    steps: int, named: list[int]
) -> None:
    values, frame = noise(28), replace(FRAME, clip=8.0)
    values[5, 0] = 7.0
    values[10 : 10 + steps, 0] += 12.0
    said, (recent, silent) = judged(values, frame), recent_of(values, frame)
    assert np.flatnonzero(said[:, 0]).tolist() == named
    assert np.flatnonzero(silent[:, 0]).tolist() == named
    assert (recent[27, 0] > 5) == (steps > 2)
    assert (recent[10:, 0].max() < 2) == (steps < 3)


@pytest.mark.parametrize("later", [lambda x: 8 * x, lambda x: x + 10], ids=["noisier", "another level"])
def test_what_is_not_named_of_coarse_digits_is_not_held_against_them(later: Callable[[Floats], Floats]) -> None:
    values = noise(500)
    values[:, 0] = np.where(np.abs(values[:, 0]) > 1.5, np.sign(values[:, 0]), 0)  # seven in eight say zero
    values[200:, 0] = later(values[200:, 0])
    assert not np.isin(judged(values)[:, 0], [Fault.NOISE, Fault.LEVEL]).any()
    state, q, x0, s0 = features.start(FRAME, 1), FRAME.memory(15), 0.0, 0.0
    for step in values:
        features.fold(FRAME, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        x0, s0 = q * x0 + step[0], q * s0 + 1
    assert features.emit(FRAME, state)[0, 0] == pytest.approx(x0 / s0, abs=1e-5)


def test_of_a_new_sensor_in_the_place_of_one_at_fault_nothing_is_known() -> None:
    state, values = features.start(FRAME, 1), noise(120)
    values[80:, 0] = values[80, 0]
    for step in values:
        features.fold(FRAME, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
    assert health.faults(FRAME, state.sensors).tolist() == [[Fault.STUCK, Fault.NONE]]
    features.renew(FRAME, state, np.array([0]), np.array([[True, False]]))
    assert not health.faults(FRAME, state.sensors).any()
    assert not health.doubted(FRAME, state.sensors).any()


@pytest.mark.parametrize(
    ("unit", "sound", "told_in", "change"),
    [
        ("degC", 60.0, "degF", lambda x: 1.8 * x + 32),
        ("degC", 60.0, "K", lambda x: x + 273.15),
        ("bar", 6.0, "kPa", lambda x: 100 * x),
        ("bar", 6.0, "psi", lambda x: 14.5038 * x),
        ("mm/s", 2.0, "inch/s", lambda x: x / 25.4),
        ("m/s2", 12.0, "g_0", lambda x: x / 9.80665),
        ("degC", 60.0, None, lambda x: x + 30),
        ("bar", 6.0, None, lambda x: x - 5.8),
        ("rpm", 1500.0, None, lambda x: x + 200),
    ],
)
def test_a_step_that_another_unit_explains_is_named_with_the_unit(
    unit: str, sound: float, told_in: str | None, change: Callable[[Floats], Floats]
) -> None:
    pump = AssetClass("p", "Pump", (Sensor("c0", unit, "c0"),), (), LifeStep("hour", HOUR), 1000, 0, ())
    values = sound * (1 + 0.01 * noise()[:100, :1])
    values[60:] = change(values[60:])
    frame = replace(plain_frame(), conditions=replace(plain_frame().conditions, inverse_sd=np.array([[20 / sound]])))
    state, said = twin.start(pump, frame, 1), []
    for number, value in enumerate(values):
        start = START + HOUR * number
        twin.fold(pump, frame, state, one_step(start, value))
        said.append(int(twin.faults(pump, frame, state)[0, 0]))
    named = [told_units.told_in(unit, number) for number in said if number >= Fault.UNIT_MISMATCH]
    assert not any(said[:60])
    assert all(told_units.told_in(unit, number) is None for number in said if number < Fault.UNIT_MISMATCH)
    assert set(named) == (set() if told_in is None else {told_in})
    assert told_in is None or len(named) >= 38
    assert said[99] == Fault.LEVEL or told_in is not None


def one_step(start_ms: int, values: Floats) -> Steps:
    """A whole hour of one machine."""
    at, one = np.array([start_ms]), np.ones(1)
    return Steps(np.array([0]), at, at + HOUR, one, one.astype(np.int32), values[None])


def test_a_machine_alone_and_among_others_saved_and_loaded_gets_the_same_bits() -> None:
    frame = random_frame(4)
    made = steps_of(frame, 1, 120, 7)
    together, alone = features.start(frame, 7), [features.start(frame, 1) for _ in range(7)]
    for step in made:
        follows = np.ones(7, dtype=np.bool_)
        features.fold(frame, together, features.ALL, step, follows)
        for number in range(7):
            one = FeatureState.from_columns(frame, alone[number].to_columns())
            features.fold(frame, one, features.ALL, step[[number]], follows[:1])
            alone[number] = one
    for name, values in together.to_columns().items():
        assert np.vstack([one.to_columns()[name] for one in alone]).tobytes() == values.tobytes()


def test_a_sensor_at_another_level_is_named_at_once_and_the_forecast_goes_on_unmoved(tmp_path: Path) -> None:
    undisturbed = medians(pump_services(tmp_path / "undisturbed"))
    services = pump_services(tmp_path / "degF", "oil_temperature", 60.0)
    said = medians(services)
    names = services.cohorts["pump"].asset_class.column_names
    assert services.cohorts["pump"].before.faults[0, names.index("oil_temperature")] == Fault.LEVEL
    assert np.abs(said - undisturbed).max() < undisturbed.std()
    with read(services.engine) as connection:
        (alert,) = live_alerts(connection)
    assert (alert.rule, alert.target, alert.severity) == ("check_sensor-oil_temperature", "oil_temperature", "week")
    assert alert.title == "PUMP-01: Oil temperature has jumped and stays there"
