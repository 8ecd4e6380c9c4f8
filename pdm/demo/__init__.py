"""The demo: machines live to failure as live streams through the whole service, which at the end says how right it was.

Readings go through the real broker if `mosquitto` is installed, otherwise by HTTP; failures are reported through the
API. Each tick runs once every reading sent is stored, so the same seed gives the same figures on any machine.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import structlog

from pdm.catching_up import catch_up
from pdm.clocks import ReplayClock
from pdm.deliver import deliver
from pdm.demo import summary
from pdm.demo.fleets import START_MS, FailureReport, Fleet, PlantStep
from pdm.demo.simulation import FASTEST, SimulationControl
from pdm.demo.transport import Transport, open_transport
from pdm.errors import ConfigurationError, StoreError
from pdm.running import InUse, follow_plant
from pdm.services import Services
from pdm.serving import Server
from pdm.settings import Settings
from pdm.state.plants import current_plant, store_plant
from pdm.state.schema import opened_state, read, write
from pdm.state.told import accepted_interventions
from pdm.tick import tick
from pdm.web.app import create_app
from pdm.wiring import open_services

_log = structlog.stdlib.get_logger(__name__)

STORED_PATIENCE_S, LOOK_S = 60.0, 0.002


@dataclass(frozen=True, slots=True)
class DemoProgress:
    """How far a demo is: machines that failed, plant time, readings stored, alerts told so far."""

    failed: int
    machines: int
    plant_ms: int
    readings: int
    told: int


class Demo:
    """A fleet, and the service that watches it."""

    def __init__(self, fleet: Fleet, settings: Settings, *, rate: float = FASTEST) -> None:
        self.fleet, self._settings = fleet, settings
        self._clock = ReplayClock(START_MS)
        self.simulation = SimulationControl(self._clock, rate)
        self.stopping = threading.Event()
        self.sent = self.told = 0
        self._resources = ExitStack()
        self._started = time.monotonic()

    def __enter__(self) -> "Demo":
        with opened_state(self._settings.state_url()) as engine, write(engine) as connection:
            plant = store_plant(connection, self.fleet.plant_text, self.fleet.rules_text, START_MS)
        self._services = open_services(self._settings, self._clock, log_name="http", simulation=self.simulation)
        self._resources.callback(self._services.close)
        if self.fleet.class_name not in self._services.models:
            why = self._services.model_problems.get(self.fleet.class_name, "there is none in the model folders")
            raise ConfigurationError(f"no model of class {self.fleet.class_name} can be used: {why}", key="models")
        self._in_use = InUse(plant.number)
        server = Server(create_app(self._services), self._settings.http.host, self._settings.http.port)
        server.start()
        self._resources.callback(server.stop)
        self.address = server.address
        self._client = self._resources.enter_context(httpx2.Client(base_url=self.address, timeout=30))
        transport = open_transport(self._settings, plant, self._clock, self._client)
        self._transport = self._resources.enter_context(transport)
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def services(self) -> Services:
        return self._services

    @property
    def transport(self) -> Transport:
        """How readings travel."""
        return self._transport

    def run(self, report: Callable[[DemoProgress], None] = lambda _: None) -> None:
        """Live until all machines have failed, or until `stopping` is set."""
        for step in self.fleet.steps():
            self.simulation.wait_for(step.tick_ms, self.stopping)
            if self.stopping.is_set():
                return
            self._live(step)
            report(self._progress())
        self.simulation.finish()

    def follow(self) -> None:
        """Take up what people have activated or applied meanwhile, as a service does."""
        catch_up(self._services)
        self._in_use = follow_plant(self._services, self._settings, self._in_use)

    def _live(self, step: PlantStep) -> None:
        """One step of plant time: readings, what people report, tick, delivery."""
        self._clock.advance(step.tick_ms)
        self._transport.send(step.readings)
        self.sent += len(step.readings)
        for failure in step.failures:
            self._report_failure(failure)
        self._do_accepted_work(step.tick_ms)
        self._wait_until_stored()
        self.follow()
        self.told += tick(self._services, step.tick_ms).told
        deliver(self._services)

    def _wait_until_stored(self) -> None:
        deadline = time.monotonic() + STORED_PATIENCE_S
        while (counts := self._services.readings.counts()).readings + counts.dead_letters < self.sent:
            if time.monotonic() > deadline:
                raise TimeoutError(f"of {self.sent} readings sent only {counts.readings} were stored")
            time.sleep(LOOK_S)
            self._forward()

    def _forward(self) -> None:
        """Where readings go on from the logs to another store, do not wait until it is looked for them."""
        if self._services.forwarder is not None:
            with suppress(StoreError):  # the forwarder tries again
                self._services.forwarder.forward()

    def _report_failure(self, failure: FailureReport) -> None:
        event = {"serial": failure.serial, "kind": "failed", "at": _instant(failure.at_ms), "mode": failure.mode}
        self._post("/api/v1/events", {"id": f"failure-of-{failure.serial}", **event})

    def _do_accepted_work(self, now_ms: int) -> None:
        """Replace the machines whose accepted window has come, as the crew of the plant would."""
        with read(self._services.engine) as connection:
            accepted = accepted_interventions(connection)
        for row in accepted:
            if row.committed["start_ms"] <= now_ms and (newcomer := self.fleet.replace(row.serial)):
                at = _instant(now_ms)
                outcome = {"started_at": at, "finished_at": at, "found": "replaced by the simulated crew"}
                self._post(f"/api/v1/interventions/{row.id}/status", {"status": "done", "outcome": outcome})
                self._post(
                    "/api/v1/events", {"serial": row.serial, "kind": "replaced", "at": at, "by_serial": newcomer}
                )

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._client.post(path, json={**body, "who": "simulated plant"}).raise_for_status()

    def _progress(self) -> DemoProgress:
        failed, machines = self.fleet.progress()
        return DemoProgress(failed, machines, self._clock.plant_ms(), self.sent, self.told)

    def summary(self) -> dict[str, Any]:
        """What became of it, as one JSON object."""
        counts = self._services.readings.counts()
        with read(self._services.engine) as connection:
            plant = current_plant(connection).plant
            asset_class = plant.classes[self.fleet.class_name]
            rivals = self._services.models[asset_class.name].facts.rivals
            history = summary.read_history(connection, asset_class)
            listed, outcomes = summary.alert_report(
                connection, history, asset_class, self.fleet.rule, self.fleet.rule_horizon
            )
        ours, by_age = summary.forecast_scores(history, asset_class.horizon, rivals)
        return {
            "fleet": self.fleet.name,
            "assets": len(plant.assets),
            "failures": len(history.lives),
            "readings_sent": self.sent,
            "readings_stored": counts.readings,
            "dead_letters": counts.dead_letters,
            "transport": self._transport.name,
            "alerts": listed,
            "missed_failures": int(outcomes.missed.sum()),
            "false_alarms": int(outcomes.false_alarm.sum()),
            "forecasts_scored": ours.forecasts,
            "coverage_80": round(ours.coverage_80, 4),
            "coverage_90": round(ours.coverage_90, 4),
            "rmse": round(ours.rmse, 3),
            "crps": round(ours.crps, 3),
            "crps_age_only": round(by_age.crps, 3),
            "cost": {k: round(v, 6) for k, v in summary.policy_costs(history, asset_class, rivals).items()},
            "seconds": round(time.monotonic() - self._started, 1),
        }


def _instant(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
