"""Learn a model from the lives that a plant has seen, and publish it.

The first of its class becomes active, a later one challenges the active one.
"""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from pdm.active_models import publish
from pdm.adapters import model_folder
from pdm.errors import ModelError
from pdm.learn import Progress, train
from pdm.prognosis.learned import Origin
from pdm.respond import Act
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read
from pdm.stored_lives import lives_of

SEED = 1


class Trained(NamedTuple):
    """What came of it: `version` is None where nothing was published, `text` says why, or how good it is."""

    version: str | None
    active: bool
    text: str


def train_class(
    engine: Engine, class_name: str, folder: Path, act: Act, progress: Progress = lambda what, share: None
) -> Trained:
    """Train on the finished lives of a class, and publish what was learned: also that what is declared was nearer."""
    with read(engine) as connection:
        plant = current_plant(connection)
        asset_class = plant.plant.classes[class_name]
        lives = list(lives_of(connection, current_fleet(connection, plant), asset_class))
    if not lives:
        return Trained(None, False, f"{class_name}: nothing to learn from, no steps yet: `up` or `run tick` makes them")
    origin = Origin.SIMULATED if plant.plant.simulated else Origin.PLANT
    try:
        model = train(asset_class, lives, seed=SEED, origin=origin, progress=progress)
    except ModelError as error:
        return Trained(None, False, str(error))
    path = model_folder.save(model, folder)
    active = publish(engine, path, act)
    learned = f"{path.name} from {model.facts.failures} failures, CRPS {model.facts.evidence}"
    return Trained(path.name, active, f"{class_name}: {learned}; {'active' if active else 'a challenger'}")
