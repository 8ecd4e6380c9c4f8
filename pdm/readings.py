"""Readings: values of sources at times, in columns; merged, and cleaned before any step sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArrivalFlag(IntFlag):
    """What is only known when a reading arrives, stored with it."""

    NONE = 0
    NO_TIMESTAMP = 1  # the message carried no time: the time of arrival stands in
    IMPORTED = 2  # from a file, not from a live stream


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one class of machines in columns.

    Attributes:
        sensors: names of the k value columns.
        source: `[n]` object array of source names.
        time_ms: `[n]` int64, UTC.
        values: `[n, k]` float64 in the declared units; NaN where a sensor was not in the message.
        flags: `[n]` uint8, `ArrivalFlag`.
    """

    sensors: tuple[str, ...]
    source: NDArray[Any]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ms)

    @staticmethod
    def empty(sensors: Sequence[str]) -> "Readings":
        return Readings(
            tuple(sensors),
            np.empty(0, dtype=object),
            np.empty(0, dtype=np.int64),
            np.empty((0, len(sensors))),
            np.empty(0, dtype=np.uint8),
        )

    def take(self, rows: NDArray[Any]) -> "Readings":
        """The readings of these rows (indices or mask)."""
        return Readings(self.sensors, self.source[rows], self.time_ms[rows], self.values[rows], self.flags[rows])
