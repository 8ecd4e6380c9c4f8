"""`pdm-twin backtest forecasts`: what would have been said before each failure, had the service run then."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from pdm.durations import DAY_MS
from pdm.errors import ConfigurationError
from pdm.learn import Life
from pdm.learn.walk_forward import Walked, times_of, walk_forward
from pdm.plant import AssetClass
from pdm.prognosis import MEDIAN
from pdm.prognosis.learned import Origin
from pdm.prognosis.quantiles import failure_probability
from pdm.progress import progress_bar
from pdm.recommend import EARLY, LATE
from pdm.scoring.track_record import FEWEST_LIVES, Figure, Judged, figures
from pdm.settings import Settings
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import opened_state, read
from pdm.stored_lives import lives_of
from pdm.templates import template
from pdm.training import SEED
from pdm.words import about, iso, listed, number


class Wanted(NamedTuple):
    """A class, the stretch of time that is walked over, and how often a model is trained in it."""

    class_name: str
    from_ms: int
    to_ms: int
    every_ms: int


@dataclass(frozen=True, slots=True)
class Foretold:
    """One failure: the last forecast at least the notice period before it (None: there was none), what came, and how
    long before the failure the alarm was on without a pause [ms]; None where it was not. Lives are in life steps."""

    serial: str
    failed_ms: int
    mode: str | None
    said_ms: int | None
    low: float | None
    median: float | None
    high: float | None
    came: float | None
    alarm_before_ms: int | None


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """From when to when a machine was more likely than not to fail within the notice period, and did not."""

    serial: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """All of a backtest."""

    class_name: str
    unit: str
    from_ms: int
    to_ms: int
    trained: int
    refused: tuple[tuple[int, str], ...]
    forecasts: int
    failures: tuple[Foretold, ...]
    false_alarms: tuple[FalseAlarm, ...]
    figures: dict[str, Figure]
    enough: bool


def backtest_forecasts(settings: Settings, wanted: Wanted) -> Report:
    """Walk over the stored steps of a class.

    Raises:
        ConfigurationError: there is no such class, or the stretch of time is empty.
    """
    if wanted.from_ms >= wanted.to_ms:
        raise ConfigurationError("expected a time before --to", key="--from")
    with opened_state(settings.state_url()) as engine, read(engine) as connection:
        plant = current_plant(connection)
        if wanted.class_name not in plant.plant.classes:
            raise ConfigurationError(f"expected {listed(list(plant.plant.classes), 'or')}", key="--class")
        asset_class = plant.declared.classes[wanted.class_name]
        lives = list(lives_of(connection, current_fleet(connection, plant), asset_class))
    origin = Origin.SIMULATED if plant.plant.simulated else Origin.PLANT
    cuts = list(range(wanted.from_ms, wanted.to_ms, wanted.every_ms))
    with progress_bar() as bar:
        task = bar.add_task(wanted.class_name, total=1.0)
        walked = walk_forward(
            asset_class,
            lives,
            cuts,
            wanted.to_ms,
            seed=SEED,
            origin=origin,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    return report_of(asset_class, lives, walked, wanted)


def report_of(asset_class: AssetClass, lives: Sequence[Life], walked: Walked, wanted: Wanted) -> Report:
    """What was said before each failure in the stretch of time, false alarms on the rest, and figures."""
    failed = np.array([life.failed for life in lives], dtype=bool)
    length = np.array([life.length for life in lives], dtype=np.float64)
    mine = failed[walked.life]
    judged = Judged(walked.quantiles[mine], walked.remaining[mine], length[walked.life[mine]], walked.life[mine])
    counted = judged.inside(asset_class.horizon)
    ended = [(number, life) for number, life in enumerate(lives) if life.failed and _in(life, wanted)]
    return Report(
        class_name=asset_class.name,
        unit=asset_class.life_step.unit,
        from_ms=wanted.from_ms,
        to_ms=wanted.to_ms,
        trained=walked.trained,
        refused=walked.refused,
        forecasts=len(walked.life),
        failures=tuple(_foretold(asset_class, life, number, walked) for number, life in ended),
        false_alarms=tuple(
            one for number, life in enumerate(lives) for one in _false_alarms(asset_class, life, number, walked)
        ),
        figures=figures(judged, asset_class.horizon),
        enough=len(np.unique(counted.life)) >= FEWEST_LIVES,
    )


def write_page(report: Report, out: Path) -> None:
    """The report as one HTML file to be printed."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"iso": iso, "about": about, "figure": number}
    page = environment.from_string(template("backtest.html"))
    out.write_text(page.render(asdict(report)), encoding="utf-8")


def _in(life: Life, wanted: Wanted) -> bool:
    return wanted.from_ms < int(times_of(life)[-1]) <= wanted.to_ms


def _alarm(asset_class: AssetClass, walked: Walked, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether failing within the notice period was more likely than not."""
    step_ms = asset_class.life_step.duration_ms or DAY_MS  # a step without a duration counts as a day
    within = np.full(len(rows), asset_class.notice_ms / step_ms)
    return np.asarray(failure_probability(walked.quantiles[rows], within) > 0.5)


def _foretold(asset_class: AssetClass, life: Life, number: int, walked: Walked) -> Foretold:
    failed_ms, rows = int(times_of(life)[-1]), np.flatnonzero(walked.life == number)
    on, before = _alarm(asset_class, walked, rows), None
    if len(on) and on[-1]:
        since = len(on) - int(np.argmin(on[::-1])) if not on.all() else 0
        before = failed_ms - int(walked.at_ms[rows[since]])
    early = rows[walked.at_ms[rows] <= failed_ms - asset_class.notice_ms]
    if not len(early):
        return Foretold(life.serial, failed_ms, life.mode, None, None, None, None, None, before)
    last = int(early[-1])
    low, median, high = (float(walked.quantiles[last, level]) for level in (EARLY, MEDIAN, LATE))
    said_ms, came = int(walked.at_ms[last]), float(walked.remaining[last])
    return Foretold(life.serial, failed_ms, life.mode, said_ms, low, median, high, came, before)


def _false_alarms(asset_class: AssetClass, life: Life, number: int, walked: Walked) -> list[FalseAlarm]:
    """Stretches of alarm that ended without a failure, or began more than twice the notice period before it."""
    rows = np.flatnonzero(walked.life == number)
    on = np.concatenate([[False], _alarm(asset_class, walked, rows), [False]]) if len(rows) else np.zeros(2, dtype=bool)
    begins, ends = np.flatnonzero(on[1:] & ~on[:-1]), np.flatnonzero(on[:-1] & ~on[1:]) - 1
    spans = [(int(walked.at_ms[rows[a]]), int(walked.at_ms[rows[b]])) for a, b in zip(begins, ends, strict=True)]
    if life.failed:
        spans = [span for span in spans if int(times_of(life)[-1]) - span[0] > 2 * asset_class.notice_ms]
    return [FalseAlarm(life.serial, *span) for span in spans]
