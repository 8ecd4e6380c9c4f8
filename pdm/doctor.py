"""`pdm-twin doctor`: looks at everything that the service rests on, and says what is wrong and what to do.

It only looks: it may run beside the service, or before there is one. Each check says one thing; one that cannot be made
is a finding as well, never silence.
"""

import platform
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import lightgbm
from paho.mqtt.client import Client
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

import pdm
from pdm import wiring, words
from pdm.active_models import speaking
from pdm.adapters.model_folder import ModelFolders
from pdm.adapters.mqtt import new_client
from pdm.adapters.reading_log import ReadingLog
from pdm.applying import read_files, what_changes
from pdm.cohort import frame_name
from pdm.durations import DAY_MS, HOUR_MS
from pdm.errors import NotFoundError, PdmError
from pdm.ingest.bucket import map_measurement
from pdm.ingest_process import broker_link
from pdm.rules.ruleset import LogRoute
from pdm.settings import Settings
from pdm.state import migrations, schema
from pdm.state.cohorts import load_beliefs
from pdm.state.engines import database_file, opened_engine, refuse_damaged
from pdm.state.models import activations_of
from pdm.state.plants import CurrentPlant, current_plant
from pdm.state.widenings import widening_of

BROKER_S = 5.0
FEW_DAYS = 30
LATE_TICKS = 10 * 60_000
SAFE_SQLITE = (3, 44, 6)  # older ones may damage a database in rare cases when several processes tidy its journal


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` says what to do about it."""

    level: Level
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n{'':9}{self.remedy}" if self.remedy else ""
        return f"{self.level:8} {self.what}: {self.found}{remedy}"


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, the ground first."""
    yield _versions()
    yield from _guarded("plant and rules file", lambda: _files(settings))
    yield from _guarded("exposure", lambda: _exposure(settings))
    yield from _guarded("broker", lambda: _broker(settings))
    yield from _guarded("state database", lambda: _state(settings))
    yield from _guarded("reading store", lambda: _readings(settings))
    yield from _guarded("adopted bucket", lambda: _adopted(settings))
    yield from _guarded("disk", lambda: _disk(settings.data_dir))
    yield _clock()


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (PdmError, SQLAlchemyError, sqlite3.Error, OSError) as error:
        yield Finding(Level.FAULT, what, str(error).splitlines()[0])


def _versions() -> Finding:
    names = f"pdm-twin {pdm.__version__}, Python {platform.python_version()}, LightGBM {lightgbm.__version__}"
    found = f"{names}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        return Finding(Level.OK, "versions", f"{found} (has a rare fault with several processes; ours write alone)")
    return Finding(Level.OK, "versions", found)


def _files(settings: Settings) -> Iterator[Finding]:
    files = read_files(settings.plant, settings.rules)
    assets = words.plural(len(files.plant.assets), "asset")
    yield Finding(Level.OK, "plant and rules file", f"{assets}, {words.plural(len(files.rules.rules), 'rule')}")
    reach = {name for name, route in files.rules.routes.items() if not isinstance(route, LogRoute)}
    routed = [rule.name for rule in files.rules.rules if reach.intersection(rule.routes)]
    if not routed:
        remedy = f"name a webhook or mail route in {settings.rules}, and the rules that use it"
        yield Finding(Level.WARNING, "routes", "no alert reaches a person: none leaves the log and the pages", remedy)
    else:
        yield Finding(Level.OK, "routes", f"{words.listed(sorted(reach))} for {words.plural(len(routed), 'rule')}")


def _exposure(settings: Settings) -> Iterator[Finding]:
    settings.check_exposure()
    keys = words.plural(len(settings.api_key_hashes()), "API key")
    yield Finding(Level.OK, "exposure", f"{settings.http.host}:{settings.http.port}, {keys}")


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.mqtt.enabled == "off":
        yield Finding(Level.OK, "broker", "not used: mqtt.enabled is off")
        return
    link = replace(broker_link(settings), client_id=f"doctor-{time.time_ns()}")
    where = f"{link.host}:{link.port}"
    answer = _knock(new_client(link))
    if answer == "Success":
        yield Finding(Level.OK, "broker", f"{where} answers and lets us in")
    else:
        level = Level.FAULT if settings.mqtt.enabled == "on" else Level.WARNING
        remedy = "see mqtt.host, mqtt.port, mqtt.username; without a broker readings come by HTTP and from files"
        yield Finding(level, "broker", f"{where}: {answer}", remedy)


def _knock(client: Client) -> str:
    """What the broker says to us."""
    answers: list[str] = []
    client.on_connect = lambda _, __, ___, code, ____: answers.append(str(code))
    try:
        client.reconnect()
        deadline = time.monotonic() + BROKER_S
        while not answers and time.monotonic() < deadline:
            client.loop(0.1)
        client.disconnect()
    except OSError as error:
        return str(error)
    return answers[0] if answers else f"no answer within {BROKER_S:g} s"


def _state(settings: Settings) -> Iterator[Finding]:
    url = settings.state_url()
    if (file := database_file(url)) is not None and not file.exists():
        yield Finding(Level.WARNING, "state database", f"{file} is not there yet", "run `pdm-twin apply`")
        return
    refuse_damaged(url)
    with opened_engine(url) as engine, schema.read(engine) as connection:
        version, newest = migrations.version_of(connection), migrations.known_versions()[-1]
        if version != newest:
            found = f"has schema {version or 'none'}, not {newest}"
            yield Finding(Level.WARNING, "state database", found, "`pdm-twin up` or `pdm-twin migrate` brings it there")
            return
        yield Finding(Level.OK, "state database", "answers, and is whole")
        yield from _plant(connection, settings)


def _plant(connection: Connection, settings: Settings) -> Iterator[Finding]:
    try:
        plant = current_plant(connection)
    except NotFoundError as error:
        yield Finding(Level.WARNING, "plant in force", str(error), "run `pdm-twin apply`")
        return
    changes = what_changes(connection, read_files(settings.plant, settings.rules)).sentences
    if changes:
        found = f"version {plant.number}; the files say {words.plural(len(changes), 'thing')} otherwise"
        yield Finding(Level.WARNING, "plant in force", found, "run `pdm-twin apply` to see and store them")
    else:
        yield Finding(Level.OK, "plant in force", f"version {plant.number}, as the files say")
    yield from _ticks(connection)
    yield from _models(connection, plant, settings)
    yield from _heard(connection, plant)
    yield from _deliveries(connection)


def _ticks(connection: Connection) -> Iterator[Finding]:
    runs = schema.runs
    of_ticks = select(runs).where(runs.c.job == "tick").order_by(runs.c.scheduled_ms.desc()).limit(1)
    last = connection.execute(of_ticks).first()
    now_ms = time.time_ns() // 1_000_000
    if last is None:
        yield Finding(Level.WARNING, "tick", "none has run yet", "start `pdm-twin up`")
    elif last.outcome == "failed":
        yield Finding(Level.FAULT, "tick", f"the last one failed: {last.detail}", "see the log of the service")
    elif now_ms - last.scheduled_ms > LATE_TICKS:
        ago = words.ago(last.scheduled_ms, now_ms)
        yield Finding(Level.FAULT, "tick", f"the last one was {ago}", "is `pdm-twin up` running?")
    elif last.scheduled_ms > now_ms + HOUR_MS:
        yield Finding(Level.FAULT, "tick", "the last one lies in the future", "the clock was set back: check NTP")
    else:
        yield Finding(Level.OK, "tick", f"{words.ago(last.scheduled_ms, now_ms)}: {last.detail or last.outcome}")


def _models(connection: Connection, plant: CurrentPlant, settings: Settings) -> Iterator[Finding]:
    for name, asset_class in plant.plant.classes.items():
        chosen = [row.version for row in activations_of(connection, name)]
        model, problem = speaking(ModelFolders(settings.model_folders()), asset_class, chosen)
        if problem is not None:
            yield Finding(Level.FAULT, f"model of {name}", str(problem), "activate another, or train again")
        elif model is None:
            yield Finding(Level.OK, f"model of {name}", "none: declared life and limits speak")
        else:
            kind = "alarm only, " if model.head is None else ""
            yield Finding(Level.OK, f"model of {name}", f"{model.version}, {kind}from {model.facts.failures} failures")
        widening = widening_of(connection, name, frame_name(model))
        if widening > 1.0:
            found = f"{widening:.2g} times as wide as the model says them: too few truths lay within them"
            yield Finding(Level.WARNING, f"bands of {name}", found, "train again on the lives that have ended since")


def _heard(connection: Connection, plant: CurrentPlant) -> Iterator[Finding]:
    for name, asset_class in plant.plant.classes.items():
        stored = load_beliefs(connection, name)
        if stored is None:
            continue
        before_ms = stored.at_ms - asset_class.stale_after_ms
        believed = stored.beliefs
        silent = believed.serial[believed.in_service & (believed.last_reading_ms < before_ms)].tolist()
        if silent:
            found = f"{len(silent)} of {len(believed.serial)} are silent, {words.listed(silent[:3])} among them"
            yield Finding(Level.WARNING, f"readings of {name}", found, "see `/api/v1/dead-letters` and the gateway")
        else:
            yield Finding(Level.OK, f"readings of {name}", "all machines in service are heard")


def _deliveries(connection: Connection) -> Iterator[Finding]:
    deliveries = schema.deliveries
    failed = deliveries.c.state == "failed"
    count = connection.execute(select(func.count()).select_from(deliveries).where(failed)).scalar_one()
    if count:
        routes = connection.execute(select(deliveries.c.route).distinct().where(failed)).scalars()
        found = f"{words.plural(count, 'message')} did not arrive by {words.listed(sorted(routes))}"
        yield Finding(Level.WARNING, "messages", found, "the Alerts page says why; check the address and its secret")


def _readings(settings: Settings) -> Iterator[Finding]:
    folder = settings.readings_folder()
    if not folder.is_dir():
        yield Finding(Level.WARNING, "reading store", f"{folder} is not there yet", "start `pdm-twin up`")
        return
    with closing(ReadingLog(folder)) as log:
        counts = log.counts()
    found = f"{counts.readings:,} readings, {counts.dead_letters:,} dead letters, {counts.late:,} late"
    if counts.damaged:
        yield Finding(Level.FAULT, "reading store", f"{counts.damaged} damaged batches are skipped", "check the disk")
    elif counts.dead_letters > counts.readings:
        yield Finding(Level.WARNING, "reading store", found, "`/api/v1/dead-letters` says who sends what, and why not")
    else:
        yield Finding(Level.OK, "reading store", found)
    if settings.influx.url is not None:
        wiring.ask_influx(settings)
        yield Finding(
            Level.OK, "InfluxDB", f"{settings.influx.url} answers and has the bucket {settings.influx.bucket}"
        )


def _adopted(settings: Settings) -> Iterator[Finding]:
    given = settings.adopt
    if given.url is None:
        return
    plant = read_files(settings.plant, settings.rules).plant
    with closing(wiring.foreign_bucket(given.url, given.org, given.bucket, settings.adopt_token())) as bucket:
        mapped = [map_measurement(bucket, name, plant) for name in given.measurements or bucket.measurements()]
    remarks = [remark for one in mapped for remark in one.remarks]
    sources = {source for one in mapped for source in one.sources}
    found = f"{given.bucket} holds readings of {words.plural(len(sources), 'source')}"
    if remarks:
        found += f"; {words.plural(len(remarks), 'remark')}, the first: {remarks[0].what}: {remarks[0].detail}"
    if sources:
        yield Finding(Level.OK, "adopted bucket", found)
    else:
        yield Finding(Level.FAULT, "adopted bucket", found, "`lines` in plant.yaml says what its names mean")


def _disk(folder: Path) -> Iterator[Finding]:
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    size, free = sum(stat.st_size for stat in files), shutil.disk_usage(folder if folder.exists() else ".").free
    days = (time.time() - min((stat.st_ctime for stat in files), default=time.time())) / (DAY_MS / 1000)
    left = free / (size / days) if days > 1 and size else float("inf")
    found = f"{folder} holds {size / 1e6:,.0f} MB, {free / 1e9:,.1f} GB are free"
    if left < FEW_DAYS:
        yield Finding(Level.WARNING, "disk", f"{found}: at this rate {left:,.0f} days", "retention, or a larger disk")
    else:
        yield Finding(Level.OK, "disk", found)


def _clock() -> Finding:
    remedy = "set up NTP: readings more than five minutes in the future are refused"
    try:
        asked = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        now = words.iso(time.time_ns() // 1_000_000)
        return Finding(Level.OK, "clock", f"{now}; whether NTP sets it cannot be told")
    if answer != "yes":
        return Finding(Level.WARNING, "clock", "is not set by NTP", remedy)
    return Finding(Level.OK, "clock", "is set by NTP")
