"""What commands have in common: their options, and how they ask and answer."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import typer

from pdm.errors import ConfigurationError

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="settings file (default pdm.yaml if there is one)")
]

ClassName = Annotated[str, typer.Option("--class", help="class of the machines")]
FromTime = Annotated[str | None, typer.Option("--from", help="from then on, for example 2026-11-22T00:00:00Z")]
ToTime = Annotated[str | None, typer.Option("--to", help="before then")]
TableFormat = Annotated[Literal["parquet", "csv"], typer.Option("--format", help="of the file")]

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")]


def settings_of(file: Path | None) -> Any:
    """All settings; the log is set up as they say."""
    from pdm.logs import configure_logs
    from pdm.settings import load_settings

    loaded = load_settings(file)
    configure_logs(loaded.log.level, loaded.log.format, sys.stderr)
    return loaded


def confirm(question: str) -> None:
    """Go on only if somebody says so."""
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked; --yes goes on without asking", key="--yes")
    typer.confirm(question, abort=True)


def instant(text: str | None, option: str) -> int | None:
    """A time that somebody typed."""
    from pdm.plant.entry_types import instant_ms

    try:
        return None if text is None else instant_ms(text)
    except ValueError as error:
        raise ConfigurationError(str(error), key=option) from None


def pairs(given: list[str], option: str) -> dict[str, str]:
    """What somebody typed as NAME=VALUE."""
    found = dict(pair.split("=", 1) for pair in given if "=" in pair)
    if len(found) != len(given):
        raise ConfigurationError(f"expected NAME=VALUE, each name once, not {' '.join(given)!r}", key=option)
    return found


def json_of(found: dict[str, Any]) -> str:
    """One object for scripts; what is not known (NaN) is null."""
    return orjson.dumps(found, default=tuple).decode()  # what it does not know are named tuples


def say(facts: dict[str, Any], as_json: bool, sentence: str) -> None:
    """Facts as one object, or in a sentence that has their names in braces."""
    typer.echo(json.dumps(facts) if as_json else sentence.format(**facts))


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(f"expected a zone such as Europe/Berlin, not {name!r}", key="--time-zone") from None
