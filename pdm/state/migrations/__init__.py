"""Versions of the schema: one file each in `versions/`, run by Alembic inside one transaction of ours.

A database says in `alembic_version` which it has. One that was made before there were versions has the first.
"""

import logging
from pathlib import Path

import structlog
from sqlalchemy import Connection, inspect, text

from pdm.errors import ConfigurationError, StoreError

FOLDER = Path(__file__).parent
FIRST = "0001"

_log = structlog.stdlib.get_logger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # what was migrated is said here, in one line


def known_versions() -> list[str]:
    """The versions of the schema that this program knows, the newest last."""
    return sorted(path.name[1:5] for path in (FOLDER / "versions").glob("v[0-9]*.py"))


def version_of(connection: Connection) -> str:
    """The version of the schema that a database has; "" for an empty one.

    Raises:
        StoreError: this program does not know it.
    """
    found = _stored(connection)
    known = known_versions()
    if found not in ("", *known):
        raise StoreError(
            f"the state database has schema {found}, this program knows {known[0]} to {known[-1]}: install the newer "
            f"pdm-twin again, or take it back to {known[-1]} with the `pdm-twin migrate` of the newer one"
        )
    return found


def migrate(connection: Connection, version: str) -> str:
    """Bring the schema up, or down, to a version in the transaction of the connection; returns the one before.

    Raises:
        ConfigurationError: there is no such version, or the database belongs to another program.
        StoreError: the database has a version that this program does not know.
    """
    if version not in known_versions():
        raise ConfigurationError(f"expected one of {', '.join(known_versions())}, not {version!r}", key="--to")
    before = version_of(connection)
    if before != version:
        _move(connection, before, version)
    return before


def _move(connection: Connection, before: str, version: str) -> None:
    from alembic import command  # takes longer to import than a start that has nothing to migrate
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    if not before:
        _refuse_foreign_tables(connection)
    elif not inspect(connection).has_table("alembic_version"):
        command.stamp(config, before)
        connection.execute(text("DELETE FROM meta WHERE key = 'schema_version'"))
    (command.downgrade if version < before else command.upgrade)(config, version)
    if before:
        _log.info("state database migrated", before=before, now=version)


def _stored(connection: Connection) -> str:
    tables = inspect(connection)
    if tables.has_table("alembic_version"):
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
    if tables.has_table("meta"):
        return FIRST if connection.execute(_NAMES_ITS_SCHEMA).scalar() == "1" else ""
    return ""


_NAMES_ITS_SCHEMA = text("SELECT value FROM meta WHERE key = 'schema_version'")


def _refuse_foreign_tables(connection: Connection) -> None:
    if found := set(inspect(connection).get_table_names()) - {"alembic_version", "leases"}:
        names = ", ".join(sorted(found)[:3])
        raise ConfigurationError(f"names a database that another program uses (tables {names}, ...)", key="state.url")
