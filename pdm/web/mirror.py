"""The mirror of the latest readings: what a machine says now, beside its twin and outside the twin's version.

It follows the tail of the reading store while somebody looks, at most once in `LOOK_AGAIN_SECONDS`.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import Engine

from pdm.plant import AssetClass
from pdm.readings import Readings, merge_rows
from pdm.services import Services
from pdm.web import snapshot
from pdm.web.forecasts import known
from pdm.web.shapes import MirrorView
from pdm.web.views import asset

LOOK_AGAIN_SECONDS = 1.0

_FORGET_SECONDS = 60.0
"""Unwatched for longer than this it starts anew: what came meanwhile may be too much to catch up with."""

_AHEAD_MS = 5 * 60_000


class Latest(NamedTuple):
    """The latest value of each sensor of a source, and the time of its latest reading."""

    read_ms: int
    values: dict[str, float]


@dataclass
class _Followed:
    cursors: dict[str, str] = field(default_factory=dict)
    latest: dict[tuple[str, str], Latest] = field(default_factory=dict)
    looked_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


_followed: WeakKeyDictionary[Engine, _Followed] = WeakKeyDictionary()


def mirror_view(services: Services, serial: str) -> MirrorView:
    """What a machine said last.

    Raises:
        NotFoundError: no such machine.
    """
    now = snapshot.latest(services)
    machine = asset(now, serial)
    asset_class = now.current.plant.class_of(machine)
    plant_ms = services.clock.plant_ms()
    source = now.fleet.source_of(serial, plant_ms)
    latest = None if source is None else latest_of(services, asset_class, source, plant_ms)
    values = {} if latest is None else latest.values
    return MirrorView(
        serial=serial,
        sync=_sync(asset_class, latest, plant_ms, services.gone().get(source or "")),
        read_at=None if latest is None else latest.read_ms,
        values={name: known(values.get(name, float("nan"))) for name in asset_class.sensor_names},
    )


def latest_of(services: Services, asset_class: AssetClass, source: str, plant_ms: int) -> Latest | None:
    """The latest values of a source, None where it said nothing for longer than its class takes for stale."""
    followed = _followed.setdefault(services.engine, _Followed())
    key = asset_class.name, source
    with followed.lock:
        _follow(services, followed, asset_class.name)
        if key not in followed.latest:
            begin = plant_ms - asset_class.stale_after_ms
            stored = services.readings.window(asset_class.name, [source], begin, plant_ms + _AHEAD_MS)
            _take(followed, asset_class.name, stored)
        return followed.latest.get(key)


def _follow(services: Services, followed: _Followed, class_name: str) -> None:
    """Read on from where the last look ended."""
    looked = time.monotonic()
    if looked - followed.looked_at > _FORGET_SECONDS:
        followed.cursors.clear()
        followed.latest.clear()
    elif looked - followed.looked_at < LOOK_AGAIN_SECONDS and class_name in followed.cursors:
        return
    followed.looked_at = looked
    followed.cursors.setdefault(class_name, services.readings.latest_cursor())
    for name, cursor in followed.cursors.items():
        while len((tail := services.readings.tail(name, cursor)).readings):
            _take(followed, name, tail.readings)
            cursor = tail.cursor
        followed.cursors[name] = tail.cursor


def _take(followed: _Followed, class_name: str, readings: Readings) -> None:
    """Keep the latest value of each sensor of each source, by the time of the reading."""
    if not len(readings):
        return
    order = np.argsort(readings.time_ms, kind="stable")
    names, group = np.unique(readings.source[order].astype(str), return_inverse=True)
    last = merge_rows(group, np.zeros(len(order), dtype=np.int64), readings.values[order], readings.flags[order])
    times = readings.time_ms[order][last.rows]
    for name, read_ms, values in zip(names.tolist(), times.tolist(), last.values.tolist(), strict=True):
        _put(followed.latest, (class_name, name), int(read_ms), readings.sensors, values)


def _put(
    latest: dict[tuple[str, str], Latest], key: tuple[str, str], read_ms: int, sensors: Sequence[str], values: list[Any]
) -> None:
    said = {sensor: value for sensor, value in zip(sensors, values, strict=True) if not np.isnan(value)}
    before = latest.get(key)
    if before is None:
        latest[key] = Latest(read_ms, said)
    elif read_ms >= before.read_ms:
        latest[key] = Latest(read_ms, {**before.values, **said})
    else:
        latest[key] = Latest(before.read_ms, {**said, **before.values})


def _sync(asset_class: AssetClass, latest: Latest | None, plant_ms: int, gone_ms: int | None) -> str:
    """`gone_ms`: since when the source is gone by its own word; what was measured before may come after it."""
    if latest is None or (gone_ms is not None and gone_ms >= latest.read_ms):
        return "offline"
    return "in_sync" if plant_ms - latest.read_ms <= asset_class.stale_after_ms else "stale"
