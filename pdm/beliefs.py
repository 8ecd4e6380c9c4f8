"""What one tick concluded about a cohort: the columns that rules, pages, the API and the next tick start from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.columns import Columns
from pdm.prognosis import Prognosis
from pdm.windows import Windows


@dataclass(frozen=True, slots=True)
class Beliefs:
    """One row a machine, sorted by serial.

    Attributes:
        serial: `[n]` object array.
        next_ms: start of the first step not yet made, -1 before any reading.
        in_service: whether it has a life that goes on (not failed, not removed).
        complete: whether its history reaches back to the start of its life.
        steps, exposure, share, latest, duty_rate, revision, last_end_ms: see `pdm.twin.Twin`.
        last_reading_ms: start of the latest step that held a reading, -1 before any.
        prognosis: remaining life.
        windows: priced intervention window as of this tick.
        published: the window that the feed shows, which moves on material change only.
        pending_ms: `[n, r]` plant time since when each rule's condition holds, -1 if it does not.
        issued_ms: plant time of the latest frozen prognosis, -1 before any.
    """

    serial: NDArray[Any]
    next_ms: NDArray[np.int64]
    in_service: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    steps: NDArray[np.int64]
    exposure: NDArray[np.float64]
    share: NDArray[np.float64]
    latest: NDArray[np.float64]
    duty_rate: NDArray[np.float64]
    revision: NDArray[np.int64]
    last_end_ms: NDArray[np.int64]
    last_reading_ms: NDArray[np.int64]
    prognosis: Prognosis
    windows: Windows
    published: Windows
    pending_ms: NDArray[np.int64]
    issued_ms: NDArray[np.int64]


def to_columns(beliefs: Beliefs) -> Columns:
    """Flat columns to store; nested ones as `prognosis.quantiles`."""
    flat: Columns = {}
    for field in fields(beliefs):
        value = getattr(beliefs, field.name)
        if isinstance(value, np.ndarray):
            flat[field.name] = value
        else:
            parts = ((part.name, getattr(value, part.name)) for part in fields(value))
            flat |= {f"{field.name}.{name}": part for name, part in parts if isinstance(part, np.ndarray)}
    return flat


def from_columns(columns: Mapping[str, NDArray[Any]], horizon: float) -> Beliefs:
    """What `to_columns` stored; `horizon` is the class's [life steps]."""
    plain = {name: values for name, values in columns.items() if "." not in name}
    return Beliefs(
        prognosis=Prognosis(horizon=horizon, **_part(columns, "prognosis")),
        windows=Windows(**_part(columns, "windows")),
        published=Windows(**_part(columns, "published")),
        **plain,
    )


def _part(columns: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.partition(".")[2]: values for key, values in columns.items() if key.startswith(f"{name}.")}
