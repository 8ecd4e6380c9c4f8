"""Sensors that were replaced on the machines of a cohort, and the steps in which they were. Pure functions."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.installations import ALWAYS_MS, NewSensor
from pdm.plant import AssetClass
from pdm.steps import Steps


class Renewed(NamedTuple):
    """Steps, h in all, up to or in which sensors were replaced.

    Attributes:
        step: `[h]` which step.
        columns: `[h, k]` the columns of the class behind which another sensor stands.
        number: `[h]` tells the replacements of a machine apart.
    """

    step: NDArray[np.intp]
    columns: NDArray[np.bool_]
    number: NDArray[np.int64]


@dataclass(frozen=True)
class NewSensors:
    """The replacements on a cohort, e in all.

    Attributes:
        asset_class: the class of the cohort.
        row: `[e]` row of the machine.
        columns: `[e, k]` the columns of the class that the sensor is behind.
        at_ms: `[e]` from when on.
        number: `[e]` int64, tells the replacements of a machine apart.
    """

    asset_class: AssetClass
    row: NDArray[np.int64]
    columns: NDArray[np.bool_]
    at_ms: NDArray[np.int64]
    number: NDArray[np.int64]

    @staticmethod
    def of(asset_class: AssetClass, known: Sequence[NewSensor], serials: Iterable[str]) -> "NewSensors":
        """Those on these machines and of sensors that the class has."""
        row_of = {serial: row for row, serial in enumerate(serials)} if known else {}
        mine = [one for one in known if one.serial in row_of and one.sensor in asset_class.sensor_names]
        return NewSensors(
            asset_class,
            row=np.array([row_of[one.serial] for one in mine], dtype=np.int64),
            columns=np.array(
                [[column.sensor == one.sensor for column in asset_class.columns] for one in mine], dtype=np.bool_
            ).reshape(-1, len(asset_class.columns)),
            at_ms=np.array([one.at_ms for one in mine], dtype=np.int64),
            number=np.array([zlib.crc32(f"{one.sensor}|{one.at_ms}".encode()) for one in mine], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.row)

    def seen(self, last_end_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sum `[n]` of the numbers of those that machines have seen whose latest step ended then (-1 before any)."""
        total = np.zeros(len(last_end_ms), dtype=np.int64)
        before = self.at_ms < self._until(last_end_ms)[self.row]
        np.add.at(total, self.row[before], self.number[before])
        return total

    def renewed(self, last_end_ms: NDArray[np.int64], steps: Steps) -> Renewed:
        """Those that fall into these steps, sorted by (row, start), or between them and the latest step of before.

        Args:
            last_end_ms: `[n]` when the latest step of each machine ended, -1 before any.
        """
        # one sorted key for (row, time): the row in the high bits, the time above -2^43 in the low 44
        ends = (steps.row << 44) + (self._until(steps.end_ms) - ALWAYS_MS)
        place = np.searchsorted(ends, (self.row << 44) + (self.at_ms - ALWAYS_MS), side="right")
        within = np.flatnonzero((place < len(steps)) & (self.at_ms >= self._until(last_end_ms)[self.row]))
        within = within[steps.row[place[within]] == self.row[within]]
        return Renewed(place[within], self.columns[within], self.number[within])

    def _until(self, end_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """What happened before this time had happened by the end of a step; a step that is one reading has no length.

        From the time of its replacement on a sensor is the new one.
        """
        length = 1 if self.asset_class.life_step.duration_ms is None else 0
        return np.where(end_ms < 0, ALWAYS_MS, end_ms + length)
