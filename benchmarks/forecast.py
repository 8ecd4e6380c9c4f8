"""How right forecasts are, on public run-to-failure data and on simulated machines: all of it, or the parts named.

    python -m benchmarks.forecast [pumps engines late few watch skab nab flights hydraulic lives] [--seeds 5]

One code path and one configuration for everything. Public data is looked for in the folder PDM_DATA (`../shared/data`
by default).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.forecast_anomalies import measure_nab, measure_skab
from benchmarks.forecast_engines import measure_engines
from benchmarks.forecast_few import measure_few, measure_late
from benchmarks.forecast_flights import measure_flights
from benchmarks.forecast_hydraulic import measure_hydraulic
from benchmarks.forecast_lives import measure_lives
from benchmarks.forecast_pumps import measure_pumps
from benchmarks.forecast_watch import measure_watch
from benchmarks.report import Figure, write_report
from pdm.errors import ConfigurationError

PARTS: dict[str, Callable[[Path, int], list[Figure]]] = {
    "pumps": measure_pumps,
    "engines": measure_engines,
    "late": measure_late,
    "few": measure_few,
    "watch": measure_watch,
    "skab": measure_skab,
    "nab": measure_nab,
    "flights": measure_flights,
    "hydraulic": measure_hydraulic,
    "lives": measure_lives,
}


def main() -> int:
    """0 if all figures hold."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    options.add_argument("--seeds", type=int, default=5)
    given = options.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        options.error(f"there is no part {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    data, began, figures = Path(os.environ.get("PDM_DATA", "../shared/data")), time.monotonic(), list[Figure]()
    for name in given.parts or PARTS:
        print(f"{name} ...", flush=True)
        try:
            figures += PARTS[name](data, given.seeds)
        except (FileNotFoundError, ConfigurationError) as error:
            figures.append(Figure(name, "", None, reason=f"{error} (set PDM_DATA)"))
    family = "-".join(["forecast", *given.parts])
    return 0 if write_report(family, figures, time.monotonic() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
