"""The rule file: rules and routes as typed data."""

import re
from typing import Any

import pytest

from pdm.demo_plants import pump_plant, turbofan_plant
from pdm.errors import ConfigurationFileError
from pdm.plant.file import parse_plant
from pdm.rules.default import default_rules
from pdm.rules.ruleset import (
    DepartureRule,
    FailureProbabilityRule,
    LogRoute,
    Rule,
    RulQuantileRule,
    Secret,
    SensorFaultRule,
    SensorLimitRule,
    SilentSensorRule,
    SmtpRoute,
    WebhookRoute,
    parse_rules,
)
from pdm.templates import plant_template, rules_template

HOUR_MS = 3_600_000

PLANT = parse_plant("""\
plant: Nord
currency: EUR
time_zone: UTC
classes:
  pump:
    title: Pump
    life_step: {every: 1 h, unit: hour}
    horizon: 1000
    notice: 48 h
    expected_life: {mean: 2000, sd: 600}
    sensors:
      speed: {unit: rpm, range: [0, 4000]}
      flow: {unit: m3/h, range: [0, 800], summary: [mean, max]}
      bearing: {unit: degC}
    failure_modes:
      bearing_wear: {title: Bearing wear, limit: {sensor: bearing, above: 97}}
      impeller: {limit: {sensor: flow_mean, below: 50}}
  press:
    life_step: {each: reading, unit: stroke}
    horizon: 500
    notice: 2 d
    stale_after: 3 d
    sensors:
      force: {unit: kN, range: [0, 100]}
      speed: {unit: mm/s, range: [0, 200]}
""")


def rule(body: str) -> Rule:
    (only,) = parse_rules(f"rules: {{r: {{{body}}}}}", PLANT).rules
    return only


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationFileError) as wrong:
        parse_rules(text, PLANT)
    return [str(error) for error in wrong.value.errors]


def test_a_failure_probability_rule() -> None:
    assert rule("kind: failure_probability, title: Soon, classes: pump, within: 168, above: 30 %, for: 1 h") == (
        FailureProbabilityRule(
            name="r", title="Soon", classes=("pump",), for_ms=HOUR_MS, within=168.0, above=0.3, clear_below=0.24
        )
    )


@pytest.mark.parametrize(
    ("below", "fields"),
    [
        ("below: 100", {"below_steps": 100.0, "clear_steps": 120.0}),
        ("below: 100, clear: 100", {"below_steps": 100.0, "clear_steps": 100.0}),
        ("below: 50 h", {"below_ms": 50 * HOUR_MS, "clear_ms": 60 * HOUR_MS}),
        ("below: 2 d, clear: 3 d", {"below_ms": 48 * HOUR_MS, "clear_ms": 72 * HOUR_MS}),
    ],
)
def test_a_quantile_rule_counts_life_steps_or_calendar_time(below: str, fields: dict[str, Any]) -> None:
    expected = RulQuantileRule(name="r", title="R", classes=("pump", "press"), level=0.1, **fields)
    assert rule(f"kind: rul_quantile, level: 10 %, {below}") == expected


@pytest.mark.parametrize(
    ("limit", "clear"),
    [
        ("sensor: force, above: 80", 78.0),  # 2 % of the range back
        ("sensor: force, below: 20", 22.0),
        ("sensor: force, above: 1", 0.5),  # half way to the end of the range, where 2 % would lie beyond it
        ("sensor: bearing, above: 100", 98.0),  # no range: 2 % of the limit
        ("sensor: speed, above: 150", 146.0),  # two classes: the narrower range
        ("sensor: force, above: 80, clear: 70", 70.0),
        ("sensor: force, below: 20, clear: 20", 20.0),
    ],
)
def test_a_sensor_limit_clears_a_little_on_its_good_side(limit: str, clear: float) -> None:
    limited = rule(f"kind: sensor_limit, {limit}")
    assert isinstance(limited, SensorLimitRule)
    assert limited.clear == pytest.approx(clear)


def test_a_sensor_limit_watches_the_classes_that_have_the_sensor() -> None:
    assert rule("kind: sensor_limit, sensor: force, above: 80").classes == ("press",)
    assert rule("kind: sensor_limit, sensor: speed, above: 80").classes == ("pump", "press")
    assert rule("kind: sensor_limit, sensor: flow_max, above: 80").classes == ("pump",)


def test_a_departure_rule_needs_no_limit_of_its_own() -> None:
    common: dict[str, Any] = {"name": "r", "title": "Changed", "classes": ("pump", "press")}
    assert rule("kind: departure, title: Changed") == DepartureRule(**common, above=1.0, clear=0.8)
    assert rule("kind: departure, title: Changed, above: 2, clear: 1") == DepartureRule(**common, above=2.0, clear=1.0)


def test_a_silent_sensor_rule_waits_for_its_time() -> None:
    silent = SilentSensorRule(name="r", title="No readings", classes=("pump", "press"), for_ms=2 * HOUR_MS)
    assert rule("kind: silent_sensor, title: No readings, for: 2 h") == silent


def test_a_rule_on_sensors_at_fault_is_one_for_each_sensor() -> None:
    rules = parse_rules("rules:\n  r: {kind: sensor_fault, title: Check it, for: 6 h}\n", PLANT).rules
    assert {r.sensor: r.classes for r in rules if isinstance(r, SensorFaultRule)} == {
        sensor: tuple(c.name for c in PLANT.classes.values() if sensor in c.sensor_names)
        for c in PLANT.classes.values()
        for sensor in c.sensor_names
    }
    assert rules[0].name == f"r-{PLANT.classes['pump'].sensor_names[0]}"
    assert rule("kind: sensor_fault, title: Check it, for: 6 h, sensor: force") == SensorFaultRule(
        name="r-force", title="Check it", classes=("press",), for_ms=6 * HOUR_MS, sensor="force"
    )


def test_routes_name_their_secrets() -> None:
    ruleset = parse_rules(
        """\
routes:
  planner: {kind: webhook, url: "https://cmms.example.com/hooks", secret_file: /run/secrets/planner}
  crew: {kind: webhook, url: "http://10.0.0.7:8080/x", secret_env: CREW_SECRET}
  mail: {kind: smtp, host: mail.example.com, from: twin@example.com, to: [a@example.com, b@example.com]}
  relay: {kind: smtp, host: relay, port: 2525, encryption: none, from: t@x, to: a@x, user: twin, secret_env: MAIL}
rules:
  r: {kind: silent_sensor, for: 2 h, routes: [log, planner, mail]}
""",
        PLANT,
    )
    assert ruleset.rules[0].routes == ("log", "planner", "mail")
    assert ruleset.routes == {
        "log": LogRoute("log"),
        "planner": WebhookRoute("planner", "https://cmms.example.com/hooks", Secret(file="/run/secrets/planner")),
        "crew": WebhookRoute("crew", "http://10.0.0.7:8080/x", Secret(env="CREW_SECRET")),
        "mail": SmtpRoute(
            "mail", "mail.example.com", 587, "starttls", "twin@example.com", ("a@example.com", "b@example.com")
        ),
        "relay": SmtpRoute("relay", "relay", 2525, "none", "t@x", ("a@x",), "twin", Secret(env="MAIL")),
    }


def test_an_empty_file_has_no_rules_and_the_log_as_route() -> None:
    ruleset = parse_rules("", PLANT)
    assert (ruleset.rules, ruleset.routes) == ((), {"log": LogRoute("log")})
    assert ruleset.version != parse_rules("rules: {}", PLANT).version


LIMIT = "kind: sensor_limit, sensor"
WRONG_RULES = [
    ("kind: wear", "kind: expected one of rul_quantile, failure_probability, sensor_limit, sensor_fault, departure"),
    ("title: x", "kind: expected one of rul_quantile"),
    ("kind: failure_probability, within: 0, above: 30 %", "within: expected a number above 0"),
    ("kind: failure_probability, above: 30 %", "within: is missing: expected life steps ahead, such as 168"),
    ("kind: failure_probability, within: 9, above: 130 %", "above: expected a share such as 5 % or 0.05"),
    ("kind: failure_probability, within: 9, above: 0", "above: expected a share above 0 % and below 100 %"),
    ("kind: failure_probability, within: 9, above: 0.3, cleer: 0.2", "cleer: is not a key here; did you mean 'clear'?"),
    ("kind: failure_probability, within: 9, above: 0.3, clear: 0.4", "expected clear not above the value of above"),
    ("kind: failure_probability, within: 9, above: 0.3, classes: [pmp]", "classes[0]: there is no class 'pmp'"),
    ("kind: rul_quantile, level: 0.1, below: soon", "below: expected life steps such as 100, or a duration"),
    ("kind: rul_quantile, level: 0.1, below: -1", "below: expected life steps such as 100, or a duration"),
    ("kind: rul_quantile, level: 0.1, below: 0 h", "below: expected life steps such as 100, or a duration"),
    ("kind: rul_quantile, level: 0.1, below: 9, clear: 9 h", "expected below and clear both in life steps or both"),
    ("kind: rul_quantile, level: 0.1, below: 9 h, clear: 8 h", "expected clear not below the value of below"),
    (f"{LIMIT}: forc, above: 80, classes: press", "sensor: class 'press' has no step column 'forc'; did you mean"),
    (f"{LIMIT}: force, above: 80, classes: [press, pump]", "sensor: class 'pump' has no step column 'force'"),
    (f"{LIMIT}: flow, above: 80", "sensor: class 'pump' has no step column 'flow'; did you mean 'flow_max'?"),
    (f"{LIMIT}: nothing, above: 80", "sensor: class 'pump' has no step column 'nothing'"),
    (f"{LIMIT}: force, above: 100", "sensor: a limit there tells nothing: force reports from 0 to 100 kN"),
    (f"{LIMIT}: force, below: 101", "sensor: a limit there tells nothing"),
    (f"{LIMIT}: force", "expected either above or below"),
    (f"{LIMIT}: force, above: 80, clear: 81", "expected clear on the good side of the limit"),
    ("kind: departure, above: 0", "above: expected a number above 0"),
    ("kind: departure, above: 2, clear: 3", "expected clear not above the value of above"),
    ("kind: sensor_fault, sensor: forc", "sensor: class 'pump' has no sensor 'forc'"),
    ("kind: sensor_fault, sensor: force, classes: [pump]", "sensor: class 'pump' has no sensor 'force'"),
    ("kind: silent_sensor", "for: is missing: expected how long nothing came, such as 2 h"),
    ("kind: silent_sensor, for: 0 s", "for: expected a duration longer than nothing"),
    ("kind: silent_sensor, for: 1 h, routes: [mial]", "routes[0]: there is no route 'mial'"),
    ("kind: silent_sensor, for: 1 h, routes: []", "routes: expected at least one"),
]


@pytest.mark.parametrize(("body", "expected"), WRONG_RULES)
def test_what_is_wrong_with_a_rule_is_said_with_its_key(body: str, expected: str) -> None:
    (error,) = errors_of(f"rules:\n  r: {{{body}}}\n")
    separator = "." if expected.split(":")[0].split("[")[0].isidentifier() else ": "
    assert error.startswith(f"rules.yaml:2: rules.r{separator}{expected}")


WRONG_ROUTES = [
    ("kind: pigeon", "kind: expected one of log, webhook, smtp"),
    ("kind: webhook, url: 'ftp://x', secret_env: S", "url: expected a web address"),
    ("kind: webhook, url: 'https://me:pw@x', secret_env: S", "url: must not carry a user or password"),
    ("kind: webhook, url: 'https://x'", " expected either secret_file or secret_env, since webhooks are signed"),
    ("kind: webhook, url: 'https://x', secret_env: S, secret_file: f", " expected either secret_file or secret_env"),
    ("kind: smtp, host: h, from: twin, to: a@b", "from: expected an e-mail address, not 'twin'"),
    ("kind: smtp, host: h, from: a@b, to: []", "to: expected at least one"),
    ("kind: smtp, host: h, from: a@b, to: 'a@b\\nBcc: c@d'", "to: expected an e-mail address"),
    ("kind: smtp, host: h, from: a@b, to: a@b, user: me", " expected user together with either secret_file or"),
    ("kind: smtp, host: h, from: a@b, to: a@b, secret_env: S", " expected user together with either secret_file or"),
    ("kind: smtp, host: h, from: a@b, to: a@b, encryption: ssl", "encryption: expected 'starttls', 'tls' or 'none'"),
]


@pytest.mark.parametrize(("body", "expected"), WRONG_ROUTES)
def test_what_is_wrong_with_a_route_is_said_with_its_key(body: str, expected: str) -> None:
    (error,) = errors_of(f"routes:\n  way: {{{body}}}\n")
    assert error.startswith(f"rules.yaml:2: routes.way{':' if expected.startswith(' ') else '.'}{expected}")


def test_a_secret_written_into_the_file_is_refused_and_not_repeated() -> None:
    inline = "routes:\n  way: {kind: webhook, url: 'https://x', secret: s3cr3t!, secret_env: s3cr3t!}\n"
    said = errors_of(inline)
    assert len(said) == 2
    assert not [error for error in said if "s3cr3t!" in error]


def test_rules_to_begin_with_come_from_what_the_classes_declare() -> None:
    rules = {r.name: r for r in parse_rules(default_rules(PLANT), PLANT).rules}
    faults = [r for r in rules.values() if isinstance(r, SensorFaultRule)]
    assert {r.for_ms for r in faults if r.classes == ("pump",)} == {6 * HOUR_MS}
    assert {(name, r.sensor) for r in faults for name in r.classes} == {
        (c.name, sensor) for c in PLANT.classes.values() for sensor in c.sensor_names
    }
    assert [name for name in rules if "sensors" not in name] == [
        "pump_wear",
        "pump_bearing_wear_limit",
        "pump_impeller_limit",
        "pump_departure",
        "pump_silent",
        "press_departure",
        "press_silent",  # nothing is declared about its failures
    ]
    wear, limit, low = rules["pump_wear"], rules["pump_bearing_wear_limit"], rules["pump_impeller_limit"]
    assert isinstance(wear, FailureProbabilityRule)
    assert (wear.classes, wear.within, wear.above) == (("pump",), 140.0, 0.3)  # three notices are 144 hours
    assert isinstance(limit, SensorLimitRule)
    assert (limit.sensor, limit.above, limit.for_ms, limit.title) == (
        "bearing",
        97.0,
        HOUR_MS,
        "Bearing wear: limit reached",
    )
    assert isinstance(low, SensorLimitRule)
    assert (low.sensor, low.below) == ("flow_mean", 50.0)
    departure = rules["press_departure"]
    assert isinstance(departure, DepartureRule)
    assert (departure.above, departure.clear) == (1.0, 0.8)
    assert rules["press_silent"].for_ms == 72 * HOUR_MS


@pytest.mark.parametrize(
    "plant_text",
    [pump_plant(3, start_ms=0), turbofan_plant([1], start_ms=0), plant_template()],
    ids=["pumps", "fans", "init"],
)
def test_rules_to_begin_with_are_valid_for_every_shipped_plant(plant_text: str) -> None:
    plant = parse_plant(plant_text)
    assert {c for r in parse_rules(default_rules(plant), plant).rules for c in r.classes} == set(plant.classes)


def test_the_templates_of_init_are_valid_and_fit_together() -> None:
    plant = parse_plant(plant_template())
    assert len(plant.assets) == 1
    assert len(plant.classes["fan"].sensors) == 4
    assert {r.name for r in parse_rules(rules_template(), plant).rules} == {
        *(f"check_sensor-{sensor}" for sensor in plant.classes["fan"].sensor_names),
        "wear",
        "vibration_high",
        "bearing_hot",
        "changed",
        "silent",
    }


def test_the_choices_in_the_templates_are_valid_when_taken() -> None:
    plant = parse_plant(taken(plant_template()))
    assert plant.classes["fan"].costs is not None
    assert plant.assets["8871-C"].external["maximo"] == {"siteid": "N1", "assetnum": "4711"}
    ruleset = parse_rules(taken(rules_template()), plant)
    assert set(ruleset.routes) == {"log", "planner", "shift_mail"}
    assert "short_life" in {r.name for r in ruleset.rules}


def taken(template: str) -> str:
    """The template with its choices: lines that begin with a comment sign and then a key or an item."""
    return re.sub(r"^( *)# (?= *(?:[a-z_]+:(?: |$)|- \{))", r"\1", template, flags=re.MULTILINE)
