"""Data in, out and away: `pdm-twin import`, `export`, `delete`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pdm.cli.options import (
    AsJson,
    ClassName,
    FromTime,
    SettingsFile,
    TableFormat,
    ToTime,
    confirm,
    instant,
    pairs,
    say,
    settings_of,
    zone_of,
)
from pdm.errors import ConfigurationError

import_app = typer.Typer(help="Bring history in.", no_args_is_help=True)
export_app = typer.Typer(help="Take data out.", no_args_is_help=True)
delete_app = typer.Typer(help="Take data away for good.", no_args_is_help=True)


@import_app.command("readings")
def import_readings(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV or Parquet files, or folders of them, one column a sensor")
    ] = None,
    settings: SettingsFile = None,
    source_column: Annotated[str, typer.Option(help="column that names the source")] = "source",
    time_column: Annotated[str, typer.Option(help="column with the time")] = "time",
    clock_column: Annotated[
        str | None, typer.Option(help="column with the rest of it: time of day, or milliseconds")
    ] = None,
    sensor_column: Annotated[str | None, typer.Option(help="column that names the sensor, one value a row")] = None,
    value_column: Annotated[str, typer.Option(help="column with the values, beside --sensor-column")] = "value",
    source: Annotated[
        str | None, typer.Option(help="source of all rows, without that column; '{file}': name of the file")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="between cells; default as the header shows")] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="default as the first values show")] = None,
    missing: Annotated[list[str], typer.Option(help="a word for no value, beside Bad, NaN, n/a, --- and such")] = [],  # noqa: B006
    time_format: Annotated[str | None, typer.Option(help="of times that are not ISO 8601, as %d.%m.%Y %H:%M")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="of times that carry no offset, for example Europe/Berlin")
    ] = None,
    epoch_unit: Annotated[
        Literal["s", "min", "h", "d", "ms", "us", "ns"] | None, typer.Option(help="what times that are numbers count")
    ] = None,
    count_from: Annotated[
        str | None, typer.Option(help="since when, if not since 1970, for example 2026-01-01T00:00:00Z")
    ] = None,
    rename: Annotated[list[str], typer.Option(help="COLUMN=SENSOR, where a column has another name")] = [],  # noqa: B006
    ignore: Annotated[list[str], typer.Option(help="a column to leave out")] = [],  # noqa: B006
    unit: Annotated[list[str], typer.Option(help="SENSOR=UNIT, where the file is not in the declared unit")] = [],  # noqa: B006
    from_influx: Annotated[str | None, typer.Option(help="address of an InfluxDB, in place of files")] = None,
    bucket: Annotated[str, typer.Option(help="with --from-influx: bucket to read")] = "",
    org: Annotated[str, typer.Option(help="with --from-influx: organization of the bucket")] = "",
    token_file: Annotated[Path | None, typer.Option(help="with --from-influx: file with a token that may read")] = None,
    measurement: Annotated[list[str], typer.Option(help="with --from-influx: only this; default all")] = [],  # noqa: B006
    from_time: FromTime = None,
    to_time: ToTime = None,
    as_json: AsJson = False,
) -> None:
    """Bring stored readings in; a run that was cut short goes on where it stopped."""
    from pdm.import_command import REPORT, Bucket, import_into_log
    from pdm.plant.wire import TableForm
    from pdm.words import plural

    loaded = settings_of(settings)
    zone = None if time_zone is None else zone_of(time_zone)
    form = TableForm(
        source=source,
        source_column=source_column,
        time_column=time_column,
        clock_column=clock_column,
        sensor_column=sensor_column,
        value_column=value_column,
        delimiter=None if delimiter is None else _delimiter(delimiter),
        decimal=decimal,
        missing=tuple(missing),
        time_format=time_format,
        time_zone=zone,
        epoch_unit=epoch_unit,
        count_from_ms=instant(count_from, "--count-from"),
        rename=pairs(rename, "--rename"),
        ignore=tuple(ignore),
        units=pairs(unit, "--unit"),
    )
    span = instant(from_time, "--from"), instant(to_time, "--to")
    if from_influx is not None:
        if files or token_file is None or not bucket:
            raise ConfigurationError("goes with --bucket and --token-file, and with no files", key="--from-influx")
        if not from_influx.startswith(("http://", "https://")):
            said = f"expected an address such as http://127.0.0.1:8086, not {from_influx!r}"
            raise ConfigurationError(said, key="--from-influx")
        if form != TableForm():
            said = "what a bucket holds stands under `lines` in plant.yaml: expected no options of tables"
            raise ConfigurationError(said, key="--from-influx")
        _import_bucket(loaded, Bucket(from_influx, org, bucket, token_file, tuple(measurement), *span), as_json)
        return
    if not files or bucket or org or token_file or measurement or span != (None, None):
        raise ConfigurationError("expected files and their options, or --from-influx and its options")
    for done in import_into_log(loaded, files, form):
        facts = {"file": str(done.path), "rows": done.rows, "bad_rows": done.bad_rows, "already": done.already}
        facts["read_as"] = done.read_as
        before = ", imported before" if done.already else " ({read_as})"
        bad = f", {{bad_rows}} of them bad: see {loaded.data_dir / REPORT}" if done.bad_rows else ""
        say(facts, as_json, f"{{file}}: {plural(done.rows, 'row')}{bad}{before}")


@import_app.command("events")
def import_events(
    file: Annotated[Path, typer.Argument(help="work orders as CSV")],
    event_map: Annotated[Path, typer.Option("--map", help="YAML file: which rows mean which events")],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring past failures, repairs and swaps in from the work orders of a maintenance system."""
    from pdm.import_events import REPORT, import_events

    loaded = settings_of(settings)
    done = import_events(loaded, file, event_map)
    facts: dict[str, Any] = {"rows": done.rows, "events": done.events, "problems": len(done.problems)}
    listed = ""
    if done.problems:
        first = done.problems[0]
        facts["first"] = f"line {first.line}: {first.reason}"
        listed = f", {{problems}} problems ({{first}}): see {loaded.data_dir / REPORT}"
    say(facts, as_json, f"{{rows}} rows, {{events}} events{listed}")


def _exporting(what: str) -> Callable[..., None]:
    """The command that exports what stands in time."""

    def export(
        out: Annotated[Path, typer.Argument(help="file to write")],
        class_name: ClassName,
        from_time: FromTime = None,
        to_time: ToTime = None,
        form: TableFormat = "parquet",
        settings: SettingsFile = None,
    ) -> None:
        from pdm.export_command import EXPORTS, Wanted

        wanted = Wanted(class_name, instant(from_time, "--from"), instant(to_time, "--to"))
        typer.echo(f"{out}: {EXPORTS[what](settings_of(settings), wanted, out, form)} {what}")

    return export


for _what, _says in {
    "readings": "Readings of a class, each once, one column a sensor.",
    "steps": "Steps of a class as they stand, one column a summary.",
    "prognoses": "Prognoses of a class as they were issued, one column a quantile, and how those lives ended.",
}.items():
    export_app.command(_what, help=_says)(_exporting(_what))


@export_app.command("twins")
def export_twins(
    out: Annotated[Path, typer.Argument(help="file to write")],
    class_name: ClassName,
    form: TableFormat = "parquet",
    settings: SettingsFile = None,
) -> None:
    """What is believed of each machine of a class now."""
    from pdm.export_command import export_twins

    typer.echo(f"{out}: {export_twins(settings_of(settings), class_name, out, form)} twins")


@delete_app.command("readings")
def delete_readings(
    asset: Annotated[str, typer.Option(help="serial of the machine")],
    from_time: FromTime = None,
    to_time: ToTime = None,
    settings: SettingsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what one machine said, late readings too. Steps and forecasts that were made of it stay."""
    from pdm.delete_command import delete_readings, places_of
    from pdm.words import listed, plural

    loaded = settings_of(settings)
    places = places_of(loaded, asset, instant(from_time, "--from"), instant(to_time, "--to"))
    where = listed([str(place) for place in places])
    if not yes:
        confirm(f"Delete all readings of {asset}, source {where}, for good?")
    count = delete_readings(loaded, places)
    say({"asset": asset, "readings": count}, as_json, f"{{asset}}: {plural(count, 'reading')} deleted")


def _import_bucket(loaded: Any, bucket: Any, as_json: bool) -> None:
    from pdm.import_command import REPORT, import_bucket_into_log
    from pdm.words import plural

    for done in import_bucket_into_log(loaded, bucket):
        name, sources = done.mapped.wanted.measurement, done.mapped.sources
        facts = {"measurement": name, "points": done.points, "new_points": done.new_points}
        facts |= {"bad_values": done.bad_values, "sources": len(sources), "remarks": len(done.mapped.remarks)}
        what = plural(len(sources), "source") + "".join(f", {field}" for field in done.mapped.wanted.fields)
        said = f"{name}: {done.points:,} points, {done.new_points:,} of them new ({what})"
        if done.bad_values or done.mapped.remarks:
            problems = f"{plural(done.bad_values, 'bad value')}, {plural(len(done.mapped.remarks), 'remark')}"
            said += f"; {problems}: see {loaded.data_dir / REPORT}"
        typer.echo(json.dumps(facts) if as_json else said)


def _delimiter(text: str) -> str:
    if len(found := {"tab": "\t", "\\t": "\t"}.get(text, text)) != 1:
        raise ConfigurationError(f"expected one character, or tab, not {text!r}", key="--delimiter")
    return found
