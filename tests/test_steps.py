"""Steps: pure functions of stored readings, however these came."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pdm.plant import AssetClass, LifeStep, RunningWhen, Sensor, Summary
from pdm.readings import Readings
from pdm.steps import Steps, closed_until, make_steps, same_steps, step_start

HOUR, MINUTE = 3_600_000, 60_000
START = 1_767_571_200_000  # Monday 2026-01-05 00:00 UTC
NAN = float("nan")

ALL = (Summary.MEAN, Summary.MAX, Summary.MIN, Summary.SD, Summary.LAST)
FAN = AssetClass(
    "fan",
    "Fan",
    (Sensor("speed", "rpm", "Speed"), Sensor("vibration", "mm/s", "Vibration", low=0.0, high=50.0, summaries=ALL)),
    (),
    LifeStep("hour", HOUR, grace_ms=5 * MINUTE),
    1000,
    0,
    (),
    running_when=RunningWhen("speed", 100.0),
)
PRESS = replace(FAN, name="press", life_step=LifeStep("stroke"), running_when=None)
"""The same sensors; each reading is a step."""


def readings(*rows: tuple[float, float, float]) -> Readings:
    """Rows of minute, speed and vibration, of one source."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    count = len(table)
    times = START + (table[:, 0] * MINUTE).astype(np.int64)
    source = np.full(count, "fan1", dtype=object)
    return Readings(("speed", "vibration"), source, times, table[:, 1:], np.zeros(count, dtype=np.uint8))


def steps(found: Readings, hours: range = range(1), asset_class: AssetClass = FAN) -> Steps:
    """The steps of one machine."""
    row = np.zeros(len(found), dtype=np.int64)
    begin, end = (np.array([START + hour * HOUR]) for hour in (hours.start, hours.stop))
    return make_steps(asset_class, found, row, begin, end)


def column(made: Steps, summary: Summary) -> list[float]:
    of = [c.summary for c in FAN.columns if c.sensor == "vibration"].index(summary)
    return [float(value) for value in made.values[:, 1 + of]]


def assert_same_bits(a: Steps, b: Steps) -> None:
    for field in fields(Steps):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


# One step


def test_an_hour_is_summarised_over_the_readings_of_the_running_machine() -> None:
    made = steps(readings((5, 1500, 1.0), (15, 1500, 2.0), (25, 1500, 4.0), (35, 0, 30.0)))
    assert (made.start_ms.tolist(), made.end_ms.tolist()) == ([START], [START + HOUR])
    assert (made.share.tolist(), made.count.tolist()) == ([0.75], [4])
    assert column(made, Summary.MEAN) == [pytest.approx(7 / 3)]
    assert column(made, Summary.SD) == [pytest.approx((7 / 3) ** 0.5)]  # of 1, 2 and 4, with n - 1
    assert [column(made, summary) for summary in (Summary.MIN, Summary.MAX, Summary.LAST)] == [[1.0], [4.0], [4.0]]


def test_an_hour_at_rest_keeps_what_was_measured_at_rest() -> None:
    made = steps(readings((5, 0, 1.0), (15, 50, 3.0)))
    assert (made.share.tolist(), column(made, Summary.MEAN)) == ([0.0], [2.0])


def test_where_nobody_measured_whether_it_ran_the_share_is_unknown_and_the_values_count() -> None:
    made = steps(readings((5, NAN, 1.0), (15, NAN, 3.0)))
    assert np.isnan(made.share).all()
    assert column(made, Summary.MEAN) == [2.0]


def test_readings_without_the_running_sensor_count_neither_as_running_nor_as_rest() -> None:
    made = steps(readings((5, 1500, 1.0), (15, NAN, 9.0), (25, 0, 9.0)))
    assert (made.share.tolist(), column(made, Summary.MEAN)) == ([0.5], [1.0])


def test_values_out_of_range_and_values_that_are_missing_do_not_count() -> None:
    made = steps(readings((5, 1500, 60.0), (15, 1500, NAN), (25, 1500, 4.0), (35, 1500, -1.0)))
    assert [column(made, summary) for summary in ALL] == [[4.0], [4.0], [4.0], [0.0], [4.0]]
    assert made.count.tolist() == [4]


def test_a_sensor_that_said_nothing_has_no_summary() -> None:
    made = steps(readings((5, 1500, NAN)))
    assert all(np.isnan(column(made, summary)).all() for summary in ALL)
    assert made.values[0, 0] == 1500.0


def test_an_hour_without_readings_is_a_gap() -> None:
    made = steps(readings((5, 1500, 1.0), (125, 1500, 2.0)), range(4))
    assert made.start_ms.tolist() == [START + hour * HOUR for hour in range(4)]
    assert made.count.tolist() == [1, 0, 1, 0]
    assert np.isnan(made.share).tolist() == [False, True, False, True]
    assert np.isnan(made.values[[1, 3]]).all()


def test_a_reading_on_the_hour_begins_the_next_step() -> None:
    made = steps(readings((59.999, 1500, 1.0), (60, 1500, 2.0)), range(2))
    assert column(made, Summary.MEAN) == [1.0, 2.0]


def test_where_each_reading_is_a_step_it_lasts_no_time() -> None:
    made = steps(readings((5, 1, 1.0), (6, 2, 2.0)), asset_class=PRESS)
    assert made.start_ms.tolist() == made.end_ms.tolist() == [START + 5 * MINUTE, START + 6 * MINUTE]
    assert (made.share.tolist(), made.count.tolist()) == ([1.0, 1.0], [1, 1])


def test_readings_of_other_machines_and_outside_of_the_stretch_are_left_out() -> None:
    found = readings((5, 1500, 1.0), (65, 1500, 2.0), (125, 1500, 3.0))
    made = make_steps(FAN, found, np.array([0, 0, -1]), np.array([START + HOUR]), np.array([START + 3 * HOUR]))
    assert (made.count.tolist(), column(made, Summary.MEAN)[0]) == ([1, 0], 2.0)


def test_nothing_to_make_gives_no_steps() -> None:
    assert len(steps(readings((5, 1500, 1.0)), range(3, 3))) == 0
    assert len(steps(readings(), asset_class=PRESS)) == 0


# When


def test_a_step_closes_when_its_grace_time_is_over() -> None:
    end = START + HOUR
    assert closed_until(FAN, end + 5 * MINUTE - 1) == START
    assert closed_until(FAN, end + 5 * MINUTE) == end


def test_a_reading_that_is_a_step_closes_at_its_own_time() -> None:
    assert closed_until(PRESS, START) == START + 1


def test_the_start_of_a_step_is_a_multiple_of_its_length() -> None:
    times = np.array([START - 1, START, START + HOUR - 1])
    assert step_start(FAN, times).tolist() == [START - HOUR, START, START]
    assert step_start(PRESS, times).tolist() == times.tolist()


# Equal


def test_steps_are_equal_where_both_know_nothing() -> None:
    gap = steps(readings((65, 1500, 1.0)), range(2))
    assert same_steps(gap, gap).tolist() == [True, True]


@pytest.mark.parametrize("change", [{"share": 0.5}, {"count": 7}, {"values": NAN}])
def test_a_step_with_another_share_count_or_value_is_another(change: dict[str, float]) -> None:
    one = steps(readings((5, 1500, 1.0)))
    ((name, value),) = change.items()
    other = replace(one, **{name: np.full_like(getattr(one, name), value)})
    assert same_steps(one, other).tolist() == [False]


# Whatever the order, the company, or the way it was cut


Table = NDArray[np.float64]
numbers = st.one_of(st.sampled_from([0.0, 99.0, 101.0, NAN, 51.0]), st.floats(0, 50))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Up to twenty rows of minute (each once, within six hours), speed, vibration."""
    minutes = draw(st.lists(st.integers(0, 359), unique=True, max_size=20))
    values = draw(arrays(np.float64, (len(minutes), 2), elements=numbers))
    return np.column_stack([np.array(minutes, dtype=np.float64), values])


def of_table(table: Table) -> Readings:
    return readings(*map(tuple, table.tolist()))


@pytest.mark.parametrize("asset_class", [FAN, PRESS], ids=["an hour", "each reading"])
@given(table=tables(), order=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(asset_class: AssetClass, table: Table, order: object) -> None:
    shuffled = table.tolist()
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = steps(of_table(table), range(6), asset_class)
    assert_same_bits(steps(readings(*map(tuple, shuffled)), range(6), asset_class), expected)


@given(tables(), st.integers(0, 6))
def test_two_stretches_one_after_the_other_are_one(table: Table, cut: int) -> None:
    parts = [steps(of_table(table), hours) for hours in (range(cut), range(cut, 6))]
    whole = steps(of_table(table), range(6))
    for field in fields(Steps):
        joined = np.concatenate([getattr(part, field.name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field.name), err_msg=field.name)


@given(st.lists(tables(), min_size=2, max_size=4), st.integers(0, 3))
def test_a_machine_alone_gives_the_bits_that_it_gives_among_others(many: Sequence[Table], which: int) -> None:
    which %= len(many)
    found = of_table(np.concatenate(many))
    row = np.repeat(np.arange(len(many)), [len(table) for table in many])
    begin, end = (np.full(len(many), START + hour * HOUR) for hour in (0, 6))
    together = make_steps(FAN, found, row, begin, end)
    mine = together.take(together.row == which)
    assert_same_bits(replace(mine, row=np.zeros_like(mine.row)), steps(of_table(many[which]), range(6)))


@given(tables())
def test_every_reading_is_counted_once_and_every_hour_is_there(table: Table) -> None:
    made = steps(of_table(table), range(6))
    assert made.start_ms.tolist() == [START + hour * HOUR for hour in range(6)]
    assert int(made.count.sum()) == len(table)
    known = made.share[~np.isnan(made.share)]
    assert ((known >= 0) & (known <= 1)).all()
