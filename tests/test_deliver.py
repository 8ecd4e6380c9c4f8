"""Telling people: what is due is sent once it is claimed, and again with the same bytes until somebody has it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, select, update
from structlog.testing import capture_logs

from pdm import deliver as delivery
from pdm import templates
from pdm.deliver import MOST_ATTEMPTS, DeliveryReport, deliver, retry_after_ms
from pdm.errors import DeliveryError, RouteGoneError
from pdm.ports import Message, Notifier
from pdm.services import Services
from pdm.state.plants import store_plant
from pdm.state.schema import alerts, deliveries, open_state, read, transitions, write
from pdm.state.told import AlertState, add_alert, add_transition, derived_id, put_recommendation
from tests.databases import DATABASES

TEMPLATES = Path(templates.__file__).parent
NOW_MS = 1_780_000_000_000  # 2026-05-28T20:26:40Z
DAY_MS = 86_400_000


@dataclass
class Clock:
    now_ms: int = NOW_MS

    def plant_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms


@dataclass
class Inbox:
    """A route that keeps what it is sent, or fails as told: `failures` are raised first, one an attempt."""

    failures: list[Exception] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.tried.append(message)
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)


@pytest.fixture(autouse=True)
def a_run_ends_when_all_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(delivery, "PATIENCE_S", 60.0)


def template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_state(DATABASES.url(tmp_path / "state.db"))
    with write(opened) as connection:
        store_plant(connection, template("plant.yaml"), template("rules.yaml"), at_ms=NOW_MS)
    yield opened
    opened.dispose()


def services_of(engine: Engine, clock: Clock, **routes: Notifier) -> Services:
    """As much of the service as delivery needs."""
    return cast(Services, SimpleNamespace(engine=engine, clock=clock, notifiers=routes, public_url="https://pdm.test"))


def put_alert(connection: Connection, serial: str, routes: Sequence[str], severity: str, rule: str = "wear") -> str:
    alert_id = derived_id("alert", serial, "any", rule, NOW_MS)
    row = {
        "id": alert_id,
        "serial": serial,
        "target": "any",
        "rule": rule,
        "state": AlertState.OPEN,
        "severity": severity,
        "opened_ms": NOW_MS,
        "updated_ms": NOW_MS,
        "title": f"Hall 3: Bearing wear of {serial}, likely 10-27 Jun",
        "plant_version": "1",
        "facts": {"value": float("nan"), "limit": 0.3},
    }
    add_alert(connection, row, f"{serial}: replace both fan bearings by Friday.", routes, NOW_MS)
    return alert_id


def open_alert(engine: Engine, serial: str = "8871-C", routes: Sequence[str] = ("phone",)) -> str:
    with write(engine) as connection:
        return put_alert(connection, serial, routes, "week")


def state_of(engine: Engine, column: str = "state") -> list[Any]:
    with read(engine) as connection:
        return list(connection.execute(select(deliveries.c[column]).order_by(deliveries.c.id)).scalars())


def down() -> DeliveryError:
    return DeliveryError("the receiver answered 503", retry_helps=True)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# One message


def test_an_opened_alert_reaches_each_of_its_routes_once(engine: Engine) -> None:
    open_alert(engine, routes=("phone", "planner"))
    phone, planner, clock = Inbox(), Inbox(), Clock()
    services = services_of(engine, clock, phone=phone, planner=planner)
    assert deliver(services) == DeliveryReport(sent=2, again=0, failed=0, under_way=0)
    clock.now_ms += DAY_MS
    assert deliver(services) == DeliveryReport(sent=0, again=0, failed=0, under_way=0)
    assert (len(phone.messages), len(planner.messages)) == (1, 1)
    assert state_of(engine) == ["sent", "sent"]


def test_a_run_reports_what_it_did_and_leaves_out_what_it_did_not() -> None:
    assert str(DeliveryReport(sent=2, again=0, failed=1, under_way=0)) == "2 sent, 1 failed"
    assert str(DeliveryReport(sent=0, again=0, failed=0, under_way=0)) == "nothing was due"


def test_the_event_id_is_the_id_of_the_delivery(engine: Engine) -> None:
    open_alert(engine)
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    assert [phone.messages[0].id] == state_of(engine, "id")
    assert orjson.loads(phone.messages[0].body)["id"] == phone.messages[0].id


def test_the_message_says_what_to_do_in_plain_words_and_all_of_it_as_data(engine: Engine) -> None:
    alert_id = open_alert(engine)
    advice = {"title": "t", "text": "Replace both fan bearings.", "cost_of_waiting": "950 EUR a week"}
    with write(engine) as connection:
        row = {"id": "r", "serial": "8871-C", "target": "any", "alert_id": alert_id, "at_ms": NOW_MS, "body": advice}
        put_recommendation(connection, row)
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    (message,) = phone.messages
    assert message.subject == "[week] Hall 3: Bearing wear of 8871-C, likely 10-27 Jun"
    assert message.text.splitlines() == [
        "8871-C: replace both fan bearings by Friday.",
        "",
        "Machine: 8871-C in Our plant / Hall 2 / Line 1 / FAN-03",
        "Open since Thu 28 May 22:26 (Europe/Berlin)",
        f"https://pdm.test/alerts#alert-{alert_id}",
    ]
    body = orjson.loads(message.body)
    assert (body["type"], body["timestamp"]) == ("alert.opened", "2026-05-28T20:26:40Z")
    assert body["data"]["alert"]["facts"] == {"value": None, "limit": 0.3}
    assert body["data"]["recommendation"] == advice
    assert body["data"]["transition"]["who"] == "pdm-twin"
    assert body["data"]["links"]["asset"] == "https://pdm.test/assets/8871-C"


def test_two_alerts_about_one_machine_each_carry_their_own_advice(engine: Engine) -> None:
    for rule in ("wear", "hurry"):
        with write(engine) as connection:
            alert_id = put_alert(connection, "8871-C", ["phone"], "week", rule)
            row = {"id": rule, "serial": "8871-C", "target": "any", "alert_id": alert_id, "at_ms": NOW_MS}
            put_recommendation(connection, row | {"body": {"title": rule}})
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    told = [orjson.loads(message.body)["data"] for message in phone.messages]
    own = {data["alert"]["rule"]: data["recommendation"]["title"] for data in told}
    assert own == {"wear": "wear", "hurry": "hurry"}


def test_a_machine_that_left_the_plant_file_and_an_odd_name_are_still_told(engine: Engine) -> None:
    open_alert(engine, serial="P 1/ü\r\nBcc: x")
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    body = orjson.loads(phone.messages[0].body)
    assert phone.messages[0].subject == "[week] Hall 3: Bearing wear of P 1/ü Bcc: x, likely 10-27 Jun"
    assert body["data"]["asset"] is None
    assert body["data"]["links"]["asset"] == "https://pdm.test/assets/P%201%2F%C3%BC%0D%0ABcc%3A%20x"


def test_the_end_of_a_matter_is_told_as_such(engine: Engine) -> None:
    alert_id = open_alert(engine, routes=())
    with write(engine) as connection:
        why = "the condition no longer holds"
        add_transition(connection, alert_id, "cleared", NOW_MS, "pdm-twin", why, "week", ["phone"], NOW_MS)
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    assert phone.messages[0].subject.startswith("[cleared] Hall 3")
    assert phone.messages[0].text.startswith("Cleared: the condition no longer holds")


# Attempts


def test_a_retry_sends_the_same_bytes_under_the_same_id_although_the_alert_has_changed(engine: Engine) -> None:
    open_alert(engine)
    phone, clock = Inbox([down()]), Clock()
    services = services_of(engine, clock, phone=phone)
    assert deliver(services).again == 1
    with write(engine) as connection:
        connection.execute(update(alerts).values(title="another title"))
    clock.now_ms += 7_000
    assert deliver(services).sent == 1
    assert phone.tried[0] == phone.tried[1]


def test_nothing_is_tried_again_before_its_time(engine: Engine) -> None:
    open_alert(engine)
    phone, clock = Inbox([down()]), Clock()
    services = services_of(engine, clock, phone=phone)
    deliver(services)
    clock.now_ms += 3_900
    assert deliver(services) == DeliveryReport(0, 0, 0, 0)
    assert len(phone.tried) == 1


def test_attempts_go_on_for_most_of_a_day_and_then_the_delivery_is_shown_as_failed(engine: Engine) -> None:
    open_alert(engine)
    phone, clock = Inbox([down() for _ in range(50)]), Clock()
    services = services_of(engine, clock, phone=phone)
    for _ in range(20):
        deliver(services)
        clock.now_ms = max(state_of(engine, "due_ms")[0], clock.now_ms)
    assert len(phone.tried) == MOST_ATTEMPTS
    assert 0.8 * 0.85 * DAY_MS < clock.now_ms - NOW_MS < DAY_MS + 1.2 * 0.15 * DAY_MS
    assert (state_of(engine), state_of(engine, "result")) == (["failed"], ["the receiver answered 503"])


@given(attempt=st.integers(1, MOST_ATTEMPTS - 1), jitter=st.floats(0.8, 1.2))
def test_waits_grow_from_five_seconds_to_eight_hours(attempt: int, jitter: float) -> None:
    wait_ms = retry_after_ms(attempt, jitter)
    assert wait_ms is not None
    assert 4_000 <= wait_ms <= 1.2 * 8 * 3_600_000
    following = retry_after_ms(attempt + 1, jitter)
    assert following is None or following >= wait_ms


def test_the_waits_are_five_seconds_times_three_each_time() -> None:
    waits = [retry_after_ms(attempt, 1.0) for attempt in range(1, MOST_ATTEMPTS + 1)]
    seconds = [5, 15, 45, 135, 405, 1215, 3645, 10935, 28800, 28800]
    assert waits == [*(1000 * second for second in seconds), None]


def test_what_cannot_help_is_not_tried_again(engine: Engine) -> None:
    open_alert(engine)
    phone = Inbox([DeliveryError("the server answered 550", retry_helps=False)])
    assert deliver(services_of(engine, Clock(), phone=phone)).failed == 1
    assert state_of(engine) == ["failed"]


def test_a_fault_of_a_notifier_loses_nothing(engine: Engine) -> None:
    open_alert(engine)
    phone, clock = Inbox([RuntimeError("canary")]), Clock()
    services = services_of(engine, clock, phone=phone)
    with capture_logs() as lines:
        assert deliver(services).again == 1
    assert lines[0]["event"] == "a notifier broke"
    clock.now_ms += 7_000
    assert deliver(services).sent == 1


def test_a_route_that_the_rules_file_no_longer_has_is_shown_as_failed(engine: Engine) -> None:
    open_alert(engine, routes=("gone",))
    assert deliver(services_of(engine, Clock())).failed == 1
    assert state_of(engine, "result") == ["the rules file has no route 'gone'"]


def test_a_route_that_waits_for_its_secret_loses_nothing_however_long_it_takes(engine: Engine) -> None:
    route = "hook: {kind: webhook, url: 'https://example.com/', secret_env: NONE}"
    rules = template("rules.yaml") + f"\nroutes:\n  {route}\n"
    with write(engine) as connection:
        store_plant(connection, template("plant.yaml"), rules, at_ms=NOW_MS)
    open_alert(engine, routes=("hook",))
    clock, hook = Clock(), Inbox()
    with capture_logs() as lines:
        for _ in range(3 * MOST_ATTEMPTS):
            assert deliver(services_of(engine, clock)).failed == 0
            assert (state_of(engine), state_of(engine, "attempts")) == (["due"], [0])
            assert "not in use: its secret is missing" in state_of(engine, "result")[0]
            clock.now_ms += DAY_MS
    assert [line["event"] for line in lines] == ["not delivered, to be tried again"]
    assert deliver(services_of(engine, clock, hook=hook)).sent == 1
    assert (len(hook.messages), state_of(engine)) == (1, ["sent"])


def test_breaking_and_recovering_are_logged_once_each(engine: Engine) -> None:
    open_alert(engine)
    phone, clock = Inbox([down(), down(), down()]), Clock()
    services = services_of(engine, clock, phone=phone)
    with capture_logs() as lines:
        for _ in range(6):
            deliver(services)
            clock.now_ms += 60_000
    assert [line["event"] for line in lines] == ["not delivered, to be tried again", "delivered at last"]


def test_a_receiver_that_is_gone_is_told_nothing_more_until_the_files_change(engine: Engine) -> None:
    open_alert(engine, "FAN-1")
    open_alert(engine, "FAN-2")
    phone, clock = Inbox([RouteGoneError("the receiver answered 410")]), Clock()
    services = services_of(engine, clock, phone=phone)
    deliver(services)
    deliver(services)
    open_alert(engine, "FAN-3")
    deliver(services)
    assert len(phone.tried) == 1
    assert state_of(engine) == ["disabled"] * 3
    assert state_of(engine, "result") == ["the receiver answered 410"] * 3
    with write(engine) as connection:
        changed = template("rules.yaml") + "# another address\n"
        store_plant(connection, template("plant.yaml"), changed, at_ms=NOW_MS)
    open_alert(engine, "FAN-4")
    assert deliver(services).sent == 1


# Claims


def test_what_somebody_else_is_sending_is_left_alone_until_the_claim_lapses(engine: Engine) -> None:
    open_alert(engine)
    clock = Clock()

    class Dies(BaseException):
        pass

    class DiesWhileSending:
        def send(self, message: Message) -> None:
            raise Dies

    phone = Inbox()
    services = services_of(engine, clock, phone=DiesWhileSending())
    claim = delivery._claim(services, "phone")
    assert claim is not None
    with pytest.raises(Dies):
        delivery._attempt(services, claim)
    services = services_of(engine, clock, phone=phone)
    clock.now_ms += 59_000
    assert deliver(services).sent == 0
    clock.now_ms += 2_000
    assert deliver(services).sent == 1
    assert phone.messages == [claim.message]


def test_an_attempt_that_outlives_its_claim_does_not_undo_what_another_found_out(engine: Engine) -> None:
    open_alert(engine)
    clock = Clock()
    services = services_of(engine, clock, phone=Inbox())
    slow = delivery._claim(services, "phone")
    assert slow is not None
    clock.now_ms += 61_000
    assert deliver(services).sent == 1
    delivery._note(services, slow, delivery.Outcome.AGAIN, "too late")
    assert state_of(engine) == ["sent"]


def test_two_runs_at_once_send_everything_once(engine: Engine) -> None:
    storm(engine, delivery.GROUP_ABOVE)
    phone = Inbox()
    services = services_of(engine, Clock(), phone=phone)
    runs = [threading.Thread(target=deliver, args=(services,)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len({message.id for message in phone.messages}) == len(phone.messages) == delivery.GROUP_ABOVE


def test_a_route_that_hangs_does_not_hold_up_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_S", 0.2)
    released = threading.Event()

    class Hanging:
        def send(self, message: Message) -> None:
            released.wait(60)

    open_alert(engine, "FAN-1", routes=("hanging", "phone"))
    phone, clock = Inbox(), Clock()
    services = services_of(engine, clock, phone=phone, hanging=Hanging())
    assert deliver(services).under_way >= 1
    wait_for(lambda: len(phone.messages) == 1)
    open_alert(engine, "FAN-2", routes=("hanging", "phone"))
    assert deliver(services).under_way >= 1
    wait_for(lambda: len(phone.messages) == 2)
    released.set()
    for worker in threading.enumerate():
        if worker.name.startswith("deliver "):
            worker.join()
    assert state_of(engine) == ["sent"] * 4


CHILD = """
import os, signal, sys
from types import SimpleNamespace
from pdm import deliver as delivery
from pdm.state.schema import open_state

url, told, when, now_ms = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Phone:
    def send(self, message):
        if when == "before sending":
            die()
        with open(told, "a") as file:
            file.write(f"{message.id} {message.body.hex()}\\n")
        if when == "after sending":
            die()

if when == "after noting":
    note = delivery._note
    delivery._note = lambda *given: (note(*given), die())
delivery.PATIENCE_S = 60  # the kill is to come before the end, however slow this machine is
clock = SimpleNamespace(wall_ms=lambda: int(now_ms))
delivery.deliver(SimpleNamespace(
    engine=open_state(url), clock=clock, notifiers={"phone": Phone()}, public_url="https://pdm.test"))
"""


def kill_while_delivering(engine: Engine, told: Path, when: str, now_ms: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(engine.url), str(told), when, str(now_ms)]
    environment = {**os.environ, "PYTHONPATH": str(Path(delivery.__file__).parents[2])}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr


def check_kill(engine: Engine, tmp_path: Path, when: str, serial: str) -> None:
    alert_id = open_alert(engine, serial)
    told = tmp_path / serial
    kill_while_delivering(engine, told, when, NOW_MS)
    phone = Inbox()
    again = deliver(services_of(engine, Clock(NOW_MS + 61_000), phone=phone)).sent
    before = told.read_text().splitlines() if told.exists() else []
    attempts = [*before, *(f"{message.id} {message.body.hex()}" for message in phone.messages)]
    assert (len(before), again) == {"before sending": (0, 1), "after sending": (1, 1), "after noting": (1, 0)}[when]
    assert len(set(attempts)) == 1
    assert attempts[0].startswith(derived_id("delivery", alert_id, 1, "phone"))


@pytest.mark.parametrize("when", ["before sending", "after sending", "after noting"])
def test_a_kill_loses_nothing_and_what_is_sent_again_is_the_same(engine: Engine, tmp_path: Path, when: str) -> None:
    check_kill(engine, tmp_path, when, "FAN-1")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_kills_between_sending_and_noting(engine: Engine, tmp_path: Path) -> None:
    for number in range(100):
        check_kill(engine, tmp_path, "after sending", f"FAN-{number}")


# Storms


def storm(engine: Engine, count: int, first: int = 0) -> None:
    with write(engine) as connection:
        for number in range(first, first + count):
            put_alert(connection, f"FAN-{number:05}", ["phone"], "shift")


def test_ten_alerts_at_once_are_ten_messages_and_eleven_are_one(engine: Engine) -> None:
    phone, clock = Inbox(), Clock()
    services = services_of(engine, clock, phone=phone)
    storm(engine, 10)
    assert deliver(services).sent == 10
    storm(engine, 11, first=10)
    assert deliver(services).sent == 1
    assert state_of(engine) == ["sent"] * 21


def test_the_message_of_a_storm_lists_every_member_with_its_id_the_most_urgent_first(engine: Engine) -> None:
    storm(engine, 11)
    with write(engine) as connection:
        put_alert(connection, "PUMP-9", ["phone"], "now")
    phone = Inbox()
    deliver(services_of(engine, Clock(), phone=phone))
    (message,) = phone.messages
    assert message.subject == "[now] Our plant: 12 alerts at once (1 now, 11 shift)"
    lines = message.text.splitlines()
    assert lines[2] == "[now] Hall 3: Bearing wear of PUMP-9, likely 10-27 Jun (opened)"
    assert len(lines) == 2 + 12 + 2
    members = orjson.loads(message.body)["data"]["members"]
    assert members[0]["serial"] == "PUMP-9"
    assert sorted(member["delivery"] for member in members) == state_of(engine, "id")


def test_after_a_storm_a_route_stays_quiet_for_five_minutes(engine: Engine) -> None:
    phone, clock = Inbox(), Clock()
    services = services_of(engine, clock, phone=phone)
    for minute in range(10):
        storm(engine, 20, first=20 * minute)
        deliver(services)
        clock.now_ms += 60_000
    members = [orjson.loads(message.body)["data"]["members"] for message in phone.messages]
    assert [len(listed) for listed in members] == [20, 100]
    clock.now_ms += 60_000
    deliver(services)
    assert len(phone.messages) == 3
    assert state_of(engine) == ["sent"] * 200


def test_a_storm_that_does_not_get_through_is_tried_again_as_it_was(engine: Engine) -> None:
    storm(engine, 12)
    phone, clock = Inbox([down()]), Clock()
    services = services_of(engine, clock, phone=phone)
    assert deliver(services).again == 1
    assert sorted(state_of(engine)) == ["due", *["grouped"] * 11]
    storm(engine, 1, first=12)
    clock.now_ms += 7_000
    assert deliver(services).sent == 1
    assert len(orjson.loads(phone.messages[0].body)["data"]["members"]) == 12
    clock.now_ms += 300_000
    deliver(services)
    assert len(phone.messages) == 2
    assert state_of(engine) == ["sent"] * 13


def test_a_storm_that_fails_for_good_shows_every_member_as_failed(engine: Engine) -> None:
    storm(engine, 12)
    deliver(services_of(engine, Clock(), phone=Inbox([DeliveryError("no", retry_helps=False)])))
    assert state_of(engine) == ["failed"] * 12


def test_ten_thousand_alerts_are_one_message_that_lists_them_all(engine: Engine) -> None:
    rows, sends = [], []
    for number in range(10_000):
        alert_id = derived_id("alert", number)
        rows.append(
            {
                "id": alert_id,
                "revision": number,
                "serial": f"S{number}",
                "target": "any",
                "rule": "silent",
                "state": "open",
                "severity": "shift",
                "opened_ms": NOW_MS,
                "updated_ms": NOW_MS,
                "title": f"S{number} is silent",
                "plant_version": "1",
                "facts": {},
            }
        )
        sends.append({"id": f"d{number}", "alert_id": alert_id, "ordinal": 1, "route": "phone", "state": "due"})
    with write(engine) as connection:
        connection.execute(insert(alerts), rows)
        told = [{"alert_id": row["id"], "ordinal": 1, "kind": "opened", "at_ms": NOW_MS} for row in rows]
        said = {"who": "pdm-twin", "reason": "silent", "severity": "shift"}
        connection.execute(insert(transitions), [{**row, **said} for row in told])
        connection.execute(insert(deliveries), [{**row, "attempts": 0, "due_ms": NOW_MS} for row in sends])
    phone = Inbox()
    assert deliver(services_of(engine, Clock(), phone=phone)).sent == 1
    assert len(orjson.loads(phone.messages[0].body)["data"]["members"]) == 10_000
    assert set(state_of(engine)) == {"sent"}
