import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pdm.logs import configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    before = logging.root.handlers, logging.root.level
    yield io.StringIO()
    logging.root.handlers, logging.root.level = before
    structlog.reset_defaults()


def test_each_event_is_one_line_of_json(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream)
    structlog.stdlib.get_logger("pdm.tick").info("tick\ndone", machines=3)
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said["timestamp"].endswith("Z")
    assert (said["event"], said["machines"], said["level"], said["logger"]) == ("tick\ndone", 3, "info", "pdm.tick")


def test_libraries_that_use_the_standard_library_come_out_in_the_same_form(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream)
    logging.getLogger("uvicorn.error").warning("port %s in use", 8421)
    said = json.loads(stream.getvalue())
    assert (said["event"], said["level"], said["logger"]) == ("port 8421 in use", "warning", "uvicorn.error")


def test_what_is_less_severe_than_asked_for_is_not_shown(stream: io.StringIO) -> None:
    configure_logs("warning", "json", stream)
    structlog.stdlib.get_logger("pdm").info("nothing")
    logging.getLogger("apscheduler.executors.default").info("nothing")
    assert stream.getvalue() == ""


def test_a_value_under_the_name_of_a_secret_is_masked(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream)
    structlog.stdlib.get_logger("pdm").info("login", password="canary", api_key="canary", mqtt_token="canary")
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_failure_shows_its_trace_but_no_local_variables(stream: io.StringIO, form: str) -> None:
    configure_logs("info", form, stream)
    secret = "-".join(["can", "ary"])
    try:
        raise ValueError(f"{len(secret)} is wrong")
    except ValueError:
        structlog.stdlib.get_logger("pdm").exception("pipeline failed")
    assert "ValueError: 7 is wrong" in stream.getvalue()
    assert "can-ary" not in stream.getvalue()


def test_a_name_cannot_write_lines_or_colours_of_its_own_to_a_terminal(stream: io.StringIO) -> None:
    configure_logs("info", "console", stream)
    structlog.stdlib.get_logger("pdm").info("alert", serial="P-1\n\x1b[31m2026 [error] forged")
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_people_are_served_on_a_terminal_and_machines_elsewhere(stream: io.StringIO) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for output in (stream, terminal):
        configure_logs("info", "auto", output)
        structlog.stdlib.get_logger("pdm").info("hello")
    assert stream.getvalue().startswith("{")
    assert not terminal.getvalue().startswith("{")
