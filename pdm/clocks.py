"""The two clocks: plant time and wall time (see `pdm.ports.Clock`)."""

import time


class ServiceClock:
    """Both are UTC now."""

    def plant_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ReplayClock(ServiceClock):
    """Plant time is what has been replayed so far, wall time is now."""

    def __init__(self, start_ms: int):
        self._plant_ms = start_ms

    def plant_ms(self) -> int:
        return self._plant_ms

    def advance(self, to_ms: int) -> None:
        """Move plant time forward; it never goes back."""
        self._plant_ms = max(self._plant_ms, to_ms)
