"""Heads: quantiles within and beyond the horizon, the likely mode, reasons, whose model it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import features
from pdm.degradation import Weibull
from pdm.features.frame import Floats
from pdm.plant import Sensor
from pdm.prognosis import LEVELS, MEDIAN, learned
from pdm.prognosis.learned import AGE, OVERALL, Head, Model, Spread
from pdm.prognosis.quantiles import failure_probability
from tests.small_lives import FAN, fan_life, fan_model

MODES = [mode.name for mode in FAN.failure_modes]


def after(model: Model, number: int, share: float) -> tuple[Floats, Floats]:
    """Features and exposure of an unseen fan after a share of its life."""
    columns = fan_life(number, seed=77).columns
    columns = columns[: int(share * len(columns))]
    state = features.start(model.frame, 1)
    for step in columns:
        features.fold(model.frame, state, features.ALL, step[None])
    return features.emit(model.frame, state), np.array([float(len(columns))])


def head_with(beyond: float) -> Head:
    """A head whose spread says the same everywhere: evenly up to the horizon, with this probability beyond it."""
    inside = np.minimum(LEVELS / max(1 - beyond, 1e-9), 1) * 40
    spread = Spread(np.array([0.0, 40.0]), np.stack([inside, inside]), np.full(2, beyond))
    return replace(fan_model().head, spread=spread, life=Weibull(1.0, 100.0))


def test_quantiles_up_to_the_horizon_are_those_of_the_table() -> None:
    quantiles = learned.quantiles(head_with(0.0), np.array([17.0]), np.array([50.0]))
    np.testing.assert_allclose(quantiles[0], LEVELS * 40)


def test_beyond_the_horizon_the_life_table_goes_on_from_there() -> None:
    # constant hazard 1/100, half beyond the horizon of 40: P(R > r) = 0.5 exp(-(r - 40) / 100)
    quantiles = learned.quantiles(head_with(0.5), np.array([17.0]), np.array([50.0]))[0]
    late = LEVELS > 0.5
    np.testing.assert_allclose(quantiles[late], 40 - 100 * np.log((1 - LEVELS[late]) / 0.5))
    np.testing.assert_allclose(quantiles[~late], LEVELS[~late] * 80)


@given(
    expected=st.floats(0, 40),
    exposure=st.floats(0, 10_000),
)
def test_quantiles_rise_along_their_levels(expected: float, exposure: float) -> None:
    quantiles = learned.quantiles(fan_model().head, np.array([expected]), np.array([exposure]))[0]
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles) >= 0).all()


def test_a_forecast_alone_has_the_bits_of_the_same_forecast_among_many() -> None:
    model = fan_model()
    seen = [after(model, number, share) for number in range(5) for share in (0.3, 0.6, 0.95)]
    rows, exposure = np.concatenate([row for row, _ in seen]), np.concatenate([one for _, one in seen])
    together = learned.forecast(model, rows, exposure)
    for number, (row, one) in enumerate(seen):
        assert learned.forecast(model, row, one).tobytes() == together[number].tobytes()


def test_a_worn_machine_has_less_left_than_a_new_one() -> None:
    model = fan_model()
    new, worn = (learned.forecast(model, *after(model, 1, share))[0] for share in (0.2, 0.95))
    assert worn[MEDIAN] < 10 < new[MEDIAN]
    assert failure_probability(worn[None], 20)[0] > 0.9


@pytest.mark.parametrize(("number", "mode"), [(2, "belt"), (3, "bearing")])
def test_the_mode_that_shows_is_the_likely_one(number: int, mode: str) -> None:
    model = fan_model()
    row, exposure = after(model, number, 0.97)
    likely = learned.first_mode(model, row, learned.forecast(model, row, exposure), MODES)
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
    quantiles = learned.forecast(model, row, exposure)
    assert learned.first_mode(model, row, quantiles, ["rotor", "bearing"]).tolist() == [[0.0, 1.0]]
    assert np.isnan(learned.first_mode(model, row, quantiles, ["rotor"])).all()


def test_without_a_mode_head_the_mode_is_unknown() -> None:
    model = replace(fan_model(), head=replace(fan_model().head, modes=None))
    row, exposure = after(model, 2, 0.9)
    assert np.isnan(learned.first_mode(model, row, learned.forecast(model, row, exposure), MODES)).all()


def test_reasons_add_up_to_the_forecast() -> None:
    model = fan_model()
    row, _ = after(model, 3, 0.9)
    reasons = learned.drivers(model, row)[0]
    shap = np.asarray(model.head.squared.predict(row.astype(np.float32), pred_contrib=True))
    assert sum(reason.contribution for reason in reasons) == pytest.approx(shap[0, :-1].sum())


@pytest.mark.parametrize(("number", "column"), [(2, "vibration"), (3, "temperature")])
def test_the_first_reason_is_the_sensor_that_shows_the_wear(number: int, column: str) -> None:
    model = fan_model()
    row, exposure = after(model, number, 0.9)
    reasons = learned.drivers(model, row)[0]
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
    overall = next(reason for reason in learned.drivers(model, still)[0] if reason.column == OVERALL)
    assert overall.contribution != 0


def test_a_fingerprint_changes_with_what_the_model_reads() -> None:
    before = learned.fingerprint(FAN)
    other_unit = (replace(FAN.sensors[0], unit="kW"), *FAN.sensors[1:])
    assert learned.fingerprint(replace(FAN, sensors=other_unit)) != before
    assert learned.fingerprint(replace(FAN, sensors=(*FAN.sensors, Sensor("extra", "1", "Extra")))) != before
    assert learned.fingerprint(replace(FAN, conditions=())) != before
    assert learned.fingerprint(replace(FAN, life_step=replace(FAN.life_step, unit="day"))) != before


def test_a_fingerprint_does_not_change_with_what_people_decide() -> None:
    assert learned.fingerprint(replace(FAN, notice_ms=1, title="Blower", costs=None)) == learned.fingerprint(FAN)
