"""Speed as ratios, side by side in one run: all of it, or the parts that are named.

    python -m benchmarks.speed [ingest compaction influx fold ticks scale workers] [--rounds 5]

Every figure is the median over interleaved rounds of a ratio within one run; CPU times where other work on the machine
would count otherwise.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.compaction import measure_reads
from benchmarks.influx import measure_influx
from benchmarks.ingest import measure_ingest
from benchmarks.report import Figure, write_report
from benchmarks.speed_fleet import trained_model
from benchmarks.speed_fold import measure_fold
from benchmarks.speed_scale import MACHINES as MANY
from benchmarks.speed_scale import measure_scale
from benchmarks.speed_ticks import measure_ticks
from benchmarks.speed_workers import measure_workers

PARTS: dict[str, Callable[[int, Path], list[Figure]]] = {
    "ingest": measure_ingest,
    "compaction": measure_reads,
    "influx": measure_influx,
    "fold": measure_fold,
    "ticks": measure_ticks,
    "scale": measure_scale,
    "workers": lambda rounds, _: measure_workers(trained_model(), MANY, rounds),
}


def main() -> int:
    """0 if all figures hold."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        options.error(f"there is no part {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    began, figures = time.monotonic(), list[Figure]()
    for name in given.parts or PARTS:
        print(f"{name} ...", flush=True)
        figures += measured(name, given.rounds)
    family = "-".join(["speed", *given.parts])
    return 0 if write_report(family, figures, time.monotonic() - began) else 1


def measured(name: str, rounds: int) -> list[Figure]:
    """The figures of one part; of one that breaks off, that it did."""
    with tempfile.TemporaryDirectory(prefix="pdm-bench-") as folder:
        try:
            return PARTS[name](rounds, Path(folder))
        except Exception as error:
            traceback.print_exc()
            return [Figure(name, "all of it", None, reason=f"broke off: {type(error).__name__}: {error}"[:500])]


if __name__ == "__main__":
    sys.exit(main())
