"""Readings in, kept: messages are decoded, what cannot be read becomes a dead letter, and all of it is committed
before anybody is told that it arrived."""

from array import array
from dataclasses import dataclass

import numpy as np
import structlog

from pdm.errors import StoreError, UnreadableMessageError
from pdm.ingest.decode import Decoder, EpochUnit, Samples, messages_of
from pdm.ingest.dialects import Dialects
from pdm.ingest.lines import Unread
from pdm.ingest.sparkplug import Nodes
from pdm.ports import Clock, DeadLetter, ReadingWriter
from pdm.readings import ArrivalFlag, Readings

HTTP_TOPIC = "http"
"""Stands for the topic in dead letters that came by HTTP as JSON."""

HTTP_LINES_TOPIC = "http/lines"
"""The same of line protocol."""

MOST_PROBLEMS = 100
"""Of one body so many are listed; the dead letters have all of them."""

_KEPT_BYTES = 64_000  # of an unreadable payload
_KEPT_TEXT = 500  # of its topic and of the reason in words

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one message or line of a body was not stored; it is in the dead letters under the same reason."""

    index: int  # of a message from 0, of a line from 1
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a body: readings stored (`late` of them too late to change a step), and how many messages were
    `refused` (`problems` has the first `MOST_PROBLEMS`)."""

    stored: int
    late: int
    problems: tuple[Problem, ...]
    refused: int = 0


class Ingest:
    """Takes messages one by one and commits them in groups (`add`, `commit`: one thread), or a body at once (`accept`:
    any thread). `nodes` keeps what births of Sparkplug B have said."""

    def __init__(self, decoder: Decoder, writer: ReadingWriter, clock: Clock, nodes: Nodes | None = None):
        self._nodes = nodes or Nodes()
        self._dialects = self._next_dialects = Dialects(decoder, self._nodes)
        self._writer = writer
        self._clock = clock
        self._group = _Group()

    def use(self, decoder: Decoder) -> None:
        """Read messages by another version of the plant, from the next group on."""
        self._next_dialects = Dialects(decoder, self._nodes)

    @property
    def waiting(self) -> int:
        """How many messages have been added since the last commit."""
        return self._group.messages

    @property
    def waiting_bytes(self) -> int:
        """How much they are."""
        return self._group.bytes

    def note_lost_session(self) -> None:
        """Count that the broker came back without what it should have kept for us.

        Raises:
            StoreError: it could not be kept.
        """
        self._writer.note_lost_session()

    def add(self, topic: str, payload: bytes, arrived_ms: int) -> None:
        """Take one message, readable or not; it is kept once `commit` returns."""
        if not self._group.messages:
            self._dialects = self._next_dialects
        self._group.messages += 1
        try:
            for found in self._dialects.read(topic, payload, arrived_ms):
                self._group.take(topic, found, arrived_ms)
        except Exception as error:
            self._group.bury(topic, payload, error, arrived_ms)

    def commit(self) -> int:
        """Store what was added since the last commit, durably; how many readings that was.

        Raises:
            StoreError: nothing was stored, all of it still waits for the next attempt.
        """
        try:
            self._nodes.save()
        except OSError as error:
            raise StoreError(f"births of Sparkplug nodes cannot be kept: {error.strerror}") from error
        stored, _ = self._group.store(self._writer)
        self._group = _Group()
        return stored

    def requests(self) -> list[tuple[str, bytes]]:
        """Topic and payload of what senders are to be asked, each once."""
        return self._nodes.to_ask()

    def accept(self, body: bytes) -> Accepted:
        """Store the messages of an HTTP body, durably.

        Raises:
            UnreadableMessageError: the body as a whole cannot be read, and nothing of it was kept.
            StoreError: nothing was stored.
        """
        group, problems = _Group(), list[Problem]()
        decoder, now_ms = self._next_dialects.json, self._clock.plant_ms()
        for index, message in enumerate(messages_of(body)):
            try:
                group.keep(decoder.decode_named(message, now_ms))
            except UnreadableMessageError as error:
                group.bury(HTTP_TOPIC, message, error, now_ms)
                problems.append(Problem(index, error.reason, error.detail))
        return _accepted(group, self._writer, problems)

    def accept_lines(self, body: bytes, unit: EpochUnit) -> Accepted:
        """Store the line protocol of an HTTP body, durably; its times count in `unit` since 1970.

        Raises:
            UnreadableMessageError: the body as a whole cannot be read, and nothing of it was kept.
            StoreError: nothing was stored.
        """
        group, problems, now_ms = _Group(), list[Problem](), self._clock.plant_ms()
        for found in self._next_dialects.lines.read(body, unit, now_ms):
            group.take(HTTP_LINES_TOPIC, found, now_ms)
            if isinstance(found, Unread):
                problems.append(Problem(found.number, found.error.reason, found.error.detail))
        return _accepted(group, self._writer, problems)

    def close(self) -> None:
        """Let go of the store; what was added and not committed is given up."""
        self._writer.close()


class _Group:
    """Messages that are committed together."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self._rows: dict[str, _Rows] = {}
        self._dead: list[DeadLetter] = []

    def take(self, topic: str, found: Samples | Unread, now_ms: int) -> None:
        """Take what was found in a message."""
        if isinstance(found, Unread):
            self.bury(topic, found.line, found.error, now_ms)
        else:
            self.keep(found)

    def keep(self, samples: Samples) -> None:
        """Take readings."""
        rows = self._rows.get(samples.class_name)
        if rows is None:
            rows = self._rows[samples.class_name] = _Rows(samples.sensors)
        rows.add(samples)
        self.bytes += 8 * len(samples.values)

    def bury(self, topic: str, payload: bytes, error: Exception, now_ms: int) -> None:
        """Take a message that could not be read."""
        if isinstance(error, UnreadableMessageError):
            reason, detail = error.reason, error.detail
        else:
            # ours to mend, but a message that is never acknowledged would block all that follow
            log.error("message broke the decoder", topic=topic[:_KEPT_TEXT], exc_info=error)
            reason, detail = "internal_error", repr(error)
        self.bytes += min(len(payload), _KEPT_BYTES)
        self._dead.append(DeadLetter(topic[:_KEPT_TEXT], payload[:_KEPT_BYTES], reason, detail[:_KEPT_TEXT], now_ms))

    def store(self, writer: ReadingWriter) -> tuple[int, int]:
        """Commit everything; how many readings that was, and how many of them were late."""
        batches = {class_name: rows.readings() for class_name, rows in self._rows.items()}
        if batches or self._dead:
            writer.append(batches, self._dead)
        late = sum(int(np.count_nonzero(readings.flags & ArrivalFlag.LATE)) for readings in batches.values())
        return sum(len(readings) for readings in batches.values()), late


def _accepted(group: _Group, writer: ReadingWriter, problems: list[Problem]) -> Accepted:
    """What became of a body, once it is stored."""
    return Accepted(*group.store(writer), tuple(problems[:MOST_PROBLEMS]), len(problems))


class _Rows:
    """Readings of one class, collected in lists: one conversion to columns a commit."""

    def __init__(self, sensors: tuple[str, ...]) -> None:
        self._sensors = sensors
        self._source: list[str] = []
        self._time_ms: list[int] = []
        self._values = array("d")
        self._flags = bytearray()

    def add(self, samples: Samples) -> None:
        self._source += [samples.source] * len(samples.times_ms)
        self._time_ms += samples.times_ms
        self._values += samples.values
        self._flags += samples.flags

    def readings(self) -> Readings:
        return Readings(
            self._sensors,
            np.array(self._source, dtype=object),
            np.array(self._time_ms, dtype=np.int64),
            np.array(self._values).reshape(-1, len(self._sensors)),
            np.array(self._flags, dtype=np.uint8),
        )
