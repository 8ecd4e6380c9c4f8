"""Readings by MQTT 5: received, committed, and only then acknowledged."""

import os
import select
import signal
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import SystemRandom
from threading import Event, Thread
from time import monotonic
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from pdm.errors import StoreError
from pdm.ingest import Ingest
from pdm.ingest.decode import Decoder, EpochUnit
from pdm.ingest.dialects import filters
from pdm.ingest.sparkplug import Nodes
from pdm.plant import Plant
from pdm.plant.wire import SPARKPLUG
from pdm.ports import Clock, ReadingWriter

_SESSION_S = 24 * 3600  # how long the broker keeps our messages while we are away
_RECEIVE_MAXIMUM = 65_535  # a small window of unacknowledged messages would stall acknowledging in groups
_KEEPALIVE_S = 30
_GROUP_MESSAGES = 5_000
_GROUP_BYTES = 16_000_000
_MOST_WAITING_BYTES = 64_000_000  # while the store fails; then the broker has to keep the rest
_LONGEST_WAIT_S = 30.0
_COMMIT_SHARE = 0.1  # of the time at most: small commits would otherwise cost more than the messages in them
_LONGEST_PAUSE_S = 0.05  # between two commits, however slow the disk is
_LINGER_S = 0.002  # machines that send at the same time are one commit
_STOP_S = 5.0
_TURN_S = 0.5
_LOOK_S = 5.0
_RETAINED_ONCE = 1  # retained messages come with the first subscription of a session only

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MqttLink:
    """How a broker is reached, and what is asked of it.

    Attributes:
        client_id: under this name the broker keeps what we have not acknowledged; no two clients may share it.
        shared_group: several ingesting processes with one group name divide the messages among them.
        sparkplug: hear Sparkplug B. Its births give the names of what follows, so one process hears all of it.
        tls: encrypt, and trust the authorities of this machine or those in `ca_file`.
        cert_file, key_file: our own certificate, where the broker asks for one.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    topics: tuple[str, ...] = ("pdm/#",)
    client_id: str = "pdm-twin-ingest"
    shared_group: str | None = None
    sparkplug: bool = True
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def filters(self, more: Sequence[str] = ()) -> tuple[str, ...]:
        """What is subscribed to, with more topics: each message comes once, so none that another one covers."""
        wanted = dict.fromkeys((*self.topics, *more))
        if not self.shared_group:
            return _apart(wanted)
        own = _apart(one for one in wanted if one.startswith(SPARKPLUG) and self.sparkplug)
        divided = _apart(one for one in wanted if not one.startswith(SPARKPLUG))
        return *(f"$share/{self.shared_group}/{one}" for one in divided), *own


def _apart(filters: Iterable[str]) -> tuple[str, ...]:
    """Those that no other one covers."""
    wanted = tuple(filters)
    return tuple(one for one in wanted if not any(covers(other, one) for other in wanted if other != one))


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that a filter matches is matched by another one too."""
    levels, others = wide.split("/"), narrow.split("/")
    for level, other in zip(levels, others, strict=False):
        if level == "#":
            return True
        if other == "#" or level not in ("+", other):
            return False
    return len(levels) == len(others) or levels[len(others) :] == ["#"]


def new_client(link: MqttLink, *, manual_ack: bool = False, most_in_flight: int = 1_000) -> Client:
    """A client that knows its broker and is not connected yet; `most_in_flight` is about what it publishes."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=link.client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        manual_ack=manual_ack,
    )
    if link.username is not None:
        client.username_pw_set(link.username, link.password)
    if link.tls:
        context = ssl.create_default_context(cafile=link.ca_file)
        if link.cert_file is not None:
            context.load_cert_chain(link.cert_file, link.key_file)
        client.tls_set_context(context)
    client.max_inflight_messages_set(most_in_flight)
    client.on_socket_open = _send_at_once
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _SESSION_S
    properties.ReceiveMaximum = _RECEIVE_MAXIMUM
    client.connect_async(link.host, link.port, _KEEPALIVE_S, clean_start=False, properties=properties)
    return client


def _send_at_once(_: Client, __: Any, sock: Any) -> None:
    """Short messages must not wait until the one before has arrived (Nagle's algorithm)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class MqttIngest:
    """Feeds an `Ingest` from a broker.

    One thread does everything: it reads until the socket is empty or the group is large enough, commits the group,
    acknowledges each of its messages, and reads on. So a lone message is committed within milliseconds, and a group is
    as large as the traffic makes it. What was not committed is never acknowledged: the broker sends it again.
    """

    def __init__(self, ingest: Ingest, link: MqttLink, clock: Clock):
        self._ingest = ingest
        self._link = link
        self._filters = link.filters()
        self._asked: dict[int | None, Sequence[str]] = {}
        self._clock = clock
        self._stopping = Event()
        self._subscribed = Event()
        self._thread: Thread | None = None
        self._received = 0
        self._unacknowledged: list[int] = []
        self._next_commit = 0.0
        self._had_session = False
        self._broker = _Outage("broker", f"{link.host}:{link.port}")
        self._store = _Outage("reading store", "")
        self._client = new_client(link, manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Run in a thread of its own until `stop`."""
        self._thread = Thread(target=self.run, name="mqtt-ingest", daemon=True)
        self._thread.start()

    def wait_until_subscribed(self, timeout_s: float) -> bool:
        """Whether the broker has confirmed what we subscribe to: from then on it keeps what is sent to us."""
        return self._subscribed.wait(timeout_s)

    def listen(self, more: Sequence[str]) -> None:
        """Subscribe to these topics beside those of the link, and no longer to those that were wanted before."""
        gone, self._filters = set(self._filters), self._link.filters(more)
        if self._client.is_connected():
            self._subscribe([topic for topic in self._filters if topic not in gone])
            if gone := gone - set(self._filters):
                self._client.unsubscribe(sorted(gone))

    def stop(self) -> None:
        """End within seconds: receive no more, commit and acknowledge what has come, tell the broker goodbye."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def run(self, each_turn: Callable[[], None] = lambda: None) -> None:
        """Receive until `stop` is called. `each_turn` is called again and again, about every half second at least."""
        while not self._stopping.is_set():
            if self._client.socket() is None and self._broker.may_retry:
                self._connect()
            self._wait()
            self._read()
            if self._store.may_retry and monotonic() >= self._next_commit:
                self._commit()
            for topic, payload in self._ingest.requests():
                self._client.publish(topic, payload)
            self._client.loop_write()
            self._client.loop_misc()
            each_turn()
        self._finish()

    def _connect(self) -> None:
        try:
            self._client.reconnect()
        except OSError as error:
            self._broker.failed(error)

    def _wait(self) -> None:
        """Until the socket has something for us, or room for what we have for it, but not for long."""
        sock: Any = self._client.socket()
        if sock is None:
            self._stopping.wait(_TURN_S)
        elif not (self._link.tls and sock.pending()):
            wanted = (0 if self._full else select.POLLIN) | (select.POLLOUT if self._client.want_write() else 0)
            poll = select.poll()
            poll.register(sock, wanted)
            poll.poll(self._pause_s * 1000)

    @property
    def _pause_s(self) -> float:
        """How long nothing needs to be done unless the socket says so."""
        if not self._ingest.waiting or not self._store.may_retry:
            return _TURN_S
        return min(max(self._next_commit - monotonic(), 0.0), _TURN_S)

    def _read(self) -> None:
        """Until the socket is empty, or the group large enough."""
        for _ in range(_GROUP_MESSAGES):
            received = self._received
            if not self._full:
                self._client.loop_read()
            if self._received == received:
                return

    @property
    def _full(self) -> bool:
        return self._ingest.waiting_bytes > _MOST_WAITING_BYTES

    def _commit(self) -> None:
        if not self._ingest.waiting:
            return
        began = monotonic()
        try:
            self._ingest.commit()
        except StoreError as error:
            self._store.failed(error)
            return
        self._store.worked()
        took = monotonic() - began
        self._next_commit = began + min(took / _COMMIT_SHARE, took + _LONGEST_PAUSE_S)
        committed, self._unacknowledged = self._unacknowledged, []
        for message_id in committed:
            self._client.ack(message_id, 1)

    def _finish(self) -> None:
        deadline = monotonic() + _STOP_S
        self._commit()
        while self._ingest.waiting and monotonic() < deadline:
            Event().wait(0.1)
            self._commit()
        self._client.disconnect()
        while self._client.socket() is not None and monotonic() < deadline:
            self._wait()
            self._client.loop_write()

    def _on_connect(self, _: Client, __: Any, flags: ConnectFlags, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            self._broker.failed(code)
            return
        self._broker.worked()
        if self._had_session and not flags.session_present:
            log.warning(
                "the broker has lost our session: messages sent meanwhile are lost unless their senders kept them"
            )
            with suppress(StoreError):
                self._ingest.note_lost_session()
        self._had_session = True
        self._asked.clear()
        self._subscribe(self._filters)

    def _subscribe(self, topics: Sequence[str]) -> None:
        options = SubscribeOptions(qos=1, retainHandling=_RETAINED_ONCE)
        if topics:
            _, number = self._client.subscribe([(topic, options) for topic in topics])
            self._asked[number] = topics

    def _on_disconnect(self, _: Client, __: Any, ___: DisconnectFlags, code: ReasonCode, ____: Any) -> None:
        # the broker sends these again; acknowledged in another session, their numbers could mean other messages
        self._unacknowledged.clear()
        if not self._stopping.is_set():
            self._broker.failed(code)

    def _on_subscribe(self, _: Client, __: Any, number: int, codes: list[ReasonCode], ___: Any) -> None:
        self._subscribed.set()
        for topic, code in zip(self._asked.pop(number, ()), codes, strict=False):
            if code.is_failure:
                log.error("the broker refuses a subscription", topic=topic, why=str(code))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._received += 1
        if not self._ingest.waiting:
            self._next_commit = max(self._next_commit, monotonic() + _LINGER_S)
        self._ingest.add(message.topic, bytes(message.payload), self._clock.plant_ms())
        if message.qos:
            self._unacknowledged.append(message.mid)


def run_ingest(
    open_log: Callable[[], ReadingWriter],
    link: MqttLink,
    plant: Callable[[], Plant],
    clock: Clock,
    *,
    epoch_unit: EpochUnit | None = None,
    nodes_file: Path | None = None,
) -> None:
    """The ingesting process: until SIGTERM, SIGINT or the end of its parent, readings of a broker go into one log.

    It writes nothing but its log, closed at the end, and `nodes_file` (births of Sparkplug B). `plant` is asked every
    few seconds for the version to read messages by.
    """
    parent = os.getppid()  # before there is anything that could be taken for a sign of life
    writer = _opened(open_log, parent)
    if writer is None:
        return
    current = plant()
    ingest = Ingest(Decoder(current, epoch_unit=epoch_unit), writer, clock, Nodes(nodes_file))
    receiver = MqttIngest(ingest, link, clock)
    receiver.listen(filters(current))
    next_look = monotonic() + _LOOK_S

    def look() -> None:
        nonlocal current, next_look
        if os.getppid() != parent:
            receiver.stop()
        if monotonic() >= next_look:
            next_look = monotonic() + _LOOK_S
            try:
                latest = plant()
            except Exception as error:  # what keeps us from reading the plant must not keep readings out
                log.warning("plant cannot be read, the last version stays in use", why=str(error))
                return
            if latest.version != current.version:
                current = latest
                ingest.use(Decoder(latest, epoch_unit=epoch_unit))
                receiver.listen(filters(latest))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: receiver.stop())
    try:
        receiver.run(look)
    finally:
        writer.close()


def _opened(open_log: Callable[[], ReadingWriter], parent: int) -> ReadingWriter | None:
    """The log, as soon as there is room for it and nobody else writes to it; None if the parent ends before."""
    outage = _Outage("reading store", "")
    while os.getppid() == parent:
        try:
            if outage.may_retry:
                writer = open_log()
                outage.worked()
                return writer
        except StoreError as error:
            if not error.retry_helps:
                raise
            outage.failed(error)
        Event().wait(_TURN_S)
    return None


class _Outage:
    """Something that may fail for a while: logged once when it breaks and once when it recovers, tried again ever
    more seldom, with jitter so that not all come back at once."""

    def __init__(self, what: str, where: str):
        self._what = what
        self._where = where
        self._wait_s = 0.0
        self._next_try = 0.0

    @property
    def may_retry(self) -> bool:
        return monotonic() >= self._next_try

    def failed(self, why: object) -> None:
        if not self._wait_s:
            log.error("out of service", what=self._what, where=self._where, why=str(why))
        self._wait_s = min(max(2 * self._wait_s, 0.5), _LONGEST_WAIT_S)
        self._next_try = monotonic() + self._wait_s * SystemRandom().uniform(0.5, 1.0)

    def worked(self) -> None:
        if self._wait_s:
            log.info("in service again", what=self._what, where=self._where)
        self._wait_s = self._next_try = 0.0
