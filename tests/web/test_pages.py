"""The pages as the server renders them: the same figures as the API, nothing inline, every state designed."""

import csv
import html
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, update

from pdm import words
from pdm.errors import StoreError
from pdm.installations import EventKind, MaintenanceEvent
from pdm.learn import Life, train, train_watch
from pdm.plant.file import parse_plant
from pdm.prognosis.learned import Model, Origin
from pdm.services import Services
from pdm.state import schema, told
from pdm.state.plants import store_plant
from pdm.tick import tick
from pdm.web import snapshot
from pdm.web.pages.asset import _band_text
from pdm.web.pages.fleet import action_of
from pdm.web.pages.shell import LATE_MS
from pdm.web.shapes import RulView
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report, rows
from tests.web import station
from tests.web.station import AWKWARD, NOW

AWKWARD_PATH = "/assets/a%2Fb%20c%23%C3%A9"
PAGES = [
    "/",
    "/alerts",
    "/track-record",
    "/models",
    "/assets/F-1",
    "/assets/F-1/history",
    AWKWARD_PATH,
    f"{AWKWARD_PATH}/history",
]


class Elements(HTMLParser):
    """The start tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def page(client: TestClient, path: str, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def elements(text: str) -> list[tuple[str, dict[str, str]]]:
    parser = Elements()
    parser.feed(text)
    return parser.found


def read(text: str) -> str:
    """What a person reads: text without tags, blanks collapsed."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)))


def sends(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every action that a page offers: where it is sent, and a body as the script makes it."""
    forms = re.findall(r'<form[^>]*data-send="([^"]+)".*?</form>', text, flags=re.DOTALL)
    for address in forms:
        form = re.search(rf'<form[^>]*data-send="{re.escape(address)}".*?</form>', text, flags=re.DOTALL)
        assert form is not None
        body: dict[str, Any] = {"who": "Ada"}
        for tag, attributes in elements(form[0]):
            if tag == "textarea":
                body[attributes["name"]] = "because"
            elif tag == "input" and attributes.get("name"):
                body.setdefault(attributes["name"], attributes.get("value", ""))
        yield address, body
    for tag, attributes in elements(text):
        if tag == "button" and "data-send" in attributes:
            yield attributes["data-send"], {"who": "Ada"}


@pytest.mark.parametrize("path", PAGES)
def test_nothing_on_a_page_is_inline_or_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes in elements(answer.text):
        assert tag != "style"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        for name in ("src", "href", "action"):
            assert not re.match(r"(https?:)?//|javascript:", attributes.get(name, ""))


def test_every_file_that_a_page_names_is_served_and_may_be_kept(client: TestClient) -> None:
    for _, attributes in elements(page(client, "/assets/F-1")):
        address = attributes.get("src") or attributes.get("href", "")
        if address.startswith("/static/"):
            answer = client.get(address)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/old/page.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/x/../../app.py").status_code == 404


@pytest.mark.parametrize("serial", ["F-1", "F-2"])
def test_pages_and_api_say_the_same_of_a_machine(client: TestClient, serial: str) -> None:
    machine = client.get(f"/api/v1/assets/{serial}").json()
    text = machine["twin"]["prognosis"]["text"]
    assert "likely" in text
    for path in ("/", f"/assets/{serial}", "/alerts"):
        assert text in read(page(client, path))


def test_the_page_prices_the_starts_as_the_api_does(client: TestClient) -> None:
    window = client.get("/api/v1/assets/F-1").json()["window"]
    shown = read(page(client, "/assets/F-1"))
    costs = [window["preferred"]["cost"], *(window[f"cost_{when}"] for when in ("now", "week_later", "run_to_failure"))]
    for cost in costs:
        assert words.amount(cost, "EUR") in shown


def test_the_median_date_is_the_one_where_half_have_failed(client: TestClient) -> None:
    prognosis = client.get("/api/v1/assets/F-1/prognosis").json()
    (half,) = [q for q in prognosis["quantiles"] if q["level"] == 0.5]
    assert half["at"] == prognosis["median_at"]
    risk = client.get("/api/v1/assets/F-1/prognosis", params={"until": prognosis["median_at"]}).json()["risks"][-1]
    assert risk["probability"] == pytest.approx(0.5, abs=0.002)


def test_the_fleet_begins_with_the_largest_expected_loss(client: TestClient) -> None:
    rows = client.get("/api/v1/assets").json()["rows"]
    order = re.findall(r'id="row-([^"]+)"', page(client, "/"))
    assert [html.unescape(serial) for serial in order] == [row["serial"] for row in rows]


def test_the_fleet_can_be_searched_and_filtered(client: TestClient) -> None:
    def shown(query: str) -> set[str]:
        return set(re.findall(r'id="row-(F-\d)"', page(client, f"/?{query}")))

    assert shown("q=fan-1") == {"F-1"}
    assert shown("line=Line 2") == {"F-2"}
    assert shown("q=nothing") == set()
    assert "Nothing matches" in read(page(client, "/?q=nothing"))


def test_a_long_fleet_is_shown_in_parts(client: TestClient) -> None:
    part = page(client, "/?show=1")
    assert len(re.findall('id="row-', part)) == 1
    assert re.search(r"3 others, next window: FAN-\d", read(part))


@pytest.mark.parametrize("path", ["/", "/alerts"])
@pytest.mark.parametrize("number", ["9" * 19, "9" * 20, "9" * 5000, "0", "000000000000001", "²"])
def test_a_page_of_however_many_rows_can_be_asked_for(client: TestClient, path: str, number: str) -> None:
    page(client, f"{path}?show={number}")


def test_a_serial_is_shown_as_text_whatever_it_holds(client: TestClient) -> None:
    assert f"serial {AWKWARD}" in read(page(client, AWKWARD_PATH))


def test_words_from_outside_never_become_markup(client: TestClient) -> None:
    nasty = '<img src=x onerror="alert(1)">'
    event = {"serial": "F-1", "kind": "inspected", "at": words.iso(NOW - HOUR), "note": nasty, "value": 3.5}
    assert client.post("/api/v1/events", json=event).status_code == 201
    history = page(client, "/assets/F-1/history")
    assert nasty in read(history)
    assert not [tag for tag, _ in elements(history) if tag == "img"]


def test_a_refresh_brings_only_what_changes(client: TestClient) -> None:
    part = page(client, "/", **{"HX-Request": "true"})
    assert part.lstrip().startswith('<div id="frame"')
    assert "<html" not in part


@pytest.mark.parametrize(
    ("low", "middle", "high", "band"),
    [
        (400.0, 600.0, 800.0, "4 in 5: 400-800 h"),
        (400.0, 1100.0, 1500.0, "9 in 10: more than 400 h"),
        (1050.0, 1100.0, 1500.0, "9 in 10"),
    ],
)
def test_a_figure_of_a_forecast_is_said_once(low: float, middle: float, high: float, band: str) -> None:
    assert _band_text(RulView(low, middle, high, "h"), 1000.0) == band


def test_what_cannot_be_forecast_says_why_and_what_would_help(client: TestClient) -> None:
    shown = read(page(client, AWKWARD_PATH))
    assert "No forecast: no readings" in shown
    assert "the first one lifts this" in shown
    assert "Nothing can be advised without a forecast" in shown


def test_every_action_offered_on_an_alert_is_one_that_the_service_takes(client: TestClient) -> None:
    first = page(client, "/alerts").split("<li ")[1]
    offered = dict(sends(first))
    kinds = {address.rpartition("/")[2] for address in offered}
    assert kinds == {"acknowledge", "shelve", "resolve", "wrong-alarm", "comment"}
    for address, body in offered.items():
        assert client.post(address, json=body).status_code == 200, address
        undo = address.rpartition("/")[0] + "/undo"
        assert client.post(undo, json={}).status_code == (409 if address.endswith("comment") else 200)


def test_an_alert_moves_on_when_somebody_acts_and_comes_back_by_undo(client: TestClient) -> None:
    def cards(state: str) -> list[str]:
        return re.findall(r'id="alert-([^"]+)"', page(client, f"/alerts?state={state}"))

    first, *others = cards("open")
    assert client.post(f"/api/v1/alerts/{first}/acknowledge", json={"who": "Ada"}).status_code == 200
    assert cards("open") == others
    assert cards("acknowledged") == [first]
    assert "in the hands of Ada" in read(page(client, "/alerts?state=acknowledged"))
    assert client.post(f"/api/v1/alerts/{first}/undo", json={"who": "Ada"}).status_code == 200
    assert cards("open") == [first, *others]


def test_settled_alerts_can_be_opened_again_and_shelved_ones_put_back(client: TestClient) -> None:
    first, second = re.findall(r'id="alert-([^"]+)"', page(client, "/alerts"))[:2]
    client.post(f"/api/v1/alerts/{first}/resolve", json={"who": "Ada"})
    client.post(f"/api/v1/alerts/{second}/shelve", json={"who": "Ada", "until": words.iso(NOW + 24 * HOUR)})
    settled, shelved = page(client, "/alerts?state=settled"), page(client, "/alerts?state=shelved")
    assert f"/api/v1/alerts/{first}/undo" in settled
    assert f"/api/v1/alerts/{second}/unshelve" in shelved
    assert "shelved until Mon 26 Jan 00:00" in read(shelved)


def test_an_alert_tells_who_was_told(client: TestClient) -> None:
    assert re.search(r"Opened: .* By log: waits to be sent\.", read(page(client, "/alerts")))


def test_a_window_is_accepted_once_and_then_shown_as_accepted(client: TestClient) -> None:
    ((address, body),) = list(sends(page(client, "/assets/F-1").split('id="report"')[0]))
    assert client.post(address, json=body).status_code == 200
    after = page(client, "/assets/F-1")
    assert "Accept this window" not in read(after)
    assert re.search(r"Accepted for \w{3} \d+ \w{3} \d\d:\d\d", read(after))


@pytest.fixture(autouse=True)
def _no_fleet_of_another_test() -> None:
    """Stations of two tests are alike down to the revision, by which a process keeps the fleet of its one database."""


def test_a_failed_machine_shows_what_came_beside_what_was_said(services: Services, client: TestClient) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, NOW - HOUR, mode="belt"), "e-failed")
    tick(services, NOW)
    snapshot.expire(services)
    shown = page(client, "/assets/F-1")
    assert "It has failed" in read(shown)
    assert 'class="truth"' in shown
    assert "failed (Belt wear), reported by test" in read(page(client, "/assets/F-1/history"))
    assert "no forecast: failed" in read(page(client, "/"))


def test_a_replaced_sensor_is_reported_by_its_name_and_listed_by_its_title(
    services: Services, client: TestClient
) -> None:
    assert '<option value="vibration">Vibration</option>' in page(client, "/assets/F-1")
    said = {
        "id": "e-probe",
        "serial": "F-1",
        "kind": "sensor_replaced",
        "sensor": "vibration",
        "at": words.iso(NOW - HOUR),
    }
    assert client.post("/api/v1/events", json=said).json()["sensor"] == "vibration"
    tick(services, NOW)
    snapshot.expire(services)
    assert "sensor replaced (Vibration), reported by api" in read(page(client, "/assets/F-1/history"))


def test_a_repaired_machine_begins_another_life(services: Services, client: TestClient) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.REPAIRED, NOW - HOUR), "e-repaired")
    tick(services, NOW)
    snapshot.expire(services)
    shown = read(page(client, "/assets/F-1"))
    assert "running 0" in shown or "running 1 h" in shown
    assert "its present life began" in read(page(client, "/assets/F-1/history"))


def test_what_happened_is_told_in_the_words_of_then(services: Services, client: TestClient) -> None:
    (alert_id,) = [record["id"] for record in client.get("/api/v1/alerts", params={"serial": "F-1"}).json()["items"]]
    with schema.write(services.engine) as connection:
        told.change_alert(connection, alert_id, title="FAN-1: Belt wear, likely 25 Jan", closed_ms=NOW)
        told.add_transition(connection, alert_id, "raised", NOW - HOUR, told.TICK, "Belt wear, likely 25 Jan.\n", "now")
        told.add_transition(connection, alert_id, "cleared", NOW, told.TICK, "the condition no longer holds", "none")
    entries = [read(entry).strip() for entry in page(client, "/assets/F-1/history").split("<li>")[1:]]
    closed, raised, opened, *_ = entries
    assert "alert opened: Belt wear, likely 24-31 Jan (4 in 5). Failure expected soon: 27 % risk of failing" in opened
    assert "alert more urgent: Belt wear, likely 25 Jan" in raised
    assert "alert closed, the condition no longer holds: Belt wear, likely 25 Jan" in closed


def test_the_marks_of_the_chart_say_what_was_told_then(services: Services, client: TestClient) -> None:
    (alert_id,) = [record["id"] for record in client.get("/api/v1/alerts", params={"serial": "F-1"}).json()["items"]]
    with schema.write(services.engine) as connection:
        told.change_alert(connection, alert_id, title="FAN-1: Belt wear, likely today")
    shown = page(client, "/assets/F-1")
    assert "alert: Belt wear, likely 24-31 Jan (4 in 5)" in shown
    assert "alert: FAN-1" not in shown


def shake(services: Services, source: str) -> None:
    """A machine vibrates beyond its limit for longer than the rule waits."""
    for hour in range(4):
        feed(services, rows(source, NOW + hour * HOUR + np.array([HOUR // 2]), np.array([[1500.0, 12.0]])))
        tick(services, NOW + (hour + 1) * HOUR)
    snapshot.expire(services)


SHAKING = "Vibration too high: Vibration (max) 12 mm/s (limit 9 mm/s)."


def test_what_to_do_begins_with_a_limit_that_was_crossed(services: Services, client: TestClient) -> None:
    shake(services, "fan1")
    advice = f"{SHAKING} Next: Replace the belt: 4 h, crew of 1, machine stopped. At once."
    todo = read(page(client, "/assets/F-1")).split("What to do")[1]
    limit, window = todo.split("From the forecast alone, which knows nothing of this:")
    assert f"Now {advice}" in limit
    assert "Preferred" in window
    assert advice in read(page(client, "/alerts"))


@pytest.mark.parametrize(
    ("action", "mode", "shown"),
    [
        ("replace the belt", "belt", "Replace the belt"),
        ("", "belt", "Work on it, no action is declared"),
        ("", "any", "Work on a failure mode that is not known yet"),
    ],
)
def test_a_window_invents_no_action(action: str, mode: str, shown: str) -> None:
    assert action_of(action, mode) == shown


def test_a_limit_says_what_to_do_where_there_is_no_forecast(services: Services, client: TestClient) -> None:
    shake(services, "fan4")
    shown = read(page(client, AWKWARD_PATH))
    assert "No forecast: history incomplete" in shown
    assert f"{SHAKING} Next: Replace the belt" in shown
    assert "Nothing can be advised" not in shown


def test_two_alerts_about_one_failure_each_show_what_their_own_rule_saw(services: Services, client: TestClient) -> None:
    short = "\n  short:\n    {kind: rul_quantile, title: Short life, level: 50 %, below: 400}\n"
    with schema.write(services.engine) as connection:
        store_plant(connection, station._STATION, RULES + short, NOW)
    feed(services, readings("fan1", [station.NOW_HOURS]))
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    for path in ("/alerts", "/assets/F-1"):
        shown = read(page(client, path))
        assert re.search(r"Failure expected soon: [\d.]+ % risk of failing within 50 h \(limit 10 %\)", shown)
        assert re.search(r"Short life: remaining life at the 50 % level \d+ h \(limit 400 h\)", shown)


def test_a_settled_alert_no_longer_looks_urgent(client: TestClient) -> None:
    (first, *_) = re.findall(r'id="alert-([^"]+)"', page(client, "/alerts"))
    client.post(f"/api/v1/alerts/{first}/resolve", json={"who": "Ada"})
    settled = page(client, "/alerts?state=settled")
    assert [e["class"] for tag, e in elements(settled) if e.get("class", "").startswith("badge")] == ["badge done"]
    assert "Resolved was: now" in read(settled)


def test_an_alert_can_be_handed_back_as_long_as_nothing_else_changed_it(client: TestClient) -> None:
    (first, *_) = re.findall(r'id="alert-([^"]+)"', page(client, "/alerts"))
    at = f"/api/v1/alerts/{first}"

    def can_hand_back() -> bool:
        return "Hand back" in read(page(client, "/alerts?state=acknowledged"))

    client.post(f"{at}/acknowledge", json={"who": "Ada"})
    client.post(f"{at}/comment", json={"who": "Ada", "reason": "looking"})
    assert can_hand_back()
    client.post(f"{at}/shelve", json={"who": "Ada", "until": words.iso(NOW + 24 * HOUR)})
    client.post(f"{at}/unshelve", json={"who": "Ada"})
    assert not can_hand_back()
    assert client.post(f"{at}/undo", json={"who": "Ada"}).status_code == 409


def test_what_happened_names_the_limit_that_was_crossed(services: Services, client: TestClient) -> None:
    shake(services, "fan1")
    assert f"alert opened: {SHAKING.removesuffix('.')} " in read(page(client, "/assets/F-1/history"))


def test_the_issued_forecasts_can_be_downloaded_with_all_quantiles(client: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get("/assets/F-1/forecasts.csv").text)))
    said = client.get("/api/v1/prognoses", params={"serial": "F-1"}).json()["items"]
    assert len(rows) == len(said) > 0
    assert len([name for name in rows[0] if name.startswith("q")]) == 21
    assert {float(row["q50"]) for row in rows} == {item["rul"]["p50"] for item in said}


def test_the_steps_behind_the_sensors_can_be_downloaded(client: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get("/assets/F-1/steps.csv").text)))
    assert len(rows) == station.NOW_HOURS
    assert rows[0]["start"] == words.iso(START)
    assert float(rows[-1]["vibration_max"]) > float(rows[0]["vibration_mean"])


def test_the_history_follows_the_steps_that_ticks_make(services: Services, client: TestClient) -> None:
    before = len(client.get("/assets/F-1/steps.csv").text.splitlines())
    tick(services, NOW + 3 * HOUR)
    snapshot.expire(services)
    assert len(client.get("/assets/F-1/steps.csv").text.splitlines()) == before + 3


def test_late_beliefs_are_announced(services: Services, client: TestClient) -> None:
    assert "Forecasts are late" not in read(page(client, "/"))
    services.clock.advance(NOW + LATE_MS + 60_000)  # type: ignore[attr-defined]
    assert "Forecasts are late" in read(page(client, "/"))


class Pace:
    """A simulation that only remembers what it was asked."""

    def __init__(self) -> None:
        self.paused, self.rate, self.done = False, 7200.0, False

    def state(self) -> dict[str, Any]:
        return {"plant_ms": NOW, "rate": self.rate, "paused": self.paused, "done": self.done}

    def control(self, *, paused: bool | None = None, rate: float | None = None) -> None:
        self.paused, self.rate = self.paused if paused is None else paused, rate or self.rate


def test_a_simulated_plant_says_so_on_every_page_and_can_be_paused(services: Services, client: TestClient) -> None:
    apply(services, PLANT.replace("currency: EUR", "currency: EUR\nsimulated: true"))
    services.simulation = Pace()
    for path in ("/", "/alerts", "/assets/F-1"):
        shown = read(page(client, path))
        assert "Simulated plant" in shown
        assert "2 h per second" in shown
    assert "Pause" in read(page(client, "/"))
    services.simulation.done = True
    assert "finished" in read(page(client, "/"))
    assert "Pause" not in read(page(client, "/"))


def test_a_real_plant_offers_no_control_of_time(client: TestClient) -> None:
    assert "Pause" not in read(page(client, "/"))


def test_without_declared_costs_no_amount_is_shown(services: Services, client: TestClient, tmp_path: Path) -> None:
    fresh = make_services(tmp_path / "fresh")
    apply(fresh, PLANT.replace("    costs: {planned: 1000, unplanned: 8000}\n", ""))
    feed(fresh, readings("fan1", range(450)))
    tick(fresh, START + 450 * HOUR)
    services.engine, services.readings, services.clock = fresh.engine, fresh.readings, fresh.clock
    for path in ("/", "/assets/F-1"):
        shown = read(page(client, path))
        assert "likely" in shown
        assert "EUR" not in shown
    assert "Criticality" in read(page(client, "/"))


def test_a_service_without_a_plant_says_how_to_begin(services: Services, client: TestClient) -> None:
    with schema.write(services.engine) as connection:
        connection.execute(delete(schema.plant_versions))
    answer = client.get("/")
    assert answer.status_code == 404
    assert "pdm-twin init" in read(answer.text)


def test_a_machine_that_is_not_there_is_an_error_page(client: TestClient) -> None:
    answer = client.get("/assets/none")
    assert answer.status_code == 404
    assert "There is no asset 'none'." in read(answer.text)
    assert "To the fleet" in read(answer.text)


def test_a_mistyped_address_is_an_error_page_for_people_and_a_problem_for_programs(client: TestClient) -> None:
    for_people = client.get("/alertz", headers={"Accept": "text/html,*/*"})
    assert for_people.status_code == 404
    assert "There is no page at this address." in for_people.text
    for address, accepted in (("/alertz", "*/*"), ("/api/v1/nothing", "text/html")):
        answer = client.get(address, headers={"Accept": accepted})
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert client.get("/api/v1/events", headers={"Accept": "text/html"}).status_code != 404


def test_a_store_that_does_not_answer_leaves_the_page_readable(
    services: Services, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StoreError("the reading store does not answer")

    monkeypatch.setattr(services.readings, "latest_cursor", fail)
    shown = read(page(client, "/assets/F-2"))
    assert "the reading store does not answer" in shown
    assert "likely" in shown


def test_a_damaged_state_is_an_error_page_and_not_a_trace(services: Services, client: TestClient) -> None:
    with schema.write(services.engine) as connection:
        connection.execute(update(schema.step_batches).values(crc=1))
    answer = client.get("/assets/F-1/history")
    assert answer.status_code == 503
    assert "Cannot be shown now" in read(answer.text)
    assert "Traceback" not in answer.text


@pytest.fixture(scope="module")
def learned_model() -> Model:
    """A model of the fans from a few made-up lives: the faster the vibration rises, the shorter they were."""
    asset_class = parse_plant(PLANT).classes["fan"]
    lives = [_life(serial, hours) for serial, hours in enumerate((300, 420, 540))]
    return replace(train(asset_class, lives, seed=1, origin=Origin.SIMULATED), version="2026-01")


def _life(serial: int, hours: int) -> Life:
    random = np.random.default_rng(serial)
    vibration = 2.0 + 2.4 * np.arange(hours) / hours + 0.06 * random.standard_normal(hours)
    speed = 1500 + random.standard_normal(hours)
    return Life(f"T-{serial}", np.column_stack([speed, vibration, vibration + 0.1]), np.ones(hours), failed=True)


def test_a_learned_forecast_gives_its_reasons_and_says_what_it_rests_on(
    services: Services, client: TestClient, learned_model: Model
) -> None:
    services.models["fan"] = learned_model
    services.cohorts.clear()
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    shown = read(page(client, "/assets/F-1"))
    assert "learned from 3 lives of simulated machines, model 2026-01" in shown
    assert re.search(r"4 in 5 bands held for \d+ % of the forecasts of machines left out of training", shown)
    assert re.search(r"\+ Vibration \(\w+\) [\d.]+ mm/s \([\d.]+ sd\) above its own start", shown)


def test_reasons_of_another_step_than_the_one_shown_are_not_told(
    services: Services, client: TestClient, learned_model: Model
) -> None:
    services.models["fan"] = learned_model
    services.cohorts.clear()
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    services.cohorts["fan"].twin.last_end_ms += HOUR  # as while a tick is folding
    assert "above its own start" not in read(page(client, "/assets/F-2")).split("Why")[1].split("How far")[0]


def apply(services: Services, plant: str) -> None:
    """Put another plant file into force."""
    with schema.write(services.engine) as connection:
        store_plant(connection, plant, RULES, NOW)
    snapshot.expire(services)


def test_a_model_without_failures_shows_how_far_a_machine_is_from_its_early_life(
    services: Services, client: TestClient
) -> None:
    asset_class = parse_plant(PLANT).classes["fan"]
    lives = [replace(_life(serial, 300), failed=False) for serial in range(6)]
    model = train_watch(asset_class, lives, seed=1, origin=Origin.PLANT)
    services.models["fan"] = replace(model, version="2026-02")
    services.cohorts.clear()
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    whole = page(client, "/assets/F-1")
    assert re.search(r"Departure from its own early life [\d.]+ times the level of an alarm", read(whole))
    assert re.search(r'class="chart multiple"[^>]*aria-label="departure from its own early life', whole)
    assert re.search(r"Alarm \d+ false alarms? in \d+ early steps of 6 machines left out", read(whole))
    departure = client.get("/api/v1/assets/F-1/twin").json()["departure"]
    assert departure is not None
    assert departure >= 0


def test_a_sensor_that_has_changed_says_since_when_and_by_how_much(
    services: Services, client: TestClient, learned_model: Model
) -> None:
    services.models["fan"] = learned_model
    shown = read(page(client, "/assets/F-1/history"))
    assert len(re.findall(r"mm/s; 1\.\d+ mm/s \([\d.]+ sd\) higher since about \d+ Jan", shown)) == 2
