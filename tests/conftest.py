"""What holds for every test."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings
from sqlalchemy import Engine, create_engine

from tests.databases import DATABASES, ON_BOTH, POSTGRESQL, SQLITE

settings.register_profile("untimed", deadline=None)  # how fast a machine is, is no matter of right and wrong
settings.load_profile("untimed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of what touches the state run on each kind of database."""
    if metafunc.module.__name__ in ON_BOTH:
        metafunc.parametrize("database", [SQLITE, POSTGRESQL], indirect=True)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database that `DATABASES` gives to this test."""
    DATABASES.kind = getattr(request, "param", SQLITE)
    yield DATABASES.kind
    DATABASES.kind = SQLITE
    DATABASES.release()


@pytest.fixture(autouse=True)
def logs_are_as_they_were() -> Iterator[None]:
    """A command that a test runs sets the logs up for the whole process, with an output of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def database_servers() -> Iterator[None]:
    yield
    DATABASES.close()


@pytest.fixture(autouse=True)
def state_databases_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From Python 3.13 on a database that nobody closes is a warning, and warnings are errors here."""
    opened: list[Engine] = []

    def remembered(*arguments: Any, **options: Any) -> Engine:
        opened.append(create_engine(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr("pdm.state.engines.create_engine", remembered)
    yield
    for engine in opened:
        engine.dispose()
