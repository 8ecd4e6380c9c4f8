"""The intervention window as planners and the CMMS read it: one record, every field they ask for. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.plant import Asset, AssetClass, FailureMode, Plant
from pdm.plant.calendars import finish_times
from pdm.prognosis import LEVELS, MEDIAN
from pdm.windows import Bound, InterventionWindow

UNKNOWN_MODE = FailureMode(name="any", title="Failure")
"""What is worked on where no failure mode is known to come first; so none of the declared actions is advised."""

_P10, _P90 = (int(np.argmin(np.abs(LEVELS - level))) for level in (0.1, 0.9))


@dataclass(frozen=True, slots=True)
class Versions:
    """What a window was derived from, so that it can be replayed."""

    prognosis: str
    tick: int
    model: str
    plant: str


def mode_of(asset_class: AssetClass, likely: int) -> FailureMode:
    """The failure mode of that index; -1 is unknown, or the only one that there is."""
    if likely >= 0:
        return asset_class.failure_modes[likely]
    return asset_class.failure_modes[0] if len(asset_class.failure_modes) == 1 else UNKNOWN_MODE


def finishes(
    plant: Plant, asset_class: AssetClass, modes: Sequence[FailureMode], starts_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """When work is done that begins at these starts `[n]`, each against its failure mode."""
    calendar, done = plant.calendar_of(asset_class), starts_ms.copy()
    durations = np.array([mode.duration_ms for mode in modes], dtype=np.int64)
    for duration_ms in np.unique(durations).tolist():
        these = durations == duration_ms
        done[these] = finish_times(calendar, plant.time_zone, starts_ms[these], duration_ms)
    return done


def advised(
    plant: Plant,
    asset: Asset,
    mode: FailureMode,
    window: InterventionWindow,
    finish_ms: int,
    quantiles: NDArray[np.float64],
    at_ms: int,
    versions: Versions,
) -> dict[str, Any]:
    """The record behind one window; amounts in the plant's currency, null without declared costs.

    Args:
        finish_ms: when work is done that begins at the latest start.
        quantiles: `[21]` remaining life [life steps].
    """
    return {
        "serial": asset.serial,
        "functional_location": asset.slot,
        "place": list(asset.place),
        "asset_external": {system: dict(keys) for system, keys in asset.external.items()},
        "failure_mode": mode.name,
        "failure_mode_title": mode.title,
        "mechanism": mode.mechanism,
        "cause": mode.cause,
        "action": mode.action,
        "earliest_start_ms": window.earliest_ms,
        "preferred_start_ms": window.preferred_ms,
        "latest_start_ms": window.latest_ms,
        "latest_finish_ms": finish_ms,
        "duration_hours": mode.duration_ms / 3_600_000,
        "crew": mode.crew,
        "skills": list(mode.skills),
        "parts": list(mode.parts),
        "machine_stopped": mode.machine_stopped,
        "priority": asset.criticality,
        "rul": _rul(plant.class_of(asset), quantiles),
        "failure_probability": {
            "earliest": window.earliest_probability,
            "preferred": window.preferred_probability,
            "latest": window.latest_probability,
        },
        "cost": _cost(window),
        "currency": plant.currency,
        "priced_at_ms": at_ms,
        "bounded_by": {
            "earliest": Bound(window.earliest_bound).code,
            "preferred": Bound(window.preferred_bound).code,
            "latest": Bound(window.latest_bound).code,
        },
        "replay": {
            "prognosis": versions.prognosis,
            "tick": versions.tick,
            "model": versions.model,
            "plant": versions.plant,
        },
        "block": "advisory generation (ISO 13374)",
    }


def attention(committed: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """Why a planner should look again at a window that is already committed; None while the advice still agrees."""
    start = committed["start_ms"]
    if start > body["latest_start_ms"]:
        return "the committed start is later than the latest start now advised"
    if start < body["earliest_start_ms"]:
        return "the committed start is earlier than needed: the machine is now expected to last longer"
    return None


def _rul(asset_class: AssetClass, quantiles: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "p10": float(quantiles[_P10]),
        "p50": float(quantiles[MEDIAN]),
        "p90": float(quantiles[_P90]),
        "unit": asset_class.life_step.unit,
        "horizon": asset_class.horizon,
    }


def _cost(window: InterventionWindow) -> dict[str, float | None]:
    amounts = {
        "now": window.cost_now,
        "earliest": window.earliest_cost,
        "preferred": window.preferred_cost,
        "latest": window.latest_cost,
        "week_later": window.cost_week_later,
        "run_to_failure": window.cost_run_to_failure,
    }
    return {name: None if np.isnan(amount) else round(amount, 2) for name, amount in amounts.items()}
