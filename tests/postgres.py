"""A real PostgreSQL for tests: a cluster of its own that answers on a socket in a temporary folder, and nowhere else.

It does not wait for the disk, and sorts text by language rather than by code, as most sites have it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from pdm.state.schema import open_state

_NOT_DURABLE = "fsync=off", "synchronous_commit=off", "full_page_writes=off"


class Postgres:
    """One server, on the same socket whenever it is started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pdm-pg-"))  # a path of pytest's is too long for a socket
        self._user = "postgres" if os.geteuid() == 0 else ""  # it refuses to be run by root
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._empty_state = ""
        if self._user:
            shutil.chown(self.folder, self._user)
        locale = ("--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US", "--locale=C")
        self._run("initdb", "--auth=trust", "--username=pdm", "--no-sync", *locale, "-D", self._data)

    def start(self) -> "Postgres":
        arguments = [self._program("postgres"), "-D", self._data, "-k", str(self.folder), "-h", ""]
        for option in (*_NOT_DURABLE, "max_connections=200"):
            arguments += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._as_user(arguments), stdout=log, stderr=log, start_new_session=True)
        self._run("pg_isready", "-q", "-h", str(self.folder), "-t", "30", "-d", "postgres", tries=100)
        return self

    def stop(self) -> None:
        """Ask it to end at once: what was committed is kept, who is connected is cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def new_database(self, template: str = "template0") -> str:
        """The URL of a new database, empty or a copy of another that nobody works on."""
        name = f"state_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def new_state(self) -> str:
        """The URL of a new database with the newest schema and nothing in it."""
        if not self._empty_state:
            self._empty_state = self.new_database()
            open_state(self._empty_state).dispose()
        return self.new_database(database_of(self._empty_state))

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://pdm@/{database}?host={self.folder}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as its administrator."""
        with psycopg.connect(host=str(self.folder), user="pdm", dbname="postgres", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, number)
            self._process.wait(timeout=30)
            self._process = None

    def _as_user(self, arguments: Sequence[str]) -> list[str]:
        return [*(("runuser", "-u", self._user, "--") if self._user else ()), *arguments]

    def _run(self, program: str, *arguments: str, tries: int = 1) -> None:
        command = self._as_user([self._program(program), *arguments])
        for _ in range(tries):
            ended = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
            if ended.returncode == 0:
                return
        raise AssertionError(f"{program}: {ended.stdout}{ended.stderr}")

    @staticmethod
    def _program(name: str) -> str:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), os.environ["PATH"]]))
        assert found, "these tests need PostgreSQL: apt-get install postgresql"
        return found


def database_of(url: str) -> str:
    return str(make_url(url).database)
