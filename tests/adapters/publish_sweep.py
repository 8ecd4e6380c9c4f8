"""Kills the publishing of a model at its statements, each time in a process of its own, and looks at what is left.

python -m tests.adapters.publish_sweep MODELS EVERY
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from pdm.adapters import model_folder
from pdm.errors import DamagedModelError
from pdm.prognosis.learned import Model
from tests.small_lives import FAN

WRITES = model_folder._write.__code__  # what comes before it leaves nothing on disk but the folder of the class


class Swept(NamedTuple):
    """At how many statements it was killed, after how many of them the newest model was none that can be used, and how
    many unfinished folders were there in the end."""

    kills: int
    unusable: int
    left_behind: int


def kill_everywhere(models: Path, every: int) -> Swept:
    """Publish beside the model that is there; in a process of its own, where nothing else is at work."""
    command = [sys.executable, "-m", __name__, str(models), str(every)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads of a forest do not survive a fork
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Swept(*json.loads(done.stdout))


def publish_and_die(model: Model, models: Path, statement: int) -> None:
    """Publish, and end at once at this statement of it."""
    left = statement

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    sys.settrace(lambda frame, event, _: at_line if frame.f_code is WRITES else None)
    model_folder.save(model, models)


def killed(model: Model, models: Path, statement: int) -> bool:
    """Whether a child that publishes has so many statements."""
    if not (child := os.fork()):
        publish_and_die(model, models, statement)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def usable(models: Path) -> bool:
    """Whether the newest version of the class is there and whole."""
    newest = models / FAN.name / model_folder.versions(models, FAN.name)[-1]
    try:
        model_folder.load(newest, FAN)
    except DamagedModelError:
        return False
    return True


def unfinished(models: Path) -> list[Path]:
    return list((models / FAN.name).glob(".*"))


def sweep(models: Path, every: int) -> Swept:
    model = model_folder.load(models / FAN.name / model_folder.versions(models, FAN.name)[-1], FAN)
    kills = unusable = 0
    for turn in count():
        other = replace(model, facts=replace(model.facts, seed=1000 + turn))
        if not killed(other, models, 1 + turn * every):
            break
        kills += 1
        unusable += not usable(models)
    assert unfinished(models), "no kill left anything behind"
    for path in unfinished(models):
        os.utime(path, (0, 0))  # an hour has passed
    model_folder.save(replace(model, facts=replace(model.facts, seed=999)), models)
    return Swept(kills, unusable, len(unfinished(models)))


if __name__ == "__main__":
    print(json.dumps(sweep(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - read by kill_everywhere
