"""Kills publishing and activating a model at their statements, each in a process of its own; looks at what is left.

python -m tests.adapters.publish_sweep MODELS EVERY
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from pdm.adapters import model_folder
from pdm.errors import DamagedModelError
from pdm.respond import Act, activate_model
from pdm.state.engines import opened_engine
from pdm.state.models import activations_of
from pdm.state.schema import open_state, read, write
from tests.small_lives import FAN


class Swept(NamedTuple):
    """At how many statements it was killed, after how many of them the newest model was none that can be used, and how
    many unfinished folders were there in the end; the same of activating, where the active model was neither the one
    before nor the new one."""

    kills: int
    unusable: int
    left_behind: int
    activation_kills: int
    neither: int


def kill_everywhere(models: Path, every: int) -> Swept:
    """Publish beside the model that is there; in a process of its own, where nothing else is at work."""
    command = [sys.executable, "-m", __name__, str(models), str(every)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads of a forest do not survive a fork
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Swept(*json.loads(done.stdout))


def writes(code: CodeType) -> bool:
    """What writes a model: what comes before it leaves nothing on disk but the folder of the class."""
    return code is model_folder._write.__code__


def ours(code: CodeType) -> bool:
    """Everything of the package."""
    return "/pdm/" in code.co_filename


def die_at(statement: int, counted: Callable[[CodeType], bool]) -> None:
    """End this process at once at this statement of the functions that are counted."""
    left = statement

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    sys.settrace(lambda frame, event, _: at_line if counted(frame.f_code) else None)


def killed(act: Callable[[], object], counted: Callable[[CodeType], bool], statement: int) -> bool:
    """Whether a child that does this has so many statements."""
    if not (child := os.fork()):
        die_at(statement, counted)
        act()
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
        if not killed(partial(model_folder.save, other, models), writes, 1 + turn * every):
            break
        kills += 1
        unusable += not usable(models)
    assert unfinished(models), "no kill left anything behind"
    for path in unfinished(models):
        os.utime(path, (0, 0))  # an hour has passed
    model_folder.save(replace(model, facts=replace(model.facts, seed=999)), models)
    return Swept(kills, unusable, len(unfinished(models)), *sweep_activation(models, every))


def activate_on(url: str, version: str) -> None:
    with opened_engine(url) as engine, write(engine) as connection:
        activate_model(connection, FAN.name, version, Act("sweep", 0))


def active_on(url: str) -> str:
    with opened_engine(url) as engine, read(engine) as connection:
        return str(activations_of(connection, FAN.name)[0].version)


def sweep_activation(models: Path, every: int) -> tuple[int, int]:
    """Activate the newest model in place of the one before it; from the opening of the database to its commit."""
    url = f"sqlite:///{models / 'state.db'}"
    before, new = model_folder.versions(models, FAN.name)[-2:]
    open_state(url).dispose()
    activate_on(url, before)
    neither = 0
    for turn in count():
        if not killed(partial(activate_on, url, new), ours, 1 + turn * every):
            return turn, neither
        neither += active_on(url) not in (before, new)
        if active_on(url) == new:
            activate_on(url, before)
    raise AssertionError


if __name__ == "__main__":
    print(json.dumps(sweep(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - read by kill_everywhere
