"""How old machines are, as a column that counts their hours or cycles tells: how long each had run before its first
row, and where it was renewed, since the count begins anew."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdm.ingest.own_keys import numbers, words

_COUNTED = frozenset(
    [
        *("h", "hr", "hrs", "hour", "hours", "std", "stunde", "stunden", "betriebsstunden", "laufstunden", "bh", "eoh"),
        *("cycle", "cycles", "zyklus", "zyklen", "stroke", "strokes", "shot", "shots", "start", "starts", "starters"),
        *("flight", "flights", "landings", "lastwechsel", "km", "mileage", "odometer", "runtime", "laufzeit"),
        *("hourmeter", "runhours", "operhours"),
    ]
)
_OF_WHAT = frozenset(
    [
        *("run", "running", "operating", "operation", "op", "on", "service", "total", "life", "lifetime", "count"),
        *("counter", "meter", "since", "new", "overhaul", "age", "time", "no", "of", "in", "zähler", "gesamt", "alter"),
        *("machine", "engine", "motor", "pump", "turbine", "compressor", "fan", "press", "unit", "drive", "gearbox"),
        *("valve", "bearing", "equipment", "equivalent", "tool", "robot", "generator", "gen", "anlage", "maschine"),
    ]
)
_RISING = 0.99  # of the steps from row to row; a sensor that grows with wear falls more often
_EARLIEST_MS = 0  # a machine that hardly ran while it was on record would come out as older than any
_ANEW = 0.1  # of what a counter said before: below it begins anew


class Renewal(NamedTuple):
    """A count that begins anew: the last moment of the machine before [ms], and when the next one was new [ms]."""

    machine: str
    ended_ms: int
    new_ms: int


class Ages(NamedTuple):
    """What a counter tells.

    Attributes:
        column: that counts.
        born_ms: when machines were new, by name, had they always run as on record.
        renewals: where the count began anew, by machine and time.
    """

    column: str
    born_ms: Mapping[str, int]
    renewals: tuple[Renewal, ...]


def find_ages(table: Any, times: Any, machines: Any) -> Ages | None:
    """The ages by the first column of a table that is called after hours or cycles and rises like a counter.

    Args:
        times, machines: `[n]` of each row.
    """
    for name in table.columns:
        if _called_a_counter(name) and (ages := _ages(name, numbers(table[name]), times, machines)) is not None:
            return ages
    return None


def _called_a_counter(name: str) -> bool:
    said = set(words(name))
    return bool(said & _COUNTED) and said <= _COUNTED | _OF_WHAT


def _ages(name: str, values: Any, times: Any, machines: Any) -> Ages | None:
    known = values.notna() & times.notna() & machines.notna()
    rows = pd.DataFrame({"machine": machines[known].astype(str), "count": values[known]})
    rows["ms"] = times[known].astype("datetime64[ms, UTC]").astype("int64")
    rows = rows.sort_values(["machine", "ms"], kind="stable")
    step = rows.groupby("machine")["count"].diff().to_numpy()
    anew = (step < 0) & (rows["count"].to_numpy() < _ANEW * (rows["count"].to_numpy() - step))
    rising = step[np.isfinite(step) & ~anew]
    if not (rising > 0).any() or (rising >= 0).mean() < _RISING or rows["count"].min() < 0:
        return None
    pace = _paces(rows, np.where(anew, 0.0, step))
    since_new_ms = rows["count"].to_numpy() / rows["machine"].map(pace).to_numpy()
    first = ~rows["machine"].duplicated().to_numpy()
    starts = (rows["ms"].to_numpy() - since_new_ms)[first].round().astype(np.int64)
    born = dict(zip(rows["machine"][first], starts.tolist(), strict=True))
    born = {machine: start_ms for machine, start_ms in born.items() if start_ms >= _EARLIEST_MS}
    return Ages(name, born, tuple(_renewals(rows, np.flatnonzero(anew), since_new_ms)))


def _paces(rows: Any, step: NDArray[np.float64]) -> Any:
    """How much each machine counts in a millisecond, as long as it was on record; as all do where it did not count."""
    counted = pd.Series(step, index=rows.index).groupby(rows["machine"]).sum()
    span = rows.groupby("machine")["ms"].agg(lambda ms: ms.iloc[-1] - ms.iloc[0])
    return (counted / span.where(span > 0)).where(counted > 0).fillna(counted.sum() / span.sum())


def _renewals(rows: Any, at: NDArray[np.intp], since_new_ms: NDArray[np.float64]) -> list[Renewal]:
    ms, machine = rows["ms"].to_numpy(), rows["machine"].to_numpy()
    return [
        Renewal(str(machine[i]), int(ms[i - 1]), int(np.clip(ms[i] - since_new_ms[i], ms[i - 1] + 1, ms[i])))
        for i in at.tolist()
    ]
