"""One process at a time ticks on a state database: twins in the memory of a second one would grow stale unnoticed."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from pdm.errors import ConflictError
from pdm.state.engines import connect, database_file, opened_engine, store_errors

_SOLE_WRITER = 7_365_120_411_860_002  # any number, the same in every version: the advisory lock of a service


@contextmanager
def sole_writer(url: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a state database until the block or this process ends, however it ends.

    What is yielded takes the lock again after a restart of the server, and raises ConflictError if another was faster.

    Raises:
        ConflictError: another process holds it.
        StoreError: the server of the database does not answer.
    """
    file = database_file(url)
    with _lock_on_server(url) if file is None else _lock_beside(file) as look:
        yield look


@contextmanager
def _lock_beside(file: Path) -> Iterator[Callable[[], None]]:
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
        yield lambda: None


@contextmanager
def _lock_on_server(url: str) -> Iterator[Callable[[], None]]:
    with opened_engine(url) as engine, store_errors(), connect(engine) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        _take(connection)
        yield lambda: _take_again(connection)


def _take(connection: Connection) -> None:
    """Take the lock, which the server gives back when the connection ends; once more counts for nothing."""
    if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_SOLE_WRITER})").scalar():
        name = connection.engine.url.database
        raise ConflictError(f"another pdm-twin works on the database {name}; stop it first")


def _take_again(connection: Connection) -> None:
    try:
        _take(connection)
    except OperationalError:  # the server is away: whoever ticks now fails, and we look again
        connection.rollback()
