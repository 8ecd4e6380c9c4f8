"""The sections of `plant.yaml` as they are written. `pdm.plant.file` makes the plant from them; docs/plant-file.md
tells people about them, and a test holds the two together."""

import re
from datetime import date
from math import inf
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from pdm import units
from pdm.degradation import Weibull
from pdm.degradation.wear import USUAL_DRIFT, USUAL_JUMPS, WearShape
from pdm.durations import duration_ms
from pdm.plant import GapRule, StressLaw, Summary
from pdm.plant.entry_types import (
    Day,
    Duration,
    Entry,
    Identity,
    Listed,
    LongerThanNothing,
    OneOrMore,
    Share,
    instant_ms,
)
from pdm.plant.marked_yaml import did_you_mean

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EACH_STEP = "each step"
UNKNOWN = "unknown"

_CLOCK = re.compile(r"(?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d)", re.ASCII)


def _weekdays(value: Any) -> tuple[int, ...]:
    """`mon-fri`, `sat`, `mon, wed-fri` or a list of such parts as weekdays, 0 = Monday."""
    days: set[int] = set()
    for part in value if isinstance(value, list) else str(value).split(","):
        first, _, last = str(part).strip().lower().partition("-")
        if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
            raise ValueError(f"expected weekdays such as mon-fri or mon, wed, not {part!r}")
        start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        days.update((start + after) % 7 for after in range((end - start) % 7 + 1))
    return tuple(sorted(days))


def _minute(value: Any) -> int:
    """Minutes after midnight of `06:00`."""
    clock = _CLOCK.fullmatch(str(value).strip())
    minute = 24 * 60 + 1 if clock is None else 60 * int(clock["hour"]) + int(clock["minute"])
    if minute > 24 * 60:
        raise ValueError(f"expected a time of day such as 06:00, up to 24:00, not {value!r}")
    return minute


def _zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last two: a path, or a folder of zones
        near = did_you_mean(str(value), available_timezones())
        raise ValueError(f"expected a time zone such as Europe/Berlin, not {value!r}{near}") from None


Zone = Annotated[ZoneInfo, PlainValidator(_zone)]


def unit_text(text: str) -> str:
    if not units.is_unit(text):
        meant = units.unit_meant(text)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise ValueError(f"expected a unit such as degC, m3/h or 1 (for none), not {text!r}{hint}")
    return text


def _range(value: Any) -> tuple[float | None, float | None]:
    """`[low, high]`; an open end is null."""
    try:
        low, high = (None if end is None else float(end) for end in value)
    except (TypeError, ValueError):
        raise ValueError("expected two numbers [low, high]") from None
    if not (-inf if low is None else low) < (inf if high is None else high):
        raise ValueError(f"expected low below high, not [{low}, {high}]")
    return low, high


def _issue_every(value: Any) -> int | None:
    """Milliseconds between issued forecasts; None freezes each step's."""
    try:
        return None if value == EACH_STEP else duration_ms(str(value))
    except ValueError as error:
        raise ValueError(f"{error}, or {EACH_STEP}") from None


def _start_of_life(value: Any) -> int | date | None:
    """Milliseconds UTC, or a date in the plant's zone, or None if nobody knows."""
    text = str(value).strip()
    if text == UNKNOWN:
        return None
    try:
        if not "1900" <= text[:4] < "2200":
            raise ValueError(text)
        return date.fromisoformat(text) if len(text) == 10 else instant_ms(text)
    except ValueError:
        raise ValueError(
            f"expected a time with its offset such as 2026-01-04T06:00:00Z, a date, or {UNKNOWN}, not {text!r}"
        ) from None


def _place(value: Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else str(value).split("/")
    return tuple(str(part).strip() for part in parts)


def either_above_or_below(above: float | None, below: float | None) -> None:
    """ValueError unless exactly one of the two is given."""
    if (above is None) == (below is None):
        raise ValueError("expected either above or below")


class ShiftEntry(Entry):
    days: Annotated[tuple[int, ...], PlainValidator(_weekdays)] = tuple(range(7))
    start: Annotated[int, PlainValidator(_minute)] = Field(alias="from", description="a time of day such as 06:00")
    end: Annotated[int, PlainValidator(_minute)] = Field(alias="to", description="a time of day such as 14:00")


class CalendarEntry(Entry):
    shifts: tuple[ShiftEntry, ...] = ()
    holidays: tuple[Day, ...] = ()


class SensorEntry(Entry):
    unit: Annotated[str, AfterValidator(unit_text)] = Field(description="a unit such as degC, m3/h or 1 (for none)")
    title: str = ""
    range: Annotated[tuple[float | None, float | None], PlainValidator(_range)] | None = None
    resolution: float | None = Field(None, gt=0)
    summary: OneOrMore[Summary] = (Summary.MEAN,)


class LifeStepEntry(Entry):
    every: LongerThanNothing | None = None
    each: Literal["reading"] | None = None
    unit: str = Field(min_length=1, description="what one step is called, such as hour or cycle")
    grace: Duration = 0

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.every is None) == (self.each is None):
            raise ValueError("expected either every (a duration) or each: reading")
        if self.each is not None and self.grace:
            raise ValueError("a step of one reading closes with it: expected no grace")
        return self


class RunningWhenEntry(Entry):
    sensor: str = Field(description="the name of a sensor")
    above: float = Field(description="the value above which the machine runs")


class ExpectedLifeEntry(Entry):
    mean: float = Field(gt=0, description="the mean life in life steps")
    sd: float = Field(gt=0, description="the standard deviation of lives in life steps")

    @model_validator(mode="after")
    def _has_a_law(self) -> Self:
        Weibull.from_moments(self.mean, self.sd)  # refuses a spread that no life has
        return self


class CostsEntry(Entry):
    planned: float = Field(ge=0, description="what a planned intervention costs")
    unplanned: float = Field(ge=0, description="what the failure costs that it prevents")


_OF_LAW = {
    StressLaw.CONSTANT: (0, set()),
    StressLaw.INVERSE_POWER: (1, {"of", "reference", "exponent"}),
    StressLaw.ARRHENIUS: (1, {"of", "reference", "activation_energy"}),
    StressLaw.ARCHARD: (2, {"of", "reference"}),
    StressLaw.PARIS_ERDOGAN: (1, {"of", "reference", "exponent"}),
}
"""How many step columns each law is of, and the keys that it needs."""


class StressEntry(Entry):
    law: StressLaw = Field(description=f"one of {', '.join(StressLaw)}")
    of: Listed[str] = ()
    reference: Listed[float] = ()
    exponent: float | None = Field(None, gt=0, le=20)
    activation_energy: float | None = Field(None, gt=0, le=5)
    range: Annotated[tuple[float | None, float | None], PlainValidator(_range)] | None = None

    @model_validator(mode="after")
    def _has_what_its_law_needs(self) -> Self:
        columns, needed = _OF_LAW[self.law]
        given = self.model_fields_set - {"law"}
        if missing := sorted(needed - given):
            raise ValueError(f"{self.law} needs {', '.join(missing)} too")
        if unused := sorted(given - needed - ({"range"} if columns == 1 else set())):
            raise ValueError(f"{self.law} has no {', '.join(unused)}")
        if len(self.of) != columns or len(self.reference) != columns:
            raise ValueError(f"{self.law} is of {columns} step column{'s' * (columns != 1)}, each with its reference")
        return self


def _product(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Product = Annotated[tuple[StressEntry, ...], BeforeValidator(_product)]
"""A stress law, or several that act together."""


class LimitEntry(Entry):
    sensor: str = Field(description="the name of a sensor")
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _has_one_side(self) -> Self:
        either_above_or_below(self.above, self.below)
        return self


class WearEntry(Entry):
    new: float = Field(description="what a new machine shows, in the unit of the limit")
    limit: float | None = None
    shape: WearShape = WearShape.LINEAR
    exponent: float | None = Field(None, gt=0, le=20)
    noise: float | None = Field(None, gt=0)
    inspection_noise: float | None = Field(None, gt=0)
    jumps: Share = USUAL_JUMPS
    drift: Share = USUAL_DRIFT

    @model_validator(mode="after")
    def _has_what_its_shape_needs(self) -> Self:
        if (self.exponent is None) == (self.shape == WearShape.POWER):
            raise ValueError("an exponent belongs to the shape power, and to no other")
        if not (self.jumps > 0 and self.jumps + self.drift < 1):
            raise ValueError("jumps are above 0, and jumps and drift together below 100 %: machines differ too")
        return self


class FailureModeEntry(Entry):
    title: str = ""
    mechanism: str = ""
    cause: str = ""
    limit: LimitEntry | None = None
    expected_life: ExpectedLifeEntry | None = None
    stress: Product = ()
    wear: WearEntry | None = None
    action: str = ""
    parts: Listed[str] = ()
    skills: Listed[str] = ()
    crew: int = Field(1, ge=1)
    duration: Duration = 4 * 3_600_000
    machine_stopped: bool = True
    costs: CostsEntry | None = None


class ClassEntry(Entry):
    title: str = ""
    life_step: LifeStepEntry = Field(description="a section such as {every: 1 h, unit: hour}")
    running_when: RunningWhenEntry | None = None
    gap: GapRule = GapRule.UNKNOWN
    horizon: float = Field(gt=0, description="how far ahead a date is worth anything, in life steps")
    notice: Duration = Field(description="the time that people need before they can start, such as 48 h")
    issue_every: Annotated[int | None, PlainValidator(_issue_every)] = None
    stale_after: LongerThanNothing = 24 * 3_600_000
    keep_readings: LongerThanNothing | None = None
    risk_cap: Share = 0.05
    expected_life: ExpectedLifeEntry | None = None
    stress: Product = ()
    costs: CostsEntry | None = None
    calendar: str = ""
    sensors: dict[str, Any] = Field(min_length=1, description="a section of sensors")
    conditions: Listed[str] = ()
    failure_modes: dict[str, Any] = Field(default_factory=dict)


class AssetEntry(Entry):
    serial: Identity = Field(description="the serial number of the machine")
    class_name: str = Field(alias="class", description="the name of its class")
    slot: Identity = Field(description="the functional location that it sits in")
    source: Identity = Field(description="the name under which its readings arrive")
    start_of_life: Annotated[int | date | None, PlainValidator(_start_of_life)] = Field(
        description=f"when it was new, such as 2026-01-04T06:00:00Z, or {UNKNOWN}"
    )
    criticality: int = Field(3, ge=1, le=5)
    place: Annotated[tuple[str, ...], PlainValidator(_place)] = ()
    group: Identity | None = None
    external: dict[str, dict[str, str]] = Field(default_factory=dict)


class PlantEntry(Entry):
    plant: Identity = Field(description="the name of the plant")
    currency: str = Field(pattern="^[A-Z]{3}$", description="an ISO 4217 code such as EUR")
    time_zone: Zone = Field(description="a time zone such as Europe/Berlin")
    simulated: bool = False
    calendars: dict[str, Any] = Field(default_factory=dict)
    classes: dict[str, Any] = Field(min_length=1, description="a section of classes")
    assets: tuple[Any, ...] = ()
    files: tuple[Any, ...] = ()
    topics: tuple[Any, ...] = ()
    sparkplug: tuple[Any, ...] = ()
    lines: tuple[Any, ...] = ()
