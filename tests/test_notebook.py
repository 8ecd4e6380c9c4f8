"""Forecasts without a server: tables in, tables out, and the same numbers as the service."""

import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import pdm
from pdm.adapters import model_folder
from pdm.adapters.memory_readings import MemoryReadings
from pdm.clocks import ReplayClock
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life
from pdm.notebook import estimators
from pdm.notebook.tables import class_of
from pdm.plant.file import parse_plant
from pdm.prognosis import LEVELS, Basis
from pdm.readings import Readings
from pdm.respond import Act
from pdm.services import Services
from pdm.state.cohorts import load_beliefs
from pdm.state.plants import store_plant
from pdm.state.schema import open_state, read, write
from pdm.tick import tick
from pdm.training import train_class
from tests.databases import DATABASES
from tests.small_lives import fan_lives
from tests.small_plant import HOUR, RULES, START, feed, report

NEEDS_TABLES = [
    "check_fit_score_takes_y",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_readonly_memmap_input",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_estimators_dtypes",
    "check_complex_data",
    "check_dtype_object",
    "check_estimators_empty_data_messages",
    "check_pipeline_consistency",
    "check_estimators_nan_inf",
    "check_estimator_sparse_tag",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_fit2d_1sample",
    "check_fit2d_1feature",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
    "check_fit2d_predict1d",
]
"""They fit a bare matrix; a life needs to know which machine a row is of, and when. What they ask for is asked of
tables below; a missing value is an ordinary case there."""


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [pdm.RemainingLife(), pdm.DeclaredWear(), pdm.Watch()],
    expected_failed_checks=lambda _: dict.fromkeys(NEEDS_TABLES, "a matrix names no machines and no times"),
    xfail_strict=True,
)
def test_checks_of_scikit_learn_that_need_no_bare_matrix_pass(estimator: Any, check: Any) -> None:
    check(estimator)


NOW = START + 300 * HOUR
PLANT = """
plant: Fans
currency: EUR
time_zone: UTC
classes:
  fan:
    title: Fan
    life_step: {every: 1 h, unit: hour}
    conditions: [load]
    horizon: 40
    notice: 5 h
    stale_after: 1 d
    costs: {planned: 1000, unplanned: 8000}
    sensors:
      load: {unit: "1", title: Load}
      vibration: {unit: mm/s, title: Vibration, summary: [mean, max]}
      temperature: {unit: degC, title: Temperature}
    failure_modes:
      belt: {title: Belt}
      bearing: {title: Bearing}
assets:
"""
SENSORS = ["load", "vibration", "temperature"]


FAILED = (3, 0, 1, 2)
ALIVE = {"F-3": 4, "F-4": 5, "F-5": 6}
"""Which fan each of them has been since; F-3 was repaired after its failure."""


@cache
def readings() -> Any:
    """Fans read twice an hour: four failed, F-3 was repaired since, F-4 runs, F-5 was first seen in mid-life.

    Of F-2 and F-4 five hours are missing."""
    grown, parts = fan_lives(7), list[Any]()
    for asset, number in ((f"F-{number}", number) for number in FAILED):
        parts.append(hourly(asset, grown[number].columns, START + 3 * number * HOUR))
    for asset, number in ALIVE.items():
        columns = grown[number].columns[15:55] if asset == "F-5" else grown[number].columns[:50]
        parts.append(hourly(asset, columns, NOW - len(columns) * HOUR))
    return pd.concat(parts, ignore_index=True)


def hourly(asset: str, columns: Any, begin_ms: int) -> Any:
    """Two readings in each hour of a fan."""
    hour = np.arange(len(columns)).repeat(2)
    table = pd.DataFrame(columns[hour, :3], columns=SENSORS).assign(asset=asset)
    table["temperature"] += np.tile([0.0, 0.25], len(columns))
    at_ms = begin_ms + hour * HOUR + np.tile([600_000, 2_400_000], len(columns))
    table["time"] = pd.to_datetime(at_ms, unit="ms", utc=True)
    return table[(hour < 20) | (hour >= 25)] if asset in ("F-2", "F-4") else table


@cache
def lives() -> Any:
    """In the order in which the service learns of them: lives that a repair ended come first."""
    grown, rows = fan_lives(7), list[dict[str, Any]]()
    for number in FAILED:
        start, mode = START + 3 * number * HOUR, grown[number].mode
        end = start + len(grown[number].columns) * HOUR
        rows.append({"asset": f"F-{number}", "start": start, "end": end, "failed": True, "mode": mode})
    for asset in ALIVE:
        since = None if asset == "F-5" else NOW - 50 * HOUR
        rows.append({"asset": asset, "start": since, "end": None, "failed": False, "mode": None})
    table = pd.DataFrame(rows)
    return table.assign(**{name: pd.to_datetime(table[name], unit="ms", utc=True) for name in ("start", "end")})


@pytest.fixture(scope="module")
def plant_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asset = "  - {{serial: {0}, class: fan, slot: {0}, source: {0}, start_of_life: {1}}}\n"
    text = PLANT
    for number in range(6):
        start = lives()[lives()["asset"] == f"F-{number}"]["start"].iloc[0]
        text += asset.format(f"F-{number}", "unknown" if pd.isna(start) else f'"{start:%Y-%m-%dT%H:%M:%SZ}"')
    path = tmp_path_factory.mktemp("plant") / "plant.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def life(plant_file: Path) -> pdm.RemainingLife:
    fan = pdm.read_plant(plant_file).classes["fan"]
    return pdm.RemainingLife(fan).fit(readings(), lives())


def service(folder: Path, plant_text: str, now_ms: int, table: Any, model: Any = None) -> Services:
    """The service after it has taken the same readings and events in."""
    engine = open_state(DATABASES.url(folder / "state.db"))
    with write(engine) as connection:
        store_plant(connection, plant_text, RULES, START)
    made = Services(engine=engine, readings=MemoryReadings(), clock=ReplayClock(START))
    made.models |= {} if model is None else {"fan": model}
    source, at_ms = table["asset"].to_numpy(object), table["time"].astype("datetime64[ms, UTC]").astype("int64")
    values, flags = table[SENSORS].to_numpy(), np.zeros(len(table), dtype=np.uint8)
    feed(made, Readings(tuple(SENSORS), source, at_ms.to_numpy(), values, flags))
    for row in lives()[lives()["failed"]].itertuples():
        at = int(row.end.timestamp() * 1000)
        report(made, MaintenanceEvent(row.asset, EventKind.FAILED, at, mode=row.mode), f"end of {row.asset}")
    report(made, MaintenanceEvent("F-3", EventKind.REPAIRED, NOW - 50 * HOUR), "repair")
    tick(made, now_ms)
    return made


def test_a_notebook_learns_the_model_of_the_service_and_forecasts_as_it_does_to_the_last_bit(
    life: pdm.RemainingLife, plant_file: Path, tmp_path: Path
) -> None:
    services = service(tmp_path, plant_file.read_text(), NOW + HOUR // 2, readings())
    trained = train_class(services.engine, "fan", tmp_path / "models", Act("test", NOW))
    assert trained.version == model_folder.save(life.model_, tmp_path / "mine").name
    assert life.model_.facts.basis == Basis.LEARNED
    fan = parse_plant(plant_file.read_text()).classes["fan"]
    services.models["fan"] = model_folder.load(tmp_path / "models" / "fan" / str(trained.version), fan)
    tick(services, NOW + HOUR // 2 + 60_000)
    with read(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
    services.close()
    assert stored is not None
    said = life.predict(readings(), lives()).groupby("asset").last()
    for serial in ("F-3", "F-4", "F-5"):
        (row,) = np.flatnonzero(stored.beliefs.serial == serial)
        assert not np.isnan(stored.beliefs.prognosis.quantiles[row]).any()
        assert said.loc[serial, LEVELS.tolist()].to_numpy(float).tobytes() == (
            stored.beliefs.prognosis.quantiles[row].tobytes()
        )


def test_places_in_a_table_of_lives_reach_training(plant_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned_from = list[Life]()
    monkeypatch.setattr(estimators, "train", lambda _, some, **given: learned_from.extend(some))
    placed = lives().assign(group=[None, *["north"] * (len(lives()) - 1)])
    pdm.RemainingLife(pdm.read_plant(plant_file).classes["fan"]).fit(readings(), placed)
    assert [life.group for life in learned_from] == [None, *["north"] * (len(learned_from) - 1)]


def test_a_watch_learns_without_failures_and_tells_departures_as_the_service_does(
    plant_file: Path, tmp_path: Path
) -> None:
    fan = pdm.read_plant(plant_file).classes["fan"]
    others = [hourly(life.serial, life.columns, START) for life in fan_lives(14, seed=1)]
    watch = pdm.Watch(fan).fit(pd.concat(others))
    departed = watch.predict(readings(), lives())
    assert departed.loc["F-0", "departure"].iloc[:10].isna().all()
    assert departed.loc["F-0", "alarm"].iloc[-1]
    services = service(tmp_path, plant_file.read_text(), NOW + HOUR // 2, readings())
    services.models["fan"] = model_folder.load(model_folder.save(watch.model_, tmp_path / "models"), fan)
    tick(services, NOW + HOUR // 2 + 60_000)
    with read(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
    services.close()
    assert stored is not None
    last = departed.groupby("asset")["departure"].last()
    for serial, departure in zip(stored.beliefs.serial, stored.beliefs.departure, strict=True):
        if serial in ALIVE:
            assert last[serial] == departure


def test_each_step_of_each_machine_has_a_forecast_or_a_reason(life: pdm.RemainingLife) -> None:
    said = life.predict(readings(), lives())
    assert list(said.columns) == [*LEVELS.tolist(), "refusal"]
    assert said.index.is_unique
    assert said.index.is_monotonic_increasing
    quantiles = said[LEVELS.tolist()].to_numpy(float)
    assert (np.isnan(quantiles).any(axis=1) == (said["refusal"] != "").to_numpy()).all()
    assert (np.diff(quantiles[said["refusal"] == ""], axis=1) >= 0).all()
    assert said.loc["F-5", "refusal"].iloc[0] == "history_incomplete"
    assert said.loc["F-5", "refusal"].iloc[-1] == ""


def test_without_lives_a_machine_is_new_at_its_first_reading(life: pdm.RemainingLife) -> None:
    of_table = life.predict(readings(), lives()).loc["F-4"]
    alone = life.predict(readings()[readings()["asset"] == "F-4"])
    pd.testing.assert_frame_equal(alone.loc["F-4"], of_table)


def test_what_is_said_of_a_machine_rests_neither_on_other_machines_nor_on_the_order_of_rows(
    life: pdm.RemainingLife,
) -> None:
    said = life.predict(readings())
    pd.testing.assert_frame_equal(life.predict(readings().sample(frac=1, random_state=1)), said)
    one = life.predict(readings()[readings()["asset"] == "F-3"])
    pd.testing.assert_frame_equal(one, said.loc[["F-3"]], check_exact=True)


def test_forecasting_changes_neither_the_estimator_nor_the_tables(life: pdm.RemainingLife) -> None:
    table, before = readings().copy(), dict(vars(life))
    life.predict(table)
    assert vars(life) == before
    pd.testing.assert_frame_equal(table, readings())


def test_a_pickled_estimator_says_the_same_and_a_clone_knows_nothing(life: pdm.RemainingLife) -> None:
    some = readings()[readings()["asset"] == "F-4"]
    copy = pickle.loads(pickle.dumps(life))  # noqa: S301 - our own bytes
    pd.testing.assert_frame_equal(copy.predict(some), life.predict(some))
    with pytest.raises(NotFittedError):
        clone(life).predict(some)


def test_what_came_is_counted_down_to_the_failure_and_unknown_of_those_alive(life: pdm.RemainingLife) -> None:
    came = life.truth(readings(), lives())
    assert came.loc["F-0", "remaining"].iloc[-1] == 0
    whole = came.loc["F-2", "used"] + came.loc["F-2", "remaining"]
    assert whole.nunique() == 1
    assert whole.iloc[0] == pytest.approx(len(fan_lives(3)[2].columns))
    assert came.loc["F-4", "remaining"].isna().all()
    assert came.loc["F-3", "life"].tolist() == sorted(came.loc["F-3", "life"], reverse=False)


def test_the_score_is_the_skill_against_age_alone(life: pdm.RemainingLife) -> None:
    assert 0.3 < life.score(readings(), lives()) < 1.0
    said, came = life.predict(readings(), lives()), life.truth(readings(), lives())
    record = pdm.track_record(said, came, 40)
    assert 0.5 < record.loc["coverage_90", "value"] <= 1.0
    assert np.isnan(record.loc["coverage_90", "low"])  # four lives are too few to tell


def test_the_plan_prices_a_window_for_every_machine_that_lives(life: pdm.RemainingLife, plant_file: Path) -> None:
    plan = life.plan(readings(), pdm.read_plant(plant_file), lives())
    assert list(plan.index.get_level_values("asset")) == ["F-3", "F-4", "F-5"]
    found = plan[plan["preferred"].notna()]
    assert len(found)
    assert (found["earliest"] <= found["preferred"]).all()
    assert (found["preferred"] <= found["latest"]).all()
    assert (found["cost"] <= found["cost_run_to_failure"]).all()
    with pytest.raises(ValueError, match="does not describe"):
        life.plan(readings(), parse_plant(plant_file.read_text().replace("horizon: 40", "horizon: 41")))


def test_the_plan_is_that_of_the_service_also_for_a_machine_that_fell_silent(
    life: pdm.RemainingLife, plant_file: Path, tmp_path: Path
) -> None:
    table = readings()
    silent = (table["asset"] == "F-4") & (table["time"] >= pd.Timestamp(NOW - 5 * HOUR, unit="ms", tz="UTC"))
    plan = life.plan(table[~silent], pdm.read_plant(plant_file), lives())
    fan = parse_plant(plant_file.read_text()).classes["fan"]
    model = model_folder.load(model_folder.save(life.model_, tmp_path / "models"), fan)
    services = service(tmp_path, plant_file.read_text(), NOW, table[~silent], model)
    with read(services.engine) as connection:
        stored = load_beliefs(connection, "fan")
    services.close()
    assert stored is not None
    windows = stored.beliefs.windows
    for serial, row in plan.droplevel("time").iterrows():
        (place,) = np.flatnonzero(stored.beliefs.serial == serial)
        preferred = windows.preferred_ms[place]
        assert row["preferred"] is pd.NaT if preferred < 0 else row["preferred"].timestamp() * 1000 == preferred
        np.testing.assert_equal(
            [row["cost"], row["cost_now"]], [windows.preferred_cost[place], windows.cost_now[place]]
        )
    assert plan["preferred"].notna().any()


def test_plots_draw_what_was_said_beside_what_came(life: pdm.RemainingLife) -> None:
    matplotlib.use("Agg")
    said, came = life.predict(readings(), lives()), life.truth(readings(), lives())
    fan = pdm.plots.fan(said, "F-0", came)
    assert [line.get_label() for line in fan.lines] == ["median", "what was left"]
    np.testing.assert_array_equal(fan.lines[1].get_ydata(), came.loc["F-0", "remaining"])
    cone = pdm.plots.alpha_lambda(said, "F-0", came)
    assert np.asarray(cone.lines[0].get_xdata())[-1] == 1.0
    below, within = pdm.plots.calibration(said, came, 40)
    assert len(np.asarray(below.lines[1].get_xdata())) == 9
    assert sum(bar.get_height() for bar in within.patches) == pytest.approx(1.0)
    plt.close("all")


@pytest.mark.slow
def test_a_backtest_says_nothing_before_three_failures(plant_file: Path) -> None:
    fan = pdm.read_plant(plant_file).classes["fan"]
    cut = pd.Timestamp(START + 150 * HOUR, unit="ms", tz="UTC")
    said = pdm.RemainingLife(fan).backtest(readings(), lives(), every="1 w", start=cut)
    assert said.index.get_level_values("time").min() > cut
    assert set(said.index.get_level_values("asset")) >= {"F-3", "F-4"}


def test_declared_life_speaks_before_any_failure(plant_file: Path) -> None:
    text = plant_file.read_text().replace("horizon: 40", "horizon: 40\n    expected_life: {mean: 90, sd: 20}")
    said = pdm.DeclaredWear(parse_plant(text).classes["fan"]).fit().predict(readings(), lives())
    assert (said.loc["F-4", "refusal"] == "").all()
    assert (np.diff(said.loc["F-0", 0.5]) < 0).all()
    with pytest.raises(ValueError, match="expected_life"):
        pdm.DeclaredWear().fit()


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_plain_tables_are_enough_and_scikit_learn_can_leave_machines_out() -> None:
    table = pd.concat(
        pd.DataFrame(life.columns, columns=[*SENSORS, "nameplate"]).assign(
            asset=number, time=np.arange(len(life.columns))
        )
        for number, life in enumerate(fan_lives(8))
    ).reset_index(drop=True)
    ends = pd.DataFrame({"asset": range(8), "failed": True})
    life = pdm.RemainingLife(conditions=["load"], horizon=40)
    left = life.fit(table, ends).truth(table, ends)["remaining"].to_numpy()
    assert len(left) == len(table)
    again = clone(life).fit(table, left)
    pd.testing.assert_frame_equal(again.predict(table), life.predict(table))
    skill = cross_val_score(life, table, left, groups=table["asset"], cv=GroupKFold(2))
    assert (skill > 0.2).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda table: table.to_numpy(), "expected a DataFrame"),
        (lambda table: table.drop(columns="time"), "lack the columns time"),
        (lambda table: table.drop(columns="load"), "lack the columns load"),
        (lambda table: table[:0], "no rows"),
        (lambda table: table.assign(asset=None), "needs an asset and a time"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_what_is_missing(
    life: pdm.RemainingLife, wrong: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        life.predict(wrong(readings()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda _: None, "requires y"),
        (lambda table: table.drop(columns="failed"), "lack the columns failed"),
        (lambda table: table.drop(columns="start"), "F-3 has several lives"),
        (lambda table: table.assign(start=3.0), "not of one kind"),
        (lambda table: table.assign(asset="pump"), "none of the lives is of an asset of the readings"),
    ],
)
def test_lives_that_cannot_be_read_are_refused_with_what_is_missing(plant_file: Path, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pdm.RemainingLife(pdm.read_plant(plant_file).classes["fan"]).fit(readings(), wrong(lives()))


def test_without_a_plant_every_column_is_a_sensor_and_half_a_life_the_horizon() -> None:
    table = pd.concat(pd.DataFrame({"asset": n, "time": range(10 * n), "x": 1.0, "load": 2.0}) for n in (1, 2, 3))
    ends = pd.DataFrame({"asset": [1, 2, 3], "failed": [True, True, False], "mode": ["worn", None, None]})
    made = class_of(table, ends, conditions=["load"], life_step=None, horizon=None)
    assert (made.sensor_names, made.conditions, made.horizon) == (("x", "load"), ("load",), 7.5)
    assert [mode.name for mode in made.failure_modes] == ["worn"]
    with pytest.raises(ValueError, match="conditions speed are no columns"):
        class_of(table, ends, conditions=["speed"], life_step=None, horizon=None)


def test_a_record_that_stops_before_its_failure_is_no_life_that_ended() -> None:
    table = pd.DataFrame({"asset": 1, "time": [1, 2, 3], "x": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="asset 1 stops before its failure"):
        pdm.RemainingLife().fit(table, [9.0, 8.0, 7.0])


def test_importing_the_package_brings_neither_servers_nor_models() -> None:
    script = """
import sys, pdm
there = lambda *names: [name for name in names if name in sys.modules]
print(there("sqlalchemy", "fastapi", "lightgbm", "pandas", "numpy"))
pdm.RemainingLife
print(there("sqlalchemy", "fastapi", "uvicorn", "paho", "influxdb_client", "matplotlib"))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n[]\n"
