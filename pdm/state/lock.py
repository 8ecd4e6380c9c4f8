"""One process at a time ticks on a state database: twins in the memory of a second one would grow stale unnoticed.

A SQLite file is locked by the process that works on it, however that ends; on a server the process holds a lease.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import sleep

import structlog

from pdm.errors import ConflictError, StoreError
from pdm.state.engines import database_file, opened_engine
from pdm.state.lease import Lead, Lease

_LOOK_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


@contextmanager
def sole_writer(url: str) -> Iterator[Lead]:
    """Hold the lock of a state database until the block ends.

    Raises:
        ConflictError: another process holds it.
        StoreError: the server of the database does not answer.
    """
    if (file := database_file(url)) is not None:
        with _lock_beside(file):
            yield Lead()
        return
    with opened_engine(url) as engine:
        lease = Lease(engine)
        try:
            _take(lease, str(engine.url.database))
            yield lease
        finally:
            lease.give_back()


@contextmanager
def next_leader(url: str, stopping: Event) -> Iterator[Lease | None]:
    """Wait until nobody leads on a server, then hold the lease until the block ends; None if `stopping` came first."""
    with opened_engine(url) as engine:
        lease = Lease(engine)
        if not _turn_comes(lease, stopping):
            yield None
            return
        try:
            yield lease
        finally:
            lease.give_back()


def _turn_comes(lease: Lease, stopping: Event) -> bool:
    """Wait until the lease is ours, also while the server is away; False if `stopping` came first."""
    away = False
    while True:
        try:
            if lease.take() is None:
                return True
            away = False
        except StoreError as error:
            if not away:
                _log.error("waiting for the state database", why=str(error))
            away = True
        if stopping.wait(_LOOK_S):
            return False


def _take(lease: Lease, database: str) -> None:
    """Take a lease that is free, or that nobody renews."""
    first = rival = lease.take()
    while rival is not None and first is not None:
        if rival != first:
            raise ConflictError(f"another pdm-twin ({rival.holder}) works on the database {database}; stop it first")
        sleep(_LOOK_S)
        rival = lease.take()


@contextmanager
def _lock_beside(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{file}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ConflictError(f"another pdm-twin (process {holder}) works on {file}; stop it first") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
