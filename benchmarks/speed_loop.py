"""The tick as a loop over machines: the straightforward version that the tick of `pdm` is compared with.

Machine by machine: readings by SQL into a DataFrame, the step, its history, features in pandas, a prediction for one
row, a window, rules, rows by SQL; one commit at the end. Features, model, window and what is kept are those of
`pdm.tick`, and so are the forecasts, which the benchmark checks.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from pdm.features.frame import (
    HEALTH,
    Frame,
    project,
    project_own,
    read,
    standardised,
)
from pdm.plant import AssetClass, Plant
from pdm.prognosis import Prognosis, learned
from pdm.prognosis.learned import Model
from pdm.prognosis.quantiles import failure_probability
from pdm.rules.ruleset import FailureProbabilityRule, Rule, SensorLimitRule
from pdm.windows import advice

HOUR_MS = 3_600_000


class MachineLoop:
    """Watches machines one after the other; its readings, steps and conclusions are rows of one database."""

    def __init__(self, file: Path, plant: Plant, asset_class: AssetClass, model: Model, rules: Sequence[Rule]) -> None:
        self.plant = plant
        self.asset_class = asset_class
        self.model = model
        self.rules = rules
        self.low = np.array([sensor.low for sensor in asset_class.sensors], dtype=float)
        self.high = np.array([sensor.high for sensor in asset_class.sensors], dtype=float)
        self.db = sqlite3.connect(file)
        columns = ", ".join(f"{name} REAL" for name in asset_class.sensor_names)
        self.db.executescript(
            f"""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            CREATE TABLE readings (serial TEXT, time_ms INTEGER, {columns}, PRIMARY KEY (serial, time_ms));
            CREATE TABLE steps (serial TEXT, start_ms INTEGER, share REAL, {columns}, PRIMARY KEY (serial, start_ms));
            CREATE TABLE beliefs (serial TEXT PRIMARY KEY, at_ms INTEGER, exposure REAL, body TEXT);
            CREATE TABLE prognoses (serial TEXT, at_ms INTEGER, body TEXT, PRIMARY KEY (serial, at_ms));
            CREATE TABLE alerts (serial TEXT, rule TEXT, opened_ms INTEGER, closed_ms INTEGER);
            """
        )

    def remember(self, serial: str, start_ms: int, values: Sequence[float]) -> None:
        """A step of the past, which ran all the time."""
        self._insert("steps", (serial, start_ms, 1.0, *values))

    def receive(self, serial: str, time_ms: int, values: Sequence[float]) -> None:
        """A reading arrives."""
        self._insert("readings", (serial, time_ms, *values))

    def tick(self, serials: Sequence[str], at_ms: int) -> NDArray[np.float64]:
        """Bring these machines up to date with the hour that ends at `at_ms`; their quantiles `[n, 21]`."""
        quantiles = [self._tick_machine(serial, at_ms) for serial in serials]
        self.db.commit()
        return np.array(quantiles)

    def _tick_machine(self, serial: str, at_ms: int) -> NDArray[np.float64]:
        share, values = self._step(serial, at_ms - HOUR_MS, at_ms)
        self._insert("steps", (serial, at_ms - HOUR_MS, share, *values))
        history = pd.read_sql_query("SELECT * FROM steps WHERE serial = ? ORDER BY start_ms", self.db, params=(serial,))
        ran = history[history["share"] > 0]
        exposure = np.array([history["share"].sum()])
        features = features_of(self.model.frame, ran[list(self.asset_class.column_names)])
        quantiles = learned.forecast(self.model, features, exposure, np.array([True]))
        modes = [mode.name for mode in self.asset_class.failure_modes]
        mode = learned.first_mode(self.model, features, quantiles, modes)
        prognosis = Prognosis(quantiles, self.asset_class.horizon, np.ones(1, np.int8), np.zeros(1, np.int8), mode)
        duty_rate = exposure / len(history)
        windows = advice.windows_of(self.plant, self.asset_class, self.model, prognosis, duty_rate, at_ms)
        self._judge(serial, quantiles, values, at_ms)
        self._keep(serial, at_ms, float(exposure[0]), prognosis, windows.row(0))
        of_machine: NDArray[np.float64] = quantiles[0]
        return of_machine

    def _step(self, serial: str, from_ms: int, until_ms: int) -> tuple[float, pd.Series]:
        """Share of an hour that a machine ran, and what its sensors read on average while it did."""
        query = "SELECT * FROM readings WHERE serial = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms"
        readings = pd.read_sql_query(query, self.db, params=(serial, from_ms, until_ms))
        values = readings[list(self.asset_class.sensor_names)]
        usable = values.where((values >= self.low) & (values <= self.high))
        rule = self.asset_class.running_when
        running = usable[rule.sensor] > rule.above if rule else usable.notna().any(axis=1)
        return float(running.mean()), usable[running].mean()

    def _judge(self, serial: str, quantiles: NDArray[np.float64], values: pd.Series, at_ms: int) -> None:
        """Open and close the alerts of a machine."""
        query = "SELECT rule FROM alerts WHERE serial = ? AND closed_ms IS NULL"
        standing = {rule for (rule,) in self.db.execute(query, (serial,))}
        for rule in self.rules:
            holds = False
            if isinstance(rule, FailureProbabilityRule):
                holds = failure_probability(quantiles, rule.within)[0] > rule.above
            elif isinstance(rule, SensorLimitRule) and rule.above is not None:
                holds = values[rule.sensor] > rule.above
            if holds and rule.name not in standing:
                self._insert("alerts", (serial, rule.name, at_ms, None))
            elif not holds and rule.name in standing:
                closing = "UPDATE alerts SET closed_ms = ? WHERE serial = ? AND rule = ? AND closed_ms IS NULL"
                self.db.execute(closing, (at_ms, serial, rule.name))

    def _keep(self, serial: str, at_ms: int, exposure: float, prognosis: Prognosis, window: Any) -> None:
        """What is believed now, and once a day the forecast for ever."""
        body = {"quantiles": prognosis.quantiles[0].tolist(), "modes": prognosis.mode[0].tolist(), "window": window}
        text = orjson.dumps(body).decode()
        self.db.execute("REPLACE INTO beliefs VALUES (?, ?, ?, ?)", (serial, at_ms, exposure, text))
        if at_ms % (24 * HOUR_MS) == 0:
            self._insert("prognoses", (serial, at_ms, text))

    def _insert(self, table: str, row: Sequence[Any]) -> None:
        self.db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", tuple(row))  # noqa: S608 - own names


def features_of(frame: Frame, steps: pd.DataFrame) -> NDArray[np.float64]:
    """Features `[1, F]` of one machine after its running steps, which lack no value: what `pdm.features` folds."""
    channels, levels = _channels(frame, steps.to_numpy())
    health = channels.columns[frame.sensors :]
    recent, level = (x.ewm(alpha=1 - frame.memory(15)).mean().iloc[-1] for x in (channels, levels))
    own_start = channels.iloc[: frame.baseline].mean()
    sl60, sl120 = (_slope(frame, channels, span) for span in (60, 120))
    n, age = len(channels), np.arange(len(channels))
    # wl = (T1 - (n-1)/2 n m) / (n (n^2 - 1)/12 + 25 n)
    t1 = channels.mul(age, axis=0).sum()
    wl = (t1 - (n - 1) / 2 * n * channels.mean()) / (n * (n * n - 1) / 12 + frame.damping * n)
    slow = [sl120[health], (sl60 - wl)[health], (sl60 - sl120)[health]]
    return np.array([pd.concat([recent, recent - own_start, sl60, wl, *slow, level, pd.Series([n])])])


def _channels(frame: Frame, columns: NDArray[np.float64]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sensors against what they should read and the health that they show together, step by step; their levels."""
    step = read(frame, columns)
    departures, made = standardised(frame, step), step.made * step.inverse_sd
    z, levels = pd.DataFrame(departures.T), pd.DataFrame((departures + made).T[:, frame.levels])
    own_start = z.iloc[: frame.baseline].expanding().mean().reindex(z.index, method="ffill")
    change = z.ewm(alpha=1 - frame.memory(15)).mean() - own_start
    together = project(frame, z.to_numpy().T, step.regime)
    own = project_own(frame, change.to_numpy().T, own_start.to_numpy().T)
    health = pd.DataFrame(np.vstack([together, own]).T, columns=list(HEALTH))
    return pd.concat([z, health], axis=1), levels


def _slope(frame: Frame, channels: pd.DataFrame, span: float) -> pd.Series:
    """Slope over steps whose weight fades with their age."""
    age = np.arange(len(channels))[::-1]
    weight = frame.memory(span) ** age
    s0, s1, s2 = weight.sum(), (age * weight).sum(), (age * age * weight).sum()
    x0, x1 = channels.mul(weight, axis=0).sum(), channels.mul(age * weight, axis=0).sum()
    # sl = (S1/S0 X0 - X1) / (S2 - S1^2/S0 + 25 S0)
    slope: pd.Series = (s1 / s0 * x0 - x1) / (s2 - s1 * s1 / s0 + frame.damping * s0)
    return slope
