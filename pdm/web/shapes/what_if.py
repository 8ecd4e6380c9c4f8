"""What a change of duty would do."""

from dataclasses import dataclass

from pdm.web.shapes.forecasts import PrognosisView, WindowView
from pdm.web.shapes.values import Instant


@dataclass(frozen=True, slots=True)
class BranchView:
    """One machine under one duty: its prognosis, and the window that would be advised."""

    prognosis: PrognosisView
    window: WindowView | None


@dataclass(frozen=True, slots=True)
class EffectView:
    """The scenario less today; None where one of the two is not known.

    Attributes:
        median_hours: of the time to failure, in plant time [h].
        risk_week: of the probability of failing within a week.
        preferred_hours: of the preferred start of the work [h].
        cost: of the expected cost at the preferred start [plant currency].
    """

    median_hours: float | None
    risk_week: float | None
    preferred_hours: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class BeyondView:
    """A duty at which the law of stress does not hold: it counted as the end of where it does."""

    column: str
    value: float
    counts_as: float


@dataclass(frozen=True, slots=True)
class WhatIfView:
    """What another duty from now on would mean, by the live twin, which stays as it is.

    Attributes:
        tick: version of the twin that this branched from, `made_at` its plant time.
        refusal: why there is no answer, as a code (None: there is one).
        faster: how much faster than lately life passes, None under a profile, whose life is told as used lately.
        beyond: duty at which the laws of stress do not hold.
    """

    serial: str
    tick: int
    made_at: Instant
    refusal: str | None
    refusal_text: str | None
    faster: float | None
    beyond: tuple[BeyondView, ...]
    today: BranchView | None
    scenario: BranchView | None
    difference: EffectView | None
