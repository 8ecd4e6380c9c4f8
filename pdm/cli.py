"""The command `pdm-twin`. Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from pdm import __version__
from pdm.errors import ConfigurationError, PdmError

app = typer.Typer(
    name="pdm-twin",
    help="Predictive maintenance on live digital twins.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
import_app = typer.Typer(help="Bring history in.", no_args_is_help=True)
export_app = typer.Typer(help="Take data out.", no_args_is_help=True)
delete_app = typer.Typer(help="Take data away for good.", no_args_is_help=True)
models_app = typer.Typer(help="Trained models.", no_args_is_help=True)
topics_app = typer.Typer(help="Messages by MQTT.", no_args_is_help=True)
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
app.add_typer(delete_app, name="delete")
app.add_typer(models_app, name="models")
app.add_typer(topics_app, name="topics")

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="settings file (default pdm.yaml if there is one)")
]

ClassName = Annotated[str, typer.Option("--class", help="class of the machines")]
FromTime = Annotated[str | None, typer.Option("--from", help="from then on, for example 2026-11-22T00:00:00Z")]
ToTime = Annotated[str | None, typer.Option("--to", help="before then")]
TableFormat = Annotated[Literal["parquet", "csv"], typer.Option("--format", help="of the file")]

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object, for scripts")]


def main() -> None:
    """Run the command; errors that people can mend are one line, without a traceback."""
    try:
        app()
    except ConfigurationError as error:
        _fail(error, 2)
    except (PdmError, OSError) as error:
        _fail(error, 1)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="show the version")] = False) -> None:
    """Predictive maintenance on live digital twins."""
    if show:
        typer.echo(f"pdm-twin {__version__}")
        raise typer.Exit


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="where to write the files")] = Path(),
    force: Annotated[bool, typer.Option(help="overwrite files that are there")] = False,
) -> None:
    """Write a commented plant.yaml and rules.yaml for one critical machine."""
    from pdm.templates import plant_template, rules_template

    files = {folder / "plant.yaml": plant_template(), folder / "rules.yaml": rules_template()}
    present = [str(path) for path in files if path.exists()]
    if present and not force:
        raise ConfigurationError(f"is there already ({', '.join(present)}); --force overwrites", file=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {path}")
    typer.echo("Fit them to your machine, then: pdm-twin check, pdm-twin apply, pdm-twin up")


@app.command()
def check(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Check the plant file and the rules file."""
    from pdm.applying import read_files, still_ahead
    from pdm.words import plural

    loaded = _settings(settings)
    files = read_files(loaded.plant, loaded.rules)
    for warning in still_ahead(files, loaded.plant, time.time_ns() // 1_000_000):
        typer.echo(f"warning: {warning}", err=True)
    found = {
        "plant": files.plant.name,
        "classes": len(files.plant.classes),
        "assets": len(files.plant.assets),
        "rules": len(files.rules.rules),
    }
    counts = [
        plural(len(files.plant.classes), "class", "classes"),
        plural(len(files.plant.assets), "asset"),
        plural(len(files.rules.rules), "rule"),
    ]
    _say(found, as_json, f"{{plant}}: {', '.join(counts)}. Both files are in order.")


@app.command()
def apply(
    settings: SettingsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Show what the files change, then store them as the version that the service works with."""
    from pdm.applying import apply_files, read_files, what_changes
    from pdm.state.schema import opened_state, read, write

    loaded = _settings(settings)
    files = read_files(loaded.plant, loaded.rules)
    with opened_state(loaded.state_url()) as engine:
        with read(engine) as connection:
            changes = what_changes(connection, files)
        for sentence in changes.sentences or ["nothing changes"]:
            typer.echo(f"- {sentence}")
        if changes.sentences and not changes.orphaned and not yes:
            _confirm("Apply?")
        with write(engine) as connection:
            stored = apply_files(connection, files, time.time_ns() // 1_000_000)
    typer.echo(f"Version {stored.number} is in force.")


@app.command()
def up(settings: SettingsFile = None) -> None:
    """Run everything: readings from the broker, the schedule, API and pages. Ctrl-C or SIGTERM stops it cleanly."""
    loaded = _settings(settings)  # before much is imported: what is wrong with it is said at once

    from pdm.running import run_service

    run_service(loaded, settings)


@app.command()
def ingest(
    settings: SettingsFile = None,
    number: Annotated[int, typer.Option(min=1, help="which of the ingesting processes of this host this is")] = 1,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take readings from the broker, and nothing else; `up` does it, too."""
    from pdm.ingest_process import take_readings

    take_readings(_settings(settings), number, parent)


@app.command()
def pipeline(settings: SettingsFile = None) -> None:
    """Run what is scheduled, and nothing else; of several such processes one leads, the others wait."""
    from pdm.roles import lead_pipelines

    lead_pipelines(_settings(settings))


@app.command()
def serve(settings: SettingsFile = None) -> None:
    """Serve API and pages, and nothing else; any number of such processes."""
    from pdm.roles import serve as serve_pages

    serve_pages(_settings(settings))


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="name of a file in pipelines/, for example tick")],
    settings: SettingsFile = None,
) -> None:
    """Run one pipeline once, now; a service that is up runs them itself."""
    from pdm.running import run_pipeline

    typer.echo(run_pipeline(_settings(settings), pipeline))


@app.command()
def doctor(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Look at everything that the service rests on, and say what is wrong and what to do."""
    from pdm.doctor import Level, examine

    worst = Level.OK
    for finding in examine(_settings(settings)):
        typer.echo(json.dumps(asdict(finding)) if as_json else str(finding))
        worst = max(worst, finding.level, key=list(Level).index)
    raise typer.Exit(int(worst == Level.FAULT))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="tar file to write, on a disk with room for all data")],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Write everything that the service keeps into one file, while it runs or while it does not."""
    from pdm.backup import back_up

    _say_backup(file, back_up(_settings(settings), file), as_json, "backed up to")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="what `pdm-twin backup` wrote")],
    settings: SettingsFile = None,
    force: Annotated[bool, typer.Option("--force", help="also where there is data; files stay beside the new")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, into whatever database the settings name. The service must not run."""
    from pdm.backup import restore

    _say_backup(file, restore(_settings(settings), file, force=force), as_json, "restored from")


@app.command()
def migrate(
    settings: SettingsFile = None,
    to: Annotated[str | None, typer.Option(help="version of the schema, for example 0001 (default the newest)")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Bring the state database to a version of its schema, up or down; `up` brings it to the newest by itself."""
    from pdm.state.lock import sole_writer
    from pdm.state.schema import migrate_state

    url = _settings(settings).state_url()
    if to is not None and not yes:
        _confirm(f"Schema {to} keeps only what it has a place for. Go on?")
    with sole_writer(url):
        before, now = migrate_state(url, to)
    typer.echo(f"The state database has schema {now}." + (f" It had {before}." if before not in ("", now) else ""))


@app.command()
def demo(
    fleet: Annotated[str, typer.Option(help="pumps (simulated) or cmapss (real run-to-failure engines)")] = "pumps",
    data: Annotated[Path | None, typer.Option(help="folder with the C-MAPSS files, for --fleet cmapss")] = None,
    pumps: Annotated[int, typer.Option(min=1, max=500, help="how many pumps")] = 12,
    engines: Annotated[
        int, typer.Option(min=1, max=80, help="how many engines are shown; the others are learned from")
    ] = 20,
    seed: Annotated[int, typer.Option(help="same seed, same figures")] = 1,
    speed: Annotated[
        float | None,
        typer.Option(min=1, help="plant seconds per second; default 30 h/s, as fast as possible with --until-done"),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="end by itself when all machines have failed")
    ] = False,
    as_json: AsJson = False,
    port: Annotated[
        int | None, typer.Option(help="port of the pages (default 8421, a free one with --until-done)")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="keep the data in this folder (default: a temporary one)")] = None,
) -> None:
    """Show the main job: machines live to failure, are forecast, told about, and at the end judged."""
    from pdm.demo.command import DemoOptions, run_demo

    run_demo(DemoOptions(fleet, data, pumps, engines, seed, speed, until_done, as_json, port, keep))


@import_app.command("readings")
def import_readings(
    files: Annotated[list[Path] | None, typer.Argument(help="CSV or Parquet files, one column a sensor")] = None,
    settings: SettingsFile = None,
    source_column: Annotated[str, typer.Option(help="column that names the source")] = "source",
    time_column: Annotated[str, typer.Option(help="column with the time")] = "time",
    sensor_column: Annotated[str | None, typer.Option(help="column that names the sensor, one value a row")] = None,
    value_column: Annotated[str, typer.Option(help="column with the values, beside --sensor-column")] = "value",
    source: Annotated[str | None, typer.Option(help="source of all rows, for files without that column")] = None,
    delimiter: Annotated[str | None, typer.Option(help="between cells; default as the header shows")] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="default as the first values show")] = None,
    missing: Annotated[list[str], typer.Option(help="a word for no value, beside Bad, NaN, n/a, --- and such")] = [],  # noqa: B006
    time_format: Annotated[str | None, typer.Option(help="of times that are not ISO 8601, as %d.%m.%Y %H:%M")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="of times that carry no offset, for example Europe/Berlin")
    ] = None,
    epoch_unit: Annotated[
        Literal["s", "ms", "us", "ns"] | None, typer.Option(help="of times that are numbers since 1970")
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

    loaded = _settings(settings)
    zone = None if time_zone is None else _zone(time_zone)
    form = TableForm(
        source=source,
        source_column=source_column,
        time_column=time_column,
        sensor_column=sensor_column,
        value_column=value_column,
        delimiter=None if delimiter is None else _delimiter(delimiter),
        decimal=decimal,
        missing=tuple(missing),
        time_format=time_format,
        time_zone=zone,
        epoch_unit=epoch_unit,
        rename=_pairs(rename, "--rename"),
        ignore=tuple(ignore),
        units=_pairs(unit, "--unit"),
    )
    span = _instant(from_time, "--from"), _instant(to_time, "--to")
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
        _say(facts, as_json, f"{{file}}: {{rows}} rows{bad}{before}")


@import_app.command("events")
def import_events(
    file: Annotated[Path, typer.Argument(help="work orders as CSV")],
    event_map: Annotated[Path, typer.Option("--map", help="YAML file: which rows mean which events")],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring past failures, repairs and swaps in from the work orders of a maintenance system."""
    from pdm.import_events import REPORT, import_events

    loaded = _settings(settings)
    done = import_events(loaded, file, event_map)
    facts = {"rows": done.rows, "events": done.events, "problems": len(done.problems)}
    listed = f", {{problems}} problems: see {loaded.data_dir / REPORT}" if done.problems else ""
    _say(facts, as_json, f"{{rows}} rows, {{events}} events{listed}")


@export_app.command("readings")
def export_readings(
    out: Annotated[Path, typer.Argument(help="file to write")],
    class_name: ClassName,
    from_time: FromTime = None,
    to_time: ToTime = None,
    form: TableFormat = "parquet",
    settings: SettingsFile = None,
) -> None:
    """Readings of a class, each once, one column a sensor."""
    _export("readings", out, class_name, from_time, to_time, form, settings)


@export_app.command("steps")
def export_steps(
    out: Annotated[Path, typer.Argument(help="file to write")],
    class_name: ClassName,
    from_time: FromTime = None,
    to_time: ToTime = None,
    form: TableFormat = "parquet",
    settings: SettingsFile = None,
) -> None:
    """Steps of a class as they stand, one column a summary."""
    _export("steps", out, class_name, from_time, to_time, form, settings)


@export_app.command("prognoses")
def export_prognoses(
    out: Annotated[Path, typer.Argument(help="file to write")],
    class_name: ClassName,
    from_time: FromTime = None,
    to_time: ToTime = None,
    form: TableFormat = "parquet",
    settings: SettingsFile = None,
) -> None:
    """Prognoses of a class as they were issued, one column a quantile, and how those lives ended."""
    _export("prognoses", out, class_name, from_time, to_time, form, settings)


@export_app.command("twins")
def export_twins(
    out: Annotated[Path, typer.Argument(help="file to write")],
    class_name: ClassName,
    form: TableFormat = "parquet",
    settings: SettingsFile = None,
) -> None:
    """What is believed of each machine of a class now."""
    from pdm.export_command import export_twins

    typer.echo(f"{out}: {export_twins(_settings(settings), class_name, out, form)} twins")


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

    loaded = _settings(settings)
    places = places_of(loaded, asset, _instant(from_time, "--from"), _instant(to_time, "--to"))
    where = listed([str(place) for place in places])
    if not yes:
        _confirm(f"Delete all readings of {asset}, source {where}, for good?")
    count = delete_readings(loaded, places)
    _say({"asset": asset, "readings": count}, as_json, f"{{asset}}: {plural(count, 'reading')} deleted")


@models_app.command("list")
def models_list(settings: SettingsFile = None) -> None:
    """The trained models in the model folders."""
    from pdm.adapters import model_folder

    for folder in _settings(settings).model_folders():
        for class_folder in sorted(path for path in folder.glob("*") if path.is_dir()):
            for version_name in model_folder.versions(folder, class_folder.name):
                typer.echo(f"{class_folder.name}\t{version_name}\t{class_folder / version_name}")


@topics_app.command("explain")
def topics_explain(
    topic: Annotated[str, typer.Argument(help="the topic of a message")],
    payload: Annotated[str | None, typer.Argument(help="what is in it; @FILE takes it from a file")] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Say how a message would be read by plant.yaml as it is, or why it would not be; nothing is stored."""
    from pdm.applying import read_files
    from pdm.ingest.dialects import filters
    from pdm.ingest.explain import explain

    loaded = _settings(settings)
    plant = read_files(loaded.plant, loaded.rules).plant
    content = None if payload is None else payload.encode()
    if payload is not None and payload.startswith("@"):
        content = Path(payload[1:]).read_bytes()
    heard = (*loaded.mqtt.topics, *filters(plant))
    told = explain(plant, loaded.mqtt.epoch_unit, heard, topic, content, time.time_ns() // 1_000_000)
    typer.echo(json.dumps(told._asdict()) if as_json else "\n".join(told.sentences))
    raise typer.Exit(int(not told.readable))


def _settings(file: Path | None) -> Any:
    from pdm.logs import configure_logs
    from pdm.settings import load_settings

    loaded = load_settings(file)
    configure_logs(loaded.log.level, loaded.log.format, sys.stderr)
    return loaded


def _confirm(question: str) -> None:
    """Go on only if somebody says so."""
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked; --yes goes on without asking", key="--yes")
    typer.confirm(question, abort=True)


def _instant(text: str | None, option: str) -> int | None:
    from pdm.plant.entry_types import instant_ms

    try:
        return None if text is None else instant_ms(text)
    except ValueError as error:
        raise ConfigurationError(str(error), key=option) from None


def _export(
    what: Literal["readings", "steps", "prognoses"],
    out: Path,
    class_name: str,
    from_time: str | None,
    to_time: str | None,
    form: Literal["parquet", "csv"],
    settings: Path | None,
) -> None:
    from pdm.export_command import Wanted, export_prognoses, export_readings, export_steps

    wanted = Wanted(class_name, _instant(from_time, "--from"), _instant(to_time, "--to"))
    write = {"readings": export_readings, "steps": export_steps, "prognoses": export_prognoses}[what]
    typer.echo(f"{out}: {write(_settings(settings), wanted, out, form)} {what}")


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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigurationError(f"expected a zone such as Europe/Berlin, not {name!r}", key="--time-zone") from None


def _delimiter(text: str) -> str:
    if len(found := {"tab": "\t", "\\t": "\t"}.get(text, text)) != 1:
        raise ConfigurationError(f"expected one character, or tab, not {text!r}", key="--delimiter")
    return found


def _pairs(given: list[str], option: str) -> dict[str, str]:
    pairs = dict(pair.split("=", 1) for pair in given if "=" in pair)
    if len(pairs) != len(given):
        raise ConfigurationError(f"expected NAME=VALUE, each name once, not {' '.join(given)!r}", key=option)
    return pairs


def _say(facts: dict[str, Any], as_json: bool, sentence: str) -> None:
    typer.echo(json.dumps(facts) if as_json else sentence.format(**facts))


def _say_backup(file: Path, manifest: Any, as_json: bool, done: str) -> None:
    held = sum(held.bytes for held in manifest.files.values())
    facts = {"file": str(file), "made_at": manifest.made_at, "schema": manifest.schema, "bytes": held}
    _say(facts | {"files": len(manifest.files)}, as_json, f"{{files}} files, {{bytes}} bytes {done} {{file}}")


def _fail(error: Exception, code: int) -> None:
    typer.echo(f"pdm-twin: {error}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
