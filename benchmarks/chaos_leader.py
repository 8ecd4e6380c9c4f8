"""The drill of a leader that falls silent: stopped, succeeded, continued."""

import signal
import time
from pathlib import Path

from benchmarks.chaos_terms import Terms, all_of, broker_in, none, timed
from benchmarks.report import Figure
from pdm.state.lease import LEASE_MS
from tests.postgres import Postgres
from tests.system.roles import Process, Site
from tests.system.service import wait_until

SILENCE_S = 60.0
EACH = 100  # readings in each part, half of them of one machine


def c11(folder: Path, _: Terms) -> list[Figure]:
    """The leader is stopped for a minute, another one takes over, and the old one continues."""
    server = Postgres().start()
    try:
        with broker_in(folder / "broker") as broker:
            site = Site(folder / "site", server, broker)
            try:
                return _stopped_and_continued(site)
            finally:
                site.stop()
    finally:
        server.remove()


def _stopped_and_continued(site: Site) -> list[Figure]:
    first, server = site.start("pipeline"), site.start("serve")
    first.wait_for("leading")
    second = site.start("pipeline")
    server.wait_for("serving")
    _tick(site, 0)
    first.send(signal.SIGSTOP)
    began = time.monotonic()
    second.wait_for("leading")
    took_over = time.monotonic() - began
    _tick(site, 1)
    time.sleep(max(0.0, began + SILENCE_S - time.monotonic()))
    first.send(signal.SIGCONT)
    noticed = timed(lambda: first.wait_for("waiting to lead", times=2))
    _tick(site, 2)
    opened, sent = site.alerts(), site.deliveries()
    return [
        Figure("C11.silent", "the leader stopped for", SILENCE_S, "s"),
        Figure("C11.takeover", "until another one leads", took_over, "s", 2 * LEASE_MS / 1000, "lower"),
        Figure("C11.notices", "until the old one knows, once it goes on", noticed, "s", better="lower"),
        all_of("C11.alerts", "alert about what both leaders saw", len(opened), 1),
        none("C11.double_alerts", "of them opened twice", sum(count > 1 for count in opened.values())),
        none("C11.double_messages", "messages put on their way twice", sent - sum(opened.values())),
        all_of("C11.steps", "steps of a machine, each made once", site.steps(), 3 * EACH // 2),
        *_stopped((first, second, server)),
    ]


def _tick(site: Site, part: int) -> None:
    """Send a part, and wait until its steps are there."""
    site.post(range(EACH * part, EACH * (part + 1)))
    wait_until(lambda: site.steps() == EACH * (part + 1) // 2, "nobody ticks")


def _stopped(processes: tuple[Process, ...]) -> list[Figure]:
    return [none("C11.exit", "processes that do not end well", sum(process.stop() != 0 for process in processes))]
