"""`pdm-twin demo`: choose the fleet, show how it goes, end with one JSON object."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pdm.adapters import model_folder
from pdm.demo import Demo, DemoProgress
from pdm.demo.fleets import EngineFleet, Fleet, PumpFleet, model_name, shown_units
from pdm.demo.simulation import FASTEST
from pdm.errors import ConfigurationError, ModelError
from pdm.learn import train
from pdm.logs import configure_logs
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Origin
from pdm.running import LOOK_S
from pdm.settings import Settings, load_settings
from pdm.turbofans import Engine, engine_lives, read_engines

LIVE_RATE = 30 * 3600.0
"""Plant seconds per second at which people watch: a day in 1.2 seconds."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asks for.

    Attributes:
        fleet: "pumps" or "cmapss".
        data: folder with the C-MAPSS files.
        speed: plant seconds per second, None for the default.
        keep: folder for the data, None for a temporary one.
    """

    fleet: str
    data: Path | None
    pumps: int
    engines: int
    seed: int
    speed: float | None
    until_done: bool
    as_json: bool
    port: int | None
    keep: Path | None


def run_demo(options: DemoOptions) -> None:
    """Run the demo until all machines have failed (with `until_done`), or until somebody stops it."""
    console = Console(stderr=True)
    configure_logs("warning", "auto", sys.stderr)
    with _folder(options.keep) as folder:
        fleet, models = _fleet(options, folder, console)
        demo = Demo(fleet, _settings(options, folder, models), rate=_rate(options))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: demo.stopping.set())
        with demo:
            console.print(f"Pages: {demo.address}   readings by {demo.transport.name}   Ctrl-C ends it")
            _show(demo, console)
            if not demo.stopping.is_set():
                print(json.dumps(demo.summary()) if options.as_json else _sentences(demo))  # noqa: T201
            if not options.until_done and not demo.stopping.is_set():
                console.print("All machines have failed. The pages stay until Ctrl-C.")
                while not demo.stopping.wait(LOOK_S):
                    demo.follow()


def _fleet(options: DemoOptions, folder: Path, console: Console) -> tuple[Fleet, list[Path]]:
    """The fleet, and the folders of models that it needs beside the shipped ones."""
    if options.fleet == "pumps":
        return PumpFleet(options.pumps, options.seed), []
    if options.fleet != "cmapss":
        raise ConfigurationError(f"expected pumps or cmapss, not {options.fleet!r}", key="--fleet")
    if options.data is None:
        raise ConfigurationError("expected the folder with the C-MAPSS files", key="--data")
    engines = {engine.unit: engine for engine in read_engines(options.data)}
    shown = shown_units(sorted(engines), options.engines, options.seed)
    fleet = EngineFleet([engines[unit] for unit in shown])
    others = [engine for unit, engine in sorted(engines.items()) if unit not in shown]
    models = Path.home() / ".cache" / "pdm-twin" / "models" / model_name(options.data, shown)
    _train_once(fleet, others, models, console)
    return fleet, [models]


def _train_once(fleet: EngineFleet, engines: list[Engine], models: Path, console: Console) -> None:
    """Train on the engines that are not shown, unless that was done before."""
    asset_class = parse_plant(fleet.plant_text).classes[fleet.class_name]
    for version in model_folder.versions(models, asset_class.name):
        try:
            model_folder.load(models / asset_class.name / version, asset_class)
        except ModelError:
            continue
        return
    lives = engine_lives(engines)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(f"learning from {len(lives)} other engines", total=1.0)
        model = train(
            asset_class,
            lives,
            seed=1,
            origin=Origin.BENCHMARK,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    model_folder.save(model, models)


def _settings(options: DemoOptions, folder: Path, models: list[Path]) -> Settings:
    port = options.port if options.port is not None else 0 if options.until_done else 8421
    given = {"data_dir": folder, "http": {"port": port}}
    return load_settings(given=given | ({"models": models} if models else {}))


def _rate(options: DemoOptions) -> float:
    return options.speed or (FASTEST if options.until_done else LIVE_RATE)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="pdm-twin-demo-") as folder:
        yield Path(folder)


def _show(demo: Demo, console: Console) -> None:
    """Run it, with a line that moves on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("machines failed", total=demo.fleet.progress()[1], now="")

        def report(state: DemoProgress) -> None:
            at = datetime.fromtimestamp(state.plant_ms / 1000, UTC)
            now = f"{state.failed}/{state.machines}  {at:%d %b %Y %H:%M}  {state.readings} readings  {state.told} told"
            bar.update(task, completed=state.failed, now=now)

        demo.run(report)


def _sentences(demo: Demo) -> str:
    found = demo.summary()
    costs = "".join(f"\n  {name.replace('_', ' ')}: {cost:.4g}" for name, cost in found["cost"].items())
    return (
        f"{found['failures']} machines failed, {found['missed_failures']} without a timely alert, "
        f"{found['false_alarms']} false alarms.\n"
        f"The truth was in the 80 % band {100 * found['coverage_80']:.0f} % of the time; "
        f"CRPS {found['crps']:.3g} against {found['crps_age_only']:.3g} by age alone.\n"
        f"Cost per unit of life:{costs}"
    )
