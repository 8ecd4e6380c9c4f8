"""Two models beside each other: on the same lives, of which neither had seen the end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pdm.beside import beside, judged_since, unseen_since
from pdm.learn import train
from pdm.learn.walk_forward import said_by
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.state.models import note_published, published_ms
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read, write
from tests.small_lives import FAN, fan_lives, fan_model, fan_watch
from tests.small_plant import HOUR, PLANT, START, make_services

LIVES = [
    replace(life, end_ms=START + HOUR * (10 * number + np.arange(1, len(life.columns) + 1)))
    for number, life in enumerate(fan_lives(14, seed=7))
]
LONG_AGO, LATER = START - HOUR, START + 100 * HOUR


@pytest.fixture(scope="module")
def of_few() -> Model:
    return train(FAN, fan_lives(5), seed=3, origin=Origin.PLANT)


def test_a_model_beside_itself_makes_no_difference() -> None:
    found = judged_since(FAN, LIVES, fan_model(), fan_model(), LONG_AGO)
    assert found.lives == 14
    assert found.active == found.other
    assert found.crps_change == (0.0, 0.0, 0.0)


def test_more_lives_to_learn_from_show_on_lives_that_neither_saw(of_few: Model) -> None:
    found = judged_since(FAN, LIVES, of_few, fan_model(), LONG_AGO)
    assert found.crps_change.high < 0
    assert found.other["crps"].value - found.active["crps"].value == pytest.approx(found.crps_change.value)
    assert judged_since(FAN, LIVES, fan_model(), of_few, LONG_AGO).crps_change.low > 0


def test_a_model_that_forecasts_nothing_is_beside_none() -> None:
    assert judged_since(FAN, LIVES, fan_watch(), fan_model(), LONG_AGO).lives == 0


def test_what_was_said_or_ended_before_both_were_there_does_not_count(of_few: Model) -> None:
    ended = sum(int(np.asarray(life.end_ms)[-1]) > LATER for life in LIVES)
    found = judged_since(FAN, LIVES, of_few, fan_model(), LATER)
    assert 0 < found.lives <= ended < 14
    assert (said_by(FAN, of_few, LIVES, LATER).at_ms > LATER).all()
    assert judged_since(FAN, LIVES, of_few, fan_model(), START + 1000 * HOUR).lives == 0


def test_since_when_a_model_has_seen_nothing_is_known_or_it_is_not_judged(of_few: Model, tmp_path: Path) -> None:
    services, fan = make_services(tmp_path), parse_plant(PLANT).classes["fan"]
    unknown, known = replace(of_few, version="0001"), replace(of_few, version="0002")
    with write(services.engine) as connection:
        note_published(connection, "fan", "0002", LATER)
        assert unseen_since(connection, fan, fan_model()) == 0  # from elsewhere: nothing of this plant
        assert unseen_since(connection, fan, known) == published_ms(connection, "fan", "0002") == LATER
        assert unseen_since(connection, fan, unknown) is None
    with read(services.engine) as connection:
        fleet = current_fleet(connection, current_plant(connection))
        assert beside(connection, fleet, fan, known, unknown).since_ms is None
        found = beside(connection, fleet, fan, known, fan_model())
        assert (found.since_ms, found.lives) == (LATER, 0)
