"""A process that ticks and is killed between any two statements: `python -m tests.system.ticking FOLDER FIRST EVERY`.

It forks a child for each of those statements, kills it there, lets another child do the work again, and says where that
left another state than an uninterrupted run, in `found.json`.
"""

import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select

from pdm import cohort
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.beliefs import to_columns
from pdm.clocks import ReplayClock
from pdm.deliver import CLAIM_MS
from pdm.installations import EventKind, MaintenanceEvent
from pdm.schedule import AlreadyRanError, load_pipelines, run_now
from pdm.services import Services
from pdm.settings import load_settings, shipped_folder
from pdm.state import schema
from pdm.state.cohorts import load_beliefs
from pdm.state.schema import read
from pdm.wiring import open_services
from tests.small_plant import HOUR, START, make_services, readings, report

NOW = START + 396 * HOUR
PIPELINES = load_pipelines(shipped_folder("pipelines"))
TICK, DELIVER = PIPELINES["tick"], PIPELINES["deliver"]
TOLD = ("prognoses", "alerts", "transitions", "interventions", "recommendations", "marks", "events")


class StandingClock(ReplayClock):
    """Both clocks stand still, so that an interrupted run and a whole one write the same times."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.standing_ms = NOW

    def wall_ms(self) -> int:
        return self.standing_ms


def prepare(folder: Path) -> None:
    """Two fans at work for weeks, then readings, a swap reported late and a full checkpoint ahead of the next tick."""
    services = make_services(folder, ReadingLog(folder / "readings"))
    writer = ReadingLogWriter(folder / "readings" / "mqtt.db")
    writer.append({"fan": readings("fan1", range(390))})
    writer.append({"fan": readings("fan2", range(380))})
    for hour in (390, 394):
        run_now(services, TICK, START + hour * HOUR)
    writer.append({"fan": readings("fan1", range(390, 396))})
    writer.append({"fan": readings("fan2", range(380, 396))})
    report(services, MaintenanceEvent("F-3", EventKind.INSTALLED, START + 390 * HOUR, source="fan2"))
    writer.close()
    services.close()


def work(folder: Path, kill_at: int | None = None) -> None:
    """What a start of the service does: name interrupted runs, tick, deliver. Killed before the n-th statement."""
    clock = StandingClock()
    services = open_services(load_settings(given={"data_dir": folder}), clock)
    numbers = itertools.count(1)

    def count(*_: Any) -> None:
        if next(numbers) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "commit"):
        sqlalchemy_event.listen(services.engine, moment, count)
    for pipeline in (TICK, DELIVER):
        with suppress(AlreadyRanError):
            run_now(services, pipeline, NOW)
    clock.standing_ms += CLAIM_MS  # what a killed process had claimed is free again
    run_now(services, DELIVER, clock.wall_ms())
    if kill_at is None:
        (folder / "state.json").write_text(json.dumps(everything(services)))
    services.close()


def everything(services: Services) -> dict[str, Any]:
    """All that the state database holds about what was concluded and told, in comparable form."""
    with read(services.engine) as connection:
        found: dict[str, Any] = {
            name: sorted(map(repr, connection.execute(select(schema.metadata.tables[name])))) for name in TOLD
        }
        stored = load_beliefs(connection, "fan")
        assert stored is not None
        found["beliefs"] = {name: repr(values.tolist()) for name, values in to_columns(stored.beliefs).items()}
        steps, kept = schema.step_batches, schema.checkpoints
        found["steps"] = [row.body.hex() for row in connection.execute(select(steps).order_by(steps.c.tick))]
        newest = connection.execute(select(kept).order_by(kept.c.tick.desc())).first()
        assert newest is not None
        found["checkpoint"] = newest.body.hex()
        told = schema.deliveries.c
        sent = connection.execute(select(told.alert_id, told.ordinal, told.route, told.state, told.message))
        found["deliveries"] = sorted(map(repr, sent))
        runs = connection.execute(select(schema.runs.c.job, schema.runs.c.scheduled_ms, schema.runs.c.outcome))
        found["runs"] = sorted(map(repr, runs))
        found["sound"] = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
    return found


def forked(what: Callable[[], None]) -> int:
    """Do it in a child; its exit code, or the negative number of the signal that ended it."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            what()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepared(folder: Path) -> Path:
    """A folder as `prepare` leaves it, in which every tick keeps a checkpoint."""
    cohort.CHECKPOINT_EVERY_TICKS = 1
    assert forked(lambda: prepare(folder)) == 0
    return folder


def worked(folder: Path) -> Any:
    """All that is in the state after the work was done."""
    assert forked(lambda: work(folder)) == 0
    return json.loads((folder / "state.json").read_text())


def sweep(folder: Path, first: int, every: int) -> dict[str, Any]:
    """Kill before each `every`-th statement from the `first` on, until one is never reached."""
    shutil.copytree(prepared(folder / "prepared"), folder / "whole")
    expected, differing = worked(folder / "whole"), dict[int, list[str]]()
    for statement in itertools.count(first, every):
        shutil.copytree(folder / "prepared", folder / "cut")
        code = forked(lambda n=statement: work(folder / "cut", n))  # type: ignore[misc]
        if code == 0:
            return {"statements": statement, "differing": differing, "alerts": len(expected["alerts"])}
        assert code == -signal.SIGKILL, code
        found = worked(folder / "cut")
        if found != expected:
            differing[statement] = [key for key in expected if found[key] != expected[key]]
        shutil.rmtree(folder / "cut")
    raise AssertionError("unreachable")


if __name__ == "__main__":
    found = sweep(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    (Path(sys.argv[1]) / "found.json").write_text(json.dumps(found))
