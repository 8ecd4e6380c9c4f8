"""Train models on machines that ran to failure. Runs by hand only.

pdm-twin run train_models                                           the finished lives of this plant
python pipelines/train_models.py pump --lives 80 --seed 1           simulated pumps: the shipped model
python pipelines/train_models.py turbofan --data FOLDER             C-MAPSS engines in a folder that you name
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection

from pdm import demo_plants
from pdm.adapters import model_folder
from pdm.demo.lives import engine_life, pump_lives
from pdm.errors import ConfigurationError, ModelError, PdmError
from pdm.installations import Fleet
from pdm.learn import Life, life_of, train
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.services import Services
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read
from pdm.state.steps import history
from pdm.turbofans import read_engines

SCHEDULE = None

SEED = 1


def run(services: Services, at: int) -> str:
    """Learn from the plant's own finished lives, class by class, into the first folder of the setting `models`."""
    folders = services.model_folders
    if not folders:
        raise ConfigurationError("expected a folder to write models to", key="models")
    with read(services.engine) as connection:
        plant = current_plant(connection)
        fleet = current_fleet(connection, plant)
        lives = {one: list(lives_of(connection, fleet, one)) for one in plant.plant.classes.values()}
    origin = Origin.SIMULATED if plant.plant.simulated else Origin.PLANT
    return "; ".join(_learn_if_it_helps(one, lives[one], origin, folders[0]) for one in lives)


def _learn_if_it_helps(asset_class: AssetClass, lives: Sequence[Life], origin: Origin, folder: Path) -> str:
    """Train and save, unless age alone forecasts machines left out as well."""
    try:
        model = train(asset_class, lives, seed=SEED, origin=origin)
    except ModelError as error:
        return str(error)
    ours, age = model.facts.figures["crps"], model.facts.figures["crps_age_only"]
    if ours >= age:
        return f"{asset_class.name}: not kept, its CRPS {ours:.4g} is no better than {age:.4g} by age alone"
    path = model_folder.save(model, folder)
    learned = f"{path.name} from {model.facts.failures} failures"
    return f"{asset_class.name}: {learned}, CRPS {ours:.4g} against {age:.4g} by age alone"


def lives_of(connection: Connection, fleet: Fleet, asset_class: AssetClass) -> Iterator[Life]:
    """The lives of a class from the stored steps: ended by a failure, cut short, or still going on."""
    serials = list(fleet.serials_of(asset_class.name))
    row_of = {serial: row for row, serial in enumerate(serials)}
    steps = history(connection, asset_class, serials)
    for serial, life in fleet.all_lives_of(asset_class.name):
        mine = (steps.row == row_of[serial]) & (steps.start_ms >= life.from_ms) & (steps.start_ms < life.to_ms)
        if not mine.any():
            continue
        lived = steps.take(np.flatnonzero(mine))
        late = lived.start_ms[0] - life.from_ms > asset_class.stale_after_ms
        yield life_of(serial, lived, life.mode, failed=life.failed, complete=life.start_known and not late)


def train_pumps(count: int, seed: int, console: Console) -> Model:
    """A model of the pumps of the simulated station."""
    asset_class = parse_plant(demo_plants.pump_plant(1, start_ms=0)).classes["pump"]
    with console.status(f"{count} simulated pumps live until they fail"):
        lives = pump_lives(asset_class, count, seed)
    return _train(asset_class, lives, seed, Origin.SIMULATED, console)


def train_turbofans(data: Path, units: Sequence[int] | None, seed: int, console: Console) -> Model:
    """A model of the engines of C-MAPSS FD001, all or those of these units."""
    asset_class = parse_plant(demo_plants.turbofan_plant([1], start_ms=0)).classes["turbofan"]
    lives = [engine_life(engine) for engine in read_engines(data) if units is None or engine.unit in units]
    return _train(asset_class, lives, seed, Origin.BENCHMARK, console)


def _train(asset_class: AssetClass, lives: Sequence[Life], seed: int, origin: Origin, console: Console) -> Model:
    """Train with a progress display on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"learning from {len(lives)} lives", total=1.0)
        return train(
            asset_class,
            lives,
            seed=seed,
            origin=origin,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("class_name", choices=["pump", "turbofan"])
    parser.add_argument("--lives", type=int, default=80, help="simulated pumps to learn from")
    parser.add_argument("--data", type=Path, help="folder with the C-MAPSS files")
    parser.add_argument("--units", type=int, nargs="*", help="engines to learn from; all by default")
    parser.add_argument("--seed", type=int, default=SEED, help="same lives and seed, same files")
    parser.add_argument("--out", type=Path, default=Path("trained_models"), help="folder of models")
    asked = parser.parse_args(arguments)
    if asked.class_name == "turbofan" and asked.data is None:
        parser.error("turbofan needs --data")
    console = Console(stderr=True)
    try:
        pumps = asked.class_name == "pump"
        model = (
            train_pumps(asked.lives, asked.seed, console)
            if pumps
            else train_turbofans(asked.data, asked.units, asked.seed, console)
        )
        path = model_folder.save(model, asked.out)
    except PdmError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    console.print(path, *(f"{name} {value:.4g}" for name, value in model.facts.figures.items()), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
