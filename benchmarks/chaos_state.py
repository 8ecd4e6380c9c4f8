"""Drills of what is kept of a large plant: migrations, killed at each statement, and a backup under load."""

import hashlib
import json
import subprocess
import sys
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from sqlalchemy import MetaData, func, select

from benchmarks.chaos_terms import Terms, all_of, none, timed
from benchmarks.report import Figure
from benchmarks.speed_fleet import HOUR_MS, LiveFleet, trained_model
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ReplayClock
from pdm.errors import StoreError
from pdm.services import Services
from pdm.state import schema
from pdm.state.engines import opened_engine
from pdm.state.migrations import known_versions, version_of
from pdm.state.schema import open_state, read, write
from pdm.tick import tick
from tests.system.migrating import migrated
from tests.system.service import twins

HOURS = 10
FIRST, *_, NEWEST = known_versions()


def c12(folder: Path, terms: Terms) -> list[Figure]:
    """The state of a plant with ten readings of each machine goes down, up, and is killed on the way."""
    fleet = LiveFleet(folder, trained_model(), terms.assets, HOURS)
    fleet.send_hour()
    tick(fleet.services, fleet.now_ms)
    fleet.services.close()
    url = f"sqlite:///{folder / 'state.db'}"
    before, statements, torn = _digests(url), 0, 0
    took = dict[str, float]()
    for version in (FIRST, NEWEST):
        at = _version(url)
        for number in count(1):
            finished = migrated(url, version, number)
            if finished:
                break
            statements += 1
            torn += _version(url) != at
        took[version] = timed(lambda to=version: _there_and_back(url, to))  # type: ignore[misc]
    unlike = [table for table, digest in _digests(url).items() if digest != before.get(table)]
    return [
        Figure("C12.readings", f"readings of {terms.assets:,} machines", terms.assets * (HOURS + 1)),
        Figure("C12.bytes", "state database", (folder / "state.db").stat().st_size / 1e6, "MB"),
        Figure("C12.down", f"from {NEWEST} down to {FIRST} and back", sum(took.values()), "s", better="lower"),
        Figure("C12.kills", "statements before each of which a migration was killed", statements),
        none("C12.torn", "kills after which the schema was another than before", torn),
        none("C12.unlike", " ".join(["tables that differ after down, up and all kills", *unlike]), len(unlike)),
        all_of("C12.newer", "a newer schema is refused", float(_refuses_newer(url)), 1),
    ]


def _there_and_back(url: str, version: str) -> None:
    """From the version that it has to the other one and back."""
    for to in (FIRST if version == NEWEST else NEWEST, version):
        migrated(url, to, 0)


def _digests(url: str) -> dict[str, str]:
    """All rows by table, in short."""
    found, tables = dict[str, str](), MetaData()
    with opened_engine(url) as engine, read(engine) as connection:
        tables.reflect(connection)
        for name, table in tables.tables.items():
            rows = sorted(repr(row._asdict()) for row in connection.execute(select(table)))
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def _version(url: str) -> str:
    with opened_engine(url) as engine, read(engine) as connection:
        return version_of(connection)


def _refuses_newer(url: str) -> bool:
    with opened_engine(url) as engine, write(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    try:
        open_state(url).dispose()
    except StoreError:
        return True
    return False


def c13(folder: Path, terms: Terms) -> list[Figure]:
    """A backup while readings come and ticks run, restored elsewhere."""
    live = Live(folder / "live", terms.assets)
    live.go_on(2)
    before = live.fleet.hour
    live.start()
    backup = timed(lambda: _run(folder / "live", "backup", str(folder / "b.tar")))
    live.stop()
    (folder / "other").mkdir()
    restore = timed(lambda: _run(folder / "other", "restore", str(folder / "b.tar")))
    with ExitStack() as stack:
        services = Services(
            open_state(f"sqlite:///{folder / 'other' / 'state.db'}"),
            ReadingLog(folder / "other" / "readings"),
            ReplayClock(live.fleet.now_ms),
            models=live.fleet.services.models,
        )
        stack.callback(services.close)
        last_ms = int(services.readings.changes("machine", "").latest_ms.max())
        hour = live.fleet.hour - (live.fleet.now_ms - last_ms) // HOUR_MS
        tick(services, live.fleet.start_ms(hour))
        found, expected = twins(services.cohorts["machine"]), live.twins[hour]
        unlike = [name for name in expected if not _same(found[name], expected[name])]
        twice = _told_twice(services)
    live.fleet.services.close()
    size = (folder / "b.tar").stat().st_size / 1e6
    return [
        Figure("C13.bytes", f"backup of {terms.assets:,} machines", size, "MB"),
        Figure("C13.backup", f"backup while {live.fleet.hour - before} hours of readings came", backup, "s"),
        Figure("C13.restore", "restored elsewhere", restore, "s"),
        Figure("C13.seconds", "both together", backup + restore, "s", bar=300, better="lower"),
        none("C13.lost", "hours taken before the backup began that are not in it", max(before - hour, 0)),
        none("C13.unlike", " ".join(["columns of twins unlike those of the plant at that hour", *unlike]), len(unlike)),
        none("C13.twice", "open alerts of one machine, target and rule beyond the first", twice),
    ]


class Live:
    """A plant that goes on by itself, an hour at a time.

    Attributes:
        twins: as they were after the tick of each hour.
    """

    def __init__(self, folder: Path, assets: int) -> None:
        self.fleet = LiveFleet(folder, trained_model(), assets, 2)
        self.twins = dict[int, dict[str, Any]]()
        self._stopping, self._thread = Event(), Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def go_on(self, hours: int) -> None:
        for _ in range(hours):
            self.fleet.send_hour()
            tick(self.fleet.services, self.fleet.now_ms)
            columns = twins(self.fleet.services.cohorts["machine"])
            self.twins[self.fleet.hour] = {name: np.copy(values) for name, values in columns.items()}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.go_on(1)


def _run(data: Path, *command: str) -> None:
    (data / "pdm.yaml").write_text(json.dumps({"data_dir": str(data)}))
    subprocess.run([sys.executable, "-m", "pdm.cli", *command, "--settings", str(data / "pdm.yaml")], check=True)


def _same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _told_twice(services: Services) -> int:
    column = schema.alerts.c
    opened = select(func.count()).where(column.closed_ms.is_(None)).group_by(column.serial, column.target, column.rule)
    with read(services.engine) as connection:
        return sum(number - 1 for number in connection.execute(opened).scalars())
