"""Trained models: `pdm-twin train`, `pdm-twin models`."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pdm.cli.options import AsJson, SettingsFile, say, settings_of

models_app = typer.Typer(help="Trained models: what there is, which one is active.", no_args_is_help=True)

OfClass = Annotated[str, typer.Argument(metavar="CLASS", help="class of the machines")]
Reason = Annotated[str, typer.Option(help="why; kept beside your name")]


def train(class_name: OfClass, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Learn a model from finished lives of this plant; the first of a class becomes active, a later one challenges."""
    from pdm.models_command import train

    done = train(settings_of(settings), class_name)
    say(done._asdict(), as_json, "{text}")
    raise typer.Exit(int(done.version is None))


@models_app.command("list")
def models_list(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """The models of each class, with the active one, and why others cannot be."""
    from pdm.models_command import list_models

    for one in list_models(settings_of(settings)):
        learned = "" if one.failures is None else f"from {one.failures} failures, CRPS {one.crps:.4g}"
        state = "active" if one.active else f"cannot be used: {one.problem}" if one.problem else "can be activated"
        line = "\t".join(filter(None, (one.class_name, one.version, learned, state)))
        typer.echo(json.dumps(asdict(one)) if as_json else line)


@models_app.command("show")
def models_show(
    class_name: OfClass,
    version: Annotated[str | None, typer.Argument(help="default the active one")] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """The card of a model, and which models were active when, by whom and why."""
    from pdm.models_command import show_model
    from pdm.words import iso

    found = show_model(settings_of(settings), class_name, version)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo(found["card"] or f"{found['version']}: {found['problem']}")
    for row in found["activations"]:
        why = f": {row['reason']}" if row["reason"] else ""
        typer.echo(f"{iso(row['at_ms'])}  {row['version']} activated by {row['who']}{why}")


@models_app.command("activate")
def models_activate(
    class_name: OfClass,
    version: Annotated[str, typer.Argument(help="as `models list` names it")],
    reason: Reason = "",
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Have a model speak for its class from the next tick on."""
    _activate(class_name, version, reason, settings_of(settings), as_json)


@models_app.command("rollback")
def models_rollback(
    class_name: OfClass, reason: Reason = "", settings: SettingsFile = None, as_json: AsJson = False
) -> None:
    """Go back to the model that was active before."""
    _activate(class_name, None, reason, settings_of(settings), as_json)


def _activate(class_name: str, version: str | None, reason: str, loaded: Any, as_json: bool) -> None:
    from pdm.models_command import activate_model

    active = activate_model(loaded, class_name, version, reason)
    said = "{class}: {version} is active. A service that runs takes it up within seconds."
    say({"class": class_name, "version": active}, as_json, said)
