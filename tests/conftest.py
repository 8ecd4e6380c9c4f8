"""What holds for every test."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine


@pytest.fixture(autouse=True)
def state_databases_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From Python 3.13 on a database that nobody closes is a warning, and warnings are errors here."""
    opened: list[Engine] = []

    def remembered(*arguments: Any, **options: Any) -> Engine:
        opened.append(create_engine(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr("pdm.state.schema.create_engine", remembered)
    yield
    for engine in opened:
        engine.dispose()
