"""Sparkplug B payloads: the fields that are read, by their numbers in the specification (Eclipse Sparkplug 3.0, section
6.4). What is not described here is skipped by the runtime."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import MOST_BYTES

_OPTIONAL, _REPEATED = 1, 3
_DOUBLE, _FLOAT, _UINT64, _BOOL, _STRING, _MESSAGE, _UINT32 = 1, 2, 4, 8, 9, 11, 13

_METRIC = (
    ("name", 1, _STRING),
    ("alias", 2, _UINT64),
    ("timestamp", 3, _UINT64),
    ("datatype", 4, _UINT32),
    ("is_historical", 5, _BOOL),
    ("is_null", 7, _BOOL),
    ("int_value", 10, _UINT32),
    ("long_value", 11, _UINT64),
    ("float_value", 12, _FLOAT),
    ("double_value", 13, _DOUBLE),
    ("boolean_value", 14, _BOOL),
)
_PAYLOAD = (("timestamp", 1, _UINT64), ("metrics", 2, _MESSAGE), ("seq", 3, _UINT64))

INT64, FLOAT, DOUBLE, BOOLEAN = 4, 9, 10, 11
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, INT64: 64}
_UNSIGNED = frozenset({5, 6, 7, 8})
NUMBERS = frozenset({*_SIGNED_BITS, *_UNSIGNED, FLOAT, DOUBLE})
"""Types of data that are numbers."""


def _described() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="pdm/sparkplug_b.proto", package="pdm.sparkplug", syntax="proto2")
    for name, fields in (("Metric", _METRIC), ("Payload", _PAYLOAD)):
        described = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = described.field.add(name=field, number=number, type=kind, label=_OPTIONAL)
            if kind == _MESSAGE:
                added.label, added.type_name = _REPEATED, ".pdm.sparkplug.Metric"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pdm.sparkplug.Payload"))


Payload: Any = _described()
"""A message as it travels."""


def payload_of(content: bytes) -> Any:
    """A payload as it was sent.

    Raises:
        UnreadableMessageError: it is none.
    """
    if len(content) > MOST_BYTES:
        raise UnreadableMessageError("too_large", f"{len(content)} bytes; at most {MOST_BYTES} are read")
    try:
        return Payload.FromString(content)
    except message.DecodeError as error:
        raise UnreadableMessageError("broken_payload", f"no payload of Sparkplug B: {error}") from None


def number_in(metric: Any, datatype: int) -> float | None:
    """The value of a metric whose type is a number; None where it has none.

    Signed numbers travel as unsigned ones of 32 or 64 bits, in two's complement.
    """
    if metric.is_null:
        return None
    for field in ("double_value", "float_value"):
        if metric.HasField(field):
            return float(getattr(metric, field))
    whole = metric.long_value if metric.HasField("long_value") else metric.int_value
    if not (metric.HasField("long_value") or metric.HasField("int_value")):
        return None
    if (bits := _SIGNED_BITS.get(datatype)) is not None:
        whole &= (1 << bits) - 1
        whole -= (whole >> (bits - 1)) << bits
    return float(whole)


def rebirth() -> bytes:
    """The command that has a node send its births again."""
    payload = Payload()
    payload.metrics.add(name="Node Control/Rebirth", datatype=BOOLEAN, boolean_value=True)
    return bytes(payload.SerializeToString())
