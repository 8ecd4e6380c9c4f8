"""Learn a model from the lives that a plant has seen, and publish it.

From too few failures it learns an alarm on departure from early life, which gives no remaining life. The first of its
class becomes active, a later one challenges the active one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from pdm.active_models import Standing, publish
from pdm.adapters import model_folder
from pdm.errors import ModelError
from pdm.learn import Life, Progress, train, train_watch
from pdm.learn.model_card import false_alarms
from pdm.plant import AssetClass
from pdm.prognosis import FEWEST_FAILURES
from pdm.prognosis.learned import Model, Origin
from pdm.respond import Act
from pdm.rules.ruleset import DepartureRule
from pdm.state.plants import CurrentPlant, current_fleet, current_plant
from pdm.state.schema import read
from pdm.stored_lives import lives_of
from pdm.unread_lives import ByAge, UnreadLife, by_age, table_of, unread_lives
from pdm.words import number, plural

SEED = 1


class Trained(NamedTuple):
    """What came of it: `version` is None where nothing was published, `text` says why, or how good it is, `by_age` what
    the life table of work orders says of machines without readings, None if there is none."""

    version: str | None
    active: bool
    text: str
    by_age: tuple[ByAge, ...] | None = None


def train_class(
    engine: Engine, class_name: str, folder: Path, act: Act, progress: Progress = lambda what, share: None
) -> Trained:
    """Train on the finished lives of a class, and publish what was learned: also that what is declared was nearer."""
    with read(engine) as connection:
        plant = current_plant(connection)
        asset_class = plant.declared.classes[class_name]
        fleet = current_fleet(connection, plant)
        lives = list(lives_of(connection, fleet, asset_class))
    trained = _trained(engine, plant, asset_class, lives, folder, act, progress)
    return _with_unread(asset_class, trained, unread_lives(fleet, asset_class, lives))


def _trained(
    engine: Engine,
    plant: CurrentPlant,
    asset_class: AssetClass,
    lives: Sequence[Life],
    folder: Path,
    act: Act,
    progress: Progress,
) -> Trained:
    class_name = asset_class.name
    if not lives:
        return Trained(None, False, f"{class_name}: nothing to learn from, no steps yet: `up` or `run tick` makes them")
    origin = Origin.SIMULATED if plant.plant.simulated else Origin.PLANT
    failures = sum(life.failed and life.complete and len(life.columns) > 0 for life in lives)
    try:
        if failures < FEWEST_FAILURES:
            watch = train_watch(asset_class, lives, seed=SEED, origin=origin, progress=progress)
            trained = _publish_watch(engine, watch, folder, act, failures)
            return trained._replace(text=trained.text + _from_unknown_starts(lives))
        model = train(asset_class, lives, seed=SEED, origin=origin, progress=progress)
    except ModelError as error:
        return Trained(None, False, str(error) + _from_unknown_starts(lives))
    path = model_folder.save(model, folder)
    standing = publish(engine, path, act)
    learned = f"{path.name} from {model.facts.failures} failures, CRPS {model.facts.evidence}"
    said = _said(class_name, path.name, standing)
    return Trained(path.name, standing == Standing.ACTIVE, f"{class_name}: {learned}; {said}")


def _with_unread(asset_class: AssetClass, trained: Trained, lives: Sequence[UnreadLife]) -> Trained:
    """The same with what lives without readings tell, where enough of them ended in failure."""
    failures = sum(life.failed for life in lives)
    if failures < FEWEST_FAILURES:
        return trained
    table = table_of(lives)
    counted = f"{plural(failures, 'failure')} and {plural(len(lives) - failures, 'life', 'lives')} that did not end so"
    law = f"shape {number(table.shape)}, scale {number(table.scale)}, mean {number(table.mean)}, sd {number(table.sd)}"
    text = (
        f"{trained.text}. {asset_class.name}: life table of {counted}, all without readings, by the calendar: Weibull, "
        f"{law} [life steps]. By its age alone each machine is forecast, from its first reading on, if you write "
        f"`expected_life: {{mean: {table.mean:.4g}, sd: {table.sd:.4g}}}` into plant.yaml"
    )
    return trained._replace(text=text, by_age=tuple(by_age(asset_class, table, lives)))


def _from_unknown_starts(lives: Sequence[Life]) -> str:
    """What would make lives of use that ended in failure but were not seen from their start."""
    late = [life.serial for life in lives if life.failed and not life.complete]
    if not late:
        return ""
    return (
        f". {plural(len(late), 'failure')} of machines that were not seen from their start, such as {late[0]}, cannot "
        "be learned from alone: write their `start_of_life` into plant.yaml, and import their readings since then"
    )


def _said(class_name: str, version: str, standing: Standing) -> str:
    """Whether a new model speaks, and how to have it speak."""
    how = f": `pdm-twin models activate {class_name} {version}` has it speak"
    return standing + (how if standing == Standing.CHALLENGER else "")


def _publish_watch(engine: Engine, model: Model, folder: Path, act: Act, failures: int) -> Trained:
    """Say what the alarm can do, and what is missing for a forecast or for the alarm to be heard."""
    path = model_folder.save(model, folder)
    standing = publish(engine, path, act)
    name, figures = model.facts.class_name, model.facts.figures
    with read(engine) as connection:
        plant = current_plant(connection)
    heard = any(isinstance(rule, DepartureRule) for rule in plant.rules_of(plant.plant.classes[name]))
    learned = f"{path.name} from early life of {plural(model.facts.lives, 'machine')}"
    told = [
        f"{learned}: an alarm without remaining life, which takes {FEWEST_FAILURES} failures ({failures} so far)",
        false_alarms(figures),
        *([] if heard else ["nobody hears it: rules.yaml has no rule of kind departure for it"]),
        _said(name, path.name, standing),
    ]
    return Trained(path.name, standing == Standing.ACTIVE, f"{name}: {'; '.join(told)}")
