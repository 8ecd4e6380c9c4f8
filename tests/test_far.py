"""Beyond the horizon: a forest of its own where it is better than the life table on machines left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pdm import features
from pdm.adapters import model_folder
from pdm.features.frame import Floats
from pdm.learn import Life, train
from pdm.learn.model_card import card
from pdm.prognosis import LEVELS, MEDIAN, learned
from pdm.prognosis.learned import Model, Origin, head_of
from tests.small_lives import WORN, worn_lives

SHOWN = replace(WORN, failure_modes=())
"""Machines whose rate of wear shows from the start, and with it how long they last."""


def silent_lives(count: int) -> list[Life]:
    """Lives of any length that nothing tells until their last 40 steps."""
    lives = []
    for number in range(count):
        random = np.random.default_rng([8, number])
        length = int(random.uniform(150, 450))
        depth = random.normal(0, 0.3, length)
        depth[-40:] += np.linspace(0, 10, 40)
        lives.append(Life(f"S-{number}", depth[:, None], np.ones(length), failed=True))
    return lives


def model_of(lives: list[Life]) -> Model:
    return train(SHOWN, lives, seed=1, origin=Origin.SIMULATED)


def seen_until(model: Model, lives: list[Life], steps: int) -> Floats:
    """Features of machines after so many steps."""
    state = features.start(model.frame, len(lives))
    for step in range(steps):
        features.fold(model.frame, state, features.ALL, np.stack([life.columns[step] for life in lives]))
    return features.emit(model.frame, state)


def test_what_shows_early_is_told_far_ahead(tmp_path: Path) -> None:
    model = model_of(worn_lives(40))
    whole = head_of(model).whole
    assert whole.far is not None
    by_table = replace(model, head=replace(head_of(model), whole=replace(whole, far=None)))
    lives = [life for life in worn_lives(80)[40:] if life.length > 270]
    seen, age = seen_until(model, lives, 100), np.full(len(lives), 100.0)
    truth = np.array([life.length - 100 for life in lives])
    said, without = (learned.forecast(one, seen, age, np.ones(len(lives), dtype=np.bool_)) for one in (model, by_table))
    error, error_without = (np.abs(one[:, MEDIAN] - truth).mean() for one in (said, without))
    assert error < 0.5 * error_without
    inside = (said[:, 2] <= truth) & (truth <= said[:, -3])  # 5 to 95 %
    assert inside.mean() > 0.8
    assert "beyond 150 life steps | a forest of its own" in card(model)

    loaded = model_folder.load(model_folder.save(model, tmp_path), SHOWN)
    again = learned.forecast(loaded, seen, age, np.ones(len(lives), dtype=np.bool_))
    assert again.tobytes() == said.tobytes()
    assert again.shape == (len(lives), len(LEVELS))


def test_where_nothing_shows_early_the_life_table_goes_on() -> None:
    model = model_of(silent_lives(40))
    assert head_of(model).whole.far is None
    assert "beyond 150 life steps | the life table" in card(model)


def test_where_most_machines_are_taken_out_before_they_fail_the_life_table_goes_on() -> None:
    cut = [
        replace(life, columns=life.columns[:320], share=life.share[:320], failed=False)
        for life in worn_lives(400)[40:]
        if life.length > 320
    ]
    short = [life for life in worn_lives(40) if life.length < 300]
    assert head_of(model_of([*short, *cut])).whole.far is None


def test_where_those_that_last_are_of_one_group_the_life_table_goes_on() -> None:
    lasting = [replace(life, group="long") for life in worn_lives(60) if life.length > 300]
    short = [
        replace(life, columns=life.columns[-120:], share=life.share[-120:], group=f"short {number % 5}")
        for number, life in enumerate(worn_lives(90)[60:])
    ]
    assert head_of(model_of([*lasting, *short])).whole.far is None
