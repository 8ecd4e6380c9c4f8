"""The log of the service: structured lines on standard output, as JSON or for people on a terminal.

Libraries that log by the standard library come out in the same form. No payload and no token is ever logged: a value
under a name that sounds like a secret is masked, should one slip in.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.dev import plain_traceback  # the other formatter prints local variables, secrets among them
from structlog.typing import Processor

_SECRET_NAME = re.compile(r"password|secret|token|authorization|api_key|cookie|payload", re.IGNORECASE)
_QUIET = {"apscheduler": logging.ERROR, "httpcore2": logging.WARNING, "uvicorn.access": logging.WARNING}
"""Libraries that tell about every single job, connection or request."""


def configure_logs(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send everything that is logged to `stream` (standard output).

    Args:
        level: least severe level that is shown.
        form: "json", "console", or "auto" for console on a terminal and JSON elsewhere.
    """
    stream = stream or sys.stdout
    for_people = form == "console" or (form == "auto" and stream.isatty())
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask_secrets,
    ]
    last: list[Processor] = (
        [
            _without_control_characters,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain_traceback),
        ]
        if for_people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    output = logging.StreamHandler(stream)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.root.handlers = [output]
    logging.root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _mask_secrets(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in line:
        if _SECRET_NAME.search(name):
            line[name] = "***"
    return line


def _without_control_characters(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names that people and gateways choose must not write lines or colours of their own to a terminal."""
    for name, value in line.items():
        if isinstance(value, str) and name != "exception":
            line[name] = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in value)
    return line
