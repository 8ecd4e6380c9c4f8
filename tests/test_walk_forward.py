"""Forecasts walked forward: nothing of the future is known, and the report says what came."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from pdm.backtest_command import Report, Wanted, report_of, write_page
from pdm.cli.backtest import sentences
from pdm.cli.options import json_of
from pdm.learn import Life
from pdm.learn.declared import say_declared
from pdm.learn.walk_forward import Walked, known_at, times_of, walk_forward
from pdm.prognosis.learned import Origin
from tests.small_lives import FAN, WORN, fan_lives, worn_lives
from tests.small_plant import HOUR, START

LIVES = [
    replace(
        life,
        end_ms=START + HOUR * (60 * (number // 3) + np.arange(1, len(life.columns) + 1)),
        group=f"hall-{number % 2}",
    )
    for number, life in enumerate(fan_lives(12))
]
CUTS = [START + 50 * HOUR, START + 150 * HOUR]
END = START + 220 * HOUR


@pytest.fixture(scope="module")
def walked() -> Walked:
    return walk_forward(FAN, LIVES, CUTS, END, seed=1, origin=Origin.SIMULATED)


def test_what_is_known_at_a_time_has_neither_later_steps_nor_later_failures() -> None:
    for life in known_at(LIVES, CUTS[1]):
        assert life.end_ms is not None
        assert life.end_ms[-1] <= CUTS[1]
        whole = next(one for one in LIVES if one.serial == life.serial)
        assert life.group == whole.group
        assert life.failed == (len(life.columns) == len(whole.columns))
    assert not list(known_at(LIVES, START))


def test_before_three_failures_nothing_is_said_and_the_report_says_why(walked: Walked) -> None:
    assert [cut for cut, _ in walked.refused] == CUTS[:1]
    assert "0 lives from start to failure" in walked.refused[0][1]
    assert walked.trained == 1
    assert (walked.at_ms > CUTS[1]).all()
    assert (walked.at_ms <= END).all()


def test_what_is_said_is_the_same_whatever_comes_later(walked: Walked) -> None:
    def changed(life: Life) -> Life:
        later = np.asarray(life.end_ms) > END
        return replace(life, columns=np.where(later[:, None], 99.0, life.columns))

    again = walk_forward(FAN, [changed(life) for life in LIVES], CUTS, END, seed=1, origin=Origin.SIMULATED)
    assert again.quantiles.tobytes() == walked.quantiles.tobytes()


def test_where_declared_wear_was_nearer_it_is_what_is_said() -> None:
    lives = [
        replace(life, end_ms=START + HOUR * (200 * (number == 3) + np.arange(1, len(life.columns) + 1)))
        for number, life in enumerate(worn_lives(4))
    ]
    cut, end = max(int(times_of(life)[-1]) for life in lives[:3]), int(times_of(lives[3])[-1])
    assert cut < end
    said = walk_forward(WORN, lives, [cut], end, seed=1, origin=Origin.SIMULATED)
    steps = (said.at_ms - START) // HOUR - 201
    assert len(steps) > 50
    assert said.quantiles == pytest.approx(say_declared(WORN, lives[3:], np.zeros(len(steps), dtype=int), steps))


def test_the_report_tells_each_failure_and_prints(walked: Walked, tmp_path: Path) -> None:
    report: Report = report_of(FAN, LIVES, walked, Wanted("fan", CUTS[0], END, HOUR))
    ends = {life.serial: int(np.asarray(life.end_ms)[-1]) for life in LIVES}
    assert {one.serial for one in report.failures} == {s for s, end in ends.items() if CUTS[0] < end <= END}
    told = [one for one in report.failures if one.came is not None]
    assert told
    for one in told:
        assert one.said_ms is not None
        assert one.said_ms <= one.failed_ms - FAN.notice_ms
        assert one.came == (one.failed_ms - one.said_ms) / HOUR
    assert not report.enough
    read = json.loads(json_of(asdict(report)))
    assert read["figures"]["coverage_80"][1:] == [None, None]
    write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Too few to tell" in page
    assert all(one.serial in page for one in report.failures)
    lines = list(sentences(report))
    assert sum("nothing said, " in line for line in lines) == len(report.failures) - len(told)
    assert sum(" hours, " in line for line in lines) == len(told)
