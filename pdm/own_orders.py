"""`pdm-twin init --from-orders`: a plant file and a map of events proposed for machines of which there are work orders
and no readings: one row a life, with dates when it was installed, failed or was taken out."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd

from pdm.durations import DAY_MS, HOUR_MS
from pdm.errors import ConfigurationError
from pdm.import_events import read_rows
from pdm.ingest.own_keys import moments_of, names_of_machines, words
from pdm.ingest.own_table import Look, SeenSensor
from pdm.own_plant import plant_text, rules_text
from pdm.plant.wire import TableForm
from pdm.words import iso, plural

_BEGINS = frozenset(["installed", "install", "installation", "commissioned", "start", "born", "new", "begin", "in"])
_BEGINS |= {"service", "einbau", "eingebaut", "inbetriebnahme", "inbetrieb", "beginn", "fitted"}
_FAILS = frozenset(["failed", "failure", "fail", "breakdown", "broken", "ausfall", "ausgefallen", "defekt", "störung"])
_FAILS |= {"malfunction", "schaden", "burnt"}
_OUT = frozenset(["suspended", "suspension", "removed", "removal", "replaced", "preventive", "withdrawn", "retired"])
_OUT |= {"censored", "out", "scrapped", "ausbau", "ausgebaut", "ersetzt", "stillgelegt", "taken"}
_LONG_MS = 60 * DAY_MS


class Orders(NamedTuple):
    """What work orders turned out to be.

    Attributes:
        machine, begins, fails, out: their columns; `out` is empty if there is none.
        time_format: of their times; None: ISO 8601.
        lengths_ms: of the lives that have ended.
        failures, taken_out, going_on: how many lives there are of each kind.
    """

    machines: tuple[str, ...]
    machine: str
    begins: str
    fails: str
    out: str
    time_format: str | None
    first_ms: int
    last_ms: int
    lengths_ms: tuple[int, ...]
    failures: int
    taken_out: int
    going_on: int


def look_at_orders(path: Path, time_format: str | None = None) -> Orders:
    """Find out what a CSV file of work orders holds.

    Raises:
        ConfigurationError: it cannot be read, or does not say which machines were installed and failed when.
    """
    names, rows = read_rows(path)
    table = pd.DataFrame(rows, columns=names).replace("", pd.NA)
    dates = {name: found for name in names if (found := _dates(table[name].dropna(), time_format)) is not None}
    begins, fails, out = (_called(dates, said) for said in (_BEGINS, _FAILS, _OUT))
    machine = names_of_machines(table.drop(columns=list(dates)))
    if not (begins and fails and machine):
        known = f"it has {', '.join(names)}; as dates were understood {', '.join(dates) or 'none'} (--time-format)"
        raise ConfigurationError(
            "expected one row a life, with a column for the machine, one for the date when it was installed and one "
            f"for the date when it failed: {known}. Other work orders come in by a map (docs/reliability-engineer.md)",
            file=path.name,
        )
    spans: Any = pd.DataFrame({name: dates[name][1] for name in (begins, fails, out) if name})
    ended = spans[fails].fillna(spans[out]) if out else spans[fails]
    lengths: Any = (ended - spans[begins]).dropna()
    moments: list[Any] = [one.timestamp() for name in spans for one in spans[name].dropna()]
    failures, lives = int(spans[fails].notna().sum()), int(spans[begins].notna().sum())
    return Orders(
        machines=tuple(sorted(table[machine].dropna().unique().tolist())),
        machine=machine,
        begins=begins,
        fails=fails,
        out=out,
        time_format=dates[begins][0],
        first_ms=round(1000 * min(moments)),
        last_ms=round(1000 * max(moments)),
        lengths_ms=tuple(round(1000 * one.total_seconds()) for one in lengths if one > pd.Timedelta(0)),
        failures=failures,
        taken_out=len(lengths) - failures,
        going_on=lives - len(lengths),
    )


def proposed_files(orders: Orders, path: Path, zone: ZoneInfo | None) -> dict[str, str]:
    """All that is proposed, by the name of the file."""
    look = _as_look(orders, zone)
    return {"plant.yaml": plant_text(look, path), "rules.yaml": rules_text(look), "orders.yaml": _map_text(orders)}


def import_command(path: Path) -> str:
    """The command that brings the work orders in."""
    return shlex.join(["pdm-twin", "import", "events", str(path), "--map", "orders.yaml"])


def readiness(orders: Orders) -> list[str]:
    """What the work orders are enough for, in sentences."""
    since, until = (iso(ms)[:10] for ms in (orders.first_ms, orders.last_ms))
    ended = f"{plural(orders.failures, 'failure')}, {orders.taken_out} taken out alive, {orders.going_on} go on"
    return [
        f"{plural(len(orders.machines), 'machine')} by {orders.machine!r} from {since} to {until}: {ended}",
        "enough for: a life table (Weibull) from 3 failures on, and by it a forecast by age alone. `pdm-twin train "
        "machine` says both, and what to declare as `expected_life` for the pages to do so once readings come",
        "not enough for: anything that follows how a machine is used, or how it is: that takes readings "
        "(`pdm-twin init --from-csv`). `state` in plant.yaml stands for the sensors that you will have",
    ]


def _dates(column: Any, time_format: str | None) -> tuple[str | None, Any] | None:
    """The form of the times in a column, and the times; None if it holds none."""
    if not len(column) or pd.to_numeric(column, errors="coerce").notna().mean() > 0.5:
        return None
    found = moments_of(column, TableForm(time_format=time_format))
    return None if found is None else (found[0].time_format, found[1])


def _called(dates: Mapping[str, Any], said: frozenset[str]) -> str:
    """The first column of dates that is called so; empty if none is."""
    return next((name for name in dates if said & set(words(name))), "")


def _as_look(orders: Orders, zone: ZoneInfo | None) -> Look:
    """The same as if a sensor that says nothing had been read all the time."""
    usual_ms = sorted(orders.lengths_ms)[len(orders.lengths_ms) // 2] if orders.lengths_ms else 0
    every_ms = DAY_MS if usual_ms > _LONG_MS else HOUR_MS
    return Look(
        form=TableForm(time_zone=zone),
        machines=orders.machines,
        sensors=(SeenSensor("state", "State", "", 0, 1, 0),),
        rows=max(1, usual_ms // every_ms) * len(orders.machines),
        first_ms=orders.first_ms,
        last_ms=orders.last_ms,
        every_ms=every_ms,
        since_ms=dict.fromkeys(orders.machines, orders.first_ms),
        until_ms=dict.fromkeys(orders.machines, orders.first_ms + usual_ms),
    )


def _map_text(orders: Orders) -> str:
    out = f"\n  - {{kind: removed, at: {json.dumps(orders.out)}}}" if orders.out else ""
    written = f"\ntime_format: {json.dumps(orders.time_format)}" if orders.time_format else ""
    machine, begins, fails = (json.dumps(name) for name in (orders.machine, orders.begins, orders.fails))
    return f"""# Proposed by `pdm-twin init --from-orders`: what the work orders mean.
machine: {machine}{written}
events:
  - {{kind: installed, at: {begins}, source: {machine}}}
  - {{kind: repaired, at: {begins}}}   # as new: another life begins
  - {{kind: failed, at: {fails}, mode: wear}}{out}
"""
