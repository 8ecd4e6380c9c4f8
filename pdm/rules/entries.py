"""The sections of `rules.yaml` as they are written. `pdm.rules.ruleset` makes rules and routes from them."""

import re
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from pdm.durations import duration_ms
from pdm.plant.entries import either_above_or_below
from pdm.plant.entry_types import Duration, Entry, Listed, LongerThanNothing, OneOrMore, Share

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ADDRESS = re.compile(r"[^@\s<>,]+@[^@\s<>,]+")


class Remaining(NamedTuple):
    """A remaining life, in life steps or in calendar time (one of the two)."""

    steps: float | None
    ms: int | None


def _remaining(value: Any) -> Remaining:
    try:
        return Remaining(_positive(float(value)), None)
    except (TypeError, ValueError):
        pass
    try:
        return Remaining(None, int(_positive(duration_ms(str(value)))))
    except ValueError:
        raise ValueError(f"expected life steps such as 100, or a duration such as 48 h, not {value!r}") from None


def _positive(amount: float) -> float:
    if not 0 < amount < float("inf"):
        raise ValueError("expected more than nothing")
    return amount


def _within_0_and_1(share: float) -> float:
    if not 0 < share < 1:
        raise ValueError("expected a share above 0 % and below 100 %")
    return share


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):  # without showing it: it may be the secret itself
        raise ValueError("expected the name of an environment variable")
    return name


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"expected an e-mail address, not {text!r}")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a web address such as https://cmms.example.com/hooks/wear")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user or password")
    return text


Probability = Annotated[Share, AfterValidator(_within_0_and_1)]
RemainingLife = Annotated[Remaining, PlainValidator(_remaining)]
Address = Annotated[str, AfterValidator(_address)]
Variable = Annotated[str, AfterValidator(_variable)]


class RuleEntry(Entry):
    """What every rule can say."""

    kind: str
    title: str = ""
    classes: Listed[str] = ()
    hold: Duration = Field(0, alias="for")
    routes: OneOrMore[str] = ("log",)


class RulQuantileEntry(RuleEntry):
    level: Probability = Field(description="the probability level of the quantile, such as 10 %")
    below: RemainingLife = Field(description="life steps such as 100, or a duration such as 48 h")
    clear: RemainingLife | None = None

    @model_validator(mode="after")
    def _clears_above(self) -> Self:
        if self.clear is None:
            return self
        if (self.clear.steps is None) != (self.below.steps is None):
            raise ValueError("expected below and clear both in life steps or both as durations")
        if (self.clear.steps or self.clear.ms or 0) < (self.below.steps or self.below.ms or 0):
            raise ValueError("expected clear not below the value of below")
        return self


class FailureProbabilityEntry(RuleEntry):
    within: float = Field(gt=0, description="life steps ahead, such as 168")
    above: Probability = Field(description="a probability such as 30 %")
    clear: Share | None = None

    @model_validator(mode="after")
    def _clears_below(self) -> Self:
        if self.clear is not None and self.clear > self.above:
            raise ValueError("expected clear not above the value of above")
        return self


class SensorLimitEntry(RuleEntry):
    sensor: str = Field(description="the name of a sensor, or of a step column")
    above: float | None = None
    below: float | None = None
    clear: float | None = None

    @model_validator(mode="after")
    def _has_one_side(self) -> Self:
        either_above_or_below(self.above, self.below)
        if self.clear is None:
            return self
        if (self.above is not None and self.clear > self.above) or (self.below is not None and self.clear < self.below):
            raise ValueError("expected clear on the good side of the limit")
        return self


class DepartureEntry(RuleEntry):
    above: float = Field(1.0, gt=0, description="levels of the alarm, such as 1.5")
    clear: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _clears_below(self) -> Self:
        if self.clear is not None and self.clear > self.above:
            raise ValueError("expected clear not above the value of above")
        return self


class SilentSensorEntry(RuleEntry):
    hold: LongerThanNothing = Field(alias="for", description="how long nothing came, such as 2 h")


class SensorFaultEntry(RuleEntry):
    sensor: str | None = Field(None, description="the name of a sensor")


OneRuleEntry = RulQuantileEntry | FailureProbabilityEntry | SensorLimitEntry | DepartureEntry | SilentSensorEntry
AnyRuleEntry = OneRuleEntry | SensorFaultEntry
RULE_KINDS: dict[str, type[AnyRuleEntry]] = {
    "rul_quantile": RulQuantileEntry,
    "failure_probability": FailureProbabilityEntry,
    "sensor_limit": SensorLimitEntry,
    "sensor_fault": SensorFaultEntry,
    "departure": DepartureEntry,
    "silent_sensor": SilentSensorEntry,
}


class RouteEntry(Entry):
    """What every route says. Secrets are named, never written: a file, or an environment variable."""

    kind: str


class LogEntry(RouteEntry):
    pass


class WebhookEntry(RouteEntry):
    url: Annotated[str, AfterValidator(_web_address)] = Field(description="a web address")
    secret_file: str | None = None
    secret_env: Variable | None = None

    @model_validator(mode="after")
    def _names_a_secret(self) -> Self:
        if (self.secret_file is None) == (self.secret_env is None):
            raise ValueError("expected either secret_file or secret_env, since webhooks are signed")
        return self


class SmtpEntry(RouteEntry):
    host: str = Field(min_length=1, description="the name of the mail server")
    port: int | None = Field(None, ge=1, le=65_535)
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address = Field(alias="from", description="an e-mail address")
    to: OneOrMore[Address] = Field(description="one or more e-mail addresses")
    user: str | None = None
    secret_file: str | None = None
    secret_env: Variable | None = None

    @model_validator(mode="after")
    def _has_a_password_for_its_user(self) -> Self:
        named = [name for name in (self.secret_file, self.secret_env) if name is not None]
        if len(named) != (0 if self.user is None else 1):
            raise ValueError("expected user together with either secret_file or secret_env, or none of them")
        return self


AnyRouteEntry = LogEntry | WebhookEntry | SmtpEntry
ROUTE_KINDS: dict[str, type[AnyRouteEntry]] = {"log": LogEntry, "webhook": WebhookEntry, "smtp": SmtpEntry}


class RulesEntry(Entry):
    rules: dict[str, Any] = Field(default_factory=dict)
    routes: dict[str, Any] = Field(default_factory=dict)
