"""Training: what it refuses, what it leaves out, how right it is on machines that it has not seen, the same bytes."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import twin
from pdm.errors import ModelError
from pdm.learn import Life, train
from pdm.learn.choice import choose_estimate, targets
from pdm.learn.declared import say_declared
from pdm.learn.forest_fit import fold_lives
from pdm.learn.left_out import parts, parts_of
from pdm.learn.lives import stacked
from pdm.learn.model_card import card
from pdm.learn.stack import Stack
from pdm.prognosis import FEWEST_FAILURES, LEVELS, Basis, Refusal, learned
from pdm.prognosis.forecast import forecast
from pdm.prognosis.forests import ANY, Target
from pdm.prognosis.learned import Model, Origin, head_of
from pdm.scoring import score
from pdm.steps import Steps
from tests.small_lives import FAN, WORN, fan_life, fan_lives, fan_model, worn_lives
from tests.small_plant import HOUR


def content(model: Model) -> tuple[bytes, ...]:
    """Everything fitted, as bytes."""
    frame, head = model.frame, head_of(model)
    assert head.modes is not None
    spreads = [
        spread for forests in (head.whole, head.late) for spread in (forests.spread.quantiles, forests.spread.beyond)
    ]
    arrays = (frame.projection, frame.own_change, frame.conditions.surface, *spreads)
    each = (head.whole.squared, head.whole.poisson, head.late.squared, head.late.poisson)
    forests = [*chain.from_iterable(each), head.modes.forest]
    return *(array.tobytes() for array in arrays), *(forest.model_to_string().encode() for forest in forests)


def test_the_same_lives_and_seed_give_the_same_model() -> None:
    first, again = (train(FAN, fan_lives(4), seed=3, origin=Origin.SIMULATED) for _ in range(2))
    assert content(again) == content(first)
    assert again.facts == first.facts


def test_too_few_failures_are_refused_with_the_number() -> None:
    lives = [*fan_lives(FEWEST_FAILURES - 1), *(replace(life, failed=False) for life in fan_lives(9))]
    with pytest.raises(ModelError, match="2 lives from start to failure"):
        train(FAN, lives, seed=1, origin=Origin.PLANT)


def test_a_record_that_begins_late_is_left_out() -> None:
    lives = [*fan_lives(2), *(replace(life, complete=False) for life in fan_lives(9))]
    with pytest.raises(ModelError, match=r"2 lives from start to failure \(9 more failed"):
        train(FAN, lives, seed=1, origin=Origin.PLANT)


def test_lives_cut_short_count_in_the_life_table_and_teach_where_their_end_was_far() -> None:
    lives, alive = fan_lives(6), [replace(life, failed=False) for life in fan_lives(3, seed=9)]
    short = [replace(life, columns=life.columns[:35], share=life.share[:35]) for life in alive]  # the horizon is 40
    without, of_short, of_long = (
        train(FAN, [*lives, *some], seed=1, origin=Origin.PLANT) for some in ([], short, alive)
    )
    assert head_of(of_short).life.mean > head_of(without).life.mean
    assert (of_short.facts.lives, of_short.facts.failures) == (9, 6)
    forests = [head_of(model).whole.squared[0].model_to_string() for model in (without, of_short, of_long)]
    assert forests[1] == forests[0] != forests[2]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_only_early_failures_are_known_lives_that_go_on_correct_what_is_learned(seed: int) -> None:
    # all are taken out at 90 hours; those that live longer never fail on record
    lives = [fan_life(number, seed) for number in range(24)]
    failed = [life for life in lives if life.length <= 90]
    alive = [
        replace(life, columns=life.columns[:90], share=life.share[:90], failed=False)
        for life in lives
        if life.length > 90
    ]
    unseen = stacked(fan_lives(20, seed=50))
    errors = []
    for some in (failed, [*failed, *alive]):
        model = train(FAN, some, seed=1, origin=Origin.PLANT)
        rows = fold_lives(model.frame, unseen, np.ones(unseen.lengths.max(), dtype=bool))
        forests = head_of(model).whole
        left = np.minimum(unseen.remaining[rows.step], FAN.horizon)
        expected = forests.target.life(forests.to_ends(rows.features).min(axis=1))
        errors.append(np.abs(expected - left).mean())
    assert errors[1] < 0.95 * errors[0]


def test_forecasts_of_unseen_machines_are_calibrated_and_better_than_age() -> None:
    model, lives = fan_model(), fan_lives(30, seed=50)
    used = [np.cumsum(life.share) for life in lives]
    stack = Stack(
        np.concatenate([life.columns for life in lives]),
        np.array([len(life.columns) for life in lives]),
        np.concatenate(used),
        np.concatenate([one[-1] - one for one in used]),
    )
    rows = fold_lives(model.frame, stack, np.ones(stack.lengths.max(), dtype=bool))
    quantiles = learned.forecast(model, rows.features, stack.used[rows.step], np.ones(len(rows.step), dtype=bool))
    scores = score(quantiles, stack.remaining[rows.step], rows.life, FAN.horizon).mean()
    assert 0.65 < scores.coverage_80 < 0.95
    assert scores.crps < 0.6 * model.facts.figures["crps_age_only"]
    assert scores.rmse < 8


def test_figures_are_of_machines_left_out_and_in_the_facts() -> None:
    facts = fan_model().facts
    assert (facts.lives, facts.failures, facts.modes) == (20, 20, {"belt": 10, "bearing": 10})
    assert facts.figures["crps"] < 0.6 * facts.figures["crps_age_only"]
    assert facts.figures["mode_right"] > 0.7
    assert 0.6 < facts.figures["coverage_80"] < 0.95


def test_whoever_is_better_on_machines_left_out_speaks() -> None:
    facts = fan_model().facts
    assert set(facts.ladder) == {"learned", "life_table"}
    assert facts.ladder["learned"] < 0.6 * facts.ladder["life_table"]
    assert facts.evidence.startswith(f"learned {facts.crps:.4g}")
    assert facts.basis == Basis.LEARNED
    blind = [
        replace(life, columns=np.random.default_rng(i).normal(5, 1, life.columns.shape))
        for i, life in enumerate(fan_lives(8))
    ]
    assert train(FAN, blind, seed=1, origin=Origin.PLANT).facts.basis == Basis.LIFE_TABLE


def test_of_few_failures_declared_wear_speaks_where_it_was_nearer_and_says_what_it_says_without_a_model() -> None:
    model = train(WORN, worn_lives(3), seed=1, origin=Origin.PLANT)
    assert set(model.facts.ladder) == {"learned", "declared_wear"}
    assert model.facts.basis == Basis.DECLARED_WEAR
    unseen = worn_lives(4)[3]
    columns, hours = unseen.columns[:200], np.arange(200) * HOUR
    row, held = np.zeros(200, dtype=np.int64), np.ones(200, dtype=np.int32)
    machine = twin.start(WORN, model.frame, 1)
    twin.fold(WORN, model.frame, machine, Steps(row, hours, hours + HOUR, np.ones(200), held, columns))
    served, without = (forecast(WORN, one, machine, np.array([0]), np.array([True])) for one in (model, None))
    assert served.basis[0] == Basis.DECLARED_WEAR
    assert served.quantiles.tobytes() == without.quantiles.tobytes()
    replayed = say_declared(WORN, [unseen], np.array([0, 0]), np.array([50, 199]))
    assert replayed[1].tobytes() == served.quantiles[0].tobytes()


def test_where_declared_wear_speaks_machines_that_joined_late_are_forecast_by_what_was_learned() -> None:
    model = train(WORN, worn_lives(3), seed=1, origin=Origin.PLANT)
    assert (model.facts.basis, model.facts.late_basis) == (Basis.DECLARED_WEAR, Basis.LEARNED)
    columns, hours = worn_lives(4)[3].columns[:200], np.arange(200) * HOUR
    row, held = np.repeat([0, 1], 200), np.ones(400, dtype=np.int32)
    steps = Steps(row, np.tile(hours, 2), np.tile(hours + HOUR, 2), np.ones(400), held, np.tile(columns, (2, 1)))
    machines, rows = twin.start(WORN, model.frame, 2), np.arange(2)
    twin.fold(WORN, model.frame, machines, steps)
    said = forecast(WORN, model, machines, rows, np.array([True, False]))
    assert said.basis.tolist() == [Basis.DECLARED_WEAR, Basis.LEARNED]
    alone = [forecast(WORN, model, machines, rows[[n]], np.array([n == 0])).quantiles[0] for n in rows]
    assert said.quantiles.tobytes() == np.array(alone).tobytes()
    assert np.isfinite(said.quantiles).all()
    without = forecast(WORN, None, machines, rows, np.array([True, False]))
    assert without.refusal.tolist() == [Refusal.NONE, Refusal.HISTORY_INCOMPLETE]


def test_of_machines_that_joined_late_the_life_table_speaks_where_sensors_tell_no_more() -> None:
    facts = fan_model().facts
    assert set(facts.late_ladder) == {"learned", "life_table"}
    assert facts.late_basis == Basis.LEARNED
    by_age = replace(fan_model(), facts=replace(facts, late_ladder={"learned": 2.0, "life_table": 1.0}))
    assert learned.spoken(by_age, np.array([True, False])).tolist() == [Basis.LEARNED, Basis.LIFE_TABLE]
    features, used = np.zeros((2, len(fan_model().frame.feature_names))), np.array([40.0, 40.0])
    said = learned.forecast(by_age, features, used, np.array([True, False]))
    table = head_of(by_age).life.remaining_of_unknown_age(40.0, LEVELS)
    np.testing.assert_array_equal(said[1], table)


def test_a_record_that_begins_late_teaches_what_to_say_of_such_machines() -> None:
    late = [replace(life, complete=False) for life in fan_lives(6, seed=9)]
    without, with_them = (
        train(FAN, some, seed=1, origin=Origin.PLANT) for some in (fan_lives(4), [*fan_lives(4), *late])
    )
    assert head_of(with_them).whole.squared[0].model_to_string() == head_of(without).whole.squared[0].model_to_string()
    assert head_of(with_them).late.squared[0].model_to_string() != head_of(without).late.squared[0].model_to_string()


def test_what_is_estimated_is_one_of_what_is_tried() -> None:
    assert targets(horizon=125, median_life=200) == [Target(cap=125), Target(), Target(log=True)]
    assert targets(horizon=1000, median_life=200) == [Target(cap=1000), Target(cap=120), Target(), Target(log=True)]
    assert head_of(fan_model()).whole.target in targets(FAN.horizon, fan_model().facts.median_life)


@pytest.mark.parametrize(("noise", "random"), [(0.0, False), (3.0, True)])
def test_trees_split_at_random_where_noise_would_choose_their_splits(noise: float, random: bool) -> None:
    lives = [
        replace(life, columns=life.columns + np.random.default_rng(number).normal(0, noise, life.columns.shape))
        for number, life in enumerate(worn_lives(12))
    ]
    _, plans = choose_estimate(WORN, list(parts(WORN, lives, [], seed=1)), median_life=300, seed=1)
    assert [plan.random for plan in plans] == [random, random]


def test_rivals_are_chosen_on_the_training_machines() -> None:
    facts = fan_model().facts
    assert sorted(facts.rivals.lengths) == sorted(life.length for life in fan_lives(20))
    assert min(facts.rivals.lengths) - 1 <= facts.rivals.interval < max(facts.rivals.lengths)
    # a notice of 5 hours must fit before the failure
    assert FAN.notice_ms / 3_600_000 < facts.rivals.threshold < FAN.horizon


def test_without_costs_there_is_no_policy_to_compare_with() -> None:
    rivals = train(replace(FAN, costs=None), fan_lives(4), seed=1, origin=Origin.PLANT).facts.rivals
    assert rivals.interval == np.inf


def test_life_is_counted_in_what_each_step_used() -> None:
    # machines that ran half of every hour live half as many hours of running
    lives = [replace(life, share=np.full(len(life.share), 0.5)) for life in fan_lives(6)]
    model = train(FAN, lives, seed=1, origin=Origin.PLANT)
    assert model.facts.median_life == pytest.approx(np.median([len(life.columns) for life in lives]) / 2)


def test_lives_without_a_mode_make_a_model_without_a_mode_head() -> None:
    model = train(FAN, [replace(life, mode=None) for life in fan_lives(4)], seed=1, origin=Origin.PLANT)
    assert head_of(model).modes is None
    assert "mode_right" not in model.facts.figures


def test_progress_rises_to_the_end() -> None:
    told: list[tuple[str, float]] = []
    train(FAN, fan_lives(4), seed=1, origin=Origin.PLANT, progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_sensor_with_holes_is_learned_all_the_same() -> None:
    random, lives = np.random.default_rng(4), []
    for life in fan_lives(8):
        columns = life.columns.copy()
        columns[random.random(columns.shape) < 0.03] = np.nan
        lives.append(replace(life, columns=columns))
    model = train(FAN, lives, seed=1, origin=Origin.PLANT)
    assert np.isfinite(head_of(model).whole.spread.quantiles).all()


def test_where_all_sensors_have_many_holes_they_are_learned_from_all_the_same() -> None:
    random, lives = np.random.default_rng(4), []
    for life in fan_lives(8):
        columns = life.columns.copy()
        columns[random.random(columns.shape) < 0.2] = np.nan
        lives.append(replace(life, columns=columns))
    model = train(FAN, lives, seed=1, origin=Origin.PLANT)
    assert model.facts.basis == Basis.LEARNED
    assert model.facts.ladder["learned"] < 0.8 * model.facts.ladder["life_table"]


def test_a_life_knows_its_length() -> None:
    assert Life("F-1", np.zeros((3, 4)), np.array([1.0, 0.5, 1.0]), failed=True).length == 2.5


def test_failure_modes_have_forests_of_their_own_where_failures_name_them() -> None:
    assert head_of(fan_model()).whole.ends == ("belt", "bearing")
    of_one_name = train(FAN, [replace(life, mode="belt") for life in fan_lives(12)], seed=1, origin=Origin.PLANT)
    assert head_of(of_one_name).whole.ends == (ANY,)


def test_machines_of_one_group_are_left_out_together() -> None:
    lives = [replace(life, group=f"station-{number % 6}") for number, life in enumerate(fan_lives(30))]
    late = [replace(life, complete=False) for life in lives[:6]]
    part = parts_of([*lives, *late], seed=1)
    assert set(part) == set(range(5))
    for station in range(6):
        assert len({*part[station:30:6], part[30 + station]}) == 1


def test_fewer_groups_than_parts_are_not_told_apart() -> None:
    lives = fan_lives(30)
    placed = [replace(life, group=f"station-{number % 4}") for number, life in enumerate(lives)]
    assert parts_of(placed, seed=1).tolist() == parts_of(lives, seed=1).tolist()
    assert np.bincount(parts_of(lives, seed=1)).tolist() == [6] * 5


@given(st.lists(st.tuples(st.sampled_from([None, *"abcdefgh"]), st.booleans()), min_size=5, max_size=40))
def test_no_group_is_in_two_parts_and_no_part_without_a_whole_life(drawn: list[tuple[str | None, bool]]) -> None:
    some = [replace(fan_life(0), group=group, complete=complete) for group, complete in drawn]
    some += [replace(fan_life(0), group=group) for group in "abcde"]
    part = parts_of(some, seed=1)
    for group in {life.group for life in some} - {None}:
        assert len({number for number, life in zip(part, some, strict=True) if life.group == group}) == 1
    assert {number for number, life in zip(part, some, strict=True) if life.complete} == set(range(5))


def test_machines_that_still_run_teach_nothing_about_their_group_where_it_is_left_out() -> None:
    lives = [replace(life, group=f"station-{number % 5}") for number, life in enumerate(fan_lives(10))]
    running = [replace(life, failed=False, group="station-2") for life in fan_lives(3, seed=9)]
    part_of = parts_of(lives, seed=1)
    for number, (with_them, without) in enumerate(
        zip(parts(FAN, lives, running, seed=1), parts(FAN, lives, [], seed=1), strict=True)
    ):
        assert (with_them.life == without.life) == (number == part_of[2])
        assert (len(with_them.whole.learned.machine) == len(without.whole.learned.machine)) == (number == part_of[2])


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (1, "one by one, since they name 1 group, fewer than 5: bands may be too narrow for a group that was not seen"),
        (5, "by group: who judged a machine had seen none of its group (5 groups)"),
    ],
)
def test_the_card_says_whether_machines_were_left_out_by_group(groups: int, said: str) -> None:
    lives = [replace(life, group=f"station-{number % groups}") for number, life in enumerate(fan_lives(6))]
    model = train(FAN, lives, seed=1, origin=Origin.PLANT)
    assert model.facts.groups == groups
    assert f"| machines left out | {said} |" in card(model)


def test_the_card_of_machines_without_groups_says_so() -> None:
    assert "| machines left out | one by one, since they name no groups |" in card(fan_model())
