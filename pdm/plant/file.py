"""`plant.yaml` as a `Plant`: each section is read by its entry, then what they say about each other is checked."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from math import inf
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pdm.degradation.wear import WearScale, WearShape
from pdm.durations import DAY_MS, duration_text
from pdm.errors import ConfigurationFileError
from pdm.plant import (
    ANY_TARGET,
    LATENESS_MS,
    Asset,
    AssetClass,
    Calendar,
    Costs,
    DeclaredWear,
    ExpectedLife,
    FailureMode,
    LifeStep,
    Limit,
    Plant,
    RunningWhen,
    Sensor,
    Shift,
    Stress,
    exposure,
)
from pdm.plant.entries import (
    AssetEntry,
    CalendarEntry,
    ClassEntry,
    CostsEntry,
    FailureModeEntry,
    LimitEntry,
    PlantEntry,
    SensorEntry,
    StressEntry,
    WearEntry,
)
from pdm.plant.entry_types import instant_ms, wrong_name, wrong_sensor_name
from pdm.plant.marked_yaml import Document, Path
from pdm.plant.wire_file import Known, file_forms, line_forms, sparkplug_forms, topic_forms

USUAL_NOISE = 0.02
"""Noise of an indicator where none is declared [share of the way from new to the limit]."""


def parse_plant(text: str, *, file: str = "plant.yaml") -> Plant:
    """The plant that a file declares.

    Raises:
        ConfigurationError: the text cannot be read as YAML; or, as a `ConfigurationFileError`, everything that is wrong
            with what it says.
    """
    document = Document(text, file)
    top = document.entry(PlantEntry)
    calendars = document.entries(CalendarEntry, "calendars", wrong_name=wrong_name)
    classes = _classes(document)
    assets = _assets(document)
    known = Known(classes, {entry.source for entry in assets})
    topics, lines = topic_forms(document, known), line_forms(document, known)
    files, sparkplug = file_forms(document, known), sparkplug_forms(document, known)
    if top is None or document.errors:
        raise ConfigurationFileError(document.errors)
    return Plant(
        name=top.plant,
        currency=top.currency,
        time_zone=top.time_zone,
        classes=MappingProxyType(classes),
        calendars=MappingProxyType({name: _calendar(name, entry) for name, entry in calendars.items()}),
        assets=MappingProxyType({entry.serial: _asset(entry, top.time_zone) for entry in assets}),
        version=hashlib.sha256(text.encode()).hexdigest(),
        simulated=top.simulated,
        files=files,
        topics=topics,
        sparkplug=sparkplug,
        lines=lines,
    )


def _classes(document: Document) -> dict[str, AssetClass]:
    """The classes that can be read, checked in themselves."""
    entries = document.entries(ClassEntry, "classes", wrong_name=wrong_name)
    classes = {}
    for name in document.names("classes"):
        at = ("classes", name)
        sensors = document.entries(SensorEntry, *at, "sensors", wrong_name=wrong_sensor_name)
        modes = document.entries(FailureModeEntry, *at, "failure_modes", wrong_name=_wrong_mode_name)
        if (entry := entries.get(name)) is not None:
            classes[name] = _asset_class(name, entry, sensors, modes)
            _check_class(document, at, classes[name])
    return classes


def _check_class(document: Document, at: Path, asset_class: AssetClass) -> None:
    _check_columns(document, at, asset_class)
    _check_named_sensors(document, at, asset_class)
    _check_limits(document, at, asset_class)
    _check_stress(document, (*at, "stress"), asset_class, asset_class.stress)
    for mode in asset_class.failure_modes:
        _check_stress(document, (*at, "failure_modes", mode.name, "stress"), asset_class, mode.stress)
        _check_wear(document, (*at, "failure_modes", mode.name, "wear"), mode)
    _check_kept(document, at, asset_class)
    if asset_class.calendar:
        document.check_known((*at, "calendar"), asset_class.calendar, document.names("calendars"), "calendar")


def _wrong_mode_name(name: str) -> str | None:
    return f"{ANY_TARGET!r} means the first failure of whatever mode" if name == ANY_TARGET else wrong_name(name)


def _check_columns(document: Document, at: Path, asset_class: AssetClass) -> None:
    """Two sensors must not make step columns of one name (`flow` with mean and max, beside a `flow_max`)."""
    counts = Counter(asset_class.column_names)
    for column in asset_class.columns:
        if counts[column.name] > 1 and column.name != column.sensor:
            message = f"its summary {column.summary} makes a column {column.name!r}, which is another sensor's name"
            document.refuse((*at, "sensors", column.sensor), message)


def _check_named_sensors(document: Document, at: Path, asset_class: AssetClass) -> None:
    known = document.names(*at, "sensors")
    for position, name in enumerate(asset_class.conditions):
        document.check_known((*at, "conditions", position), name, known, "sensor")
    if asset_class.running_when:
        document.check_known((*at, "running_when", "sensor"), asset_class.running_when.sensor, known, "sensor")


def _check_kept(document: Document, at: Path, asset_class: AssetClass) -> None:
    """A reading that comes late has its step made again, of all the readings of that step."""
    step, kept = asset_class.life_step, asset_class.keep_readings_ms
    needed = LATENESS_MS + (step.duration_ms or 0) + step.grace_ms + DAY_MS
    if kept is not None and kept < needed:
        message = f"steps are made again of readings that come late: expected at least {duration_text(needed)}"
        document.refuse((*at, "keep_readings"), message)


def _check_limits(document: Document, at: Path, asset_class: AssetClass) -> None:
    """A limit is on a step column, and within what its sensor can report: otherwise it could never be crossed."""
    malformed = set(document.names(*at, "sensors")) - set(asset_class.sensor_names)
    for mode in asset_class.failure_modes:
        if mode.limit is None or mode.limit.sensor in malformed:
            continue
        where = (*at, "failure_modes", mode.name, "limit")
        if not document.check_known((*where, "sensor"), mode.limit.sensor, asset_class.column_names, "step column"):
            continue
        if (reason := out_of_range(mode.limit, asset_class.column_sensor(mode.limit.sensor))) is not None:
            document.refuse(where, reason)


def _check_stress(document: Document, at: Path, asset_class: AssetClass, laws: Sequence[Stress]) -> None:
    """The law is of step columns, and holds at its reference."""
    for position, law in enumerate(laws):
        named = [
            document.check_known((*at, position, "of", place), column, asset_class.column_names, "step column")
            for place, column in enumerate(law.columns)
        ]
        if all(named) and (reason := exposure.wrong_reference(asset_class, law)) is not None:
            document.refuse((*at, position, "reference"), reason)


def _check_wear(document: Document, at: Path, mode: FailureMode) -> None:
    """Wear goes from what is new to a limit, which stands in one place."""
    if mode.wear is None:
        return
    if mode.expected_life is None:
        document.refuse(at, "needs an expected_life of the failure mode: how fast it wears as far as anybody knows")
    written = document.at(*at, "limit") is not None
    if written == (mode.limit is not None):
        where = "it stands in the limit of the failure mode" if written else "expected one, since the mode has no limit"
        document.refuse((*at, "limit"), where)
    elif (reason := _no_scale(mode.wear.scale, mode.limit)) is not None:
        document.refuse((*at, "new"), reason)


def _no_scale(scale: WearScale, limit: Limit | None) -> str | None:
    """Why nothing can wear on this scale; None if it can."""
    if scale.new == scale.limit:
        return f"a new machine cannot stand at the limit, {scale.limit:g}"
    if limit is not None and (scale.new < scale.limit) != (limit.above is not None):
        side = "below" if limit.above is not None else "above"
        return f"a new machine stands {side} the limit, {scale.limit:g}, not at {scale.new:g}"
    if scale.shape == WearShape.EXPONENTIAL and not (scale.new > 0 and scale.limit > 0):
        return (
            f"exponential wear goes by factors: expected new and limit above 0, not {scale.new:g} and {scale.limit:g}"
        )
    return None


def out_of_range(limit: Limit, sensor: Sensor) -> str | None:
    """Why this limit is never, or always, crossed; None if it can tell something."""
    low, high = -inf if sensor.low is None else sensor.low, inf if sensor.high is None else sensor.high
    above_tells = limit.above is not None and low <= limit.above < high
    below_tells = limit.below is not None and low < limit.below <= high
    if above_tells or below_tells:
        return None
    return f"a limit there tells nothing: {sensor.name} reports from {low:g} to {high:g} {sensor.unit}"


def _assets(document: Document) -> list[AssetEntry]:
    """The assets that can be read; all are checked against each other and against the classes."""
    listed = document.at("assets")
    read = [document.entry(AssetEntry, "assets", i) for i in range(len(listed) if isinstance(listed, list) else 0)]
    classes = document.names("classes")
    for position in range(len(read)):
        if isinstance(name := document.at("assets", position, "class"), str):
            document.check_known(("assets", position, "class"), name, classes, "class")
    for key in ("serial", "slot", "source"):
        _check_unique(document, key, [document.at("assets", position, key) for position in range(len(read))])
    return [entry for entry in read if entry is not None]


def _check_unique(document: Document, key: str, values: Sequence[Any]) -> None:
    first: dict[str, int] = {}
    for position, value in enumerate(values):
        if isinstance(value, str) and (other := first.setdefault(value, position)) != position:
            taken = f"{value!r} is taken by the asset in line {document.line('assets', other)}"
            document.refuse(("assets", position, key), taken)


def _asset_class(
    name: str, entry: ClassEntry, sensors: Mapping[str, SensorEntry], modes: Mapping[str, FailureModeEntry]
) -> AssetClass:
    running, life = entry.running_when, entry.expected_life
    return AssetClass(
        name=name,
        title=entry.title or title_of(name),
        sensors=tuple(_sensor(sensor, sensors[sensor]) for sensor in sensors),
        conditions=entry.conditions,
        life_step=LifeStep(entry.life_step.unit, entry.life_step.every, entry.life_step.grace),
        horizon=entry.horizon,
        notice_ms=entry.notice,
        failure_modes=tuple(_failure_mode(mode, modes[mode]) for mode in modes),
        running_when=None if running is None else RunningWhen(running.sensor, running.above),
        gap=entry.gap,
        issue_every_ms=entry.issue_every,
        expected_life=None if life is None else ExpectedLife(life.mean, life.sd),
        stress=tuple(map(_stress, entry.stress)),
        costs=_costs(entry.costs),
        risk_cap=entry.risk_cap,
        calendar=entry.calendar,
        stale_after_ms=entry.stale_after,
        keep_readings_ms=entry.keep_readings,
    )


def _sensor(name: str, entry: SensorEntry) -> Sensor:
    low, high = entry.range or (None, None)
    return Sensor(name, entry.unit, entry.title or title_of(name), low, high, entry.resolution, entry.summary)


def _stress(entry: StressEntry) -> Stress:
    low, high = entry.range or (None, None)
    return Stress(
        law=entry.law,
        columns=entry.of,
        reference=entry.reference,
        exponent=entry.exponent or 1.0,
        activation_energy=entry.activation_energy or 0.0,
        low=low,
        high=high,
    )


def _failure_mode(name: str, entry: FailureModeEntry) -> FailureMode:
    limit, life = entry.limit, entry.expected_life
    return FailureMode(
        name=name,
        title=entry.title or title_of(name),
        mechanism=entry.mechanism,
        cause=entry.cause,
        action=entry.action,
        parts=entry.parts,
        skills=entry.skills,
        crew=entry.crew,
        duration_ms=entry.duration,
        machine_stopped=entry.machine_stopped,
        limit=None if limit is None else Limit(limit.sensor, limit.above, limit.below),
        costs=_costs(entry.costs),
        expected_life=None if life is None else ExpectedLife(life.mean, life.sd),
        stress=tuple(map(_stress, entry.stress)),
        wear=None if entry.wear is None else _wear(entry.wear, limit),
    )


def _wear(entry: WearEntry, limit: LimitEntry | None) -> DeclaredWear:
    ends = (entry.limit, *((limit.above, limit.below) if limit is not None else ()))
    end = next((value for value in ends if value is not None), entry.new)
    noise = entry.noise or USUAL_NOISE * abs(end - entry.new)
    scale = WearScale(entry.new, end, entry.shape, entry.exponent or 1.0)
    return DeclaredWear(scale, noise, entry.inspection_noise or noise, entry.jumps, entry.drift)


def _costs(entry: CostsEntry | None) -> Costs | None:
    return None if entry is None else Costs(entry.planned, entry.unplanned)


def _calendar(name: str, entry: CalendarEntry) -> Calendar:
    return Calendar(name, tuple(Shift(s.days, s.start, s.end) for s in entry.shifts), entry.holidays)


def _asset(entry: AssetEntry, zone: ZoneInfo) -> Asset:
    start = entry.start_of_life
    return Asset(
        serial=entry.serial,
        class_name=entry.class_name,
        slot=entry.slot,
        source=entry.source,
        start_of_life_ms=_midnight_ms(start, zone) if isinstance(start, date) else start,
        criticality=entry.criticality,
        place=entry.place,
        group=entry.group,
        external=MappingProxyType({system: MappingProxyType(keys) for system, keys in entry.external.items()}),
    )


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return instant_ms(datetime.combine(day, time(), zone).isoformat())


def title_of(name: str) -> str:
    """What a technician reads where the file gives no title: `oil_temperature` is "Oil temperature"."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
