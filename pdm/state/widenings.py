"""By how much the bands of a model are widened since when, because too few truths lay within them."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from pdm.state.schema import next_number, widenings


def widenings_of(connection: Connection, class_name: str) -> list[Row[Any]]:
    """Every change of a class, the oldest first."""
    of_class = select(widenings).where(widenings.c.class_name == class_name)
    return list(connection.execute(of_class.order_by(widenings.c.number)))


def widening_of(connection: Connection, class_name: str, model: str, at_ms: int | None = None) -> float:
    """The factor that is in force (or was at `at_ms`) for what a model of a class says, 1 where there is no other."""
    of_model = select(widenings.c.factor).where(widenings.c.class_name == class_name, widenings.c.model == model)
    if at_ms is not None:
        of_model = of_model.where(widenings.c.from_ms <= at_ms)
    found = connection.execute(of_model.order_by(widenings.c.number.desc()).limit(1)).scalar()
    return 1.0 if found is None else float(found)


def note_widening(
    connection: Connection, class_name: str, model: str, from_ms: int, factor: float, lives: int, coverage: float
) -> None:
    """Widen by another factor from now on; what was in force before stays in the record."""
    said = {"class_name": class_name, "model": model, "from_ms": from_ms, "factor": factor}
    said |= {"lives": lives, "coverage": coverage}
    connection.execute(insert(widenings).values(number=next_number(connection, "widening"), **said))
