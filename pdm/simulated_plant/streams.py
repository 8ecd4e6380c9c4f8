"""Random numbers of the station. Every pump has a stream of its own, so that more pumps leave the others as they are.

A stream is named by (seed, pump, generation), the station's by the seed alone: as separate words of the key, never as a
sum, so no two seeds share a stream, and pumps trained on are never pumps shown as long as their seeds differ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdm.simulated_plant.pump import Floats
from pdm.simulated_plant.sensors import PUMP_SENSORS

HOURS_AHEAD = 256  # drawn at a time, which a call for each pump and hour would make ten times slower
NOISE_SHAPE = 4.0  # of the gamma noise on wear; its mean is one

_STATION, _PUMP = 0, 1
_NORMALS = len(PUMP_SENSORS) + 2
_GAMMAS = 6
_UNIFORMS = len(PUMP_SENSORS) + 4


@dataclass(frozen=True, slots=True)
class HourDraws:
    """The chances of one hour for all pumps.

    Attributes:
        wear: factors on wear [3, pumps], gamma with mean one; for impeller, thrust and radial bearing.
        debris: uniform [3, pumps], whether debris hits them; `debris_size` [3, pumps], how hard, gamma with mean one.
        errors: standard normal [sensors, pumps], of the sensors.
        share, load: standard normal [pumps], of the pump's share of the load and of its load in this hour.
        value_lost: uniform [sensors, pumps]; `reading_lost`: uniform [pumps].
    """

    wear: Floats
    debris: Floats
    debris_size: Floats
    errors: Floats
    share: Floats
    load: Floats
    value_lost: Floats
    reading_lost: Floats


def station_random(seed: int) -> np.random.Generator:
    """The stream of load and weather."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STATION,)))


class PumpStreams:
    """The streams of all pumps, drawn ahead in blocks and handed out hour by hour of each pump's own life."""

    def __init__(self, seed: int, count: int) -> None:
        self._seed = seed
        self._random: dict[int, np.random.Generator] = {}
        self._normals = np.empty((count, HOURS_AHEAD, _NORMALS))
        self._gammas = np.empty((count, HOURS_AHEAD, _GAMMAS))
        self._uniforms = np.empty((count, HOURS_AHEAD, _UNIFORMS))
        self._pumps = np.arange(count)

    def open(self, pump: int, generation: int) -> np.random.Generator:
        """Begin the stream of a new pump; what its life as a whole depends on is drawn from it first."""
        key = np.random.SeedSequence(self._seed, spawn_key=(_PUMP, pump, generation))
        self._random[pump] = np.random.default_rng(key)
        return self._random[pump]

    def hour(self, ages: NDArray[np.int64]) -> HourDraws:
        """The draws of the hour that follows these ages [h] of the pumps."""
        within = ages % HOURS_AHEAD
        for pump in np.flatnonzero(within == 0):
            self._draw_ahead(int(pump))
        normals, gammas, uniforms = (
            np.ascontiguousarray(block[self._pumps, within].T)
            for block in (self._normals, self._gammas, self._uniforms)
        )
        return HourDraws(
            wear=gammas[:3],
            debris=uniforms[:3],
            debris_size=gammas[3:],
            errors=normals[:-2],
            share=normals[-2],
            load=normals[-1],
            value_lost=uniforms[3:-1],
            reading_lost=uniforms[-1],
        )

    def _draw_ahead(self, pump: int) -> None:
        random = self._random[pump]
        random.standard_normal(out=self._normals[pump])
        random.standard_gamma(NOISE_SHAPE, out=self._gammas[pump])
        self._gammas[pump] /= NOISE_SHAPE
        random.random(out=self._uniforms[pump])
