"""What is watched: a plant, its classes of machines, their sensors and failure modes, its calendars and assets.

Immutable data, made by `pdm.plant.file` from `plant.yaml`. Times are integer milliseconds UTC, durations milliseconds,
lives and horizons in life steps of the class (an hour of running, a flight, a stroke).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from zoneinfo import ZoneInfo

from pdm.degradation.wear import USUAL_DRIFT, USUAL_JUMPS, WearPrior, WearScale, prior_of
from pdm.durations import DAY_MS
from pdm.plant.wire import FileForm, LineForm, SparkplugForm, TopicForm

ANY_TARGET = "any"
"""The target of a prognosis that is about the first failure, whatever its mode."""

LATENESS_MS = 7 * DAY_MS
"""Readings older than this on arrival are kept apart and never change a step."""


class Summary(StrEnum):
    """How the readings of one sensor within one step become one number."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    SD = "sd"
    LAST = "last"


class StressLaw(StrEnum):
    """How duty makes life go faster or slower than at the reference duty (`pdm.degradation.stress`)."""

    CONSTANT = "constant"
    INVERSE_POWER = "inverse_power"
    ARRHENIUS = "arrhenius"
    ARCHARD = "archard"
    PARIS_ERDOGAN = "paris_erdogan"


class GapRule(StrEnum):
    """What a step without any reading means for wear."""

    ASSUME_PROFILE = "assume_profile"  # it ran as it usually does
    UNKNOWN = "unknown"  # nobody knows: the forecast widens


@dataclass(frozen=True, slots=True)
class Sensor:
    """One measured quantity of a class; `low` and `high` bound what the sensor can physically report."""

    name: str
    unit: str
    title: str
    low: float | None = None
    high: float | None = None
    resolution: float | None = None
    summaries: tuple[Summary, ...] = (Summary.MEAN,)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a step: a sensor under one summary. Named after the sensor when it has only one."""

    name: str
    sensor: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class LifeStep:
    """The grain of life: each reading (a flight, a stroke: `duration_ms` is None) or a fixed duration (an hour).

    Durations are cut on multiples of their length since the epoch. A step is closed `grace_ms` after its end.
    """

    unit: str
    duration_ms: int | None = None
    grace_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunningWhen:
    """The machine runs while `sensor` is above a value; without it every reading counts as running."""

    sensor: str
    above: float


@dataclass(frozen=True, slots=True)
class ExpectedLife:
    """Declared life until failure: mean and standard deviation [life steps]. `ended` lives of the fleet have corrected
    it since (`pdm.fleet_lives`)."""

    mean: float
    sd: float
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Stress:
    """A law of stress on step columns.

    Attributes:
        columns: one for most laws, none for `constant`, pressure and sliding speed for `archard`.
        reference: the duty at which the stress is 1, one for each column [unit of its sensor].
        exponent: of `inverse_power` and `paris_erdogan`.
        activation_energy: of `arrhenius` [eV].
        low, high: where the law holds, for laws of one column; what lies beyond counts as the end [unit of its sensor].
            Without them the range of the sensor.
    """

    law: StressLaw
    columns: tuple[str, ...] = ()
    reference: tuple[float, ...] = ()
    exponent: float = 1.0
    activation_energy: float = 0.0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A functional-failure or warning limit on a step column: crossed when above or below the value."""

    sensor: str
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class DeclaredWear:
    """How the wear of a failure mode is measured: by the sensor of its limit, or by inspections alone.

    Attributes:
        noise: standard deviation of the indicator of one step around what wear makes of it [unit of the indicator].
        inspection_noise: the same of a value measured by hand.
        jumps, drift: shares of the variance of log life that come from jumps of wear, and from a rate that changes.
    """

    scale: WearScale
    noise: float
    inspection_noise: float
    jumps: float = USUAL_JUMPS
    drift: float = USUAL_DRIFT


@dataclass(frozen=True, slots=True)
class Costs:
    """What an intervention costs when planned, and what the failure costs that it prevents [plant currency]."""

    planned: float
    unplanned: float


@dataclass(frozen=True, slots=True)
class FailureMode:
    """What can go wrong, what restores it and what it costs. Mode, mechanism and cause are three fields (ISO 14224).

    Attributes:
        expected_life: declared life until this failure [life steps at the reference duty].
        stress: laws whose product says how much of it a running step uses; none: those of the class.
        wear: how it is measured; only with an expected life.
    """

    name: str
    title: str
    mechanism: str = ""
    cause: str = ""
    action: str = ""
    parts: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    crew: int = 1
    duration_ms: int = 4 * 3_600_000
    machine_stopped: bool = True
    limit: Limit | None = None
    costs: Costs | None = None
    expected_life: ExpectedLife | None = None
    stress: tuple[Stress, ...] = ()
    wear: DeclaredWear | None = None

    @property
    def wear_prior(self) -> WearPrior:
        """What is expected of the wear of a new machine (ValueError without an expected life)."""
        if self.expected_life is None:
            raise ValueError(f"failure mode {self.name} declares no expected life")
        shares = (USUAL_JUMPS, USUAL_DRIFT) if self.wear is None else (self.wear.jumps, self.wear.drift)
        return prior_of(self.expected_life.mean, self.expected_life.sd, *shares)


@dataclass(frozen=True, slots=True)
class Shift:
    """Working time on some weekdays (0 = Monday), in minutes after local midnight.

    A shift that ends at or before the minute it starts ends on the next day.
    """

    weekdays: tuple[int, ...]
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """When people can work on a machine. Without shifts: always."""

    name: str
    shifts: tuple[Shift, ...] = ()
    holidays: tuple[date, ...] = ()


@dataclass(frozen=True)
class AssetClass:
    """Machines of one kind.

    Attributes:
        conditions: sensors that state how the machine is operated rather than how it is (load, weather).
        horizon: how far ahead a date is worth anything [life steps]; beyond it pages say "more than".
        issue_every_ms: plant time between frozen forecasts; None freezes every step.
        notice_ms: the time that people need before they can start.
        risk_cap: highest acceptable probability of failing before the work starts.
        expected_life: declared life of the machine (target `any`), for the time before any failure was seen.
        stress: laws whose product says how much life (target `any`) a running step uses; none: its share, whatever
            the duty.
        stale_after_ms: silence after which a forecast is refused as stale.
        keep_readings_ms: age at which readings are removed; None keeps them. Steps stay for ever.
    """

    name: str
    title: str
    sensors: tuple[Sensor, ...]
    conditions: tuple[str, ...]
    life_step: LifeStep
    horizon: float
    notice_ms: int
    failure_modes: tuple[FailureMode, ...]
    running_when: RunningWhen | None = None
    gap: GapRule = GapRule.UNKNOWN
    issue_every_ms: int | None = None
    expected_life: ExpectedLife | None = None
    stress: tuple[Stress, ...] = ()
    costs: Costs | None = None
    risk_cap: float = 0.05
    calendar: str = ""
    stale_after_ms: int = 24 * 3_600_000
    keep_readings_ms: int | None = None

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a step of this class, in the order of the sensors."""
        return tuple(
            Column(s.name if len(s.summaries) == 1 else f"{s.name}_{summary}", s.name, summary)
            for s in self.sensors
            for summary in s.summaries
        )

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def sensor_names(self) -> tuple[str, ...]:
        return tuple(sensor.name for sensor in self.sensors)

    @cached_property
    def wearing(self) -> tuple[FailureMode, ...]:
        """The failure modes that declare an expected life."""
        return tuple(mode for mode in self.failure_modes if mode.expected_life is not None)

    def sensor(self, name: str) -> Sensor:
        """The sensor of that name (KeyError if there is none)."""
        return {s.name: s for s in self.sensors}[name]

    def column_sensor(self, column: str) -> Sensor:
        """The sensor behind a step column (KeyError if there is none)."""
        return self.sensor({c.name: c.sensor for c in self.columns}[column])

    def failure_mode(self, name: str) -> FailureMode:
        """The failure mode of that name (KeyError if there is none)."""
        return {m.name: m for m in self.failure_modes}[name]


@dataclass(frozen=True)
class Asset:
    """A serial-numbered machine.

    Attributes:
        slot: the functional location that it sits in.
        source: the name that a gateway uses for it on the wire.
        start_of_life_ms: when it was new; None if nobody knows.
        criticality: 1 (least) to 5 (most).
        place: ISA-95 path, for example ("Nord", "Water", "Line 2", "Cell 4").
        group: machines that share a place, a product, a test protocol or a load have the same; None for one of its own.
        external: its keys in other systems, for example {"maximo": {"siteid": "N1", "assetnum": "4711"}}.
    """

    serial: str
    class_name: str
    slot: str
    source: str
    start_of_life_ms: int | None
    criticality: int = 3
    place: tuple[str, ...] = ()
    group: str | None = None
    external: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Plant:
    """Everything that `plant.yaml` declares. `version` is the SHA-256 of its text; `files`, `topics`, `sparkplug`
    and `lines` say how files and messages in forms other than our own are read."""

    name: str
    currency: str
    time_zone: ZoneInfo
    classes: Mapping[str, AssetClass]
    calendars: Mapping[str, Calendar]
    assets: Mapping[str, Asset]
    version: str
    simulated: bool = False
    files: tuple[FileForm, ...] = ()
    topics: tuple[TopicForm, ...] = ()
    sparkplug: tuple[SparkplugForm, ...] = ()
    lines: tuple[LineForm, ...] = ()

    @cached_property
    def asset_of_source(self) -> Mapping[str, Asset]:
        """The asset that the file puts behind each source (swaps since then are in the state)."""
        return {asset.source: asset for asset in self.assets.values()}

    def class_of(self, asset: Asset) -> AssetClass:
        return self.classes[asset.class_name]

    def calendar_of(self, asset_class: AssetClass) -> Calendar:
        return self.calendars.get(asset_class.calendar, Calendar(asset_class.calendar))
