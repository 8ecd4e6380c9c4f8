"""The examples of docs/api.md, run one after the other."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from pdm.services import Services
from pdm.state import schema

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ELIDED = "…"


class Example(NamedTuple):
    """One request of the page, and what the page says of the answer."""

    method: str
    path: str
    body: str
    answer: Any


def examples() -> list[Example]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(
        r"```http\n(\w+) (\S+)\n(?:Content-Type: application/json\n\n(.*?))?```\n```json\n(.*?)```", text, re.DOTALL
    )
    return [Example(method, path, body, orjson.loads(answer)) for method, path, body, answer in found]


def test_every_request_of_the_page_has_an_answer_that_is_checked() -> None:
    assert len(examples()) == PAGE.read_text(encoding="utf-8").count("```http") > 10


def test_the_examples_do_what_the_page_says(services: Services, client: TestClient) -> None:
    with schema.read(services.engine) as connection:
        ids = {
            name: connection.execute(select(table.c.id).where(table.c.serial == "F-1")).scalar_one()
            for name, table in (("<alert>", schema.alerts), ("<window>", schema.interventions))
        }
    for example in examples():
        path = re.sub("<.*?>", lambda found: ids[found[0]], example.path)
        content = example.body.encode() or None
        answer = client.request(example.method, path, content=content, headers={"Content-Type": "application/json"})
        check(example.answer, answer.json(), f"{example.method} {example.path}")


def check(said: Any, found: Any, at: str) -> None:
    """Whether everything that the page says is so."""
    if said == ELIDED:
        assert found is not None, at
    elif isinstance(said, dict):
        assert said.keys() <= found.keys(), at
        for name, value in said.items():
            check(value, found[name], f"{at}.{name}")
    elif isinstance(said, list):
        assert len(said) == len(found), at
        for index, value in enumerate(said):
            check(value, found[index], f"{at}[{index}]")
    else:
        assert said == found, at


@pytest.mark.parametrize("said", [{"a": 1}, {"b": ELIDED}, {"c": [1]}])
def test_the_check_notices_what_is_not_so(said: Any) -> None:
    with pytest.raises(AssertionError):
        check(said, {"a": 2, "b": None, "c": [1, 2]}, "here")
