"""Dead letters of a reading log: repeats counted in one row, the oldest given up when there is no room."""

import hashlib
import sqlite3
from collections.abc import Sequence

from pdm.ports import DeadLetter

MOST_ROWS = 100_000
MOST_BYTES = 1_000_000_000


class DeadLetters:
    """Writes dead letters inside the transaction of the log that they came to."""

    def __init__(self, db: sqlite3.Connection, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES):
        self._db = db
        self._most_rows = most_rows
        self._most_bytes = most_bytes

    def remember(self) -> None:
        """Load how much is kept."""
        self._rows, self._bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_letters"
        ).fetchone()

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these letters, a repeat as one more of its first."""
        if not letters:
            return
        for letter in letters:
            self._keep(letter)
        self._count("dead_letters", len(letters))
        self._make_room()

    def _keep(self, letter: DeadLetter) -> None:
        digest = hashlib.blake2b(b"\0".join((letter.topic.encode(), letter.reason.encode(), letter.payload))).digest()
        new = self._db.execute(
            "INSERT INTO dead_letters (digest, topic, payload, reason, detail, first_seen_ms, last_seen_ms, count)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (digest) DO UPDATE SET last_seen_ms = excluded.last_seen_ms, count = count + 1"
            " RETURNING count = 1",
            (digest, letter.topic, letter.payload, letter.reason, letter.detail, letter.at_ms, letter.at_ms),
        ).fetchone()[0]
        if new:
            self._rows += 1
            self._bytes += len(letter.payload)

    def _make_room(self) -> None:
        """Give up the oldest letters until the rest fits."""
        dropped = 0
        while self._rows > self._most_rows or self._bytes > self._most_bytes:
            oldest, size = self._db.execute(
                "SELECT id, length(payload) FROM dead_letters ORDER BY id LIMIT 1"
            ).fetchone()
            self._db.execute("DELETE FROM dead_letters WHERE id = ?", (oldest,))
            self._rows -= 1
            self._bytes -= size
            dropped += 1
        if dropped:
            self._count("dead_letters_dropped", dropped)

    def _count(self, name: str, more: int) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )
