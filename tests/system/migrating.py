"""A migration that is killed before its n-th statement: `python -m tests.system.migrating URL VERSION N`.

It says at how many statements it came by, if it came to its end.
"""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from pdm.state import migrations
from pdm.state.engines import opened_engine
from pdm.state.schema import write

ROOT = Path(__file__).parents[2]


def migrated(url: str, version: str, kill_at: int) -> int:
    """Migrate in a process that is killed before this statement; 0 if it was, else how many statements there are."""
    command = [sys.executable, "-m", __name__, url, version, str(kill_at)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout.splitlines()[-1]) if done.returncode == 0 else 0


def main(url: str, version: str, kill_at: int) -> int:
    """Migrate to a version; how many statements that took."""
    numbers = itertools.count(1)

    def look(*_: Any) -> None:
        if next(numbers) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with opened_engine(url) as engine:
        for moment in ("before_cursor_execute", "commit"):
            event.listen(engine, moment, look)
        with write(engine) as connection:
            migrations.migrate(connection, version)
    return next(numbers) - 1


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))  # noqa: T201 - read by migrated
