"""The daily job: whole days go into files, old readings go, steps stay."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pdm.adapters.reading_log import LogCompactor, LogThinner, ReadingLog, ReadingLogWriter
from pdm.clocks import ReplayClock
from pdm.compact import GRACE_MS, compact
from pdm.errors import ConfigurationError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.plant.file import parse_plant
from pdm.services import Services
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import read, write
from pdm.state.steps import history
from pdm.tick import tick
from tests.small_plant import HOUR, PLANT, RULES, START, make_services, readings, report

DAY = 24 * HOUR
KEPT = PLANT.replace("    stale_after: 2 d\n", "    stale_after: 2 d\n    keep_readings: 9 d\n")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ReadingLogWriter]:
    with closing(ReadingLogWriter(tmp_path / "readings" / "http.db", clock=lambda: START)) as writer:
        yield writer


@pytest.fixture
def services(tmp_path: Path, writer: ReadingLogWriter) -> Iterator[Services]:
    made = make_services(tmp_path, ReadingLog(writer.path.parent))
    made.compactor = LogCompactor(writer.path.parent)
    with write(made.engine) as connection:
        store_plant(connection, KEPT, RULES, START)
    yield made
    made.close()


def steps_of(services: Services) -> list[Any]:
    with read(services.engine) as connection:
        steps = history(connection, current_plant(connection).plant.classes["fan"], ["F-1"])
    return [steps.start_ms.tolist(), steps.count.tolist(), np.nan_to_num(steps.values).tolist()]


def days_left(services: Services) -> list[int]:
    window = services.readings.window("fan", ["fan1"], 0, 2**62)
    return sorted({(time - START) // DAY for time in window.time_ms.tolist()})


def test_a_run_compacts_removes_old_readings_and_keeps_every_step(services: Services, writer: ReadingLogWriter) -> None:
    writer.append({"fan": readings("fan1", range(12 * 24))})
    at_ms = START + 12 * DAY
    tick(services, at_ms)
    before = steps_of(services)
    assert str(compact(services, at_ms)) == "1 batch into 12 files, 3 removed"
    assert days_left(services) == list(range(3, 12))
    tick(services, at_ms + HOUR)
    assert steps_of(services)[1][: 12 * 24] == before[1]
    assert str(compact(services, at_ms)) == "0 batches into 0 files, 0 removed"


def test_in_front_of_another_store_a_run_drops_what_it_has(services: Services, writer: ReadingLogWriter) -> None:
    writer.append({"fan": readings("fan1", range(48))})
    services.compactor = LogThinner(writer.path.parent, services.readings.latest_cursor)
    assert str(compact(services, START)) == "1 batch dropped after forwarding, 0 removed"
    assert days_left(services) == []


def test_nothing_is_removed_before_its_steps_are_made(services: Services, writer: ReadingLogWriter) -> None:
    writer.append({"fan": readings("fan1", range(12 * 24))})
    assert compact(services, START + 12 * DAY).removed == 0  # type: ignore[union-attr]
    tick(services, START + 2 * DAY)
    assert compact(services, START + 12 * DAY).removed == 0  # type: ignore[union-attr]
    assert days_left(services) == list(range(12))


def test_an_event_older_than_the_readings_that_are_kept_leaves_the_steps_as_they_were_made(
    services: Services, writer: ReadingLogWriter
) -> None:
    writer.append({"fan": readings("fan1", range(12 * 24))})
    at_ms = START + 12 * DAY
    tick(services, at_ms)
    compact(services, at_ms)
    before = steps_of(services)
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, START + DAY, mode="belt"))
    tick(services, at_ms + 1)
    assert steps_of(services) == before


def test_history_that_is_older_than_the_readings_that_are_kept_still_becomes_steps(
    services: Services, writer: ReadingLogWriter
) -> None:
    writer.append({"fan": readings("fan1", range(24))})
    tick(services, START + 30 * DAY)
    assert len(steps_of(services)[0]) == 30 * 24


class FixedClock(ReplayClock):
    """Wall time stands still."""

    def wall_ms(self) -> int:
        return START + DAY + GRACE_MS


def test_only_days_that_are_over_are_compacted(services: Services, tmp_path: Path) -> None:
    services.clock = FixedClock(START)
    times = iter([START + DAY + GRACE_MS - 1, START + DAY + GRACE_MS])
    with closing(ReadingLogWriter(tmp_path / "readings" / "mqtt.db", clock=lambda: next(times))) as writer:
        for hour in range(2):
            writer.append({"fan": readings("fan1", [hour])})
    assert compact(services, START).batches == 1  # type: ignore[union-attr]


def test_where_readings_are_in_another_store_nothing_is_compacted(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    assert compact(services, START) is None
    services.close()


def test_a_retention_that_steps_would_suffer_from_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"keep_readings: steps are made again .* at least 193 h"):
        parse_plant(KEPT.replace("9 d", "8 d"))
    assert parse_plant(KEPT).classes["fan"].keep_readings_ms == 9 * DAY
    assert parse_plant(PLANT).classes["fan"].keep_readings_ms is None
