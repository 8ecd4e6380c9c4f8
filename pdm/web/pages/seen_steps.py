"""The steps of one machine that a page draws, read once: looking again reads only what ticks have made since."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Connection, Engine, select

from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state import cohorts, schema
from pdm.steps import Steps, laid_over

TICKS = 3_000
"""At most the steps of so many ticks: a page must not cost more the longer a plant runs."""

MACHINES_KEPT = 16


class Seen(NamedTuple):
    """Steps of one machine up to a tick, and whether they reach back to the first tick of its class."""

    steps: Steps
    tick: int
    whole: bool


@dataclass
class _Kept:
    machines: OrderedDict[tuple[str, tuple[str, ...]], Seen] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept: WeakKeyDictionary[Engine, _Kept] = WeakKeyDictionary()


def seen_steps(services: Services, asset_class: AssetClass, serial: str) -> Seen:
    """What the twin of a machine has seen lately, all its lives."""
    kept = _kept.setdefault(services.engine, _Kept())
    with kept.lock, schema.read(services.engine) as connection:
        key = serial, asset_class.column_names
        before = kept.machines.get(key) or _nothing(connection, asset_class)
        seen = kept.machines[key] = _read_on(connection, asset_class, serial, before)
        kept.machines.move_to_end(key)
        if len(kept.machines) > MACHINES_KEPT:
            kept.machines.popitem(last=False)
    return seen


def _nothing(connection: Connection, asset_class: AssetClass) -> Seen:
    """Before the newest `TICKS` ticks that made steps."""
    batches = schema.step_batches
    of_class = select(batches.c.tick).where(batches.c.class_name == asset_class.name)
    tick = connection.execute(of_class.order_by(batches.c.tick.desc()).offset(TICKS).limit(1)).scalar() or 0
    none = np.empty(0, dtype=np.int64)
    values = np.empty((0, len(asset_class.columns)))
    return Seen(Steps(none, none, none, np.empty(0), np.empty(0, dtype=np.int32), values), int(tick), not tick)


def _read_on(connection: Connection, asset_class: AssetClass, serial: str, before: Seen) -> Seen:
    """Add the steps that were made since; those made again stand over what they were."""
    parts, tick = [before.steps], before.tick
    for batch in cohorts.step_batches_after(connection, asset_class, before.tick):
        tick = batch.tick
        mine = batch.columns["serial"] == serial
        if mine.any():
            columns = {name: values[mine] for name, values in batch.columns.items() if name != "serial"}
            parts.append(Steps(row=np.zeros(int(mine.sum()), dtype=np.int64), **columns))
    if len(parts) == 1:
        return before._replace(tick=tick)
    return Seen(laid_over(*parts), tick, before.whole)
