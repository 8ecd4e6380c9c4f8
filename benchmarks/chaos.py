"""Faults on purpose, with real servers and real processes: `python -m benchmarks.chaos [C1 C5 ...]`.

Each drill breaks something, lets it recover, and says what was lost, how long it took and what it cost. `--minutes 10`
has servers away for as long as that. Short forms run with every `make test`; beside each drill stands where.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import chaos_crash, chaos_disk, chaos_outage, chaos_state
from benchmarks.chaos_terms import Drill, Terms
from benchmarks.report import Figure, write_report


class Entry(NamedTuple):
    """One drill: what it does, how, and the tests that are short forms of it."""

    what: str
    run: Drill
    tests: tuple[str, ...]


DRILLS = {
    "C1": Entry(
        "ingest, main process or all of it killed under load",
        chaos_crash.c1,
        ("tests/test_ingest_crash.py", "tests/system/test_crash.py"),
    ),
    "C2": Entry(
        "the tick killed before each of its statements",
        chaos_crash.c2,
        ("tests/system/test_interrupted_tick.py",),
    ),
    "C3": Entry(
        "publishing of a model killed at each statement",
        chaos_crash.c3,
        ("tests/adapters/test_model_folder.py",),
    ),
    "C4": Entry(
        "the broker killed, away, and without its memory",
        chaos_outage.c4,
        ("tests/test_mqtt.py", "tests/system/test_trouble.py"),
    ),
    "C5": Entry(
        "InfluxDB away for minutes, then killed, under load",
        chaos_outage.c5,
        ("tests/test_influx.py", "tests/system/test_influx_store.py"),
    ),
    "C6": Entry("a spool that fills up", chaos_outage.c6, ("tests/test_forward.py",)),
    "C7": Entry(
        "a full disk under load, export, backup and migration",
        chaos_disk.c7,
        ("tests/system/test_trouble.py", "tests/adapters/test_compaction.py", "tests/test_drop.py"),
    ),
    "C8": Entry("SIGTERM under load", chaos_crash.c8, ("tests/system/test_crash.py", "tests/test_mqtt.py")),
    "C9": Entry(
        "the state database locked, or restarted",
        chaos_outage.c9,
        ("tests/system/test_postgres.py",),
    ),
    "C10": Entry(
        "bits flipped in logs, files, checkpoints, models and state",
        chaos_disk.c10,
        (
            "tests/adapters/test_reading_log.py",
            "tests/adapters/test_compaction.py",
            "tests/test_cohort.py",
            "tests/adapters/test_model_folder.py",
            "tests/test_doctor.py",
        ),
    ),
    "C12": Entry(
        "migrations of a large plant, killed at each statement",
        chaos_state.c12,
        ("tests/test_state.py", "tests/system/test_commands.py", "tests/system/test_refusals.py"),
    ),
    "C13": Entry("a backup under load, restored elsewhere", chaos_state.c13, ("tests/system/test_backup.py",)),
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
            found = [Figure(drill_id, entry.what, None, reason=f"broke off: {type(error).__name__}: {error}"[:500])]
    print(f"{drill_id}: {time.monotonic() - began:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
