"""Readings on from the logs to the store that everything reads: block by block, in the order of their commits.

    next block -> write it -> bisect what is refused -> note cursor, marks and counts in one transaction

A block is sent again until it is noted, which changes nothing in the store. Points that can never be written become
dead letters. A block that the store fails on again and again, while it takes the next one, is parked and tried later.
"""

from collections.abc import Callable
from contextlib import suppress
from socket import gethostname
from threading import Lock
from typing import NamedTuple

import numpy as np
import orjson
import structlog
from sqlalchemy import Engine

from pdm.background import Background
from pdm.errors import ConflictError, FailedWriteError, RefusedWriteError, StoreError, TakenError
from pdm.ports import Clock, Compactor, DeadLetter, PointStore, ReadingWriter, Spool, SpoolBlock, SpoolPart, Waiting
from pdm.readings import merge
from pdm.state import forwarding
from pdm.state.schema import read, write

BLOCK_ROWS = 5_000

FAILURES_TO_SUSPECT = 3
"""So often in a row must a store fail on one block before the next is tried in its place."""

TRY_PARKED_MS = 15 * 60_000

LOOK_S = 0.2
"""How often the logs are looked at for what is new, when nothing comes."""

TELL_S = 10.0
"""How often other hosts are told what waits here."""

THIN_S = 3_600.0
"""How often what has been forwarded goes from the logs."""

_log = structlog.stdlib.get_logger(__name__)


class _Failed(NamedTuple):
    """A part of a block that the store failed on."""

    part: SpoolPart
    error: FailedWriteError


class Forwarder:
    """Forwards what the logs of one folder hold, in the background."""

    def __init__(
        self,
        engine: Engine,
        spool: Spool,
        points: PointStore,
        open_dead_letters: Callable[[], ReadingWriter],
        clock: Clock,
        most_bytes: int,
        thinner: Callable[[Callable[[], str]], Compactor] | None = None,
    ):
        """Whoever has the log of dead letters open forwards; other processes wait for their turn.

        Args:
            most_bytes: the bound of the spool, beyond which its writers take nothing more.
            thinner: makes what keeps the logs small, given what tells up to where they have been forwarded.
        """
        self.background = Background("store of readings", self.forward, LOOK_S)
        self._thinning = Background("thinning of the logs", self._thin, THIN_S)
        self.thinner = None if thinner is None else thinner(self.cursor)
        self._engine, self._spool, self._points, self._clock = engine, spool, points, clock
        self._open_dead_letters, self._most_bytes = open_dead_letters, most_bytes
        self._dead_letters: ReadingWriter | None = None
        self._telling = Background("backlog of the logs", self._tell, TELL_S)
        self._told = True  # what others know of us may be what we said before a restart
        self._turn = Lock()  # of the thread and of whoever does not want to wait for it
        self._prepared = False
        self._failing = ("", 0)  # the cursor at which the store fails, and how often in a row it did

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        self.background.start()
        self._thinning.start()
        self._telling.start()

    def stop(self) -> None:
        """Send nothing more. A block that is under way is sent again at the next start."""
        self.background.stop()
        self._thinning.stop()
        self._telling.stop()
        if self._dead_letters is not None:
            self._dead_letters.close()

    def waiting(self) -> Waiting:
        """What is still to be forwarded, here and on other hosts."""
        elsewhere = (Waiting(other.rows, other.bytes, other.oldest_ms) for other in self._elsewhere())
        parts = [self._spool.waiting(self.cursor()), *elsewhere]
        oldest = [part.oldest_ms for part in parts if part.rows]
        return Waiting(sum(part.rows for part in parts), sum(part.bytes for part in parts), min(oldest, default=0))

    def degraded(self) -> list[str]:
        """What is wrong with forwarding, in sentences."""
        found, waiting, problem = [], self._spool.waiting(self.cursor()), self.background.problem
        if problem is not None:
            found.append(f"{problem}; {waiting.rows:,} readings wait in the logs")
        if waiting.bytes >= self._most_bytes:
            found.append("the spool is full: no readings are acknowledged until InfluxDB has taken some")
        stuck = (other for other in self._elsewhere() if other.problem is not None)
        found += [f"{other.host}: {other.problem}; {other.rows:,} readings wait in its logs" for other in stuck]
        with read(self._engine) as connection:
            parked = forwarding.parked_count(connection, self._points.name)
        if parked:
            found.append(f"blocks that InfluxDB fails on are parked: {parked}")
        return found

    def forward(self) -> int:
        """Forward what waits now, and try what is parked; returns how many readings moved on.

        Raises:
            StoreError: the store does not take them for now; nothing is lost, and nothing skipped.
        """
        with self._turn:
            try:
                return self._forward_all()
            except StoreError:
                self._prepared = False  # its bucket may be what is missing
                raise

    def _forward_all(self) -> int:
        if not self._alone():
            return 0
        if not self._prepared:
            self._points.prepare()
            self._prepared = True
            self._spool.note_forwarded(self.cursor() or "{}")
        moved, cursor = 0, self.cursor()
        while (
            not self.background.stopping.is_set() and (block := self._spool.next_block(cursor, BLOCK_ROWS)) is not None
        ):
            self._forward(block, cursor)
            moved += sum(len(part.readings) for part in block.parts)
            cursor = block.cursor
        self._try_parked()
        return moved

    def _forward(self, block: SpoolBlock, cursor: str) -> None:
        refused, failed = list[DeadLetter](), list[_Failed]()
        for part in block.parts:
            try:
                refused += self._send(_merged(part))
            except FailedWriteError as error:
                failed.append(_Failed(part, error))
        if failed and not self._is_to_blame(block, cursor):
            raise failed[0].error
        self._failing = ("", 0)
        self._bury(refused)
        self._note(block, failed)
        self._spool.note_forwarded(block.cursor)

    def _note(self, block: SpoolBlock, failed: list[_Failed]) -> None:
        """Cursor, marks, counts and what is parked, all or nothing."""
        store, now_ms = self._points.name, self._clock.wall_ms()
        with write(self._engine) as connection:
            for class_name, late, readings, batches in block.parts:
                forwarding.lay_over_parked(connection, store, class_name, readings, late=late)
                forwarding.note_forwarded(connection, store, class_name, readings, batches=batches, late=late)
            for (class_name, late, readings, _), error in failed:
                forwarding.park(
                    connection, store, class_name, merge(readings), late=late, why=str(error), now_ms=now_ms
                )
            forwarding.store_forward_cursor(connection, store, self._spool.name, block.cursor)
        for part, error in failed:
            _log.error("block parked", asset_class=part.class_name, readings=len(part.readings), why=str(error))

    def _is_to_blame(self, block: SpoolBlock, cursor: str) -> bool:
        """Whether the store keeps failing on this block, but takes the next one."""
        before, times = self._failing
        self._failing = (cursor, times + 1 if before == cursor else 1)
        following = self._spool.next_block(block.cursor, BLOCK_ROWS)
        if self._failing[1] < FAILURES_TO_SUSPECT or following is None:
            return False
        try:
            for part in following.parts:
                self._send(_merged(part))
        except FailedWriteError:
            return False
        return True

    def _send(self, part: SpoolPart) -> list[DeadLetter]:
        """Write a part; what can never be written is found by halving."""
        try:
            self._points.write(part)
        except RefusedWriteError as error:
            count = len(part.readings)
            if count == 1:
                return [self._letter(part, error)]
            halves = (slice(0, count // 2), slice(count // 2, count))
            rows = np.arange(count)
            return [
                letter
                for half in halves
                for letter in self._send(part._replace(readings=part.readings.take(rows[half])))
            ]
        return []

    def _letter(self, part: SpoolPart, error: RefusedWriteError) -> DeadLetter:
        """One reading as the message that it could be sent again as."""
        readings = part.readings
        said = zip(readings.sensors, readings.values[0].tolist(), strict=True)
        message = {"ts": int(readings.time_ms[0]), "values": {name: value for name, value in said if value == value}}
        topic = f"{part.class_name}/{readings.source[0]}"
        return DeadLetter(topic, orjson.dumps(message), error.reason, error.detail, self._clock.wall_ms())

    def _bury(self, letters: list[DeadLetter]) -> None:
        if letters and self._dead_letters is not None:
            self._dead_letters.append({}, letters)
            _log.warning("readings refused by the store", count=len(letters), why=letters[0].detail)

    def _try_parked(self) -> None:
        now_ms = self._clock.wall_ms()
        with read(self._engine) as connection:
            if not forwarding.parked_count(connection, self._points.name):
                return
            parked = forwarding.parked(connection, self._points.name)
        for aside in parked:
            if now_ms - aside.tried_ms >= TRY_PARKED_MS:
                self._try_again(aside, now_ms)

    def _try_again(self, aside: forwarding.Parked, now_ms: int) -> None:
        try:
            refused = self._send(SpoolPart(aside.class_name, aside.late, aside.readings))
        except FailedWriteError as error:
            with write(self._engine) as connection:
                forwarding.park_again(connection, aside.number, str(error), now_ms)
            return
        self._bury(refused)
        with write(self._engine) as connection:
            forwarding.unpark(connection, aside.number)
            if not aside.late:
                forwarding.mark_readings(connection, aside.class_name, aside.readings)
        _log.info("parked block written", asset_class=aside.class_name, readings=len(aside.readings))

    def _alone(self) -> bool:
        """Whether no other process forwards these logs."""
        if self._dead_letters is None:
            with suppress(TakenError):
                self._dead_letters = self._open_dead_letters()
        return self._dead_letters is not None

    def _thin(self) -> int:
        if self.thinner is not None:
            with suppress(ConflictError):  # another process of this host is at it
                return self.thinner.compact(self._clock.wall_ms()).batches
        return 0

    def _elsewhere(self) -> list[forwarding.Backlog]:
        with read(self._engine) as connection:
            return forwarding.backlogs_elsewhere(connection, self._points.name, self._spool.name)

    def _tell(self) -> int:
        """Let other hosts know what waits here, for as long as something does."""
        if self._dead_letters is not None:
            waiting, problem = self._spool.waiting(self.cursor()), self.background.problem
            if waiting.rows or self._told:
                backlog = forwarding.Backlog(gethostname(), *waiting, problem)
                with write(self._engine) as connection:
                    forwarding.tell_backlog(connection, self._points.name, self._spool.name, backlog)
                self._told = waiting.rows > 0
        return 0

    def cursor(self) -> str:
        """Up to where the store has what the logs hold."""
        with read(self._engine) as connection:
            return forwarding.forward_cursor(connection, self._points.name, self._spool.name)


def _merged(part: SpoolPart) -> SpoolPart:
    """One row for each key, sorted: a store need not know which of two in one block came later."""
    return part._replace(readings=merge(part.readings))
