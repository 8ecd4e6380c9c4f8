"""Figures for Prometheus. No asset is a label: their number is not bounded."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import Scope

from pdm.errors import NotFoundError, StoreError
from pdm.services import Services
from pdm.state import schema
from pdm.state.told import AlertState
from pdm.web import fleet, snapshot, views

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of one service: requests as they are answered, the rest as it stands when asked."""

    def __init__(self, services: Services):
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(_StateCollector(services))
        self._requests = Counter(
            "pdm_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "pdm_http_request_seconds", "Time to answer a request.", ["route"], registry=self._registry
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request under the template of its route."""
        route = getattr(scope.get("route"), "path_format", "none")
        method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "DELETE", "HEAD") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures in the text format."""
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """Figures of the plant, the readings, the alerts and the jobs."""

    def __init__(self, services: Services):
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield from self._readings()
        yield from self._records()
        try:
            yield from self._plant(snapshot.latest(self._services))
        except NotFoundError:
            return  # no plant yet: nothing to count

    def _readings(self) -> Iterator[Metric]:
        forwarder = self._services.forwarder
        try:
            counts = self._services.readings.counts()
            waiting = None if forwarder is None else forwarder.waiting()
        except StoreError:
            yield GaugeMetricFamily("pdm_readings_store_up", "Whether the reading store answers.", 0)
            return
        yield GaugeMetricFamily("pdm_readings_store_up", "Whether the reading store answers.", 1)
        for name, help_text, value in (
            ("readings", "Readings stored, resends included.", counts.readings),
            ("late_readings", "Readings that came after the lateness window.", counts.late),
            ("dead_letters", "Messages that could not be read.", counts.dead_letters),
            ("dead_letters_dropped", "Kept dead letters that made room for newer ones.", counts.dead_letters_dropped),
            ("sessions_lost", "How often a broker came back without what it had for us.", counts.sessions_lost),
            ("damaged_batches", "Stored batches found damaged.", counts.damaged),
        ):
            yield CounterMetricFamily(f"pdm_{name}", help_text, value)
        if waiting is not None:
            yield GaugeMetricFamily("pdm_spool_readings", "Readings that wait to be forwarded.", waiting.rows)
            yield GaugeMetricFamily("pdm_spool_bytes", "What they take on disk, about.", waiting.bytes)

    def _records(self) -> Iterator[Metric]:
        with schema.read(self._services.engine) as connection:
            by_severity = (
                select(schema.alerts.c.state, schema.alerts.c.severity, func.count())
                .where(schema.alerts.c.state != AlertState.CLOSED)
                .group_by(schema.alerts.c.state, schema.alerts.c.severity)
            )
            alerts = connection.execute(by_severity).all()
            deliveries = snapshot.count_by(connection, schema.deliveries.c.state)
            ended = select(schema.runs.c.job, schema.runs.c.outcome, func.count(), func.max(schema.runs.c.finished_ms))
            runs = connection.execute(ended.group_by(schema.runs.c.job, schema.runs.c.outcome)).all()
        live = GaugeMetricFamily("pdm_alerts", "Alerts that are not closed.", labels=["state", "severity"])
        for state, severity, number in alerts:
            live.add_metric([state, severity], number)
        told = GaugeMetricFamily("pdm_deliveries", "Messages to people and systems.", labels=["state"])
        for state, number in deliveries.items():
            told.add_metric([state], number)
        jobs = CounterMetricFamily("pdm_runs", "Runs of the scheduled jobs.", labels=["job", "outcome"])
        last = GaugeMetricFamily("pdm_run_finished_seconds", "When a job last ended so.", labels=["job", "outcome"])
        for job, outcome, number, finished_ms in runs:
            jobs.add_metric([job, outcome], number)
            last.add_metric([job, outcome], (finished_ms or 0) / 1000)
        yield from (live, told, jobs, last)

    def _plant(self, now: snapshot.Snapshot) -> Iterator[Metric]:
        ranking = fleet.ranked(now)
        assets = GaugeMetricFamily("pdm_assets", "Machines in service.", labels=["class", "basis"])
        for (class_name, basis), number in fleet.count_by_basis(ranking).items():
            assets.add_metric([class_name, basis], number)
        age = GaugeMetricFamily("pdm_belief_age_seconds", "Plant time since the last tick.", labels=["class"])
        wide = GaugeMetricFamily("pdm_widening", "How much wider bands are than the model says.", labels=["class"])
        plant_ms = self._services.clock.plant_ms()
        for name, of_class in now.classes.items():
            if of_class.stored is not None:
                age.add_metric([name], (plant_ms - of_class.stored.at_ms) / 1000)
                wide.add_metric([name], views.widening_in(of_class))
        yield from (assets, age, wide)
