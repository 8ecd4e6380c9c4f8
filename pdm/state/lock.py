"""One process at a time ticks on a state database: twins in the memory of a second one would grow stale unnoticed.

A SQLite file is locked by the process that works on it, however that ends; on a server the process holds a lease.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import structlog

from pdm.errors import ConflictError, StoreError
from pdm.state.engines import database_file, opened_engine
from pdm.state.lease import Lease

_LOOK_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


class Lead:
    """What whoever holds the lock of a state database has in hand.

    Attributes:
        fence: the number that its engine carries on a server; None where the lock itself keeps others out.
    """

    fence: int | None = None

    def check(self) -> None:
        """See that nobody has taken over.

        Raises:
            ConflictError: somebody has.
        """


@contextmanager
def sole_writer(url: str) -> Iterator[Lead | Lease]:
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
        while not _led(lease):
            if stopping.wait(_LOOK_S):
                yield None
                return
        try:
            yield lease
        finally:
            lease.give_back()


def _led(lease: Lease) -> bool:
    try:
        return lease.take() is None
    except StoreError as error:
        _log.warning("waiting for the state database", why=str(error))
        return False


def _take(lease: Lease, database: str) -> None:
    """Take a lease that is free, or that nobody renews."""
    first = rival = lease.take()
    while rival is not None and first is not None:
        if rival != first:
            raise ConflictError(f"another pdm-twin ({rival.holder}) works on the database {database}; stop it first")
        Event().wait(_LOOK_S)
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
