"""The state database on each kind of server: one writer at a time, counters, snapshots, and what it says when it is
away, newer, damaged or somebody else's. Its schema comes about by migrations, and by nothing else."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData, event, func, insert, inspect, select, text

from pdm.errors import ConfigurationError, ConflictError, StoreError
from pdm.state import migrations, schema
from pdm.state.engines import state_engine
from pdm.state.lease import leases
from pdm.state.lock import sole_writer
from pdm.state.schema import last_number, next_number, next_numbers, open_state, read, write
from pdm.tick import tick
from tests.databases import DATABASES
from tests.small_plant import HOUR, START, feed, make_services, readings

NEWEST = migrations.known_versions()[-1]
VERSIONS = migrations.known_versions()


@pytest.fixture
def url(tmp_path: Path, database: str) -> str:
    return DATABASES.url(tmp_path / "state.db")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    opened = open_state(url)
    yield opened
    opened.dispose()


@pytest.fixture
def unmade(tmp_path: Path, database: str) -> Iterator[Engine]:
    """A database without tables, which no other test gets after this one."""
    made = state_engine(DATABASES.unmade(tmp_path / "state.db"))
    yield made
    made.dispose()


def versions(engine: Engine) -> str:
    with read(engine) as connection:
        return migrations.version_of(connection)


def go_to(engine: Engine, version: str) -> None:
    with write(engine) as connection:
        migrations.migrate(connection, version)


def everything(engine: Engine) -> dict[str, list[Any]]:
    """All rows of all tables that are there, by table."""
    found = MetaData()
    with read(engine) as connection:
        found.reflect(connection)
        return {
            name: sorted(repr(row._asdict()) for row in connection.execute(select(table)))
            for name, table in found.tables.items()
        }


def live(services: Any, *hours: int) -> None:
    for hour in hours:
        feed(services, readings("fan1", range(hour - 24, hour)), readings("fan2", range(hour - 24, hour)))
        tick(services, START + hour * HOUR)


# Transactions
def test_a_counter_gives_each_number_once_however_many_ask(engine: Engine) -> None:
    given: list[int] = []

    def ask() -> None:
        for _ in range(20):
            with write(engine) as connection:
                given.append(next_number(connection, "revision"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == list(range(1, 161))
    with write(engine) as connection:
        assert (next_numbers(connection, "revision", 5), last_number(connection, "revision")) == (161, 165)


def test_what_a_writer_has_read_still_holds_when_it_writes(engine: Engine) -> None:
    def add_one_more() -> None:
        with write(engine) as connection:
            count = connection.execute(select(func.count()).select_from(schema.meta)).scalar_one()
            connection.execute(insert(schema.meta).values(key=f"{count}", value=""))  # twice the same would be refused

    def add_ten() -> None:
        for _ in range(10):
            add_one_more()

    threads = [threading.Thread(target=add_ten) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(engine) as connection:
        assert connection.execute(select(func.count()).select_from(schema.meta)).scalar() == 60


def test_a_reader_sees_one_moment_whatever_is_written_meanwhile(engine: Engine) -> None:
    with read(engine) as connection:
        assert last_number(connection, "mark") == 0
        with write(engine) as writing:
            next_number(writing, "mark")
        assert last_number(connection, "mark") == 0
    with read(engine) as connection:
        assert last_number(connection, "mark") == 1


def test_a_block_that_fails_writes_nothing(engine: Engine) -> None:
    def fail() -> None:
        with write(engine) as connection:
            next_number(connection, "mark")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with read(engine) as connection:
        assert last_number(connection, "mark") == 0


def test_one_service_at_a_time_works_on_a_database(url: str, engine: Engine) -> None:
    with sole_writer(url) as lead:
        with pytest.raises(ConflictError, match=r"another pdm-twin .*works on .*; stop it first"), sole_writer(url):
            pass
        lead.check()
    with sole_writer(url):
        pass


# Schema
def is_of_the_state(_: object, name: str, *__: object) -> bool:
    return name != leases.name


def test_migrations_make_the_tables_that_the_program_declares(engine: Engine) -> None:
    with read(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": is_of_the_state})
        assert compare_metadata(context, schema.metadata) == []


def test_an_empty_database_is_made_once_however_many_open_it(unmade: Engine) -> None:
    url, failed = unmade.url.render_as_string(hide_password=False), list[BaseException]()

    def open_it() -> None:
        try:
            open_state(url).dispose()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, versions(unmade)) == ([], NEWEST)


def test_down_to_the_first_version_and_up_again_what_both_have_a_place_for_is_kept(
    tmp_path: Path, unmade: Engine
) -> None:
    go_to(unmade, NEWEST)
    services = make_services(tmp_path)
    live(services, 24, 48)
    before = everything(unmade)
    for version in reversed(VERSIONS):
        go_to(unmade, version)
        assert versions(unmade) == version
    go_to(unmade, NEWEST)
    assert everything(unmade) == before
    live(services, 72)
    services.close()


def test_an_event_that_was_taken_back_is_so_in_each_version(unmade: Engine) -> None:
    columns = {"id": "e1", "revision": 1, "serial": "F-1", "kind": "repaired", "at_ms": 5, "recorded_ms": 7, "who": "A"}
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    go_to(unmade, "0001")
    with write(unmade) as connection:
        for key, voided in (("e1", "true"), ("e2", "false")):
            connection.execute(
                text(f"INSERT INTO events ({names}, voided) VALUES ({values}, {voided})"),  # noqa: S608
                columns | {"id": key},
            )
    went = []
    for version in ("0002", "0001", "0002"):
        go_to(unmade, version)
        column = "voided" if version == "0001" else "voided_ms"
        with read(unmade) as connection:
            went.append(connection.execute(text(f"SELECT {column} FROM events ORDER BY id")).scalars().all())  # noqa: S608
    assert went == [[7, None], [True, False], [7, None]]


def test_a_migration_that_breaks_off_anywhere_leaves_the_schema_as_it_was(unmade: Engine) -> None:
    go_to(unmade, "0001")
    before, statement = everything(unmade), 0
    while breaks_off(unmade, statement):
        assert everything(unmade) == before
        statement += 1
    assert versions(unmade) == NEWEST
    assert statement > 10


def breaks_off(engine: Engine, after: int) -> bool:
    """Migrate, and fail after so many statements if there are more."""
    left = iter(range(after))

    def count(*_: Any) -> None:
        if next(left, None) is None:
            raise ZeroDivisionError

    try:
        with write(engine) as connection:
            event.listen(connection, "before_cursor_execute", count)
            migrations.migrate(connection, NEWEST)
    except ZeroDivisionError:
        return True
    return False


def test_merged_steps_do_not_go_down(unmade: Engine) -> None:
    go_to(unmade, NEWEST)
    chunk = {"class_name": "fan", "serial": "F-1", "last_tick": 1, "last_recorded_ms": 1, "columns": [], "crc": 0}
    with write(unmade) as connection:
        connection.execute(insert(schema.step_chunks), chunk | {"body": b""})
    with pytest.raises(StoreError, match="steps have been merged by machine"):
        go_to(unmade, "0001")
    assert versions(unmade) == NEWEST


def test_a_newer_schema_is_refused_with_what_to_do(unmade: Engine) -> None:
    go_to(unmade, NEWEST)
    with write(unmade) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    expected = f"has schema 9999, this program knows 0001 to {NEWEST}: install the newer pdm-twin .* take it back to"
    with pytest.raises(StoreError, match=expected):
        open_state(unmade.url.render_as_string(hide_password=False))


def test_a_database_of_another_program_is_left_as_it_is(unmade: Engine) -> None:
    with write(unmade) as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    with pytest.raises(ConfigurationError, match=r"state\.url: names a database that another program uses"):
        open_state(unmade.url.render_as_string(hide_password=False))
    with read(unmade) as connection:
        assert inspect(connection).get_table_names() == ["orders"]


def test_there_is_no_going_to_a_version_that_does_not_exist(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="--to: expected one of 0001, "):
        go_to(engine, "first")


def test_a_database_made_before_there_were_versions_is_adopted(tmp_path: Path) -> None:
    made = state_engine(f"sqlite:///{tmp_path / 'old.db'}")
    go_to(made, "0001")
    with write(made) as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(insert(schema.meta).values(key="schema_version", value="1"))
        connection.execute(insert(schema.meta).values(key="rest of route x", value="{}"))
    made.dispose()
    adopted = open_state(str(made.url))
    assert versions(adopted) == NEWEST
    with read(adopted) as connection:
        assert [row.key for row in connection.execute(select(schema.meta))] == ["rest of route x"]
    adopted.dispose()
