"""Rules to begin with: `rules.yaml` for a plant that has none, from what its classes declare."""

from typing import Any

import yaml

from pdm.durations import duration_text
from pdm.plant import AssetClass, FailureMode, Limit, Plant

NOTICES_AHEAD = 3
"""A failure is near within three times the notice of its class; where a step has no duration, within a quarter of the
horizon."""

LIKELY, UNLIKELY = "30 %", "20 %"
"""Probabilities of failure at which the alert opens and closes: apart, or it would come and go."""

STEPS_AT_FAULT = 6
"""A sensor that has been at fault for as many steps should be looked at, where a step has a duration."""

_HEAD = "# Rules to begin with, made from the plant file. What each key means: docs/rules-file.md\n"


def default_rules(plant: Plant) -> str:
    """The text of a rule file, for each class: failure soon, limits crossed, sensors at fault, departure from early
    life, and silence."""
    rules = {name: rule for asset_class in plant.classes.values() for name, rule in _rules_of(asset_class).items()}
    return _HEAD + yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True, width=120)


def _rules_of(asset_class: AssetClass) -> dict[str, dict[str, Any]]:
    name = asset_class.name
    rules: dict[str, dict[str, Any]] = {}
    if asset_class.expected_life is not None or asset_class.failure_modes:
        rules[f"{name}_wear"] = {
            "kind": "failure_probability",
            "title": f"{asset_class.title} likely to fail soon",
            "classes": [name],
            "within": _near(asset_class),
            "above": LIKELY,
            "clear": UNLIKELY,
        }
    for mode in asset_class.failure_modes:
        if mode.limit is not None:
            rules[f"{name}_{mode.name}_limit"] = _limit_rule(asset_class, mode, mode.limit)
    rules[f"{name}_sensors"] = {
        "kind": "sensor_fault",
        "title": "Check this sensor",
        "classes": [name],
        "for": duration_text(STEPS_AT_FAULT * (asset_class.life_step.duration_ms or 0)),
    }
    rules[f"{name}_departure"] = {
        "kind": "departure",
        "title": f"{asset_class.title} departs from its own early life",
        "classes": [name],
    }
    rules[f"{name}_silent"] = {
        "kind": "silent_sensor",
        "title": f"{asset_class.title} sends nothing",
        "classes": [name],
        "for": duration_text(asset_class.stale_after_ms),
    }
    return rules


def _near(asset_class: AssetClass) -> float:
    """Life steps within which a failure is near, two digits."""
    step_ms = asset_class.life_step.duration_ms
    near = NOTICES_AHEAD * asset_class.notice_ms / step_ms if step_ms else asset_class.horizon / 4
    return float(f"{min(max(near, 1.0), asset_class.horizon):.2g}")


def _limit_rule(asset_class: AssetClass, mode: FailureMode, limit: Limit) -> dict[str, Any]:
    step_ms = asset_class.life_step.duration_ms or 0
    side = {"below": limit.below} if limit.above is None else {"above": limit.above}
    return {
        "kind": "sensor_limit",
        "title": f"{mode.title}: limit reached",
        "classes": [asset_class.name],
        "sensor": limit.sensor,
        **side,
        "for": duration_text(step_ms),
    }
