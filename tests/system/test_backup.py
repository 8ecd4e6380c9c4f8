"""A backup made while the service works, and brought back elsewhere, on the same kind of database or the other."""

import json
import tarfile
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ServiceClock
from pdm.readings import Readings
from pdm.services import Services
from pdm.state import schema
from pdm.state.schema import open_state, read
from pdm.tick import tick
from tests.databases import DATABASES, POSTGRESQL, SQLITE
from tests.system.conftest import Ended, Shell
from tests.system.service import DAY_MS, SOUND, Service, audit, message, stored_numbers, wait_until

BASE_MS = ServiceClock().plant_ms() - DAY_MS
SOURCES = ("p1", "p2", "f1")


class Gateway:
    """Sends numbered readings as fast as they are taken, and remembers which were."""

    def __init__(self, service: Service) -> None:
        self._service, self._stopping = service, Event()
        self.sent: dict[str, list[int]] = {source: [] for source in SOURCES}
        self.taken: dict[str, list[int]] = {source: [] for source in SOURCES}
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def taken_so_far(self) -> dict[str, list[int]]:
        return {source: list(numbers) for source, numbers in self.taken.items()}

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            for source in SOURCES:
                some = range(number, number + 5)
                self.sent[source] += some
                body = [message(each, BASE_MS, source=source) for each in some]
                if self._service.post(body).status_code == 200:
                    self.taken[source] += some
            number += 5


def place(folder: Path, url: str | None) -> Path:
    """A folder with settings of its own."""
    folder.mkdir()
    settings: dict[str, Any] = {"data_dir": str(folder / "data")}
    (folder / "pdm.yaml").write_text(json.dumps(settings | ({"state": {"url": url}} if url else {})))
    return folder


def ticked(service: Service) -> bool:
    return any((run["job"], run["outcome"]) == ("tick", "done") for run in service.get("runs")["items"])


def rows(url: str) -> dict[str, list[str]]:
    """What a state database holds, in comparable form."""
    engine = open_state(url)
    with read(engine) as connection:
        found = {
            name: sorted(map(repr, connection.execute(select(table)))) for name, table in schema.metadata.tables.items()
        }
    engine.dispose()
    return found


def url_on(kind: str, file: Path) -> str:
    DATABASES.kind = kind
    return DATABASES.url(file)


@pytest.fixture
def backed_up(tmp_path: Path, shell: Shell) -> Path:
    """A backup of a service that ticked once."""
    with Service(tmp_path / "old") as service:
        logs = service.data / "readings"
        logs.mkdir()
        with closing(ReadingLogWriter(logs / "http.db")) as writer:
            times, values = BASE_MS + 30_000 * np.arange(50), np.arange(50.0).reshape(-1, 1)
            sources, flags = np.full(50, "p1", dtype=object), np.zeros(50, dtype=np.uint8)
            writer.append({"press": Readings(("number",), sources, times, values, flags)})
        services = Services(open_state(f"sqlite:///{service.data / 'state.db'}"), ReadingLog(logs), ServiceClock())
        tick(services, services.clock.plant_ms())
        services.close()
    assert run(shell, service.folder, "backup", str(tmp_path / "b.tar")).code == 0
    return tmp_path / "b.tar"


def run(shell: Shell, folder: Path, *command: str) -> Ended:
    return shell(*command, "--settings", str(folder / "pdm.yaml"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "other"), [(SQLITE, POSTGRESQL), (POSTGRESQL, SQLITE)])
def test_a_backup_made_under_load_has_all_that_was_taken_and_its_twins_are_a_cold_fold(
    tmp_path: Path, shell: Shell, kind: str, other: str
) -> None:
    state = {"state": {"url": url_on(kind, tmp_path / "first")}} if kind == POSTGRESQL else {}
    with Service(tmp_path / "old", state) as service:
        gateway = Gateway(service.start())
        wait_until(lambda: ticked(service), "it does not tick")
        before = gateway.taken_so_far()
        made = service.run("backup", str(tmp_path / "b.tar"), "--json")
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["files"] == len(schema.metadata.tables) + 1  # the log of readings by HTTP
        gateway.stop()
        assert service.stop() == 0
        assert sum(map(len, gateway.taken.values())) > sum(map(len, before.values()))

    here, there = place(tmp_path / "here", None), place(tmp_path / "there", url_on(other, tmp_path / "second"))
    for folder in (here, there):
        assert run(shell, folder, "restore", str(tmp_path / "b.tar")).code == 0
    second = url_on(other, tmp_path / "second")
    assert rows(second) == rows(f"sqlite:///{here / 'data' / 'state.db'}")
    assert stored_numbers(there / "data") == stored_numbers(here / "data")
    assert audit(here / "data", gateway.sent, before) == SOUND


def test_a_backup_is_restored_where_nothing_is_or_with_force(backed_up: Path, tmp_path: Path, shell: Shell) -> None:
    old = tmp_path / "old"
    refused = run(shell, old, "restore", str(backed_up))
    assert (refused.code, "there is data already" in refused.err) == (1, True)
    before = rows(f"sqlite:///{old / 'data' / 'state.db'}")
    assert run(shell, old, "restore", str(backed_up), "--force").code == 0
    assert rows(f"sqlite:///{old / 'data' / 'state.db'}") == before
    assert len(stored_numbers(old / "data")["p1"]) == 50
    aside = sorted(path.name.partition(".replaced-")[0] for path in (old / "data").glob("*.replaced-*"))
    assert aside == ["readings", "state.db"]


def test_a_running_service_is_not_restored_under_its_feet(backed_up: Path, tmp_path: Path, shell: Shell) -> None:
    with Service(tmp_path / "old") as service:
        service.start()
        refused = run(shell, service.folder, "restore", str(backed_up), "--force")
        assert (refused.code, "another pdm-twin (process" in refused.err) == (1, True)
        assert service.stop() == 0


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]


def spoiled(backup: Path) -> dict[str, bytes]:
    """A backup with a byte flipped in each member and in its head, cut short, and what is none."""
    whole = backup.read_bytes()
    with tarfile.open(backup) as tar:
        members = tar.getmembers()
    made = {f"head of {member.name}": flipped(whole, member.offset + 3) for member in members}
    made |= {member.name: flipped(whole, member.offset_data + member.size // 2) for member in members}
    return made | {"cut short": whole[: len(whole) // 2], "empty": b"", "text": b"x" * 9999}


def test_a_backup_that_is_not_what_was_written_is_refused_and_changes_nothing(
    backed_up: Path, tmp_path: Path, shell: Shell
) -> None:
    new, file = place(tmp_path / "new", None), tmp_path / "spoiled.tar"
    for name, content in spoiled(backed_up).items():
        file.write_bytes(content)
        ended = run(shell, new, "restore", str(file))
        assert ended.code == 1, name
        assert "damaged" in ended.err or "no backup" in ended.err, (name, ended.err)
        assert [path.name for path in (new / "data").iterdir()] == ["state.db.lock"], name


def test_a_backup_holds_every_table_and_says_what_it_is(backed_up: Path) -> None:
    with tarfile.open(backed_up) as tar:
        names = tar.getnames()
        content = tar.extractfile(names[-1])
        assert content is not None
        manifest = json.load(content)
    assert names[-1] == "manifest.json"
    assert {f"state/{name}.arrow" for name in schema.metadata.tables} < set(names)
    assert sorted(manifest["files"]) == sorted(names[:-1])


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path, shell: Shell) -> None:
    folder = place(tmp_path / "none", None)
    ended = run(shell, folder, "backup", str(tmp_path / "b.tar"))
    assert (ended.code, "there is no state database" in ended.err) == (2, True)
    assert list(tmp_path.glob("b.tar*")) == []
