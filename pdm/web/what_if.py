"""A change of duty, answered from the live twin of one machine. Nothing is written."""

from collections.abc import Sequence

import numpy as np

from pdm.beliefs import Beliefs
from pdm.durations import HOUR_MS
from pdm.errors import NotFoundError
from pdm.plant import AssetClass
from pdm.plant.marked_yaml import did_you_mean
from pdm.prognosis import Prognosis, Refusal
from pdm.recommend import refusal_text
from pdm.respond import RequestError
from pdm.scenario import Branch, Duty, Stretch, branched, duty_columns, duty_of
from pdm.services import Services
from pdm.web import views
from pdm.web.forecasts import known, prognosis_view, usual_times, window_view
from pdm.web.shapes import BeyondView, BranchView, EffectView, WhatIfView
from pdm.web.snapshot import Snapshot
from pdm.windows import Windows, advice

NO_DUTY_EFFECT = "no_duty_effect_known"
_NO_LAW = "its class declares no law of stress: nobody has said how duty changes its life; declaring one lifts this"


def what_if(services: Services, now: Snapshot, serial: str, profile: Sequence[Stretch]) -> WhatIfView:
    """What these duties from now on, one after another, would mean for a machine.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
        RequestError: the duty is of something that no law of stress is of.
    """
    machine = views.asset(now, serial)
    of_class = now.classes[machine.class_name]
    beliefs, row = views.belief_of(of_class, serial)
    if beliefs is None or of_class.stored is None:
        raise NotFoundError(f"no tick has seen {serial} yet")
    asset_class, stored = of_class.asset_class, of_class.stored
    refusal = Refusal(int(beliefs.prognosis.refusal[row]))
    if refusal != Refusal.NONE:
        return _refused(serial, stored.tick, stored.at_ms, refusal.code, refusal_text(refusal))
    if not duty_columns(asset_class) or not beliefs.wear.shape[1]:
        return _refused(serial, stored.tick, stored.at_ms, NO_DUTY_EFFECT, _NO_LAW)
    for stretch in profile:
        _check(asset_class, stretch.duty)
    rate, prognosis = float(beliefs.duty_rate[row]), _of_row(beliefs, row)
    widening = views.widening_in(of_class)
    branch = branched(asset_class, prognosis, beliefs.wear[row], beliefs.latest[row], rate, profile, widening)
    today = _view(services, now, asset_class, Branch(prognosis, rate, 1.0, ()), stored.at_ms)
    scenario = _view(services, now, asset_class, branch, stored.at_ms)
    return WhatIfView(
        serial=serial,
        tick=stored.tick,
        made_at=stored.at_ms,
        refusal=None,
        refusal_text=None,
        faster=known(branch.stress),
        beyond=tuple(BeyondView(*one) for one in branch.beyond),
        today=today,
        scenario=scenario,
        difference=_difference(today, scenario, stored.at_ms),
    )


def _check(asset_class: AssetClass, duty: Duty) -> None:
    """The duty says something, of columns that a law is of, and a factor only where one means something."""
    columns = duty_columns(asset_class)
    if not duty_of(duty):
        raise RequestError("duty", f"expected a duty or a factor of {', '.join(columns)}")
    for name in sorted(duty_of(duty)):
        if name not in columns:
            raise RequestError("duty", f"no law of stress is of {name!r}{did_you_mean(name, columns)}")
    for name in sorted(duty.factor):
        if name in duty.value:
            raise RequestError("factor", f"{name} has a duty already: expected one of the two")
        if not columns[name]:
            raise RequestError("factor", f"a factor of {name} means nothing: expected its value in duty")


def _of_row(beliefs: Beliefs, row: int) -> Prognosis:
    """The prognosis of one machine."""
    said, at = beliefs.prognosis, slice(row, row + 1)
    return Prognosis(said.quantiles[at], said.horizon, said.basis[at], said.refusal[at], said.mode[at])


def _view(services: Services, now: Snapshot, asset_class: AssetClass, branch: Branch, at_ms: int) -> BranchView:
    plant, rate = now.current.plant, np.array([branch.duty_rate])
    model = services.models.get(asset_class.name)
    windows: Windows = advice.windows_of(plant, asset_class, model, branch.prognosis, rate, at_ms)
    times = usual_times(plant, asset_class, at_ms)
    prognosis = prognosis_view(asset_class, plant.time_zone, at_ms, branch.prognosis, 0, branch.duty_rate, times)
    return BranchView(prognosis, window_view(windows, 0, plant.currency))


def _difference(today: BranchView, scenario: BranchView, at_ms: int) -> EffectView:
    before, after = _figures(today, at_ms), _figures(scenario, at_ms)
    pairs = {name: (before[name], after[name]) for name in before}
    return EffectView(
        **{name: None if was is None or then is None else then - was for name, (was, then) in pairs.items()}
    )


def _figures(branch: BranchView, at_ms: int) -> dict[str, float | None]:
    """What two branches are compared by."""
    rul, rate, window = branch.prognosis.rul, branch.prognosis.duty_rate, branch.window
    return {
        "median_hours": rul.p50 / rate if rul is not None and rate else None,
        "risk_week": next((risk.probability for risk in branch.prognosis.risks if risk.name == "week"), None),
        "preferred_hours": None if window is None else (window.preferred.start - at_ms) / HOUR_MS,
        "cost": None if window is None else window.preferred.cost,
    }


def _refused(serial: str, tick: int, at_ms: int, code: str, text: str) -> WhatIfView:
    return WhatIfView(serial, tick, at_ms, code, text, None, (), None, None, None)
