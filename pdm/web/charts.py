"""Charts as SVG made on the server: readable without script, coloured by classes of the style sheet only.

Pure functions of numbers; what comes out is safe to put into a page. Shapes that may stretch carry no text; the words
stand beside them in the page, where they wrap and scale like any other.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PAST_SHOWN = 16
"""How many past forecasts are drawn as lines of their own: enough to see whether they kept their word."""

LEAST_SPAN = 0.001
"""Least height of the scale of one sensor, as a share of its largest value: the digits that are shown beside it."""

_FAN_WIDTH, _FAN_HEIGHT = 480.0, 256.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 8.0, 16.0, 36.0


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at an age; `kind` picks its sign: `failed`, `alert`, or any other for an event."""

    age: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Fan:
    """Forecasts of one life: age across, remaining life upwards [life steps].

    Attributes:
        ages: `[m]` age at which each forecast was issued, rising.
        low, median, high: `[m]` quantiles 10, 50 and 90 % of the remaining life that it gave; NaN where refused.
        horizon: beyond it remaining lives are not told apart.
        age: of the machine now.
        now: quantiles 10, 50 and 90 % of today's forecast; None where refused.
        ended: age at which it failed.
        unit: of the life step.
        told: `[m]` each forecast in words.
    """

    ages: Sequence[float]
    low: Sequence[float]
    median: Sequence[float]
    high: Sequence[float]
    horizon: float
    age: float
    now: tuple[float, float, float] | None
    unit: str
    ended: float | None = None
    marks: Sequence[Mark] = ()
    told: Sequence[str] = ()

    @property
    def top(self) -> float:
        """Upper end of the scale of remaining life."""
        told = [value for value in (*self.high, *(self.now or ())) if not math.isnan(value)]
        return min(1.04 * self.horizon, 1.1 * max(told, default=self.horizon))

    @property
    def end(self) -> float:
        """Upper end of the scale of age: where today's forecast, or the life, ends."""
        if self.ended is not None:
            return 1.05 * self.ended
        return self.age + min(1.08 * self.now[2], self.horizon) if self.now else 1.25 * max(self.age, 1.0)

    def kept(self) -> NDArray[np.int64]:
        """Which of the past forecasts are drawn as lines: those with a date, evenly over the life."""
        dated = np.flatnonzero(np.nan_to_num(np.asarray(self.median, dtype=float), nan=np.inf) < self.horizon)
        evenly = np.linspace(0, len(dated) - 1, min(PAST_SHOWN, len(dated))).round().astype(np.int64)
        shown: NDArray[np.int64] = dated[evenly]
        return shown

    def data(self) -> dict[str, Any]:
        """The same chart for the script that draws it with a cursor: numbers, null where there is none."""
        return {
            "ages": _finite(self.ages),
            "low": _finite(self.low),
            "median": _finite(self.median),
            "high": _finite(self.high),
            "past": self.kept().tolist(),
            "horizon": self.horizon,
            "age": self.age,
            "now": None if self.now is None else list(self.now),
            "ended": self.ended,
            "unit": self.unit,
            "top": self.top,
            "end": self.end,
            "told": list(self.told),
            "marks": [{"age": m.age, "kind": m.kind, "text": m.text} for m in self.marks],
        }


def fan(chart: Fan, title: str) -> Markup:
    """The fan chart: band and median of what was said, today's forecast down to its end, past ones as faint lines."""
    plot = _Plot(chart.end, chart.top, _FAN_WIDTH - _LEFT - _RIGHT, _FAN_HEIGHT - _TOP - _BOTTOM)
    shapes = [*_issued(chart, plot), *_past(chart, plot), *_today(chart, plot), *_truth(chart, plot)]
    return _svg(
        _FAN_WIDTH,
        _FAN_HEIGHT,
        "fan",
        title,
        [
            *_axes(chart, plot),
            Markup('<svg x="{}" y="{}" width="{}" height="{}">{}</svg>').format(
                _LEFT, _TOP, plot.width, plot.height, Markup("").join(shapes)
            ),
            *_signs(chart, plot),
        ],
    )


def spark(values: ArrayLike, title: str, width: float = 96.0, height: float = 24.0, *, stretch: bool = False) -> Markup:
    """A line on the common scale 0 to 1 (wear: new to failed), its latest value as a dot unless it stretches."""
    shares = np.clip(np.asarray(values, dtype=float), 0.0, 1.0)
    shares = shares[~np.isnan(shares)]
    if not len(shares):
        return _svg(width, height, "spark", title, [], stretch=stretch)
    x = np.linspace(0.0, width - 3.0, len(shares)) if len(shares) > 1 else np.array([width - 3.0])
    y = 2.0 + (height - 4.0) * (1.0 - shares)
    shapes = [
        Markup('<path class="limit" d="M0 2H{}"/>').format(_digits(width)),
        _path("area", [(x[0], height), *zip(x, y, strict=True), (x[-1], height)], close=True),
        _path("line", zip(x, y, strict=True)),
    ]
    if not stretch:
        shapes.append(Markup('<circle class="dot" cx="{}" cy="{}" r="2.5"/>').format(_digits(x[-1]), _digits(y[-1])))
    return _svg(width, height, "spark", title, shapes, stretch=stretch)


def multiple(times: ArrayLike, values: ArrayLike, healthy: tuple[float, float] | None, title: str) -> Markup:
    """One sensor over time: a line, its healthy band in grey, stretches without usable values hatched."""
    x, y = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    measured = y[~np.isnan(y)]
    if not len(measured):
        return _svg(240.0, 64.0, "multiple", title, [_hatched(0.0, 240.0, 64.0)], stretch=True)
    bounds = np.r_[measured, healthy or ()]
    low, high = _least_span(float(bounds.min()), float(bounds.max()))
    margin = 0.06 * (high - low)
    across = 240.0 * (x - x[0]) / max(float(x[-1] - x[0]), 1.0)
    upwards = 64.0 * (high + margin - y) / (high - low + 2 * margin)
    shapes: list[Markup] = []
    if healthy is not None:
        top, bottom = (64.0 * (high + margin - edge) / (high - low + 2 * margin) for edge in (healthy[1], healthy[0]))
        shapes.append(_rect("healthy", 0.0, top, 240.0, bottom - top))
    for run, missing in _runs(np.isnan(y)):
        if missing:
            shapes.append(_hatched(across[max(run[0] - 1, 0)], across[min(run[-1] + 1, len(x) - 1)], 64.0))
        else:
            shapes.append(_path("line", zip(across[run], upwards[run], strict=True)))
    return _svg(240.0, 64.0, "multiple", title, shapes, stretch=True)


def _least_span(low: float, high: float) -> tuple[float, float]:
    """These ends, moved apart where they are so close that the noise of a constant signal would fill the chart."""
    missing = LEAST_SPAN * (max(abs(low), abs(high)) or 1.0) - (high - low)
    return (low - missing / 2, high + missing / 2) if missing > 0 else (low, high)


def bar(share: float, kind: str = "") -> Markup:
    """A horizontal bar of this share (0 to 1) of its space; the number stands beside it."""
    filled = 100.0 * min(max(share, 0.0), 1.0)
    shapes = [_rect("rest", 0.0, 0.0, 100.0, 8.0), _rect(f"filled {kind}".strip(), 0.0, 0.0, filled, 8.0)]
    return _svg(100.0, 8.0, "bar", None, shapes, stretch=True)


def timeline(
    until: float, window: tuple[float, float, float] | None, failure: tuple[float, float, float] | None, title: str
) -> Markup:
    """From now to `until`: the window with its preferred start above, the likely failure with its median below."""
    scale = 240.0 / until
    shapes = [Markup('<path class="axis" d="M0 16H240"/>')]
    if window is not None:
        earliest, preferred, latest = (min(edge * scale, 240.0) for edge in window)
        shapes += [
            _rect("window", earliest, 3.0, max(latest - earliest, 2.0), 10.0),
            _rect("preferred", min(preferred, 237.0), 1.0, 3.0, 14.0),
        ]
    if failure is not None:
        low, median, high = (min(edge * scale, 240.0) for edge in failure)
        shapes += [
            _rect("failure", low, 19.0, max(high - low, 2.0), 10.0),
            _rect("median", min(median, 238.0), 19.0, 2.0, 10.0),
        ]
    return _svg(240.0, 32.0, "timeline", title, shapes, stretch=True)


def reliability(points: Sequence[tuple[float, float, float | None, float | None]], title: str) -> Markup:
    """Stated probability across, observed share upwards with its band where there is one, and the diagonal."""
    plot, size = _Plot(1.0, 1.0, 240.0, 240.0), 300.0
    shapes = [_path("limit", [plot.at(0.0, 0.0), plot.at(1.0, 1.0)])]
    banded = [(stated, low, high) for stated, _, low, high in points if low is not None and high is not None]
    if banded:
        upper = [plot.at(stated, high) for stated, _, high in banded]
        lower = [plot.at(stated, low) for stated, low, _ in reversed(banded)]
        shapes.append(_path("band", [*upper, *lower], close=True))
    if points:
        shapes.append(_path("line", [plot.at(stated, observed) for stated, observed, _, _ in points]))
    for stated, observed, _, _ in points:
        x, y = plot.at(stated, observed)
        shapes.append(Markup('<circle class="dot" cx="{}" cy="{}" r="3"/>').format(_digits(x), _digits(y)))
    words = [_text(_LEFT - 6.0, _TOP + plot.at(0.0, p)[1] + 4.0, f"{100 * p:.0f} %", "end") for p in (0.0, 0.5, 1.0)]
    words += [_text(_LEFT + plot.at(p, 0.0)[0], size - 24.0, f"{100 * p:.0f} %", "middle") for p in (0.0, 0.5, 1.0)]
    inner = Markup('<svg x="{}" y="{}" width="240" height="240">{}</svg>').format(_LEFT, _TOP, Markup("").join(shapes))
    return _svg(size, size, "square", title, [*words, inner])


def histogram(shares: Sequence[float], title: str) -> Markup:
    """Columns of these shares side by side, with the height that all would have if they were equal."""
    top, width = 1.1 * max([*shares, 0.2]), 240.0 / max(len(shares), 1)
    columns = [
        _rect("filled", number * width + 1.0, 96.0 * (1.0 - share / top), width - 2.0, 96.0 * share / top)
        for number, share in enumerate(shares)
    ]
    level = 96.0 * (1.0 - 1.0 / max(len(shares), 1) / top)
    return _svg(240.0, 96.0, "square", title, [*columns, _path("limit", [(0.0, level), (240.0, level)])])


def ticks(high: float, most: int) -> list[float]:
    """At most `most` round numbers from 0 to `high`."""
    if high <= 0:
        return [0.0]
    rough = high / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * round_one for round_one in (1, 2, 5, 10) if power * round_one >= rough)
    return [step * count for count in range(int(high / step) + 1)]


@dataclass(frozen=True, slots=True)
class _Plot:
    """Scales of a plot whose axes start at 0."""

    end: float
    top: float
    width: float
    height: float

    def at(self, age: float, remaining: float) -> tuple[float, float]:
        return self.width * age / self.end, self.height * (1.0 - remaining / self.top)


def _past(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    """From where a forecast was issued down to the end that it named: the lines of a true prophet meet in one point."""
    for i in chart.kept():
        age, median = chart.ages[i], chart.median[i]
        yield _path("past", [plot.at(age, median), plot.at(age + median, 0.0)])


def _issued(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    known = ~np.isnan(np.asarray(chart.median, dtype=float))
    for run, told in _runs(known):
        if told and len(run):
            upper = [plot.at(chart.ages[i], chart.high[i]) for i in run]
            lower = [plot.at(chart.ages[i], chart.low[i]) for i in reversed(run)]
            yield _path("band", [*upper, *lower], close=True)
            yield _path("line", [plot.at(chart.ages[i], chart.median[i]) for i in run])


def _today(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    if chart.now is None or chart.ended is not None:
        return
    low, median, high = chart.now
    corners = [(chart.age, low), (chart.age, high), (chart.age + high, 0.0), (chart.age + low, 0.0)]
    yield _path("today", [plot.at(*corner) for corner in corners], close=True)
    yield _path("today-median", [plot.at(chart.age, median), plot.at(chart.age + median, 0.0)])
    yield _path("now", [plot.at(chart.age, 0.0), plot.at(chart.age, plot.top)])


def _truth(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    if chart.ended is not None:
        yield _path("truth", [plot.at(0.0, chart.ended), plot.at(chart.ended, 0.0)])


def _axes(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    for value in ticks(plot.top, 5):
        y = _TOP + plot.at(0.0, value)[1]
        yield Markup('<path class="grid" d="M{} {}h{}"/>').format(_LEFT, _digits(y), _digits(plot.width))
        yield _text(_LEFT - 6.0, y + 4.0, f"{value:,.0f}", "end")
    for value in ticks(plot.end, 6):
        yield _text(_LEFT + plot.at(value, 0.0)[0], _FAN_HEIGHT - 20.0, f"{value:,.0f}", "middle")
    yield _text(_LEFT + plot.width, _FAN_HEIGHT - 4.0, f"age [{chart.unit}]", "end")
    yield _text(2.0, 10.0, f"remaining life [{chart.unit}]", "start")


def _signs(chart: Fan, plot: _Plot) -> Iterable[Markup]:
    """What happened, as a sign on the axis of age whose words show on hover and stand in the table."""
    for mark in chart.marks:
        x, y = _LEFT + plot.at(mark.age, 0.0)[0], _TOP + plot.height
        shape = {"failed": "m-4 -4l8 8m0 -8l-8 8", "alert": "m-5 4h10l-5 -9z"}.get(mark.kind, "m0 -5l5 5l-5 5l-5 -5z")
        yield Markup('<path class="sign {}" d="M{} {}{}"><title>{}</title></path>').format(
            mark.kind, _digits(x), _digits(y), shape, mark.text
        )


def _runs(flags: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], bool]]:
    """Stretches of equal flags, as indices, in order."""
    if not len(flags):
        return []
    parts = np.split(np.arange(len(flags)), np.flatnonzero(np.diff(flags)) + 1)
    return [(part, bool(flags[part[0]])) for part in parts]


def _svg(
    width: float, height: float, name: str, title: str | None, shapes: Iterable[Markup], *, stretch: bool = False
) -> Markup:
    label = Markup('role="img" aria-label="{}"').format(title) if title else Markup('aria-hidden="true"')
    return Markup('<svg class="chart {}" viewBox="0 0 {} {}" {}{}>{}</svg>').format(
        name,
        _digits(width),
        _digits(height),
        label,
        Markup(' preserveAspectRatio="none"') if stretch else "",
        Markup("").join(shapes),
    )


def _path(name: str, points: Iterable[tuple[Any, Any]], *, close: bool = False) -> Markup:
    corners = "L".join(f"{_digits(x)} {_digits(y)}" for x, y in points)
    return Markup('<path class="{}" d="M{}{}"/>').format(name, corners, "Z" if close else "")


def _rect(name: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        name, *(_digits(value) for value in (x, y, width, height))
    )


def _hatched(start: float, end: float, height: float) -> Markup:
    """Slanted lines over a stretch."""
    wide = max(end - start, 2.0)
    lines = Markup("").join(
        Markup('<path d="M{} {}L{} 0"/>').format(_digits(x), _digits(height), _digits(x + 16.0))
        for x in np.arange(-16.0, wide, 6.0)
    )
    return Markup('<svg class="hatched" x="{}" y="0" width="{}" height="{}">{}</svg>').format(
        _digits(start), _digits(wide), _digits(height), lines
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_digits(x), _digits(y), anchor, escape(text))


def _digits(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _finite(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]
