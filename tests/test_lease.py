"""Who leads on a PostgreSQL that several processes reach, and what one that fell silent may still write."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Thread

import pytest
from sqlalchemy import Engine

from pdm.errors import ConflictError
from pdm.state import lease, lock
from pdm.state.engines import opened_engine
from pdm.state.lease import Lease
from pdm.state.lock import next_leader, sole_writer
from pdm.state.schema import last_number, next_number, read, write
from tests.databases import DATABASES


@pytest.fixture
def url() -> str:
    return DATABASES.server().new_state()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    with opened_engine(url) as opened:
        yield opened


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_MS", 400)
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lock, "_LOOK_S", 0.05)


def fallen_silent(engine: Engine) -> Lease:
    """A lease that nobody renews, as of a process that was stopped."""
    silent = Lease(engine)
    silent._ending.set()
    assert silent.take() is None
    return silent


@pytest.mark.usefixtures("short")
def test_who_leads_renews_and_keeps_others_waiting(url: str, engine: Engine) -> None:
    with sole_writer(url) as lead:
        other = Lease(engine)
        deadline = time.monotonic() + 3 * lease.LEASE_MS / 1000
        while time.monotonic() < deadline:
            assert other.take() is not None
            time.sleep(0.05)
        lead.check()


@pytest.mark.usefixtures("short")
def test_a_lease_given_back_is_taken_at_once_with_a_higher_number(url: str) -> None:
    fences = []
    for _ in range(3):
        with sole_writer(url) as lead:
            fences.append(lead.fence)
    assert fences == [1, 2, 3]


@pytest.mark.usefixtures("short")
def test_a_lease_that_nobody_renews_lapses_and_its_old_holder_writes_nothing_more(url: str, engine: Engine) -> None:
    old = fallen_silent(engine)
    fenced = engine.execution_options(fence=old.fence)
    with write(fenced) as connection:
        assert next_number(connection, "tick") == 1
    with sole_writer(url) as new:
        assert new.fence == 2
        with pytest.raises(ConflictError, match="has taken over: nothing was written"), write(fenced) as connection:
            next_number(connection, "tick")
        with write(engine.execution_options(fence=new.fence)) as connection:
            assert next_number(connection, "tick") == 2
    with read(fenced) as connection:  # looking does no harm
        assert last_number(connection, "tick") == 2


@pytest.mark.usefixtures("short")
def test_who_comes_back_after_too_long_learns_that_another_leads(
    url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Lease(engine)
    assert stopped.take() is None
    hold_for, waiting = stopped._hold_for, Event()
    monkeypatch.setattr(stopped, "_hold_for", lambda ms: waiting.wait() and hold_for(ms))
    with sole_writer(url):
        waiting.set()
        assert stopped.lost.wait(10)
        with pytest.raises(ConflictError, match="another pdm-twin has taken over"):
            stopped.check()
    stopped.give_back()


@pytest.mark.usefixtures("short")
def test_of_many_that_wait_one_leads_at_a_time_until_all_have_led(url: str) -> None:
    at_once, most, led = list[int](), list[int](), list[int | None]()

    def wait_and_lead() -> None:
        with next_leader(url, Event()) as leading:
            assert leading is not None
            at_once.append(1)
            most.append(len(at_once))
            time.sleep(0.05)
            at_once.pop()
            led.append(leading.fence)

    threads = [Thread(target=wait_and_lead) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (led, max(most)) == ([1, 2, 3, 4], 1)


@pytest.mark.usefixtures("short")
def test_who_waits_stops_when_asked(url: str) -> None:
    stopping = Event()
    stopping.set()
    with sole_writer(url), next_leader(url, stopping) as leading:
        assert leading is None


def test_who_leads_is_named_to_whoever_may_not(url: str, short: None) -> None:
    with ExitStack() as stack:
        stack.enter_context(sole_writer(url))
        with pytest.raises(ConflictError, match=r"another pdm-twin \(process \d+ on .+\) works on the database"):
            stack.enter_context(sole_writer(url))
