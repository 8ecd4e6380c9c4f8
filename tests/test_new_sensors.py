"""A sensor that is replaced begins anew: the step in what it reads means nothing, machine and forecast go on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import select

from pdm import demo_plants, features, twin
from pdm.adapters import model_folder
from pdm.adapters.memory_readings import MemoryReadings
from pdm.clocks import ReplayClock
from pdm.features.frame import Frame
from pdm.installations import EventKind, MaintenanceEvent, NewSensor
from pdm.learn.forest_fit import fold_lives
from pdm.learn.lives import life_of, stacked
from pdm.new_sensors import NewSensors
from pdm.plant import AssetClass, LifeStep, Sensor
from pdm.plant.file import parse_plant
from pdm.prognosis import MEDIAN
from pdm.prognosis.learned import Model
from pdm.readings import Readings
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.simulated_plant import PUMP_SENSORS, PumpLives, simulate_pumps
from pdm.state.plants import store_plant, void_event
from pdm.state.schema import alerts, open_state, read, write
from pdm.steps import Steps
from pdm.tick import tick
from tests.databases import DATABASES
from tests.small_lives import plain_frame, random_frame
from tests.small_plant import HOUR, START, report

NAMES = tuple(sensor.name for sensor in PUMP_SENSORS)


# What it does to features


def seen(frame: Frame, values: NDArray[np.float64], new_at: Sequence[int] = (), column: int = 0) -> dict[str, float]:
    """The features of one machine after the steps `[steps, k]`; before some of them a sensor is replaced."""
    state, columns = features.start(frame, 1), np.arange(values.shape[1])[None] == column
    for number, step in enumerate(values):
        if number in new_at:
            features.renew(frame, state, np.array([0]), columns)
        features.fold(frame, state, features.ALL, step[None])
    return dict(zip(frame.feature_names, features.emit(frame, state)[0].tolist(), strict=True))


def test_what_a_new_sensor_reads_higher_is_taken_off() -> None:
    # 15 steps make an own start, and one more for the step of the replacement itself
    steady = seen(plain_frame(), np.zeros((60, 1)))
    stepped = seen(plain_frame(), np.r_[np.zeros(30), np.full(30, 7.0)][:, None], new_at=[30])
    assert stepped == steady
    assert seen(plain_frame(), np.r_[np.zeros(30), np.full(30, 7.0)][:, None])["de15 c0"] > 6


def test_a_trend_goes_on_behind_a_new_sensor() -> None:
    rising = np.arange(120.0)
    goes_on = seen(plain_frame(), rising[:, None])
    stepped = seen(plain_frame(), (rising + 50 * (rising >= 40))[:, None], new_at=[40])
    # what rose while nobody listened, and before within the short memory, is lost
    assert goes_on["e15 c0"] - 25 < stepped["e15 c0"] < goes_on["e15 c0"]
    assert stepped["sl60 c0"] == pytest.approx(goes_on["sl60 c0"], rel=0.2)


def test_only_the_sensor_that_was_replaced_begins_anew() -> None:
    values = np.random.default_rng(1).normal(size=(60, 2))
    untouched, stepped = seen(plain_frame(2), values), seen(plain_frame(2), values + np.array([100.0, 0.0]), new_at=[0])
    shifted = seen(plain_frame(2), values + 100 * np.c_[np.arange(60) >= 30, np.zeros(60)], new_at=[30])
    for name in ("e15 c1", "de15 c1", "sl60 c1", "wl c1"):
        assert untouched[name] == stepped[name] == shifted[name]
    assert abs(shifted["e15 c0"]) < 1


def test_the_first_sensor_of_a_machine_has_none_before_it() -> None:
    values = np.random.default_rng(2).normal(size=(40, 1))
    assert seen(plain_frame(), values, new_at=[0]) == seen(plain_frame(), values)


def test_a_second_replacement_counts_from_what_the_first_left() -> None:
    levels = np.r_[np.zeros(30), np.full(8, 7.0), np.full(40, -3.0)][:, None]
    assert seen(plain_frame(), levels, new_at=[30, 38]) == seen(plain_frame(), np.zeros((78, 1)))


def test_the_step_between_two_sensors_is_in_their_units_whatever_the_regime() -> None:
    frame = plain_frame()
    conditions = replace(
        frame.conditions,
        columns=np.array([1]),
        centre=np.zeros(1),
        spread=np.ones(1),
        low=np.zeros(1),
        high=np.ones(1),
        regimes=np.array([[0.0, 1.0]]),
        mean=np.array([[10.0, 100.0]]),
        inverse_sd=np.array([[1.0, 0.1]]),
    )
    projection, offset = np.zeros((1, 5, 2)), np.zeros((5, 2))
    frame = replace(
        frame, column_names=("c0", "c1"), conditions=conditions, projection=projection, offset=offset, clip=3.0
    )
    regime = np.arange(100) % 2
    values = np.c_[np.where(regime, 100.0, 10.0) + 50 * (np.arange(100) >= 40), regime]
    assert seen(frame, values, new_at=[40])["e15 c0"] == pytest.approx(0, abs=1e-9)


def test_a_new_sensor_that_says_nothing_is_silent_and_one_that_speaks_is_not() -> None:
    frame, state = plain_frame(2), features.start(plain_frame(2), 1)
    for _ in range(20):
        features.fold(frame, state, features.ALL, np.zeros((1, 2)))
    features.renew(frame, state, np.array([0]), np.ones((1, 2), dtype=np.bool_))
    for _ in range(10):
        features.fold(frame, state, features.ALL, np.array([[np.nan, 5.0]]))
    assert features.silent_steps(frame, state).tolist() == [[10, 0]]


# When it counts

HOURLY = AssetClass(
    "fan", "Fan", tuple(Sensor(f"c{n}", "1", f"c{n}") for n in range(5)), (), LifeStep("hour", HOUR), 1000, 0, ()
)
STROKES = replace(HOURLY, life_step=LifeStep("stroke"))
FRAME = random_frame(4)
"""Of five columns: two conditions, three sensors."""


def lived(hours: Sequence[int], row: int = 0, length: int = HOUR) -> Steps:
    """Steps of one machine in these hours; at rest in every third."""
    start = START + np.array(hours, dtype=np.int64) * HOUR
    values = np.sin(1.0 + row + np.array(hours)[:, None] * np.arange(1, 6))
    share = (np.array(hours) % 3 > 0).astype(np.float64)
    return Steps(np.full(len(start), row), start, start + length, share, np.ones(len(start), dtype=np.int32), values)


def folded(asset_class: AssetClass, parts: Sequence[Steps], replaced: NewSensors) -> dict[str, Any]:
    state = twin.start(asset_class, FRAME, 1)
    for part in parts:
        twin.fold(asset_class, FRAME, state, part, replaced)
    return twin.to_columns(state, np.array(["F-1"]))


@given(
    hours=st.sets(st.integers(0, 80), min_size=1),
    cut=st.integers(0, 80),
    happened=st.lists(st.tuples(st.integers(-5, 90), st.sampled_from(["c2", "c3", "c0", "gone"])), max_size=4),
    each=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_all_at_once_and_in_parts_give_the_same_bits(
    hours: set[int], cut: int, happened: list[tuple[int, str]], *, each: bool
) -> None:
    asset_class, length = (STROKES, 0) if each else (HOURLY, HOUR)
    known = [NewSensor("F-1", sensor, START + hour * HOUR // 2) for hour, sensor in happened]
    replaced = NewSensors.of(asset_class, known, ["F-1"])
    parts = [[hour for hour in sorted(hours) if (hour < cut) == before] for before in (True, False)]
    whole = folded(asset_class, [lived(sorted(hours), length=length)], replaced)
    apart = folded(asset_class, [lived(part, length=length) for part in parts if part], replaced)
    alone = folded(asset_class, [lived([hour], length=length) for hour in sorted(hours)], replaced)
    for other in (apart, alone):
        for name, values in whole.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert whole["new_sensors"].tolist() == replaced.seen(whole["last_end_ms"]).tolist()


@pytest.mark.parametrize(("asset_class", "length"), [(HOURLY, HOUR), (STROKES, 0)])
def test_a_sensor_is_the_new_one_from_the_time_of_its_replacement_on(asset_class: AssetClass, length: int) -> None:
    known = [NewSensor("F-1", "c2", START + 10 * HOUR)]
    replaced = NewSensors.of(asset_class, known, ["F-1"])
    never = np.array([-1])
    before, at = (replaced.renewed(never, lived(hours, length=length)).step for hours in ([8, 9], [8, 9, 10]))
    assert (before.tolist(), at.tolist()) == ([], [2])
    assert replaced.renewed(START + np.array([10 * HOUR]) + length, lived([11], length=length)).step.tolist() == []


def test_training_leaves_out_and_aligns_what_the_service_does() -> None:
    made = lived(range(260))
    steps = replace(made, share=(np.arange(260) % 12 < 9).astype(np.float64))
    steps.values[90:110, 2] = steps.values[90, 2]  # one is stuck
    steps.values[125, 3] += 1e3  # one spikes
    steps.values[153:, 4] += 50  # one is another one, and this is on record, of an hour of rest
    replaced = NewSensors.of(HOURLY, [NewSensor("F-1", "c4", int(steps.start_ms[153]))], ["F-1"])
    life = life_of(HOURLY, "F-1", steps, None, replaced=replaced)
    learned = fold_lives(FRAME, stacked([life]), np.ones(len(life.columns), dtype=np.bool_)).features
    service, believed = twin.start(HOURLY, FRAME, 1), features.start(FRAME, 1)
    for number in range(260):
        twin.fold(HOURLY, FRAME, service, steps.take(np.array([number])), replaced)
        if steps.share[number]:
            features.fold(FRAME, believed, features.ALL, steps.values[[number]])
            assert service.features is not None
            told = features.emit(FRAME, service.features)[0].astype(np.float32)
            assert learned[int(service.steps[0]) - 1].tobytes() == told.tobytes()
    assert learned[-1].tolist() != features.emit(FRAME, believed)[0].astype(np.float32).tolist()


# From end to end


@cache
def pump_model() -> Model:
    """The shipped model of the simulated pumps."""
    folder = shipped_folder("trained_models")
    pump = parse_plant(demo_plants.pump_plant(1, start_ms=START)).classes["pump"]
    return model_folder.load(folder / "pump" / model_folder.versions(folder, "pump")[-1], pump)


@cache
def pump_life() -> PumpLives:
    return simulate_pumps(1, seed=5, start_ms=START, max_hours=760)


def pump_services(folder: Path, sensor: str = NAMES[0], step: float = 0.0, a_week: float = 0.0) -> Services:
    """A service that has heard a pump for 760 hours; from hour 600 on one sensor reads higher, ever more."""
    engine = open_state(DATABASES.url(folder / "state.db"))
    with write(engine) as connection:
        store_plant(connection, demo_plants.pump_plant(1, start_ms=START), demo_plants.pump_rules(), START)
    life = pump_life()
    values = np.column_stack([life.values[0][name] for name in NAMES])
    since = (life.time_ms[0] - START) / HOUR - 600
    values[:, NAMES.index(sensor)] += (since >= 0) * (step + a_week * since / 168)
    count = len(values)
    source, flags = np.full(count, "pump01", dtype=object), np.zeros(count, dtype=np.uint8)
    store = MemoryReadings()
    store.append({"pump": Readings(NAMES, source, life.time_ms[0], values, flags)}, [])
    return Services(engine=engine, readings=store, clock=ReplayClock(START), models={"pump": pump_model()})


def medians(services: Services) -> NDArray[np.float64]:
    """The median remaining life every twelve hours, from hour 480 on [h of running]."""
    said = []
    for hour in range(480, 760, 12):
        tick(services, START + hour * HOUR)
        said.append(services.cohorts["pump"].before.prognosis.quantiles[0, MEDIAN])
    return np.array(said)


def replaced(sensor: str) -> MaintenanceEvent:
    return MaintenanceEvent("P-001", EventKind.SENSOR_REPLACED, START + 600 * HOUR, sensor=sensor)


def opened(services: Services) -> list[str]:
    with read(services.engine) as connection:
        return list(connection.execute(select(alerts.c.rule)).scalars())


def twins(services: Services) -> dict[str, Any]:
    machines = services.cohorts["pump"]
    return {k: v for k, v in twin.to_columns(machines.twin, machines.serials).items() if k != "revision"}


def test_a_new_sensor_moves_the_forecast_no_more_than_it_moves_by_itself(tmp_path: Path) -> None:
    undisturbed = medians(pump_services(tmp_path / "undisturbed"))
    services = pump_services(tmp_path / "reported", "discharge_pressure", 40.0)
    report(services, replaced("discharge_pressure"))
    reported = medians(services)
    noise = undisturbed.std()
    assert np.abs(reported - undisturbed).max() < noise


def test_a_new_sensor_opens_no_alert_and_is_not_taken_to_be_at_fault(tmp_path: Path) -> None:
    unreported = pump_services(tmp_path / "unreported", "radial_bearing_temperature", 20.0)
    services = pump_services(tmp_path / "reported", "radial_bearing_temperature", 20.0)
    report(services, replaced("radial_bearing_temperature"))
    for one in (unreported, services):
        medians(one)
    assert opened(services) == []
    assert not services.cohorts["pump"].before.faults.any()
    assert unreported.cohorts["pump"].before.faults.any()


def test_a_replacement_reported_late_and_one_taken_back_are_as_if_known_at_once_and_never(tmp_path: Path) -> None:
    known, late, never = (
        pump_services(tmp_path / name, "oil_temperature", 10.0) for name in ("known", "late", "never")
    )
    report(known, replaced("oil_temperature"))
    for services in (known, late, never):
        tick(services, START + 700 * HOUR)
    report(late, replaced("oil_temperature"))
    for services in (known, late, never):
        tick(services, START + 701 * HOUR)
    as_known, as_never = twins(known), twins(never)
    for name, values in twins(late).items():
        np.testing.assert_array_equal(values, as_known[name], err_msg=name)
    with write(late.engine) as connection:
        void_event(connection, "e1", START + 701 * HOUR, "test")
    tick(late, START + 701 * HOUR + 1)
    for name, values in twins(late).items():
        np.testing.assert_array_equal(values, as_never[name], err_msg=name)
    assert not np.array_equal(as_known["features.memories"], as_never["features.memories"])
