"""Since when a sensor reads otherwise than before: the one point that parts its past best.

Pettitt (1979), doi 10.2307/2346729: with ranks r_i of n means, U_t = 2 (r_1 + ... + r_t) - t (n + 1); the point is
where |U| is largest, and a chance of about 2 exp(-6 U^2 / (n^3 + n^2)) in a sensor that stays as it is. Means of
stretches are ranked instead of steps, since neighbours say nearly the same. A trend has such a point, too, in its
middle.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from pdm.features.frame import Floats, Frame, read, standardised

STRETCHES, SHORTEST = 64, 4  # at most so many stretches, of at least so many steps
CHANCE = 1e-4
SIZE = 1.0  # standard deviations; a smaller change is not worth saying


class ChangePoint(NamedTuple):
    """The first step of what came after, and by how much the mean differs from before [standard deviations]."""

    step: int
    shift: float


def change_points(frame: Frame, columns: Floats) -> dict[str, ChangePoint]:
    """The change of each sensor over steps `[L, k]` of one machine, by column, with what conditions explain taken out;
    those without one, and those that state how the machine is operated, are left out."""
    z = standardised(frame, read(frame, columns))
    found = {
        name: _change_point(departure)
        for name, departure, states in zip(frame.channel_names[: frame.sensors], z, frame.stating, strict=True)
        if not states
    }
    return {name: point for name, point in found.items() if point is not None}


def _change_point(departure: Floats) -> ChangePoint | None:
    known = np.flatnonzero(np.isfinite(departure))
    count = min(STRETCHES, len(known) // SHORTEST)
    if count < 2:
        return None
    stretches = np.array_split(known, count)
    ranks = rankdata([departure[stretch].mean() for stretch in stretches])
    u = np.abs(2 * np.cumsum(ranks) - np.arange(1, count + 1) * (count + 1))[:-1]
    last = int(np.argmax(u))
    first = int(stretches[last + 1][0])
    shift = float(departure[known[known >= first]].mean() - departure[known[known < first]].mean())
    by_chance = 2 * np.exp(-6 * u[last] ** 2 / (count**3 + count**2)) > CHANCE
    return None if by_chance or abs(shift) < SIZE else ChangePoint(first, shift)
