"""Readings through a real broker."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo

import pytest

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttIngest, MqttLink, new_client
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.clocks import ServiceClock
from pdm.errors import DeliveryError, StoreError
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from pdm.ingest.dialects import filters
from pdm.plant import Asset, AssetClass, LifeStep, Plant, Sensor
from pdm.plant.wire import SENSOR, Template, TopicForm
from pdm.readings import columns_of
from tests.mosquitto import Mosquitto

PUMP = AssetClass("pump", "Pump", (Sensor("number", "1", "Number"),), (), LifeStep("h", 3_600_000), 1000, 0, ())
PLANT = Plant("Nord", "EUR", ZoneInfo("UTC"), {"pump": PUMP}, {}, {"S1": Asset("S1", "pump", "P1", "p1", None)}, "0")
TOPIC = "pdm/nord/line2/p1"


class Store(MemoryReadings):
    """A store that can be out of service."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.attempts = 0

    def append(self, *arguments: object, **options: object) -> None:
        self.attempts += 1
        if self.broken:
            raise StoreError("the disk is full")
        super().append(*arguments, **options)  # type: ignore[arg-type]

    @property
    def numbers(self) -> set[int]:
        return set(columns_of(self.window("pump", ["p1"], 0, 2**60), ("number",))[:, 0].astype(int).tolist())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()


@contextmanager
def ingesting(broker: Mosquitto, store: MemoryReadings, **link: object) -> Iterator[MqttIngest]:
    clock = ServiceClock()
    receiver = MqttIngest(Ingest(Decoder(PLANT), store, clock), MqttLink(port=broker.port, **link), clock)  # type: ignore[arg-type]
    receiver.start()
    assert receiver.wait_until_subscribed(10)
    try:
        yield receiver
    finally:
        receiver.stop()


@contextmanager
def publishing(broker: Mosquitto, **options: object) -> Iterator[MqttPublisher]:
    publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"), **options)  # type: ignore[arg-type]
    try:
        yield publisher
    finally:
        publisher.close()


def numbered(number: int) -> bytes:
    """Message number n measures n at a time of its own."""
    now_s = int(time.time()) // 1000 * 1000
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{number:03d}Z"
    return json.dumps({"ts": stamp, "values": {"number": number}}).encode()


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_what_is_published_is_stored_and_what_cannot_be_read_is_kept(broker: Mosquitto) -> None:
    store = Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        for number in range(100):
            publisher.publish(TOPIC, numbered(number))
        publisher.publish(TOPIC, b"{")
        publisher.publish("pdm/nord/line2/nobody", numbered(1))
        publisher.flush()
        wait_for(lambda: store.counts().readings == 100 and store.counts().dead_letters == 2)
    assert store.numbers == set(range(100))
    assert {letter.reason for letter in store.dead_letters()} == {"broken_json", "unknown_source"}


def test_lines_are_read_one_by_one_and_acknowledged_together(broker: Mosquitto) -> None:
    store, now_s = Store(), int(time.time())
    lines = [b"pump,source=p1 number=%d %d000000000" % (number, now_s - number) for number in range(9)]
    with ingesting(broker, store), publishing(broker) as publisher:
        publisher.publish("pdm/lines", b"")
        publisher.publish("pdm/lines", b"\n".join(lines))
        publisher.publish("pdm/lines", b"pump,source=p1 number=9\nnonsense\npump,source=nobody number=1")
        publisher.flush()
        wait_for(lambda: store.counts().readings == 10 and store.counts().dead_letters == 2)
    assert store.numbers == set(range(10))
    assert {letter.payload for letter in store.dead_letters()} == {b"nonsense", b"pump,source=nobody number=1"}


def test_topics_of_own_forms_are_heard_as_soon_as_they_are_declared_and_no_longer_than_that(broker: Mosquitto) -> None:
    declared = replace(PLANT, topics=(TopicForm(Template("acme/{area}/{source}/{sensor}"), sensor=SENSOR),))
    store, clock, plants = Store(), ServiceClock(), [declared]
    ingest = Ingest(Decoder(PLANT), store, clock)
    receiver = MqttIngest(ingest, MqttLink(port=broker.port), clock)

    def follow() -> None:
        if plants:
            ingest.use(Decoder(plants[0]))
            receiver.listen(filters(plants.pop()))

    running = Thread(target=receiver.run, args=(follow,))
    running.start()
    assert receiver.wait_until_subscribed(10)
    with publishing(broker) as publisher:
        wait_for(lambda: not plants)
        publisher.publish("acme/hall/p1/number", b"7")
        publisher.flush()
        wait_for(lambda: store.numbers == {7})
        plants.append(PLANT)
        wait_for(lambda: not plants)
        time.sleep(0.2)
        publisher.publish("acme/hall/p1/number", b"8")
        publisher.publish(TOPIC, numbered(1))
        wait_for(lambda: 1 in store.numbers)
    receiver.stop()
    running.join(10)
    assert (store.numbers, store.counts().dead_letters) == ({1, 7}, 0)


def test_messages_that_come_together_are_committed_together(broker: Mosquitto) -> None:
    store = Store()
    with ingesting(broker, store):
        pass  # it has a session now
    with publishing(broker) as publisher:
        for number in range(500):
            publisher.publish(TOPIC, numbered(number))
        publisher.flush()
    with ingesting(broker, store):
        wait_for(lambda: store.counts().readings == 500)
    assert store.counts().batches < 100


def test_what_was_sent_while_nobody_was_there_arrives_later(broker: Mosquitto) -> None:
    store = Store()
    with ingesting(broker, store):
        pass
    with publishing(broker) as publisher:
        publisher.publish(TOPIC, numbered(7))
        publisher.flush()
    with ingesting(broker, store):
        wait_for(lambda: store.counts().readings == 1)
    assert store.numbers == {7}


def test_nothing_is_acknowledged_before_it_is_stored(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        store.broken = True
        for number in range(50):
            publisher.publish(TOPIC, numbered(number))
        publisher.flush()
        wait_for(lambda: store.attempts >= 3)
        assert store.counts().readings == 0
        store.broken = False
        wait_for(lambda: store.counts().readings == 50)
    log = capsys.readouterr().out
    assert (log.count("out of service"), log.count("in service again")) == (1, 1)


def test_what_could_not_be_stored_until_the_end_is_sent_again_to_the_next(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdm.adapters.mqtt._STOP_S", 0.5)
    store = Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        store.broken = True
        publisher.publish(TOPIC, numbered(1))
        publisher.flush()
        wait_for(lambda: store.attempts >= 1)
    assert store.counts().readings == 0
    store.broken = False
    with ingesting(broker, store):
        wait_for(lambda: store.counts().readings == 1)


def test_a_stop_under_load_loses_nothing_and_takes_seconds(broker: Mosquitto) -> None:
    store = Store()
    with publishing(broker) as publisher:
        with ingesting(broker, store) as receiver:
            for number in range(300):
                publisher.publish(TOPIC, numbered(number))
            began = time.monotonic()
            receiver.stop()
            assert time.monotonic() - began < 5
        publisher.flush()
        with ingesting(broker, store):
            wait_for(lambda: store.numbers == set(range(300)))
    assert store.counts().dead_letters == 0


def test_a_broker_that_is_killed_and_restarted_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker, store = Mosquitto(tmp_path, durable=True).start(), Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        publisher.publish(TOPIC, numbered(1))
        publisher.flush()
        time.sleep(1.2)  # the broker has written its state
        broker.kill()
        publisher.publish(TOPIC, numbered(2))
        broker.start()
        wait_for(lambda: store.numbers == {1, 2})
        assert store.counts().sessions_lost == 0
    broker.stop()
    assert "what=broker" in capsys.readouterr().out


def test_a_lost_session_is_noticed(broker: Mosquitto, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        broker.kill()
        broker.start()
        wait_for(lambda: store.counts().sessions_lost == 1)
        publisher.publish(TOPIC, numbered(3))
        wait_for(lambda: store.numbers == {3})
    assert "the broker has lost our session" in capsys.readouterr().out


def test_it_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    clock, store = ServiceClock(), Store()
    receiver = MqttIngest(Ingest(Decoder(PLANT), store, clock), MqttLink(port=broker.port), clock)
    receiver.start()
    assert not receiver.wait_until_subscribed(0.3)
    broker.start()
    assert receiver.wait_until_subscribed(10)
    receiver.stop()
    broker.stop()


def test_two_processes_of_one_group_divide_the_messages(broker: Mosquitto) -> None:
    stores = Store(), Store()
    with (
        ingesting(broker, stores[0], client_id="a", shared_group="ingest"),
        ingesting(broker, stores[1], client_id="b", shared_group="ingest"),
        publishing(broker) as publisher,
    ):
        for number in range(200):
            publisher.publish(TOPIC, numbered(number))
        publisher.flush()
        wait_for(lambda: sum(store.counts().readings for store in stores) == 200)
    assert all(store.counts().readings > 20 for store in stores)
    assert stores[0].numbers | stores[1].numbers == set(range(200))


def test_a_payload_of_ten_megabytes_is_a_dead_letter_and_the_connection_stays(broker: Mosquitto) -> None:
    store = Store()
    with ingesting(broker, store), publishing(broker) as publisher:
        publisher.publish(TOPIC, b"x" * 10_000_000)
        publisher.publish(TOPIC, numbered(1))
        wait_for(lambda: store.counts().readings == 1)
        assert store.counts().sessions_lost == 0
    (letter,) = store.dead_letters()
    assert (letter.reason, len(letter.payload)) == ("too_large", 64_000)


def test_a_retained_message_is_taken_once_and_not_at_every_reconnect(broker: Mosquitto) -> None:
    gateway = new_client(MqttLink(port=broker.port, client_id="retainer"))
    gateway.loop_start()
    wait_for(gateway.is_connected)
    gateway.publish(TOPIC, numbered(1), qos=1, retain=True).wait_for_publish(10)
    gateway.disconnect()
    gateway.loop_stop()
    store = Store()
    with ingesting(broker, store):
        wait_for(lambda: store.counts().readings == 1)
    with ingesting(broker, store), publishing(broker) as publisher:
        publisher.publish(TOPIC, numbered(2))
        wait_for(lambda: store.numbers == {1, 2})
    assert store.counts().readings == 2


def test_a_wrong_password_is_told_once_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broker = Mosquitto(tmp_path, more="").start()
    broker.stop()
    refusing = Mosquitto(tmp_path, more="allow_anonymous false").start()
    clock = ServiceClock()
    link = MqttLink(port=refusing.port, username="u", password="wrong")
    receiver = MqttIngest(Ingest(Decoder(PLANT), Store(), clock), link, clock)
    receiver.start()
    assert not receiver.wait_until_subscribed(2)
    receiver.stop()
    refusing.stop()
    log = capsys.readouterr().out
    assert log.count("out of service") == 1
    assert "Not authorized" in log


def test_the_link_can_be_encrypted(tmp_path: Path) -> None:
    certificate = Path(__file__).parent / "certificates" / "localhost.pem"
    broker = Mosquitto(tmp_path, more=f"certfile {certificate}\nkeyfile {certificate}").start()
    store = Store()
    with ingesting(broker, store, host="localhost", tls=True, ca_file=certificate):
        publisher = MqttPublisher(
            MqttLink(host="localhost", port=broker.port, client_id="gateway", tls=True, ca_file=certificate)
        )
        for number in range(200):
            publisher.publish(TOPIC, numbered(number))
        publisher.flush()
        publisher.close()
        wait_for(lambda: store.numbers == set(range(200)))
    broker.stop()


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_cannot_prove_who_it_is_gets_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = Path(__file__).parent / "certificates" / "localhost.pem"
    broker = Mosquitto(tmp_path, more=f"certfile {certificate}\nkeyfile {certificate}").start()
    clock = ServiceClock()
    link = MqttLink(host="localhost", port=broker.port, tls=True)  # its certificate is not known to this machine
    receiver = MqttIngest(Ingest(Decoder(PLANT), Store(), clock), link, clock)
    receiver.start()
    assert not receiver.wait_until_subscribed(1)
    receiver.stop()
    broker.stop()
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().out


def test_a_publisher_says_when_the_broker_does_not_answer(tmp_path: Path) -> None:
    with publishing(Mosquitto(tmp_path), most_on_the_way=2, timeout_s=0.2) as publisher:
        publisher.publish(TOPIC, b"1")
        publisher.publish(TOPIC, b"2")
        with pytest.raises(DeliveryError, match="2 messages are not acknowledged") as caught:
            publisher.publish(TOPIC, b"3")
        assert caught.value.retry_helps
        with pytest.raises(DeliveryError):
            publisher.flush()
