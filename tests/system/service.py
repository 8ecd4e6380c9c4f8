"""`pdm-twin up` as an operator runs it: real processes in a folder of their own, a plant, and what must hold after."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import insert, select

from pdm import twin
from pdm.adapters.reading_log import ReadingLog
from pdm.clocks import ServiceClock
from pdm.cohort import Cohort
from pdm.services import Services
from pdm.state.plants import store_plant
from pdm.state.schema import events, open_state, plant_versions, read, write
from pdm.state.steps import history
from pdm.steps import Steps
from pdm.tick import tick

PATIENCE_S = 90.0
"""A busy machine is slow; what never comes fails later, and what comes is seen at once."""

DAY_MS = 86_400_000
SENSOR = "number"

PLANT = """
plant: System test
currency: EUR
time_zone: UTC
classes:
  press:
    title: Press
    life_step: {each: reading, unit: stroke}
    horizon: 100000
    notice: 1 d
    stale_after: 7 d
    expected_life: {mean: 1000000, sd: 200000}
    sensors:
      number: {unit: mm, range: [0, 1e9], title: Number}
    failure_modes:
      die: {title: Die wear, action: Replace the die}
  fan:
    title: Fan
    life_step: {every: 1 h, unit: hour}
    gap: assume_profile
    horizon: 1000
    notice: 1 d
    stale_after: 7 d
    expected_life: {mean: 5000, sd: 1000}
    sensors:
      number: {unit: mm, range: [0, 1e9], title: Number, summary: [mean, max]}
    failure_modes:
      belt: {title: Belt wear, action: Replace the belt}
assets:
  - {serial: P-1, class: press, slot: PRESS-1, source: p1, start_of_life: unknown}
  - {serial: P-2, class: press, slot: PRESS-2, source: p2, start_of_life: unknown}
  - {serial: F-1, class: fan, slot: FAN-1, source: f1, start_of_life: unknown}
"""

RULES = "rules:\n  silent: {kind: silent_sensor, title: No readings, for: 6 d}\n"

SOURCES = {"press": ("p1", "p2"), "fan": ("f1",)}
SERIALS = {"press": ["P-1", "P-2"], "fan": ["F-1"]}


def wait_until(condition: Callable[[], Any], otherwise: str) -> Any:
    """The first true answer; no fixed pauses, only looks."""
    answer = looked_for(condition)
    assert answer, otherwise
    return answer


def looked_for(condition: Callable[[], Any]) -> Any:
    """The first true answer, or the last one when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


class Service:
    """One folder with a plant in force, and the processes that work on it; the end of its block kills what runs."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, *, plant: str = PLANT, data: Path | None = None
    ):
        self.folder = folder
        self.data = data or folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "up.log"
        self._logged_before = 0
        self._client = httpx2.Client(timeout=PATIENCE_S, verify=False)  # plain HTTP: no certificates to load
        folder.mkdir(parents=True, exist_ok=True)
        self.configure({**(settings or {})})
        (folder / "plant.yaml").write_text(plant)
        (folder / "rules.yaml").write_text(RULES)
        given = dict(settings or {}).get("state", {})
        apply(given.get("url") or f"sqlite:///{self.data / 'state.db'}", plant)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._client.close()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write pdm.yaml: a free port, no broker, a tick a second, unless told otherwise."""
        usual = {
            "data_dir": str(self.data),
            "http": {"port": 0},
            "mqtt": {"enabled": "off"},
            "tick": {"interval": "1 s"},
        }
        (self.folder / "pdm.yaml").write_bytes(orjson.dumps(usual | dict(settings)))  # JSON is YAML

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the folder to its end."""
        command = [sys.executable, "-m", "pdm.cli", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=_environment(environment), capture_output=True, text=True, timeout=PATIENCE_S
        )

    def begin(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start `up` as the leader of a process group of its own."""
        self._logged_before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pdm.cli", "up"],
                cwd=self.folder,
                env=_environment(environment),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def start(self, **environment: str) -> "Service":
        """Start `up` and wait until it says that it is."""
        self.begin(**environment)
        self.address = str(self.wait_for_event("up")["pages"])
        return self

    def wait_for_event(self, event: str) -> dict[str, Any]:
        """The first line of the log of the present run with this event."""

        def look() -> dict[str, Any] | None:
            found = next((line for line in self.logged() if line["event"] == event), None)
            ended = self._process is not None and self._process.poll() is not None
            assert found or not ended, f"it ended before {event!r}:\n{self.log_text()}"
            return found

        found = looked_for(look)
        assert found, f"no {event!r} in the log:\n{self.log_text()}"
        return dict(found)

    def log_text(self) -> str:
        """What the present run has said."""
        with self._log.open("rb") as log:
            log.seek(self._logged_before)
            return log.read().decode()

    def logged(self) -> list[dict[str, Any]]:
        """The structured lines of it."""
        return [
            json.loads(line) for line in self.log_text().splitlines() if line.startswith("{") and line.endswith("}")
        ]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ingest_pid(self) -> int:
        """The process that takes readings from the broker; 0 if there is none."""
        started = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return next((int(pid) for pid in started if b"\0ingest\0" in Path(f"/proc/{pid}/cmdline").read_bytes()), 0)

    def stop(self) -> int:
        """SIGTERM to the main process alone; its exit code, within the ten seconds that it has."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)

    def kill(self) -> None:
        """SIGKILL to all of it at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> int:
        """Until the main process has ended."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def get(self, path: str, **parameters: Any) -> Any:
        """What the API answers."""
        answer = self._client.get(f"{self.address}/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def text(self, path: str) -> str:
        """What stands on a page beside the API."""
        answer = self._client.get(f"{self.address}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, content: bytes | object, *, path: str = "readings", **headers: str) -> httpx2.Response:
        """Send readings by HTTP, or something else to another path."""
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        told = {"content-type": "application/json", **headers}
        return self._client.post(f"{self.address}/api/v1/{path}", content=body, headers=told)

    def stored(self) -> dict[str, list[int]]:
        """The numbers in the reading store by source, as another process reads them."""
        return stored_numbers(self.data)


def message(number: int, base_ms: int, *, source: str | None = None, every_ms: int = 30_000) -> dict[str, Any]:
    """Reading n of a plant, half a minute after the one before unless told otherwise."""
    body = {"ts": base_ms + every_ms * number, "values": {SENSOR: number}}
    return body if source is None else {"source": source, **body}


def apply(url: str, plant: str, rules: str = RULES) -> None:
    """Put a plant into force as `pdm-twin apply` does."""
    engine = open_state(url)
    with write(engine) as connection:
        store_plant(connection, plant, rules, 0)
    engine.dispose()


def stored_numbers(data: Path) -> dict[str, list[int]]:
    """The numbers in the reading logs of a folder by source, each (source, time) once."""
    log = ReadingLog(data / "readings")
    try:
        found = {}
        for class_name, sources in SOURCES.items():
            window = log.window(class_name, sources, 0, 2**60)
            for source in sources:
                values = window.values[window.source == source]
                found[source] = values[:, 0].astype(int).tolist() if len(values) else []
        return found
    finally:
        log.close()


class Audit(NamedTuple):
    """What is wrong after a fault.

    Attributes:
        lost: acknowledged readings that are not stored.
        double: readings that count more than once in the steps.
        strange: readings stored that nobody sent.
        unlike: columns of steps and twins that differ from those of a cold fold of all readings.
        damaged: batches of the reading logs, and the state database, that fail their checks.
    """

    lost: int
    double: int
    strange: int
    unlike: int
    damaged: int


SOUND = Audit(0, 0, 0, 0, 0)


def audit(data: Path, sent: Mapping[str, Iterable[int]], acknowledged: Mapping[str, Iterable[int]]) -> Audit:
    """Compare what a stopped service has left behind with what it was sent and had acknowledged, by source."""
    stored = stored_numbers(data)
    at_ms = ServiceClock().plant_ms()
    warm, cold = _ticked(data / "state.db", data, at_ms), _ticked(data / "cold.db", data, at_ms)
    double = unlike = 0
    for class_name, sources in SOURCES.items():
        steps, again = _steps(warm, class_name), _steps(cold, class_name)
        double += int(steps.count.sum()) - sum(len(set(stored[source])) for source in sources)
        unlike += _unlike(_columns(steps), _columns(again))
        unlike += _unlike(twins(warm.cohorts[class_name]), twins(cold.cohorts[class_name]))
    with read(warm.engine) as connection:
        sound = connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    damaged = warm.readings.counts().damaged + (not sound)
    for services in (warm, cold):
        services.close()
    for file in data.glob("cold.db*"):
        file.unlink()
    lost = sum(len(set(acknowledged.get(source, ())) - set(numbers)) for source, numbers in stored.items())
    strange = sum(len(set(numbers) - set(sent[source])) for source, numbers in stored.items())
    return Audit(lost, double, strange, unlike, damaged)


def twins(cohort: Cohort) -> dict[str, Any]:
    """The twins as columns, without the count of how often they were folded."""
    columns = twin.to_columns(cohort.twin, cohort.serials)
    return {name: values for name, values in columns.items() if name != "revision"}


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    """How many columns differ in any bit."""
    assert a.keys() == b.keys()
    return sum(not _same(a[name], b[name]) for name in a)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _ticked(state: Path, data: Path, at_ms: int) -> Services:
    """A service that ticks once on this state database: from what is stored, or from readings and events alone."""
    new = not state.exists()
    engine = open_state(f"sqlite:///{state}")
    if new:
        with read(known := open_state(f"sqlite:///{data / 'state.db'}")) as connection:
            row = connection.execute(select(plant_versions).order_by(plant_versions.c.number.desc())).first()
            told = connection.execute(select(events)).mappings().all()
        known.dispose()
        assert row is not None
        with write(engine) as connection:
            store_plant(connection, row.plant_text, row.rules_text, 0)
            if told:
                connection.execute(insert(events), [dict(event) for event in told])
    services = Services(engine=engine, readings=ReadingLog(data / "readings"), clock=ServiceClock())
    tick(services, at_ms)
    return services


def _steps(services: Services, class_name: str) -> Steps:
    with read(services.engine) as connection:
        return history(connection, services.cohorts[class_name].asset_class, SERIALS[class_name])


def _columns(steps: Steps) -> dict[str, Any]:
    return {name: getattr(steps, name) for name in Steps.__dataclass_fields__}


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PDM_")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}
