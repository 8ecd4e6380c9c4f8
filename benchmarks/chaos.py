"""Faults on purpose, with real servers and real processes: `python -m benchmarks.chaos [C1 C5 ...]`.

Each drill breaks something, lets it recover, and says what was lost, how long it took and what it cost. `--minutes 10`
has servers away for as long as that. Short forms run with every `make test`; beside each drill stands where.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from benchmarks import chaos_clocks as clocks
from benchmarks import chaos_crash as crash
from benchmarks import chaos_data as data
from benchmarks import chaos_disk as disk
from benchmarks import chaos_health as health
from benchmarks import chaos_hostile as hostile
from benchmarks import chaos_leader as leader
from benchmarks import chaos_outage as outage
from benchmarks import chaos_sensors as sensors
from benchmarks import chaos_state as state
from benchmarks.chaos_terms import Drill, Terms
from benchmarks.report import Figure, write_report


class Entry(NamedTuple):
    """One drill: what it does, how, and the files of `tests/` with short forms of it."""

    what: str
    run: Drill
    tests: str


DRILLS = {
    "C1": Entry("ingest, main process or all of it killed under load", crash.c1, "test_ingest_crash system/test_crash"),
    "C2": Entry("the tick killed before each of its statements", crash.c2, "system/test_interrupted_tick"),
    "C3": Entry("publishing of a model killed at each statement", crash.c3, "adapters/test_model_folder"),
    "C4": Entry("broker killed, away, and without its memory", outage.c4, "test_mqtt system/test_trouble"),
    "C5": Entry("InfluxDB away, then killed, under load", outage.c5, "test_influx system/test_influx_store"),
    "C6": Entry("a spool that fills up", outage.c6, "test_forward"),
    "C7": Entry("a full disk", disk.c7, "system/test_trouble adapters/test_compaction test_ingest_crash test_drop"),
    "C8": Entry("SIGTERM under load", crash.c8, "system/test_crash test_mqtt"),
    "C9": Entry("state database locked, or restarted", outage.c9, "system/test_postgres"),
    "C10": Entry(
        "bits flipped in whatever is stored",
        disk.c10,
        "adapters/test_reading_log adapters/test_compaction test_cohort adapters/test_model_folder test_doctor",
    ),
    "C11": Entry("a leader that falls silent and comes back", leader.c11, "test_lease system/test_roles"),
    "C12": Entry("migrations killed at each statement", state.c12, "test_state system/test_commands"),
    "C13": Entry("a backup under load, restored elsewhere", state.c13, "system/test_backup"),
    "D1": Entry("duplicates in any order", data.d1, "test_cohort contract/test_reading_stores"),
    "D2": Entry("out of order, and too late", data.d2, "test_cohort test_tick"),
    "D3": Entry("times of the future and of 1970", data.d3, "test_decode system/test_bad_messages"),
    "D4": Entry("no numbers", data.d4, "test_decode system/test_bad_messages"),
    "D5": Entry("hostile payloads", hostile.d5, "test_decode test_ingest test_mqtt test_lines web/test_influx"),
    "D6": Entry("poison among good ones", hostile.d6, "system/test_bad_messages adapters/test_reading_log"),
    "D7": Entry("a unit that changes undeclared", health.d7, "test_sensor_health test_decode"),
    "D8": Entry("sensors at fault", health.d8, "test_sensor_health"),
    "D9": Entry("a gateway that moves to another machine, a sensor replaced", sensors.d9, "test_tick test_new_sensors"),
    "D10": Entry("clocks and calendars", clocks.d10, "test_calendars test_schedule"),
    "D12": Entry("machines with strange names", data.d12, "test_influx web/test_hostile test_export"),
}
"""By the number of the fault."""


def main() -> int:
    """Run the drills asked for; 0 if all figures hold."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("drills", nargs="*", metavar="DRILL", help=f"of {', '.join(DRILLS)}; all if none is named")
    options.add_argument("--rounds", type=int, default=Terms().rounds, help="how often something is killed")
    options.add_argument("--minutes", type=float, default=Terms().minutes, help="how long servers stay away")
    options.add_argument("--rate", type=float, default=Terms().rate, help="messages a second under load")
    options.add_argument("--assets", type=int, default=Terms().assets, help="machines in C12 and C13")
    options.add_argument("--seed", type=int, default=Terms().seed, help="of all that is left to chance")
    given = options.parse_args()
    if unknown := set(given.drills) - DRILLS.keys():
        options.error(f"there is no drill {', '.join(sorted(unknown))}: expected some of {', '.join(DRILLS)}")
    terms = Terms(given.rounds, given.minutes, given.rate, given.assets, given.seed)
    began, figures = time.monotonic(), list[Figure]()
    for drill_id in given.drills or DRILLS:
        figures += drilled(drill_id, terms)
    # a part of them never stands in the place of all
    return 0 if write_report("-".join(["chaos", *given.drills]), figures, time.monotonic() - began) else 1


def drilled(drill_id: str, terms: Terms) -> list[Figure]:
    """One drill in a folder of its own; one that breaks off is a figure that could not be measured."""
    entry, began = DRILLS[drill_id], time.monotonic()
    print(f"{drill_id}: {entry.what}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pdm-twin-chaos-") as folder:
        try:
            found = entry.run(Path(folder), terms)
        except Exception as error:
            traceback.print_exc()
            found = [Figure(drill_id, entry.what, None, reason=f"broke off: {type(error).__name__}: {error}"[:500])]
    print(f"{drill_id}: {time.monotonic() - began:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
