"""Which steps are learned from, and that their features are those of the service."""

from dataclasses import replace

import numpy as np

from pdm import features
from pdm.learn.forest_fit import (
    Rows,
    fit_by_mode,
    fit_forests,
    fit_modes,
    fold_lives,
    fold_together,
    learning_steps,
)
from pdm.learn.lives import FEW
from pdm.learn.stack import Stack
from pdm.prognosis.forests import Target, estimate
from tests.small_lives import random_frame, steps_of

FRAME = random_frame(3)


def stack_of(lengths: list[int]) -> Stack:
    lives = [steps_of(FRAME, number, length, 1)[:, 0] for number, length in enumerate(lengths)]
    used = [np.arange(1.0, length + 1) for length in lengths]
    left = [length - one for length, one in zip(lengths, used, strict=True)]
    return Stack(np.concatenate(lives), np.array(lengths), np.concatenate(used), np.concatenate(left))


def test_training_sees_the_bits_that_the_service_sees() -> None:
    stack = stack_of([17, 40, 9])
    rows = fold_lives(FRAME, stack, np.ones(40, dtype=bool))
    assert len(rows.step) == 66
    for life, part in enumerate(stack.parts):
        state = features.start(FRAME, 1)
        for step in range(part.start, part.stop):
            features.fold(FRAME, state, features.ALL, stack.columns[step][None], np.ones(1, dtype=bool))
            emitted = features.emit(FRAME, state)[0].astype(np.float32)
            at = np.flatnonzero(rows.step == step)
            assert rows.life[at] == [life]
            assert rows.features[at[0]].tobytes() == emitted.tobytes()


def test_stacks_that_are_folded_together_show_what_each_shows_alone() -> None:
    stacks = [stack_of([17, 40, 9]), replace(stack_of([60]), follows=np.arange(60) % 7 > 0), stack_of([3, 8])]
    wanted = [np.arange(int(stack.lengths.max())) % every == 0 for stack, every in zip(stacks, (1, 4, 3), strict=True)]
    for stack, some, rows in zip(stacks, wanted, fold_together(FRAME, stacks, wanted), strict=True):
        alone = fold_lives(FRAME, stack, some)
        for name in ("features", "step", "life"):
            assert getattr(rows, name).tobytes() == getattr(alone, name).tobytes()


def test_only_the_wanted_distances_to_the_end_are_taken() -> None:
    wanted = np.zeros(40, dtype=bool)
    wanted[[0, 10]] = True
    rows = fold_lives(FRAME, stack_of([17, 40, 9]), wanted)
    # the last step of each life, and the one ten steps before where there is one
    assert sorted(rows.step.tolist()) == [6, 16, 46, 56, 65]


def test_steps_are_taken_more_densely_towards_the_failure() -> None:
    stack = stack_of([64_000])
    taken = np.flatnonzero(learning_steps(stack, horizon=125))
    gaps = np.diff(taken)
    assert taken[0] == 0
    assert gaps[-1] == 4  # 64,000 steps by 16,000
    assert set(gaps[taken[:-1] < 15].tolist()) == {1}
    assert set(gaps[(taken[:-1] >= 32) & (taken[:-1] < 60)].tolist()) == {2}


def test_lives_that_name_one_mode_have_nothing_to_tell_apart() -> None:
    rows = fold_lives(FRAME, stack_of([17, 40, 9]), np.ones(40, dtype=bool))
    assert fit_modes(rows.features, rows.life, ["belt", None, "belt"], ["belt", "bearing"], 0) is None
    assert fit_modes(rows.features, rows.life, ["belt", "unheard of", "belt"], ["belt", "bearing"], 0) is None


def test_a_mode_head_knows_how_often_each_mode_occurs() -> None:
    rows = fold_lives(FRAME, stack_of([60, 60, 60, 60]), np.ones(60, dtype=bool))
    modes = fit_modes(rows.features, rows.life, ["belt", "bearing", "belt", "belt"], ["bearing", "belt"], 0)
    assert modes is not None
    assert dict(zip(modes.names, modes.shares.tolist(), strict=True)) == {"belt": 0.75, "bearing": 0.25}


def test_trees_of_few_machines_look_at_few_features() -> None:
    # one feature of forty tells these two machines apart by chance, the others all tell a little of what is left
    random = np.random.default_rng(1)
    left = np.tile(np.arange(100.0), 2)
    life = np.repeat([0, 1], 100)
    x = left[:, None] + random.normal(0, 40, (200, 40))
    x[:, 0] = left
    rows, unseen = Rows(x.astype(np.float32), np.arange(200), life), left[:100, None] + random.normal(0, 40, (100, 40))
    unseen[:, 0] = random.permutation(left[:100])
    errors = [
        np.abs(estimate(fit_forests(rows, left, np.ones(200), Target(), 1, lives=lives), unseen) - left[:100]).mean()
        for lives in (2, FEW)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_forests_are_the_same_whatever_was_grown_before_on_the_same_rows() -> None:
    rows, left, _, _ = two_clocks(20)
    log, weight, every = Target(log=True), np.linspace(1, 2, len(left)), np.arange(len(left))
    fresh = estimate(fit_forests(rows.take(every), left, weight, log, 1), rows.features)
    fit_forests(rows, left, np.ones(len(left)), Target(), 2)
    assert np.array_equal(estimate(fit_forests(rows, left, weight, log, 1), rows.features), fresh)


def two_clocks(lives: int) -> tuple[Rows, np.ndarray, np.ndarray, np.ndarray]:
    """Two modes that have nothing to do with each other, each with a sensor that says how long it would still take.

    Returns:
        The rows, what was left until the first, which that was, and both clocks.
    """
    ends = np.random.default_rng(3).uniform(60, 140, (lives, 2))
    length = ends.min(axis=1).astype(int)
    life = np.repeat(np.arange(lives), length)
    age = np.concatenate([np.arange(n) for n in length])
    clocks = ends[life] - age[:, None]
    rows = Rows(clocks.astype(np.float32), np.arange(len(age)), life)
    return rows, clocks.min(axis=1), ends.argmin(axis=1)[life], clocks


def test_a_mode_that_another_one_forestalled_is_expected_when_it_would_have_come() -> None:
    rows, left, mode, clocks = two_clocks(40)
    forests = fit_by_mode(rows, left, np.ones(len(left)), mode, Target(cap=100.0), seed=1)
    assert sorted(forests) == [0, 1]
    for number, pair in forests.items():
        other, truth = mode != number, np.minimum(clocks[:, number], 100)
        expected = estimate(pair, rows.features)
        # as if those lives had come to this mode when the other one ended them
        pretended = np.abs(left[other] - truth[other]).mean()
        assert np.abs(expected - truth)[other].mean() < 0.65 * pretended


def test_lives_that_name_no_mode_teach_no_mode_when_it_comes() -> None:
    rows, left, mode, _ = two_clocks(12)
    forests = fit_by_mode(rows, left, np.ones(len(left)), np.where(mode == 1, -1, mode), Target(cap=100.0), seed=1)
    assert list(forests) == [0]
