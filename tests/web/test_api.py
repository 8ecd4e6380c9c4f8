"""The resources: what they hold, how they are paged, cached and written."""

import csv
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from pdm.errors import StoreError
from pdm.ports import StoreCounts
from pdm.services import Services
from pdm.state.ledger import begin_run, end_run
from pdm.state.schema import interventions, open_state, write
from pdm.tick import tick
from pdm.web import snapshot
from pdm.web.api import answers
from tests.small_plant import HOUR, feed, readings
from tests.web.station import AWKWARD, NOW

API = "/api/v1"
SAID = {"who": "Ada", "reason": "belt ordered"}


def items(client: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{API}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def first(client: TestClient, path: str, serial: str = "F-1") -> dict[str, Any]:
    return items(client, path, serial=serial)[0]


def pages(client: TestClient, path: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Every page of a list."""
    while True:
        page = client.get(f"{API}/{path}", params=query).json()
        yield page
        if page["next"] is None or not page.get("items", page.get("rows")):
            return
        query["cursor"] = page["next"]


# Machines


def test_an_awkward_serial_is_an_asset_like_any_other(client: TestClient) -> None:
    encoded = quote(AWKWARD, safe="")
    for rest in ("", "/latest", "/twin/history", "/readings"):
        assert client.get(f"{API}/assets/{encoded}{rest}").status_code == 200
    assert client.get(f"{API}/assets/{encoded}").json()["serial"] == AWKWARD


def test_a_slash_that_is_not_encoded_parts_the_path(client: TestClient) -> None:
    assert client.get(f"{API}/assets/{quote(AWKWARD)}").status_code == 404


def test_a_slot_leads_to_who_sits_there(client: TestClient) -> None:
    answer = client.get(f"{API}/slots/{quote('slot/é', safe='')}")
    assert answer.status_code == 307
    assert client.get(answer.headers["location"]).json()["serial"] == AWKWARD
    assert client.get(f"{API}/slots/nowhere").status_code == 404


def test_machines_are_paged_by_serial_without_gap_or_repeat(client: TestClient) -> None:
    found = [row["serial"] for page in pages(client, "assets", limit=2) for row in page["rows"]]
    assert found == ["F-1", "F-2", "F-3", AWKWARD]


def test_the_group_of_a_machine_is_shown_with_it(client: TestClient) -> None:
    rows = client.get(f"{API}/assets").json()["rows"]
    assert {row["serial"]: row["group"] for row in rows if row["group"]} == {"F-2": "hot feed"}
    assert client.get(f"{API}/assets/F-2").json()["group"] == "hot feed"
    assert client.get(f"{API}/assets/F-1").json()["group"] is None


@pytest.mark.parametrize(
    ("query", "serials"),
    [
        ({"site": "Nord"}, ["F-1", "F-2"]),
        ({"line": "Line 2"}, ["F-2"]),
        ({"class": "pump"}, []),
        ({"attention": "now"}, ["F-1", "F-2"]),
        ({"attention": "blind"}, ["F-3", AWKWARD]),
        ({"search": "FAN-1"}, ["F-1"]),
        ({"search": "slot/É"}, [AWKWARD]),
        ({"in_service": "false"}, []),
    ],
)
def test_machines_are_filtered(client: TestClient, query: dict[str, str], serials: list[str]) -> None:
    assert [row["serial"] for row in client.get(f"{API}/assets", params=query).json()["rows"]] == serials


def test_who_loses_most_comes_first(client: TestClient) -> None:
    rows = client.get(f"{API}/assets", params={"order": "loss"}).json()["rows"]
    losses = [row["expected_loss"] for row in rows if row["expected_loss"] is not None]
    assert losses == sorted(losses, reverse=True)
    assert rows[-1]["expected_loss"] is None


def test_a_hot_answer_is_kept_as_bytes_until_something_changes(client: TestClient, services: Services) -> None:
    answer = client.get(f"{API}/assets/F-1/twin")
    etag = {"If-None-Match": answer.headers["etag"]}
    again = client.get(f"{API}/assets/F-1/twin", headers=etag)
    assert (again.status_code, again.content) == (304, b"")
    feed(services, readings("fan1", [480]))
    tick(services, NOW + HOUR)
    snapshot.expire(services)
    fresh = client.get(f"{API}/assets/F-1/twin", headers=etag)
    assert (fresh.status_code, fresh.json()["exposure"]) == (200, 481.0)


def test_readings_come_as_json_csv_and_arrow_and_say_the_same(client: TestClient) -> None:
    query = {"start": "2026-01-24T00:00:00Z", "end": "2026-01-24T02:00:00Z"}
    path = f"{API}/assets/F-1/readings"
    columns = client.get(path, params=query).json()
    table = pa.ipc.open_stream(io.BytesIO(client.get(path, params={**query, "format": "arrow"}).content)).read_all()
    rows = client.get(path, params={**query, "format": "csv"}).text.splitlines()
    assert len(columns["time_ms"]) == 6
    assert table["speed"].to_pylist() == columns["sensors"]["speed"]["values"]
    assert rows[0] == "time,speed,vibration"
    assert float(rows[1].split(",")[1]) == columns["sensors"]["speed"]["values"][0]
    assert columns["sensors"]["vibration"]["unit"] == "mm/s"


def test_thinned_readings_are_means(client: TestClient) -> None:
    query = {"start": "2026-01-24T00:00:00Z", "end": "2026-01-24T02:00:00Z", "sensor": "speed"}
    path = f"{API}/assets/F-1/readings"
    every = client.get(path, params=query).json()["sensors"]["speed"]["values"]
    hourly = client.get(path, params={**query, "every": "1 h"}).json()["sensors"]
    assert hourly["speed"]["values"] == pytest.approx([sum(every[:3]) / 3, sum(every[3:]) / 3])
    assert hourly["speed"]["low"] == [min(every[:3]), min(every[3:])]
    assert hourly["speed"]["high"] == [max(every[:3]), max(every[3:])]
    assert list(hourly) == ["speed"]


def test_more_stretches_than_can_be_shown_are_refused_before_anything_is_read(client: TestClient) -> None:
    query = {"start": "2026-01-24T00:00:00Z", "end": "2026-01-25T00:00:00Z", "every": "1 s"}
    assert len(client.get(f"{API}/assets/F-1/readings", params=query).json()["time_ms"]) == 72
    refused = client.get(f"{API}/assets/F-1/readings", params=query | {"start": "2026-01-22T00:00:00Z"})
    assert (refused.status_code, "at most 100,000 stretches" in refused.text) == (422, True)


def test_the_mirror_follows_what_arrives(client: TestClient, services: Services) -> None:
    assert client.get(f"{API}/assets/F-1/latest").json()["sync"] == "in_sync"
    assert client.get(f"{API}/assets/F-3/latest").json() == {
        "serial": "F-3",
        "sync": "offline",
        "read_at": None,
        "values": {"speed": None, "vibration": None},
    }
    services.clock.advance(NOW + 72 * HOUR)  # type: ignore[attr-defined]
    assert client.get(f"{API}/assets/F-1/latest").json()["sync"] == "stale"


# Readings in


def test_what_is_answered_with_success_is_stored_and_bad_messages_are_named(
    client: TestClient, services: Services
) -> None:
    before = services.readings.counts()
    good = {"source": "fan1", "ts": "2026-01-24T23:59:00Z", "values": {"speed": 1500.0}}
    answer = client.post(f"{API}/readings", json=[good, {**good, "source": "nobody"}, {"source": "fan1"}])
    assert answer.status_code == 207
    assert answer.json()["stored"] == 1
    assert [(problem["index"], problem["reason"]) for problem in answer.json()["problems"]] == [
        (1, "unknown_source"),
        (2, "missing_field"),
    ]
    after: StoreCounts = services.readings.counts()
    assert (after.readings - before.readings, after.dead_letters - before.dead_letters) == (1, 2)
    assert {letter["reason"] for letter in client.get(f"{API}/dead-letters").json()["items"]} >= {"unknown_source"}


def test_a_body_that_cannot_be_read_at_all_is_refused(client: TestClient) -> None:
    answer = client.post(f"{API}/readings", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_a_process_that_takes_no_readings_says_so(client: TestClient, services: Services) -> None:
    services.ingest = None
    answer = client.post(f"{API}/readings", json=[])
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


# Writing


def test_an_act_is_seen_by_the_next_reader(client: TestClient) -> None:
    alert = first(client, "alerts")
    assert client.get(f"{API}/assets/F-1").json()["alerts"][0]["state"] == "open"
    changed = client.post(f"{API}/alerts/{alert['id']}/acknowledge", json=SAID)
    assert [step["kind"] for step in changed.json()["transitions"]] == ["opened", "acknowledged"]
    assert client.get(f"{API}/assets/F-1").json()["alerts"][0]["state"] == "acknowledged"


def test_if_match_refuses_a_write_on_a_record_that_has_moved_on(client: TestClient) -> None:
    url = f"{API}/alerts/{first(client, 'alerts')['id']}"
    seen = client.get(url).headers["etag"]
    assert client.post(f"{url}/comment", json=SAID, headers={"If-Match": seen}).status_code == 200
    refused = client.post(f"{url}/acknowledge", json=SAID, headers={"If-Match": seen})
    assert refused.status_code == 412
    now = client.get(url).headers["etag"]
    accepted = client.post(f"{url}/acknowledge", json=SAID, headers={"If-Match": now})
    assert accepted.status_code == 200
    assert accepted.headers["etag"] == client.get(url).headers["etag"]
    garbage = client.post(f"{url}/comment", json=SAID, headers={"If-Match": '"nonsense"'})
    assert (garbage.status_code, garbage.json()["detail"]) == (
        412,
        'If-Match: expected the ETag of the record as it was read, such as "12"',
    )


def test_the_same_key_and_body_count_once_and_another_body_is_refused(client: TestClient) -> None:
    url = f"{API}/alerts/{first(client, 'alerts')['id']}/comment"
    key = {"Idempotency-Key": "phone-17"}
    told = client.post(url, json=SAID, headers=key)
    again = client.post(url, json=SAID, headers=key)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, told.content, told.headers["etag"])
    assert len(again.json()["transitions"]) == 2
    assert client.post(url, json={**SAID, "reason": "other"}, headers=key).status_code == 422


def test_an_answer_is_kept_for_a_day(client: TestClient, services: Services) -> None:
    given = answers.Answer(200, b"{}", 1)
    day_ms = 86_400_000
    with write(services.engine) as connection:
        answers.keep(connection, "old", "asked", given, 1)
        answers.keep(connection, "new", "asked", given, day_ms)
        assert answers.find(connection, "old", "asked") == given
        answers.keep(connection, "newer", "asked", given, day_ms + 2)
        assert answers.find(connection, "old", "asked") is None
        assert answers.find(connection, "new", "asked") == given


def test_a_failed_write_changes_nothing_and_its_key_can_be_used_again(client: TestClient) -> None:
    url = f"{API}/alerts/{first(client, 'alerts')['id']}/undo"
    key = {"Idempotency-Key": "k"}
    assert client.post(url, json={}, headers=key).status_code == 409
    client.post(url.replace("undo", "acknowledge"), json={})
    assert client.post(url, json={}, headers=key).status_code == 200


@pytest.mark.parametrize("extra", [{"state": "closed"}, {"revision": 1}, {"tenant": "x"}])
def test_a_field_that_is_not_declared_is_refused(client: TestClient, extra: dict[str, Any]) -> None:
    url = f"{API}/alerts/{first(client, 'alerts')['id']}/acknowledge"
    answer = client.post(url, json={**SAID, **extra})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == f"body.{next(iter(extra))}"


def test_a_parameter_that_is_not_declared_is_refused_with_those_that_are(client: TestClient) -> None:
    answer = client.get(f"{API}/prognoses", params={"limt": 3, "serial": "F-1", "since_": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    words = "is no parameter of this operation, which has serial, since, until, cursor, limit"
    assert answer.json()["errors"] == [{"where": f"query.{name}", "what": words} for name in ("limt", "since_")]
    for path in ("assets/F-1", "slots/FAN-1", "stream", "simulation"):
        answer = client.get(f"{API}/{path}", params={"x": 1})
        assert answer.json()["errors"][0]["what"] == "is no parameter of this operation, which has none"


@pytest.mark.parametrize(
    ("report", "where", "what"),
    [
        ({"serial": None}, "body.serial", "expected text"),
        ({"serial": "x" * 301}, "body.serial", "expected text of at most 300 characters"),
        ({"at": 5}, "body.at", "expected a time with its offset such as 2026-01-04T06:00:00Z"),
        ({"value": "much"}, "body.value", "expected a number"),
        ({"note": {}}, "body.note", "expected text"),
        ({"sort": 1}, "body.sort", "is no field of this operation; /docs names those that there are"),
    ],
)
def test_what_is_wrong_with_a_body_is_told_in_plain_words(
    client: TestClient, report: dict[str, Any], where: str, what: str
) -> None:
    event = {"serial": "F-1", "kind": "inspected", "at": "2026-01-20T14:00:00Z"}
    answer = client.post(f"{API}/events", json=event | report)
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"where": where, "what": what}])


# Alerts, recommendations, events, windows


def test_alerts_are_listed_by_state_and_machine(client: TestClient) -> None:
    assert {alert["serial"] for alert in items(client, "alerts")} == {"F-1", "F-2"}
    client.post(f"{API}/alerts/{first(client, 'alerts')['id']}/resolve", json=SAID)
    assert [alert["serial"] for alert in items(client, "alerts", state="resolved")] == ["F-1"]
    assert [alert["serial"] for alert in items(client, "alerts", state="open")] == ["F-2"]
    assert items(client, "alerts", state="closed") == []


def test_a_feed_is_read_in_pages_without_gap_or_repeat(client: TestClient) -> None:
    for name in ("alerts", "recommendations", "prognoses"):
        whole = [record["id"] for record in items(client, name)]
        by_one = [record["id"] for page in pages(client, name, limit=1) for record in page["items"]]
        assert by_one == whole
        assert len(whole) == len(set(whole)) > 1


def test_a_swap_reported_through_the_api_is_known_at_once(client: TestClient) -> None:
    report = {"serial": "F-1", "kind": "replaced", "by_serial": "F-9", "at": "2026-01-24T20:00:00Z", "who": "Ben"}
    stored = client.post(f"{API}/events", json=report)
    assert stored.status_code == 201
    assert client.get(f"{API}/slots/FAN-1").headers["location"].endswith("/F-9")
    assert client.get(f"{API}/assets/F-9").json()["twin"] is None
    assert client.get(f"{API}/assets/F-9/twin").status_code == 404
    voided = client.post(f"{API}/events/{stored.json()['id']}/void", json=SAID).json()
    assert (voided["voided"], voided["voided_by"]) == (True, SAID["who"])
    assert client.get(f"{API}/slots/FAN-1").headers["location"].endswith("/F-1")
    assert [event["kind"] for event in items(client, "events", serial="F-9")] == ["replaced"]


def test_the_feed_of_windows_goes_on_from_where_a_pull_ended(client: TestClient) -> None:
    start = client.get(f"{API}/interventions").json()
    assert ({window["serial"] for window in start["items"]}, start["more"]) == ({"F-1", "F-2"}, False)
    quiet = client.get(f"{API}/interventions", params={"cursor": start["next"]}).json()
    assert (quiet["items"], quiet["next"]) == ([], start["next"])
    changed = start["items"][0]["id"]
    client.post(f"{API}/interventions/{changed}/reject", json=SAID)
    pulled = client.get(f"{API}/interventions", params={"cursor": start["next"]}).json()
    assert [(window["id"], window["status"]) for window in pulled["items"]] == [(changed, "rejected")]


def test_the_feed_of_windows_answers_not_modified_until_something_changes(client: TestClient) -> None:
    etag = {"If-None-Match": client.get(f"{API}/interventions").headers["etag"]}
    assert client.get(f"{API}/interventions", headers=etag).status_code == 304
    assert client.get(f"{API}/interventions?limit=1", headers=etag).status_code == 200
    client.post(f"{API}/interventions/{first(client, 'interventions')['id']}/accept", json=SAID)
    assert client.get(f"{API}/interventions", headers=etag).status_code == 200


def test_windows_are_filtered_by_status_and_time(client: TestClient) -> None:
    client.post(f"{API}/interventions/{first(client, 'interventions')['id']}/accept", json=SAID)
    assert [w["serial"] for w in items(client, "interventions", status="accepted")] == ["F-1"]
    assert len(items(client, "interventions", status=["accepted", "proposed"])) == 2
    assert items(client, "interventions", updated_since="2026-02-01T00:00:00Z") == []


def test_windows_as_csv_are_data_to_a_spreadsheet(client: TestClient, services: Services) -> None:
    with write(services.engine) as connection:
        connection.execute(update(interventions).values(attention='=HYPERLINK("https://evil.example")'))
    snapshot.expire(services)
    answer = client.get(f"{API}/interventions", params={"format": "csv", "limit": 1})
    header, row = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/csv")
    assert header.startswith("id,revision,updated_at,status,serial,")
    assert "Nord; Water" in row
    assert "'=HYPERLINK" in row
    assert 'rel="next"' in answer.headers["link"]


def test_windows_as_csv_carry_the_prices_of_their_json(client: TestClient) -> None:
    (row,) = csv.DictReader(io.StringIO(client.get(f"{API}/interventions", params={"format": "csv", "limit": 1}).text))
    window = first(client, "interventions", serial=row["serial"])
    for edge in ("earliest", "preferred", "latest"):
        assert float(row[f"cost.{edge}"]) == window["cost"][edge] > 0
    assert row["currency"] == window["currency"] == "EUR"


def test_a_second_work_order_is_refused_with_a_pointer_to_the_first(client: TestClient) -> None:
    url = f"{API}/interventions/{first(client, 'interventions')['id']}/external"
    assert client.put(f"{url}/maximo", json={"number": "WO-1"}).status_code == 200
    refused = client.put(f"{url}/sap", json={"number": "40001"})
    assert refused.status_code == 409
    assert refused.json()["existing"]["number"] == "WO-1"


def test_the_loop_is_closed_with_what_was_found(client: TestClient) -> None:
    url = f"{API}/interventions/{first(client, 'interventions')['id']}"
    finding = {"started_at": "2026-01-24T08:00:00Z", "finished_at": "2026-01-24T12:00:00Z", "found": "frayed"}
    assert client.post(f"{url}/status", json={"status": "done"}).status_code == 422
    done = client.post(f"{url}/status", json={"status": "done", "outcome": finding, **SAID}).json()
    assert (done["status"], done["outcome"]["found"], done["outcome"]["finished_at"]) == (
        "done",
        "frayed",
        "2026-01-24T12:00:00Z",
    )
    assert client.post(f"{url}/status", json={"status": "scheduled"}).status_code == 409


# Operation


def test_runs_are_listed_newest_first(client: TestClient, services: Services) -> None:
    with write(services.engine) as connection:
        for scheduled in (1000, 2000):
            begin_run(connection, "tick", scheduled, scheduled)
        end_run(connection, "tick", 1000, 1500, "done", "4 machines")
    runs = items(client, "runs")
    assert [(run["outcome"], run["detail"]) for run in runs] == [("running", None), ("done", "4 machines")]


def test_runs_dead_letters_and_the_history_of_a_machine_are_read_in_pages(
    client: TestClient, services: Services
) -> None:
    with write(services.engine) as connection:
        for job in ("tick", "train"):
            begin_run(connection, job, 1000, 1000)
    client.post(f"{API}/readings", json=[{"source": "nobody"}, {"source": "fan1"}])
    for path in ("runs", "dead-letters", "assets/F-1/twin/history"):
        whole = items(client, path)
        assert [record for page in pages(client, path, limit=1) for record in page["items"]] == whole
        assert len(whole) > 1
    assert [letter["reason"] for letter in items(client, "dead-letters", reason="missing_field", limit=1)] == [
        "missing_field"
    ]


def test_a_real_plant_has_no_simulation_to_control(client: TestClient) -> None:
    assert client.get(f"{API}/simulation").status_code == 404
    assert client.post(f"{API}/simulation", json={"paused": True}).status_code == 404


def test_ready_means_that_the_state_answers_and_degraded_names_the_rest(
    client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> StoreCounts:
        raise StoreError("the disk is full")

    assert client.get("/readyz").json() == {"status": "ready", "degraded": []}
    services.failing["tick"] = "the disk is full"
    assert client.get("/readyz").json()["degraded"] == ["tick fails: the disk is full"]
    monkeypatch.setattr(services.readings, "counts", broken)
    assert client.get("/readyz").json()["status"] == "degraded"
    assert client.get("/metrics").status_code == 200


def test_a_state_that_does_not_answer_is_503_with_a_time_to_come_back(
    client: TestClient, services: Services, tmp_path: Path
) -> None:
    other = open_state(f"sqlite:///{tmp_path / 'other.db'}")
    with write(other) as connection:
        connection.exec_driver_sql("DROP TABLE meta")
    services.engine = other
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_an_outage_is_said_once_and_not_for_every_request(
    client: TestClient, app: FastAPI, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[object]()
    app.state.told_unavailable.clear()

    def full(_: bytes) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(services.ingest, "accept", full)
    monkeypatch.setattr("pdm.web.problems.log.error", lambda *told: said.append(str(told[-1])))
    for _ in range(5):
        assert client.post(f"{API}/readings", content=b"{}").status_code == 503
    assert said == ["the disk is full"]


def test_without_a_plant_the_api_says_what_to_do(client: TestClient, services: Services, tmp_path: Path) -> None:
    services.engine = open_state(f"sqlite:///{tmp_path / 'empty.db'}")
    answer = client.get(f"{API}/assets")
    assert answer.status_code == 404
    assert "pdm-twin init" in answer.json()["detail"]
    assert client.get("/metrics").status_code == 200


def test_metrics_count_requests_by_route_and_never_by_machine(client: TestClient) -> None:
    client.get(f"{API}/assets/F-1/twin")
    shown = client.get("/metrics").text
    assert 'route="/assets/{serial}/twin",status="200"' in shown
    assert 'pdm_alerts{severity="now",state="open"} 2.0' in shown
    assert 'pdm_assets{basis="declared_life",class="fan"} 2.0' in shown
    assert "F-1" not in shown
    assert "fan1" not in shown


def test_people_and_the_tick_can_write_at_the_same_time(client: TestClient, services: Services) -> None:
    alert = first(client, "alerts")["id"]
    feed(services, readings("fan1", range(480, 490)))
    ticking = threading.Thread(target=lambda: [tick(services, NOW + hour * HOUR) for hour in range(1, 10)])
    ticking.start()
    told = [client.post(f"{API}/alerts/{alert}/comment", json=SAID).status_code for _ in range(20)]
    ticking.join()
    assert told == [200] * 20
    kinds = [step["kind"] for step in client.get(f"{API}/alerts/{alert}").json()["transitions"]]
    assert kinds.count("commented") == 20


def test_what_the_state_cannot_hold_is_refused_or_kept_as_it_is(client: TestClient) -> None:
    alert = items(client, "alerts")[0]
    note = client.post(f"{API}/alerts/{alert['id']}/acknowledge", json={"who": "Ada", "reason": "belt\x00ordered"})
    assert note.status_code in (200, 422)  # PostgreSQL has no place for a NUL
    assert client.get(f"{API}/alerts/%00").status_code in (404, 422)
    assert client.get("/assets/%00", headers={"accept": "text/html"}).status_code in (404, 422)
