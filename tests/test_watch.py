"""The watch: how far a machine is from its own early life, learned without any failure, and what follows from it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from pdm import features, twin
from pdm.adapters import model_folder
from pdm.errors import ModelError
from pdm.features import watch
from pdm.features.frame import Floats, Watch
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life, train_watch
from pdm.learn.model_card import card
from pdm.learn.watching import FEWEST_STEPS
from pdm.plant import ExpectedLife
from pdm.plant.file import parse_plant
from pdm.prognosis import Basis, Refusal, departing, forecast
from pdm.prognosis.learned import Model, Origin
from pdm.readings import Readings
from pdm.respond import Act
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import add_event, store_plant
from pdm.state.schema import read, recommendations, write
from pdm.state.told import live_alerts
from pdm.steps import Steps
from pdm.tick import tick
from pdm.training import train_class
from tests.small_lives import FAN, fan_life, fan_lives, fan_watch, plain_frame, still_running
from tests.small_plant import HOUR, PLANT, START, feed, make_services, rows


def followed(model: Model, columns: Floats) -> Floats:
    """The departure after each step `[steps, k]` of one machine."""
    state, found = features.start(model.frame, 1), []
    for step in columns:
        features.fold(model.frame, state, features.ALL, step[None])
        found.append(features.departure(model.frame, state)[0])
    return np.array(found)


def folded(model: Model, columns: NDArray[np.float64]) -> twin.Twin:
    """The twin of a fan after these steps `[steps, k]`."""
    fan, start = twin.start(FAN, model.frame, 1), np.arange(len(columns)) * HOUR
    row, held = np.zeros(len(columns), dtype=np.int64), np.full(len(columns), 3, dtype=np.int32)
    twin.fold(FAN, model.frame, fan, Steps(row, start, start + HOUR, np.ones(len(columns)), held, columns))
    return fan


def test_the_departure_is_the_distance_beyond_what_noise_makes_in_levels_of_the_alarm() -> None:
    # q = 3^2, level 5: sqrt((9 - 1) / (5 - 1)); half a deviation is less than noise makes
    one = Watch(np.eye(1), 5.0)
    np.testing.assert_allclose(watch.departure(one, np.array([[3.0, -3.0, 0.5]])), [2**0.5, 2**0.5, 0])
    # where a hundredth of a deviation is significant, half a one is asked for
    keen = Watch(np.eye(1) * 100, 5.0)
    np.testing.assert_allclose(watch.departure(keen, np.array([[0.2, 0.5]])), [0.4, 1.0])
    # covariance [[1, .8], [.8, 1]]: against its grain (1, -1) is sqrt(1/9) of (3, 3) and yet as far
    precision = np.linalg.inv(np.array([[1, 0.8], [0.8, 1]]))
    both = watch.mean_square(np.linalg.cholesky(precision), np.array([[1.0, 3.0], [-1.0, 3.0]]))
    np.testing.assert_allclose(both, [1 / 0.2, 9 / 1.8])


def test_machines_depart_before_they_fail_and_not_early_in_life() -> None:
    for life in fan_lives(20, seed=50):
        above = np.flatnonzero(np.nan_to_num(followed(fan_watch(), life.columns)) > 1)
        assert len(above)
        assert 0.2 * len(life.columns) < above[0] < 0.95 * len(life.columns)


def test_four_steps_far_away_make_no_alarm_and_five_do() -> None:
    # so short a time scale that the short mean is the step itself
    model = replace(fan_watch(), frame=replace(plain_frame(scale=0.05), watch=Watch(np.eye(1), 2.0)))
    for steps, alarm in ((4, False), (5, True)):
        x = np.zeros(20)
        x[10 : 10 + steps] = 9
        assert (followed(model, x[:, None]) > 1).any() == alarm


def test_before_its_own_start_is_known_nothing_is_said_of_a_machine() -> None:
    said, baseline = followed(fan_watch(), fan_life(0, seed=5).columns), fan_watch().frame.baseline
    assert np.isnan(said[: baseline + watch.HELD - 1]).all()
    assert np.isfinite(said[baseline + watch.HELD - 1 :]).all()


def test_the_trail_keeps_the_whole_life_in_64_places() -> None:
    recent, trail = np.zeros((watch.HELD, 2), np.float32), np.zeros((watch.TRAIL, 2), np.float32)
    for step in range(1, 1001):
        watch.remember(recent, trail, np.array([float(step), 64.0]), np.array([float(step), -1.0]))
    assert recent[:, 0].tolist() == [996, 997, 998, 999, 1000]
    # 1000 steps: 16 to a place, the last one not full yet
    assert trail[: watch.taken(1000), 0].tolist() == [*range(16, 1001, 16), 1000]
    assert watch.taken(64) == 64
    assert watch.taken(65) == 33
    assert watch.taken(0) == 0


def test_the_trail_of_a_machine_ends_where_it_is() -> None:
    frame, columns = fan_watch().frame, fan_life(1, seed=5).columns
    state = features.start(frame, 2)
    for step in columns:
        features.fold(frame, state, np.array([1]), step[None])
    trail = features.trail(frame, state, 1)
    assert len(trail) == watch.taken(len(columns))
    assert trail[-1] > 1 > trail[:10].max()
    assert len(features.trail(frame, state, 0)) == 0


def test_the_same_lives_and_seed_give_the_same_watch() -> None:
    again = train_watch(FAN, still_running(fan_lives(30)), seed=3, origin=Origin.SIMULATED)
    first, second = fan_watch().frame.watch, again.frame.watch
    assert first is not None
    assert second is not None
    assert (second.whitening.tobytes(), second.level) == (first.whitening.tobytes(), first.level)
    assert again.facts == fan_watch().facts


def test_false_alarms_are_counted_on_machines_left_out() -> None:
    facts = fan_watch().facts
    assert (facts.lives, facts.failures) == (30, 0)
    assert facts.figures["healthy_machines"] == 30
    assert facts.figures["false_alarms"] <= 1
    # no alarm in n steps: by 95 % at least n / 3 steps to one
    if not facts.figures["false_alarms"]:
        assert facts.figures["steps_per_false_alarm"] == pytest.approx(
            facts.figures["healthy_steps"] / 2.9957, rel=1e-4
        )


def test_false_alarms_are_counted_on_groups_left_out_where_machines_name_them() -> None:
    def warming(life: Life) -> Life:
        """In a hall that grows hot."""
        return replace(life, columns=life.columns + np.outer(np.arange(len(life.columns)), [0.0, 0.0, 0.5, 0.0]))

    lives = still_running(fan_lives(30))
    lives = [replace(warming(life) if n < 6 else life, complete=False) for n, life in enumerate(lives)]
    placed = [replace(life, group=f"hall-{n // 6}") for n, life in enumerate(lives)]
    apart, together = (train_watch(FAN, some, seed=3, origin=Origin.PLANT) for some in (lives, placed))
    assert (apart.facts.groups, together.facts.groups) == (0, 5)
    assert apart.facts.figures["false_alarms"] < together.facts.figures["false_alarms"]
    assert "one by one, since they name no groups" in card(apart)
    assert "by group: who judged a machine had seen none of its group (5 groups)" in card(together)


def test_one_machine_alone_has_an_alarm_of_which_no_rate_is_known() -> None:
    long = replace(fan_life(0), columns=np.concatenate([fan_life(n).columns[:20] for n in range(30)]), failed=False)
    long = replace(long, share=np.ones(len(long.columns)))
    assert train_watch(FAN, [long], seed=1, origin=Origin.PLANT).facts.figures == {}


def test_too_few_steps_of_early_life_are_refused_with_the_number() -> None:
    with pytest.raises(ModelError, match=f"from {FEWEST_STEPS} on"):
        train_watch(FAN, still_running(fan_lives(2)), seed=1, origin=Origin.PLANT)


def test_the_sensors_that_depart_are_named_with_their_size() -> None:
    model = fan_watch()
    worn = folded(model, fan_life(0, seed=5).columns)  # of the belt, which shows in the vibration
    assert model.frame.watch is not None
    assert worn.features is not None
    seen = features.emit(model.frame, worn.features)
    first, *others = departing.drivers(model.frame, model.frame.watch, seen)[0]
    assert first.column == "vibration"
    assert 4 < first.size < 8  # mm/s
    assert -first.contribution > 0.5 > sum(-other.contribution for other in others)


def test_no_departure_is_told_where_a_sensor_is_silent_or_the_operation_strange() -> None:
    columns = fan_life(0, seed=5).columns
    silent, strange = columns.copy(), columns.copy()
    silent[-40:, 1] = np.nan
    strange[-40:, 0] = 1000.0
    told = [forecast.departures(fan_watch(), folded(fan_watch(), one))[0] for one in (columns, silent, strange)]
    assert told[0] > 1
    assert np.isnan(told[1:]).all()


def test_a_watch_gives_no_remaining_life() -> None:
    seen = folded(fan_watch(), fan_life(0).columns[:50])
    said = forecast.forecast(FAN, fan_watch(), seen, np.array([0]), np.array([True]))
    assert said.refusal[0] == Refusal.NO_MODEL
    assert np.isnan(said.quantiles).all()


def test_a_declared_life_speaks_beside_a_watch_as_without_one() -> None:
    fan = replace(FAN, expected_life=ExpectedLife(100.0, 20.0))
    worn, age = folded(fan_watch(), fan_life(0).columns[:50]), np.array([0])
    beside, alone = (forecast.forecast(fan, model, worn, age, np.array([True])) for model in (fan_watch(), None))
    assert beside.basis[0] == Basis.DECLARED_LIFE
    assert beside.quantiles.tolist() == alone.quantiles.tolist()


NO_FAILURES = PLANT.replace("    expected_life: {mean: 500, sd: 100}\n", "")


def steady(source: str, hours: range, vibration: float = 2.0) -> Readings:
    """A fan that stays as it is."""
    noise = np.random.default_rng([hours.start, *source.encode()]).normal(size=(len(hours), 2))
    times = START + HOUR * np.array(hours) + HOUR // 2
    return rows(source, times, np.array([1500.0, vibration]) + noise * [1.0, 0.1])


def test_a_plant_without_failures_learns_an_alarm_and_is_told_which_machine_has_changed(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    with write(services.engine) as connection:
        store_plant(connection, NO_FAILURES, "rules: {changed: {kind: departure}}", START)
    feed(services, *(steady(f"fan{n}", range(250)) for n in (1, 2, 3)))
    tick(services, START + 250 * HOUR)
    trained = train_class(services.engine, "fan", tmp_path / "models", Act("test", START + 250 * HOUR))
    assert trained.active
    assert (
        "an alarm without remaining life, which takes 3 failures (0 so far); 0 false alarms in 135 early"
        in trained.text
    )
    assert "nobody hears it" not in trained.text
    fan = parse_plant(NO_FAILURES).classes["fan"]
    services.models["fan"] = model_folder.load(tmp_path / "models" / "fan" / str(trained.version), fan)
    feed(services, steady("fan1", range(250, 280), 2.8), *(steady(f"fan{n}", range(250, 280)) for n in (2, 3)))
    tick(services, START + 280 * HOUR)
    with read(services.engine) as connection:
        (alert,) = live_alerts(connection)
        believed = load_beliefs(connection, "fan")
        advice = connection.execute(select(recommendations.c.body)).scalar_one()
    assert (alert.serial, alert.rule, alert.severity) == ("F-1", "changed", "week")
    assert re.match(r"Vibration \((mean|max)\) 0\.\d+ mm/s \([\d.]+ sd\) above its own start", advice["evidence"][0])
    assert believed is not None
    assert believed.beliefs.departure[0] > 1 > believed.beliefs.departure[1:].max()
    assert set(believed.beliefs.prognosis.refusal) == {Refusal.TOO_FEW_FAILURES}


def test_without_a_rule_that_hears_the_alarm_training_says_so(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    feed(services, *(steady(f"fan{n}", range(250)) for n in (1, 2, 3)))
    tick(services, START + 250 * HOUR)
    said = train_class(services.engine, "fan", tmp_path / "models", Act("test", START)).text
    assert "nobody hears it: rules.yaml has no rule of kind departure for it" in said
    again = train_class(services.engine, "fan", tmp_path / "models", Act("test", START))
    assert again.text.endswith(f"a challenger: `pdm-twin models activate fan {again.version}` has it speak")


def test_what_is_told_of_a_declared_life_does_not_rest_on_the_machines_of_the_alarm(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    soon = "rules: {soon: {kind: failure_probability, within: 50, above: 10 %}}"
    with write(services.engine) as connection:
        store_plant(connection, PLANT, soon, START)
    lives = [replace(life, columns=life.columns[:, 1:], failed=False) for life in fan_lives(30)]
    services.models["fan"] = train_watch(parse_plant(PLANT).classes["fan"], lives, seed=1, origin=Origin.PLANT)
    feed(services, steady("fan1", range(480)))
    tick(services, START + 480 * HOUR)
    with read(services.engine) as connection:
        advice = connection.execute(select(recommendations.c.body)).scalar_one()
    assert "the declared life of its class" in advice["how_we_know"]
    assert advice["evidence"] == []


def test_failures_of_machines_that_were_not_seen_from_their_start_are_told_apart_from_none(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    with write(services.engine) as connection:
        store_plant(connection, re.sub("start_of_life: [^,}]*", "start_of_life: unknown", NO_FAILURES), "", START)
        add_event(
            connection, "1", MaintenanceEvent("F-1", EventKind.FAILED, START + 240 * HOUR), who="t", recorded_ms=0
        )
    feed(services, *(steady(f"fan{n}", range(250)) for n in (1, 2, 3)))
    tick(services, START + 250 * HOUR)
    said = train_class(services.engine, "fan", tmp_path / "models", Act("test", START)).text
    assert "1 failure of machines that were not seen from their start, such as F-1, cannot be learned from" in said
