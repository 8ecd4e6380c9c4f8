"""One process at a time ticks on a state database: twins in the memory of a second one would grow stale unnoticed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pdm.errors import ConflictError
from pdm.state.schema import database_file


@contextmanager
def sole_writer(url: str) -> Iterator[None]:
    """Hold the lock beside a state database until the block or this process ends, however it ends.

    Raises:
        ConflictError: another process holds it.
    """
    file = database_file(url)
    if file is None:
        yield
        return
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
