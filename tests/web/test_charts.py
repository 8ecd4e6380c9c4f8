"""Charts: well-formed, to scale, safe to put into a page."""

import xml.etree.ElementTree as ET
from math import nan

import numpy as np
import pytest
from markupsafe import Markup

from pdm.web import charts
from pdm.web.charts import Fan, Mark


def parsed(chart: Markup) -> ET.Element:
    return ET.fromstring(str(chart))  # noqa: S314


def of_class(chart: Markup, name: str) -> list[ET.Element]:
    return [shape for shape in parsed(chart).iter() if name in shape.get("class", "").split()]


def corners(path: ET.Element) -> list[tuple[float, float]]:
    pairs = path.attrib["d"].strip("MZ").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in pairs)]


def fan(**changed: object) -> Fan:
    """A machine 500 hours old whose forecasts kept their word: each named the end at 900 hours."""
    told = {
        "ages": [100.0, 300.0, 500.0],
        "low": [600.0, 450.0, 300.0],
        "median": [800.0, 600.0, 400.0],
        "high": [950.0, 800.0, 500.0],
        "horizon": 1000.0,
        "age": 500.0,
        "now": (300.0, 400.0, 500.0),
        "unit": "h",
    }
    return Fan(**{**told, **changed})  # type: ignore[arg-type]


def test_forecasts_that_kept_their_word_meet_in_one_point_of_the_axis() -> None:
    ends = {corners(line)[-1] for line in of_class(charts.fan(fan(), "t"), "past")}
    assert len(ends) == 1


def test_the_line_of_what_came_ends_where_the_life_ended() -> None:
    failed = fan(ended=900.0, age=900.0, now=None)
    drawn = charts.fan(failed, "t")
    (truth,), lines = of_class(drawn, "truth"), of_class(drawn, "past")
    assert corners(truth)[-1] == corners(lines[0])[-1]
    assert not of_class(drawn, "today")


def test_a_forecast_beyond_the_horizon_names_no_end() -> None:
    vague = fan(median=[1400.0, nan, 400.0])
    assert vague.kept().tolist() == [2]


def test_at_most_so_many_past_forecasts_are_drawn() -> None:
    ages = np.arange(0.0, 900.0)
    many = fan(ages=ages, low=900 - ages, median=900 - ages, high=900 - ages)
    assert len(many.kept()) == charts.PAST_SHOWN
    assert {0, 899} <= set(many.kept().tolist())


def test_a_refused_forecast_leaves_a_gap_in_the_band() -> None:
    gap = charts.fan(fan(low=[600.0, nan, 300.0], median=[800.0, nan, 400.0], high=[950.0, nan, 500.0]), "t")
    assert len(of_class(gap, "band")) == 2
    assert fan(median=[800.0, nan, 400.0]).data()["median"] == [800.0, None, 400.0]


def test_words_in_a_chart_cannot_become_markup() -> None:
    nasty = '<script>alert("x")</script>'
    drawn = charts.fan(fan(marks=[Mark(200.0, "repaired", nasty)]), nasty)
    assert "<script" not in str(drawn)
    assert parsed(drawn).attrib["aria-label"] == nasty


def test_spark_lines_share_the_scale_from_new_to_failed() -> None:
    (low,) = of_class(charts.spark([0.0], "t", height=24.0), "dot")
    (high,) = of_class(charts.spark([1.0], "t", height=24.0), "dot")
    assert (float(low.attrib["cy"]), float(high.attrib["cy"])) == (22.0, 2.0)


def test_a_spark_line_of_nothing_is_empty_but_named() -> None:
    assert parsed(charts.spark([nan], "wear not known")).attrib["aria-label"] == "wear not known"


def test_stretches_without_usable_values_are_hatched() -> None:
    drawn = charts.multiple([0, 1, 2, 3, 4], [1.0, 2.0, nan, nan, 2.0], (1.0, 2.0), "t")
    assert len(of_class(drawn, "hatched")) == 1
    assert len(of_class(drawn, "line")) == 2
    assert len(of_class(charts.multiple([0, 1], [nan, nan], None, "t"), "hatched")) == 1


def test_the_healthy_band_lies_where_its_values_are() -> None:
    (band,) = of_class(charts.multiple([0, 1], [0.0, 10.0], (0.0, 5.0), "t"), "healthy")
    middle = 64.0 / 2
    assert float(band.attrib["y"]) == pytest.approx(middle, abs=0.1)
    assert float(band.attrib["y"]) + float(band.attrib["height"]) < 64.0


@pytest.mark.parametrize("value", [58.2, 0.0, -3.0e6])
def test_a_constant_signal_is_a_flat_line_in_the_middle(value: float) -> None:
    noise = 1e-12 * abs(value)
    (line,) = of_class(charts.multiple([0, 1, 2], [value, value + noise, value], None, "t"), "line")
    assert [y for _, y in corners(line)] == pytest.approx([32.0] * 3, abs=0.1)


def test_a_small_trend_of_a_large_value_is_drawn_at_full_height() -> None:
    (line,) = of_class(charts.multiple([0, 1], [642.0, 644.0], None, "t"), "line")
    assert corners(line)[0][1] - corners(line)[1][1] > 50.0


def test_a_bar_never_leaves_its_space() -> None:
    widths = [float(of_class(charts.bar(share), "filled")[0].attrib["width"]) for share in (-1.0, 0.25, 7.0)]
    assert widths == [0.0, 25.0, 100.0]


def test_the_window_and_the_failure_share_one_line_of_time() -> None:
    drawn = charts.timeline(100.0, (10.0, 20.0, 30.0), (20.0, 50.0, 90.0), "t")
    (preferred,), (failure,) = of_class(drawn, "preferred"), of_class(drawn, "failure")
    assert preferred.attrib["x"] == failure.attrib["x"] == "48"


@pytest.mark.parametrize(("high", "most", "steps"), [(1000, 5, 200), (1040, 5, 500), (0.9, 5, 0.2), (7, 6, 2)])
def test_ticks_are_round(high: float, most: int, steps: float) -> None:
    found = charts.ticks(high, most)
    assert found[1] == pytest.approx(steps)
    assert len(found) <= most + 1
