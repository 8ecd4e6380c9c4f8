"""Declared lives as the fleet has corrected them, every correction with what it rests on."""

from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from pdm.state.schema import fleet_lives, next_number

OF_CLASS = ""
"""In the place of a failure mode: the life of the machine itself."""


class FleetLife(NamedTuple):
    """One correction: of a life declared as such for a failure mode of a class (or `OF_CLASS`) [life steps]."""

    class_name: str
    mode: str
    declared_mean: float
    declared_sd: float
    mean: float
    sd: float
    failures: int
    censored: int


_COLUMNS = [fleet_lives.c[name] for name in FleetLife._fields]
_NEWEST_LAST = select(*_COLUMNS).order_by(fleet_lives.c.number)


def fleet_lives_of(connection: Connection) -> tuple[FleetLife, ...]:
    """The newest correction of each declared life."""
    newest = {(row.class_name, row.mode): FleetLife(*row) for row in connection.execute(_NEWEST_LAST)}
    return tuple(newest.values())


def note_fleet_life(connection: Connection, found: FleetLife, from_ms: int) -> None:
    """Go by this life from now on; those before stay in the record."""
    number = next_number(connection, "fleet_life")
    connection.execute(insert(fleet_lives).values(number=number, from_ms=from_ms, **found._asdict()))
