"""What is told, to whom: the rules and routes of `rules.yaml` as immutable typed data. `pdm.rules` evaluates them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, assert_never

from pdm.errors import ConfigurationFileError
from pdm.plant import AssetClass, Limit, Plant
from pdm.plant.entry_types import Entry, wrong_rule_name
from pdm.plant.file import out_of_range, title_of
from pdm.plant.marked_yaml import Document, Path, did_you_mean
from pdm.rules.entries import (
    ROUTE_KINDS,
    RULE_KINDS,
    AnyRouteEntry,
    AnyRuleEntry,
    DepartureEntry,
    FailureProbabilityEntry,
    LogEntry,
    OneRuleEntry,
    RulesEntry,
    RulQuantileEntry,
    SensorFaultEntry,
    SensorLimitEntry,
    SilentSensorEntry,
    SmtpEntry,
    WebhookEntry,
)

E = TypeVar("E", bound=Entry)

RELATIVE_HYSTERESIS = 0.2
"""Without `clear`, probabilities and departures clear a fifth below their limit, remaining lives a fifth above it."""

SENSOR_HYSTERESIS = 0.02
"""Without `clear`, a sensor clears 2 % of its range away from its limit, but no further than half way to the end of it.
Where no range is declared: 2 % of the limit."""

_USUAL_PORTS = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRule:
    """What every rule has.

    Attributes:
        name: stable; alerts and their duplicate checks key on it.
        title: what a technician reads.
        classes: the classes that it watches, never empty (a rule without `classes` watches all that it can apply to).
        for_ms: plant time for which the condition must have held before an alert opens.
        routes: names of the routes that are told.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    for_ms: int = 0
    routes: tuple[str, ...] = ("log",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulQuantileRule(BaseRule):
    """A quantile of the remaining useful life is short, in life steps or in calendar time (exactly one of the two).

    Holds below `below_*`; once open, clears only at or above `clear_*`.
    """

    level: float  # probability level of the quantile, 0.5 is the median
    below_steps: float | None = None  # [life steps]
    clear_steps: float | None = None
    below_ms: int | None = None  # until the date of that quantile
    clear_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureProbabilityRule(BaseRule):
    """The probability of failing within a horizon is high. Holds above `above`; clears only below `clear_below`."""

    within: float  # [life steps]
    above: float
    clear_below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorLimitRule(BaseRule):
    """A step column is above or below a value (exactly one of the two).

    Holds beyond the limit; clears only at `clear` or on the good side of it.
    """

    sensor: str  # a step column: the sensor, or `<sensor>_<summary>` if it has several
    above: float | None = None
    below: float | None = None
    clear: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartureRule(BaseRule):
    """A machine has departed from its own early life, in levels of the alarm that its model sets.

    Holds above `above`; clears only below `clear`.
    """

    above: float
    clear: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFaultRule(BaseRule):
    """A sensor cannot be right (`pdm.features.health`). Clears once it has been sound for a while."""

    sensor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentSensorRule(BaseRule):
    """The source of an asset has sent nothing for `for_ms`. Clears with its next reading."""


Rule = RulQuantileRule | FailureProbabilityRule | SensorLimitRule | SensorFaultRule | DepartureRule | SilentSensorRule


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is found when it is needed: a file or an environment variable, never the rule file itself."""

    file: str | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True)
class LogRoute:
    """Writes a line to the log of the service."""

    name: str


@dataclass(frozen=True, slots=True)
class WebhookRoute:
    """Posts to a URL, signed as Standard Webhooks describe."""

    name: str
    url: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """Sends e-mail. The connection is encrypted unless `encryption` is "none"."""

    name: str
    host: str
    port: int
    encryption: str  # "starttls", "tls" or "none"
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    secret: Secret | None = None  # the password of `user`


Route = LogRoute | WebhookRoute | SmtpRoute


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that `rules.yaml` declares. `version` is the SHA-256 of its text."""

    rules: tuple[Rule, ...]
    routes: Mapping[str, Route]
    version: str


def parse_rules(text: str, plant: Plant, *, file: str = "rules.yaml") -> Ruleset:
    """The rules and routes that a file declares for a plant. A route `log` is always there.

    Raises:
        ConfigurationError: the text cannot be read as YAML; or, as a `ConfigurationFileError`, everything that is wrong
            with what it says.
    """
    document = Document(text, file)
    document.entry(RulesEntry)
    routes = {"log": LogRoute("log")} | {
        name: _route(name, entry) for name, entry in _entries(document, "routes", ROUTE_KINDS)
    }
    rules = []
    for name, entry in _entries(document, "rules", RULE_KINDS):
        for position, route in enumerate(entry.routes):
            document.check_known(
                ("rules", name, "routes", position), route, ("log", *document.names("routes")), "route"
            )
        watched = _watched(document, plant, name, entry)
        rules += (
            _fault_rules(name, entry, watched) if isinstance(entry, SensorFaultEntry) else [_rule(name, entry, watched)]
        )
    if document.errors:
        raise ConfigurationFileError(document.errors)
    version = hashlib.sha256(text.encode()).hexdigest()
    return Ruleset(tuple(rules), MappingProxyType(routes), version)


def _entries(document: Document, section: str, kinds: Mapping[str, type[E]]) -> Iterator[tuple[str, E]]:
    """The well-formed entries of a section, each read as its `kind` says."""
    for name in document.names(section):
        if (reason := wrong_rule_name(name)) is not None:
            document.refuse((section, name), reason)
        kind = document.at(section, name, "kind")
        if kind not in kinds:
            document.refuse((section, name, "kind"), f"expected one of {', '.join(kinds)}")
        elif (entry := document.entry(kinds[kind], section, name)) is not None:
            yield name, entry


def _watched(document: Document, plant: Plant, name: str, entry: AnyRuleEntry) -> list[AssetClass]:
    """The classes that a rule watches: those that it names, otherwise all that it can apply to."""
    at = ("rules", name)
    for position, named in enumerate(entry.classes):
        document.check_known((*at, "classes", position), named, plant.classes, "class")
    classes = [plant.classes[c] for c in entry.classes or plant.classes if c in plant.classes]
    if isinstance(entry, SensorFaultEntry):
        return _with_sensor(document, (*at, "sensor"), classes, entry)
    if not isinstance(entry, SensorLimitEntry):
        return classes
    return _with_column(document, (*at, "sensor"), classes, entry)


def _with_column(document: Document, at: Path, classes: list[AssetClass], entry: SensorLimitEntry) -> list[AssetClass]:
    """Those of the classes whose steps have the column; a rule that names its classes needs it in all of them."""
    having = [c for c in classes if entry.sensor in c.column_names]
    lacking = [c for c in classes if entry.sensor not in c.column_names]
    if lacking and (entry.classes or not having):
        hint = did_you_mean(entry.sensor, lacking[0].column_names)
        document.refuse(at, f"class {lacking[0].name!r} has no step column {entry.sensor!r}{hint}")
    limit = Limit(entry.sensor, entry.above, entry.below)
    for reason in {out_of_range(limit, c.column_sensor(entry.sensor)) for c in having} - {None}:
        document.refuse(at, str(reason))
    return having


def _with_sensor(document: Document, at: Path, classes: list[AssetClass], entry: SensorFaultEntry) -> list[AssetClass]:
    """Those of the classes that have the sensor; a rule that names its classes needs it in all of them."""
    having = [c for c in classes if entry.sensor is None or entry.sensor in c.sensor_names]
    lacking = [c for c in classes if c not in having]
    if lacking and (entry.classes or not having):
        hint = did_you_mean(entry.sensor or "", lacking[0].sensor_names)
        document.refuse(at, f"class {lacking[0].name!r} has no sensor {entry.sensor!r}{hint}")
    return having


def _fault_rules(name: str, entry: SensorFaultEntry, watched: Sequence[AssetClass]) -> list[Rule]:
    """One rule for each sensor, so that each has alerts of its own."""
    sensors = dict.fromkeys(s for c in watched for s in c.sensor_names if entry.sensor in (None, s))
    title = entry.title or title_of(name)
    having = {sensor: [c for c in watched if sensor in c.sensor_names] for sensor in sensors}
    return [
        SensorFaultRule(**_common(f"{name}-{sensor}", entry, title, having[sensor]), sensor=sensor)
        for sensor in sensors
    ]


def _common(name: str, entry: AnyRuleEntry, title: str, watched: Sequence[AssetClass]) -> dict[str, Any]:
    """What every rule has."""
    return {
        "name": name,
        "title": title,
        "classes": tuple(c.name for c in watched),
        "for_ms": entry.hold,
        "routes": entry.routes,
    }


def _rule(name: str, entry: OneRuleEntry, watched: Sequence[AssetClass]) -> Rule:
    common = _common(name, entry, entry.title or title_of(name), watched)
    match entry:
        case RulQuantileEntry():
            return _rul_quantile_rule(entry, common)
        case FailureProbabilityEntry():
            clear = entry.above * (1 - RELATIVE_HYSTERESIS) if entry.clear is None else entry.clear
            return FailureProbabilityRule(**common, within=entry.within, above=entry.above, clear_below=clear)
        case SensorLimitEntry():
            clear = _sensor_clear(entry, watched) if entry.clear is None else entry.clear
            return SensorLimitRule(**common, sensor=entry.sensor, above=entry.above, below=entry.below, clear=clear)
        case DepartureEntry():
            clear = entry.above * (1 - RELATIVE_HYSTERESIS) if entry.clear is None else entry.clear
            return DepartureRule(**common, above=entry.above, clear=clear)
        case SilentSensorEntry():
            return SilentSensorRule(**common)
        case _:
            assert_never(entry)


def _rul_quantile_rule(entry: RulQuantileEntry, common: dict[str, Any]) -> RulQuantileRule:
    steps, ms = entry.below
    if entry.clear is not None:
        clear_steps, clear_ms = entry.clear
    else:
        clear_steps = None if steps is None else steps * (1 + RELATIVE_HYSTERESIS)
        clear_ms = None if ms is None else round(ms * (1 + RELATIVE_HYSTERESIS))
    return RulQuantileRule(
        **common, level=entry.level, below_steps=steps, clear_steps=clear_steps, below_ms=ms, clear_ms=clear_ms
    )


def _sensor_clear(entry: SensorLimitEntry, watched: Sequence[AssetClass]) -> float:
    """Where a limit without `clear` clears; of several classes, the one with the narrowest range decides."""
    limit, towards_good = (entry.above, -1) if entry.above is not None else (entry.below or 0.0, 1)
    steps = []
    for sensor in (c.column_sensor(entry.sensor) for c in watched):
        if sensor.low is not None and sensor.high is not None:
            room = limit - sensor.low if towards_good < 0 else sensor.high - limit
            steps.append(min(SENSOR_HYSTERESIS * (sensor.high - sensor.low), room / 2))
    return limit + towards_good * min(steps, default=SENSOR_HYSTERESIS * abs(limit))


def _route(name: str, entry: AnyRouteEntry) -> Route:
    match entry:
        case LogEntry():
            return LogRoute(name)
        case WebhookEntry():
            return WebhookRoute(name, entry.url, Secret(entry.secret_file, entry.secret_env))
        case SmtpEntry():
            return SmtpRoute(
                name=name,
                host=entry.host,
                port=entry.port or _USUAL_PORTS[entry.encryption],
                encryption=entry.encryption,
                sender=entry.sender,
                to=entry.to,
                user=entry.user,
                secret=None if entry.user is None else Secret(entry.secret_file, entry.secret_env),
            )
        case _:
            assert_never(entry)
