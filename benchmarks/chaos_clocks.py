"""Drills of time: clocks that are set, and days that are an hour, or half an hour, longer or shorter."""

import time
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from benchmarks.chaos_terms import Terms, none, timed
from benchmarks.report import Figure
from pdm.plant import Calendar, Shift
from pdm.plant.calendars import working_time
from pdm.schedule import load_pipelines
from pdm.settings import shipped_folder
from tests.system.service import Service, wait_until

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
YEARS = (2026, 2028)


def d10(folder: Path, terms: Terms) -> list[Figure]:
    """Shifts and daily jobs over two years in four zones, one with half an hour of summer time; clocks that are set."""
    pipelines = load_pipelines(shipped_folder("pipelines"))
    daily = [one.trigger for one in pipelines.values() if isinstance(one.trigger, CronTrigger)]
    shifts = runs = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        shifts += _wrong_shifts(zone)
        runs += sum(_days_without_one_run(trigger, zone) for trigger in daily)
    return [
        none("D10.shifts", f"days whose shift does not begin at 06:00 local time, in {len(ZONES)} zones", shifts),
        none("D10.daily", f"local days on which one of {len(daily)} daily jobs does not run exactly once", runs),
        *_set_clocks(folder),
    ]


def _wrong_shifts(zone: ZoneInfo) -> int:
    calendar = Calendar("day", (Shift(tuple(range(7)), 6 * 60, 14 * 60),))
    first, last = (datetime(year, 1, 1, tzinfo=zone) for year in YEARS)
    found = working_time(calendar, zone, int(first.timestamp() * 1000), int(last.timestamp() * 1000))[:, 0]
    local = [datetime.fromtimestamp(start / 1000, zone) for start in found.tolist()]
    days = {one.date() for one in local}
    return sum((one.hour, one.minute) != (6, 0) for one in local) + (last.date() - first.date()).days - len(days)


def _days_without_one_run(trigger: CronTrigger, zone: ZoneInfo) -> int:
    first, last = (datetime(year, 1, 1, tzinfo=zone) for year in YEARS)
    if trigger.get_next_fire_time(None, first) > first + timedelta(days=2):
        return 0  # not daily
    at, days = trigger.get_next_fire_time(None, first), Counter[date]()
    while at < last:
        days[at.astimezone(zone).date()] += 1
        at = trigger.get_next_fire_time(at, at)
    return sum(number != 1 for number in days.values()) + (last.date() - first.date()).days - len(days)


def _set_clocks(folder: Path) -> list[Figure]:
    """The clock of the service is set by an hour and by a day, there and back; libfaketime shows it another time."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if library is None:
        return [Figure("D10.ticks", "ticks when the clock is set", None, reason="apt-get install faketime is needed")]
    offset = folder / "offset"
    offset.write_text("+0\n")
    fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    waits = list[float]()
    with Service(folder / "plant") as service:
        service.start(**fake, FAKETIME_DONT_FAKE_MONOTONIC="1")
        for step in ("+3600", "+0", "+86400", "+0"):
            time.sleep(5)
            ticks = _ticks(service)
            offset.write_text(f"{step}\n")
            waits.append(timed(lambda n=ticks: wait_until(lambda: _ticks(service) > n + 1, "no tick")))  # type: ignore[misc]
        service.stop()
    what = "longest wait for two more ticks, one a second, after the clock was set by 1 h and 1 day, there and back"
    return [Figure("D10.ticks", what, max(waits), "s", bar=60, better="lower")]


def _ticks(service: Service) -> float:
    found = [line for line in service.text("metrics").splitlines() if line.startswith('pdm_runs_total{job="tick"')]
    return sum(float(line.split()[-1]) for line in found if 'outcome="done"' in line)
