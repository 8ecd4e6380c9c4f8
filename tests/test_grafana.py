"""The dashboards of `deploy/grafana`, as far as they can be proved without a Grafana: every query of them is asked of a
real InfluxDB that holds what our own forwarder and projector write, every figure of Prometheus is one that we have."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fastapi.testclient import TestClient

from pdm.adapters.influx import InfluxLink, InfluxPoints, InfluxReadings, InfluxServer
from pdm.adapters.reading_log import ReadingLogWriter
from pdm.adapters.reading_log.spool import Spool, SpoolWriter
from pdm.clocks import ServiceClock
from pdm.forward import Forwarder
from pdm.projections import Projector
from pdm.schedule import load_pipelines, run_now
from pdm.services import Services
from pdm.settings import shipped_folder
from pdm.web.app import create_app
from tests.influx import ORG, TOKEN, InfluxDB, Proxy
from tests.small_plant import HOUR, START, make_services, readings

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
SOURCES = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/pdm-twin.yaml").read_text())["datasources"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PROMTOOL = Path(sys.executable).with_name("promtool")

STANDS_FOR = {
    "$timeFilter": f"time >= {START}ms AND time < {START + 500 * HOUR}ms",
    "$__interval": "6h",
    "${class}": "fan",
    "${serial}": "F-1",
    "${source}": "fan1",
    "${sensor}": "vibration",
}


class Asked(NamedTuple):
    """A query of a dashboard."""

    dashboard: str
    title: str
    text: str


def asked(kind: str) -> list[Asked]:
    """What all panels and variables ask of one kind of data source."""
    found = list[Asked]()
    for path in DASHBOARDS:
        made = json.loads(path.read_text())
        found += [
            Asked(path.stem, panel["title"], target.get("query") or target["expr"])
            for panel in made["panels"]
            for target in panel["targets"]
            if target["datasource"]["type"] == kind
        ]
        variables = made["templating"]["list"]
        found += [Asked(path.stem, one["name"], one["query"]) for one in variables if one["datasource"]["type"] == kind]
    return found


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Two fans whose readings go through a log into InfluxDB, from which their twins are made; one falls silent."""
    folder = tmp_path_factory.mktemp("grafana")
    influxdb = InfluxDB(folder / "influx").start()
    proxy = Proxy(influxdb.port)
    made = make_services(folder)
    spool = Spool(folder / "readings")
    server = InfluxServer(InfluxLink(proxy.url, ORG, "readings", TOKEN))
    points, letters = InfluxPoints(server), ReadingLogWriter(folder / "readings" / "forward.db")
    made.forwarder = Forwarder(made.engine, spool, points, lambda: letters, ServiceClock(), 10**9)
    made.readings, made.projector = InfluxReadings(server, made.engine, spool), Projector(made.engine, points)
    log = SpoolWriter(folder / "readings" / "http.db", 10**9)
    log.append({"fan": readings("fan1", range(481))})
    log.append({"fan": readings("fan2", range(300))})
    made.forwarder.forward()
    pipelines = load_pipelines(shipped_folder("pipelines"))
    for hour in (300, 330, 480):
        run_now(made, pipelines["tick"], START + hour * HOUR)
        made.projector.send()
    yield made
    log.close()
    made.close()
    proxy.close()
    influxdb.stop()


@pytest.mark.parametrize("query", asked("influxdb"), ids=lambda query: f"{query.dashboard}: {query.title}")
def test_every_query_of_every_dashboard_finds_what_the_service_writes(services: Services, query: Asked) -> None:
    text = query.text
    for name, value in STANDS_FOR.items():
        text = text.replace(name, value)
    assert "$" not in re.sub(r"\$/", "", text), "a variable that no dashboard has"
    assert isinstance(services.readings, InfluxReadings)
    rows = services.readings._server.query(text).decode().splitlines()
    assert len(rows) > 1
    assert any(cell for row in rows[1:] for cell in row.split(",")[3:]) or text.startswith("SHOW")


def test_the_dashboards_are_those_of_fleet_asset_and_pipeline_and_read_the_sources_that_there_are() -> None:
    assert [path.stem for path in DASHBOARDS] == ["asset", "fleet", "pipeline"]
    known = {source["type"]: source["uid"] for source in SOURCES}
    for path in DASHBOARDS:
        made = json.loads(path.read_text())
        named = re.findall(r'"type": "(\w+)",\s+"uid": "([^"]+)"', path.read_text())
        assert named, path.name
        assert {(kind, uid) for kind, uid in named if kind != "dashboards"} <= set(known.items())
        places = [panel["gridPos"] for panel in made["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        assert len({(place["x"], place["y"]) for place in places}) == len(places)


def test_every_figure_of_prometheus_that_is_asked_for_is_one_that_we_have(services: Services) -> None:
    shown = metrics(services)
    queries = asked("prometheus")
    assert len(queries) > 10
    for query in queries:
        for name in re.findall(r"\bpdm_\w+", query.text):
            assert re.search(rf"^{name}[ {{]|^# TYPE {name} ", shown, re.MULTILINE), f"{query}: {name}"


def metrics(services: Services) -> str:
    """The text of /metrics, after a request."""
    client = TestClient(create_app(services), base_url="http://127.0.0.1")
    assert client.get("/api/v1/assets").status_code == 200
    return client.get("/metrics").text


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What it finds wrong, nothing if nothing is."""
    assert PROMTOOL.exists(), f"this test needs promtool: .ci/promtool {PROMTOOL}"
    done = subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, text=True, check=False)
    return "" if not done.returncode else done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(services: Services) -> None:
    assert promtool("check", "metrics", given=metrics(services)) == ""


def test_promtool_finds_nothing_wrong_with_the_expressions_of_the_dashboards(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": query.text} for i, query in enumerate(asked("prometheus"))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert promtool("check", "rules", tmp_path / "rules.yaml") == ""


def test_promtool_finds_nothing_wrong_with_the_configuration_of_prometheus(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    (tmp_path / "api-key").write_text("key")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets", str(tmp_path)))
    assert promtool("check", "config", tmp_path / "prometheus.yml") == ""


def test_compose_mounts_what_grafana_and_prometheus_look_for() -> None:
    services = COMPOSE["services"]
    influx, prometheus = SOURCES
    assert influx["jsonData"]["dbName"] == services["serve"]["environment"]["PDM_INFLUX__BUCKET"]
    assert influx["url"] == services["serve"]["environment"]["PDM_INFLUX__URL"]
    assert prometheus["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    mounts = {to: DEPLOY / at for name in ("grafana", "prometheus") for at, to in mounted(services[name])}
    assert mounts["/etc/grafana/provisioning"].is_dir()
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/pdm-twin.yaml").read_text())["providers"][0]
    assert sorted(mounts[provider["options"]["path"]].glob("*.json")) == DASHBOARDS
    assert mounts["/etc/prometheus/prometheus.yml"].is_file()
    given = {name for service in services.values() for name in service.get("secrets", [])}
    assert given == COMPOSE["secrets"].keys()
    token = re.search(r"\$\{(\w+)\}", influx["secureJsonData"]["httpHeaderValue1"])
    assert token is not None
    assert f"{token[1]}__FILE" in services["grafana"]["environment"]


def mounted(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Files and folders of ours in a container: where they are, and where it finds them."""
    parts = [volume.split(":") for volume in service["volumes"]]
    return [(at, to) for at, to, *_ in parts if at.startswith("./")]
