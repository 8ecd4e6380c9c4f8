"""Tables of readings and lives, as people have them in a notebook, as the arrays that training and service work on.

A table of readings has the columns `asset` and `time` and one for each sensor. A table of lives has `asset` and
`failed`, and where it is known `start`, `end`, `mode` and `group`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdm.durations import DAY_MS, duration_ms
from pdm.installations import ALWAYS_MS, NEVER_MS, Life
from pdm.plant import AssetClass, FailureMode, LifeStep, Sensor
from pdm.readings import Readings, merge_rows
from pdm.steps import Steps, make_steps, step_start

ASSET, TIME = "asset", "time"
_MS = pd.Timedelta(milliseconds=1)


@dataclass(frozen=True)
class Record:
    """What was recorded of some machines.

    Attributes:
        assets: their names, sorted.
        steps: of all of them, `row` being the place in `assets`.
        counted: whether times are numbers, which count days.
    """

    assets: list[Any]
    steps: Steps
    counted: bool


@dataclass(frozen=True)
class Lives:
    """Lives of recorded machines.

    Attributes:
        asset: `[n]` place of each in the assets of the record.
        spans: `[n]` from when to when, and how it ended.
        steps: in all of them, `row` being the place here.
        groups: `[n]` the place that the machine of each shares with others, if that is known.
    """

    asset: NDArray[np.int64]
    spans: list[Life]
    steps: Steps
    groups: list[str | None]


def class_of(
    readings: Any, lives: Any, *, conditions: Sequence[str], life_step: str | None, horizon: float | None
) -> AssetClass:
    """The description of machines of which there are only tables; every column but asset and time is a sensor.

    Args:
        lives: None where nothing is known of them; then a horizon has to be given.
    """
    columns = [str(name) for name in checked(readings).columns if name not in (ASSET, TIME)]
    if missing := set(conditions) - set(columns):
        raise ValueError(f"conditions {', '.join(sorted(missing))} are no columns of the readings")
    modes = sorted(lives["mode"].dropna().astype(str).unique()) if lives is not None and "mode" in lives else []
    step = LifeStep("step") if life_step is None else LifeStep(life_step, duration_ms(life_step))
    machine = AssetClass(
        name="machine",
        title="Machine",
        sensors=tuple(Sensor(name, "1", name) for name in columns),
        conditions=tuple(conditions),
        life_step=step,
        horizon=np.inf if horizon is None else float(horizon),
        notice_ms=0,
        failure_modes=tuple(FailureMode(mode, mode) for mode in modes),
    )
    return machine if horizon is not None else replace(machine, horizon=_half_a_life(machine, readings, lives))


def record_of(asset_class: AssetClass, readings: Any, *, until_now: bool = False) -> Record:
    """The steps of a table of readings, as the service makes them.

    Args:
        until_now: whether steps without readings follow a machine's last one, up to the last reading of all.
    """
    table = checked(readings)
    if missing := set(asset_class.sensor_names) - set(table.columns):
        raise ValueError(f"the readings lack the columns {', '.join(sorted(missing))}")
    code, assets = pd.factorize(table[ASSET], sort=True)
    time_ms, counted = _ms_of(table[TIME])
    values = table[list(asset_class.sensor_names)].to_numpy(np.float64, na_value=np.nan)
    merged = merge_rows(code, time_ms, values, np.zeros(len(table), dtype=np.uint8))
    row, time_ms = code[merged.rows], time_ms[merged.rows]
    first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    last = np.r_[first[1:], len(row)] - 1
    begins, ends = (step_start(asset_class, time_ms[which]) for which in (first, last))
    ends = np.full_like(ends, ends.max()) if until_now else ends
    names = np.asarray(assets, dtype=object)
    kept = Readings(asset_class.sensor_names, names[row], time_ms, merged.values, merged.flags)
    steps = make_steps(asset_class, kept, row, begins, ends + (asset_class.life_step.duration_ms or 1))
    return Record(list(assets), steps, counted)


def lives_of(record: Record, lives: Any | None) -> Lives:
    """The lives that a table names; without one, every machine has one life since its first reading."""
    first = np.searchsorted(record.steps.row, np.arange(len(record.assets)))
    begins = record.steps.start_ms[first]
    if lives is None:
        spans = [Life(begin, NEVER_MS, start_known=True) for begin in begins.tolist()]
        return Lives(np.arange(len(spans)), spans, record.steps, [None] * len(spans))
    place = {asset: number for number, asset in enumerate(record.assets)}
    table = _of_recorded(lives, place)
    asset = np.array([place[name] for name in table[ASSET]], dtype=np.int64)
    from_ms = _edges(table, "start", record, begins[asset], ALWAYS_MS)
    failed = table["failed"].to_numpy(dtype=bool)
    to_ms = _edges(table, "end", record, np.full(len(table), NEVER_MS), NEVER_MS)
    spans = [
        Life(start, end, start_known=start > ALWAYS_MS, failed=ended, mode=name)
        for start, end, ended, name in zip(
            from_ms.tolist(), to_ms.tolist(), failed.tolist(), _named(table, "mode"), strict=True
        )
    ]
    return Lives(asset, spans, _within(record.steps, asset, spans), _named(table, "group"))


def _named(table: Any, column: str) -> list[str | None]:
    """The names in a column that may lack some, or be missing."""
    return [None if pd.isna(name) else str(name) for name in table.get(column, [None] * len(table))]


def times_of(record: Record, at_ms: NDArray[np.int64]) -> Any:
    """Times as the table of readings has them."""
    return at_ms / DAY_MS if record.counted else pd.to_datetime(at_ms, unit="ms", utc=True)


def ms_at(record: Record, time: Any) -> int:
    """A time as the table of readings has them, in ms."""
    at, counted = _ms_of(pd.Series([time]))
    if counted != record.counted:
        raise ValueError(f"{time!r} and the times of readings are not of one kind")
    return int(at[0])


def checked(readings: Any) -> Any:
    """A table of readings that says which machine and when."""
    if not isinstance(readings, pd.DataFrame):
        raise ValueError(
            f"expected a DataFrame with the columns {ASSET}, {TIME} and one for each sensor, "
            f"not {type(readings).__name__}: a forecast needs to know which machine a row is of, and when"
        )
    if missing := {ASSET, TIME} - set(readings.columns):
        raise ValueError(f"the readings lack the columns {', '.join(sorted(missing))}")
    if readings.empty:
        raise ValueError("the readings hold no rows")
    if readings[[ASSET, TIME]].isna().any(axis=None):
        raise ValueError("a reading needs an asset and a time: some rows have none")
    return readings


def lives_table(readings: Any, lives: Any) -> Any:
    """A table of lives, whether given as such or as what was left after each reading."""
    if lives is None:
        raise ValueError("this estimator requires y to be passed, but the target y is None: give a table of lives")
    if not isinstance(lives, pd.DataFrame):
        return _lives_behind(readings, lives)
    if missing := {ASSET, "failed"} - set(lives.columns):
        raise ValueError(f"the lives lack the columns {', '.join(sorted(missing))}")
    return lives


def _lives_behind(readings: Any, remaining: Any) -> Any:
    """The table of lives behind what was left after each reading [life steps], NaN where the end is not known.

    It is how scikit-learn hands truth over: one value a row. A life ends where the next value is higher.
    """
    table = checked(readings)[[ASSET, TIME]].assign(left=np.asarray(remaining, dtype=np.float64))
    table = table.sort_values([ASSET, TIME], kind="stable")
    begins = (table[ASSET] != table[ASSET].shift()) | (table["left"] > table["left"].shift())
    groups = table.groupby(begins.cumsum().to_numpy())
    lives = groups.agg(asset=(ASSET, "first"), start=(TIME, "first"), last=("left", "last"))
    if (unfinished := lives["last"] > 1.0).any():
        raise ValueError(
            f"the record of asset {lives[ASSET][unfinished].iloc[0]} stops before its failure: "
            "leave what was left unknown (NaN), or give a table of lives"
        )
    lives["failed"] = lives["last"].notna()
    lives["end"] = lives["start"].shift(-1).where(lives[ASSET] == lives[ASSET].shift(-1))
    return lives.drop(columns="last")


def _of_recorded(lives: Any, place: dict[Any, int]) -> Any:
    """The lives of machines of which there are readings."""
    table = lives[lives[ASSET].isin(place)]
    if table.empty:
        known = ", ".join(map(str, list(place)[:5]))
        raise ValueError(f"none of the lives is of an asset of the readings (there are {known}, ...)")
    several = table[ASSET].duplicated(keep=False)
    if several.any() and "start" not in table:
        raise ValueError(f"asset {table[ASSET][several].iloc[0]} has several lives: give each its start")
    return table


def _edges(table: Any, name: str, record: Record, usual: NDArray[np.int64], unknown: int) -> NDArray[np.int64]:
    """Starts or ends of lives in ms; `usual` without the column, `unknown` where it is empty."""
    if name not in table:
        return usual
    known = table[name].notna().to_numpy()
    at = np.full(len(table), unknown, dtype=np.int64)
    if known.any():
        at[known], counted = _ms_of(table[name][known])
        if counted != record.counted:
            raise ValueError(f"the {name} of lives and the time of readings are not of one kind")
    return at


def _ms_of(column: Any) -> tuple[NDArray[np.int64], bool]:
    """Times in ms UTC, and whether they are numbers, which count days; without an offset they are UTC."""
    if pd.api.types.is_numeric_dtype(column):
        return np.round(column.to_numpy(np.float64) * DAY_MS).astype(np.int64), True
    moments = pd.to_datetime(column, utc=True)
    return ((moments - pd.Timestamp(0, tz="UTC")) // _MS).to_numpy(np.int64), False


def _within(steps: Steps, asset: NDArray[np.int64], spans: Sequence[Life]) -> Steps:
    """The steps of each life, one life after the other."""
    rows, life = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for number, (machine, span) in enumerate(zip(asset.tolist(), spans, strict=True)):
        first, last = np.searchsorted(steps.row, [machine, machine + 1])
        start = steps.start_ms[first:last]
        mine = first + np.flatnonzero((start >= span.from_ms) & (start < span.to_ms))
        rows.append(mine)
        life.append(np.full(len(mine), number))
    return replace(steps.take(np.concatenate(rows)), row=np.concatenate(life))


def _half_a_life(machine: AssetClass, readings: Any, lives: Any) -> float:
    """Half of the median life that failed [life steps]."""
    known = lives_of(record_of(machine, readings), lives)
    lengths = np.bincount(known.steps.row, minlength=len(known.spans))[[span.failed for span in known.spans]]
    if not len(lengths):
        raise ValueError("no life ended in failure: there is nothing to learn from")
    return float(max(1.0, np.median(lengths) / 2))
