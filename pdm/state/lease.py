"""Who leads on a database that several hosts reach: one process, by a lease that it renews every few seconds.

When it falls silent another one takes over, with the next fencing number; what the old one still tries to write then is
refused (`pdm.state.engines`). Times are those of the server, since the clocks of hosts differ. The table of leases is
no part of the state: it has no version, and no backup holds it.
"""

import os
import socket
import threading
from contextlib import suppress
from typing import NamedTuple

import structlog
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    cast,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import OperationalError

from pdm.errors import ConflictError, StoreError
from pdm.state.engines import connect, store_errors, transaction

LEASE_MS = 15_000
RENEW_S = 3.0

leases = Table(
    "leases",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

_OURS = leases.c.name == "pipeline"
_NOW_MS = cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)

_log = structlog.stdlib.get_logger(__name__)


class Rival(NamedTuple):
    """Who leads, and until when unless it renews its lease."""

    holder: str
    until_ms: int


class Lead:
    """The right to lead on a state database.

    Attributes:
        fence: the fencing number, which the engine of whoever leads on a server carries; None where a lock keeps others
            out.
        lost: set when another one leads.
    """

    def __init__(self) -> None:
        self.fence: int | None = None
        self.lost = threading.Event()

    def check(self) -> None:
        """See that we still lead.

        Raises:
            ConflictError: we do not.
        """
        if self.lost.is_set():
            raise ConflictError("another pdm-twin has taken over; this one writes nothing any more")


class Lease(Lead):
    """The right to lead on a server, once `take` has got it, until `give_back`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._ending = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> Rival | None:
        """Lead from now on, or say who does."""
        with transaction(self._engine, writes=True) as connection:
            leases.create(connection, checkfirst=True)
            rival = _rival(connection)
            if rival is None:
                self.fence = _next_fence(connection)
        if rival is None:
            self._renewing.start()
        return rival

    def give_back(self) -> None:
        """Let the next one lead at once."""
        self._ending.set()
        if self.fence is not None:
            self._renewing.join()
            try:
                self._hold_for(0)
            except (StoreError, OperationalError):
                _log.warning("lease not given back: it lapses by itself", seconds=LEASE_MS / 1000)

    def _renew(self) -> None:
        while not self._ending.wait(RENEW_S):
            # nobody else gets the lease from a server that does not answer either: who needs it says that it is away
            with suppress(StoreError):
                if not self._hold_for(LEASE_MS):
                    self.lost.set()
                    return

    def _hold_for(self, duration_ms: int) -> bool:
        """Hold it from now for so long; False if it is no longer ours. Whoever writes is not waited for."""
        ours = _OURS & (leases.c.fence == self.fence)
        with store_errors(), connect(self._engine) as connection, connection.begin():
            return bool(connection.execute(update(leases).where(ours).values(until_ms=_NOW_MS + duration_ms)).rowcount)


def _rival(connection: Connection) -> Rival | None:
    """Who holds a lease that has not lapsed."""
    held = select(leases.c.holder, leases.c.until_ms).where(_OURS, leases.c.until_ms > _NOW_MS)
    row = connection.execute(held).first()
    return None if row is None else Rival(*row)


def _next_fence(connection: Connection) -> int:
    """Write down that we lead from now on."""
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    lease = {"holder": holder, "until_ms": _NOW_MS + LEASE_MS}
    taken = update(leases).where(_OURS).values(fence=leases.c.fence + 1, **lease).returning(leases.c.fence)
    fence = connection.execute(taken).scalar()
    if fence is None:
        fence = 1
        connection.execute(insert(leases).values(name="pipeline", fence=fence, **lease))
    return int(fence)
