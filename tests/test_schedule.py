"""What runs by itself: files of a folder, each run in the ledger once, failures kept to themselves."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import Engine, select
from structlog.testing import capture_logs

from pdm import schedule
from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError
from pdm.schedule import AlreadyRanError, Pipeline, Schedule, load_pipelines, run_now
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.state.ledger import begin_run
from pdm.state.schema import open_state, read, runs, write
from tests.databases import DATABASES

NOON_MS = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    engine = open_state(DATABASES.url(tmp_path / "state.db"))
    yield cast(Services, SimpleNamespace(failing={}, engine=engine, clock=ServiceClock()))
    engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    return tmp_path / "pipelines"


def pipeline(run: Callable[[], object], every_s: float | None = 1, name: str = "job") -> Pipeline:
    trigger = None if every_s is None else IntervalTrigger(seconds=every_s, timezone=UTC)
    return Pipeline(name, lambda services, at: run(), trigger)


def ledger(engine: Engine, job: str = "job") -> list[Any]:
    """Runs of a job, the oldest first."""
    with read(engine) as connection:
        return list(connection.execute(select(runs).where(runs.c.job == job).order_by(runs.c.started_ms)))


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# Files


def test_the_shipped_pipelines_can_be_loaded_and_say_when_they_run() -> None:
    pipelines = load_pipelines(shipped_folder("pipelines"))
    assert pipelines["tick"].trigger.interval.total_seconds() == 60
    assert pipelines["deliver"].trigger.interval.total_seconds() == 5


def test_a_setting_goes_before_the_interval_of_the_file(folder: Path) -> None:
    (folder / "tick.py").write_text("SCHEDULE = 60\ndef run(services, at): ...\n")
    assert load_pipelines(folder, {"tick": 30_000})["tick"].trigger.interval.total_seconds() == 30
    assert load_pipelines(folder, {"tick": None})["tick"].trigger.interval.total_seconds() == 60


def test_a_cron_line_is_read_in_utc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    (folder / "nightly.py").write_text("SCHEDULE = '30 2 * * mon-fri'\ndef run(services, at): ...\n")
    trigger = load_pipelines(folder)["nightly"].trigger
    saturday = datetime(2026, 10, 24, 12, tzinfo=UTC)  # clocks change the night after
    assert trigger.get_next_fire_time(None, saturday) == datetime(2026, 10, 26, 2, 30, tzinfo=UTC)


def test_what_runs_by_hand_only_has_no_trigger_and_drafts_are_left_out(folder: Path) -> None:
    (folder / "train.py").write_text("SCHEDULE = None\ndef run(services, at): ...\n")
    (folder / "_draft.py").write_text("not python\n")
    assert {name: found.trigger for name, found in load_pipelines(folder).items()} == {"train": None}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def run(services, at): ...\n", "says no schedule: expected SCHEDULE = seconds"),
        ("SCHEDULE = 0\ndef run(services, at): ...\n", "SCHEDULE: 0 is no schedule: expected"),
        ("SCHEDULE = float('nan')\ndef run(services, at): ...\n", "SCHEDULE: nan is no schedule"),
        ("SCHEDULE = True\ndef run(services, at): ...\n", "SCHEDULE: True is no schedule"),
        ("SCHEDULE = '61 * * * *'\ndef run(services, at): ...\n", "SCHEDULE: "),
        ("SCHEDULE = 'often'\ndef run(services, at): ...\n", "SCHEDULE: Wrong number of fields"),
        ("SCHEDULE = '0 2 * * 1'\ndef run(services, at): ...\n", "SCHEDULE: weekdays are written by name"),
        ("SCHEDULE = 60\n", "has no function to run: expected def run"),
        ("SCHEDULE = 60\ndef run(services): ...\n", "has no function to run"),
        ("SCHEDULE = 60\ndef run(services at): ...\n", ":2: is no Python"),
        ("import nothing_of_that_name\n", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_file_that_cannot_run_is_named_with_what_was_expected(folder: Path, text: str, complaint: str) -> None:
    (folder / "wrong.py").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_pipelines(folder)
    assert str(caught.value).startswith(str(folder / "wrong.py"))
    assert complaint in str(caught.value)


def test_a_folder_without_pipelines_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no pipelines"):
        load_pipelines(folder)


# One run


def test_a_run_stands_in_the_ledger_with_its_outcome_and_report(services: Services) -> None:
    assert run_now(services, pipeline(lambda: 42), NOON_MS) == "42"
    (run,) = ledger(services.engine)
    assert (run.scheduled_ms, run.outcome, run.detail) == (NOON_MS, "done", "42")
    assert run.finished_ms >= run.started_ms


def test_a_pipeline_is_given_the_plant_time_asked_for(services: Services) -> None:
    given: list[int] = []
    run_now(services, Pipeline("job", lambda services, at: given.append(at), None), NOON_MS)
    assert given == [NOON_MS]


def test_a_second_run_for_the_same_time_is_refused(services: Services) -> None:
    job = pipeline(lambda: None)
    run_now(services, job, NOON_MS)
    with pytest.raises(AlreadyRanError):
        run_now(services, job, NOON_MS)
    assert len(ledger(services.engine)) == 1


def test_a_failure_is_recorded_and_passed_on(services: Services) -> None:
    def fail() -> None:
        raise ValueError("no such bearing")

    with pytest.raises(ValueError, match="no such bearing"):
        run_now(services, pipeline(fail), NOON_MS)
    (run,) = ledger(services.engine)
    assert (run.outcome, run.detail) == ("failed", "ValueError: no such bearing")


def test_runs_leave_the_ledger_after_two_weeks(services: Services) -> None:
    job, other = pipeline(lambda: None), pipeline(lambda: None, name="other")
    run_now(services, other, NOON_MS)
    for day in range(20):
        run_now(services, job, NOON_MS + day * DAY_MS)
    assert len(ledger(services.engine)) == 15
    assert len(ledger(services.engine, "other")) == 1


def test_two_runs_of_one_pipeline_never_overlap(services: Services) -> None:
    going: list[int] = []
    most: list[int] = []

    def work() -> None:
        going.append(1)
        most.append(len(going))
        time.sleep(0.02)
        going.pop()

    job = pipeline(work)
    runs = [threading.Thread(target=run_now, args=(services, job, NOON_MS + number)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert most == [1, 1, 1, 1]


# The schedule


def test_an_interval_runs_at_once_and_then_each_interval_under_the_time_it_was_scheduled_for(
    services: Services,
) -> None:
    schedule = Schedule(services, {"job": pipeline(lambda: "report")})
    schedule.start()
    wait_for(lambda: len(ledger(services.engine)) >= 3)
    assert schedule.stop()
    runs = ledger(services.engine)
    assert {(run.scheduled_ms - runs[0].scheduled_ms) % 1000 for run in runs} == {0}
    assert {run.outcome for run in runs} == {"done"}
    assert all(run.started_ms >= run.scheduled_ms for run in runs)


@pytest.mark.parametrize("step_s", [-86_400.0, 3_600.0])
def test_a_clock_that_is_set_does_not_stop_what_runs_at_intervals(
    services: Services, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    schedule = Schedule(services, {"job": pipeline(lambda: None, 3_600)})
    schedule.start()
    running = schedule._scheduler._executors["default"]._instances
    wait_for(lambda: len(ledger(services.engine)) == 1 and not any(running.values()))
    schedule.follow_clock()
    ahead_s = time.time() - time.monotonic() + step_s
    monkeypatch.setattr("pdm.schedule._ahead_s", lambda: ahead_s)
    schedule.follow_clock()
    wait_for(lambda: len(ledger(services.engine)) == 2)
    schedule.follow_clock()
    assert schedule.stop()
    assert len(ledger(services.engine)) == 2


def test_a_failing_pipeline_is_logged_once_until_it_works_again_and_stops_no_other(services: Services) -> None:
    attempts: list[int] = []

    def fail_twice() -> None:
        attempts.append(1)
        if len(attempts) <= 2:
            raise ValueError("no such bearing")

    schedule = Schedule(services, {"job": pipeline(fail_twice), "other": pipeline(lambda: None, name="other")})
    with capture_logs() as lines:
        schedule.start()
        wait_for(lambda: services.failing == {"job": "the log says why"})
        wait_for(lambda: len(attempts) >= 3)
        assert schedule.stop()
    assert services.failing == {}
    said = [line["event"] for line in lines if line.get("pipeline") == "job"]
    assert said == ["pipeline failed", "pipeline works again"]
    assert [run.outcome for run in ledger(services.engine)][:3] == ["failed", "failed", "done"]
    assert {run.outcome for run in ledger(services.engine, "other")} == {"done"}


def test_a_run_longer_than_its_interval_is_followed_by_one_that_counts_what_was_missed(services: Services) -> None:
    lasts = iter([2.5])
    schedule = Schedule(services, {"job": pipeline(lambda: time.sleep(next(lasts, 0)))})
    with capture_logs() as lines:
        schedule.start()
        wait_for(lambda: len(ledger(services.engine)) >= 2)
        assert schedule.stop()
    first, second, *_ = ledger(services.engine)
    assert second.started_ms >= first.finished_ms
    intervals = (second.scheduled_ms - first.scheduled_ms) / 1000
    assert intervals >= 3
    assert (lines[0]["event"], lines[0]["count"]) == ("runs missed", intervals - 1)


def test_stopping_waits_for_the_run_that_goes_on_and_starts_no_other(services: Services) -> None:
    begun = threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.5)

    schedule = Schedule(services, {"job": pipeline(work)})
    schedule.start()
    begun.wait(5)
    assert schedule.stop()
    assert [run.outcome for run in ledger(services.engine)] == ["done"]
    time.sleep(1.2)
    assert len(ledger(services.engine)) == 1


def test_stopping_does_not_wait_for_ever(services: Services) -> None:
    begun, released = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        released.wait(10)

    schedule = Schedule(services, {"job": pipeline(work)})
    schedule.start()
    begun.wait(5)
    began = time.monotonic()
    assert not schedule.stop(patience_s=0.2)
    assert time.monotonic() - began < 2
    released.set()
    wait_for(lambda: [run.outcome for run in ledger(services.engine)] == ["done"])


def test_what_runs_by_hand_only_is_never_scheduled(services: Services) -> None:
    schedule = Schedule(services, {"job": pipeline(lambda: None, every_s=None)})
    schedule.start()
    time.sleep(0.1)
    assert schedule.stop()
    assert ledger(services.engine) == []


def test_a_run_that_another_process_has_taken_is_left_to_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    timetable = Schedule(services, {"job": pipeline(lambda: ran.append(1))})
    monkeypatch.setattr(schedule, "_milliseconds", lambda at: NOON_MS)
    with write(services.engine) as connection:
        assert begin_run(connection, "job", NOON_MS, NOON_MS)
    with capture_logs() as lines:
        timetable.start()
        wait_for(lambda: any(line["event"] == "pipeline ran elsewhere" for line in lines))
        assert timetable.stop()
    assert ran == []


def test_the_heart_beats_after_each_good_tick_while_deliveries_go_well(services: Services) -> None:
    beats, wrong = list[str](), set[str]()

    def work(name: str) -> None:
        if name in wrong:
            raise ValueError(name)

    both = {name: pipeline(partial(work, name), name=name) for name in ("tick", "deliver")}
    schedule = Schedule(services, both, lambda: beats.append("beat"))
    heard = []
    for failing in [(), ("deliver",), ("tick",), ()]:
        wrong.clear()
        wrong.update(failing)
        for name in ("deliver", "tick"):
            schedule._run(both[name])
            time.sleep(0.002)  # each run has a time of its own
        heard.append(len(beats))
    assert heard == [1, 1, 1, 2]
