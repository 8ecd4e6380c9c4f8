"""Heads: quantiles within and beyond the horizon, the likely mode, reasons, whose model it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import features
from pdm.degradation import Weibull
from pdm.features.frame import Floats
from pdm.plant import Sensor, Stress, StressLaw
from pdm.prognosis import LEVELS, MEDIAN, learned
from pdm.prognosis.forests import Spread, Target, later_by_forest, later_by_table, quantiles_around
from pdm.prognosis.learned import AGE, OVERALL, Model, head_of
from pdm.prognosis.quantiles import failure_probability
from tests.small_lives import FAN, fan_life, fan_model

MODES = [mode.name for mode in FAN.failure_modes]
SEEN = np.array([True])


def after(model: Model, number: int, share: float) -> tuple[Floats, Floats]:
    """Features and exposure of an unseen fan after a share of its life."""
    columns = fan_life(number, seed=77).columns
    columns = columns[: int(share * len(columns))]
    state = features.start(model.frame, 1)
    for step in columns:
        features.fold(model.frame, state, features.ALL, step[None])
    return features.emit(model.frame, state), np.array([float(len(columns))])


def even(beyond: float, expected: float = 17.0, exposure: float = 50.0, *, since_new: bool = True) -> Floats:
    """Quantiles of a spread that says the same everywhere, evenly up to 40, with this probability beyond."""
    inside = np.minimum(LEVELS / max(1 - beyond, 1e-9), 1) * 40
    spread = Spread(np.array([0.0, 40.0]), np.stack([inside, inside]), np.full(2, beyond))
    law = Weibull(1.0, 100.0)
    later = later_by_table(law, np.array([exposure + 40.0]), since_new=since_new)
    return np.asarray(quantiles_around(spread, 40.0, np.array([expected]), later)[0])


def test_quantiles_up_to_the_horizon_are_those_of_the_table() -> None:
    np.testing.assert_allclose(even(0.0), LEVELS * 40)


def test_beyond_the_horizon_the_life_table_goes_on_from_there() -> None:
    # constant hazard 1/100, half beyond the horizon of 40: P(R > r) = 0.5 exp(-(r - 40) / 100)
    quantiles = even(0.5)
    late = LEVELS > 0.5
    np.testing.assert_allclose(quantiles[late], 40 - 100 * np.log((1 - LEVELS[late]) / 0.5))
    np.testing.assert_allclose(quantiles[~late], LEVELS[~late] * 80)


def test_of_a_machine_that_joined_late_the_life_table_knows_no_age() -> None:
    # constant hazard: it does not matter
    np.testing.assert_allclose(even(0.5, since_new=False), even(0.5))


def test_beyond_the_reach_a_forest_goes_on_from_there() -> None:
    # half beyond 40, and of these evenly up to 100 later: level 0.75 is the median of them, 0.5 the reach itself
    evenly = Spread(np.array([0.0, 5.0]), np.stack([LEVELS * 100, LEVELS * 100]), np.zeros(2))
    half = Spread(np.array([0.0, 40.0]), np.full((2, 21), 40.0) * np.minimum(2 * LEVELS, 1), np.full(2, 0.5))
    said = quantiles_around(half, 40.0, np.array([17.0]), later_by_forest(evenly, np.array([3.0])))[0]
    np.testing.assert_allclose(said[LEVELS > 0.5], 40 + 100 * (2 * LEVELS[LEVELS > 0.5] - 1), atol=1e-9)
    np.testing.assert_allclose(said[LEVELS <= 0.5], 80 * LEVELS[LEVELS <= 0.5])


@given(
    expected=st.floats(0, 40),
    exposure=st.floats(0, 10_000),
    since_new=st.booleans(),
)
def test_quantiles_rise_along_their_levels(expected: float, exposure: float, since_new: bool) -> None:
    head = head_of(fan_model())
    forests = head.whole if since_new else head.late
    later = later_by_table(head.life, np.array([exposure + forests.reach]), since_new=since_new)
    quantiles = quantiles_around(forests.spread, forests.reach, np.array([expected]), later)[0]
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles) >= 0).all()


def test_a_forecast_alone_has_the_bits_of_the_same_forecast_among_many() -> None:
    model = fan_model()
    seen = [after(model, number, share) for number in range(5) for share in (0.3, 0.6, 0.95)]
    rows, exposure = np.concatenate([row for row, _ in seen]), np.concatenate([one for _, one in seen])
    complete = np.arange(len(rows)) % 3 > 0
    together = learned.forecast(model, rows, exposure, complete)
    for number, (row, one) in enumerate(seen):
        assert learned.forecast(model, row, one, complete[[number]]).tobytes() == together[number].tobytes()


def test_a_worn_machine_has_less_left_than_a_new_one() -> None:
    model = fan_model()
    new, worn = (learned.forecast(model, *after(model, 1, share), SEEN)[0] for share in (0.2, 0.95))
    assert worn[MEDIAN] < 10 < new[MEDIAN]
    assert failure_probability(worn[None], 20)[0] > 0.9


@pytest.mark.parametrize(("number", "mode"), [(2, "belt"), (3, "bearing")])
def test_the_mode_that_shows_is_the_likely_one(number: int, mode: str) -> None:
    model = fan_model()
    row, exposure = after(model, number, 0.97)
    likely = learned.first_mode(model, row, learned.forecast(model, row, exposure, SEEN), MODES)
    assert likely.sum() == pytest.approx(1.0)
    assert MODES[int(likely.argmax())] == mode
    assert likely.max() > 0.8


def test_far_from_failure_only_the_frequency_of_modes_is_known() -> None:
    model = fan_model()
    row, _ = after(model, 2, 0.97)
    far = np.linspace(500, 900, 21)[None]
    assert learned.first_mode(model, row, far, MODES)[0] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_modes_that_the_class_no_longer_has_are_left_out() -> None:
    model = fan_model()
    row, exposure = after(model, 2, 0.97)
    quantiles = learned.forecast(model, row, exposure, SEEN)
    assert learned.first_mode(model, row, quantiles, ["rotor", "bearing"]).tolist() == [[0.0, 1.0]]
    assert np.isnan(learned.first_mode(model, row, quantiles, ["rotor"])).all()


def test_without_a_mode_head_the_mode_is_unknown() -> None:
    model = replace(fan_model(), head=replace(head_of(fan_model()), modes=None))
    row, exposure = after(model, 2, 0.9)
    assert np.isnan(learned.first_mode(model, row, learned.forecast(model, row, exposure, SEEN), MODES)).all()


def test_reasons_add_up_to_the_forecast() -> None:
    model = fan_model()
    row, _ = after(model, 3, 0.9)
    reasons = learned.drivers(model, row, SEEN)[0]
    forests = head_of(model).whole
    earliest = forests.squared[forests.to_ends(row).argmin()]
    shap = np.asarray(earliest.predict(row.astype(np.float32), pred_contrib=True))
    assert sum(reason.contribution for reason in reasons) == pytest.approx(shap[0, :-1].sum())


@pytest.mark.parametrize(("number", "column"), [(2, "vibration"), (3, "temperature")])
def test_the_first_reason_is_the_sensor_that_shows_the_wear(number: int, column: str) -> None:
    model = fan_model()
    row, exposure = after(model, number, 0.9)
    reasons = learned.drivers(model, row, SEEN)[0]
    first = reasons[0]
    assert first.column == column
    assert first.contribution < 0
    assert first.departure > 3
    assert 1 < first.moving_for <= exposure[0]
    assert {reason.column for reason in reasons} == {"vibration", "temperature", "load", AGE, OVERALL}


def test_a_machine_without_departures_gives_no_sensor_the_blame_of_health() -> None:
    model = fan_model()
    row, _ = after(model, 2, 0.4)
    still = row.copy()
    still[:, [i for i, name in enumerate(model.frame.feature_names) if name.startswith("de15")]] = 0
    overall = next(reason for reason in learned.drivers(model, still, SEEN)[0] if reason.column == OVERALL)
    assert overall.contribution != 0


def test_a_fingerprint_changes_with_what_the_model_reads() -> None:
    before = learned.fingerprint(FAN)
    other_unit = (replace(FAN.sensors[0], unit="kW"), *FAN.sensors[1:])
    assert learned.fingerprint(replace(FAN, sensors=other_unit)) != before
    assert learned.fingerprint(replace(FAN, sensors=(*FAN.sensors, Sensor("extra", "1", "Extra")))) != before
    assert learned.fingerprint(replace(FAN, conditions=())) != before
    assert learned.fingerprint(replace(FAN, life_step=replace(FAN.life_step, unit="day"))) != before


def test_a_model_counts_life_by_the_law_of_stress_under_which_it_was_learned() -> None:
    law = Stress(StressLaw.INVERSE_POWER, (FAN.sensors[0].name,), (1500.0,), exponent=3.0)
    under_law = replace(FAN, stress=(law,))
    assert learned.fingerprint(under_law) != learned.fingerprint(FAN)
    assert learned.fingerprint(replace(FAN, stress=(replace(law, exponent=2.0),))) != learned.fingerprint(under_law)


def test_a_fingerprint_does_not_change_with_what_people_decide() -> None:
    assert learned.fingerprint(replace(FAN, notice_ms=1, title="Blower", costs=None)) == learned.fingerprint(FAN)


def test_reasons_of_a_logarithm_are_said_in_life_steps() -> None:
    model = fan_model()
    row, _ = after(model, 3, 0.9)
    # the same forest, read as one of logarithms: d ln(1 + R) = dR / (1 + R)
    log = replace(model, head=replace(head_of(model), whole=replace(head_of(model).whole, target=Target(log=True))))
    plain, scaled = (learned.drivers(one, row, SEEN)[0] for one in (model, log))
    forests = head_of(model).whole
    earliest = forests.squared[forests.to_ends(row).argmin()]
    shap = np.asarray(earliest.predict(row.astype(np.float32), pred_contrib=True))
    factor = np.exp(shap.sum())
    assert [reason.contribution for reason in scaled] == pytest.approx([factor * r.contribution for r in plain])


def test_a_machine_that_joined_late_is_forecast_from_what_was_seen_of_it() -> None:
    model, errors = fan_model(), []
    for number in range(12):
        columns = fan_life(number, seed=77).columns
        state = features.start(model.frame, 1)
        seen = columns[int(0.6 * len(columns)) : int(0.85 * len(columns))]
        for step in seen:
            features.fold(model.frame, state, features.ALL, step[None])
        row, exposure = features.emit(model.frame, state), np.array([float(len(seen))])
        left = len(columns) - int(0.85 * len(columns))
        errors.append(
            [abs(learned.forecast(model, row, exposure, np.array([c]))[0, MEDIAN] - left) for c in (False, True)]
        )
    late, pretended = np.mean(errors, axis=0)
    assert late < 5
    assert late < pretended


def test_where_the_life_table_speaks_sensors_say_nothing() -> None:
    nearer = {"learned": 2.0, "life_table": 1.0}
    model = replace(fan_model(), facts=replace(fan_model().facts, ladder=nearer, late_ladder=nearer))
    rows, exposure = np.concatenate([after(model, n, 0.5)[0] for n in (1, 2)]), np.array([50.0, 50.0])
    of_age, of_no_age = learned.forecast(model, rows, exposure, np.array([True, False]))
    assert of_age == pytest.approx(head_of(model).life.remaining(50.0, LEVELS))
    assert of_no_age == pytest.approx(head_of(model).life.remaining_of_unknown_age(50.0, LEVELS))


def test_each_mode_is_told_as_if_it_alone_could_end_the_machine() -> None:
    model = fan_model()
    for number, wearing, sound in ((0, "belt", "bearing"), (1, "bearing", "belt")):
        row, _ = after(model, number, 0.9)
        alone = learned.by_mode(model, row, SEEN)
        assert set(alone) == {"belt", "bearing"}
        assert alone[wearing] < alone[sound]
        assert alone[wearing] < 0.3 * 60
