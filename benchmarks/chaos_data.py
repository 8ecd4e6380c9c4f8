"""Drills of bad data: what comes twice, late, from the future, as no number, or under strange names."""

import csv
import json
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import httpx2
import numpy as np

from benchmarks.chaos_load import batches
from benchmarks.chaos_outage import on_influx
from benchmarks.chaos_terms import Terms, all_of, none, sound
from benchmarks.report import Figure
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ServiceClock
from pdm.errors import ConfigurationError
from pdm.plant.file import parse_plant
from tests.system.service import DAY_MS, PLANT, Service, audit, looked_for, message, wait_until
from tests.system.test_bad_messages import BAD, BREAKS_ITS_BODY


def d1(folder: Path, terms: Terms) -> list[Figure]:
    """Each reading comes 1 to 100 times, in any order, with a kill in the middle."""
    random = np.random.default_rng(terms.seed)
    numbers = np.repeat(np.arange(400), random.integers(1, 101, 400))
    random.shuffle(numbers)
    base_ms = ServiceClock().plant_ms() - 5 * DAY_MS
    sources = np.array(["p1", "p2", "f1"])[numbers % 3].tolist()
    with Service(folder) as service:
        service.start()
        for half in (slice(0, len(numbers) // 2), slice(len(numbers) // 2, None)):
            for some in batches([*zip(numbers[half].tolist(), sources[half], strict=True)], 200):
                service.post([message(number, base_ms, source=source) for number, source in some])
            service.kill()
            service.start()
        wait_for_steps(service, "P-1", len(range(0, 400, 3)))
        service.stop()
        sent = {source: sorted(set(numbers[np.array(sources) == source].tolist())) for source in ("p1", "p2", "f1")}
        found = audit(service.data, sent, sent)
    return [Figure("D1.sent", "messages of 400 readings", len(numbers)), *sound("D1", found)]


def d2(folder: Path, terms: Terms) -> list[Figure]:
    """A week of readings in any order, then others that come too late, and an event of long ago."""
    random, count = np.random.default_rng(terms.seed), 2_000
    now_ms = ServiceClock().plant_ms()
    base_ms, sent = now_ms - 5 * DAY_MS, list[int](range(count))
    with Service(folder) as service:
        service.start()
        for some in batches(random.permutation(count).tolist(), 100):
            service.post([message(number, base_ms, source="p1") for number in some])
        too_late = [
            message(10**6 + number, now_ms - 40 * DAY_MS - 30_000 * 10**6, source="p1") for number in range(100)
        ]
        answer = service.post(too_late).json()
        event = {"serial": "P-1", "kind": "repaired", "mode": "die", "at": "2020-01-01T00:00:00Z", "who": "Ada"}
        told = service.post(event, path="events")
        wait_for_steps(service, "P-1", count)
        kept = service.get("events", serial="P-1")["items"]
        service.stop()
        found = audit(service.data, {"p1": sent, "p2": [], "f1": []}, {"p1": sent})
        with closing(ReadingLog(service.data / "readings")) as log:
            late = log.counts().late
    return [
        *sound("D2", found),
        all_of("D2.late", "of 100 readings of 40 days ago kept apart and counted", min(answer["late"], late), 100),
        all_of("D2.event", f"an event of 2020 is kept: {told.status_code}", float(len(kept)), 1),
    ]


def d3(folder: Path, terms: Terms) -> list[Figure]:
    """Clocks that run ahead, were never set, or count in other units."""
    now_ms = ServiceClock().plant_ms()
    cases = {
        now_ms + 30_000: "",
        now_ms + 4 * 60_000: "",
        now_ms + 6 * 60_000: "in_the_future",
        now_ms + 365 * DAY_MS: "in_the_future",
        0: "before_1990",
        now_ms // 1000: "before_1990",
        now_ms * 1000: "in_the_future",
        now_ms * 1_000_000: "in_the_future",
        now_ms - 1000: "",
    }
    with Service(folder) as service:
        service.start()
        wrong = []
        for ts, reason in cases.items():
            answer = service.post({"source": "p1", "ts": ts, "values": {"number": 1}}).json()
            if [problem["reason"] for problem in answer["problems"]] != [reason] * bool(reason):
                wrong.append(f"{ts}: {answer}")
        wait_for_steps(service, "P-1", 1)  # those of the next minutes are steps when their time has come
        service.stop()
        with closing(ReadingLog(service.data / "readings")) as log:
            ahead = int((log.window("press", ["p1"], 0, 2**60).time_ms > now_ms + 5 * 60_000).sum())
    return [
        none("D3.wrong", " ".join([f"of {len(cases)} times treated otherwise than expected", *wrong]), len(wrong)),
        none("D3.ahead", "readings stored that lie in the future", ahead),
    ]


def d4(folder: Path, terms: Terms) -> list[Figure]:
    """What is no number, or hardly one."""
    odd = ["-0.0", "1e30", "-1e30", "5e-324", "0.1e1", "123456789012345678901234567890", "null"]
    base_ms = ServiceClock().plant_ms() - DAY_MS
    with Service(folder, plant=PLANT.replace("range: [0, 1e9]", "range: [-1e30, 1e30]")) as service:
        service.start()
        wrong = []
        for name, bad in BAD.items():
            if name == "ten megabytes":
                continue
            body = bad.payload if name in BREAKS_ITS_BODY else b'{"source": "p1", ' + bad.payload[1:]
            answer = service.post(body)
            said = answer.text if answer.status_code == 422 else json.dumps(answer.json().get("problems"))
            if answer.status_code not in (207, 422) or (answer.status_code == 207 and bad.reason not in said):
                wrong.append(f"{name}: {answer.status_code} {said[:100]}")
        stored = 0
        for number, text in enumerate(odd):
            odd_body = f'{{"source": "p1", "ts": {base_ms + number}, "values": {{"number": {text}}}}}'
            stored += service.post(odd_body.encode()).json()["stored"]
        wait_for_steps(service, "P-1", len(odd) - 1)
        pages = ("assets", "assets/P-1", "assets/P-1/twin", "assets/P-1/readings", "dead-letters", "runs")
        invalid = sum(not _is_json(service.text(f"api/v1/{page}")) for page in pages)
        service.stop()
    return [
        none("D4.wrong", " ".join([f"of {len(BAD) - 1} messages without their reason", *wrong]), len(wrong)),
        all_of("D4.odd", "odd numbers that are numbers, taken", stored, len(odd)),
        none("D4.json", "answers that are no JSON as RFC 8259 has it", invalid),
    ]


STRANGE = (
    "hall/line#2",
    "a b  c",
    "\u05d0\u05d1\u05d2 12",
    "\U0001f3ed\U0001f527",
    "x" * 300,
    "'; DROP TABLE events; --",
    'r["_value"] == "1" |> drop()',
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x")',
    "@SUM(1,2)",
    "%2e%2e%2fetc",
)
REFUSED = ("back\\slash", "two\nlines", "\u202egnp")


def d12(folder: Path, terms: Terms) -> list[Figure]:
    """Machines with strange names, stored in a real InfluxDB, shown and exported."""
    plant = PLANT + "".join(
        f"  - {{serial: {_quoted(name)}, class: press, slot: {_quoted('slot ' + name[:90])}, "
        f"source: {_quoted(name)}, start_of_life: unknown}}\n"
        for name in STRANGE
    )
    refused = sum(_is_refused(name) for name in REFUSED)
    base_ms, wrong = ServiceClock().plant_ms() - DAY_MS, list[str]()
    with on_influx(folder, plant=plant) as (service, _, _):
        for name in STRANGE:
            service.post([message(number, base_ms, source=name) for number in range(3)])
        for name in STRANGE:
            if why := _wrong_with(service, name):
                wrong.append(f"{name[:30]!r}: {why}")
        exported = service.run("export", "readings", str(folder / "all.csv"), "--class", "press", "--format", "csv")
        if exported.returncode:
            raise RuntimeError(exported.stderr[-400:])
        with (folder / "all.csv").open(newline="") as file:
            rows = [row["source"] for row in csv.DictReader(file)]
        formulas = sum(row[:1] in ("=", "+", "-", "@") for row in rows)
        service.stop()
    return [
        none("D12.wrong", " ".join([f"of {len(STRANGE)} names not stored, shown or escaped", *wrong]), len(wrong)),
        all_of("D12.exported", "rows exported", len(rows), 3 * len(STRANGE)),
        none("D12.formulas", "of them formulas", formulas),
        all_of(
            "D12.refused", "names with a backslash, line break or override of direction refused", refused, len(REFUSED)
        ),
    ]


def _wrong_with(service: Service, name: str) -> str:
    path = quote(name, safe="")
    if not looked_for(lambda: service.get(f"assets/{path}/twin")["steps"] == 3):
        return "no steps"
    shown = service.get(f"assets/{path}")
    kept = service.get(f"assets/{path}/readings", start=_instant(ServiceClock().plant_ms() - 2 * DAY_MS))
    page = httpx2.get(f"{service.address}/assets/{path}", headers={"accept": "text/html"}, verify=False, timeout=60)
    if shown["serial"] != name or kept["sensors"]["number"]["values"] != [0.0, 1.0, 2.0]:
        return "another serial, or other readings"
    if page.status_code != 200:
        return f"page {page.status_code}"
    return "not escaped" if "<script>alert(1)" in page.text else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _is_refused(name: str) -> bool:
    said = _quoted(name)
    line = f"  - {{serial: {said}, class: press, slot: x, source: {said}, start_of_life: unknown}}\n"
    try:
        parse_plant(PLANT + line)
    except ConfigurationError:
        return True
    return False


def _instant(at_ms: int) -> str:
    return str(np.datetime_as_string(np.datetime64(at_ms, "ms"))) + "Z"


def _is_json(text: str) -> bool:
    def refuse(_: str) -> None:
        raise ValueError

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def wait_for_steps(service: Service, serial: str, count: int) -> None:
    """Until a machine has so many."""
    wait_until(lambda: service.get(f"assets/{serial}/twin")["steps"] >= count, f"{serial} has no {count} steps")
