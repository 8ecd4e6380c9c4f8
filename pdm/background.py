"""Work for another store that is done again and again in a thread: what fails is said once, and tried ever later."""

import threading
from collections.abc import Callable
from secrets import SystemRandom

import structlog

from pdm.errors import BusyStoreError, StoreError

_SOON_S = 0.01
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0
_JOIN_S = 1.5

_log = structlog.stdlib.get_logger(__name__)


class Background:
    """Does a piece of work until it is told to stop: ingest and ticks never wait for it.

    Attributes:
        problem: why nothing moves on at present, None if it does.
        stopping: set once it shall end; the work may look.
    """

    def __init__(self, what: str, work: Callable[[], int], look_s: float):
        """`work` returns how much moved on; `look_s` is how often it is done when nothing comes."""
        self.problem: str | None = None
        self.stopping = threading.Event()
        self._what, self._work, self._look_s = what, work, look_s
        self._wait_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, and go on until `stop`."""
        self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def failed(self, error: StoreError) -> float:
        """Say so once; how long to wait, ever longer unless the store says how long [s]."""
        if self.problem is None:
            _log.error("out of service", what=self._what, why=str(error))
        self.problem = str(error)
        self._wait_s = min(max(2 * self._wait_s, _FIRST_WAIT_S), _LONGEST_WAIT_S)
        asked = error.retry_after_s if isinstance(error, BusyStoreError) else None
        return self._wait_s * SystemRandom().uniform(0.5, 1.0) if asked is None else asked

    def _run(self) -> None:
        pause_s = self._look_s
        while not self.stopping.is_set():
            try:
                moved = self._work()
            except StoreError as error:
                pause_s = self.failed(error)
            except Exception as error:  # whatever it is, what follows must not stay behind for ever
                _log.exception("work failed", what=self._what)
                pause_s = self.failed(StoreError(f"{self._what} failed: {error!r}"))
            else:
                # where something came there is soon more, and somebody may wait for it
                pause_s = _SOON_S if moved else min(2 * pause_s, self._look_s)
                self._worked()
            self.stopping.wait(pause_s)

    def _worked(self) -> None:
        if self.problem is not None:
            _log.info("in service again", what=self._what)
        self.problem, self._wait_s = None, 0.0
