"""What moved the forecast of a machine since the last one that was issued: time, another model, or its sensors."""

import numpy as np

from pdm import features, recommend, words
from pdm.cohort import frame_name
from pdm.errors import NotFoundError
from pdm.plant import AssetClass
from pdm.prognosis import Basis, learned
from pdm.prognosis.learned import Driver, Model
from pdm.services import Services
from pdm.web import views
from pdm.web.past import Folded, folded
from pdm.web.shapes import ChangeView, IssuedView, MoverView, TwinView
from pdm.web.snapshot import Snapshot

MOST_MOVERS = 5
_WORTH_SAYING = 0.05
"""A sensor that moved it by less than this share of the strongest one is left out."""


def what_changed(services: Services, now: Snapshot, serial: str) -> ChangeView:
    """What moved the forecast since the newest one that was issued about an earlier step.

    Raises:
        NotFoundError: no such machine, or nothing was issued about an earlier step of this life.
    """
    view = views.asset_of(now, services, serial)
    twin, issued = view.twin, views.issued_in_life(services, now, view)
    earlier = [one for one in issued if twin is not None and twin.seen_until and one.exposure < twin.exposure]
    if twin is None or not earlier:
        raise NotFoundError(f"nothing was forecast about an earlier step of {serial} yet")
    before, machine = earlier[-1], views.asset(now, serial)
    used = twin.exposure - before.exposure
    was, is_ = (None if rul is None else rul.p50 for rul in (before.rul, twin.prognosis.rul))
    model = services.models.get(view.class_name)
    movers: tuple[MoverView, ...] = ()
    if model is not None and twin.prognosis.basis == before.basis == Basis.LEARNED.name.lower():
        asset_class = now.current.plant.class_of(machine)
        ends = [folded(services, now, machine, at, None) for at in (before.issued_at, twin.made_at)]
        movers = _movers(asset_class, *(_drivers(model, end) for end in ends))
    return ChangeView(
        serial=serial,
        since=before.issued_at,
        prognosis_id=before.id,
        unit=twin.unit,
        used=used,
        median_before=was,
        median_now=is_,
        beyond_use=None if was is None or is_ is None else is_ - was + used,
        reasons=_reasons(before, twin, frame_name(model)),
        movers=movers,
    )


def _reasons(before: IssuedView, twin: TwinView, model: str) -> tuple[str, ...]:
    """What changed beside the machine."""
    said = []
    if before.model != model:
        said.append(f"another model speaks: {model}, before it {before.model}")
    if twin.prognosis.refusal_text is not None:
        said.append(f"there is no forecast now: {twin.prognosis.refusal_text}")
    elif before.basis != twin.prognosis.basis:
        said.append(f"it rests on something else: {_plain(twin.prognosis.basis)}, before {_plain(before.basis)}")
    if before.said_without is not None:
        said.append("readings or events came to be known that the earlier forecast was made without")
    if faulty := [sensor.title for sensor in twin.sensors if sensor.fault is not None]:
        said.append(f"{words.listed(faulty)} at fault now")
    return tuple(said)


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _drivers(model: Model, then: Folded) -> list[Driver]:
    if then.twin.features is None:
        return []
    seen = features.emit(model.frame, then.twin.features, np.array([0]))
    return learned.drivers(model, seen, then.complete)[0]


def _movers(asset_class: AssetClass, before: list[Driver], after: list[Driver]) -> tuple[MoverView, ...]:
    """The reasons whose weight changed, the strongest first."""
    was = {driver.column: driver.contribution for driver in before}
    changes = [(driver, driver.contribution - was.get(driver.column, 0.0)) for driver in after]
    ranked = sorted(changes, key=lambda pair: -abs(pair[1]))[:MOST_MOVERS]
    return tuple(
        MoverView(driver.column, recommend.driver_text(asset_class, driver), change)
        for driver, change in ranked
        if change and abs(change) >= _WORTH_SAYING * abs(ranked[0][1])
    )
