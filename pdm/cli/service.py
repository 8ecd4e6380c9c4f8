"""The service and what it needs: `pdm-twin init`, `check`, `apply`, `up` and its roles, `doctor`, `backup`, `demo`."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pdm import __version__
from pdm.cli.options import AsJson, SettingsFile, confirm, instant, say, settings_of, zone_of
from pdm.errors import ConfigurationError

app = typer.Typer(
    name="pdm-twin",
    help="Predictive maintenance on live digital twins.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
topics_app = typer.Typer(help="Messages by MQTT.", no_args_is_help=True)


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
    from_csv: Annotated[
        Path | None, typer.Option(help="propose them from a table of readings, CSV or Parquet, or a folder of them")
    ] = None,
    from_orders: Annotated[
        Path | None, typer.Option(help="propose them from work orders alone, one row a life: installed, failed")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="with --from-csv: the machine of all rows; '{file}': name of the file")
    ] = None,
    source_column: Annotated[str, typer.Option(help="with --from-csv: column that names the machine")] = "source",
    group_column: Annotated[
        str | None, typer.Option(help="with --from-csv: column that names what machines share, as a test protocol")
    ] = None,
    time_column: Annotated[str, typer.Option(help="with --from-csv: column with the time")] = "time",
    clock_column: Annotated[
        str | None, typer.Option(help="with --from-csv: column with the time of day, or milliseconds")
    ] = None,
    time_format: Annotated[str | None, typer.Option(help="with --from-csv: as %d.%m.%Y %H:%M")] = None,
    time_zone: Annotated[str | None, typer.Option(help="with --from-csv: of times without an offset")] = None,
    epoch_unit: Annotated[
        Literal["s", "min", "h", "d", "ms", "us", "ns"] | None,
        typer.Option(help="with --from-csv: of times in numbers"),
    ] = None,
    count_from: Annotated[str | None, typer.Option(help="with --from-csv: since when those count")] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="with --from-csv: as the values show")] = None,
    from_new: Annotated[
        bool, typer.Option("--from-new", help="with --from-csv: all machines were new at their first row")
    ] = False,
    run_to_failure: Annotated[
        bool,
        typer.Option("--run-to-failure", help="with --from-csv: all ran from new, and failed after their last row"),
    ] = False,
) -> None:
    """Write a plant.yaml and a rules.yaml for one critical machine, or for those of a table of readings."""
    from pdm.templates import plant_template, rules_template

    texts, said = {"plant.yaml": plant_template(), "rules.yaml": rules_template()}, list[str]()
    zone = None if time_zone is None else zone_of(time_zone)
    if from_orders is not None:
        from pdm import own_orders

        orders = own_orders.look_at_orders(from_orders, time_format)
        texts, said = own_orders.proposed_files(orders, from_orders, zone), own_orders.readiness(orders)
        said.append(f"bring them in after check and apply: {own_orders.import_command(from_orders.resolve())}")
    elif from_csv is not None:
        from pdm import own_plant
        from pdm.ingest.own_table import look_at
        from pdm.plant.wire import TableForm

        form = TableForm(
            source=source,
            source_column=source_column,
            time_column=time_column,
            clock_column=clock_column,
            time_format=time_format,
            time_zone=zone,
            epoch_unit=epoch_unit,
            count_from_ms=instant(count_from, "--count-from"),
            decimal=decimal,
        )
        look = look_at(from_csv, form, group_column)
        look = replace(look, new=look.machines) if from_new else look
        look = look.run_to_failure() if run_to_failure else look
        texts = own_plant.proposed_files(look, from_csv)
        said = own_plant.readiness(look, time.time_ns() // 1_000_000)
        said.append(f"bring it in after check and apply: {own_plant.import_command(look, from_csv.resolve())}")
    files = {folder / name: text for name, text in texts.items()}
    present = [str(path) for path in files if path.exists()]
    if present and not force:
        raise ConfigurationError(f"is there already ({', '.join(present)}); --force overwrites", file=str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {path}")
    for sentence in said:
        typer.echo(f"- {sentence}")
    typer.echo("Fit them to your machine, then: pdm-twin check, pdm-twin apply, pdm-twin up")


@app.command()
def check(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Check the plant file and the rules file."""
    from pdm.applying import read_files, still_ahead
    from pdm.words import plural

    loaded = settings_of(settings)
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
    say(found, as_json, f"{{plant}}: {', '.join(counts)}. Both files are in order.")


@app.command()
def apply(
    settings: SettingsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Show what the files change, then store them as the version that the service works with."""
    from pdm.applying import apply_files, read_files, what_changes
    from pdm.state.schema import opened_state, read, write

    loaded = settings_of(settings)
    files = read_files(loaded.plant, loaded.rules)
    with opened_state(loaded.state_url()) as engine:
        with read(engine) as connection:
            changes = what_changes(connection, files)
        for sentence in changes.sentences or ["nothing changes"]:
            typer.echo(f"- {sentence}")
        if changes.sentences and not changes.orphaned and not yes:
            confirm("Apply?")
        with write(engine) as connection:
            stored = apply_files(connection, files, time.time_ns() // 1_000_000)
    typer.echo(f"Version {stored.number} is in force.")


@app.command()
def up(settings: SettingsFile = None) -> None:
    """Run everything: readings from the broker, the schedule, API and pages. Ctrl-C or SIGTERM stops it cleanly."""
    loaded = settings_of(settings)  # before much is imported: what is wrong with it is said at once

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

    take_readings(settings_of(settings), number, parent)


@app.command()
def pipeline(settings: SettingsFile = None) -> None:
    """Run what is scheduled, and nothing else; of several such processes one leads, the others wait."""
    from pdm.roles import lead_pipelines

    lead_pipelines(settings_of(settings))


@app.command()
def serve(settings: SettingsFile = None) -> None:
    """Serve API and pages, and nothing else; any number of such processes."""
    from pdm.roles import serve as serve_pages

    serve_pages(settings_of(settings))


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="name of a file in pipelines/, for example tick")],
    settings: SettingsFile = None,
) -> None:
    """Run one pipeline once, now; a service that is up runs them itself."""
    from pdm.running import run_pipeline

    typer.echo(run_pipeline(settings_of(settings), pipeline))


@app.command()
def doctor(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Look at everything that the service rests on, and say what is wrong and what to do."""
    from pdm.doctor import Level, examine

    worst = Level.OK
    for finding in examine(settings_of(settings)):
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

    _say_backup(file, back_up(settings_of(settings), file), as_json, "backed up to")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="what `pdm-twin backup` wrote")],
    settings: SettingsFile = None,
    force: Annotated[bool, typer.Option("--force", help="also where there is data; files stay beside the new")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, into whatever database the settings name. The service must not run."""
    from pdm.backup import restore

    _say_backup(file, restore(settings_of(settings), file, force=force), as_json, "restored from")


@app.command()
def migrate(
    settings: SettingsFile = None,
    to: Annotated[str | None, typer.Option(help="version of the schema, for example 0001 (default the newest)")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Bring the state database to a version of its schema, up or down; `up` brings it to the newest by itself."""
    from pdm.state.lock import sole_writer
    from pdm.state.schema import migrate_state

    url = settings_of(settings).state_url()
    if to is not None and not yes:
        confirm(f"Schema {to} keeps only what it has a place for. Go on?")
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

    loaded = settings_of(settings)
    plant = read_files(loaded.plant, loaded.rules).plant
    content = None if payload is None else payload.encode()
    if payload is not None and payload.startswith("@"):
        content = Path(payload[1:]).read_bytes()
    heard = (*loaded.mqtt.topics, *filters(plant))
    told = explain(plant, loaded.mqtt.epoch_unit, heard, topic, content, time.time_ns() // 1_000_000)
    typer.echo(json.dumps(told._asdict()) if as_json else "\n".join(told.sentences))
    raise typer.Exit(int(not told.readable))


def _say_backup(file: Path, manifest: Any, as_json: bool, done: str) -> None:
    held = sum(held.bytes for held in manifest.files.values())
    facts = {"file": str(file), "made_at": manifest.made_at, "schema": manifest.schema, "bytes": held}
    say(facts | {"files": len(manifest.files)}, as_json, f"{{files}} files, {{bytes}} bytes {done} {{file}}")
