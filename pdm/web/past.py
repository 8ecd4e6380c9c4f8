"""The twin as of an earlier time: its steps folded again, by the function that folds them in service."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm import cohort, twin
from pdm.beliefs import worn
from pdm.installations import Life, fleet_of
from pdm.new_sensors import NewSensors
from pdm.plant import Asset, AssetClass
from pdm.prognosis import MEDIAN, Prognosis, Refusal, forecast
from pdm.services import Services
from pdm.state import schema
from pdm.state.plants import standing_events
from pdm.state.steps import Asked, history, latest_tick
from pdm.state.widenings import widening_of
from pdm.twin import Twin
from pdm.web import snapshot
from pdm.web.forecasts import instant, known, prognosis_view, usual_times
from pdm.web.records import used_life
from pdm.web.shapes import TwinView
from pdm.web.snapshot import Snapshot
from pdm.web.views import asset, sensor_views, wear_views


class Folded(NamedTuple):
    """The twin of one machine as of an earlier time.

    Attributes:
        twin: of this one machine; `complete` is whether its history reaches back to the start of the `life`.
        tick: the last one by then.
        widening: of its bands then.
    """

    twin: Twin
    complete: NDArray[np.bool_]
    life: Life
    tick: int
    widening: float


def past_twin(services: Services, serial: str, as_of_ms: int, known_ms: int | None) -> TwinView:
    """What the twin of one machine was after its steps until `as_of_ms`, as far as they were known by `known_ms`.

    The frame, the heads and the plant file are those of now.

    Args:
        known_ms: plant time by which steps and events had been recorded; None takes all that is known today.

    Raises:
        NotFoundError: no such machine.
    """
    now = snapshot.latest(services)
    machine = asset(now, serial)
    asset_class, model = now.current.plant.class_of(machine), services.models.get(machine.class_name)
    then = folded(services, now, machine, as_of_ms, known_ms)
    prognosis = forecast.forecast(asset_class, model, then.twin, np.array([0]), then.complete, then.widening)
    _refuse(asset_class, prognosis, then.twin, then.life, as_of_ms)
    faults = twin.faults(asset_class, None if model is None else model.frame, then.twin)[0].tolist()
    departure = float(forecast.departures(model, then.twin)[0])
    return _view(now, machine, then, faults, prognosis, departure, as_of_ms)


def folded(services: Services, now: Snapshot, machine: Asset, as_of_ms: int, known_ms: int | None) -> Folded:
    """Fold the steps of a machine until then, arguments as those of `past_twin`."""
    serial, asset_class = machine.serial, now.current.plant.class_of(machine)
    model = services.models.get(asset_class.name)
    with schema.read(services.engine) as connection:
        steps = history(connection, asset_class, [serial], Asked(known_ms=known_ms))
        happened = [event for event in standing_events(connection, known_ms) if event.at_ms <= as_of_ms]
        tick = latest_tick(connection, asset_class.name, known_ms)
        widening = widening_of(connection, asset_class.name, cohort.frame_name(model), as_of_ms)
    fleet = fleet_of(now.current.plant, happened)
    life = fleet.lives.get(serial, now.fleet.lives[serial])
    replaced = NewSensors.of(asset_class, fleet.new_sensors, [serial])
    inspections = cohort.inspections_of(asset_class, fleet, [serial])
    made = twin.start(asset_class, None if model is None else model.frame, 1)
    lived = steps.take((steps.start_ms >= life.from_ms) & (steps.start_ms < life.to_ms) & (steps.end_ms <= as_of_ms))
    twin.fold(asset_class, None if model is None else model.frame, made, lived, replaced, inspections)
    begins, start_known = np.array([life.from_ms], dtype=np.int64), np.array([life.start_known])
    complete = twin.history_complete(asset_class, made, begins, start_known)
    return Folded(made, complete, life, tick, widening)


def _refuse(asset_class: AssetClass, prognosis: Prognosis, folded: Twin, life: Life, as_of_ms: int) -> None:
    """Refuse what a tick at that time would have refused."""
    heard = int(folded.last_row_ms[0])
    this = np.ones(1, dtype=bool)
    if heard >= 0 and as_of_ms - heard > asset_class.stale_after_ms:
        forecast.refuse(prognosis, this, Refusal.STALE)
    if life.to_ms <= as_of_ms:
        forecast.refuse(prognosis, this, Refusal.FAILED)


def _view(
    now: Snapshot,
    machine: Asset,
    then: Folded,
    faults: list[int],
    prognosis: Prognosis,
    departure: float,
    at_ms: int,
) -> TwinView:
    plant, state = now.current.plant, then.twin
    asset_class = plant.class_of(machine)
    exposure, duty_rate = float(state.exposure[0]), float(state.duty_rate[0])
    times = usual_times(plant, asset_class, at_ms)
    return TwinView(
        serial=machine.serial,
        tick=then.tick,
        revision=None,
        made_at=at_ms,
        seen_until=instant(state.last_end_ms[0]),
        steps=int(state.steps[0]),
        exposure=exposure,
        unit=asset_class.life_step.unit,
        used_life=used_life(exposure, float(prognosis.quantiles[0, MEDIAN])),
        complete=bool(then.complete[0]),
        running_share=known(state.share[0]),
        duty_rate=known(duty_rate),
        widening=then.widening,
        departure=known(departure),
        sensors=sensor_views(asset_class, state.latest[0].tolist(), faults),
        wear=wear_views(asset_class, worn(state.wear, 1)[0]),
        prognosis=prognosis_view(asset_class, plant.time_zone, at_ms, prognosis, 0, duty_rate, times),
    )
