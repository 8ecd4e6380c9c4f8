"""What `up` cannot run on: it says what, where and what to do, and ends with the code of its kind."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from pdm.state.migrations import known_versions
from pdm.state.plants import store_plant
from pdm.state.schema import open_state, write
from tests.system.conftest import Shell
from tests.system.service import PLANT, RULES, Service

Spoil = Callable[[Service], None]


def settings(text: str) -> Spoil:
    def spoil(service: Service) -> None:
        file = service.folder / "pdm.yaml"
        file.write_text(f"data_dir: {service.data}\n{text}\n")

    return spoil


def no_plant(service: Service) -> None:
    for file in service.data.glob("state.db*"):
        file.unlink()


def newer_state(service: Service) -> None:
    with write(engine := open_state(f"sqlite:///{service.data / 'state.db'}")) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


def damaged_state(service: Service) -> None:
    no_plant(service)
    (service.data / "state.db").write_bytes(b"this was a database once " * 1000)


def garbled_state(service: Service) -> None:
    """A byte of the list of tables has changed, so that SQLite complains in what is no text."""
    file = service.data / "state.db"
    file.write_bytes(file.read_bytes().replace(b"tableevents", b"table\xd5vents"))


def torn_state(service: Service) -> None:
    """A page in the middle of the file is of another time, or of nobody's."""
    file = service.data / "state.db"
    whole = file.read_bytes()
    page = len(whole) // 4096 // 2 * 4096
    file.write_bytes(whole[:page] + b"\x0d" + b"\xff" * 4095 + whole[page + 4096 :])


def damaged_log(service: Service) -> None:
    folder = service.data / "readings"
    folder.mkdir()
    (folder / "http.db").write_bytes(b"these were readings once " * 1000)


def missing_secret(service: Service) -> None:
    route = "routes:\n  cmms: {kind: webhook, url: https://cmms.example.com/hook, secret_env: NOT_SET}\n"
    with write(engine := open_state(f"sqlite:///{service.data / 'state.db'}")) as connection:
        store_plant(connection, PLANT, RULES + route, 1)
    engine.dispose()


def broken_pipeline(service: Service) -> None:
    folder = service.folder / "pipelines"
    folder.mkdir()
    (folder / "tick.py").write_text("SCHEDULE = 60\ndef run(services, at) return 1\n")
    settings(f"pipelines: {folder}")(service)


class Refusal(NamedTuple):
    """What is wrong, the exit code, and words of the message."""

    spoil: Spoil
    code: int
    words: str


REFUSALS = {
    "no plant was applied": Refusal(no_plant, 2, "no plant yet: write one with `pdm-twin init`"),
    "an unknown setting": Refusal(settings("http: {prot: 80}"), 2, "pdm.yaml:2: http.prot: is not a setting"),
    "reachable without keys": Refusal(settings("http: {host: 0.0.0.0}"), 2, "http.host: 0.0.0.0 can be reached"),
    "no such key file": Refusal(settings("http: {api_keys_file: keys}"), 2, "http.api_keys_file: cannot be read"),
    "a secret that is not set": Refusal(missing_secret, 2, "the environment variable NOT_SET is not set"),
    "a pipeline that is no Python": Refusal(broken_pipeline, 2, "tick.py:2: is no Python"),
    "a newer state": Refusal(newer_state, 1, f"has schema 9999, this program knows 0001 to {known_versions()[-1]}: "),
    "a reading log that is no database": Refusal(damaged_log, 1, "reading log http.db is damaged"),
    "a state with a torn page": Refusal(torn_state, 1, "bring a backup back with `pdm-twin restore FILE --force`"),
    "a state with a garbled list of tables": Refusal(garbled_state, 1, "the state database is damaged: text in it"),
    "a state that is no database": Refusal(damaged_state, 1, "the state database is damaged: file is not a database"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_it_says_what_it_cannot_run_on(shell: Shell, tmp_path: Path, name: str) -> None:
    refusal = REFUSALS[name]
    with Service(tmp_path) as service:
        refusal.spoil(service)
        ended = shell("up")
    assert (ended.code, ended.out) == (refusal.code, "")
    assert refusal.words in ended.err
    assert "Traceback" not in ended.err


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as other, Service(tmp_path) as service:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings(f"http: {{port: {port}}}")(service)
        service.begin()
        assert service.wait() == 2
        expected = f"pdm-twin: http.port: cannot listen on 127.0.0.1, port {port}: "
        assert [line[: len(expected)] for line in service.log_text().splitlines()] == [expected]


def test_a_newer_state_is_left_as_it_was(shell: Shell, tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        newer_state(service)
        before = (service.data / "state.db").read_bytes()
        assert shell("apply", "--yes").code == 1
        assert (service.data / "state.db").read_bytes() == before
