"""The plants of the demo declare the terms that its figures rest on."""

from pdm.demo_plants import pump_plant, pump_rules, turbofan_plant, turbofan_rules
from pdm.durations import UNITS_MS
from pdm.plant import Costs, LifeStep
from pdm.plant.file import parse_plant
from pdm.rules.ruleset import FailureProbabilityRule, parse_rules
from pdm.simulated_plant import PUMP_SENSORS
from pdm.simulated_plant import FailureMode as SimulatedFailureMode

START_MS = 1_767_506_400_000
HOUR_MS, DAY_MS = UNITS_MS["h"], UNITS_MS["d"]


def test_the_pumps_have_the_sensors_of_the_simulated_station() -> None:
    pump = parse_plant(pump_plant(1, start_ms=START_MS)).classes["pump"]
    declared = [(s.name, s.unit, s.low, s.high, s.resolution) for s in pump.sensors]
    assert declared == [(s.name, s.unit, s.low, s.high, s.resolution) for s in PUMP_SENSORS]
    assert [mode.name for mode in pump.failure_modes] == [mode.value for mode in SimulatedFailureMode]


def test_the_pumps_keep_their_fixed_terms() -> None:
    plant = parse_plant(pump_plant(12, start_ms=START_MS, time_zone="America/New_York"))
    pump = plant.classes["pump"]
    assert (pump.life_step, pump.horizon) == (LifeStep("hour", HOUR_MS), 1000.0)
    assert (pump.notice_ms, pump.issue_every_ms) == (48 * HOUR_MS, DAY_MS)
    assert (pump.costs, plant.currency) == (Costs(4000.0, 20000.0), "EUR")
    assert plant.time_zone.key == "America/New_York"


def test_the_turbofans_keep_their_fixed_terms() -> None:
    plant = parse_plant(turbofan_plant([81, 100], start_ms=START_MS))
    turbofan = plant.classes["turbofan"]
    assert (turbofan.life_step, turbofan.horizon) == (LifeStep("cycle"), 125.0)
    assert (turbofan.notice_ms, turbofan.issue_every_ms) == (10 * DAY_MS, None)
    assert turbofan.costs == Costs(1.0, 5.0)
    assert turbofan.sensor_names == ("setting_1", "setting_2", "setting_3", *(f"sensor_{n}" for n in range(1, 22)))
    assert turbofan.conditions == ("setting_1", "setting_2", "setting_3")
    assert not any(mode.limit for mode in turbofan.failure_modes)


def test_machines_are_new_at_the_start_and_numbered() -> None:
    pumps = parse_plant(pump_plant(12, start_ms=START_MS)).assets
    engines = parse_plant(turbofan_plant([81, 100], start_ms=START_MS)).assets
    assert list(pumps)[::11] == ["P-001", "P-012"]
    assert (pumps["P-012"].slot, pumps["P-012"].source) == ("PUMP-12", "pump12")
    assert [(serial, engine.source) for serial, engine in engines.items()] == [
        ("E-081", "engine081"),
        ("E-100", "engine100"),
    ]
    assert {asset.start_of_life_ms for asset in (*pumps.values(), *engines.values())} == {START_MS}


def test_both_are_shown_as_simulated() -> None:
    assert parse_plant(pump_plant(1, start_ms=START_MS)).simulated
    assert parse_plant(turbofan_plant([1], start_ms=START_MS)).simulated


def test_the_alert_rules_are_the_fixed_ones() -> None:
    pump_rule, *_ = parse_rules(pump_rules(), parse_plant(pump_plant(1, start_ms=START_MS))).rules
    turbofan_rule, _ = parse_rules(turbofan_rules(), parse_plant(turbofan_plant([1], start_ms=START_MS))).rules
    assert isinstance(pump_rule, FailureProbabilityRule)
    assert isinstance(turbofan_rule, FailureProbabilityRule)
    assert (pump_rule.within, pump_rule.above) == (168.0, 0.3)
    assert (turbofan_rule.within, turbofan_rule.above) == (30.0, 0.5)
