"""Trained models as processes on other hosts get them: the files of a model folder, byte by byte."""

from collections.abc import Mapping

from sqlalchemy import Column, Connection, LargeBinary, String, Table, insert, select

from pdm.state.schema import metadata

model_files = Table(
    "model_files",
    metadata,
    Column("class_name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)


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
