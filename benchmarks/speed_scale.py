"""What a tick costs as a plant grows: 100,000 machines against ten times 10,000 (P15), each in a process of its own.

    python -m benchmarks.speed_scale [--machines 100000] [--rounds 5]

A fleet is built in one process and watched in another, so that its memory is that of a service which was started on
what it found. Peaks of memory are from the start of that process on.
"""

import argparse
import multiprocessing
import pickle
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from benchmarks.report import Figure, write_report
from benchmarks.speed import next_tick
from benchmarks.speed_fleet import LiveFleet, trained_model
from pdm.prognosis.learned import Model

PAST_HOURS = 8
TIMES = 10
_SPAWN = multiprocessing.get_context("spawn")


class WatchedFleet:
    """A fleet in a process of its own."""

    def __init__(self, folder: Path, model: Model, count: int):
        self.count = count
        builder = _SPAWN.Process(target=_build, args=(folder, pickle.dumps(model), count))
        builder.start()
        builder.join()
        self._end, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_watch, args=(folder, pickle.dumps(model), count, theirs))
        self._process.start()
        self.next_tick()  # all windows are new in the first
        self.next_tick()

    def next_tick(self) -> float:
        """CPU time of the tick that takes in the next hour [s]."""
        self._end.send("tick")
        return float(self._end.recv())

    def close(self) -> float:
        """End it; the most memory that it took [GB]."""
        self._end.send("end")
        peak = float(self._end.recv())
        self._process.join()
        return peak


def _build(folder: Path, model: bytes, count: int) -> None:
    LiveFleet(folder, pickle.loads(model), count, PAST_HOURS).services.close()  # noqa: S301 - our own


def _watch(folder: Path, model: bytes, count: int, end: Connection) -> None:
    fleet = LiveFleet(folder, pickle.loads(model), count, PAST_HOURS)  # noqa: S301 - our own
    while end.recv() == "tick":
        end.send(next_tick(fleet))
    end.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def measure_scale(model: Model, machines: int, rounds: int, folder: Path) -> list[Figure]:
    """P15."""
    with ExitStack() as stack:
        few = WatchedFleet(folder / "few", model, machines // TIMES)
        stack.callback(few.close)
        many = WatchedFleet(folder / "many", model, machines)
        seen = []
        for _ in range(rounds):
            before = few.next_tick()
            of_many = many.next_tick()
            seen.append((of_many, (before + few.next_tick()) / 2))
        peak = many.close()
    ratio = median(of_many / (TIMES * of_few) for of_many, of_few in seen)
    whole, small = (median(times) for times in zip(*seen, strict=True))
    what = f"CPU of a tick of {machines:,} machines x 20 sensors"
    return [
        Figure("P15", f"{what} against {TIMES} times one of {machines // TIMES:,}", ratio, "x", 1.1, "lower"),
        Figure("P15.memory", "most memory of its process", peak, "GB", bar=2, better="lower"),
        Figure("P15.tick", what, whole, "s", better="lower"),
        Figure("P15.few", f"the same of {machines // TIMES:,}", small, "s", better="lower"),
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--machines", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as name:
        figures = measure_scale(trained_model(), given.machines, given.rounds, Path(name))
    return 0 if write_report("speed_scale", figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
