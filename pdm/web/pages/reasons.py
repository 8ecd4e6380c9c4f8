"""Why a forecast is what it is, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pdm import cohort, features, recommend, words
from pdm.cohort import Cohort
from pdm.features import FeatureState
from pdm.features.frame import Floats
from pdm.learn.model_card import false_alarms
from pdm.plant import AssetClass, exposure
from pdm.prognosis import departing, learned
from pdm.prognosis.learned import Model, Origin
from pdm.services import Services
from pdm.state.schema import read
from pdm.web import charts, snapshot
from pdm.web.shapes import AssetView, SensorView, TwinView, WearView
from pdm.web.snapshot import Snapshot

MOST_REASONS = 5
"""Reasons shown, the strongest first."""

_WORTH_SAYING = 0.05
"""A reason weaker than this share of the strongest one is left out."""

_ON_THE_WAY = 0.5
"""Share of the level of an alarm from which on it is told which sensors depart."""

_FROM_ELSEWHERE = {
    Origin.SIMULATED: "simulated machines",
    Origin.BENCHMARK: "machines of a public benchmark",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """What moves the forecast: `sign` + shortens the life, - lengthens it; `effect` is by how much."""

    sign: str
    text: str
    effect: str
    bar: Markup


@dataclass(frozen=True, slots=True)
class Share:
    """A failure mode, the probability that it comes first, and what would be left if it alone could."""

    title: str
    probability: str
    bar: Markup
    alone: str


@dataclass(frozen=True, slots=True)
class Wear:
    """How far a failure mode has worn, and what that rests on."""

    title: str
    wear: str
    rests_on: str
    bar: Markup


@dataclass(frozen=True, slots=True)
class Departure:
    """How far a machine is from its own early life, over its life, and the sensors behind it."""

    now: str
    chart: Markup
    sensors: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ground:
    """One line of what the trust rests on; `warn` where it is weaker than it should be."""

    label: str
    text: str
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Reasons:
    """The cards Why and How far to trust it; `quiet` says why there are no reasons."""

    reasons: Sequence[Reason] = ()
    told: Sequence[str] = ()
    quiet: str = ""
    modes: Sequence[Share] = ()
    wear: Sequence[Wear] = ()
    departure: Departure | None = None
    grounds: Sequence[Ground] = field(default_factory=tuple)
    ready: str = ""


class _Remembered(NamedTuple):
    """What a model remembers of one machine, as a cohort of one."""

    model: Model
    state: FeatureState
    features: Floats
    complete: NDArray[np.bool_]


def reasons_of(services: Services, now: Snapshot, view: AssetView) -> Reasons:
    """Why, and how sure."""
    asset_class = now.current.plant.classes[view.class_name]
    twin = view.twin
    seen = None if twin is None else _remembered(services, asset_class, twin)
    found = [] if twin is None or seen is None else _reasons(asset_class, twin, seen)
    departure = None if twin is None or seen is None else _departure(asset_class, twin, seen)
    told = [text for record in view.recommendations[:1] for text in record.body.get("evidence", ())]
    told = [] if found or departure else told
    return Reasons(
        reasons=found,
        told=told,
        quiet="" if found or told else _quiet(view),
        modes=[] if twin is None or twin.prognosis.refusal else _shares(asset_class, twin, seen),
        wear=[] if twin is None else [_wear(wear, twin.unit) for wear in twin.wear],
        departure=departure,
        grounds=[] if twin is None else _grounds(services, asset_class, view, twin),
        ready=" ".join(filter(None, (view.readiness.today, _next(view.readiness.next)))),
    )


def _reasons(asset_class: AssetClass, twin: TwinView, seen: _Remembered) -> list[Reason]:
    """The drivers of a learned forecast."""
    if twin.prognosis.basis != "learned":
        return []
    drivers = learned.drivers(seen.model, seen.features, seen.complete)[0]
    ranked = sorted(drivers, key=lambda driver: -abs(driver.contribution))
    if not ranked:
        return []
    strongest = abs(ranked[0].contribution)
    shown = [d for d in ranked[:MOST_REASONS] if abs(d.contribution) >= _WORTH_SAYING * strongest]
    return [
        Reason(
            sign="+" if driver.contribution < 0 else "-",
            text=recommend.driver_text(asset_class, driver),
            effect=f"{'-' if driver.contribution < 0 else '+'}{words.life(abs(driver.contribution), twin.unit)}",
            bar=charts.bar(abs(driver.contribution) / strongest, "worse" if driver.contribution < 0 else ""),
        )
        for driver in shown
    ]


def _remembered(services: Services, asset_class: AssetClass, twin: TwinView) -> _Remembered | None:
    """What the model remembers of the one machine, None if it says nothing of the step that the page shows."""
    model = services.models.get(asset_class.name)
    if model is None or (twin.prognosis.basis != "learned" and model.frame.watch is None):
        return None
    machines = services.cohorts.get(asset_class.name) or _folded(services, model, asset_class, twin.serial)
    row = machines.row_of.get(twin.serial)
    if machines.twin.features is None or row is None:
        return None
    state = machines.twin.features.take(np.array([row]))
    # a tick may be folding meanwhile: reasons are told only for the very step that the page shows
    if twin.seen_until is None or int(machines.twin.last_end_ms[row]) != twin.seen_until:
        return None
    return _Remembered(model, state, features.emit(model.frame, state), machines.complete[[row]])


def _departure(asset_class: AssetClass, twin: TwinView, seen: _Remembered) -> Departure | None:
    frame = seen.model.frame
    if frame.watch is None or twin.departure is None:
        return None
    trail = features.trail(frame, seen.state, 0)
    now = f"{words.number(twin.departure, 2)} times the level of an alarm"
    drivers = departing.drivers(frame, frame.watch, seen.features)[0]
    return Departure(
        now=now,
        chart=charts.multiple(np.arange(len(trail)), trail, (0.0, 1.0), f"departure from its own early life, {now}"),
        sensors=recommend.driver_texts(asset_class, drivers) if twin.departure > _ON_THE_WAY else (),
    )


def _folded(services: Services, model: Model, asset_class: AssetClass, serial: str) -> Cohort:
    """The twin of one machine, where another process ticks and keeps them in memory."""
    now = snapshot.latest(services)
    with read(services.engine) as connection:
        return cohort.restored(connection, now.current, asset_class, model, now.fleet, [serial])


def _quiet(view: AssetView) -> str:
    if view.twin is None or view.twin.prognosis.refusal is not None:
        return "There is no forecast to give reasons for."
    if view.twin.prognosis.basis == "declared_life":
        return "From its age and the declared life of its class alone: nothing measured on it enters."
    if view.twin.prognosis.basis == "declared_wear":
        return "From the wear of its failure modes, each against its declared life."
    if view.twin.prognosis.basis == "life_table":
        return "From its age and the finished lives of its class alone: nothing measured on it enters."
    return "The reasons are worked out with the next tick."


def _shares(asset_class: AssetClass, twin: TwinView, seen: _Remembered | None) -> list[Share]:
    lives: dict[str, float] = {}
    if seen is not None and twin.prognosis.basis == "learned":
        lives = learned.by_mode(seen.model, seen.features, seen.complete)
    alone = {name: words.life_or_more(life, asset_class.horizon, twin.unit) for name, life in lives.items()}
    return [
        Share(mode.title, words.percent(mode.probability), charts.bar(mode.probability), alone.get(mode.name, ""))
        for mode in twin.prognosis.modes
        if mode.probability is not None
    ]


def _wear(wear: WearView, unit: str) -> Wear:
    """Wear in words: "62 % (4 in 5: 55-69 %)"."""
    stress = "" if wear.stress is None else f", duty lately {words.number(wear.stress, 2)} of the reference"
    used = f"{words.quantity(wear.exposure, unit)} used{stress}"
    measured = (
        words.plural(wear.measured, "measured value") if wear.measured else "nothing measured, declared life alone"
    )
    band = f"4 in 5: {words.number(100 * wear.low, 2)}-{words.number(100 * wear.high, 2)} %"
    return Wear(wear.title, f"{words.percent(wear.wear)} ({band})", f"{measured}; {used}", charts.bar(wear.wear))


def _grounds(services: Services, asset_class: AssetClass, view: AssetView, twin: TwinView) -> list[Ground]:
    model = services.models.get(view.class_name)
    grounds = [_basis(view, twin, model)] if twin.prognosis.refusal is None else []
    if model is not None and twin.prognosis.basis == "learned":
        grounds += _figures(model, twin.unit)
    if model is not None and twin.departure is not None:
        grounds.append(Ground("Alarm", false_alarms(model.facts.figures)))
    if twin.widening > 1.0:
        text = f"{words.number(twin.widening, 2)} times as wide as the model says: too few truths lay within them"
        grounds.append(Ground("Bands", text, warn=True))
    grounds.append(
        Ground("History", "complete: from the start of its life")
        if twin.complete
        else Ground("History", "does not reach back to the start of its life: judged by what was seen of it", warn=True)
    )
    grounds.append(_sensors(twin.sensors))
    grounds += [
        Ground("Law of stress", f"{title} {value} is beyond where it holds, and counts as {end}", warn=True)
        for title, value, end in _beyond(asset_class, twin)
    ]
    if twin.duty_rate is not None and view.in_service:
        used = words.quantity(24 * twin.duty_rate, twin.unit)
        grounds.append(Ground("Duty", f"{used} of life a day lately, assumed to go on"))
    return grounds


def _basis(view: AssetView, twin: TwinView, model: Model | None) -> Ground:
    if twin.prognosis.basis == "learned" and model is not None:
        lives = "life" if model.facts.lives == 1 else "lives"
        origin = _FROM_ELSEWHERE.get(model.facts.origin, "this plant")
        text = f"learned from {model.facts.lives} {lives} of {origin}, model {model.version}"
        return Ground("Basis", text, warn=model.facts.lives < recommend.FEW_LIVES)
    if twin.prognosis.basis == "declared_wear":
        return Ground("Basis", f"declared wear: low confidence, {_evidence(model)}", warn=True)
    if twin.prognosis.basis == "life_table" and model is not None:
        text = f"its age and {model.facts.lives} finished lives, model {model.version}: its sensors told no more"
        return Ground("Basis", text, warn=model.facts.lives < recommend.FEW_LIVES)
    return Ground("Basis", f"the declared life of its class and its age; {_evidence(model)}")


def _evidence(model: Model | None) -> str:
    """Why a forecast rests on what is declared."""
    if model is None or model.head is None:
        return "no failure was learned from yet"
    failed = words.plural(model.facts.failures, "failed machine")
    return f"on {failed} nothing learned was nearer (CRPS {model.facts.evidence})"


def _beyond(asset_class: AssetClass, twin: TwinView) -> list[tuple[str, str, str]]:
    """Title, value and what it counts as of the duty that a law of stress does not hold for."""
    laws = dict.fromkeys(law for laws in (asset_class.stress, *(m.stress for m in asset_class.wearing)) for law in laws)
    latest = np.array([np.nan if sensor.value is None else sensor.value for sensor in twin.sensors])
    titles = {sensor.column: (sensor.title, sensor.unit) for sensor in twin.sensors}
    return [
        (titles[column][0], words.quantity(value, titles[column][1]), words.quantity(end, titles[column][1]))
        for column, value, end in exposure.beyond(asset_class, list(laws), latest)
    ]


def _figures(model: Model, unit: str) -> list[Ground]:
    """How the model did on machines that were left out of its training."""
    figures, whose = model.facts.figures, "machines left out of training"
    grounds = []
    if (held := figures.get("coverage_80")) is not None:
        grounds.append(Ground("4 in 5 bands", f"held for {words.percent(held)} of the forecasts of {whose}"))
    if (error := figures.get("rmse")) is not None:
        grounds.append(Ground("Usual error", f"{words.life(error, unit)} on {whose}"))
    if (right := figures.get("mode_right")) is not None:
        grounds.append(Ground("Likely part", f"named rightly in {words.percent(right)} of the forecasts of {whose}"))
    return grounds


def _sensors(sensors: Sequence[SensorView]) -> Ground:
    faulty = {
        sensor.title: recommend.fault_text(sensor.fault, sensor.unit, sensor.told_in)
        for sensor in sensors
        if sensor.fault is not None
    }
    if faulty:
        told = words.listed([f"{title} {what}" for title, what in faulty.items()])
        return Ground("Sensors", f"check: {told}. What cannot be right is left out", warn=True)
    silent = [sensor.title for sensor in sensors if sensor.value is None]
    if not silent:
        return Ground("Sensors", f"all {len(sensors)} report usable values")
    return Ground("Sensors", f"no usable value from {words.listed(silent)}", warn=True)


def _next(text: str | None) -> str:
    return f"Next step: {text.rstrip('.')}." if text else ""
