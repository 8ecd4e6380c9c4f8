"""Where the state of a test stands: in a SQLite file, or on PostgreSQL for the modules that run on both."""

import shutil
from io import BytesIO
from pathlib import Path

from sqlalchemy import Engine, delete

from pdm.state import archive, schema
from pdm.state.schema import opened_state, read, write
from tests.postgres import Postgres

SQLITE, POSTGRESQL = "sqlite", "postgresql"

ON_BOTH = frozenset(
    f"tests.{name}"
    for name in (
        "test_catching_up",
        "test_deliver",
        "test_record",
        "test_respond",
        "test_state",
        "test_tick",
        "web.test_api",
    )
)
"""The modules whose tests run on each kind of database."""


class Databases:
    """The kind that the present test uses, and the server that is started for the first test that needs one."""

    def __init__(self) -> None:
        self.kind = SQLITE
        self._server: Postgres | None = None
        self._urls: dict[Path, str] = {}
        self._passing: set[Path] = set()
        self._own: dict[Path, str] = {}
        self._free: list[str] = []
        self._dumped: dict[Engine, dict[str, bytes]] = {}

    def server(self) -> Postgres:
        if self._server is None:
            self._server = Postgres().start()
        return self._server

    def url(self, file: Path) -> str:
        """The URL of the state database that would be this file."""
        if self.kind == SQLITE:
            return f"sqlite:///{file}"
        if file in self._own:
            return self._own[file]
        if file not in self._urls:
            self._urls[file] = self._empty()
            self._passing |= {file} if file.parent.exists() else set()
        return self._urls[file]

    def unmade(self, file: Path) -> str:
        """The URL of a database without tables that no other test gets; the file's from now on."""
        url = f"sqlite:///{file}" if self.kind == SQLITE else self.server().new_database()
        self._own[file] = url
        return url

    def copy(self, engine: Engine, file: Path) -> str:
        """The URL of a copy, at this file, of a database that nobody writes to."""
        if self.kind == SQLITE:
            file.parent.mkdir(parents=True, exist_ok=True)
            for part in file.parent.glob(f"{file.name}*"):
                part.unlink()
            source = Path(str(engine.url.database))
            for part in source.parent.glob(f"{source.name}*"):  # with its write-ahead log
                shutil.copy(part, file.with_name(part.name.replace(source.name, file.name)))
            return f"sqlite:///{file}"
        if engine not in self._dumped:
            self._dumped[engine] = dumped(engine)
        if file in self._urls:
            self._free.append(self._urls.pop(file))
        with opened_state(url := self.url(file)) as other, write(other) as connection:
            for name, rows in self._dumped[engine].items():
                archive.load(connection, name, BytesIO(rows))
        return url

    def release(self) -> None:
        """The test has ended: what it used may be used again, since a database takes longer to make than to empty."""
        self._free += self._urls.values()
        self._urls.clear()
        self._passing.clear()

    def _empty(self) -> str:
        for file in [file for file in self._passing if not file.parent.exists()]:  # of an example of hypothesis
            self._passing.remove(file)
            self._free.append(self._urls.pop(file))
        if not self._free:
            return self.server().new_state()
        with opened_state(url := self._free.pop()) as engine, write(engine) as connection:
            for table in schema.metadata.sorted_tables:
                connection.execute(delete(table))
        return url

    def close(self) -> None:
        if self._server is not None:
            self._server.remove()


def dumped(engine: Engine) -> dict[str, bytes]:
    """The rows of a state database by table."""
    found = {}
    with read(engine) as connection:
        for name, table in schema.metadata.tables.items():
            file = BytesIO()
            archive.dump(connection, table, file)
            found[name] = file.getvalue()
    return found


DATABASES = Databases()
