"""What one tick concluded about a cohort: the columns that rules, pages, the API and the next tick start from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm import wear
from pdm.columns import Columns, named_columns
from pdm.plant import AssetClass
from pdm.prognosis import Prognosis, forecast
from pdm.wear import WearState
from pdm.windows import Windows


@dataclass(frozen=True, slots=True)
class Beliefs:
    """One row a machine, sorted by serial.

    Attributes:
        serial: `[n]` object array.
        next_ms: start of the first step not yet made, -1 if no reading says that there will be one.
        last_step_ms: start of the latest stored step, -1 before any.
        in_service: whether it has a life that goes on (not failed, not removed).
        complete: whether its history reaches back to the start of its life.
        steps, exposure, share, latest, duty_rate, revision, last_end_ms: see `pdm.twin.Twin`.
        faults: `[n, k]` what is wrong with the sensor behind each column, see `pdm.features.health.Fault`.
        last_reading_ms: start of the latest step that held a reading, -1 before any.
        departure: how far it has departed from its own early life, 1 at the level of the alarm; NaN if unknown.
        wear: `[n, K]` what the twins hold of duty and wear, see `pdm.wear.View`; K is 0 where the class declares none.
        prognosis: remaining life.
        windows: priced intervention window as of this tick.
        published: the window that the feed shows, which moves on material change only.
        pending_ms: `[n, r]` plant time since when each rule's condition holds, -1 if it does not.
        issued_ms: plant time of the latest frozen prognosis, -1 before any.
    """

    serial: NDArray[Any]
    next_ms: NDArray[np.int64]
    last_step_ms: NDArray[np.int64]
    in_service: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    steps: NDArray[np.int64]
    exposure: NDArray[np.float64]
    share: NDArray[np.float64]
    latest: NDArray[np.float64]
    faults: NDArray[np.int8]
    duty_rate: NDArray[np.float64]
    departure: NDArray[np.float64]
    revision: NDArray[np.int64]
    last_end_ms: NDArray[np.int64]
    last_reading_ms: NDArray[np.int64]
    wear: NDArray[np.float64]
    prognosis: Prognosis
    windows: Windows
    published: Windows
    pending_ms: NDArray[np.int64]
    issued_ms: NDArray[np.int64]


def blank(serials: NDArray[Any], asset_class: AssetClass, rules: int) -> Beliefs:
    """What is believed before the first reading of these machines."""
    count = len(serials)
    never = np.full(count, -1, dtype=np.int64)
    return Beliefs(
        serial=serials,
        next_ms=never,
        last_step_ms=never,
        in_service=np.ones(count, dtype=bool),
        complete=np.zeros(count, dtype=bool),
        steps=np.zeros(count, dtype=np.int64),
        exposure=np.zeros(count),
        share=np.full(count, np.nan),
        latest=np.full((count, len(asset_class.columns)), np.nan),
        faults=np.zeros((count, len(asset_class.columns)), dtype=np.int8),
        duty_rate=np.full(count, np.nan),
        departure=np.full(count, np.nan),
        revision=np.zeros(count, dtype=np.int64),
        last_end_ms=never,
        last_reading_ms=never,
        wear=worn(wear.start(asset_class, count), count),
        prognosis=forecast.empty(asset_class, count),
        windows=Windows.none(count),
        published=Windows.none(count),
        pending_ms=np.full((count, rules), -1, dtype=np.int64),
        issued_ms=never,
    )


def worn(state: WearState | None, count: int) -> NDArray[np.float64]:
    """The wear of `count` twins as a column of beliefs."""
    return np.empty((count, 0)) if state is None else state.to_columns()["wear_state"]


def rearranged(
    beliefs: Beliefs, facts: Mapping[str, Any], serials: NDArray[Any], asset_class: AssetClass, rules: Sequence[str]
) -> Beliefs:
    """The same beliefs for the machines, the class and the rules as they are declared now.

    Args:
        facts: what `names_behind` said when they were stored.
    """
    now = names_behind(asset_class, rules)
    if np.array_equal(beliefs.serial, serials) and all(facts.get(name) == value for name, value in now.items()):
        return beliefs
    made, known = to_columns(blank(serials, asset_class, len(rules))), to_columns(beliefs)
    known["faults"] = named_columns(known["faults"], facts["columns"], asset_class.column_names, missing=0)
    known["latest"] = named_columns(known["latest"], facts["columns"], asset_class.column_names)
    known["pending_ms"] = named_columns(known["pending_ms"], facts["rules"], rules, missing=-1)
    if facts["modes"] != now["modes"]:  # shares of other modes say nothing of these: unknown until the next forecast
        known["prognosis.mode"] = np.full((len(beliefs.serial), len(now["modes"])), np.nan)
    if facts.get("wear") != now["wear"]:  # the twins are folded again
        known["wear"] = np.tile(made["wear"][:1], (len(beliefs.serial), 1))
    row_of = {serial: row for row, serial in enumerate(beliefs.serial)}
    kept = np.array([row for row, serial in enumerate(serials) if serial in row_of], dtype=np.int64)
    source = np.array([row_of[serial] for serial in serials if serial in row_of], dtype=np.int64)
    for name, values in made.items():
        made[name] = values.astype(known[name].dtype)
        made[name][kept] = known[name][source]
    return from_columns(made, asset_class.horizon)


def names_behind(asset_class: AssetClass, rules: Sequence[str]) -> dict[str, Any]:
    """What the columns of beliefs are about; stored beside them."""
    return {
        "horizon": asset_class.horizon,
        "rules": [*rules],
        "modes": [mode.name for mode in asset_class.failure_modes],
        "columns": [*asset_class.column_names],
        "wear": wear.layout(asset_class),
    }


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
    plain.setdefault("faults", np.zeros(plain["latest"].shape, dtype=np.int8))  # stored by a version that judged none
    plain.setdefault("departure", np.full(len(plain["serial"]), np.nan))  # by one that knew of none
    plain.setdefault("wear", np.empty((len(plain["serial"]), 0)))  # stored by a version that knew of none
    return Beliefs(
        prognosis=Prognosis(horizon=horizon, **_part(columns, "prognosis")),
        windows=Windows(**_part(columns, "windows")),
        published=Windows(**_part(columns, "published")),
        **plain,
    )


def _part(columns: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.partition(".")[2]: values for key, values in columns.items() if key.startswith(f"{name}.")}
