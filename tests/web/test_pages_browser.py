"""The pages in a real browser: live, by thumb and by keyboard, on a phone and a desk, by day and by night, offline."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Route,
    StorageState,
    ViewportSize,
    expect,
    sync_playwright,
)

from pdm.installations import EventKind, MaintenanceEvent
from pdm.services import Services
from pdm.serving import Server
from pdm.state import schema
from pdm.state.plants import store_plant
from pdm.tick import tick
from pdm.web import auth, snapshot
from pdm.web.app import create_app
from tests.small_plant import HOUR, RULES, feed, report, rows
from tests.web import station
from tests.web.station import NOW

CHROMIUM = os.environ.get("PDM_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--no-proxy-server",
    "--host-resolver-rules=MAP twin.example 127.0.0.1",
]
AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js").read_text(encoding="utf-8")

KEY = secrets.token_urlsafe(32)
PHONE, DESK = (390, 844), (1280, 900)
PATHS = [
    "/",
    "/?q=nothing",
    "/alerts",
    "/alerts?state=shelved",
    "/track-record",
    "/models",
    "/assets/F-1",
    "/assets/a%2Fb%20c%23%C3%A9",
    "/assets/no",
]
PATIENCE_MS = 15_000

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")

SMALL_TARGETS = """() => {
  const controls = document.querySelectorAll("a[href], button, summary, select, textarea, input:not([type=hidden])");
  return [...controls]
    .map((control) => control.closest(".choices label, tr:has(.name)") ?? control)
    .filter((target) => target.checkVisibility() && !target.matches("p.small a, .loading a, .skip"))
    .map((target) => [target.outerHTML.slice(0, 80), target.getBoundingClientRect()])
    .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
    .map(([text, box]) => `${box.width} x ${box.height}: ${text}`);
}"""
"""Controls that a thumb would miss; links within a sentence are excepted, as in WCAG 2.5.8."""

FOCUS_SHOWS = """() => {
  const shown = document.activeElement.closest("tr:has(.name:focus-visible), .choices label") ?? document.activeElement;
  const style = getComputedStyle(shown);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}"""


def named(address: str) -> StorageState:
    """A device that knows the name of who uses it."""
    return {"origins": [{"origin": address, "localStorage": [{"name": "pdm-twin who", "value": "Bea"}]}]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(built: Services) -> Iterator[Server]:
    made = Server(create_app(Services(engine=built.engine, readings=built.readings, clock=built.clock)), "127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def services(built: Services, server: Server, tmp_path: Path) -> Iterator[Services]:
    """A station that this test may change, behind the server of all tests."""
    copied = station.copy(built, tmp_path)
    served: Services = server._app.state.services
    for field in fields(Services):
        setattr(served, field.name, getattr(copied, field.name))
    yield served
    copied.engine.dispose()


@pytest.fixture
def opened(browser: Browser, server: Server, services: Services) -> Iterator[BrowserContext]:
    """A browser in which any error, and any request to another host, fails the test."""
    viewport: ViewportSize = {"width": PHONE[0], "height": PHONE[1]}
    context = browser.new_context(base_url=server.address, viewport=viewport, storage_state=named(server.address))
    context.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def only_here(route: Route) -> None:
        if route.request.url.startswith(server.address):
            route.continue_()
        else:
            wrong.append(f"asked {route.request.url}")
            route.abort()

    context.route("**/*", only_here)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda message: wrong.append(message.text) if _is_wrong(message.text) else None)
    yield context
    context.close()
    assert not wrong


def _is_wrong(text: str) -> bool:
    """A browser says on its console what a page was refused; a lost connection is part of some tests."""
    lost = "htmx:error: Failed to fetch" in text
    return not lost and bool(re.search(r"Content Security Policy|Uncaught|htmx:|TypeError", text))


@pytest.fixture
def page(opened: BrowserContext) -> Page:
    return opened.new_page()


@pytest.fixture
def elsewhere(browser: Browser, built: Services, tmp_path: Path) -> Iterator[Page]:
    """A browser on another machine, over plain HTTP: an address that browsers do not call secure. It asks for a key."""
    copied = station.copy(built, tmp_path)
    locked = Server(create_app(copied, key_hashes=[auth.hash_key(KEY)]), "127.0.0.1", 0)
    locked.start()
    address = locked.address.replace("127.0.0.1", "twin.example")
    context = browser.new_context(base_url=address, storage_state=named(address))
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()
    locked.stop()
    copied.engine.dispose()


def sign_in(page: Page, path: str) -> None:
    page.goto(path)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")


def settled(page: Page, path: str) -> None:
    """Open a page and wait until its parts are there."""
    page.goto(path)
    if page.locator("#history").count():
        page.locator("#history .multiples, #history .quiet").first.wait_for()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_reads_and_can_be_touched_by_day_and_by_night(page: Page, path: str) -> None:
    settled(page, path)
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    for width, height in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == PHONE[0]:
            assert page.evaluate(SMALL_TARGETS) == []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == []


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA and its own good practice."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
    return [f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


def test_the_track_record_of_a_failure_fits_and_reads(page: Page, services: Services) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, NOW - HOUR, mode="belt"))
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.goto("/track-record")
    page.get_by_text("Too few to tell").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert page.evaluate(SMALL_TARGETS) == []
    assert violations(page) == []


@pytest.mark.parametrize("path", ["/", "/alerts", "/assets/F-1"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page, path: str) -> None:
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    settled(page, path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    reached = 0
    while page.evaluate("document.activeElement !== document.body") and reached < 60:
        assert page.evaluate(FOCUS_SHOWS), page.evaluate("document.activeElement.outerHTML")
        page.keyboard.press("Tab")
        reached += 1
    assert reached >= page.locator("a[href]:visible, button:visible, summary:visible").count()


def test_the_skip_link_leads_past_the_navigation(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_what_a_tick_concludes_appears_without_a_reload(page: Page, services: Services) -> None:
    page.goto("/assets/F-1")
    expect(page.locator(".facts")).to_contain_text("running 480 h")
    drawn = page.locator("#fan").get_attribute("data-fan")
    tick(services, NOW + 2 * HOUR)
    expect(page.locator(".facts")).to_contain_text("running 482 h")
    assert page.locator("#fan").get_attribute("data-fan") != drawn
    expect(page.locator("#live")).to_contain_text("live")


def test_a_reading_appears_before_any_tick_has_seen_it(page: Page, services: Services) -> None:
    settled(page, "/assets/F-1")
    feed(services, rows("fan1", np.array([NOW - HOUR // 60]), np.array([[1234.0, 4.5]])))
    expect(page.locator("#latest-speed")).to_have_text("1,234 rpm")
    expect(page.locator("#mirror")).to_have_text("last reading 60 s ago")


def test_the_fan_chart_answers_the_pointer_with_what_was_said(page: Page) -> None:
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    settled(page, "/assets/F-1")
    page.locator("#fan-drawing .u-over").hover(position={"x": 200, "y": 80})
    expect(page.locator("#fan-readout")).to_contain_text(re.compile(r"At \d+ h: \d+ h \(4 in 5: \d+-\d+ h\)"))


def test_a_page_without_script_shows_the_chart_and_the_table_behind_it(
    browser: Browser, server: Server, services: Services
) -> None:
    context = browser.new_context(base_url=server.address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/assets/F-1")
    expect(page.locator("svg.fan")).to_be_visible()
    page.locator("#behind-fan summary").click()
    expect(page.locator("#behind-fan tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Open them alone").click()
    expect(page.locator(".multiples figure").first).to_be_visible()
    context.close()


def test_the_fleet_is_searched_while_one_types(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Search").press_sequentially("fan-2")
    expect(page.locator("#row-F-1")).to_have_count(0)
    expect(page.locator("#row-F-2")).to_be_visible()
    assert "q=fan-2" in page.url
    expect(page.get_by_label("Search")).to_be_focused()


def test_an_alert_is_acknowledged_with_one_touch_and_taken_back_with_another(page: Page) -> None:
    page.goto("/alerts")
    before = page.locator("[data-card]").count()
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator(".toast")).to_contain_text("In your hands.")
    expect(page.locator("[data-card]")).to_have_count(before - 1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[data-card]")).to_have_count(before)


def test_a_person_on_another_machine_signs_in_over_plain_http(elsewhere: Page) -> None:
    sign_in(elsewhere, "/alerts")
    assert not elsewhere.evaluate("isSecureContext")
    expect(elsewhere.get_by_role("heading", name="Alerts")).to_be_visible()


def test_buttons_work_over_plain_http_from_another_machine(elsewhere: Page) -> None:
    sign_in(elsewhere, "/alerts")
    elsewhere.get_by_role("button", name="Acknowledge").first.click()
    expect(elsewhere.locator(".toast")).to_contain_text("In your hands.")


def test_who_acted_is_remembered_on_the_device(page: Page) -> None:
    page.goto("/alerts")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Your name").blur()
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator(".toast")).to_contain_text("In your hands.")
    page.goto("/alerts?state=acknowledged")
    expect(page.locator(".state").first).to_have_text("in the hands of Ada")


def test_the_name_is_asked_for_once_before_anything_is_sent(page: Page) -> None:
    page.goto("/alerts")
    page.evaluate("localStorage.clear()")
    before = page.locator("[data-card]").count()
    page.get_by_role("button", name="Acknowledge").first.click()
    question = page.get_by_role("dialog", name="Who does this?")
    expect(question.get_by_label("Name")).to_be_focused()
    assert violations(page) == []
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()
    expect(page.locator("[data-card]")).to_have_count(before)
    page.get_by_role("button", name="Acknowledge").first.click()
    question.get_by_label("Name").fill("Ada")
    question.get_by_label("Name").press("Enter")
    expect(page.locator(".toast")).to_contain_text("In your hands.")
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    expect(page.locator("[data-card]")).to_have_count(before - 1)
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator("[data-card]")).to_have_count(before - 2)
    page.goto("/alerts?state=acknowledged")
    expect(page.locator(".state")).to_have_text(["in the hands of Ada", "in the hands of Ada"])


def test_a_wrong_report_is_taken_back_where_it_is_listed(page: Page, services: Services) -> None:
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, NOW - HOUR, mode="belt"), "e-wrong")
    settled(page, "/assets/F-1")
    entry = page.locator("#history .log li", has_text="failed (Belt wear)")
    entry.locator("summary").click()
    for width, height in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SMALL_TARGETS) == []
        assert violations(page) == []
    entry.get_by_role("button", name="Take back").click()
    expect(page.locator(".toast")).to_contain_text("Taken back.")
    expect(entry).to_contain_text("failed (Belt wear), reported by test; taken back by")
    expect(entry.locator("summary")).to_have_count(0)


def test_what_is_done_offline_is_not_saved_says_so_and_is_sent_when_the_connection_is_back(
    page: Page, opened: BrowserContext
) -> None:
    page.goto("/alerts")
    before = page.locator("[data-card]").count()
    opened.set_offline(True)
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator("#offline")).to_be_visible()
    expect(page.locator("#offline")).to_contain_text("as of Sun 25 Jan 00:00")
    expect(page.locator(".toast")).to_contain_text("Not saved")
    expect(page.locator("[data-pending] .state")).to_contain_text("saving")
    opened.set_offline(False)
    expect(page.locator(".toast")).to_contain_text("In your hands.")
    expect(page.locator("#offline")).to_be_hidden()
    expect(page.locator("[data-card]")).to_have_count(before - 1)


def test_what_was_not_saved_outlives_a_reload(page: Page, opened: BrowserContext) -> None:
    page.goto("/alerts")
    before = page.locator("[data-card]").count()
    page.route("**/api/v1/alerts/**", lambda route: route.fulfill(status=503, body="{}"))
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator(".toast")).to_contain_text("Not saved")
    page.unroute("**/api/v1/alerts/**")
    page.reload()
    expect(page.locator(".toast")).to_contain_text("In your hands.")
    expect(page.locator("[data-card]")).to_have_count(before - 1)


def test_what_the_service_refuses_is_told_in_its_words(page: Page, opened: BrowserContext, server: Server) -> None:
    page.goto("/assets/F-1")
    address = page.get_by_role("button", name="Accept this window").get_attribute("data-send")
    page.route("**/api/v1/stream", lambda route: route.abort())
    opened.request.post(f"{server.address}{address}", data={"who": "Bob"})
    page.get_by_role("button", name="Accept this window").click()
    expect(page.locator(".toast")).to_contain_text("Not saved: somebody changed it meanwhile.")


def test_a_window_is_accepted_on_the_page(page: Page) -> None:
    page.goto("/assets/F-1")
    page.get_by_role("button", name="Accept this window").click()
    expect(page.locator(".todo .state")).to_contain_text("Accepted for")
    expect(page.get_by_role("button", name="Accept this window")).to_have_count(0)


def test_half_typed_words_and_open_forms_survive_what_happens_meanwhile(page: Page, services: Services) -> None:
    page.goto("/alerts")
    card = page.locator("[data-card]").first
    card.locator("summary", has_text="Wrong alarm").click()
    card.get_by_label("Why is it wrong?").fill("the gauge was")
    tick(services, NOW + 2 * HOUR)
    with page.expect_response(lambda answer: answer.url.endswith("/alerts")):
        pass
    expect(card.get_by_label("Why is it wrong?")).to_have_value("the gauge was")
    card.get_by_label("Why is it wrong?").press_sequentially(" loose")
    card.get_by_role("button", name="Wrong alarm").click()
    expect(page.locator(".toast")).to_contain_text("Noted as a wrong alarm.")


def test_a_report_means_the_time_of_the_plant_and_not_of_the_browser(
    page: Page, services: Services, server: Server
) -> None:
    with schema.write(services.engine) as connection:
        store_plant(connection, station._STATION.replace("time_zone: UTC", "time_zone: America/New_York"), RULES, NOW)
    snapshot.expire(services)
    page.goto("/assets/F-2")
    page.locator("#report summary").click()
    expect(page.get_by_label("When (America/New_York)")).to_have_value("2026-01-24T19:00")
    page.get_by_label("inspected").check()
    page.get_by_label("Measured value").fill("0,12")
    page.get_by_role("button", name="Report", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("Reported.")
    (event,) = page.request.get(f"{server.address}/api/v1/events", params={"serial": "F-2"}).json()["items"]
    assert (event["at"], event["value"], event["kind"]) == ("2026-01-25T00:00:00Z", 0.12, "inspected")
    expect(page.locator("#history .log")).to_contain_text("inspected, 0.12")
