"""Trained models: which one is active, and their files as other hosts get them, byte by byte."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, Row, String, Table, Text, insert, select

from pdm.state.schema import last_number, meta, metadata, next_number

model_files = Table(
    "model_files",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

activations = Table(
    "activations",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("class_name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("reason", Text, nullable=False),
)

_COUNTER = "activation"


def activate(connection: Connection, class_name: str, version: str, at_ms: int, who: str, reason: str) -> None:
    """Have a version speak for its class from now on; what spoke before stays in the record."""
    number = next_number(connection, _COUNTER)
    said = {"class_name": class_name, "version": version, "at_ms": at_ms, "who": who, "reason": reason}
    connection.execute(insert(activations).values(number=number, **said))


def activations_of(connection: Connection, class_name: str) -> list[Row[Any]]:
    """Every activation of a class, the newest first: that is the one in force."""
    of_class = select(activations).where(activations.c.class_name == class_name)
    return list(connection.execute(of_class.order_by(activations.c.number.desc())))


def last_activation(connection: Connection) -> int:
    """The number of the newest activation of all classes, 0 before any: tells whether there was another one."""
    return last_number(connection, _COUNTER)


def note_published(connection: Connection, class_name: str, version: str, at_ms: int) -> None:
    """Write down when a version was trained here; what happened later it has not seen."""
    connection.execute(insert(meta).values(key=_published(class_name, version), value=str(at_ms)))


def published_ms(connection: Connection, class_name: str, version: str) -> int | None:
    """When a version was trained here, None where that is not known."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == _published(class_name, version))).scalar()
    return None if found is None else int(found)


def _published(class_name: str, version: str) -> str:
    return f"published {class_name} {version}"


def shared_versions(connection: Connection, class_name: str) -> list[str]:
    """The versions of a class that can be had here."""
    of_class = select(model_files.c.version).where(model_files.c.class_name == class_name)
    return list(connection.execute(of_class.distinct().order_by(model_files.c.version)).scalars())


def share(connection: Connection, class_name: str, version: str, files: Mapping[str, bytes]) -> None:
    """Have a version here for others; one that is here already stays as it is."""
    if version not in shared_versions(connection, class_name):
        key = {"class_name": class_name, "version": version}
        rows = [{**key, "name": name, "body": body} for name, body in files.items()]
        connection.execute(insert(model_files), rows)


def shared_files(connection: Connection, class_name: str, version: str) -> dict[str, bytes]:
    """The files of a version by name."""
    of_version = (model_files.c.class_name == class_name) & (model_files.c.version == version)
    rows = connection.execute(select(model_files.c.name, model_files.c.body).where(of_version))
    return {name: bytes(body) for name, body in rows}
