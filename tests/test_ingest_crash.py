"""The ingesting process is killed under load, again and again: what the broker acknowledged is stored once."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from pdm.adapters.memory_readings import MemoryReadings
from pdm.adapters.mqtt import MqttIngest, MqttLink
from pdm.adapters.mqtt_publisher import MqttPublisher
from pdm.adapters.reading_log import ReadingLog, ReadingLogWriter
from pdm.clocks import ServiceClock
from pdm.errors import StoreError
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder
from tests.ingest_process import PLANT
from tests.mosquitto import Mosquitto

TOPIC = "pdm/nord/line2/p1"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder).start()
    yield broker
    broker.stop()


@contextmanager
def ingesting(log: Path, broker: Mosquitto) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.ingest_process", str(log), str(broker.port)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def has_more_than(rows: int, reader: ReadingLog) -> bool:
    return reader.counts().readings > rows


def stored_numbers(reader: ReadingLog) -> list[int]:
    window = reader.window("pump", ["p1"], 0, 2**60)
    return window.values[:, 0].astype(int).tolist() if len(window) else []


def subscribe_once(broker: Mosquitto) -> None:
    """Make the session in which the broker keeps messages for the ingesting process, dead or alive."""
    receiver = MqttIngest(
        Ingest(Decoder(PLANT), MemoryReadings(), ServiceClock()), MqttLink(port=broker.port), ServiceClock()
    )
    receiver.start()
    assert receiver.wait_until_subscribed(10)
    receiver.stop()


def publish(publisher: MqttPublisher, numbers: range, start_ms: int) -> None:
    """A thousand a second, message n with a time of its own."""
    began = time.monotonic()
    for sent, number in enumerate(numbers):
        stamp = np.datetime_as_string(np.datetime64(start_ms + number, "ms")) + "Z"
        publisher.publish(TOPIC, json.dumps({"ts": stamp, "values": {"number": number}}).encode())
        time.sleep(max(0.0, began + sent / 1000 - time.monotonic()))
    publisher.flush()


@pytest.mark.parametrize(
    ("rounds", "messages"), [(3, 200), pytest.param(10, 1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_kill_9_loses_no_acknowledged_reading_and_counts_none_twice(
    broker: Mosquitto, tmp_path: Path, rounds: int, messages: int
) -> None:
    log = tmp_path / "readings" / "ingest.db"
    start_ms = int(time.time() * 1000) - 86_400_000
    reader = ReadingLog(log.parent)
    publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"))
    subscribe_once(broker)

    for turn, share in enumerate(np.random.default_rng(7).uniform(0.1, 0.9, rounds)):
        numbers = range(turn * messages, (turn + 1) * messages)
        with ingesting(log, broker) as process:
            stored = reader.counts().readings
            publish(publisher, numbers[:1], start_ms)
            wait_until(partial(has_more_than, stored, reader), "it does not begin")
            load = Thread(target=publish, args=(publisher, numbers[1:], start_ms))
            load.start()
            time.sleep(share * messages / 1000)
            process.send_signal(signal.SIGKILL)
            load.join()

    with ingesting(log, broker) as process:
        wait_until(lambda: len(stored_numbers(reader)) >= rounds * messages, "readings are missing")
        process.terminate()
        assert process.wait(10) == 0
    publisher.close()

    assert stored_numbers(reader) == list(range(rounds * messages))
    assert reader.counts().dead_letters == 0
    assert reader.counts().damaged == 0
    reader.close()


def test_a_process_whose_log_cannot_be_written_waits_until_it_can(broker: Mosquitto, tmp_path: Path) -> None:
    log = tmp_path / "readings" / "ingest.db"
    subscribe_once(broker)
    publisher = MqttPublisher(MqttLink(port=broker.port, client_id="gateway"))
    publish(publisher, range(3), int(time.time() * 1000) - 86_400_000)
    publisher.close()
    reader, other = ReadingLog(log.parent), ReadingLogWriter(log)
    with ingesting(log, broker) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)  # it would be started again and again
        other.close()
        wait_until(lambda: stored_numbers(reader) == [0, 1, 2], "it waits on")
    reader.close()


def test_the_process_ends_with_its_parent(broker: Mosquitto, tmp_path: Path) -> None:
    log = tmp_path / "readings" / "ingest.db"
    command = [sys.executable, "-m", "tests.ingest_process", str(log), str(broker.port)]
    parent = (
        f"import subprocess, time; child = subprocess.Popen({command!r}, cwd={str(ROOT)!r});"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(log.exists, "it does not begin")
        process.kill()
    wait_until(lambda: can_write(log), "it lives on")


def can_write(log: Path) -> bool:
    """Whether no other process holds this log."""
    try:
        ReadingLogWriter(log).close()
    except StoreError:
        return False
    return True
