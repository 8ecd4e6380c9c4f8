"""What would have been said: `pdm-twin backtest`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pdm.cli.options import AsJson, ClassName, SettingsFile, instant, json_of, settings_of
from pdm.errors import ConfigurationError

backtest_app = typer.Typer(help="What would have been said, on stored history.", no_args_is_help=True)


@backtest_app.command("forecasts")
def backtest_forecasts(
    class_name: ClassName,
    from_time: Annotated[str, typer.Option("--from", help="first training, for example 2026-01-01T00:00:00Z")],
    to_time: Annotated[str, typer.Option("--to", help="end of the time that is walked over")],
    every_days: Annotated[float, typer.Option(min=0.01, help="days between trainings")] = 30,
    out: Annotated[Path | None, typer.Option(help="HTML file to write, to be read or printed")] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Walk over the past: train on what was known at each time, and say what it would have forecast."""
    from pdm import backtest_command as command
    from pdm.durations import DAY_MS

    from_ms, to_ms = instant(from_time, "--from"), instant(to_time, "--to")
    if from_ms is None or to_ms is None:
        raise ConfigurationError("expected a time", key="--from")
    wanted = command.Wanted(class_name, from_ms, to_ms, round(every_days * DAY_MS))
    report = command.backtest_forecasts(settings_of(settings), wanted)
    if out is not None:
        command.write_page(report, out)
    typer.echo(json_of(asdict(report)) if as_json else "\n".join(sentences(report)))


def sentences(report: Any) -> Iterator[str]:
    """A report as lines."""
    from pdm.words import about, duration, iso, number, plural

    failures, alarms = plural(len(report.failures), "failure"), plural(len(report.false_alarms), "false alarm")
    yield f"{report.class_name}: {plural(report.trained, 'model')}, {report.forecasts} forecasts, {failures}, {alarms}."
    for one in report.failures:
        alarm = "no alarm" if one.alarm_before_ms is None else f"alarm {duration(one.alarm_before_ms)} before"
        band = "" if one.low is None else f"{about(one.low)}-{about(one.high)}, came {about(one.came)}"
        said = f"said {band} {report.unit}s" if band else "nothing said"
        yield f"{one.serial} failed {iso(one.failed_ms)}: {said}, {alarm}"
    for one in report.false_alarms:
        yield f"{one.serial}: false alarm {iso(one.from_ms)} to {iso(one.to_ms)}"
    for name, (value, low, high) in report.figures.items():
        band = f" ({number(low)} to {number(high)})" if low == low else ""
        yield f"{name.replace('_', ' ')} {number(value)}{band}"
    if not report.enough:
        yield "Too few to tell: below ten failures with forecasts, figures stand without a band."
    for cut, why in report.refused:
        yield f"{iso(cut)}: {why}"
