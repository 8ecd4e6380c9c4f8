"""How far a machine has departed from its own early life, as one number, and what is remembered of it.

    q         = |W' d|^2 / p                  d: departures of the p sensors; 1 on average in healthy machines
    departure = sqrt((q - 1) / (level - 1))   0 where q < 1; 1 at the level of the alarm

What healthy machines do by chance is taken off (the 1), so that a machine as it was at its start is near 0. A change
has to have size, too: where long memories make small ones significant, the departure is no more than the largest d over
`SIZE`. An alarm asks for the lowest of the last five: one step makes none.

The trail is the departure over the whole life in 64 places: once all are taken, every other one goes and each stands
for twice as many steps.
"""

import numpy as np

from pdm.features.frame import Floats, Singles, Watch

SIZE = 0.5  # standard deviations by which a sensor has to have moved for an alarm
HELD = 5
TRAIL = 64


def mean_square(whitening: Floats, departures: Floats) -> Floats:
    """q `[m]` of departures `[p, m]` [standard deviations].

    Sensors are summed one after another, as everywhere in the fold: one machine and thousands get the same bits.
    """
    white = np.zeros_like(departures)
    for weights, departure in zip(whitening, departures, strict=True):
        white += weights[:, None] * departure
    total = np.zeros(departures.shape[1])
    for part in white:
        total += part * part
    return total / len(departures)


def departure(watch: Watch, departures: Floats) -> Floats:
    """The departure `[m]` of departures `[p, m]` of the sensors."""
    excess = np.maximum(mean_square(watch.whitening, departures) - 1, 0)
    return np.asarray(np.minimum(np.sqrt(excess / (watch.level - 1)), np.abs(departures).max(axis=0) / SIZE))


def remember(recent: Singles, trail: Singles, steps: Floats, value: Floats) -> None:
    """Take in the departure `[m]` after so many steps `[m]`, in place: `recent` `[5, m]`, `trail` `[64, m]`."""
    recent[:-1] = recent[1:]
    recent[-1] = value
    stride, before = _stride(steps), _stride(steps - 1)
    full = np.flatnonzero(stride > before)
    if len(full):
        trail[: TRAIL // 2, full] = trail[1::2, full]
        trail[TRAIL // 2 :, full] = 0
    trail[_place(steps), np.arange(len(steps))] = value


def taken(steps: float) -> int:
    """How many places of a trail are taken after so many steps."""
    return 1 + int(_place(np.array([steps]))[0]) if steps > 0 else 0


def _stride(steps: Floats) -> Floats:
    """The least power of two that fits so many steps `[m]` into the trail."""
    _, exponent = np.frexp((steps - 1) / TRAIL)
    return np.ldexp(1.0, np.maximum(exponent, 0))


def _place(steps: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return ((steps - 1) // _stride(steps)).astype(np.intp)
