"""The wear of machines over their latest forecasts, as the spark lines of the fleet show it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, case, func, select

from pdm.prognosis import MEDIAN, Refusal
from pdm.services import Services
from pdm.state.schema import prognoses, read

FORECASTS = 96
"""The latest issued forecasts of a machine that its spark line shows."""

POINTS = 32
"""Points of a spark line; more cannot be told apart at its size."""


def wear_of(services: Services, serials: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Used life (0 new, 1 failed) of each machine over its latest forecasts, the oldest first."""
    found: dict[str, list[float]] = defaultdict(list)
    with read(services.engine) as connection:
        for serial, exposure, median in connection.execute(_query(serials)):
            found[serial].append(exposure / (exposure + median) if exposure + median > 0 else 0.0)
    return {serial: _thinned(np.array(found[serial])) for serial in serials}


def _query(serials: Sequence[str]) -> Select[Any]:
    # the database reads the one quantile that is needed; only in a forecast that is not refused is it a number
    spoken = prognoses.c.refusal.in_(("", Refusal.NONE.code))
    median = case((spoken, prognoses.c.quantiles[MEDIAN].as_float()))
    newest = func.row_number().over(partition_by=prognoses.c.serial, order_by=prognoses.c.issued_ms.desc())
    latest = (
        select(
            prognoses.c.serial,
            prognoses.c.issued_ms,
            prognoses.c.exposure,
            median.label("median"),
            newest.label("age"),
        )
        .where(prognoses.c.serial.in_(serials), spoken)
        .subquery()
    )
    shown = select(latest.c.serial, latest.c.exposure, latest.c.median).where(latest.c.age <= FORECASTS)
    return shown.order_by(latest.c.serial, latest.c.issued_ms)


def _thinned(wear: NDArray[np.float64]) -> NDArray[np.float64]:
    evenly = np.linspace(0, len(wear) - 1, min(len(wear), POINTS)).round().astype(np.int64)
    return wear[evenly]
