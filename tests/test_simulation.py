"""The pace of a simulated plant, on a clock of the test's own."""

import threading
import time
from collections.abc import Callable

import pytest

from pdm.clocks import ReplayClock
from pdm.demo.simulation import FASTEST, SimulationControl
from tests.small_plant import HOUR, START

RATE = 20 * 3600.0  # an hour of the plant in 50 ms


class Hours:
    """A station that does a little work and then waits for its next hour."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.waits = 100.0, 0
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(threading.Condition, "wait", lambda _, timeout: self._wait(timeout))

    def _wait(self, timeout: float) -> bool:
        self.now_s += timeout + 1e-6
        self.waits += 1
        self.meanwhile()
        return True

    def run(self, control: SimulationControl, clock: ReplayClock, hours: int, work_s: float) -> float:
        """How long these hours took [s]."""
        began_s = self.now_s
        for hour in range(1, hours + 1):
            self.now_s += work_s
            control.wait_for(START + hour * HOUR, threading.Event())
            clock.advance(START + hour * HOUR)
        return self.now_s - began_s


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


@pytest.mark.parametrize("work_s", [0.0, 0.03])
def test_the_plant_keeps_its_pace_whatever_part_of_it_is_spent_on_work(hours: Hours, work_s: float) -> None:
    clock = ReplayClock(START)
    assert hours.run(SimulationControl(clock, RATE), clock, 40, work_s) == pytest.approx(40 * 0.05, rel=1e-3)


def test_a_plant_that_cannot_keep_up_does_not_wait(hours: Hours) -> None:
    clock = ReplayClock(START)
    hours.run(SimulationControl(clock, RATE), clock, 10, work_s=0.06)
    assert hours.waits == 0


def test_as_fast_as_possible_never_waits(hours: Hours) -> None:
    clock = ReplayClock(START)
    hours.run(SimulationControl(clock, FASTEST), clock, 10, work_s=0.0)
    assert hours.waits == 0


@pytest.mark.parametrize("rate", [RATE, FASTEST])
def test_a_paused_plant_stands_still_until_it_goes_on(hours: Hours, rate: float) -> None:
    clock = ReplayClock(START)
    control = SimulationControl(clock, rate)
    control.control(paused=True)
    hours.meanwhile = lambda: control.control(paused=hours.waits < 50)
    hours.run(control, clock, 1, work_s=0.0)
    assert hours.waits >= 50
    assert control.state() == {"plant_ms": START + HOUR, "rate": None if rate == FASTEST else rate} | {
        "paused": False,
        "done": False,
    }
