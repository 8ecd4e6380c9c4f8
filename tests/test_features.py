"""Features as a fold: the formulas by hand, missing values, and the same bits for one machine and for many."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pdm.features import ALL, FeatureState, emit, fold, outside, silent_steps, start
from pdm.features.frame import Frame, Watch
from tests.small_lives import bits, plain_frame, random_frame, steps_of


def seen(frame: Frame, values: NDArray[np.float64]) -> dict[str, float]:
    """The features of one machine after the steps `[steps, k]`, by name."""
    state = start(frame, 1)
    for step in values:
        fold(frame, state, ALL, step[None])
    return dict(zip(frame.feature_names, emit(frame, state)[0].tolist(), strict=True))


def forgotten_slope(x: NDArray[np.float64], span: float) -> float:
    """Least-squares slope under weights q^age, pulled to zero by 25 times the sum of weights, the long way round."""
    q = 1 - 2 / (span + 1)
    time = np.arange(len(x)) - (len(x) - 1.0)
    w = q**-time
    middle = (w * time).sum() / w.sum()
    return float((w * (time - middle) * x).sum() / ((w * (time - middle) ** 2).sum() + 25 * w.sum()))


def test_the_short_mean_forgets_with_its_span() -> None:
    # q = 1 - 2/16 = 7/8: weights 49/64, 7/8, 1 on 1, 2, 4
    features = seen(plain_frame(), np.array([[1.0], [2.0], [4.0]]))
    assert features["e15 c0"] == pytest.approx((49 / 64 + 2 * 7 / 8 + 4) / (49 / 64 + 7 / 8 + 1))
    assert features["de15 c0"] == pytest.approx(features["e15 c0"] - 7 / 3)
    assert features["age"] == 3


def test_slopes_are_the_damped_least_squares_of_the_whole_history() -> None:
    x = np.random.default_rng(1).normal(size=200).cumsum()
    features = seen(plain_frame(), x[:, None])
    assert features["sl60 c0"] == pytest.approx(forgotten_slope(x, 60), rel=1e-5)
    n, time = len(x), np.arange(len(x)) - (len(x) - 1) / 2
    assert features["wl c0"] == pytest.approx((time @ x) / (time @ time + 25 * n), rel=1e-6)


def test_the_slope_of_a_long_life_far_from_zero_loses_nothing_to_single_precision() -> None:
    n = 5000
    time = np.arange(n) - (n - 1) / 2
    x = 20 + 1e-4 * time + np.random.default_rng(2).normal(size=n)
    features = seen(plain_frame(), x[:, None])
    assert features["wl c0"] == pytest.approx((time @ x) / (time @ time + 25 * n), rel=1e-4)


def test_slow_slopes_of_the_health_channels_follow_their_formulas() -> None:
    frame = replace(plain_frame(), projection=np.ones((1, 5, 1)))
    x = np.linspace(0, 3, 90) ** 2
    features = seen(frame, x[:, None])
    fast, slow = forgotten_slope(x, 60), forgotten_slope(x, 120)
    assert features["sl120 h0"] == pytest.approx(slow, rel=1e-5)
    assert features["sl60-sl120 h0"] == pytest.approx(fast - slow, rel=1e-5)
    assert features["sl60-wl h0"] == pytest.approx(fast - features["wl h0"], rel=1e-5)


def test_memories_and_damping_grow_with_the_time_scale() -> None:
    # scale 2: span 30, q = 29/31; damping 100
    features = seen(plain_frame(scale=2.0), np.array([[1.0], [2.0]]))
    q = 1 - 2 / 31
    assert features["e15 c0"] == pytest.approx((q + 2) / (q + 1))
    assert features["wl c0"] == pytest.approx(0.5 / (2 * 3 / 12 + 100 * 2))


def test_the_own_start_freezes_after_its_steps() -> None:
    features = seen(plain_frame(), np.concatenate([np.zeros(15), np.full(200, 5.0)])[:, None])
    assert features["e15 c0"] - features["de15 c0"] == 0.0
    assert features["de15 c0"] == pytest.approx(5.0)


def test_health_against_the_own_start_is_the_fitted_combination() -> None:
    frame = replace(plain_frame(2), own_change=np.array([2.0, 0.0]), own_start=np.array([0.0, 3.0]), own_offset=1.0)
    # after one step change is 0 and the start is the step itself
    assert seen(frame, np.array([[4.0, 5.0]]))["e15 g"] == pytest.approx(1 + 3 * 5)


def test_a_missing_value_brings_no_news() -> None:
    frame, x = plain_frame(2), np.array([[1.0, 0.0], [3.0, 0.0], [np.nan, 0.0]])
    before, after = seen(frame, x[:2]), seen(frame, x)
    assert after["e15 c0"] == pytest.approx(before["e15 c0"])


def test_a_sensor_that_never_spoke_reads_like_the_average_machine() -> None:
    features = seen(plain_frame(2), np.array([[np.nan, 1.0], [np.nan, 2.0]]))
    assert features["e15 c0"] == 0.0
    assert features["wl c0"] == 0.0


def test_steps_without_a_value_are_counted_until_the_next_one() -> None:
    frame = plain_frame(2)
    state, counts = start(frame, 1), []
    for value in (np.nan, np.inf, 1.0, np.nan):
        fold(frame, state, ALL, np.array([[value, 0.0]]))
        counts.append(silent_steps(frame, state)[0].tolist())
    assert counts == [[1, 0], [2, 0], [0, 0], [1, 0]]


def test_without_its_conditions_a_step_brings_no_news() -> None:
    frame = random_frame(5)
    state = start(frame, 1)
    fold(frame, state, ALL, np.array([[0.1, 0.2, 1.0, 2.0, 3.0]]))
    fold(frame, state, ALL, np.array([[np.nan, 0.2, 50.0, 60.0, 70.0]]))
    assert silent_steps(frame, state).tolist() == [[1, 1, 1]]


def test_what_the_surface_expects_is_no_departure() -> None:
    frame = random_frame(6)
    conditions = frame.conditions
    u = np.array([0.4, -0.7])
    terms = np.array([u[0], u[1], u[0] ** 2, u[0] * u[1], u[1] ** 2])
    step = np.concatenate(
        [conditions.centre + u * conditions.spread, conditions.mean[:, 0] + terms @ conditions.surface]
    )
    features = seen(frame, step[None])
    np.testing.assert_allclose([features[f"e15 {name}"] for name in frame.channel_names[:3]], 0, atol=1e-12)


def test_each_regime_has_its_own_mean_and_spread() -> None:
    frame = random_frame(7, regimes=3)
    conditions = frame.conditions
    for regime in range(3):
        at = conditions.centre + conditions.regimes[:, regime] * conditions.spread
        x = conditions.mean[:, regime] + 2 / conditions.inverse_sd[:, regime]
        features = seen(frame, np.concatenate([at, x])[None])
        np.testing.assert_allclose([features[f"e15 {name}"] for name in frame.channel_names[:3]], 2.0)


def test_departures_are_clipped() -> None:
    assert seen(replace(plain_frame(), clip=8.0), np.array([[1e30]]))["e15 c0"] == 8.0


def test_a_machine_run_as_in_training_is_inside_and_one_run_far_beyond_is_not() -> None:
    frame = random_frame(8)
    centre, spread = frame.conditions.centre, frame.conditions.spread
    state = start(frame, 3)
    for _ in range(20):
        near, far, unknown = centre + 5 * spread, centre + 20 * spread, np.full(2, np.nan)
        fold(frame, state, ALL, np.column_stack([np.stack([near, far, unknown]), np.zeros((3, 3))]))
    assert outside(frame, state).tolist() == [False, True, False]


def test_one_strange_hour_is_no_strange_machine() -> None:
    frame = random_frame(8)
    state = start(frame, 1)
    for far in [0] * 10 + [20] + [0] * 2:
        step = np.concatenate([frame.conditions.centre + far * frame.conditions.spread, np.zeros(3)])
        fold(frame, state, ALL, step[None])
    assert not outside(frame, state).any()


def test_a_point_between_the_regimes_is_strange() -> None:
    frame = random_frame(9, conditions=1, regimes=2)
    conditions = replace(
        frame.conditions, regimes=np.array([[0.0, 4.0]]), reach=2.0, low=np.zeros(1), high=np.full(1, 4.0)
    )
    frame = replace(frame, conditions=conditions)
    at = conditions.centre + np.array([[0.5], [4.5], [-3.0]]) * conditions.spread
    state = start(frame, 3)
    fold(frame, state, ALL, np.column_stack([at, np.zeros((3, 3))]))
    assert outside(frame, state).tolist() == [False, False, True]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    regimes=st.sampled_from([1, 3]),
    assets=st.sampled_from([2, 5, 1030]),
    fortran=st.booleans(),
    watched=st.booleans(),
)
def test_one_machine_alone_gets_the_bits_that_it_gets_among_many(
    seed: int, regimes: int, assets: int, fortran: bool, watched: bool
) -> None:
    frame = random_frame(seed, regimes=regimes)
    if watched:
        frame = replace(frame, scale=0.3, watch=Watch(np.random.default_rng(seed).normal(size=(3, 3)), 4.0))
    steps = steps_of(frame, seed, 20, assets)
    many = start(frame, assets)
    for step in steps:
        fold(frame, many, ALL, np.asfortranarray(step) if fortran else step)
    number = seed % assets
    one = start(frame, 1)
    for step in steps[:, number]:
        fold(frame, one, ALL, step[None])
        one = FeatureState.from_columns(frame, one.to_columns())
    assert bits(one) == bits(many, number)
    assert emit(frame, one).tobytes() == emit(frame, many, np.array([number])).tobytes()
    assert emit(frame, many)[number].tobytes() == emit(frame, one).tobytes()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), data=st.data())
def test_machines_may_start_late_and_pause_without_touching_each_other(seed: int, data: Any) -> None:
    frame = random_frame(seed)
    steps = steps_of(frame, seed, 12, 4)
    present = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=12, max_size=12)))
    together = start(frame, 4)
    for step, here in zip(steps, present, strict=True):
        rows = np.flatnonzero(here)[::-1]
        fold(frame, together, rows, step[rows])
    for asset in range(4):
        alone = start(frame, 1)
        for step in steps[present[:, asset], asset]:
            fold(frame, alone, slice(0, 1), step[None])
        assert bits(alone) == bits(together, asset)


def test_a_state_grows_by_machines_that_are_new() -> None:
    frame = random_frame(1)
    state = start(frame, 2)
    fold(frame, state, ALL, steps_of(frame, 1, 1, 2)[0])
    grown = state.grow(3)
    assert len(grown) == 5
    assert bits(grown, 0, 1) == bits(state)
    assert bits(grown, 2, 3, 4) == bits(start(frame, 3))


def test_putting_back_some_machines_leaves_the_others() -> None:
    frame = random_frame(1)
    state = start(frame, 3)
    fold(frame, state, ALL, steps_of(frame, 1, 1, 3)[0])
    before = bits(state, 0, 2)
    state.put(np.array([1]), start(frame, 1))
    assert bits(state, 1) == bits(start(frame, 1))
    assert bits(state, 0, 2) == before


def test_a_state_of_another_frame_is_refused() -> None:
    stored = start(random_frame(1, sensors=2), 1).to_columns()
    with pytest.raises(ValueError, match="does not fit"):
        FeatureState.from_columns(random_frame(1, sensors=3), stored)


def test_a_cohort_of_none_has_no_features() -> None:
    frame = plain_frame()
    assert emit(frame, start(frame, 0)).shape == (0, len(frame.feature_names))


def test_names_and_features_are_equally_many() -> None:
    frame = random_frame(2)
    state = start(frame, 1)
    fold(frame, state, ALL, steps_of(frame, 2, 1, 1)[0])
    assert emit(frame, state).shape[1] == len(frame.feature_names) == 4 * 9 + 3 * 6 + 3 + 1


def warm_frame() -> Frame:
    """One sensor that should read 10 and 2 more per unit of the one condition, with a deviation of 4."""
    plain = plain_frame()
    conditions = replace(
        plain.conditions,
        columns=np.array([1]),
        centre=np.zeros(1),
        spread=np.ones(1),
        low=np.array([-3.0]),
        high=np.array([3.0]),
        regimes=np.zeros((1, 1)),
        mean=np.array([[10.0]]),
        inverse_sd=np.array([[0.25]]),
        surface=np.array([[2.0], [0.0]]),
    )
    return replace(plain, column_names=("c0", "condition"), conditions=conditions)


def test_where_conditions_are_taken_out_the_level_itself_is_remembered_too() -> None:
    # warm by its conditions alone: (16 - 10 - 2 x 3) / 4 = 0 against what it should read, (16 - 10) / 4 as such
    features = seen(warm_frame(), np.array([[16.0, 3.0]] * 4))
    assert (features["e15 c0"], features["level15 c0"]) == (0.0, 1.5)


def test_a_level_under_unknown_conditions_is_its_own_recent_one() -> None:
    known = seen(warm_frame(), np.array([[16.0, 3.0]] * 4))
    features = seen(warm_frame(), np.array([[16.0, 3.0]] * 4 + [[40.0, np.nan]]))
    assert features["level15 c0"] == pytest.approx(known["level15 c0"])


def test_without_a_surface_the_channel_is_the_level() -> None:
    assert not any(name.startswith("level15") for name in plain_frame().feature_names)
