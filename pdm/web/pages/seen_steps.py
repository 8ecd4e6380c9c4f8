"""The steps of one machine that a page draws, read once: looking again reads only what ticks have made since."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from pdm.plant import AssetClass
from pdm.services import Services
from pdm.state import schema
from pdm.state.steps import Asked, history, latest_tick, made
from pdm.steps import Steps, laid_over

MACHINES_KEPT = 16


class Seen(NamedTuple):
    """Steps of one machine up to a tick."""

    steps: Steps
    tick: int


@dataclass
class _Kept:
    machines: OrderedDict[tuple[str, tuple[str, ...]], Seen] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept: WeakKeyDictionary[Engine, _Kept] = WeakKeyDictionary()


def seen_steps(services: Services, asset_class: AssetClass, serial: str) -> Steps:
    """What the twin of a machine has seen, all its lives."""
    kept = _kept.setdefault(services.engine, _Kept())
    with kept.lock, schema.read(services.engine) as connection:
        key = serial, asset_class.column_names
        seen = kept.machines[key] = _read_on(connection, asset_class, serial, kept.machines.get(key))
        kept.machines.move_to_end(key)
        if len(kept.machines) > MACHINES_KEPT:
            kept.machines.popitem(last=False)
    return seen.steps


def _read_on(connection: Connection, asset_class: AssetClass, serial: str, before: Seen | None) -> Seen:
    """Add the steps that were made since; those made again stand over what they were."""
    tick = latest_tick(connection, asset_class.name)
    if before is None:
        return Seen(history(connection, asset_class, [serial]), tick)
    new = made(connection, asset_class, [serial], Asked(after_tick=before.tick))
    return Seen(laid_over(before.steps, new) if len(new) else before.steps, tick)
