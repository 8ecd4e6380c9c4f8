"""What `up` cannot run on: it says what, where and what to do, and ends with the code of its kind."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import update

from pdm.state.plants import store_plant
from pdm.state.schema import SCHEMA_VERSION, meta, open_state, write
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
        connection.execute(update(meta).where(meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION + 1)))
    engine.dispose()


def damaged_state(service: Service) -> None:
    no_plant(service)
    (service.data / "state.db").write_bytes(b"this was a database once " * 1000)


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
    "a newer state": Refusal(newer_state, 1, f"has schema {SCHEMA_VERSION + 1}, this program knows"),
    "a state that is no database": Refusal(damaged_state, 1, "the state database is damaged: file is not a database"),
}


@pytest.mark.timeout(600)
def test_each_refusal_says_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    with socket.socket() as other, ExitStack() as stack:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = Refusal(settings(f"http: {{port: {port}}}"), 2, f"http.port: cannot listen on 127.0.0.1, port {port}")
        begun = []
        for name, refusal in (REFUSALS | {"a port in use": taken}).items():
            service = stack.enter_context(Service(tmp_path / name.replace(" ", "-")))
            refusal.spoil(service)
            service.begin()  # all at the same time: most of it is waiting for Python
            begun.append((name, refusal, service))
        for name, refusal, service in begun:
            assert (name, service.wait()) == (name, refusal.code), service.log_text()
            assert refusal.words in service.log_text()
            assert "Traceback" not in service.log_text()


def test_a_newer_state_is_left_as_it_was(tmp_path: Path) -> None:
    service = Service(tmp_path)
    newer_state(service)
    before = (service.data / "state.db").read_bytes()
    assert service.run("apply").returncode == 1
    assert (service.data / "state.db").read_bytes() == before
