"""What the drills of `benchmarks/chaos.py` have in common: their terms, and looks at a process from outside."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import Figure
from tests.mosquitto import Mosquitto
from tests.system.service import Audit

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Terms(NamedTuple):
    """How hard it gets.

    Attributes:
        rounds: how often something is killed.
        minutes: how long a server stays away.
        rate: messages a second meanwhile.
        assets: machines in the drills that are about many of them.
        seed: of the moments of the kills, and of the bytes that flip.
    """

    rounds: int = 50
    minutes: float = 1.0
    rate: float = 2000.0
    assets: int = 100_000
    seed: int = 1


Drill = Callable[[Path, Terms], list[Figure]]
"""Works in an empty folder, and says what came of it."""


def none(figure_id: str, what: str, count: float) -> Figure:
    """A figure that has to be zero."""
    return Figure(figure_id, what, count, bar=0, better="lower")


def all_of(figure_id: str, what: str, count: float, whole: float) -> Figure:
    """A figure that has to reach the whole."""
    return Figure(figure_id, what, count, bar=whole)


def sound(figure_id: str, found: Audit) -> list[Figure]:
    """What an audit of a folder has to say."""
    return [
        none(f"{figure_id}.lost", "acknowledged readings that are not stored", found.lost),
        none(f"{figure_id}.double", "readings that count twice in the steps", found.double),
        none(f"{figure_id}.strange", "readings stored that nobody sent", found.strange),
        none(f"{figure_id}.twins", "columns of steps and twins unlike a cold fold", found.unlike),
        none(f"{figure_id}.damaged", "damaged batches and databases", found.damaged),
    ]


@contextmanager
def broker_in(folder: Path, *, durable: bool = False) -> Iterator[Mosquitto]:
    """A real broker that runs meanwhile."""
    folder.mkdir()
    broker = Mosquitto(folder, durable=durable).start()
    try:
        yield broker
    finally:
        broker.stop()


def timed(what: Callable[[], object]) -> float:
    """How long it takes [s]."""
    began = time.monotonic()
    what()
    return time.monotonic() - began


def rss_mb(pid: int) -> float:
    """Memory of a process at present [MB]."""
    return _memory(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """Most memory of a process since `forget_peak` [MB]."""
    return _memory(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin to look for the most memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_s(pid: int) -> float:
    """CPU time of a process so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def own_peak_mb() -> float:
    """Most memory of this process ever [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
