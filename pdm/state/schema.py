"""Tables of the state database, and how to open it. A change of a table needs a version in `migrations/versions/`.

Cohort-wide columns (steps, beliefs, checkpoints) are kept as one packed block a row (`pdm.columns`) with a checksum;
what people see one by one (alerts, prognoses, interventions) are rows. Times are integer milliseconds UTC.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    insert,
    select,
    update,
)

from pdm.errors import StoreError
from pdm.state import migrations
from pdm.state.engines import database_file, opened_engine, state_engine, transaction

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", Text, nullable=False))

counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

plant_versions = Table(
    "plant_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", String, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("plant_text", Text, nullable=False),
    Column("rules_text", Text, nullable=False),
)

cursors = Table(
    "cursors",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("readings", Text, nullable=False),
    Column("marks", BigInteger, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("serial", String, nullable=False),
    Column("earliest_ms", BigInteger, nullable=False),
    Column("why", String, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("mode", String),
    Column("by_serial", String),
    Column("source", String),
    Column("sensor", String),
    Column("note", Text),
    Column("value", Float),
    Column("voided_ms", BigInteger),
    Column("voided_by", String),
    Column("voided_reason", Text),
)

step_batches = Table(
    "step_batches",
    metadata,
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, primary_key=True),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),  # names of the columns of values: the class may change them later
    Column("body", LargeBinary),  # none once the steps have been merged into chunks
    Column("crc", BigInteger),
    Index("step_batches_by_time", "class_name", "recorded_ms"),
)

step_chunks = Table(
    "step_chunks",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("serial", String, primary_key=True),
    Column("last_tick", BigInteger, primary_key=True, autoincrement=False),
    Column("last_recorded_ms", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

beliefs = Table(
    "beliefs",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("tick", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("frame", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("crc", BigInteger, nullable=False),
)

prognoses = Table(
    "prognoses",
    metadata,
    Column("id", String, primary_key=True),
    Column("tick", BigInteger, nullable=False),
    Column("serial", String, nullable=False),
    Column("target", String, nullable=False),
    Column("step_start_ms", BigInteger, nullable=False),
    Column("twin_revision", Integer, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("exposure", Float, nullable=False),
    Column("basis", String, nullable=False),
    Column("refusal", String, nullable=False),
    Column("model", String, nullable=False),
    Column("plant_version", String, nullable=False),
    Column("quantiles", JSON, nullable=False),
    Column("mode", String),
    Column("duty_rate", Float),
    Column("preferred_ms", BigInteger),
    Column("said_without_ms", BigInteger),  # when something older came to be known that this was said without
    Index("prognoses_by_asset", "serial", "issued_ms"),
    Index("prognoses_by_tick", "tick"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("state", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("opened_exposure", Float),
    Column("updated_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    Column("acknowledged_by", String),
    Column("shelved_until_ms", BigInteger),
    Column("title", Text, nullable=False),
    Column("prognosis_id", String),
    Column("plant_version", String, nullable=False),
    Column("facts", JSON, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("severity", String, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("alert_id", String, nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("route", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("message", LargeBinary),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_ms", BigInteger, nullable=False),
    Column("claimed_until_ms", BigInteger),
    Column("result", Text),
)

recommendations = Table(
    "recommendations",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("alert_id", String),
    Column("prognosis_id", String),
    Column("state", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("said_without_ms", BigInteger),
    Column("body", JSON, nullable=False),
)

interventions = Table(
    "interventions",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("updated_ms", BigInteger, nullable=False),
    Column("serial", String, nullable=False, index=True),
    Column("target", String, nullable=False),
    Column("status", String, nullable=False),
    Column("advised", JSON, nullable=False),
    Column("committed", JSON),
    Column("attention", Text),
    Column("external", JSON, nullable=False),
    Column("outcome", JSON),
)

runs = Table(
    "runs",
    metadata,
    Column("job", String, primary_key=True),
    Column("scheduled_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("outcome", String, nullable=False),
    Column("detail", Text),
)

widenings = Table(
    "widenings",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, nullable=False),
    Column("model", String, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("factor", Float, nullable=False),
    Column("lives", Integer, nullable=False),
    Column("coverage", Float, nullable=False),
)

fleet_lives = Table(
    "fleet_lives",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("declared_mean", Float, nullable=False),
    Column("declared_sd", Float, nullable=False),
    Column("mean", Float, nullable=False),
    Column("sd", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("censored", Integer, nullable=False),
)

catching_up = Table(
    "catching_up",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("version", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("tick", BigInteger, nullable=False),
    Column("folded", Integer, nullable=False),
    Column("machines", Integer, nullable=False),
    Column("body", LargeBinary),
    Column("crc", BigInteger),
)

# statements that every tick runs are built once: building one costs as much as running it
_RISE = (
    update(counters)
    .where(counters.c.name == bindparam("counter"))
    .values(value=counters.c.value + bindparam("by"))
    .returning(counters.c.value)
)


def open_state(url: str) -> Engine:
    """Open the state database; made on first use, and brought to the newest version of the schema.

    Raises:
        ConfigurationError: it is no database that can hold the state.
        StoreError: it cannot be opened, or was written by a newer version of this program.
    """
    if (file := database_file(url)) is not None:
        _make_folder(file.parent)
    engine = state_engine(url)
    try:
        with write(engine) as connection:
            migrations.migrate(connection, migrations.known_versions()[-1])
    except BaseException:
        engine.dispose()
        raise
    return engine


def require_newest(connection: Connection) -> None:
    """See that the database has the schema of this program.

    Raises:
        StoreError: it has an older one, or one that this program does not know.
    """
    version, newest = migrations.version_of(connection), migrations.known_versions()[-1]
    if version != newest:
        raise StoreError(
            f"the state database has schema {version or 'none'}, this program needs {newest}: "
            "`pdm-twin migrate`, `up` or `pipeline` brings it there"
        )


def migrate_state(url: str, version: str | None) -> tuple[str, str]:
    """Bring the schema up to a version, or down to it (None: the newest); returns the version before and the one now.

    Raises:
        ConfigurationError: there is no such version.
        StoreError: as `open_state`.
    """
    with opened_engine(url) as engine, write(engine) as connection:
        wanted = version or migrations.known_versions()[-1]
        return migrations.migrate(connection, wanted), wanted


@contextmanager
def opened_state(url: str) -> Iterator[Engine]:
    """The state database for a short piece of work; as `open_state`."""
    engine = open_state(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """A writing transaction, committed at the end: no other one writes meanwhile.

    Raises:
        StoreError: the database did not answer or is full; nothing was written.
    """
    with transaction(engine, writes=True) as connection:
        yield connection


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """A reading transaction: one consistent snapshot.

    Raises:
        StoreError: the database did not answer.
    """
    with transaction(engine, writes=False) as connection:
        yield connection


def next_number(connection: Connection, counter: str) -> int:
    """The next value of a counter that rises inside the writing transaction: revisions, marks, ticks."""
    return next_numbers(connection, counter, 1)


def next_numbers(connection: Connection, counter: str, count: int) -> int:
    """The first of the next `count` values of a counter, which all are taken."""
    last = connection.execute(_RISE, {"counter": counter, "by": count}).scalar()
    if last is None:
        connection.execute(insert(counters).values(name=counter, value=count))
        return 1
    return int(last) - count + 1


def last_number(connection: Connection, counter: str) -> int:
    """The last value that `next_number` gave, 0 before the first."""
    return int(connection.execute(select(counters.c.value).where(counters.c.name == counter)).scalar() or 0)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder of the state database cannot be made: {error}") from None
