"""What one step costs a machine of 20 sensors in a cohort of 1,000, and how large its twin is."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Figure
from benchmarks.speed_fleet import Machines, plant_text, trained_model
from pdm import features, twin
from pdm.features.frame import Frame, Peers
from pdm.plant import AssetClass, ExpectedLife
from pdm.plant.file import parse_plant

MACHINES, HOURS = 1_000, 100


def measure_fold(rounds: int, folder: Path) -> list[Figure]:
    """Features with and without the health of the sensors, in turns."""
    del folder
    frame, machines = _judging_drift(trained_model().frame), Machines.draw(MACHINES, seed=3)
    hours = [machines.values(hour, np.full(MACHINES, float(hour))) for hour in range(HOURS)]
    state = features.start(frame, MACHINES)
    _fold(frame, state, hours, np.ones(MACHINES, dtype=np.bool_))
    judged, believed = np.inf, np.inf
    for _ in range(rounds):
        judged = min(judged, _fold(frame, state, hours, np.ones(MACHINES, dtype=np.bool_)))
        believed = min(believed, _fold(frame, state, hours, None))
    worn = _wearing(parse_plant(plant_text(1)).classes["machine"])
    columns = twin.to_columns(twin.start(worn, frame, 1), np.array(["M-1"], dtype=object))
    size, sensors = sum(column.nbytes for column in columns.values()), len(worn.sensors)
    what = f"one step of a machine of {sensors} sensors in a cohort of {MACHINES:,}"
    return [
        Figure("fold", f"{what}, features and health of the sensors", judged, "us", 2.0, "lower"),
        Figure("fold.features", f"{what}, features alone", believed, "us", better="lower"),
        Figure("fold.state", "the whole twin, with one declared mode", float(size), "bytes", 2048.0, "lower"),
    ]


def _wearing(asset_class: AssetClass) -> AssetClass:
    """The class with one failure mode, of which a life is declared."""
    mode = replace(asset_class.failure_modes[0], expected_life=ExpectedLife(2000, 500))
    return replace(asset_class, failure_modes=(mode,))


def _judging_drift(frame: Frame) -> Frame:
    """The frame with a drift judged of every sensor, which the few lives of this model say nothing of."""
    every = np.ones(frame.sensors, dtype=np.bool_)
    return replace(frame, peers=Peers(every, np.eye(frame.sensors), np.full(frame.sensors, np.inf)))


def _fold(
    frame: Frame, state: features.FeatureState, hours: list[NDArray[np.float64]], follows: NDArray[np.bool_] | None
) -> float:
    """CPU time of a step of one machine [us]."""
    began = time.process_time()
    for columns in hours:
        features.fold(frame, state, features.ALL, columns, follows)
    return 1e6 * (time.process_time() - began) / len(hours) / MACHINES
