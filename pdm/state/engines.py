"""How the state database is reached: a SQLite file on this machine, or a PostgreSQL server.

On both, one transaction writes at a time, from its first statement on, and a reading one sees one moment. What is read
in a writing transaction can so be relied on until it ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError

from pdm.errors import ConfigurationError, ConflictError, DamagedRecordError, StoreError

LOCK_WAIT_MS = 30_000
"""How long a transaction waits for the one that writes."""

RESTART_S = 8.0
"""A server that restarts is waited for this long; one that stays away longer fails at once until it answers again."""

_LOOK_AGAIN_S = 0.1
_WRITERS = 7_365_120_411_860_001  # any number, the same in every version: the advisory lock of the one who writes

_BEGIN_WRITING = f"""
SELECT set_config('idle_in_transaction_session_timeout', '{LOCK_WAIT_MS}', true), pg_advisory_xact_lock({_WRITERS})"""
_LEADS = "SELECT fence FROM leases WHERE name = 'pipeline'"

_CONNECTION_OPTIONS = {
    "application_name": "pdm-twin",
    "connect_timeout": 5,
    "options": f"-c lock_timeout={LOCK_WAIT_MS}",
    # a server that is cut off is noticed within half a minute
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_silent_since: WeakKeyDictionary[Engine, float] = WeakKeyDictionary()


def state_engine(url: str) -> Engine:
    """The state database as another process keeps it: nothing is made, nothing checked.

    Raises:
        ConfigurationError: the URL is none of a database that can hold the state.
    """
    parsed = parsed_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, json_serializer=_json, json_deserializer=orjson.loads)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        parsed,
        json_serializer=_json,
        json_deserializer=orjson.loads,
        connect_args=_CONNECTION_OPTIONS,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
    )
    event.listen(engine, "begin", _begin_postgresql)
    return engine


@contextmanager
def opened_engine(url: str) -> Iterator[Engine]:
    """The same for a short piece of work."""
    engine = state_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def parsed_url(url: str) -> URL:
    """The parts of a URL; PostgreSQL is spoken with by psycopg 3.

    Raises:
        ConfigurationError: it is none of a database that can hold the state. What was given is not shown.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = URL.create("unreadable")
    if parsed.drivername in ("postgresql", "postgresql+psycopg") and parsed.database:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed
    expected = "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    raise ConfigurationError(f"is no URL of a state database: {expected}", key="state.url")


def database_file(url: str) -> Path | None:
    """The file that a database is; None where a server keeps it."""
    parsed = parsed_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def refuse_damaged(url: str) -> None:
    """Read a SQLite file from its first page to its last; a server looks after its own.

    Raises:
        DamagedRecordError: it is damaged, with what to do.
    """
    file = database_file(url)
    if file is None or not file.exists():
        return
    try:
        with opened_engine(url) as engine, store_errors(), connect(engine) as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if found != "ok":
            raise DamagedRecordError(f"the state database is damaged: {found}")
    except DamagedRecordError as error:
        instead = "bring a backup back with `pdm-twin restore FILE --force`, which keeps the damaged file"
        raise DamagedRecordError(f"{error} ({file}); {instead}") from error


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Connection]:
    """A transaction, committed at the end.

    Raises:
        StoreError: the database does not answer or is full; nothing was written.
        DamagedRecordError: the database is damaged.
    """
    with store_errors(), connect(engine) as connection:
        if writes:
            connection = connection.execution_options(writes=True)
        elif engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def connect(engine: Engine) -> Connection:
    """A connection; a server that has just gone away is waited for.

    Raises:
        OperationalError: it does not come back.
    """
    while True:
        try:
            connection = engine.connect()
        except OperationalError:
            since = _silent_since.setdefault(engine, monotonic())
            if engine.dialect.name == "sqlite" or monotonic() - since > RESTART_S:
                raise
            sleep(_LOOK_AGAIN_S)
        else:
            _silent_since.pop(engine, None)
            return connection


@contextmanager
def store_errors() -> Iterator[None]:
    """Errors of the database as errors of a store; what is wrong with a statement stays as it is."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreError(f"the state database does not answer: {_why(error.orig)}") from error
    except NoConnectionFreeError as error:
        raise StoreError("the state database does not answer: all connections to it are in use") from error
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot make sense of, as it stands there
        raise DamagedRecordError("the state database is damaged: text in it is no UTF-8") from error
    except DatabaseError as error:
        if type(error) not in (DatabaseError, InternalError):
            raise
        raise DamagedRecordError(f"the state database is damaged: {error.orig}") from error


def _why(error: BaseException | None) -> str:
    """What a database says; where SQLite finds no room for the index of its log it does not say so itself."""
    full = getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHMSIZE"
    return "the disk is full" if full else str(error)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={LOCK_WAIT_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if _writes(connection):
        connection.exec_driver_sql(_BEGIN_WRITING)
        fence = connection.get_execution_options().get("fence")
        if fence is not None and connection.exec_driver_sql(_LEADS).scalar() != fence:
            raise ConflictError("another pdm-twin has taken over: nothing was written")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("writes", False))
