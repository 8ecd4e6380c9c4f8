"""The twin as a fold: what one step does to it, and that only the steps matter."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import twin
from pdm.features import start
from pdm.features.frame import Frame
from pdm.plant import AssetClass, GapRule, LifeStep, Sensor
from pdm.steps import Steps
from pdm.twin import DUTY_MEMORY_HOURS, Twin
from tests.small_lives import bits, random_frame

HOUR = 3_600_000
START = 1_767_571_200_000
GAP = float("nan")

SENSORS = tuple(Sensor(f"c{number}", "1", f"c{number}") for number in range(5))
HOURLY = AssetClass("fan", "Fan", SENSORS, (), LifeStep("hour", HOUR), 1000, 0, (), gap=GapRule.ASSUME_PROFILE)
EACH = replace(HOURLY, life_step=LifeStep("stroke"))
"""The same machine; each reading is a step."""

FRAME = random_frame(4)
"""Of five columns: two conditions, three sensors."""


def steps(*made: tuple[int, int, float], length_ms: int = HOUR) -> Steps:
    """Steps of row, hour and share, in this order; a gap holds no reading."""
    table = np.array(made, dtype=np.float64).reshape(-1, 3)
    start = START + (table[:, 1] * HOUR).astype(np.int64)
    measured = ~np.isnan(table[:, 2])
    values = np.where(measured[:, None], _values(table[:, 0], table[:, 1]), np.nan)
    row, count = table[:, 0].astype(np.int64), measured.astype(np.int32)
    return Steps(row, start, start + length_ms, table[:, 2], count, values)


def _values(row: Any, hour: Any) -> Any:
    """Five columns that tell machines and hours apart."""
    return np.sin(1.0 + row[:, None] + hour[:, None] * np.arange(1, 6))


def folded(made: Steps, machines: int = 1, frame: Frame | None = None, asset_class: AssetClass = HOURLY) -> Twin:
    state = twin.start(asset_class, frame, machines)
    twin.fold(asset_class, frame, state, made)
    return state


def columns(state: Twin) -> dict[str, Any]:
    return twin.to_columns(state, np.arange(len(state)))


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# One step


def test_an_hour_uses_the_share_of_it_that_the_machine_ran() -> None:
    state = folded(steps((0, 0, 1.0), (0, 1, 0.25), (0, 2, 0.0)))
    assert state.exposure.tolist() == [1.25]
    assert state.steps.tolist() == [2]  # stopped time is no step of wear
    assert state.share.tolist() == [0.0]
    assert (state.first_start_ms.tolist(), state.last_end_ms.tolist()) == ([START], [START + 3 * HOUR])


def test_the_usual_duty_fades_over_four_weeks() -> None:
    state = folded(steps((0, 0, 1.0), (0, 1, 0.0)))
    # S' = S / (1 + 1/672) + x over the hours that fade alike
    fade = 1 / (1 + 1 / DUTY_MEMORY_HOURS)
    assert DUTY_MEMORY_HOURS == 672
    assert state.duty_rate[0] == pytest.approx((1.0 * fade + 0.0) / (1.0 * fade + 1.0), rel=1e-12)


def test_a_gap_uses_what_the_machine_usually_uses_and_says_that_nobody_saw_it() -> None:
    state = folded(steps((0, 0, 0.5), (0, 1, 0.5), (0, 2, GAP), (0, 3, GAP)))
    assert state.exposure.tolist() == [pytest.approx(2.0)]
    assert state.unseen.tolist() == [pytest.approx(1.0)]
    assert np.isnan(state.share).all()
    assert state.duty_rate.tolist() == [pytest.approx(0.5)]
    assert state.last_row_ms.tolist() == [START + HOUR]


def test_what_is_measured_again_ends_what_nobody_saw() -> None:
    state = folded(steps((0, 0, 1.0), (0, 1, GAP), (0, 2, 1.0)))
    assert (state.exposure.tolist(), state.unseen.tolist()) == ([3.0], [0.0])


def test_a_gap_before_any_reading_uses_nothing() -> None:
    state = folded(steps((0, 0, GAP)))
    assert (state.exposure.tolist(), state.unseen.tolist()) == ([0.0], [0.0])
    assert state.last_row_ms.tolist() == [-1]


def test_the_latest_columns_outlast_gaps_and_rest() -> None:
    state = folded(steps((0, 0, 1.0), (0, 1, 0.0), (0, 2, GAP)))
    assert state.latest.tolist() == _values(np.array([0.0]), np.array([1.0])).tolist()


def test_a_step_that_is_a_reading_stands_for_the_time_since_the_one_before() -> None:
    state = folded(steps((0, 0, 1.0), (0, 2, 1.0), (0, 3, 1.0), length_ms=0), asset_class=EACH)
    assert state.exposure.tolist() == [3.0]
    # the first stands for no time; two more in three hours
    fade = 1 / (1 + 1 / DUTY_MEMORY_HOURS)
    assert state.duty_rate[0] == pytest.approx((1.0 * fade + 1.0) / (2.0 * fade + 1.0), rel=1e-12)


def test_the_usual_duty_is_unknown_before_it_was_seen() -> None:
    assert np.isnan(twin.start(HOURLY, None, 2).duty_rate).all()
    assert np.isnan(folded(steps((0, 0, 1.0), length_ms=0), asset_class=EACH).duty_rate).all()


def test_features_take_in_running_steps_only() -> None:
    some = folded(steps((0, 0, 1.0), (0, 3, 0.5)), frame=FRAME)
    more = folded(steps((0, 0, 1.0), (0, 1, 0.0), (0, 2, GAP), (0, 3, 0.5)), frame=FRAME)
    assert some.features is not None
    assert more.features is not None
    assert bits(some.features) == bits(more.features)


# Histories


@pytest.mark.parametrize(
    ("late_hours", "known", "complete"), [(0, True, True), (48, True, True), (49, True, False), (0, False, False)]
)
def test_a_history_is_complete_if_it_begins_with_a_known_life(late_hours: int, known: bool, complete: bool) -> None:
    of_two_days = replace(HOURLY, stale_after_ms=48 * HOUR)
    state = folded(steps((0, late_hours, 1.0)))
    found = twin.history_complete(of_two_days, state, np.array([START]), np.array([known]))
    assert found.tolist() == [complete]


def test_a_machine_that_was_never_heard_of_has_no_complete_history() -> None:
    state = twin.start(HOURLY, None, 1)
    assert twin.history_complete(HOURLY, state, np.array([START]), np.array([True])).tolist() == [False]


def test_a_reset_machine_is_new_under_its_next_revision_and_the_others_stay() -> None:
    history = steps((0, 0, 1.0), (1, 0, 1.0), (0, 1, 0.5), (1, 1, 0.5))
    state = folded(history.take(np.lexsort((history.start_ms, history.row))), machines=2, frame=FRAME)
    before = columns(state)
    twin.reset(HOURLY, FRAME, state, np.array([1]))
    after, fresh = columns(state), columns(twin.start(HOURLY, FRAME, 1))
    for name in after:
        np.testing.assert_array_equal(after[name][0], before[name][0], err_msg=name)
    assert after["revision"].tolist() == [0, 1]
    assert all(
        np.array_equal(after[n][1], fresh[n][0], equal_nan=True) for n in after if n not in ("revision", "serial")
    )


def test_a_twin_keeps_its_machine_in_another_order_and_newcomers_start_new() -> None:
    state = folded(steps((0, 0, 1.0), (1, 0, 0.5), (2, 0, 0.25)), machines=3, frame=FRAME)
    moved = twin.rearranged(HOURLY, FRAME, state, ["a", "b", "c"], ["c", "new", "a"])
    assert moved.exposure.tolist() == [0.25, 0.0, 1.0]
    assert moved.features is not None
    assert state.features is not None
    assert bits(moved.features, 0, 2) == bits(state.features, 2, 0)
    assert bits(moved.features, 1) == bits(start(FRAME, 1))


def test_what_a_checkpoint_keeps_comes_back_and_can_be_folded_on() -> None:
    history = [(0, hour, share) for hour, share in enumerate([1.0, 0.5, GAP, 0.0, 1.0, 0.75])]
    kept = folded(steps(*history[:3]), frame=FRAME)
    again = twin.from_columns(FRAME, {name: np.array(values) for name, values in columns(kept).items()})
    for state in (kept, again):
        twin.fold(HOURLY, FRAME, state, steps(*history[3:]))
    assert_same_bits(columns(kept), columns(again))


# However the steps come


def test_steps_come_in_turns_with_one_a_machine() -> None:
    made = steps((0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0), (2, 1, 1.0), (3, 0, 1.0), (3, 2, 1.0))
    turns = [turn.tolist() for turn in twin.in_turns(made) if turn is not None]
    assert turns == [[0, 3, 4], [1, 5], [2]]
    assert twin.in_turns(made.take(np.array([0, 3]))) == [None]
    assert twin.in_turns(made.take(np.array([], dtype=np.int64))) == []


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, float]]:
    """Hours of up to three machines, sorted by machine and hour."""
    shares = st.one_of(st.sampled_from([0.0, 1.0, GAP]), st.floats(0, 1))
    hours = draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=40))
    return [(row, hour, draw(shares)) for row, hour in sorted(hours)]


@pytest.mark.parametrize("asset_class", [HOURLY, EACH], ids=["an hour", "each reading"])
@given(history=histories(), cut=st.integers(0, 31))
def test_all_at_once_and_in_two_parts_give_the_same_bits(
    asset_class: AssetClass, history: list[tuple[int, int, float]], cut: int
) -> None:
    parts = [[step for step in history if step[1] < cut], [step for step in history if step[1] >= cut]]
    state = twin.start(asset_class, FRAME, 3)
    for part in parts:
        twin.fold(asset_class, FRAME, state, steps(*part))
    assert_same_bits(columns(state), columns(folded(steps(*history), 3, FRAME, asset_class)))


@given(histories(), st.integers(0, 2))
def test_a_machine_alone_gives_the_bits_that_it_gives_among_others(
    history: list[tuple[int, int, float]], which: int
) -> None:
    made = steps(*history)
    mine = made.take(made.row == which)
    alone = folded(replace(mine, row=np.zeros_like(mine.row)), 1, FRAME)
    among = folded(made, 3, FRAME)
    here = {name: values[which : which + 1] for name, values in columns(among).items() if name != "serial"}
    assert_same_bits({name: values for name, values in columns(alone).items() if name != "serial"}, here)


@given(histories())
def test_life_used_never_falls_and_is_at_most_the_time_that_passed(history: list[tuple[int, int, float]]) -> None:
    made = steps(*history)
    state, before = twin.start(HOURLY, None, 3), np.zeros(3)
    for step in range(len(made)):
        twin.fold(HOURLY, None, state, made.take(np.array([step])))
        assert (state.exposure >= before).all()
        before = state.exposure.copy()
    assert (state.exposure <= np.bincount(made.row, minlength=3) * (1 + 1e-12)).all()
    assert (state.unseen <= state.exposure).all()
