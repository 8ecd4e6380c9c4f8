"""What runs by itself, and when: the files of `pipelines/`, each with `SCHEDULE` and `run(services, at)`.

`SCHEDULE` is an interval in seconds, a cron line in UTC, or None for what runs only by hand. `at` is plant time. Every
run stands in the ledger once, under the time that it was scheduled for. Runs of one pipeline never overlap; runs that
were due while one went on, or while the machine slept, become one run that catches up.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, time
from types import MappingProxyType, ModuleType
from typing import Any

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import delete

from pdm.errors import ConfigurationError, ConflictError, PdmError
from pdm.services import Services
from pdm.state.ledger import begin_run, end_run
from pdm.state.schema import runs, write

KEPT_MS = 14 * 86_400_000
"""How long runs stay in the ledger: a pipeline that runs every few seconds leaves millions of them a year."""

CLOCK_STEP_S = 5.0
"""A clock that goes so far astray between two looks was set; one that is only brought nearer to the truth was not."""

_EXPECTED = "expected SCHEDULE = seconds (at least 1), a cron line such as '30 2 * * mon' (UTC), or None"

_log = structlog.stdlib.get_logger(__name__)


class AlreadyRanError(ConflictError):
    """This pipeline ran, or runs, for that time."""


@dataclass(frozen=True)
class Pipeline:
    """One file of the folder.

    Attributes:
        trigger: when it runs, as APScheduler has it; None only by hand.
        lock: held while it runs.
    """

    name: str
    run: Callable[[Services, int], object]
    trigger: Any
    lock: Lock = field(default_factory=Lock, compare=False, repr=False)


def load_pipelines(folder: Path, every_ms: Mapping[str, int | None] = MappingProxyType({})) -> dict[str, Pipeline]:
    """The pipelines of a folder by name. Files that begin with `_` are none.

    Args:
        every_ms: intervals that count more than what a file says; None leaves it to the file.

    Raises:
        ConfigurationError: a file cannot be run, or says no schedule.
    """
    files = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
    if not files:
        raise ConfigurationError("holds no pipelines: expected files such as tick.py", file=str(folder))
    return {file.stem: _load(file, every_ms.get(file.stem)) for file in files}


def run_now(services: Services, pipeline: Pipeline, at_ms: int, scheduled_ms: int | None = None) -> str:
    """Run a pipeline once at plant time `at_ms`, after the run of it that is going on; returns what it reports.

    Raises:
        AlreadyRanError: it already ran for that time.
        Exception: whatever the pipeline raised, once it is recorded.
    """
    key = (pipeline.name, at_ms if scheduled_ms is None else scheduled_ms)
    with pipeline.lock:
        with write(services.engine) as connection:
            if not begin_run(connection, *key, services.clock.wall_ms()):
                raise AlreadyRanError(f"{pipeline.name} already ran for that time")
        try:
            report = pipeline.run(services, at_ms)
        except BaseException as error:
            _end(services, key, "failed", f"{type(error).__name__}: {error}")
            raise
        detail = "" if report is None else str(report)
        _end(services, key, "done", detail)
    return detail


class Schedule:
    """Runs the pipelines that have a schedule. A failing one stops neither the others nor its own next run.

    `heartbeat` is called after each good tick while deliveries go well, too.
    """

    def __init__(
        self, services: Services, pipelines: Mapping[str, Pipeline], heartbeat: Callable[[], None] = lambda: None
    ) -> None:
        self._services = services
        self._heartbeat = heartbeat
        self._pipelines = [pipeline for pipeline in pipelines.values() if pipeline.trigger is not None]
        self._started, self._ahead_s = datetime.now(UTC), _ahead_s()
        self._latest: dict[str, datetime] = {}  # when each was last scheduled
        self._broken: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max(len(self._pipelines), 1))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin. What runs at intervals also runs at once, to catch up with the time before."""
        self._started = datetime.now(UTC)
        for pipeline in self._pipelines:
            at_once = {"next_run_time": self._started} if _at_intervals(pipeline) else {}
            self._scheduler.add_job(self._run, pipeline.trigger, args=[pipeline], id=pipeline.name, **at_once)
        self._scheduler.start()

    def follow_clock(self) -> None:
        """Where the clock of the machine was set meanwhile, run at once what runs at intervals, and go on from there:
        set back by an hour, it would not run for an hour."""
        ahead_s = _ahead_s()
        step_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(step_s) < CLOCK_STEP_S:
            return
        _log.warning("the clock was set, or the machine slept", by_seconds=round(step_s))
        now = datetime.now(UTC)
        for pipeline in filter(_at_intervals, self._pipelines):
            self._latest[pipeline.name] = now
            self._scheduler.modify_job(pipeline.name, next_run_time=now)

    def stop(self, patience_s: float = 8.0) -> bool:
        """Start nothing more and wait for what is running; False if that takes longer than `patience_s`."""
        closing = Thread(target=self._scheduler.shutdown, name="stop schedule", daemon=True)
        closing.start()
        closing.join(patience_s)
        return not closing.is_alive()

    def _run(self, pipeline: Pipeline) -> None:
        name, failing = pipeline.name, self._services.failing
        scheduled = self._scheduled_for(pipeline)
        try:
            run_now(self._services, pipeline, self._services.clock.plant_ms(), _milliseconds(scheduled))
        except AlreadyRanError:
            _log.info("pipeline ran elsewhere", pipeline=name)
        except Exception as error:
            if name not in failing:
                _log.exception("pipeline failed", pipeline=name)
            failing[name] = str(error) if isinstance(error, PdmError) else "the log says why"
        else:
            if failing.pop(name, None):
                _log.info("pipeline works again", pipeline=name)
            if name == "tick" and "deliver" not in failing:
                self._heartbeat()

    def _scheduled_for(self, pipeline: Pipeline) -> datetime:
        """The time that this run was scheduled for: APScheduler does not tell a job."""
        latest = self._latest.get(pipeline.name)
        if latest is None and _at_intervals(pipeline):
            passed = [self._started]
        else:
            now = datetime.now(UTC)
            passed = list(_fire_times(pipeline.trigger, latest or self._started, now)) or [now]
        if len(passed) > 1:
            _log.warning("runs missed", pipeline=pipeline.name, count=len(passed) - 1)
        self._latest[pipeline.name] = passed[-1]
        return passed[-1]


def _load(file: Path, every_ms: int | None) -> Pipeline:
    module = _import(file)
    if not hasattr(module, "SCHEDULE"):
        raise ConfigurationError(f"says no schedule: {_EXPECTED}", file=str(file))
    run: Any = getattr(module, "run", None)
    try:
        inspect.signature(run).bind(None, 0)
    except (TypeError, ValueError):
        raise ConfigurationError("has no function to run: expected def run(services, at)", file=str(file)) from None
    schedule = module.SCHEDULE if every_ms is None else every_ms / 1000
    try:
        return Pipeline(file.stem, run, _trigger(schedule))
    except ValueError as error:
        raise ConfigurationError(f"{error}: {_EXPECTED}", file=str(file), key="SCHEDULE") from None


def _import(file: Path) -> ModuleType:
    spec = spec_from_file_location(f"pdm_pipeline_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigurationError("is not a Python file", file=str(file))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look their module up by name
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigurationError(f"is no Python: {error.msg}", file=str(file), line=error.lineno) from None
    except Exception as error:
        raise ConfigurationError(f"cannot be imported: {type(error).__name__}: {error}", file=str(file)) from error
    return module


def _trigger(schedule: object) -> Any:
    """The trigger that a schedule means, in UTC: local times would come twice, or not at all, when clocks change."""
    if schedule is None:
        return None
    if isinstance(schedule, str):
        if any(sign.isdigit() for sign in schedule.split(" ")[-1]):
            raise ValueError(
                "weekdays are written by name (mon-fri), since their numbers mean different days elsewhere"
            )
        return CronTrigger.from_crontab(schedule, timezone=UTC)
    if isinstance(schedule, bool) or not isinstance(schedule, int | float) or not 1 <= schedule < float("inf"):
        raise ValueError(f"{schedule!r} is no schedule")
    return IntervalTrigger(seconds=schedule, timezone=UTC)


def _at_intervals(pipeline: Pipeline) -> bool:
    return isinstance(pipeline.trigger, IntervalTrigger)


def _ahead_s() -> float:
    """By how much the clock of the machine is ahead of one that nobody sets [s]."""
    return time() - monotonic()


def _fire_times(trigger: Any, after: datetime, until: datetime) -> Iterator[datetime]:
    following = trigger.get_next_fire_time(after, after)
    while following is not None and following <= until:
        yield following
        following = trigger.get_next_fire_time(following, following)


def _end(services: Services, key: tuple[str, int], outcome: str, detail: str) -> None:
    job, scheduled_ms = key
    with write(services.engine) as connection:
        end_run(connection, job, scheduled_ms, services.clock.wall_ms(), outcome, detail)
        old = (runs.c.job == job) & (runs.c.scheduled_ms < scheduled_ms - KEPT_MS)
        connection.execute(delete(runs).where(old))


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
