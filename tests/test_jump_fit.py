"""Sensors that jump where machines wear are believed; those that jump at any time of a life are not."""

from dataclasses import replace

import numpy as np
import pytest

from pdm import features
from pdm.features import health
from pdm.features.health import Fault
from pdm.learn import Life
from pdm.learn.frame_fit import fit_frame
from pdm.learn.lives import stacked
from tests.small_lives import FAN, plain_frame


def cracked(number: int, since: float) -> Life:
    """A fan whose vibration jumps when this share of its life is over, and stays there."""
    random = np.random.default_rng([6, number])
    length = int(random.integers(120, 160))
    vibration, temperature = random.normal(0, 0.2, (2, length)) + 2 * np.linspace(0, 1, length) ** 2
    vibration[int(since * length) :] += 8
    columns = np.c_[random.uniform(0.5, 1.5, length), vibration, temperature, random.normal(0, 1, length)]
    return Life(f"C-{number}", columns, np.ones(length), failed=True)


def believed(lives: list[Life]) -> list[str]:
    """The sensors of which a jump is taken for wear."""
    frame = fit_frame(FAN, stacked(lives), seed=0)
    return [] if frame.jumps is None else np.array(frame.channel_names[: frame.sensors])[frame.jumps].tolist()


def test_a_sensor_that_jumps_late_in_many_lives_is_believed() -> None:
    assert believed([cracked(number, 0.8 if number % 2 else 1.0) for number in range(12)]) == ["vibration"]


@pytest.mark.parametrize("few", [3, 12])
def test_a_sensor_that_jumps_at_any_time_or_in_few_lives_is_not(few: int) -> None:
    sinces = np.random.default_rng(3).uniform(0.3, 0.95, 12) if few == 12 else np.full(3, 0.8)
    assert believed([cracked(number, since) for number, since in enumerate(sinces)]) == []


@pytest.mark.parametrize(("often", "named"), [(2, []), (4, ["vibration"])])
def test_a_sensor_that_grows_noisier_in_many_lives_is_at_no_fault(often: int, named: list[str]) -> None:
    lives, random = [cracked(number, 1.0) for number in range(12)], np.random.default_rng(8)
    for life in lives[:often]:
        life.columns[-50:, 1] += random.normal(0, 2, 50)
    frame = fit_frame(FAN, stacked(lives), seed=0)
    restless = [] if frame.restless is None else np.array(frame.channel_names[: frame.sensors])[frame.restless].tolist()
    assert restless == named
    state, found = features.start(frame, 1), set[int]()
    for step in lives[0].columns:
        features.fold(frame, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        found |= set(health.faults(frame, state.sensors)[0].tolist())
    assert (Fault.NOISE in found) == (not named)


def test_what_a_believed_sensor_says_counts_from_the_third_step_on_and_it_stays_named() -> None:
    frame = replace(plain_frame(2), jumps=np.array([True, False]))
    state, values = features.start(frame, 1), np.random.default_rng(1).normal(size=(140, 2))
    values[100:, 0] += 20
    for number, step in enumerate(values):
        features.fold(frame, state, features.ALL, step[None], np.ones(1, dtype=np.bool_))
        assert bool(features.silent_steps(frame, state)[0, 0]) == (number in (100, 101))
    assert health.faults(frame, state.sensors)[0].tolist() == [Fault.LEVEL, Fault.NONE]
    assert features.since_start(frame, state)[0, 0] > 15
