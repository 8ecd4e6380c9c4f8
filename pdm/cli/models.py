"""Trained models: `pdm-twin train`, `pdm-twin models`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pdm.cli.options import AsJson, SettingsFile, json_of, say, settings_of

models_app = typer.Typer(help="Trained models: what there is, which one is active.", no_args_is_help=True)

OfClass = Annotated[str, typer.Argument(metavar="CLASS", help="class of the machines")]
Reason = Annotated[str, typer.Option(help="why; kept beside your name")]


def train(class_name: OfClass, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Learn a model from finished lives of this plant; the first of a class becomes active, a later one challenges."""
    from pdm.models_command import train

    done = train(settings_of(settings), class_name)
    facts = {"version": done.version, "active": done.active, "text": done.text}
    say(facts, as_json, "{text}")
    raise typer.Exit(int(done.version is None and done.by_age is None))


@models_app.command("list")
def models_list(settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """The models of each class, with the active one, and why others cannot be."""
    from pdm.models_command import list_models
    from pdm.words import plural

    for one in list_models(settings_of(settings)):
        learned = "" if one.failures is None else f"from {plural(one.failures, 'failure')}"
        learned += f", CRPS {one.crps:.4g}" if one.crps is not None else ", alarm only" if learned else ""
        usable = f"cannot be used: {one.problem}" if one.problem else str(one.coming or "can be activated")
        state = "active" if one.active else usable
        line = "\t".join(filter(None, (one.class_name, one.version, learned, state)))
        coming = one.coming and one.coming._asdict()
        typer.echo(json.dumps(asdict(one) | {"coming": coming}) if as_json else line)


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
    now: Annotated[
        bool, typer.Option("--now", help="have the next tick wait until the whole history is folded")
    ] = False,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Have a model speak for its class: from the next tick on, or, of much history, once that is folded."""
    _activate(class_name, version, reason, settings_of(settings), as_json, now=now)


@models_app.command("rollback")
def models_rollback(
    class_name: OfClass, reason: Reason = "", settings: SettingsFile = None, as_json: AsJson = False
) -> None:
    """Go back to the model that was active before, or give up the one that is catching up."""
    _activate(class_name, None, reason, settings_of(settings), as_json)


@models_app.command("compare")
def models_compare(
    class_name: OfClass,
    version: Annotated[str, typer.Argument(help="as `models list` names it")],
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """A model beside the active one: how right both are, and what would change for people. Changes nothing."""
    from pdm.models_command import compare

    found = compare(settings_of(settings), class_name, version)
    typer.echo(json_of(found) if as_json else "\n".join(_compared(found)))


def _compared(found: dict[str, Any]) -> Iterator[str]:
    """A comparison in sentences."""
    from pdm.words import iso, number, plural

    yield f"Class {found['class']}: {found['version']} beside {found['active'] or 'no active model'}."
    for name, figures in found["left_out"].items():
        shown = ", ".join(f"{figure} {number(value)}" for figure, value in sorted(figures.items()))
        yield f"On machines left out, forests within the horizon, {name}: {shown}."
    for name, figures in found["live"].items():
        shown = ", ".join(f"{figure} {number(value[0])}" for figure, value in figures.items())
        yield f"On finished lives, {name}: {shown or 'none of its forecasts has met its end'}."
    yield from _beside(found["beside"])
    impact = found["impact"]
    machines = plural(impact["machines"], "machine")
    yield f"Of {machines}, {impact['other_medians']} would have another median by more than 10 %."
    for one in impact["differences"] or ():
        said = [one[name]["refusal"] or number(one[name]["median"]) for name in ("now", "then")]
        starts = [at and iso(at) for at in (one[name]["preferred_ms"] for name in ("now", "then"))]
        alerts = "".join(f"; {alert}" for alert in one["alerts"])
        yield f"{one['serial']}: {said[0]} -> {said[1]}, preferred start {starts[0]} -> {starts[1]}{alerts}"
    if not impact["differences"]:
        yield "No alert, recommendation or window would change."


def _beside(both: dict[str, Any] | None) -> Iterator[str]:
    """Two models on the same lives."""
    from pdm.words import iso, number, plural

    if both is None:
        return
    if both["since_ms"] is None:
        yield "Beside each other: when one of them was trained here is not known, so what it has seen is not either."
        return
    since = f" since {iso(both['since_ms'])}" if both["since_ms"] else ""
    if not both["lives"]:
        yield f"Beside each other{since}: no machine has failed that neither had seen."
        return
    ours, other = (both[name]["crps"][0] for name in ("active", "other"))
    change, low, high = both["crps_change"]
    band = " (too few to tell)" if low != low else f" (90 % band {number(low)} to {number(high)})"
    lives = plural(both["lives"], "failure")
    said = f"CRPS {number(other)} against {number(ours)}, change {number(change)}{band}"
    yield f"Beside each other on {lives}{since}: {said}."


def _activate(
    class_name: str, version: str | None, reason: str, loaded: Any, as_json: bool, *, now: bool = False
) -> None:
    from pdm.models_command import activate_model

    chosen, coming = activate_model(loaded, class_name, version, reason, now=now)
    said = "{class}: {version} is active. A service that runs takes it up within seconds."
    if coming is not None:
        said = (
            f"{{class}}: {{version}} is {coming}. It speaks once the service has folded their history, and what is "
            "active until then; `pdm-twin models list` says how far it is, --now has the next tick fold it all."
        )
    say({"class": class_name, "version": chosen, "coming": coming and coming._asdict()}, as_json, said)
