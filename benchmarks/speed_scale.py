"""What a tick costs as a plant grows: 100,000 machines against ten times 10,000, each in a process of its own.

A fleet is built in one process and watched in another, so that its memory is that of a service which was started on
what it found. Peaks of memory are from the start of that process on.
"""

import multiprocessing
import pickle
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from benchmarks.report import Figure
from benchmarks.speed_fleet import LiveFleet, trained_model
from benchmarks.speed_ticks import next_tick
from pdm.prognosis.learned import Model
from pdm.serving import Server
from pdm.web.app import create_app

PAST_HOURS = 8
MACHINES, TIMES = 100_000, 10
VIEWS = 100
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

    def next_tick(self) -> tuple[float, float]:
        """CPU time and time of the tick that takes in the next hour [s]."""
        used, lasted = self._ask("tick")
        return used, lasted

    def pages(self) -> list[float]:
        """How long `VIEWS` views of the page of all machines took, while nothing else was going on [s]."""
        return list(self._ask("pages"))

    def _ask(self, what: str) -> Any:
        self._end.send(what)
        return self._end.recv()

    def peak(self) -> float:
        """The most memory that it has taken so far [GB]."""
        return float(self._ask("peak"))

    def close(self) -> None:
        """End it."""
        self._end.send("end")
        self._process.join()


def _build(folder: Path, model: bytes, count: int) -> None:
    LiveFleet(folder, pickle.loads(model), count, PAST_HOURS).services.close()  # noqa: S301 - our own


def _watch(folder: Path, model: bytes, count: int, end: Connection) -> None:
    fleet = LiveFleet(folder, pickle.loads(model), count, PAST_HOURS)  # noqa: S301 - our own
    server = Server(create_app(fleet.services), "127.0.0.1", 0)
    server.start()
    answers: dict[str, Callable[[], Any]] = {
        "tick": lambda: _timed_tick(fleet),
        "pages": lambda: _views(server.address),
        "peak": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    while (asked := end.recv()) != "end":
        end.send(answers[asked]())
    server.stop()


def _timed_tick(fleet: LiveFleet) -> tuple[float, float]:
    began = time.perf_counter()
    return next_tick(fleet), time.perf_counter() - began


def _views(address: str) -> list[float]:
    seconds = []
    with httpx2.Client(base_url=address, timeout=60) as client:
        for _ in range(VIEWS):
            began = time.perf_counter()
            client.get("/").raise_for_status()
            seconds.append(time.perf_counter() - began)
    return seconds


def measure_scale(rounds: int, folder: Path) -> list[Figure]:
    """P15, L1."""
    model, machines = trained_model(), MACHINES
    with ExitStack() as stack:
        few = WatchedFleet(folder / "few", model, machines // TIMES)
        stack.callback(few.close)
        many = WatchedFleet(folder / "many", model, machines)
        stack.callback(many.close)
        seen = []
        for _ in range(rounds):
            before, _ = few.next_tick()
            of_many, lasted = many.next_tick()
            seen.append((of_many, (before + few.next_tick()[0]) / 2, lasted))
        of_ticks, views, of_pages = many.peak(), many.pages(), many.peak()
    ratio = median(of_many / (TIMES * of_few) for of_many, of_few, _ in seen)
    whole, small, lasted = (median(times) for times in zip(*seen, strict=True))
    what = f"CPU of a tick of {machines:,} machines x 20 sensors"
    return [
        Figure("P15", f"{what} against {TIMES} times one of {machines // TIMES:,}", ratio, "x", 1.1, "lower"),
        Figure("P15.memory", "most memory of its process", of_ticks, "GB", bar=2, better="lower"),
        Figure("P15.tick", what, whole, "s", better="lower"),
        Figure("P15.few", f"the same of {machines // TIMES:,}", small, "s", better="lower"),
        Figure("L1.tick", f"a tick of {machines:,} machines, by the clock", lasted, "s", bar=60, better="lower"),
        Figure("L1.page", "95 % of the views of the page of all machines", _p95(views) * 1e3, "ms", 200, "lower"),
        Figure("L1.memory", "most memory of the process once it was looked at", of_pages, "GB", 2, "lower"),
        Figure("L1.first", "the first view of it after a tick", views[0] * 1e3, "ms", better="lower"),
    ]


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]
