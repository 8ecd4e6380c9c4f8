"""Declared wear: the filter and the first passage by hand-worked and published numbers, and the fold over steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import invgauss

from pdm import twin, wear
from pdm.degradation import Weibull, first_passage
from pdm.degradation.first_passage import Law
from pdm.degradation.wear import Wear, WearPrior, WearScale, WearShape, measured, new, predicted, prior_of
from pdm.installations import Inspection
from pdm.plant import (
    AssetClass,
    DeclaredWear,
    ExpectedLife,
    FailureMode,
    GapRule,
    LifeStep,
    Limit,
    Sensor,
    Stress,
    StressLaw,
)
from pdm.prognosis import LEVELS, Basis
from pdm.prognosis.forecast import forecast
from pdm.steps import Steps
from pdm.wear import Inspections

HOUR = 3_600_000
START = 1_767_571_200_000

BELT = FailureMode(
    "belt",
    "Belt wear",
    limit=Limit("vibration", above=9.0),
    expected_life=ExpectedLife(2000.0, 600.0),
    wear=DeclaredWear(WearScale(2.0, 9.0), noise=0.35, inspection_noise=0.07),
)
SEAL = FailureMode("seal", "Seal", expected_life=ExpectedLife(4000.0, 2000.0))
FAN = AssetClass(
    "fan",
    "Fan",
    (Sensor("speed", "rpm", "Speed", 0.0, 3000.0), Sensor("vibration", "mm/s", "Vibration")),
    ("speed",),
    LifeStep("hour", HOUR),
    1000,
    0,
    (BELT, SEAL),
    gap=GapRule.ASSUME_PROFILE,
    stress=(Stress(StressLaw.INVERSE_POWER, ("speed",), (1500.0,), exponent=3.0),),
)


def belief(*entries: float) -> Wear:
    return Wear(*(np.array([entry]) for entry in entries))


def of(state: Wear) -> list[float]:
    return [float(entry[0]) for entry in state]


# The filter


def test_an_hour_of_wear_by_hand() -> None:
    prior = WearPrior(log_rate=0.0, log_rate_sd=0.0, diffusion=1e-5, drift=1e-4)
    before = belief(0.5, np.log(0.001), 0.01, 0.001, 0.04)
    # a = 0.001 e^.02 100 = .102020,   w = e^.04 - 1 = .0408108:   D = .5 + a,   P = .01 + 2 a (.001) + a^2 w + .001,
    # c = .001 + a w,   V = .04 + .01
    expected = [0.602020, np.log(0.001), 0.0116288, 0.00516352, 0.05]
    assert of(predicted(before, prior, np.array([100.0]))) == pytest.approx(expected, rel=1e-5)


def test_a_measured_value_by_hand() -> None:
    # S = .0116 + .0084 = .02,   g = 50,   y - D = .05:   D + .58 (.05),   v'/v = 1 + 50 (.005)(.05) = 1.0125,
    # w' = (e^.05 - 1 - 50 (.005)^2) / 1.0125^2 = .0487936,   V = ln(1 + w'),   theta = -7 + .025 + ln 1.0125 - V / 2
    after = measured(belief(0.6, -7.0, 0.0116, 0.005, 0.05), WearScale(0.0, 1.0), np.array([0.65]), 0.0084)
    assert of(after) == pytest.approx([0.629, -6.9863978, 0.004872, 0.00207407, 0.0476405], rel=1e-5)


def test_without_a_value_the_belief_widens_and_nothing_else_changes() -> None:
    prior = prior_of(2000.0, 600.0)
    state = new(prior, 1)
    silent = measured(predicted(state, prior, np.array([50.0])), BELT.wear.scale, np.array([np.nan]), 0.01)  # type: ignore[union-attr]
    assert of(silent) == of(predicted(state, prior, np.array([50.0])))
    assert silent.var_damage[0] > state.var_damage[0]
    assert silent.var_rate[0] > state.var_rate[0]


def test_a_spike_counts_as_four_standard_deviations() -> None:
    before = belief(0.5, -7.0, 0.0003, 0.0, 0.01)
    after = measured(before, WearScale(0.0, 1.0), np.array([99.0]), 0.0001)
    # S = .0004, 4 sd = .08, K = .75
    assert after.damage[0] == pytest.approx(0.56, rel=1e-12)


@pytest.mark.parametrize("shape", [WearShape.LINEAR, WearShape.POWER, WearShape.EXPONENTIAL])
def test_each_shape_finds_the_damage_behind_its_indicator(shape: WearShape) -> None:
    scale, prior = WearScale(2.0, 9.0, shape, 2.0 if shape == WearShape.POWER else 1.0), prior_of(1000.0, 300.0)
    state, rate = new(prior, 1), 1 / 800
    for hour in range(1, 601):
        damage = rate * hour
        share = {
            WearShape.LINEAR: damage,
            WearShape.POWER: damage**2,
            WearShape.EXPONENTIAL: ((9 / 2) ** damage - 1) / (9 / 2 - 1),
        }[shape]
        state = measured(predicted(state, prior, np.ones(1)), scale, np.array([share]), 1e-4)
    assert state.damage[0] == pytest.approx(0.75, abs=0.01)
    assert np.exp(state.log_rate[0]) == pytest.approx(rate, rel=0.05)


def test_the_covariance_stays_one_over_a_long_life() -> None:
    prior, random = prior_of(2000.0, 600.0), np.random.default_rng(1)
    state = new(prior, 50)
    for hour in range(3000):
        share = np.where(random.random(50) < 0.3, np.nan, hour / 3000 + 0.02 * random.normal(size=50))
        state = measured(predicted(state, prior, np.ones(50)), WearScale(0.0, 1.0), share, 0.0004)
        assert (state.var_damage > 0).all()
        assert (state.var_rate > 0).all()
        assert (state.covariance**2 <= state.var_damage * state.var_rate * (1 + 1e-9)).all()


# First passage


def test_with_known_damage_and_rate_the_law_is_the_published_inverse_gaussian() -> None:
    # Folks and Chhikara: mean (1-D)/v = 200, shape (1-D)^2/sigma^2 = 1000
    prior = WearPrior(0.0, 0.0, diffusion=1e-5, drift=0.0)
    law = first_passage.of_wear(belief(0.9, np.log(0.0005), 1e-14, 0.0, 1e-14), prior)
    levels = [0.005, 0.05, 0.5, 0.95, 0.995]
    published = invgauss.ppf(levels, 200 / 1000, scale=1000)
    assert first_passage.quantiles(law, levels)[0] == pytest.approx(published, rel=2e-3)


def test_the_prior_gives_about_the_declared_life() -> None:
    law = first_passage.of_wear(new(prior_of(2000.0, 600.0), 1), prior_of(2000.0, 600.0))
    lives = first_passage.quantiles(law, (np.arange(2000) + 0.5) / 2000)[0]
    assert lives.mean() == pytest.approx(2000.0, rel=0.02)
    assert lives.std() == pytest.approx(600.0, rel=0.05)


def test_nothing_overflows_however_small_the_noise_and_however_late_it_is() -> None:
    for damage, diffusion in ((0.0, 1e-12), (0.999, 1e-9), (1.5, 1e-5), (-0.2, 1e-3)):
        prior = WearPrior(0.0, 0.0, diffusion, 0.0)
        law = first_passage.of_wear(belief(damage, np.log(0.001), 1e-4, 0.0, 1e-4), prior)
        lives = first_passage.quantiles(law, LEVELS)
        assert np.isfinite(lives).all()
        assert (np.diff(lives[0]) > 0).all()


def test_a_machine_that_still_runs_at_its_limit_has_not_failed() -> None:
    law = first_passage.of_wear(belief(1.0, np.log(0.001), 0.01, 0.0, 0.01), prior_of(1000.0, 300.0))
    # D given D < 1 is half a normal law:   1 - E[D] = 0.1 sqrt(2/pi) = 0.0798, at 0.001 a step about 80 steps
    mean = first_passage.quantiles(law, (np.arange(4000) + 0.5) / 4000)[0].mean()
    assert mean == pytest.approx(80.0, rel=0.05)


@given(st.floats(-0.1, 0.99), st.floats(-9, -5), st.floats(1e-6, 0.05), st.floats(1e-4, 0.3), st.floats(0.1, 10.0))
def test_quantiles_rise_and_scale_with_the_unit_of_life(
    damage: float, log_rate: float, var_damage: float, var_rate: float, factor: float
) -> None:
    prior = WearPrior(0.0, 0.0, diffusion=1e-5, drift=1e-6)
    hours = first_passage.quantiles(
        first_passage.of_wear(belief(damage, log_rate, var_damage, 0.0, var_rate), prior), LEVELS
    )
    assert (np.diff(hours[0]) > 0).all()
    per_unit = WearPrior(0.0, 0.0, diffusion=1e-5 / factor, drift=1e-6 / factor)
    slower = belief(damage, log_rate - np.log(factor), var_damage, 0.0, var_rate)
    other = first_passage.quantiles(first_passage.of_wear(slower, per_unit), LEVELS)
    np.testing.assert_allclose(other, factor * hours, rtol=1e-6)


# The earliest of several


def test_of_two_equal_weibull_laws_the_earliest_is_the_known_one() -> None:
    law = first_passage.of_age(Weibull(2.0, 100.0), np.array([0.0]))
    first, shares = first_passage.earliest([law, law])
    # scale / 2^(1/k)
    expected = Weibull(2.0, 100.0 / np.sqrt(2.0)).remaining(0.0, LEVELS)
    assert first_passage.quantiles(first, LEVELS)[0] == pytest.approx(expected, rel=0.01)
    assert shares[0] == pytest.approx([0.5, 0.5])


def test_of_two_exponential_laws_the_shares_are_their_rates() -> None:
    laws = [first_passage.of_age(Weibull(1.0, scale), np.array([7.0])) for scale in (100.0, 300.0)]
    assert first_passage.earliest(laws)[1][0] == pytest.approx([0.75, 0.25], abs=0.005)


@given(st.lists(st.tuples(st.floats(0.5, 6.0), st.floats(10, 1e5)), min_size=2, max_size=4))
def test_shares_sum_to_one_and_no_second_mode_lengthens_life(modes: list[tuple[float, float]]) -> None:
    laws = [first_passage.of_age(Weibull(shape, scale), np.array([0.0, 50.0])) for shape, scale in modes]
    first, shares = first_passage.earliest(laws)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    together = first_passage.quantiles(first, LEVELS)
    assert (np.diff(together, axis=1) > 0).all()
    for law in laws:
        assert (together <= first_passage.quantiles(law, LEVELS) * 1.02).all()


# The fold


def history(machines: int, hours: int, *, speed: float = 1500.0, seed: int = 0) -> Steps:
    """Hours of machines, sorted by machine, now and then without a value or at rest."""
    random = np.random.default_rng(seed)
    row, hour = np.repeat(np.arange(machines), hours), np.tile(np.arange(hours), machines)
    share = np.where(random.random(len(row)) < 0.1, 0.0, 1.0)
    share[random.random(len(row)) < 0.05] = np.nan
    vibration = 2.0 + 7.0 * hour / 1500 * (1 + row / 10) + 0.3 * random.normal(size=len(row))
    vibration[random.random(len(row)) < 0.2] = np.nan
    speeds = speed + 100 * random.normal(size=len(row))
    start = START + hour * HOUR
    count = (~np.isnan(share)).astype(np.int32)
    return Steps(row, start, start + HOUR, share, count, np.column_stack([speeds, vibration]))


def inspected(*found: tuple[int, float, str | None, float]) -> Inspections:
    """Row, hour, mode and value."""
    return Inspections.of(
        FAN, [(row, Inspection(str(row), START + round(hour * HOUR), mode, value)) for row, hour, mode, value in found]
    )


def folded(
    steps: Steps, machines: int = 1, asset_class: AssetClass = FAN, by_hand: Inspections | None = None
) -> twin.Twin:
    state = twin.start(asset_class, None, machines)
    twin.fold(asset_class, None, state, steps, inspections=by_hand)
    return state


def columns(state: twin.Twin) -> dict[str, Any]:
    return twin.to_columns(state, np.arange(len(state)))


def seen(state: twin.Twin) -> wear.View:
    assert state.wear is not None
    return wear.view(state.wear)


def test_batch_step_by_step_and_after_a_checkpoint_are_the_same_to_the_bit() -> None:
    steps, by_hand = history(7, 60), inspected((3, 20.5, None, 2.4), (3, 40.0, "belt", 2.6), (5, 59.9, "belt", 3.0))
    whole = columns(folded(steps, 7, by_hand=by_hand))
    state = twin.start(FAN, None, 7)
    for hour in range(60):
        twin.fold(FAN, None, state, steps.take(steps.start_ms == START + hour * HOUR), inspections=by_hand)
        state = twin.from_columns(None, {name: np.array(values) for name, values in columns(state).items()})
    for name, values in columns(state).items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)
    for row in range(7):
        mine = steps.take(steps.row == row)
        own = by_hand.take(by_hand.row == row)
        alone = folded(replace(mine, row=np.zeros_like(mine.row)), 1, by_hand=replace(own, row=np.zeros_like(own.row)))
        np.testing.assert_array_equal(columns(alone)["wear.wear_state"][0], whole["wear.wear_state"][row])


def test_a_forecast_of_one_machine_is_that_among_others() -> None:
    state = folded(history(70, 40), 70)
    every = np.ones(70, dtype=np.bool_)
    among = forecast(FAN, None, state, np.arange(70), every)
    alone = forecast(FAN, None, state, np.array([66]), every[:1])
    np.testing.assert_array_equal(alone.quantiles[0], among.quantiles[66])
    assert (among.basis == Basis.DECLARED_WEAR).all()
    np.testing.assert_allclose(among.mode.sum(axis=1), 1.0)


def test_wear_follows_the_indicator_and_runs_on_duty_where_it_is_silent() -> None:
    steps = history(1, 600)
    state = seen(folded(steps))
    assert state.wear.damage[0, 0] == pytest.approx(600 / 1500, abs=0.03)
    assert state.seen[:, 0].tolist() == [int((~np.isnan(steps.values[:, 1]) & (steps.share > 0)).sum()), 0]
    silent = replace(steps, values=steps.values * [1.0, np.nan])
    assert seen(folded(silent)).wear.var_damage[0, 0] > 10 * state.wear.var_damage[0, 0]


def test_stopped_time_neither_wears_nor_measures() -> None:
    steps = history(1, 100)
    at_rest = replace(steps, share=np.zeros_like(steps.share))
    state, fresh = seen(folded(at_rest)), seen(twin.start(FAN, None, 1))
    for entry, before in zip(state.wear, fresh.wear, strict=True):
        np.testing.assert_array_equal(entry, before)


def test_an_inspection_narrows_the_belief_and_pulls_it_to_what_was_measured() -> None:
    silent = replace(history(1, 300), values=history(1, 300).values * [1.0, np.nan])
    without = seen(folded(silent))
    found = seen(folded(silent, by_hand=inspected((0, 250.0, "belt", 5.5))))
    assert found.wear.var_damage[0, 0] < without.wear.var_damage[0, 0] / 2
    assert abs(found.wear.damage[0, 0] - 0.5 * 1.1) < abs(without.wear.damage[0, 0] - 0.5 * 1.1)
    assert found.seen[0, 0] == 1


def test_an_inspection_of_a_mode_that_nobody_can_measure_counts_nowhere() -> None:
    assert not len(inspected((0, 1.0, "seal", 3.0), (0, 1.0, "other", 3.0)).row)


def test_a_gap_of_which_nobody_knows_widens_more_than_one_in_which_it_ran_as_usual() -> None:
    steps = history(1, 200)
    share = np.where(np.arange(200) >= 150, np.nan, 1.0)
    steps = replace(steps, share=share, values=np.where(np.isnan(share)[:, None], np.nan, steps.values))
    usual, unknown = (
        seen(folded(steps, asset_class=replace(FAN, gap=gap))) for gap in (GapRule.ASSUME_PROFILE, GapRule.UNKNOWN)
    )
    assert usual.wear.damage[0, 0] == unknown.wear.damage[0, 0]
    # about 50 hours of which nobody knows: sd of a uniform law from 0 to 100, 29 h at the rate of the machine
    rate, grown = np.exp(usual.wear.log_rate[0, 0]), unknown.wear.var_damage[0, 0] - usual.wear.var_damage[0, 0]
    assert np.sqrt(grown) / rate == pytest.approx(50 / np.sqrt(3), rel=0.1)


def test_harder_duty_wears_faster_and_leaves_less_life() -> None:
    silent = [
        replace(history(1, 300, speed=speed), values=history(1, 300, speed=speed).values * [1.0, np.nan])
        for speed in (1200.0, 1500.0, 1800.0)
    ]
    states = [folded(steps) for steps in silent]
    lives = [forecast(FAN, None, state, np.array([0]), np.array([True])).quantiles[0] for state in states]
    for easier, harder in ((0, 1), (1, 2)):
        assert states[harder].exposure[0] > states[easier].exposure[0]
        assert (lives[harder] < lives[easier]).all()


def test_a_mode_of_which_nothing_was_measured_ages_by_its_declared_life() -> None:
    only_seal = replace(FAN, failure_modes=(SEAL,), stress=())
    steps = history(1, 300)
    state = folded(replace(steps, share=np.ones(300)), asset_class=only_seal)
    said = forecast(only_seal, None, state, np.array([0]), np.array([True])).quantiles[0]
    assert said == pytest.approx(Weibull.from_moments(4000.0, 2000.0).remaining(300.0, LEVELS), rel=0.02)


def test_a_mode_under_another_law_counts_its_own_exposure() -> None:
    own = replace(BELT, stress=(Stress(StressLaw.INVERSE_POWER, ("speed",), (750.0,), exponent=1.0),))
    state = seen(
        folded(replace(history(1, 50), share=np.ones(50)), asset_class=replace(FAN, failure_modes=(own, SEAL)))
    )
    assert state.exposure[0, 0] == pytest.approx(100.0, rel=0.02)
    assert state.exposure[1, 0] == pytest.approx(50.0, rel=0.06)


def test_the_state_is_small() -> None:
    state = twin.start(replace(FAN, failure_modes=(BELT,)), None, 1)
    assert state.wear is not None
    assert state.wear.values.nbytes <= 100


def test_laws_that_mean_the_same_time_give_one_law() -> None:
    law = Law(np.array([[0.0, 1.0]]), np.array([[-1.0, 1.0]]))
    assert first_passage.quantiles(law.slower(np.array([2.0])), [0.5])[0, 0] == pytest.approx(2 * np.exp(0.5))
