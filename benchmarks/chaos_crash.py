"""Drills of crashes: processes killed without warning, between any two statements, and asked to end under load."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.chaos_terms import Terms, all_of, broker_in, none, sound
from benchmarks.report import Figure
from pdm.adapters import model_folder
from tests.adapters import publish_sweep
from tests.small_lives import fan_model
from tests.system.drill import drill, kill_all, kill_ingest, kill_main, terminate

ENDINGS = (kill_ingest, kill_all, kill_main)


def c1(folder: Path, terms: Terms) -> list[Figure]:
    """The whole service, its main process, or ingest alone killed at random moments under load by MQTT and HTTP."""
    endings = [ENDINGS[number % len(ENDINGS)] for number in range(terms.rounds)]
    with broker_in(folder / "broker") as broker:
        found = drill(folder, broker, endings, messages=1000, per_second=terms.rate, seed=terms.seed)
    return [
        Figure("C1.sent", f"readings sent in {found.rounds} rounds that ended in a kill", found.sent),
        all_of("C1.acknowledged", "of them acknowledged", found.acknowledged, found.sent),
        Figure("C1.rate", "readings sent while it was under load", found.per_second, "/s"),
        *sound("C1", found.audit),
        Figure("C1.start", "longest start with this backlog (I7)", found.slowest_start_s, "s", bar=10, better="lower"),
    ]


def c8(folder: Path, terms: Terms) -> list[Figure]:
    """SIGTERM at random moments under load."""
    endings = [terminate] * max(terms.rounds // 5, 1)
    with broker_in(folder / "broker") as broker:
        found = drill(folder, broker, endings, messages=1000, per_second=terms.rate, seed=terms.seed)
    return [
        Figure("C8.stop", f"longest of {found.rounds} ends after SIGTERM", found.slowest_stop_s, "s", 10, "lower"),
        none("C8.unanswered", "requests that it had taken and did not answer", found.unanswered),
        *sound("C8", found.audit),
    ]


def c2(folder: Path, terms: Terms) -> list[Figure]:
    """A process that ticks and tells is killed before each of its statements, and its work done again."""
    subprocess.run([sys.executable, "-m", "tests.system.ticking", str(folder), "1", "1"], check=True)
    found = json.loads((folder / "found.json").read_text())
    return [
        Figure("C2.statements", "statements before each of which the tick was killed", found["statements"] - 1),
        none("C2.unlike", "kills after which work done again left another state", len(found["differing"])),
    ]


def c3(folder: Path, terms: Terms) -> list[Figure]:
    """Publishing a second model, and activating it in place of the first, are killed at each of their statements."""
    model_folder.save(fan_model(), folder)
    found = publish_sweep.kill_everywhere(folder, 1)
    return [
        Figure("C3.kills", "statements of publishing a model at each of which it was killed", found.kills),
        none("C3.none", "kills after which the newest version is none that can be used", found.unusable),
        Figure(
            "C3.activation_kills",
            "statements of activating it at each of which that was killed",
            found.activation_kills,
        ),
        none("C3.neither", "kills after which the active model is neither the old nor the new one", found.neither),
        none("C3.orphans", "unfinished folders that the next publishing leaves behind", found.left_behind),
    ]
