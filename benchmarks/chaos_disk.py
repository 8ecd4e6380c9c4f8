"""Drills of the disk: one that is full, and bytes on it that have changed."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, select, update

from benchmarks.chaos_terms import Terms, all_of, broker_in, none, sound
from benchmarks.report import Figure
from pdm.adapters import model_folder
from pdm.adapters.reading_log import LogCompactor, ReadingLog, ReadingLogWriter
from pdm.errors import ConfigurationError, DamagedModelError, StoreError
from pdm.readings import Readings
from pdm.state import schema
from pdm.state.engines import opened_engine, refuse_damaged
from pdm.state.migrations import known_versions, version_of
from pdm.state.schema import read, write
from tests.small_lives import FAN, fan_model
from tests.system import ticking
from tests.system.drill import Load, Sending, subscribe_once
from tests.system.service import Service, audit, wait_until
from tests.system.test_trouble import fill

PLACES = 200
DISK_MB = 64
RATE = 200.0


def c7(folder: Path, terms: Terms) -> list[Figure]:
    """A disk of 64 MB that somebody fills: under ingest and ticks, exports and backups, and a migration."""
    with _small_disk(folder / "disk") as disk:
        return [*_full_under_load(folder, disk), *_full_under_commands(folder, disk)]


def _full_under_load(folder: Path, disk: Path) -> list[Figure]:
    with broker_in(folder / "broker") as broker:
        subscribe_once(broker)
        settings = {"mqtt": {"enabled": "on", "port": broker.port}}
        with (
            Service(folder / "plant", settings, data=disk / "data") as service,
            closing(Load(service.start(), broker)) as load,
        ):
            processes = service.pid, service.ingest_pid
            sending = Sending(load, 10 * int(RATE), RATE)
            time.sleep(2)
            ballast = fill(disk)
            service.wait_for_event("pipeline failed")
            wait_until(
                lambda: any(line.get("what") == "reading store" for line in service.logged()), "ingest is silent"
            )
            time.sleep(10)
            told, ready = len(service.log_text().splitlines()), service.text("readyz")
            pages = service.get("assets/P-1")["serial"] == "P-1"
            ballast.unlink()
            sending.seconds()
            load.post_rest()
            service.wait_for_event("pipeline works again")
            wait_until(lambda: _stored(service) >= sum(map(len, load.sent.values())), "readings are missing")
            alive = processes == (service.pid, service.ingest_pid)
            service.stop()
            found = audit(service.data, load.sent, load.acknowledged)
    return [
        Figure(
            "C7.sent", "readings sent while the disk was full and before and after", sum(map(len, load.sent.values()))
        ),
        *sound("C7", found),
        all_of("C7.alive", "both processes are those from before, and pages answered", float(alive and pages), 1),
        Figure("C7.lines", "lines in the log until then", told, bar=30, better="lower"),
        all_of("C7.ready", "/readyz names the full disk", float("disk is full" in ready), 1),
    ]


def _full_under_commands(folder: Path, disk: Path) -> list[Figure]:
    service = Service(folder / "plant", data=disk / "data")
    url = f"sqlite:///{service.data / 'state.db'}"
    commands = {
        "export": ("export", "readings", str(disk / "press.parquet"), "--class", "press"),
        "export_steps": ("export", "steps", str(disk / "press.csv"), "--class", "press", "--format", "csv"),
        "backup": ("backup", str(disk / "b.tar")),
        "migrate": ("migrate", "--to", known_versions()[0], "--yes"),
        "migrate_up": ("migrate",),
    }
    figures = list[Figure]()
    for name, command in commands.items():
        before, ballast = _version(url), fill(disk)
        ended, there = service.run(*command), sorted(path.name for path in disk.iterdir())
        said = ended.returncode == 1 and ("full" in ended.stderr or "No space" in ended.stderr)
        ballast.unlink()
        clean = there == ["ballast", "data"] and _version(url) == before
        again = service.run(*command)
        for path in disk.glob("*.*"):
            path.unlink()
        what = f"`{' '.join(command[:2])}` on a full disk: says so, leaves nothing, works with room again"
        reason = "" if said and clean and not again.returncode else (ended.stderr + again.stderr)[-300:]
        passed = float(said) + float(clean) + float(again.returncode == 0)
        figures.append(Figure(f"C7.{name}", what, passed, bar=3, reason=reason))
    return figures


def c10(folder: Path, terms: Terms) -> list[Figure]:
    """One bit flipped at 200 places of each kind of file."""
    random = np.random.default_rng(terms.seed)
    ticking.prepared(folder / "prepared")
    return [
        *_flips_in_logs(folder / "log", random),
        *_flips_in_files(folder / "files", random),
        *_flips_in_checkpoints(folder, random),
        *_flips_in_models(folder / "models", random),
        *_flips_in_state(folder, random),
    ]


def _flips_in_logs(folder: Path, random: np.random.Generator) -> list[Figure]:
    with closing(ReadingLogWriter(folder / "http.db")) as writer:
        for number in range(100):
            writer.append({"fan": _numbered(number)})
    wrong, missing = _read_flipped(folder / "http.db", folder, random)
    return [
        none("C10.log.wrong", f"of {PLACES} flips in a log those that made other readings", wrong),
        none("C10.log.silent", "flips that lost readings without a word", missing),
    ]


def _flips_in_files(folder: Path, random: np.random.Generator) -> list[Figure]:
    with closing(ReadingLogWriter(folder / "http.db")) as writer:
        for number in range(100):
            writer.append({"fan": _numbered(number)})
    LogCompactor(folder).compact(2**62)
    (file,) = folder.rglob("*.parquet")
    wrong, missing = _read_flipped(file, folder, random)
    return [
        none("C10.parquet.wrong", f"of {PLACES} flips in a compacted file those that made other readings", wrong),
        none("C10.parquet.silent", "flips that lost readings without a word", missing),
    ]


def _read_flipped(file: Path, folder: Path, random: np.random.Generator) -> tuple[int, int]:
    """How many flips changed a reading, and how many lost some unnoticed."""
    wrong = silent = 0
    for _ in _flipped(file, random):
        try:
            with closing(ReadingLog(folder)) as log:
                found = log.window("fan", ["f1"], 0, 2**60)
                pairs = zip(found.time_ms.tolist(), found.values[:, 0].tolist(), strict=True)
                wrong += any(value != time_ms for time_ms, value in pairs)
                silent += len(found) < 100 and not log.counts().damaged
        except (StoreError, ConfigurationError):
            continue  # named, and refused
    return wrong, silent


def _flips_in_checkpoints(folder: Path, random: np.random.Generator) -> list[Figure]:
    """The twins are made again from their steps: the same state as of a tick that nothing had happened to."""
    unlike = 0
    expected = _worked(folder, lambda _: None)
    for _ in range(PLACES):
        unlike += _worked(folder, lambda engine: _flip_checkpoint(engine, random)) != expected
    return [
        none("C10.checkpoint", f"of {PLACES} flips in a checkpoint those after which a tick left another state", unlike)
    ]


def _worked(folder: Path, damage: Callable[[Engine], None]) -> object:
    """What a tick leaves, started on a state that something has happened to."""
    shutil.rmtree(folder / "cut", ignore_errors=True)
    shutil.copytree(folder / "prepared", folder / "cut")
    with opened_engine(f"sqlite:///{folder / 'cut' / 'state.db'}") as engine:
        damage(engine)
    return ticking.worked(folder / "cut")


def _flip_checkpoint(engine: Engine, random: np.random.Generator) -> None:
    table = schema.checkpoints
    with write(engine) as connection:
        newest = connection.execute(select(table.c.tick, table.c.body).order_by(table.c.tick.desc()).limit(1)).one()
        body = bytearray(newest.body)
        body[random.integers(len(body))] ^= 1 << int(random.integers(8))
        connection.execute(update(table).where(table.c.tick == newest.tick).values(body=bytes(body)))


def _flips_in_models(folder: Path, random: np.random.Generator) -> list[Figure]:
    version = model_folder.save(fan_model(), folder)
    files = sorted(version.iterdir())
    taken = 0
    for number in range(PLACES):
        for _ in _flipped(files[number % len(files)], random, 1):
            try:
                model_folder.load(version, FAN)
                taken += 1
            except DamagedModelError:
                continue
    return [none("C10.model", f"of {PLACES} flips in the files of a model those with which it was used", taken)]


def _flips_in_state(folder: Path, random: np.random.Generator) -> list[Figure]:
    """A state database that is damaged is refused at the start; what the check of SQLite cannot see is counted."""
    file = folder / "prepared" / "state.db"
    url = f"sqlite:///{file}"
    expected, refused, unseen = _all_rows(url), 0, 0
    for _ in _flipped(file, random):
        try:
            refuse_damaged(url)
        except StoreError:
            refused += 1
        else:
            unseen += _all_rows(url) != expected
    return [
        Figure("C10.state.refused", f"of {PLACES} flips in a state database those refused at the start", refused),
        none("C10.state.unseen", "flips that changed rows and are not refused", unseen),
    ]


def _all_rows(url: str) -> list[str]:
    with opened_engine(url) as engine, read(engine) as connection:
        return [repr(row) for table in schema.metadata.sorted_tables for row in connection.execute(select(table))]


def _flipped(file: Path, random: np.random.Generator, count: int = PLACES) -> Iterator[int]:
    """The file with one bit changed, at so many places in turn; sound again afterwards."""
    sound_bytes = file.read_bytes()
    for place in random.integers(len(sound_bytes) * 8, size=count).tolist():
        torn = bytearray(sound_bytes)
        torn[place // 8] ^= 1 << place % 8
        file.write_bytes(torn)
        yield place
    file.write_bytes(sound_bytes)


def _numbered(number: int) -> Readings:
    """A reading whose value is its time."""
    time_ms, source = np.array([number]), np.array(["f1"], dtype=object)
    return Readings(("number",), source, time_ms, np.array([[float(number)]]), np.zeros(1, dtype=np.uint8))


def _stored(service: Service) -> int:
    return sum(len(set(numbers)) for numbers in service.stored().values())


def _version(url: str) -> str:
    with opened_engine(url) as engine, read(engine) as connection:
        return version_of(connection)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, which only root can have."""
    if os.geteuid() != 0:
        raise PermissionError("only root can mount a small disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
