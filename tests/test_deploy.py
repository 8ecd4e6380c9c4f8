"""The files of `deploy/`, as far as they can be proved on one machine: the broker's on a real mosquitto, the unit by
systemd's own linter."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from pdm.settings import Settings, load_settings
from tests.mosquitto import free_port, wait_for_port

CERTIFICATE = Path(__file__).parent / "certificates" / "localhost.pem"
DEPLOY = Path(__file__).parents[1] / "deploy"
PASSWORDS = {"pdm-twin": "a", "nord": "b", "sued": "c"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A mosquitto with the shipped configuration: its port, and the certificate to trust."""
    folder, port = tmp_path_factory.mktemp("broker"), free_port()
    for name in ("server.crt", "server.key"):
        shutil.copy(CERTIFICATE, folder / name)
    passwords = folder / "passwords"
    passwords.touch(0o600)
    for user, password in PASSWORDS.items():
        subprocess.run(["mosquitto_passwd", "-b", passwords, user, password], check=True, capture_output=True)
    shutil.copy(DEPLOY / "mosquitto/acl", folder / "acl")
    text = (DEPLOY / "mosquitto/mosquitto.conf").read_text()
    moved = {"/etc/mosquitto/certs": folder, "/etc/mosquitto": folder, "/var/lib/mosquitto/": f"{folder}/"}
    for shipped, here in moved.items():
        text = text.replace(shipped, str(here))
    configuration = folder / "mosquitto.conf"
    configuration.write_text(re.sub(r"listener \d+", f"user root\nlistener {port} 127.0.0.1", text))
    with subprocess.Popen(["/usr/sbin/mosquitto", "-c", configuration], stdout=subprocess.PIPE) as process:
        wait_for_port(port)
        yield port, CERTIFICATE
        process.terminate()


class Peer:
    """A client of the broker: what it was answered, and what it heard."""

    def __init__(self, broker: tuple[int, Path], user: str | None, password: str = ""):
        port, certificate = broker
        self.codes: list[str] = []
        self.heard: list[str] = []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = lambda _, __, ___, code, ____: self.codes.append(str(code))
        self.client.on_publish = lambda _, __, ___, code, ____: self.codes.append(str(code))
        self.client.on_message = self._on_message
        if user is not None:
            self.client.username_pw_set(user, password)
        self.client.tls_set(str(certificate))
        self.client.connect("localhost", port)
        self.spin(lambda: bool(self.codes))

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.heard.append(message.topic)

    def spin(self, until: object, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (callable(until) and until()):
            self.client.loop(0.05)

    def publish(self, topic: str, payload: bytes = b"{}") -> str:
        """What the broker answers."""
        before = len(self.codes)
        self.client.publish(topic, payload, qos=1)
        self.spin(lambda: len(self.codes) > before)
        return self.codes[-1]


@contextmanager
def peer(broker: tuple[int, Path], user: str | None, password: str | None = None) -> Iterator[Peer]:
    made = Peer(broker, user, PASSWORDS.get(user or "", "") if password is None else password)
    yield made
    made.client.disconnect()


@pytest.mark.parametrize(("user", "password"), [(None, ""), ("nord", "wrong"), ("nobody", "x")])
def test_the_broker_lets_in_nobody_without_the_right_password(
    broker: tuple[int, Path], user: str | None, password: str
) -> None:
    with peer(broker, user, password) as stranger:
        assert stranger.codes == ["Not authorized"]


def test_a_gateway_writes_below_its_own_site_alone_and_the_service_hears_it(broker: tuple[int, Path]) -> None:
    with peer(broker, "pdm-twin") as service, peer(broker, "nord") as gateway:
        service.client.subscribe("pdm/#", qos=1)
        service.spin(None, 0.3)
        assert gateway.publish("pdm/nord/line2/pump17") == "Success"
        assert gateway.publish("pdm/sued/line1/pump1") == "Not authorized"
        assert gateway.publish("$SYS/broker/uptime") != "Success"
        service.spin(lambda: bool(service.heard))
        service.spin(None, 0.3)
        assert service.heard == ["pdm/nord/line2/pump17"]


def test_a_gateway_hears_nothing_of_other_sites(broker: tuple[int, Path]) -> None:
    with peer(broker, "sued") as other, peer(broker, "nord") as gateway:
        other.client.subscribe("#", qos=1)
        other.spin(None, 0.3)
        assert gateway.publish("pdm/nord/line2/pump17") == "Success"
        other.spin(None, 0.5)
        assert other.heard == []


def test_the_service_itself_cannot_pretend_to_be_a_machine(broker: tuple[int, Path]) -> None:
    with peer(broker, "pdm-twin") as service:
        assert service.publish("pdm/nord/line2/pump17") == "Not authorized"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd/pdm-twin@.service").read_text()
    unit = tmp_path / "pdm-twin@up.service"
    unit.write_text(text.replace("/opt/pdm-twin/bin/pdm-twin", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


ROLES = ("ingest", "pipeline", "serve")


@pytest.mark.parametrize("role", ROLES)
def test_the_compose_file_gives_each_role_settings_that_it_has_and_secrets_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str
) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = services["services"][role]
    loaded = settings_in(service["environment"], monkeypatch, tmp_path)
    assert loaded.influx.url == "http://influxdb:8086"
    files = {value.rsplit("/", 1)[1] for name, value in service["environment"].items() if "/run/secrets" in value}
    assert files == set(service["secrets"]) <= services["secrets"].keys()
    hosts = {"postgres", "influxdb"} | ({loaded.mqtt.host} if loaded.mqtt.enabled == "on" else set())
    assert hosts == service["depends_on"].keys() <= services["services"].keys()
    assert {volume.partition(":")[0] for volume in service["volumes"]} - {"./plant"} <= services["volumes"].keys()
    assert service["command"] == [role]


def test_the_manifests_give_each_role_settings_that_it_has_and_files_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes/pdm-twin.yaml").read_text()))
    (settings,) = (manifest for manifest in manifests if manifest["kind"] == "ConfigMap")
    assert settings_in(settings["data"], monkeypatch, tmp_path).mqtt.shared_group == "pdm-twin"
    workloads = [manifest["spec"] for manifest in manifests if "template" in manifest.get("spec", {})]
    for workload in workloads:
        pod = workload["template"]["spec"]
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
        claims = workload.get("volumeClaimTemplates", [])
        volumes = [volume["name"] for volume in pod["volumes"]] + [claim["metadata"]["name"] for claim in claims]
        assert sorted(volumes) == sorted(mount["name"] for mount in container["volumeMounts"])
        labels = workload["template"]["metadata"]["labels"]
        assert workload.get("selector", {"matchLabels": labels})["matchLabels"] == labels
    assert [workload["template"]["spec"]["containers"][0]["args"][0] for workload in workloads] == ["apply", *ROLES]
    (service,) = (manifest["spec"] for manifest in manifests if manifest["kind"] == "Service")
    assert service["selector"] == workloads[-1]["template"]["metadata"]["labels"]


def settings_in(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    monkeypatch.chdir(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()
