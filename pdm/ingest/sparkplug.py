"""Sparkplug B as a host reads it: births say what the numbers mean, sequence numbers show what is missing, deaths say
who is gone. Specification: Eclipse Sparkplug 3.0.

What births have said is kept in a file, so that a restarted service understands what comes next; where it does not, it
asks the node to be born again.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pdm import durable
from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import Samples, arrival_flags, unknown_source
from pdm.ingest.lines import Unread
from pdm.ingest.sparkplug_payload import NUMBERS, number_in, payload_of, rebirth
from pdm.ingest.wire import number_of, place_of
from pdm.plant import Asset, AssetClass, Plant
from pdm.plant.wire import SPARKPLUG, SparkplugForm
from pdm.readings import ArrivalFlag

NODES_FILE = "sparkplug.json"
"""In the folder of the reading logs: what births and deaths have said."""

FIRST_LEVEL = f"{SPARKPLUG}/"
ASK_AGAIN_MS = 10_000
"""A node that does not answer is asked again after this long."""

_OF_NODES = ("NBIRTH", "NDATA", "NDEATH")
_OF_DEVICES = ("DBIRTH", "DDATA", "DDEATH")
_COMMANDS = ("NCMD", "DCMD")
_SEQUENCE = 256
_MOST_NODES = 10_000
_MOST_ALIASES = 100_000


class Defined(msgspec.Struct, array_like=True):
    """What a birth says about a metric."""

    device: str  # "" for those of the node itself
    name: str
    datatype: int
    alias: int | None


class Node(msgspec.Struct):
    """What is known of one edge node.

    Attributes:
        birth: the `bdSeq` of its latest birth; only a death with the same number is its own.
        metrics: what its births have defined.
        sources: the source behind each device that was heard of, "" for the node itself.
        gone: since when a device is gone [ms].
    """

    birth: int | None = None
    metrics: list[Defined] = []
    sources: dict[str, str] = {}
    gone: dict[str, int] = {}


class Address(NamedTuple):
    """Whom a message is from."""

    kind: str
    group: str
    node: str
    device: str

    @property
    def name(self) -> str:
        return f"{self.group}/{self.node}"


@dataclass
class _Session:
    """What a node has said since this process began to listen."""

    sequence: int | None = None
    by_alias: dict[int, Defined] = field(default_factory=dict)
    by_name: dict[tuple[str, str], Defined] = field(default_factory=dict)


class Nodes:
    """All edge nodes that were heard of, whatever the version of the plant.

    Args:
        path: file in which their births and deaths are kept; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None):
        self._path = path
        self._known = nodes_in(path) if path is not None else {}
        self._sessions = defaultdict[str, _Session](_Session)
        self._asked: dict[str, int] = {}
        self._to_ask: dict[str, Address] = {}
        self._changed = False
        for name, node in self._known.items():
            self._index(name, node)

    def save(self) -> None:
        """Keep births and deaths, durably; to be called before the messages that brought them are acknowledged.

        Raises:
            OSError: they are not kept.
        """
        if self._changed and self._path is not None:
            durable.replace(self._path, msgspec.json.encode(self._known))
        self._changed = False

    def to_ask(self) -> list[tuple[str, bytes]]:
        """Topic and payload of each request for a birth that is due; each is due once."""
        due, self._to_ask = self._to_ask, {}
        return [(f"{SPARKPLUG}/{found.group}/NCMD/{found.node}", rebirth()) for found in due.values()]

    def born(self, at: Address, payload: Any, source: str | None) -> None:
        """A birth: what was defined before by the node, or by this device of it, is forgotten."""
        node = self._node(at)
        if at.kind == "NBIRTH":
            node.birth = _birth_number(payload)
            node.metrics = []
            self._sessions[at.name].sequence = None
        node.metrics = [defined for defined in node.metrics if defined.device != at.device]
        node.metrics += [
            Defined(at.device, metric.name, metric.datatype, metric.alias if metric.HasField("alias") else None)
            for metric in payload.metrics
        ][: _MOST_ALIASES - len(node.metrics)]
        self._index(at.name, node)
        self._changed = True
        self.heard(at, source)

    def heard(self, at: Address, source: str | None) -> None:
        """A device is there, or the node itself."""
        node = self._node(at)
        if source is not None and node.sources.get(at.device) != source:
            node.sources = {**node.sources, at.device: source}
            self._changed = True
        if at.device in node.gone:
            node.gone = {device: since for device, since in node.gone.items() if device != at.device}
            self._changed = True

    def died(self, at: Address, payload: Any, now_ms: int) -> None:
        """A device is gone, or the node with all of them; a death of an earlier life, or a forged one, says nothing."""
        node = self._node(at)
        if at.kind == "NDEATH" and (node.birth is None or _birth_number(payload) != node.birth):
            return
        lost = [at.device] if at.kind == "DDEATH" else list(node.sources)
        node.gone = {**dict.fromkeys(lost, now_ms), **node.gone}
        self._changed = True

    def follows(self, at: Address, payload: Any, now_ms: int) -> None:
        """Ask for a birth if messages are missing before this one."""
        session = self._sessions[at.name]
        if not payload.HasField("seq"):
            return
        before, session.sequence = session.sequence, payload.seq % _SEQUENCE
        if before is not None and session.sequence != (before + 1) % _SEQUENCE:
            self.ask(at, now_ms)

    def ask(self, at: Address, now_ms: int) -> None:
        """Ask a node to be born again, but not all the time."""
        if now_ms - self._asked.get(at.name, -ASK_AGAIN_MS) >= ASK_AGAIN_MS:
            self._asked[at.name] = now_ms
            self._to_ask[at.name] = at

    def defined(self, at: Address, metric: Any) -> Defined | None:
        """What a metric of a message is; None if no birth has said so."""
        session = self._sessions[at.name]
        if metric.name:
            return session.by_name.get((at.device, metric.name))
        found = session.by_alias.get(metric.alias) if metric.HasField("alias") else None
        return found if found is not None and found.device == at.device else None

    def _node(self, at: Address) -> Node:
        if at.name not in self._known and len(self._known) >= _MOST_NODES:
            raise UnreadableMessageError("too_many", f"more than {_MOST_NODES:,} nodes")
        return self._known.setdefault(at.name, Node())

    def _index(self, name: str, node: Node) -> None:
        session = self._sessions[name]
        session.by_alias = {found.alias: found for found in node.metrics if found.alias is not None}
        session.by_name = {(found.device, found.name): found for found in node.metrics}


class SparkplugReader:
    """Reads Sparkplug B of one plant."""

    def __init__(self, plant: Plant, nodes: Nodes):
        self._plant = plant
        self._nodes = nodes

    def read(self, topic: str, content: bytes, now_ms: int) -> Iterable[Samples | Unread]:
        """What a message says.

        Raises:
            UnreadableMessageError: nothing of it can be read, with the reason.
        """
        at = address_of(topic)
        if at is None:
            return ()
        form, known = self.form_of(at)
        payload, source = payload_of(content), source_of(form, known)
        if at.kind.endswith("DEATH"):
            self._nodes.died(at, payload, now_ms)
            return ()
        if at.kind.endswith("BIRTH"):
            self._nodes.born(at, payload, source)
        self._nodes.follows(at, payload, now_ms)
        if source is None:
            return ()
        asset = self._plant.asset_of_source.get(source)
        if asset is None:
            raise proposal(self._plant, form, source, payload) if at.kind == "DBIRTH" else unknown_source(source)
        self._nodes.heard(at, source)
        return self._values(at, form, asset, payload, content, now_ms)

    def form_of(self, at: Address) -> tuple[SparkplugForm, dict[str, str]]:
        """How the messages of a node are read, and what its address says.

        Raises:
            UnreadableMessageError: the plant knows no such node.
        """
        for form in self._plant.sparkplug:
            if (found := form.node.match(at.name)) is not None:
                device = {"device": at.device} if at.device else {}
                return form, {**found, "group": at.group, "node": at.node, **device}
        raise UnreadableMessageError("unknown_node", f"sparkplug in plant.yaml has no node {at.name!r}")

    def _values(
        self, at: Address, form: SparkplugForm, asset: Asset, payload: Any, content: bytes, now_ms: int
    ) -> list[Samples | Unread]:
        """The numbers of the sensors of an asset, by the time at which they were measured; others are passed over."""
        asset_class = self._plant.class_of(asset)
        rows = defaultdict[int | None, "array[float]"](lambda: array("d", [nan] * len(asset_class.sensors)))
        undefined = list[str]()
        for metric in payload.metrics:
            defined = self._nodes.defined(at, metric)
            if defined is None:
                undefined.append(metric.name or f"alias {metric.alias}")
                continue
            wire = form.wire_sensor(defined.name)
            datatype = metric.datatype or defined.datatype
            if wire is None or wire.sensor not in asset_class.sensor_names or datatype not in NUMBERS:
                continue
            place, scaled = place_of(wire, asset_class)
            value = number_in(metric, datatype)
            if value is not None and not isnan(value):
                stamp = metric.timestamp if metric.HasField("timestamp") else payload.timestamp
                rows[stamp or None][place] = scaled.scale * number_of(defined.name, value) + scaled.offset
        found: list[Samples | Unread] = [_samples(asset, asset_class, rows, now_ms)] if rows else []
        if undefined:
            self._nodes.ask(at, now_ms)
            detail = f"no birth has said what {', '.join(undefined[:10])} is; the node is asked to be born again"
            found.append(Unread(1, content, UnreadableMessageError("no_birth", detail)))
        return found


def address_of(topic: str) -> Address | None:
    """Whom a message is from; None where it is none of a node.

    Raises:
        UnreadableMessageError: the topic is none of Sparkplug B.
    """
    levels = topic.split("/")
    if len(levels) > 1 and levels[1] == "STATE":
        return None
    kind = levels[2] if len(levels) > 2 else ""
    if kind in _COMMANDS:
        return None
    if len(levels) != 4 + (kind in _OF_DEVICES) or kind not in _OF_NODES + _OF_DEVICES or not all(levels):
        raise UnreadableMessageError("wrong_topic", f"expected {SPARKPLUG}/group/kind/node, and of a device /device")
    return Address(kind, levels[1], levels[3], levels[4] if len(levels) > 4 else "")


def source_of(form: SparkplugForm, known: Mapping[str, str]) -> str | None:
    """The source that a node or device is; None where it is no machine."""
    try:
        return form.source.filled(known)
    except KeyError:
        return None


def proposal(plant: Plant, form: SparkplugForm, source: str, payload: Any) -> UnreadableMessageError:
    """A device that was born and is no asset: what to write into the plant file, if it is to be one."""
    names = [metric.name for metric in payload.metrics if metric.datatype in NUMBERS]
    sensors = {wire.sensor for name in names if (wire := form.wire_sensor(name)) is not None}
    fitting = max(plant.classes.values(), key=lambda found: len(sensors & set(found.sensor_names)))
    shared = [name for name in fitting.sensor_names if name in sensors]
    said = f"it has {', '.join(shared)} of class {fitting.name}" if shared else "no class has any of its metrics"
    name = fitting.name if shared else "?"
    entry = f"{{serial: ?, class: {name}, slot: ?, source: {source}, start_of_life: unknown}}"
    detail = f"{source!r} was born and is no asset; {said}. To watch it, add to assets: {entry}"
    return UnreadableMessageError("proposed_asset", f"{detail}. Its metrics: {', '.join(names)}")


def nodes_in(path: Path) -> dict[str, Node]:
    """What a file keeps of births and deaths; nothing where it is damaged, since nodes can be asked again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Node])
    except (OSError, msgspec.DecodeError):
        return {}


def gone_in(path: Path) -> dict[str, int]:
    """The sources that are gone by their own word, and since when [ms]."""
    return {
        node.sources[device]: since
        for node in nodes_in(path).values()
        for device, since in node.gone.items()
        if device in node.sources
    }


class GoneFile:
    """The sources that are gone by their own word, as another process keeps them in a file."""

    def __init__(self, path: Path):
        self._path = path
        self._seen: tuple[int, dict[str, int]] = (0, {})

    def __call__(self) -> dict[str, int]:
        """Since when each of them is gone [ms]."""
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError:
            return {}
        if changed != self._seen[0]:
            self._seen = changed, gone_in(self._path)
        return self._seen[1]


def _birth_number(payload: Any) -> int | None:
    for metric in payload.metrics:
        if metric.name == "bdSeq":
            return int(metric.long_value if metric.HasField("long_value") else metric.int_value)
    return None


def _samples(asset: Asset, asset_class: AssetClass, rows: Mapping[int | None, "array[float]"], now_ms: int) -> Samples:
    """Rows by time, the oldest first; those without a time are of the arrival."""
    flag = ArrivalFlag.NO_TIMESTAMP if None in rows else ArrivalFlag.NONE
    by_time = sorted((now_ms if time is None else time, row) for time, row in rows.items())
    times: Sequence[int] = [time for time, _ in by_time]
    values = array("d")
    for _, row in by_time:
        values += row
    flags = arrival_flags(list(times), flag, now_ms)
    return Samples(asset_class.name, asset_class.sensor_names, asset.source, list(times), values, flags)
