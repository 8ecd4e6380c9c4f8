"""Frames from lives: which sensors count, regimes and surfaces, the clip, health channels."""

from dataclasses import replace

import numpy as np
import pytest

from pdm.errors import ModelError
from pdm.features.frame import (
    Floats,
    Frame,
    nearest_regime,
    operating_conditions,
    project,
    read,
    standardised,
    strange_conditions,
)
from pdm.learn.frame_fit import CLIP_FLOOR, fit_frame
from pdm.learn.stack import Stack
from tests.small_lives import FAN, fan_lives


def stacked(lives: list[Floats]) -> Stack:
    lengths = np.array([len(life) for life in lives])
    left = [np.arange(len(life))[::-1].astype(float) for life in lives]
    used = [np.arange(1, len(life) + 1).astype(float) for life in lives]
    return Stack(np.concatenate(lives), lengths, np.concatenate(used), np.concatenate(left))


def fans(count: int = 12) -> list[Floats]:
    return [life.columns.copy() for life in fan_lives(count)]


def departures(frame: Frame, columns: Floats) -> Floats:
    return standardised(frame, read(frame, columns))


def kept_names(frame: Frame) -> list[str]:
    return [frame.column_names[column] for column in frame.kept]


def test_a_sensor_that_never_moves_is_not_kept() -> None:
    assert "nameplate" not in kept_names(fit_frame(FAN, stacked(fans()), seed=0))


def test_a_sensor_that_is_often_missing_is_not_kept() -> None:
    lives = fans()
    for life in lives:
        life[::10, 1] = np.nan
    assert "vibration" not in kept_names(fit_frame(FAN, stacked(lives), seed=0))


def test_conditions_that_vary_continuously_are_taken_out_and_kept_beside() -> None:
    frame = fit_frame(FAN, stacked(fans()), seed=0)
    assert kept_names(frame) == ["vibration", "temperature", "load"]
    healthy = np.column_stack([np.linspace(0.6, 1.4, 9), 2 + 3 * np.linspace(0.6, 1.4, 9), np.full((9, 2), 20.0)])
    assert np.abs(departures(frame, healthy)[0]).max() < 1.5


def test_beyond_the_conditions_of_training_nothing_is_extrapolated() -> None:
    frame = fit_frame(FAN, stacked(fans()), seed=0)
    at_limit, far, gross = (np.array([[load, 9.0, 30.0, 7.0]]) for load in (1.5, 6.0, 15.0))
    assert departures(frame, far)[0] == pytest.approx(departures(frame, at_limit)[0], abs=0.1)
    assert np.isnan(departures(frame, gross)).all()


def test_gross_values_leave_the_scale_of_sensors_and_conditions_as_it_is() -> None:
    lives, random = fans(24), np.random.default_rng(2)
    sound = fit_frame(FAN, stacked(lives), seed=0)
    for life in lives:
        life[:, :3][random.random((len(life), 3)) < 0.01] = 65_535.0
    frame = fit_frame(FAN, stacked(lives), seed=0)
    assert kept_names(frame) == kept_names(sound)
    assert frame.conditions.inverse_sd == pytest.approx(sound.conditions.inverse_sd, rel=0.25)
    assert frame.conditions.high == pytest.approx(sound.conditions.high, rel=0.1)


def test_conditions_that_explain_nothing_change_nothing() -> None:
    lives = fans()
    random = np.random.default_rng(5)
    for life in lives:
        life[:, 1:3] -= np.outer(life[:, 0], [3, 10])
        life[:, 0] = random.normal(size=len(life))
    frame = fit_frame(FAN, stacked(lives), seed=0)
    assert kept_names(frame) == ["vibration", "temperature"]
    assert frame.conditions.surface.shape == (0, 2)


def test_well_separated_conditions_are_regimes_with_their_own_levels() -> None:
    lives, random = fans(), np.random.default_rng(4)
    for life in lives:
        life[:, 1:3] -= np.outer(life[:, 0], [3, 10])
        regime = random.integers(3, size=len(life))
        life[:, 0] = regime * 10 + random.normal(0, 0.01, len(life))
        life[:, 1] += regime * 100
    frame = fit_frame(FAN, stacked(lives), seed=0)
    assert frame.conditions.regimes.shape == (1, 3)
    z = departures(frame, np.concatenate(lives))
    assert np.abs(z.mean(axis=1)).max() < 1e-9
    assert z.std(axis=1) == pytest.approx(1.0)


def strange(frame: Frame, load: Floats) -> bool:
    conditions = frame.conditions
    u = operating_conditions(conditions, np.column_stack([load, np.zeros((len(load), 3))]))
    return bool(strange_conditions(conditions, u, nearest_regime(conditions, u)[1]).any())


def test_machines_that_each_run_at_one_of_three_speeds_have_three_regimes() -> None:
    lives, speeds = fans(20), (1.0, 1.8, 3.0)
    for number, life in enumerate(lives):
        life[:, 0] = speeds[0 if number < 13 else 1 if number < 18 else 2]
    frame = fit_frame(FAN, stacked(lives), seed=0)
    assert frame.conditions.regimes.shape == (1, 3)
    assert not strange(frame, np.array(speeds))


def test_without_conditions_there_is_one_level_for_all() -> None:
    frame = fit_frame(replace(FAN, conditions=()), stacked(fans()), seed=0)
    assert kept_names(frame) == ["load", "vibration", "temperature"]
    assert departures(frame, np.concatenate(fans())).std(axis=1) == pytest.approx(1.0)


def test_the_clip_leaves_room_for_wear_and_none_for_a_broken_sensor() -> None:
    lives = fans(24)
    clean = fit_frame(FAN, stacked(lives), seed=0).clip
    lives[3][40:, 2] = 1e6
    assert fit_frame(FAN, stacked(lives), seed=0).clip == pytest.approx(clean, rel=0.5)
    assert clean > CLIP_FLOOR


def test_health_falls_from_one_towards_zero_as_machines_wear() -> None:
    lives = fans(24)
    frame = fit_frame(FAN, stacked(lives), seed=0)
    health = [project(frame, departures(frame, life), np.zeros(len(life), dtype=np.intp))[0] for life in lives]
    assert np.mean([h[:20].mean() for h in health]) > 0.8
    assert np.mean([h[-5:].mean() for h in health]) < 0.35


def test_memories_grow_with_the_square_root_of_the_median_life() -> None:
    lives = [np.tile(life, (8, 1)) for life in fans()]
    short, long = fit_frame(FAN, stacked(fans()), seed=0), fit_frame(FAN, stacked(lives), seed=0)
    assert long.scale == pytest.approx(short.scale * np.sqrt(8))


def test_when_nothing_moves_there_is_nothing_to_learn() -> None:
    lives = [np.ones((30, 4)) for _ in range(4)]
    with pytest.raises(ModelError, match="nothing to learn"):
        fit_frame(FAN, stacked(lives), seed=0)


def test_one_sensor_is_enough() -> None:
    lives = fans()
    for life in lives:
        life[:, [0, 2]] = 1.0
    frame = fit_frame(FAN, stacked(lives), seed=0)
    assert kept_names(frame) == ["vibration"]
    assert not frame.projection[:, 3:].any()
