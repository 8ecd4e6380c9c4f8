"""Sparkplug B: births, aliases, sequence numbers, deaths; through the reader, and through a real broker."""

import time
from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttIngest, MqttLink, new_client
from pdm.clocks import ReplayClock, ServiceClock
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.ingest.dialects import filters
from pdm.ingest.explain import explain
from pdm.ingest.sparkplug import ASK_AGAIN_MS, GoneFile, Nodes
from pdm.ingest.sparkplug_payload import Payload, number_in, payload_of, rebirth
from pdm.plant import Plant
from pdm.plant.file import parse_plant
from tests.mosquitto import Mosquitto
from tests.small_plant import PLANT as SMALL_PLANT
from tests.test_wire_file import FIRST, complaints

NOW = 1_795_341_600_000  # 2026-11-22T10:00:00Z
INT8, INT16, INT32, INT64, UINT64, FLOAT, DOUBLE, BOOLEAN, STRING = 1, 2, 3, 4, 8, 9, 10, 11, 12

SECTION = """sparkplug:
  - node: nord/{node}
    sensors: {Motor/Speed: speed, Motor/Vib: {sensor: vibration, factor: 0.1}}
"""
PLANT: Plant = parse_plant(SMALL_PLANT + SECTION)


def payload(*metrics: dict[str, Any], seq: int | None = None, at: int | None = NOW) -> bytes:
    built = Payload(timestamp=at, seq=seq)
    for metric in metrics:
        built.metrics.add(**metric)
    return bytes(built.SerializeToString())


def speed(value: float, **more: Any) -> dict[str, Any]:
    return {"alias": 1, "double_value": value, **more}


def node_birth(number: int = 0, seq: int = 0) -> bytes:
    return payload({"name": "bdSeq", "datatype": UINT64, "long_value": number}, seq=seq)


def device_birth(seq: int = 1, value: float = 1000.0, alias: int = 1, at: int = NOW) -> bytes:
    return payload(
        {"name": "Motor/Speed", "alias": alias, "datatype": DOUBLE, "double_value": value},
        {"name": "Motor/Vib", "alias": alias + 1, "datatype": INT16, "int_value": 29},
        {"name": "Maker", "alias": alias + 2, "datatype": STRING},
        {"name": "Motor/Amps", "alias": alias + 3, "datatype": FLOAT, "float_value": 3.5},
        seq=seq,
        at=at,
    )


def node_death(number: int = 0) -> bytes:
    return payload({"name": "bdSeq", "datatype": UINT64, "long_value": number})


class Host:
    """A service that listens, without a broker."""

    def __init__(self, path: Path | None = None, plant: Plant = PLANT):
        self.store, self.nodes = MemoryReadings(), Nodes(path)
        self.ingest = Ingest(Decoder(plant), self.store, ReplayClock(NOW), self.nodes)
        self.now = NOW

    def hear(self, topic: str, content: bytes) -> None:
        self.ingest.add(f"spBv1.0/nord/{topic}", content, self.now)
        self.ingest.commit()

    def be_born(self) -> None:
        self.hear("NBIRTH/edge1", node_birth())
        self.hear("DBIRTH/edge1/fan1", device_birth())

    def asked(self) -> list[str]:
        return [topic for topic, _ in self.ingest.requests()]

    @property
    def speeds(self) -> list[float]:
        window = self.store.window("fan", ["fan1"], 0, 2 * NOW)
        return window.values[:, 0].tolist() if len(window) else []

    @property
    def reasons(self) -> list[str]:
        return sorted(letter.reason for letter in self.store.dead_letters())


@pytest.fixture
def host() -> Host:
    host = Host()
    host.be_born()
    return host


def test_a_birth_carries_readings_and_says_what_later_numbers_mean(host: Host) -> None:
    host.hear("DDATA/edge1/fan1", payload(speed(1498.0), {"alias": 2, "int_value": 31}, seq=2, at=NOW - 1000))
    window = host.store.window("fan", ["fan1"], 0, 2 * NOW)
    assert window.time_ms.tolist() == [NOW - 1000, NOW]
    assert window.values.tolist() == [[1498.0, pytest.approx(3.1)], [1000.0, pytest.approx(2.9)]]
    assert (host.reasons, host.asked()) == ([], [])


def test_metrics_keep_the_time_at_which_each_was_measured(host: Host) -> None:
    old = speed(7.0, timestamp=NOW - 3_600_000, is_historical=True)
    host.hear("DDATA/edge1/fan1", payload(old, speed(8.0, timestamp=NOW - 2000), seq=2))
    assert host.speeds == [7.0, 8.0, 1000.0]


def test_a_null_and_a_value_that_is_no_number_are_missing(host: Host) -> None:
    host.hear("DDATA/edge1/fan1", payload({"alias": 1, "is_null": True}, speed(float("nan")), seq=2))
    assert (host.speeds, host.reasons) == ([1000.0], [])


def test_aliases_are_forgotten_at_each_birth_of_the_node(host: Host) -> None:
    host.hear("NBIRTH/edge1", node_birth(1))
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=1))
    assert (host.speeds, host.reasons) == ([1000.0], ["no_birth"])
    assert host.asked() == ["spBv1.0/nord/NCMD/edge1"]


def test_a_device_that_is_born_again_gives_its_aliases_anew(host: Host) -> None:
    host.hear("DBIRTH/edge1/fan1", device_birth(2, 1001.0, alias=11))
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=3, at=NOW - 5))
    host.hear("DDATA/edge1/fan1", payload(speed(6.0, alias=11), seq=4, at=NOW - 6))
    assert (host.speeds, host.reasons) == ([6.0, 1001.0], ["no_birth"])


def test_an_alias_of_another_device_means_nothing(host: Host) -> None:
    host.hear("DDATA/edge1/fan2", payload(speed(5.0), seq=2))
    assert host.reasons == ["no_birth"]


def test_sequence_numbers_that_follow_each_other_ask_for_nothing(host: Host) -> None:
    for number in range(2, 600):
        host.hear("DDATA/edge1/fan1", payload(speed(float(number)), seq=number % 256, at=NOW - number))
    assert (host.asked(), host.reasons) == ([], [])


def test_a_gap_asks_once_for_a_birth_and_keeps_what_came(host: Host) -> None:
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=4, at=NOW - 9))
    assert host.speeds == [5.0, 1000.0]
    assert host.ingest.requests() == [("spBv1.0/nord/NCMD/edge1", rebirth())]
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=9))
    assert host.asked() == [], "it was asked just now"
    host.now += ASK_AGAIN_MS
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=11))
    assert host.asked() == ["spBv1.0/nord/NCMD/edge1"]


def test_the_request_is_the_command_of_the_specification() -> None:
    (metric,) = payload_of(rebirth()).metrics
    assert (metric.name, metric.datatype, metric.boolean_value) == ("Node Control/Rebirth", BOOLEAN, True)


def test_births_outlast_a_restart(tmp_path: Path) -> None:
    Host(tmp_path / "nodes.json").be_born()
    host = Host(tmp_path / "nodes.json")
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=77))
    assert (host.speeds, host.reasons, host.asked()) == ([5.0], [], [])


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"nord/edge1": 1}'])
def test_a_damaged_file_of_births_is_asked_for_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "nodes.json").write_bytes(content)
    host = Host(tmp_path / "nodes.json")
    host.hear("DDATA/edge1/fan1", payload(speed(5.0), seq=77))
    assert (host.reasons, host.asked()) == (["no_birth"], ["spBv1.0/nord/NCMD/edge1"])


def test_a_death_takes_the_node_and_its_devices_offline_until_they_are_born_again(tmp_path: Path) -> None:
    host, gone = Host(tmp_path / "nodes.json"), GoneFile(tmp_path / "nodes.json")
    host.be_born()
    assert gone() == {}
    host.hear("DDEATH/edge1/fan1", payload(seq=2))
    assert gone() == {"fan1": NOW}
    host.hear("DBIRTH/edge1/fan1", device_birth(3))
    assert gone() == {}
    host.hear("NDEATH/edge1", node_death())
    assert gone() == {"fan1": NOW}
    host.hear("NBIRTH/edge1", node_birth(1))
    assert gone() == {"fan1": NOW}, "the node is back, the device is not"
    host.hear("DBIRTH/edge1/fan1", device_birth())
    assert gone() == {}


def test_a_death_of_an_earlier_life_or_a_forged_one_says_nothing(tmp_path: Path) -> None:
    host, gone = Host(tmp_path / "nodes.json"), GoneFile(tmp_path / "nodes.json")
    host.be_born()
    host.hear("NDEATH/edge1", node_death(255))
    host.hear("NDEATH/edge1", payload())
    assert (gone(), host.reasons) == ({}, [])


def test_a_node_that_the_plant_does_not_know_is_a_dead_letter() -> None:
    host = Host()
    host.ingest.add("spBv1.0/sued/NBIRTH/edge1", node_birth(), NOW)
    host.ingest.add("spBv1.0/sued/DBIRTH/edge1/fan1", device_birth(), NOW)
    host.ingest.commit()
    assert (host.speeds, host.reasons) == ([], ["unknown_node", "unknown_node"])


def test_a_device_that_is_no_asset_is_proposed_and_never_made_one(host: Host) -> None:
    host.hear("DBIRTH/edge1/fan77", device_birth(2))
    (letter,) = host.store.dead_letters()
    assert letter.reason == "proposed_asset"
    assert "it has speed, vibration of class fan" in letter.detail
    assert "{serial: ?, class: fan, slot: ?, source: fan77, start_of_life: unknown}" in letter.detail
    host.hear("DDATA/edge1/fan77", payload(speed(1.0), seq=3))
    assert host.reasons == ["proposed_asset", "unknown_source"]


def test_a_device_without_any_known_metric_is_proposed_without_a_class(host: Host) -> None:
    host.hear("DBIRTH/edge1/x", payload({"name": "Level", "datatype": DOUBLE, "double_value": 1.0}, seq=2))
    (letter,) = host.store.dead_letters()
    assert "no class has any of its metrics" in letter.detail


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("spBv1.0/nord/NDATA/edge1/fan1", "wrong_topic"),
        ("spBv1.0/nord/DDATA/edge1", "wrong_topic"),
        ("spBv1.0/nord/DDATA//fan1", "wrong_topic"),
        ("spBv1.0/nord/XDATA/edge1", "wrong_topic"),
        ("spBv1.0/nord", "wrong_topic"),
        ("spBv1.0/nord/DDATA/edge1/" + "x/" * 1000, "wrong_topic"),
    ],
)
def test_a_topic_of_another_form_is_a_dead_letter(host: Host, topic: str, reason: str) -> None:
    host.ingest.add(topic, payload(), NOW)
    host.ingest.commit()
    assert host.reasons == [reason]


def test_commands_and_states_of_hosts_are_passed_over(host: Host) -> None:
    for topic in ("spBv1.0/nord/NCMD/edge1", "spBv1.0/nord/DCMD/edge1/fan1", "spBv1.0/STATE/scada"):
        host.ingest.add(topic, b"anything", NOW)
    host.ingest.commit()
    assert host.reasons == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (device_birth()[:-1], "broken_payload"),
        (b"\xff" * 100, "broken_payload"),
        (b"x" * 1_000_001, "too_large"),
        (payload(speed(1.0, timestamp=2**63), seq=2), "in_the_future"),
        (payload(speed(1.0, timestamp=1000), seq=2), "before_1990"),
        (payload(speed(1e31), seq=2), "number_too_large"),
        (payload(speed(float("inf")), seq=2), "number_too_large"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter(host: Host, content: bytes, reason: str) -> None:
    host.hear("DDATA/edge1/fan1", content)
    assert (host.speeds, host.reasons) == ([1000.0], [reason])


OF_EDGE_1 = ("NBIRTH/edge1", "DBIRTH/edge1/fan1", "DDATA/edge1/fan1", "NDEATH/edge1")


@given(st.binary(max_size=200), st.sampled_from(OF_EDGE_1))
def test_no_bytes_break_the_host(content: bytes, topic: str) -> None:
    host = Host()
    host.be_born()
    host.hear(topic, content)
    assert "internal_error" not in host.reasons


@pytest.mark.parametrize(
    ("datatype", "field", "sent", "meant"),
    [
        (INT8, "int_value", 2**32 - 5, -5),
        (INT8, "int_value", 0xFB, -5),
        (INT16, "int_value", 0xFFFB, -5),
        (INT32, "int_value", 2**32 - 5, -5),
        (INT64, "long_value", 2**64 - 5, -5),
        (7, "int_value", 2**32 - 5, 2**32 - 5),
        (UINT64, "long_value", 2**64 - 2048, 2**64 - 2048),
        (FLOAT, "float_value", 0.5, 0.5),
        (DOUBLE, "double_value", 0.1, 0.1),
    ],
)
def test_numbers_are_what_their_type_says(datatype: int, field: str, sent: float, meant: float) -> None:
    (metric,) = payload_of(payload({"datatype": datatype, field: sent})).metrics
    assert number_in(metric, datatype) == meant


def test_a_metric_without_a_value_has_none() -> None:
    (metric,) = payload_of(payload({"datatype": DOUBLE})).metrics
    assert number_in(metric, DOUBLE) is None


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{node: edge1}", "node: expected group and node such as nord/edge1 or nord/{node}, not 'edge1'"),
        ("{node: a/b, source: '{line}'}", "source: there is no placeholder {line}: it has group, node, device"),
        ("{node: a/b, source: fan9}", "source: there is no source 'fan9'; did you mean 'fan3'?"),
        ("{node: a/b, sensors: {x: sped}}", "sensors.x: there is no sensor 'sped'; did you mean 'speed'?"),
        ("{}", "node: is missing: expected group and node such as nord/edge1 or nord/{node}"),
    ],
)
def test_what_can_come_to_nothing_is_refused_with_its_line_and_key(entry: str, complaint: str) -> None:
    assert complaints(f"sparkplug:\n  - {entry}\n") == [f"{FIRST}: sparkplug[0].{complaint}"]


def test_a_node_is_described_once() -> None:
    (said,) = complaints("sparkplug:\n  - {node: 'nord/{n}'}\n  - {node: '{g}/edge1'}\n")
    assert said == f"{FIRST + 1}: sparkplug[1].node: some nodes would also have the form nord/{{n}} of line {FIRST}"


def test_a_payload_is_explained() -> None:
    told = explain(PLANT, "ms", filters(PLANT), "spBv1.0/nord/DBIRTH/edge1/fan1", device_birth(), NOW)
    assert told.readable
    assert told.sentences[1:] == [
        "It is Sparkplug B, DBIRTH of nord/edge1, device fan1.",
        "Asset F-1 (fan1) at 2026-11-22T10:00:00.000+00:00: speed 1000 rpm, vibration 2.9 mm/s",
    ]
    told = explain(PLANT, "ms", filters(PLANT), "spBv1.0/nord/DBIRTH/edge1/new", device_birth(), NOW)
    assert "proposed_asset" in told.sentences[-1]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_node_at_a_real_broker_is_asked_to_be_born_and_then_understood(broker: Mosquitto, tmp_path: Path) -> None:
    store, clock, now_ms = MemoryReadings(), ServiceClock(), int(time.time() * 1000)
    receiver = MqttIngest(
        Ingest(Decoder(PLANT), store, clock, Nodes(tmp_path / "nodes.json")), MqttLink(port=broker.port), clock
    )
    receiver.listen(filters(PLANT))
    receiver.start()
    assert receiver.wait_until_subscribed(10)
    node = new_client(MqttLink(port=broker.port, client_id="edge1"))
    node.will_set("spBv1.0/nord/NDEATH/edge1", node_death(), qos=1)
    asked = list[bytes]()

    def be_born(_: object, __: object, message: Any) -> None:
        asked.append(message.payload)
        node.publish("spBv1.0/nord/NBIRTH/edge1", node_birth())
        node.publish("spBv1.0/nord/DBIRTH/edge1/fan1", device_birth(at=now_ms))

    node.on_message = be_born
    node.loop_start()
    wait_for(node.is_connected)
    node.subscribe("spBv1.0/nord/NCMD/edge1", qos=1)
    time.sleep(0.2)
    node.publish("spBv1.0/nord/DDATA/edge1/fan1", payload(speed(5.0), seq=9, at=now_ms))
    wait_for(lambda: asked == [rebirth()])
    wait_for(lambda: store.counts().readings >= 1)
    node.publish("spBv1.0/nord/DDATA/edge1/fan1", payload(speed(6.0), seq=2, at=now_ms))
    wait_for(lambda: store.counts().readings >= 2)
    assert [letter.reason for letter in store.dead_letters()] == ["no_birth"]
    window = store.window("fan", ["fan1"], 0, 2**60)
    assert [value for value in window.values[:, 0].tolist() if not isnan(value)]
    gone = GoneFile(tmp_path / "nodes.json")
    assert gone() == {}
    sock = node.socket()
    assert sock is not None
    node.loop_stop()
    sock.close()  # without a goodbye: the broker sends the will
    wait_for(lambda: "fan1" in gone())
    receiver.stop()
