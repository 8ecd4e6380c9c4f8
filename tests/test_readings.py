import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pdm.plant import AssetClass, LifeStep, Sensor
from pdm.readings import (
    ArrivalFlag,
    CleaningFlag,
    Readings,
    clean,
    columns_of,
    concatenate,
    downsample,
    joined,
    merge,
)

NAN = math.nan
Row = tuple[str, int, tuple[float, ...]]


def readings(*rows: Row, sensors: tuple[str, ...] = ("temp", "vib"), flags: list[int] | None = None) -> Readings:
    source = np.empty(len(rows), dtype=object)
    source[:] = [row[0] for row in rows]
    return Readings(
        sensors,
        source,
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), len(sensors)),
        np.array(flags or [0] * len(rows), dtype=np.uint8),
    )


def assert_equal(a: Readings, b: Readings) -> None:
    assert a.sensors == b.sensors
    assert a.source.tolist() == b.source.tolist()
    assert_array_equal(a.time_ms, b.time_ms)
    assert_array_equal(a.values, b.values)
    assert_array_equal(a.flags, b.flags)


PUMP = AssetClass(
    name="pump",
    title="Pump",
    sensors=(Sensor("temp", "degC", "Temperature", low=-40, high=150), Sensor("vib", "mm/s", "Vibration", low=0)),
    conditions=(),
    life_step=LifeStep("h", 3_600_000),
    horizon=1000,
    notice_ms=0,
    failure_modes=(),
)


def test_a_value_outside_the_range_of_its_sensor_is_flagged_and_not_used() -> None:
    values, flags = clean(readings(("p", 1, (150.1, 2.0)), ("p", 2, (150.0, -0.1))), PUMP)
    assert_array_equal(values, [[NAN, 2.0], [150.0, NAN]])
    assert_array_equal(flags, [[CleaningFlag.OUT_OF_RANGE, 0], [0, CleaningFlag.OUT_OF_RANGE]])


def test_a_sensor_without_an_upper_bound_still_refuses_infinity() -> None:
    values, flags = clean(readings(("p", 1, (20.0, math.inf))), PUMP)
    assert_array_equal(values, [[20.0, NAN]])
    assert_array_equal(flags, [[0, CleaningFlag.OUT_OF_RANGE]])


def test_a_sensor_that_was_not_in_the_message_is_missing_and_not_out_of_range() -> None:
    _, flags = clean(readings(("p", 1, (NAN, 2.0))), PUMP)
    assert_array_equal(flags, [[CleaningFlag.MISSING, 0]])


def test_cleaning_gives_the_columns_of_the_class_whatever_the_store_has_seen() -> None:
    stored = readings(("p", 1, (3.0, 9.0)), sensors=("vib", "an_old_sensor"))
    values, flags = clean(stored, PUMP)
    assert_array_equal(values, [[NAN, 3.0]])
    assert_array_equal(flags, [[CleaningFlag.MISSING, 0]])


def test_cleaning_changes_nothing_in_what_it_was_given() -> None:
    stored = readings(("p", 1, (500.0, 2.0)))
    clean(stored, PUMP)
    assert stored.values[0, 0] == 500.0


def test_a_reading_sent_twice_counts_once() -> None:
    once = readings(("p", 1, (20.0, 2.0)))
    assert_equal(merge(concatenate([once, once])), once)


def test_later_values_of_one_key_win_sensor_by_sensor() -> None:
    merged = merge(readings(("p", 1, (20.0, 2.0)), ("p", 1, (21.0, NAN)), ("p", 1, (NAN, NAN))))
    assert_equal(merged, readings(("p", 1, (21.0, 2.0))))


def test_parts_of_one_reading_in_two_messages_become_one_row() -> None:
    merged = merge(readings(("p", 1, (20.0, NAN)), ("q", 1, (30.0, NAN)), ("p", 1, (NAN, 2.0))))
    assert_equal(merged, readings(("p", 1, (20.0, 2.0)), ("q", 1, (30.0, NAN))))


def test_merged_readings_are_sorted_by_source_and_time() -> None:
    merged = merge(readings(("q", 1, (1.0, 1.0)), ("p", 2, (2.0, 2.0)), ("p", 1, (3.0, 3.0))))
    assert list(zip(merged.source, merged.time_ms.tolist(), strict=True)) == [("p", 1), ("p", 2), ("q", 1)]


def test_flags_of_rows_that_merge_are_joined() -> None:
    rows = readings(("p", 1, (1.0, NAN)), ("p", 1, (NAN, 2.0)), flags=[ArrivalFlag.IMPORTED, ArrivalFlag.NO_TIMESTAMP])
    assert merge(rows).flags.tolist() == [ArrivalFlag.IMPORTED | ArrivalFlag.NO_TIMESTAMP]


def test_no_readings_merge_to_no_readings() -> None:
    assert len(merge(Readings.empty(("temp",)))) == 0
    assert len(concatenate([])) == 0


def test_parts_with_other_sensors_are_laid_side_by_side() -> None:
    both = concatenate([readings(("p", 1, (1.0, 2.0))), readings(("p", 2, (3.0,)), sensors=("flow",))])
    assert both.sensors == ("temp", "vib", "flow")
    assert_array_equal(both.values, [[1.0, 2.0, NAN], [NAN, NAN, 3.0]])
    assert_array_equal(columns_of(both, ("flow", "temp")), [[NAN, 1.0], [3.0, NAN]])


VALUE = st.one_of(st.just(NAN), st.floats(-1e3, 1e3))
KEY = st.tuples(st.sampled_from(["p", "q", "ü/#"]), st.integers(0, 3))
ROW = st.builds(lambda key, values: (*key, values), KEY, st.tuples(VALUE, VALUE))


@given(st.dictionaries(KEY, st.tuples(VALUE, VALUE), max_size=8), st.data())
def test_resends_in_any_order_merge_to_what_one_sending_gives(
    sent: dict[tuple[str, int], tuple[float, float]], data: st.DataObject
) -> None:
    once = [(*key, values) for key, values in sent.items()]
    resent = once + (data.draw(st.lists(st.sampled_from(once), max_size=20)) if once else [])
    assert_equal(merge(readings(*data.draw(st.permutations(resent)))), merge(readings(*once)))


@given(st.lists(ROW, max_size=20))
def test_merging_agrees_with_a_plain_dictionary(rows: list[Row]) -> None:
    latest: dict[tuple[str, int], list[float]] = {}
    for source, time, values in rows:
        kept = latest.setdefault((source, time), [NAN, NAN])
        kept[:] = [old if math.isnan(new) else new for old, new in zip(kept, values, strict=True)]
    expected = readings(*((*key, tuple(values)) for key, values in sorted(latest.items())))
    assert_equal(merge(readings(*rows)), expected)


@given(st.lists(ROW, max_size=12), st.integers(0, 12))
def test_merging_in_two_parts_gives_the_same_as_all_at_once(rows: list[Row], cut: int) -> None:
    parts = concatenate([merge(readings(*rows[:cut])), merge(readings(*rows[cut:]))])
    assert_equal(merge(parts), merge(readings(*rows)))


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(-50, 160), st.floats(-1, 9)), min_size=1), st.integers(0, 41))
def test_stretches_of_two_sources_join_to_those_of_one(rows: list[tuple[int, float, float]], swapped: int) -> None:
    by_time = [("p1", time, tuple(values)) for time, *values in sorted({row[0]: row for row in rows}.values())]
    whole, before, after = (
        downsample(readings(*(row for row in by_time if low <= row[1] < high)), PUMP.sensors, 7)
        for low, high in ((0, 99), (0, swapped), (swapped, 99))
    )
    found = joined([before, after])
    assert_array_equal(found.time_ms, whole.time_ms)
    assert_array_equal(found.counts, whole.counts)
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-9)
    assert_array_equal(found.low, whole.low)
    assert_array_equal(found.high, whole.high)
