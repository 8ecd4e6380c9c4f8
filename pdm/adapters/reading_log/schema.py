"""Tables of a reading log, and how its file is opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import quote

from pdm.columns import checksum
from pdm.errors import ConfigurationError, DamagedRecordError, StoreError

SUFFIX = ".db"
VERSION = 1

_TABLES = """
CREATE TABLE meta (schema_version INTEGER NOT NULL, name TEXT NOT NULL) STRICT;
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE layouts (id INTEGER PRIMARY KEY, class_name TEXT NOT NULL, sensors TEXT NOT NULL, late INTEGER NOT NULL,
    crc INTEGER NOT NULL) STRICT;
CREATE TABLE batches (id INTEGER PRIMARY KEY AUTOINCREMENT, layout INTEGER NOT NULL, committed_ms INTEGER NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, rows INTEGER NOT NULL, body_crc INTEGER NOT NULL,
    crc INTEGER NOT NULL) STRICT;
CREATE TABLE bodies (batch INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, topic TEXT NOT NULL,
    payload BLOB NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE imports (digest TEXT PRIMARY KEY, name TEXT NOT NULL, rows INTEGER NOT NULL, bad_rows INTEGER NOT NULL,
    finished INTEGER NOT NULL) STRICT;
"""
_ADDED = """CREATE TABLE IF NOT EXISTS reached (digest TEXT NOT NULL, name TEXT NOT NULL, time_ms INTEGER NOT NULL,
    PRIMARY KEY (digest, name)) STRICT, WITHOUT ROWID"""  # a table that only writers know needs no other version

# bodies stand in a table of their own, so that the heads of thousands of batches lie side by side

SESSIONS_LOST = "sessions_lost"
DROPPED = "dropped_batches"
DROPPED_MS = "dropped_committed_ms"
"""Counters of a log: up to which batch, and which time of commit, it has gone into files and been dropped."""

_PAGE_BYTES = 16_384
_LARGE_PAGE_BYTES = 65_536
_CACHE_KIB = 16_000  # a commit of 10,000 rows goes to the disk once, not in parts
_CHECKPOINT_BYTES = 16_384_000  # of log between two checkpoints: small commits seldom pay for one
_WAIT_S = 5.0


class CompactedMeanwhileError(Exception):
    """What was to be read has gone into a file, or from one file into another: read again from the beginning."""


class Layout(NamedTuple):
    """The class and the value columns of a batch; late batches stand apart."""

    class_name: str
    sensors: tuple[str, ...]
    late: bool


class Head(NamedTuple):
    """What is known of a batch without opening it."""

    id: int
    layout: int
    committed_ms: int
    first_ms: int
    last_ms: int
    rows: int
    body_crc: int


def row_crc(*fields: object) -> int:
    """Checksum of the fields of a row, of whatever type damage has made them."""
    return checksum(repr(fields).encode())


def open_to_write(path: Path, *, large: bool = False) -> tuple[sqlite3.Connection, str]:
    """A connection that alone writes (and so alone checkpoints) this log, made if there is none; and its name."""
    with connection(path, "rwc") as db:
        page_bytes = _LARGE_PAGE_BYTES if large else _PAGE_BYTES
        db.execute(f"PRAGMA page_size = {page_bytes}")  # of a new log; one that is there keeps its own
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_BYTES // page_bytes}")
        name = _name_of(db, path) or _create(db, path)
        db.execute(_ADDED)
        return db, name


def open_to_read(path: Path) -> tuple[sqlite3.Connection, str] | None:
    """A read-only connection and the name of the log; None while its writer is still making it."""
    with connection(path, "ro") as db:
        db.text_factory = lambda text: text.decode(errors="replace")  # damaged text fails its checksum, not the reader
        if (name := _name_of(db, path)) is not None:
            return db, name
    db.close()
    return None


@contextmanager
def connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a log; it stays open unless setting it up fails."""
    with store_errors(path):
        uri = f"file:{quote(str(path))}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            yield db
        except BaseException:
            db.close()
            raise


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Errors of SQLite as errors of a store, naming the log."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise DamagedRecordError(f"reading log {path.name} is damaged or not a reading log: {error}") from error
        raise StoreError(f"reading log {path.name}: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise DamagedRecordError(f"reading log {path.name} is damaged: {error}") from error


def _name_of(db: sqlite3.Connection, path: Path) -> str | None:
    if db.execute("PRAGMA page_count").fetchone()[0] <= 1:
        return None  # no table yet
    version, name = db.execute("SELECT schema_version, name FROM meta").fetchone() or (None, None)
    if version != VERSION:
        raise ConfigurationError(f"has schema version {version}, this release reads version {VERSION}", file=path.name)
    return str(name)


def _create(db: sqlite3.Connection, path: Path) -> str:
    """A log keeps its random name in backups and copies, so that a cursor never continues in another log."""
    name = f"{path.stem}-{token_hex(4)}"
    db.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES (?, ?)", (VERSION, name))
    db.execute("COMMIT")
    return name
