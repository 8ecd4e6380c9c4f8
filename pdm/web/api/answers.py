"""Answers kept under an Idempotency-Key, in the transaction of the change that they answer."""

import base64
import hashlib
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from pdm.state.schema import meta
from pdm.web.problems import IdempotencyError

KEPT_MS = 24 * 3_600_000
"""How long the same key gets the same answer [ms of wall time]."""

_PREFIX = "answer "
_TIME_DIGITS = 15


class Answer(NamedTuple):
    """What a client was told: status, body and the revision of the record behind it."""

    status: int
    body: bytes
    revision: int | None


def find(connection: Connection, key: str | None, asked: str) -> Answer | None:
    """The answer that this request already got.

    Raises:
        IdempotencyError: the key came with another request.
    """
    if key is None:
        return None
    stored = connection.execute(select(meta.c.value).where(meta.c.key == _PREFIX + _digest(key))).scalar()
    if stored is None:
        return None
    kept = orjson.loads(stored[_TIME_DIGITS:])
    if kept["asked"] != _digest(asked):
        raise IdempotencyError("this Idempotency-Key was used for another request")
    return Answer(kept["status"], base64.b64decode(kept["body"]), kept["revision"])


def keep(connection: Connection, key: str | None, asked: str, given: Answer, wall_ms: int) -> None:
    """Keep an answer, and forget those that are too old to be asked for."""
    if key is None:
        return
    oldest = f"{wall_ms - KEPT_MS:0{_TIME_DIGITS}d}"
    is_answer = meta.c.key.startswith(_PREFIX)
    connection.execute(delete(meta).where(is_answer, func.substr(meta.c.value, 1, _TIME_DIGITS) < oldest))
    body = base64.b64encode(given.body).decode()
    kept = {"asked": _digest(asked), "status": given.status, "revision": given.revision, "body": body}
    value = f"{wall_ms:0{_TIME_DIGITS}d}{orjson.dumps(kept).decode()}"
    connection.execute(insert(meta).values(key=_PREFIX + _digest(key), value=value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
