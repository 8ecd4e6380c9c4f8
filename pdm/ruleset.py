"""What is told, to whom: the rules and routes of `rules.yaml` as immutable typed data. `pdm.rules` evaluates them."""

from collections.abc import Mapping
from dataclasses import dataclass


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
class SilentSensorRule(BaseRule):
    """The source of an asset has sent nothing for `for_ms`. Clears with its next reading."""


Rule = RulQuantileRule | FailureProbabilityRule | SensorLimitRule | SilentSensorRule


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
