"""Models that speak once the history of their class is folded, and the twins that are folded so far."""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from pdm.columns import Columns, checksum, pack, unpack, verified
from pdm.errors import DamagedRecordError
from pdm.state.schema import catching_up


class Coming(NamedTuple):
    """A model that was activated at plant time `at_ms`, and is to speak once all machines are `folded`."""

    version: str
    at_ms: int
    who: str
    reason: str
    folded: int
    machines: int

    def __str__(self) -> str:
        return f"catching up: {self.folded} of {self.machines} machines"


_KNOWN = [catching_up.c[name] for name in Coming._fields]


def coming_of(connection: Connection, class_name: str) -> Coming | None:
    """What is to speak for a class next."""
    row = connection.execute(select(*_KNOWN).where(catching_up.c.class_name == class_name)).first()
    return None if row is None else Coming(*row)


def put_coming(connection: Connection, class_name: str, coming: Coming) -> None:
    """Have a model speak once it has caught up; another one that has not yet is given up."""
    drop_coming(connection, class_name)
    connection.execute(insert(catching_up).values(class_name=class_name, tick=0, **coming._asdict()))


def drop_coming(connection: Connection, class_name: str) -> bool:
    """Give up what is catching up; returns whether there was anything."""
    return bool(connection.execute(delete(catching_up).where(catching_up.c.class_name == class_name)).rowcount)


def folded_of(connection: Connection, class_name: str) -> tuple[int, Columns]:
    """The twins that are folded so far and the tick that they are of; none where they are damaged: it begins anew."""
    row = connection.execute(select(catching_up).where(catching_up.c.class_name == class_name)).one()
    try:
        return (row.tick, unpack(verified(row.body, row.crc, "twins that catch up"))) if row.body else (0, {})
    except DamagedRecordError:
        return 0, {}


def store_folded(connection: Connection, class_name: str, coming: Coming, tick: int, columns: Columns) -> bool:
    """Keep the twins that are folded by now; returns whether the model is still asked for."""
    body = pack(columns)
    far = {"tick": tick, "folded": coming.folded, "machines": coming.machines, "body": body, "crc": checksum(body)}
    same = catching_up.c.class_name == class_name, catching_up.c.version == coming.version
    return bool(connection.execute(update(catching_up).where(*same).values(**far)).rowcount)
