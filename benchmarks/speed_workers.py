"""Forecasts of one cohort on two workers against one process: the same answers, and how much sooner (P16).

    python -m benchmarks.speed_workers [--machines 100000] [--rounds 5]

Wall-clock times, interleaved, of what a tick hands to its workers. Workers of a cluster on the same machine share its
cores with the one who waits for them: this shows what the way there costs, not what other machines would bring.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import LocalCluster

from benchmarks.report import Figure, write_report
from benchmarks.speed_fleet import trained_model
from pdm.adapters.workers import Workers
from pdm.prognosis import learned
from pdm.prognosis.forecast import Infer
from pdm.prognosis.learned import Model, head_of


def measure_workers(model: Model, machines: int, rounds: int) -> list[Figure]:
    """P16."""
    random = np.random.default_rng(1)
    seen = random.normal(0.0, 3.0, (machines, len(model.frame.feature_names)))
    complete, modes = np.ones(machines, dtype=np.bool_), head_of(model).modes
    task = (
        model,
        seen,
        random.uniform(0.0, 5_000.0, machines),
        complete,
        list(modes.names if modes else ()),
    )
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1") as cluster:
        where = {
            "dask": Workers(cluster.scheduler_address.replace("tcp", "dask"), 2),
            "processes": Workers("processes", 2),
            "threads": Workers("threads", 2),
        }
        alone, spread = list[float](), {name: list[float]() for name in where}
        unlike = sum(not _same(workers.infer(*task), learned.infer(*task)) for workers in where.values())
        for _ in range(rounds):
            alone.append(_seconds(learned.infer, *task))
            for name, workers in where.items():
                spread[name].append(_seconds(workers.infer, *task))
        degraded = sum(len(workers.degraded()) for workers in where.values())
        for workers in where.values():
            workers.close()
    one = median(alone)
    what = f"forecasts of {machines:,} machines, one process against two"
    return [
        Figure("P16.alone", f"forecasts of {machines:,} machines in one process, one thread", one, "s", better="lower"),
        *(Figure(f"P16.{name}", f"{what} ({name})", one / median(spread[name]), "x") for name in where),
        Figure("P16.unlike", "answers that differ in any bit", unlike, bar=0, better="lower"),
        Figure("P16.failed", "workers that did not do their part", degraded, bar=0, better="lower"),
    ]


def _same(ours: learned.Inferred, theirs: learned.Inferred) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, theirs, strict=True))


def _seconds(infer: Infer, *task: Any) -> float:
    began = time.perf_counter()
    infer(*task)
    return time.perf_counter() - began


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--machines", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    began = time.monotonic()
    figures = measure_workers(trained_model(), given.machines, given.rounds)
    return 0 if write_report(Path(__file__).stem, figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
