"""The plant file: what it says becomes a plant, and what is wrong with it is said where it stands."""

from datetime import date

import pytest

from pdm.degradation.wear import WearScale, WearShape
from pdm.errors import ConfigurationError, ConfigurationFileError
from pdm.plant import (
    Costs,
    DeclaredWear,
    ExpectedLife,
    GapRule,
    LifeStep,
    Limit,
    RunningWhen,
    Sensor,
    Shift,
    Stress,
    StressLaw,
    Summary,
)
from pdm.plant.file import parse_plant

HOUR_MS = 3_600_000

PLANT = """\
plant: Nord
currency: EUR
time_zone: Europe/Berlin
calendars:
  day_shift: {shifts: [{days: mon-fri, from: "06:00", to: "14:00"}], holidays: [2026-12-25]}
classes:
  pump:
    title: Centrifugal pump
    life_step: {every: 1 h, unit: hour, grace: 5 min}
    running_when: {sensor: speed, above: 100}
    gap: assume_profile
    horizon: 1000
    notice: 48 h
    issue_every: 1 d
    stale_after: 2 d
    risk_cap: 4 %
    expected_life: {mean: 2000, sd: 600}
    costs: {planned: 4000, unplanned: 20000}
    calendar: day_shift
    sensors:
      speed: {unit: rpm}
      flow: {unit: m3/h, range: [0, 800], resolution: 0.1, title: Flow rate, summary: [mean, max]}
      bearing: {unit: degC, range: [-40, 160], title: Bearing temperature}
    conditions: [speed]
    failure_modes:
      bearing_wear:
        title: Radial bearing wear
        mechanism: wear
        cause: lubrication
        limit: {sensor: bearing, above: 97}
        action: Replace radial bearing
        parts: [6312-2Z]
        skills: fitter
        crew: 2
        duration: 6 h
        machine_stopped: false
        costs: {planned: 5000, unplanned: 30000}
assets:
  - {serial: 0012, class: pump, slot: PUMP-17, source: pump17, start_of_life: 2026-01-04T06:00:00Z,
     criticality: 4, place: Nord/Water/Line 2/Cell 4, group: 02, external: {maximo: {siteid: NO, assetnum: 4711}}}
  - {serial: 8871-C, class: pump, slot: PUMP-18, source: pump18, start_of_life: unknown}
"""

MINIMAL = """\
plant: Nord
currency: EUR
time_zone: UTC
classes:
  press:
    life_step: {each: reading, unit: stroke}
    horizon: 500
    notice: 2 d
    sensors:
      force: {unit: kN}
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationFileError) as wrong:
        parse_plant(text)
    return [str(error) for error in wrong.value.errors]


def changed(old: str, new: str, text: str = PLANT) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_the_file_becomes_a_plant() -> None:
    plant = parse_plant(PLANT)
    assert (plant.name, plant.currency, plant.time_zone.key, plant.simulated) == ("Nord", "EUR", "Europe/Berlin", False)
    calendar = plant.calendars["day_shift"]
    assert calendar.shifts == (Shift((0, 1, 2, 3, 4), 360, 840),)
    assert calendar.holidays == (date(2026, 12, 25),)


def test_a_class_says_what_it_declares() -> None:
    pump = parse_plant(PLANT).classes["pump"]
    assert pump.title == "Centrifugal pump"
    assert pump.life_step == LifeStep("hour", HOUR_MS, 5 * 60_000)
    assert pump.running_when == RunningWhen("speed", 100.0)
    assert pump.gap is GapRule.ASSUME_PROFILE
    assert (pump.horizon, pump.notice_ms, pump.issue_every_ms) == (1000.0, 48 * HOUR_MS, 24 * HOUR_MS)
    assert (pump.stale_after_ms, pump.risk_cap, pump.calendar) == (48 * HOUR_MS, 0.04, "day_shift")
    assert pump.expected_life == ExpectedLife(2000.0, 600.0)
    assert pump.costs == Costs(4000.0, 20000.0)
    assert pump.conditions == ("speed",)
    assert pump.sensor("speed") == Sensor("speed", "rpm", "Speed")
    assert pump.sensor("flow") == Sensor("flow", "m3/h", "Flow rate", 0.0, 800.0, 0.1, (Summary.MEAN, Summary.MAX))
    assert pump.column_names == ("speed", "flow_mean", "flow_max", "bearing")
    assert pump.column_sensor("flow_max").name == "flow"


def test_a_failure_mode_says_what_restores_it() -> None:
    mode = parse_plant(PLANT).classes["pump"].failure_mode("bearing_wear")
    assert (mode.title, mode.mechanism, mode.cause) == ("Radial bearing wear", "wear", "lubrication")
    assert mode.limit == Limit("bearing", above=97.0)
    assert (mode.action, mode.parts, mode.skills) == ("Replace radial bearing", ("6312-2Z",), ("fitter",))
    assert (mode.crew, mode.duration_ms, mode.machine_stopped) == (2, 6 * HOUR_MS, False)
    assert mode.costs == Costs(5000.0, 30000.0)


def test_an_asset_keeps_its_serial_and_keys_as_they_are_written() -> None:
    asset = parse_plant(PLANT).assets["0012"]
    assert asset.start_of_life_ms == 1_767_506_400_000
    assert (asset.class_name, asset.slot, asset.source, asset.criticality) == ("pump", "PUMP-17", "pump17", 4)
    assert asset.place == ("Nord", "Water", "Line 2", "Cell 4")
    assert (asset.group, parse_plant(PLANT).assets["8871-C"].group) == ("02", None)
    assert asset.external == {"maximo": {"siteid": "NO", "assetnum": "4711"}}
    assert parse_plant(PLANT).assets["8871-C"].start_of_life_ms is None


def test_what_is_not_said_has_the_documented_default() -> None:
    press = parse_plant(MINIMAL).classes["press"]
    assert press.life_step == LifeStep("stroke")
    assert (press.gap, press.issue_every_ms, press.stale_after_ms) == (GapRule.UNKNOWN, None, 24 * HOUR_MS)
    assert (press.risk_cap, press.expected_life, press.costs, press.calendar) == (0.05, None, None, "")
    assert (press.title, press.conditions, press.failure_modes) == ("Press", (), ())


def test_the_version_is_the_hash_of_the_text() -> None:
    assert parse_plant(PLANT).version == parse_plant(PLANT).version != parse_plant(PLANT + "\n").version


def test_a_date_as_start_of_life_is_local_midnight() -> None:
    asset = parse_plant(changed("start_of_life: unknown", "start_of_life: 2026-07-01")).assets["8871-C"]
    assert asset.start_of_life_ms == 1_782_856_800_000  # 2026-06-30T22:00Z


def test_a_key_without_a_value_is_as_good_as_absent() -> None:
    assert parse_plant(MINIMAL + "    failure_modes:\n    costs: ~\nassets:\n").classes["press"].costs is None


def test_a_plant_may_be_simulated() -> None:
    assert parse_plant("simulated: true\n" + MINIMAL).simulated


@pytest.mark.parametrize(
    ("days", "weekdays"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat", (5,)),
        ("fri-mon", (0, 4, 5, 6)),
        ('"mon, wed-thu"', (0, 2, 3)),
        ("[tue, sun]", (1, 6)),
    ],
)
def test_shifts_name_their_weekdays(days: str, weekdays: tuple[int, ...]) -> None:
    assert parse_plant(changed("mon-fri", days)).calendars["day_shift"].shifts[0].weekdays == weekdays


@pytest.mark.parametrize(
    "serial", ["Pumpe/3 #1", "ポンプ-7", "مضخة", "🌊", "=1+1", "<b>x</b>", "'; DROP TABLE a", "x" * 300]
)
def test_serials_of_all_kinds_are_kept(serial: str) -> None:
    quoted = '"' + serial.replace('"', '\\"') + '"'
    assert serial in parse_plant(changed("8871-C", quoted)).assets


@pytest.mark.parametrize("serial", [r"a\\b", r"a\nb", r"a\tb", r"a\u2028b", r"\0", "x" * 301, "", " a"])
def test_serials_that_cannot_be_stored_safely_are_refused(serial: str) -> None:
    (error,) = errors_of(changed("8871-C", f'"{serial}"'))
    assert error.startswith("plant.yaml:41: assets[1].serial: ")


WRONG = [
    ("currency: EUR", "currency: euro", 2, "currency", "expected an ISO 4217 code such as EUR, not 'euro'"),
    ("currency: EUR", "curency: EUR", 2, "curency", "is not a key here; did you mean 'currency'?"),
    ("Europe/Berlin", "Europe/Berln", 3, "time_zone", "expected a time zone such as Europe/Berlin, not 'Europe/Berln'"),
    ("Europe/Berlin", "../../etc/passwd", 3, "time_zone", "expected a time zone"),
    ("mon-fri", "mon-fry", 5, "calendars.day_shift.shifts[0].days", "expected weekdays such as mon-fri"),
    ('"06:00"', '"6 am"', 5, "calendars.day_shift.shifts[0].from", "expected a time of day such as 06:00"),
    ('"14:00"', '"24:01"', 5, "calendars.day_shift.shifts[0].to", "expected a time of day"),
    ("2026-12-25", "25.12.2026", 5, "calendars.day_shift.holidays[0]", "expected a date such as 2026-12-25"),
    ("  pump:\n", "  p/ump:\n", 7, "classes.p/ump", "a name has letters, digits, - and _ only"),
    ("{every: 1 h, unit", "{every: 1 h, each: reading, unit", 9, "classes.pump.life_step", "expected either every"),
    ("{every: 1 h, unit", "{unit", 9, "classes.pump.life_step", "expected either every"),
    (
        "every: 1 h",
        "every: 1 hour",
        9,
        "classes.pump.life_step.every",
        "expected a duration such as 48 h, 5 min or 7 d",
    ),
    ("every: 1 h", "every: 0 h", 9, "classes.pump.life_step.every", "expected a duration longer than nothing"),
    ("every: 1 h", "each: reading", 9, "classes.pump.life_step", "a step of one reading closes with it"),
    (
        "sensor: speed, above: 100",
        "sensor: sped, above: 100",
        10,
        "classes.pump.running_when.sensor",
        "there is no sensor 'sped'; did you mean 'speed'?",
    ),
    ("above: 100", "above: fast", 10, "classes.pump.running_when.above", "expected a number, not 'fast'"),
    ("assume_profile", "asume", 11, "classes.pump.gap", "expected one of 'assume_profile' or 'unknown', not 'asume'"),
    ("horizon: 1000", "horizon: 0", 12, "classes.pump.horizon", "expected a number above 0, not '0'"),
    ("horizon: 1000", "horizon: nan", 12, "classes.pump.horizon", "expected a finite number"),
    ("horizon: 1000", "horizon: 1,000", 12, "classes.pump.horizon", "expected a number, not '1,000'"),
    (
        "notice: 48 h",
        "notice: 48",
        13,
        "classes.pump.notice",
        "expected a duration such as 48 h, 5 min or 7 d, not '48'",
    ),
    ("notice: 48 h", "notice: [48 h]", 13, "classes.pump.notice", "expected one value, not a list or a section"),
    ("    notice: 48 h\n", "", 7, "classes.pump.notice", "is missing: expected the time that people need"),
    ("issue_every: 1 d", "issue_every: daily", 14, "classes.pump.issue_every", "expected a duration"),
    ("risk_cap: 4 %", "risk_cap: 4", 16, "classes.pump.risk_cap", "expected a share such as 5 % or 0.05, not '4'"),
    ("sd: 600", "sd: 6", 17, "classes.pump.expected_life", "the spread of a life must be between 2 % and 500 %"),
    ("sd: 600", "sd: -1", 17, "classes.pump.expected_life.sd", "expected a number above 0"),
    ("planned: 4000, ", "", 18, "classes.pump.costs.planned", "is missing"),
    ("calendar: day_shift", "calendar: night", 19, "classes.pump.calendar", "there is no calendar 'night'"),
    (
        "unit: rpm",
        "unit: rmp",
        21,
        "classes.pump.sensors.speed.unit",
        "expected a unit such as degC, m3/h or 1 (for none), not 'rmp'",
    ),
    (
        "unit: degC",
        "unit: C",
        23,
        "classes.pump.sensors.bearing.unit",
        "expected a unit such as degC, m3/h or 1 (for none), not 'C'; did you mean 'degC'?",
    ),
    ("[0, 800]", "[800, 0]", 22, "classes.pump.sensors.flow.range", "expected low below high"),
    ("[0, 800]", "800", 22, "classes.pump.sensors.flow.range", "expected two numbers [low, high]"),
    ("[mean, max]", "[mean, maxi]", 22, "classes.pump.sensors.flow.summary[1]", "expected one of 'mean', 'max'"),
    ("resolution: 0.1", "resolution: 0", 22, "classes.pump.sensors.flow.resolution", "expected a number above 0"),
    (
        "speed: {unit: rpm}",
        "flow_max: {unit: rpm}",
        22,
        "classes.pump.sensors.flow",
        "its summary max makes a column 'flow_max'",
    ),
    ("[speed]", "[speed, sped]", 24, "classes.pump.conditions[1]", "there is no sensor 'sped'"),
    ("bearing_wear:", "any:", 26, "classes.pump.failure_modes.any", "'any' means the first failure of whatever mode"),
    (
        "sensor: bearing, above",
        "sensor: flow, above",
        30,
        "classes.pump.failure_modes.bearing_wear.limit.sensor",
        "there is no step column 'flow'; did you mean 'flow_max'?",
    ),
    (
        "above: 97}",
        "above: 97, below: 3}",
        30,
        "classes.pump.failure_modes.bearing_wear.limit",
        "expected either above or below",
    ),
    (
        "above: 97}",
        "above: 160}",
        30,
        "classes.pump.failure_modes.bearing_wear.limit",
        "a limit there tells nothing: bearing reports from -40 to 160 degC",
    ),
    ("above: 97}", "below: -40}", 30, "classes.pump.failure_modes.bearing_wear.limit", "a limit there tells nothing"),
    (
        "cause: lubrication",
        "wear: {new: 40}",
        29,
        "classes.pump.failure_modes.bearing_wear.wear",
        "needs an expected_life of the failure mode",
    ),
    (
        "cause: lubrication",
        "wear: {new: 120}\n        expected_life: {mean: 2000, sd: 600}",
        29,
        "classes.pump.failure_modes.bearing_wear.wear.new",
        "a new machine stands below the limit, 97, not at 120",
    ),
    (
        "cause: lubrication",
        "wear: {new: -5, shape: exponential}\n        expected_life: {mean: 2000, sd: 600}",
        29,
        "classes.pump.failure_modes.bearing_wear.wear.new",
        "exponential wear goes by factors",
    ),
    (
        "cause: lubrication",
        "wear: {new: 40, limit: 97}\n        expected_life: {mean: 2000, sd: 600}",
        29,
        "classes.pump.failure_modes.bearing_wear.wear.limit",
        "it stands in the limit of the failure mode",
    ),
    (
        "cause: lubrication",
        "wear: {new: 40, shape: power}",
        29,
        "classes.pump.failure_modes.bearing_wear.wear",
        "an exponent belongs to the shape power",
    ),
    (
        "calendar: day_shift",
        "stress: {law: inverse_power, of: sped, reference: 1500, exponent: 3}",
        19,
        "classes.pump.stress.of",
        "there is no step column 'sped'; did you mean 'speed'?",
    ),
    (
        "calendar: day_shift",
        "stress: {law: inverse_power, of: speed, reference: 1500}",
        19,
        "classes.pump.stress",
        "inverse_power needs exponent too",
    ),
    (
        "calendar: day_shift",
        "stress: {law: archard, of: speed, reference: 1500}",
        19,
        "classes.pump.stress",
        "archard is of 2 step columns, each with its reference",
    ),
    (
        "calendar: day_shift",
        "stress: {law: constant, exponent: 2}",
        19,
        "classes.pump.stress",
        "constant has no exponent",
    ),
    (
        "calendar: day_shift",
        "stress: {law: arrhenius, of: speed, reference: 60, activation_energy: 0.8}",
        19,
        "classes.pump.stress.reference",
        "arrhenius is of a temperature, not of something in rpm",
    ),
    (
        "calendar: day_shift",
        "stress: [{law: constant}, {law: inverse_power, of: flow_max, reference: 900, exponent: 2}]",
        19,
        "classes.pump.stress[1].reference",
        "the law holds from 0 to 800 m3/h: its reference must lie there, not at 900",
    ),
    ("crew: 2", "crew: 2.5", 34, "classes.pump.failure_modes.bearing_wear.crew", "expected a whole number, not '2.5'"),
    (
        "machine_stopped: false",
        "machine_stopped: maybe",
        36,
        "classes.pump.failure_modes.bearing_wear.machine_stopped",
        "expected true or false",
    ),
    (
        "class: pump, slot: PUMP-18",
        "class: pmp, slot: PUMP-18",
        41,
        "assets[1].class",
        "there is no class 'pmp'; did you mean 'pump'?",
    ),
    ("8871-C", "0012", 41, "assets[1].serial", "'0012' is taken by the asset in line 39"),
    ("PUMP-18", "PUMP-17", 41, "assets[1].slot", "'PUMP-17' is taken by the asset in line 39"),
    ("pump18", "pump17", 41, "assets[1].source", "'pump17' is taken by the asset in line 39"),
    ("unknown}", "2026-01-04T06:00:00}", 41, "assets[1].start_of_life", "expected a time with its offset"),
    ("unknown}", "1026-01-04}", 41, "assets[1].start_of_life", "expected a time with its offset"),
    ("criticality: 4", "criticality: 6", 40, "assets[0].criticality", "expected a number of at most 5"),
    ("{siteid: NO, assetnum: 4711}", "N1", 40, "assets[0].external.maximo", "expected a section of keys"),
    (
        "  - {serial: 8871-C",
        "  - pump 3\n  - {serial: 8871-C",
        41,
        "assets[1]",
        "expected a section of keys, not 'pump 3'",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "expected"), WRONG, ids=[f"{key}: {new.strip()[:20]}" for _, new, _, key, _ in WRONG]
)
def test_an_error_names_file_line_key_and_what_was_expected(
    old: str, new: str, line: int, key: str, expected: str
) -> None:
    said = errors_of(changed(old, new))
    assert any(error.startswith(f"plant.yaml:{line}: {key}: {expected}") for error in said), said


def test_declared_wear_and_stress_are_read() -> None:
    wear = "wear: {new: 40, shape: power, exponent: 2, noise: 1.5}\n        expected_life: {mean: 2000, sd: 600}"
    stress = "stress: {law: inverse_power, of: speed, reference: 1500, exponent: 3, range: [500, null]}"
    pump = parse_plant(changed("cause: lubrication", wear, changed("calendar: day_shift", stress))).classes["pump"]
    (mode,) = pump.wearing
    assert mode.wear == DeclaredWear(WearScale(40.0, 97.0, WearShape.POWER, 2.0), noise=1.5, inspection_noise=1.5)
    assert mode.expected_life == ExpectedLife(2000.0, 600.0)
    assert pump.stress == (Stress(StressLaw.INVERSE_POWER, ("speed",), (1500.0,), exponent=3.0, low=500.0),)


def test_wear_that_inspections_alone_measure_has_a_limit_of_its_own() -> None:
    text = changed("limit: {sensor: bearing, above: 97}", "expected_life: {mean: 2000, sd: 600}")
    (mode,) = parse_plant(changed("cause: lubrication", "wear: {new: 8, limit: 3}", text)).classes["pump"].wearing
    assert mode.wear is not None
    assert (mode.limit, mode.wear.scale) == (None, WearScale(8.0, 3.0))


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    text = changed("unit: rpm", "unit: rmp", changed("notice: 48 h", "notice: 48", changed("EUR", "euro")))
    text = changed("class: pump, slot: PUMP-18", "class: pmp, slot: PUMP-18", changed("[speed]", "[sped]", text))
    keys = [error.split(": ")[1] for error in errors_of(text)]
    assert keys == [
        "currency",
        "classes.pump.notice",
        "classes.pump.sensors.speed.unit",
        "assets[1].class",
    ]  # what a class with a wrong notice says about its sensors is checked when it can be read


def test_the_error_carries_its_place_and_the_file_as_named() -> None:
    with pytest.raises(ConfigurationFileError) as wrong:
        parse_plant(changed("EUR", "euro"), file="sites/nord.yaml")
    (error,) = wrong.value.errors
    assert (error.file, error.line, error.key) == ("sites/nord.yaml", 2, "currency")
    assert str(wrong.value) == str(error)
    assert isinstance(wrong.value, ConfigurationError)
