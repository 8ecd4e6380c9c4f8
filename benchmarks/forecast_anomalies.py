"""The alarm that is learned without failures on public data for anomaly detection, scored as others publish it.

SKAB: 34 experiments on a pump rig, one row a second, in each of which a fault is brought on and taken away. The watch
sees the first 400 rows of each, as the published detectors do, and every row above the level of the alarm counts as
anomalous; F1, false and missing alarm rate over all rows. I. D. Katser, V. O. Kozitsin (2020),
doi 10.34740/KAGGLE/DSV/1693952.

NAB: the temperature of one machine, one row in five minutes, with four windows around what is known to have happened.
The watch sees the 750 rows that are not scored, and an alarm is the row at which it opens, until it has cleared.
Standard profile: the best alarm in a window counts up to 1, by how early it is, a missed window -1, an alarm outside
-0.11. Lavin and Ahmad (2015), doi 10.1109/ICMLA.2015.141. The score is put between those of a detector that says
nothing, 0, and a perfect one, 100.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.forecast_watch import departures
from benchmarks.report import Figure
from pdm.features.frame import Floats
from pdm.learn import Life, train_watch
from pdm.plant import AssetClass, LifeStep, Sensor
from pdm.prognosis.learned import Origin
from pdm.rules.ruleset import RELATIVE_HYSTERESIS

SKAB_ROWS, NAB_ROWS = 400, 750
MISSED, OUTSIDE = 1.0, 0.11


def measure_skab(data: Path, _: int) -> list[Figure]:
    """F1, false and missing alarm rate over the rows of all experiments."""
    table = pd.read_parquet(data / "skab" / "skab.parquet")
    faulty = table[table["group"] != "anomaly-free"]
    sensors = [name for name in table.columns if name not in _NO_SENSOR]
    runs = [rows for _, rows in faulty.groupby(["group", "experiment"])]
    lives = [_life(str(number), rows[sensors].to_numpy(np.float64)) for number, rows in enumerate(runs)]
    seen = [_life(life.serial, life.columns[:SKAB_ROWS]) for life in lives]
    model = train_watch(_class("rig", sensors, None), seen, seed=1, origin=Origin.BENCHMARK)
    said = np.concatenate([departure > 1 for departure in departures(model, lives)])
    truth = np.concatenate([rows["anomaly"].to_numpy(np.float64) for rows in runs]) == 1
    both = (said & truth).sum()
    what = f"rows of {len(runs)} experiments"
    return [
        Figure("skab f1", what, float(2 * both / (said.sum() + truth.sum()))),
        Figure("skab far", f"{what}: false alarm rate", float(100 * (said & ~truth).sum() / (~truth).sum()), "%"),
        Figure("skab mar", f"{what}: missing alarm rate", float(100 * (truth & ~said).sum() / truth.sum()), "%"),
    ]


def measure_nab(data: Path, _: int) -> list[Figure]:
    """The score of the machine temperature in the standard profile."""
    folder = data / "nab_machine_temperature"
    table, labels = pd.read_csv(folder / "machine_temperature.csv"), pd.read_csv(folder / "labels.csv")
    times = pd.to_datetime(table["timestamp"]).to_numpy()
    mine = labels[labels["series"] == "machine_temperature"]
    windows = [pd.to_datetime(mine[name]).to_numpy() for name in ("window_start", "window_end")]
    life = _life("machine", table[["value"]].to_numpy(np.float64))
    model = train_watch(
        _class("machine", ["value"], 300_000),
        [_life("machine", life.columns[:NAB_ROWS])],
        seed=1,
        origin=Origin.BENCHMARK,
    )
    opened = openings(departures(model, [life])[0])
    opened = opened[opened >= NAB_ROWS]
    begins, ends = (np.searchsorted(times, edge) for edge in windows)
    score = nab_score(opened, begins, ends)
    what = f"{len(opened)} alarms, {len(begins)} windows"
    return [
        Figure("nab machine temperature", what, 100 * (score + MISSED * len(begins)) / ((1 + MISSED) * len(begins))),
        Figure("nab machine temperature sum", what, score),
    ]


def openings(departure: Floats) -> NDArray[np.intp]:
    """The rows at which an alarm opens; it stays open until the departure is a fifth below the level."""
    found, is_open = list[int](), False
    for row, value in enumerate(departure.tolist()):
        if not is_open and value > 1:
            found.append(row)
            is_open = True
        elif value < 1 - RELATIVE_HYSTERESIS:
            is_open = False
    return np.array(found, dtype=np.intp)


def nab_score(opened: NDArray[np.intp], begins: NDArray[np.intp], ends: NDArray[np.intp]) -> float:
    """The sum over windows and alarms, given as rows; the standard profile."""
    score = 0.0
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        within = opened[(opened >= begin) & (opened <= end)]
        # position -1 at the start of the window, near 0 at its end
        gain = _sigmoid(-(end - within + 1) / (end - begin + 1)) / _sigmoid(np.array([-1.0]))
        score += float(gain.max()) if len(within) else -MISSED
    return score + sum(_outside(row, begins, ends) for row in opened.tolist())


def _outside(row: int, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> float:
    """What an alarm at this row costs; nothing in a window, little soon after one."""
    if ((row >= begins) & (row <= ends)).any():
        return 0.0
    before = np.flatnonzero(ends < row)[-1:]
    past = (row - ends[before]) / (ends[before] - begins[before])
    return OUTSIDE * float(_sigmoid(past)[0] if len(before) and past[0] < 3 else -1)


def _sigmoid(position: Floats) -> Floats:
    return np.asarray(2 / (1 + np.exp(5 * position)) - 1, dtype=np.float64)


def _life(serial: str, columns: Floats) -> Life:
    return Life(serial, columns, np.ones(len(columns)), failed=False)


def _class(name: str, sensors: list[str], step_ms: int | None) -> AssetClass:
    """A class of machines that are described by their sensors alone."""
    return AssetClass(
        name=name,
        title=name,
        sensors=tuple(Sensor(sensor, "1", sensor) for sensor in sensors),
        conditions=(),
        life_step=LifeStep("row", step_ms),
        horizon=1000.0,
        notice_ms=0,
        failure_modes=(),
    )


_NO_SENSOR = ("group", "experiment", "datetime", "anomaly", "changepoint")
