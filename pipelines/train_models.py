"""Train models on machines that ran to failure. Runs by hand only.

pdm-twin run train_models                                           the finished lives of this plant
python pipelines/train_models.py pump --lives 80 --seed 1           simulated pumps: the shipped model
python pipelines/train_models.py turbofan --data FOLDER             C-MAPSS engines in a folder that you name
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pdm import demo_plants
from pdm.adapters import model_folder
from pdm.demo.lives import engine_life, pump_lives
from pdm.errors import ConfigurationError, PdmError
from pdm.learn import Life, train
from pdm.plant import AssetClass
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.respond import Act
from pdm.services import Services
from pdm.state.plants import current_plant
from pdm.state.schema import read
from pdm.state.told import TICK
from pdm.training import SEED, train_class
from pdm.turbofans import read_engines

SCHEDULE = None


def run(services: Services, at: int) -> str:
    """Learn from the plant's own finished lives, class by class."""
    if (folder := services.own_models) is None:
        raise ConfigurationError("expected a folder to write models to", key="models")
    with read(services.engine) as connection:
        classes = list(current_plant(connection).plant.classes)
    return "; ".join(train_class(services.engine, name, folder, Act(TICK, at)).text for name in classes)


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
