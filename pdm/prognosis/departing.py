"""What makes a machine depart from its own early life: the sensors behind it, with their size."""

import numpy as np

from pdm.features.frame import Floats, Frame, Watch
from pdm.prognosis.learned import Driver, since_start

_WORTH_SAYING = 0.05
"""A sensor with less than this share of a departure is left out."""


def drivers(frame: Frame, watch: Watch, features: Floats) -> list[list[Driver]]:
    """Which sensors make each asset (features `[n, F]`) depart, most of it first; contributions are their shares."""
    moved = since_start(frame, features)
    # d' P d, P = W W', as a sum over sensors:   d_i (P d)_i
    parts = moved.departure * (moved.departure @ watch.whitening @ watch.whitening.T)
    share = parts / np.maximum(parts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    sensors = frame.channel_names[: frame.sensors]
    return [
        sorted(
            (
                Driver(name, -float(part), float(departure), float(lasted), float(size))
                for name, part, departure, lasted, size in zip(
                    sensors, share[i], moved.departure[i], moved.moving_for[i], moved.size[i], strict=True
                )
                if part >= _WORTH_SAYING
            ),
            key=lambda driver: driver.contribution,
        )
        for i in range(len(features))
    ]
