"""The pace of a simulated plant: how fast its time passes, and whether it stands still."""

import threading
import time
from typing import Any

from pdm.clocks import ReplayClock

FASTEST = float("inf")
HIGHEST_RATE = 1e9


class SimulationControl:
    """What the pages show and change of simulated time (`pdm.ports.Simulation`)."""

    def __init__(self, clock: ReplayClock, rate: float) -> None:
        self._clock, self._rate, self._paused, self._done = clock, rate, False, False
        self._changed = threading.Condition()
        self._seen_s = time.monotonic()

    def state(self) -> dict[str, Any]:
        rate = None if self._rate == FASTEST else self._rate
        return {"plant_ms": self._clock.plant_ms(), "rate": rate, "paused": self._paused, "done": self._done}

    def control(self, *, paused: bool | None = None, rate: float | None = None) -> None:
        with self._changed:
            self._paused = self._paused if paused is None else paused
            self._rate = self._rate if rate is None else min(max(rate, 1.0), HIGHEST_RATE)
            self._changed.notify_all()

    def finish(self) -> None:
        """There is nothing left to simulate."""
        self._done = True

    def wait_for(self, plant_ms: int, stop: threading.Event) -> None:
        """Sleep until this plant time is due at the present rate, and as long as the simulation is paused.

        What was done since the last wait has used up its part of the time.
        """
        left_s = (plant_ms - self._clock.plant_ms()) / 1000.0
        with self._changed:
            while not stop.is_set() and (self._paused or self._rate < FASTEST):
                now = time.monotonic()
                left_s -= 0.0 if self._paused else (now - self._seen_s) * self._rate
                self._seen_s = now
                if left_s <= 0 and not self._paused:
                    return
                self._changed.wait(0.2 if self._paused else min(left_s / self._rate, 0.2))
