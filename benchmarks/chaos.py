"""The whole service under 1,000 messages a second, killed again and again: `python -m benchmarks.chaos`.

Readings are numbered and come by MQTT and HTTP through a real broker. After each kill the service starts again; at the
end all that was acknowledged must be stored, once, and the twins must equal a cold fold. Takes a few minutes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, write_report
from tests.mosquitto import Mosquitto
from tests.system.drill import Drilled, drill, kill_all, kill_main, terminate

ENDINGS = (kill_all, kill_main)


def main() -> int:
    """Run the drill; 0 if all figures hold."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10, help="how often the service is killed")
    options.add_argument("--messages", type=int, default=1000, help="readings sent in each round")
    options.add_argument("--rate", type=float, default=1000.0, help="readings a second")
    options.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    given = options.parse_args()
    began = time.monotonic()
    endings = [*(ENDINGS[number % 2] for number in range(given.rounds)), terminate]
    with tempfile.TemporaryDirectory(prefix="pdm-twin-chaos-") as folder:
        (Path(folder) / "broker").mkdir()
        broker = Mosquitto(Path(folder) / "broker").start()
        try:
            drilled = drill(
                Path(folder) / "plant",
                broker,
                endings,
                messages=given.messages,
                per_second=given.rate,
                seed=given.seed,
            )
        finally:
            broker.stop()
    return 0 if write_report("chaos", figures(drilled), time.monotonic() - began) else 1


def figures(drilled: Drilled) -> list[Figure]:
    """What must hold after a drill."""
    return [
        Figure("C1.sent", f"readings sent in {drilled.rounds} rounds that ended in a kill or a stop", drilled.sent),
        Figure("C1.acknowledged", "of them acknowledged", drilled.acknowledged),
        Figure("C1.rate", "readings sent while it was under load", drilled.per_second, "/s"),
        _none("C1.lost", "acknowledged readings that are not stored", drilled.audit.lost),
        _none("C1.double", "readings that count twice in the steps", drilled.audit.double),
        _none("C1.strange", "readings stored that nobody sent", drilled.audit.strange),
        _none("C1.twins", "columns of steps and twins unlike a cold fold", drilled.audit.unlike),
        _none("C1.damaged", "damaged batches and databases", drilled.audit.damaged),
        Figure("C8.stop", "longest time from SIGTERM to the end", drilled.slowest_stop_s, "s", bar=10, better="lower"),
        Figure("I7.start", "longest start, under this load of the machine", drilled.slowest_start_s, "s"),
    ]


def _none(figure_id: str, what: str, count: int) -> Figure:
    return Figure(figure_id, what, count, bar=0, better="lower")


if __name__ == "__main__":
    sys.exit(main())
