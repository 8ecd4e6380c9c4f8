"""Messages become readings, or are refused with a reason: JSON as it comes by MQTT and HTTP.

One message carries one sample, `{"ts": "2026-11-22T10:00:00Z", "values": {"temp": 71.2}}`, or many of them,
`{"ts": [...], "values": {"temp": [...]}}`. Message types are made from the sensors of each class, so that a wrong
name or type is refused while the text is parsed.
"""

import re
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from math import nan
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from pdm.errors import UnreadableMessageError
from pdm.plant import LATENESS_MS, AssetClass, Plant
from pdm.plant.wire import EpochUnit as EpochUnit
from pdm.readings import ArrivalFlag
from pdm.units import conversion
from pdm.words import listed

MOST_BYTES = 1_000_000
"""Largest message that is read [bytes]; a larger one is refused before it is parsed."""

MOST_BODY_BYTES = 16_000_000
"""Largest body with many messages that is taken apart [bytes]."""

MOST_MESSAGES = 10_000
"""Of one body: thousands of samples fit into one message, and while a body is taken apart nothing else is."""

FUTURE_MS = 5 * 60_000
"""How far a clock of the plant may run ahead."""

OLDEST_MS = 631_152_000_000
"""1990-01-01: what is older comes from a clock that was never set, or from a mistaken unit."""

MOST = 1e30
"""No machine reports a larger number, and the square of this one is still finite."""

UNITS_PER_MS = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}
"""How many of an epoch unit make a millisecond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Number = Annotated[float, msgspec.Meta(ge=-MOST, le=MOST)]
_Value = Number | None
NUMBERS = list[Number]
_Time = Annotated[datetime, msgspec.Meta(tz=True)] | int | Number

_UNKNOWN_FIELD = re.compile(r"unknown field `(.*)` - at `\$\.values`", re.DOTALL)
_NOT_A_NUMBER = re.compile(rb"[:,\[]\s*[-+]?(nan|inf)", re.IGNORECASE)
_REASONS = (
    ("contains unknown field", "unknown_field"),
    ("missing required field", "missing_field"),
    ("timezone component", "timestamp_without_zone"),
    ("RFC3339", "wrong_timestamp"),
    ("1e+30", "number_too_large"),
    ("out of range", "number_too_large"),
    ("at most length", "too_many"),
)
_TIME_WORDS = "expected a time with its offset such as 2026-01-04T06:00:00Z"
_PLAIN = (  # what msgspec says, and what people read
    (r"Object missing required field `(.*)`", r"the field \1 is missing"),
    (r"Object contains unknown field `(.*)`", r"\1 is no field of a message"),
    (r"Expected `datetime` with a timezone component|Invalid RFC3339 encoded datetime", _TIME_WORDS),
    (r"Number out of range|Expected `float` [<>]= \S+", f"expected a number between -{MOST:g} and {MOST:g}"),
    (r"Expected `array` of at most length \d+", f"at most {MOST_MESSAGES:,} messages in one body"),
    (r"Input data was truncated", "the JSON breaks off before its end"),
    (r"'utf-8' codec .*", "expected text in UTF-8"),
)
_WRONG_TYPE = re.compile(r"Expected `(.+)`, got `(.+)`")
_TYPES = {
    "int": "a number",
    "float": "a number",
    "datetime": "a time",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


class Samples(NamedTuple):
    """What one message carried."""

    class_name: str
    sensors: tuple[str, ...]
    source: str
    times_ms: list[int]  # n
    values: "array[float]"  # n * k, sample by sample
    flags: bytes  # n, `ArrivalFlag`


class Decoder:
    """Reads the messages of one plant.

    Args:
        plant: whose sources, sensors and units are known.
        epoch_unit: what a time that is a number counts, since 1970; None refuses such times.
    """

    def __init__(self, plant: Plant, *, epoch_unit: EpochUnit | None = None):
        self.plant = plant
        self.epoch_unit = epoch_unit
        self._units_per_ms = UNITS_PER_MS[epoch_unit] if epoch_unit else None
        messages = {name: _Messages(asset_class) for name, asset_class in plant.classes.items()}
        self._messages = {asset.source: messages[asset.class_name] for asset in plant.assets.values()}

    def decode(self, topic: str, payload: bytes, now_ms: int) -> Samples:
        """Read a message whose source is the last level of its topic.

        Raises:
            UnreadableMessageError: with the reason.
        """
        source = topic.rpartition("/")[2]
        messages = self._of_source(source)
        return self._samples(messages, source, parse(messages.plain, payload, messages), now_ms)

    def decode_named(self, payload: bytes, now_ms: int) -> Samples:
        """Read a message that names its source itself, in the field `source`.

        Raises:
            UnreadableMessageError: with the reason.
        """
        source = parse(_SOURCE, payload).source
        messages = self._of_source(source)
        return self._samples(messages, source, parse(messages.named, payload, messages), now_ms)

    def _of_source(self, source: str) -> "_Messages":
        try:
            return self._messages[source]
        except KeyError:
            raise unknown_source(source) from None

    def _samples(self, messages: "_Messages", source: str, message: Any, now_ms: int) -> Samples:
        flag = ArrivalFlag.NONE
        columns = msgspec.structs.astuple(message.values)
        if columns[0] is nan and columns.count(nan) == len(columns):
            raise UnreadableMessageError("no_values", "the message names no sensor")
        if type(message.ts) is list:
            times = [self._time_ms(ts) for ts in message.ts]
            values = _rows(columns, len(times))
        else:
            if message.ts is None:
                flag = ArrivalFlag.NO_TIMESTAMP
            times = [now_ms if message.ts is None else self._time_ms(message.ts)]
            values = _row(columns)
        if message.units:
            messages.convert(values, message.units)
        return Samples(messages.class_name, messages.sensors, source, times, values, arrival_flags(times, flag, now_ms))

    def _time_ms(self, ts: datetime | float) -> int:
        return time_ms_of(ts, self._units_per_ms)


def time_ms_of(ts: datetime | float, units_per_ms: float | None) -> int:
    """A time as milliseconds since 1970; of a number so many units are one.

    Raises:
        UnreadableMessageError: nobody said what a number counts, or it is beyond all times.
    """
    if isinstance(ts, datetime):
        return (ts - _EPOCH) // _MILLISECOND
    if units_per_ms is None:
        raise UnreadableMessageError("epoch_unit_undeclared", f"the time {ts} is a number and its unit is not set")
    try:
        return round(ts / units_per_ms)
    except OverflowError:
        raise UnreadableMessageError("number_too_large", "the time has more digits than any time") from None


def messages_of(body: bytes) -> list[bytes]:
    """The messages in an HTTP body: one that names its source, a list of them, or `{"readings": [...]}`.

    Raises:
        UnreadableMessageError: nothing in it can be read, or there are too many messages.
    """
    few = body.count(b",") < MOST_MESSAGES
    listed, envelope = _FEW if few else _at_most_many()
    if body.lstrip(b" \t\r\n")[:1] == b"[":
        items = parse(listed, body, most_bytes=MOST_BODY_BYTES)
    else:
        items = parse(envelope, body, most_bytes=MOST_BODY_BYTES).readings
    if items is None:
        return [body]
    return [bytes(item) for item in (items if few else msgspec.structs.astuple(items)) if item is not None]


class _Messages:
    """The messages that machines of one class send."""

    def __init__(self, asset_class: AssetClass):
        self.class_name = asset_class.name
        self.sensors = asset_class.sensor_names
        self._unit = {sensor.name: sensor.unit for sensor in asset_class.sensors}
        names = {f"sensor_{i}": name for i, name in enumerate(self.sensors)}
        values = msgspec.defstruct(
            "Values",
            [(field, _Value | list[_Value], nan) for field in names],
            rename=names,
            forbid_unknown_fields=True,
        )
        fields: list[Any] = [
            ("values", values),
            ("ts", _Time | list[_Time] | None, None),
            ("units", dict[str, str] | None, None),
        ]
        self.plain = _decoder("Message", fields)
        self.named = _decoder("NamedMessage", [("source", str), *fields])

    def convert(self, values: "array[float]", units: dict[str, str]) -> None:
        """Bring values sent in other units into the declared ones, in place."""
        rows = np.frombuffer(values).reshape(-1, len(self.sensors))
        for name, unit in units.items():
            if name not in self._unit:
                raise unknown_sensor(name, self.class_name, self.sensors)
            column = rows[:, self.sensors.index(name)]
            column[:] = conversion(unit, self._unit[name])(column)


def unknown_source(source: str) -> UnreadableMessageError:
    return UnreadableMessageError("unknown_source", f"no asset of the plant has the source {source!r}")


def unknown_sensor(name: str, class_name: str, sensors: Sequence[str]) -> UnreadableMessageError:
    detail = f"{name!r} is no sensor of class {class_name}, which has {', '.join(sensors)}"
    return UnreadableMessageError("unknown_sensor", detail)


def _decoder(name: str, fields: Sequence[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True))


class _Source(msgspec.Struct):
    source: str


def _body_decoders(messages: Any) -> tuple[Any, Any]:
    """Decoders of a body that is messages, and of one that holds them."""
    envelope = msgspec.defstruct("Envelope", [("readings", messages | None, None)])
    return msgspec.json.Decoder(messages), msgspec.json.Decoder(envelope)


@cache
def _at_most_many() -> tuple[Any, Any]:
    """The same for bodies in which there may be too many messages.

    A list of limited length would be built to its end before it is refused; a struct is left at the first one too many.
    """
    fields: list[Any] = [(f"message_{number}", msgspec.Raw, None) for number in range(MOST_MESSAGES)]
    return _body_decoders(msgspec.defstruct("Messages", fields, array_like=True, forbid_unknown_fields=True))


_SOURCE = msgspec.json.Decoder(_Source)
_FEW = _body_decoders(list[msgspec.Raw])


def parse(
    decoder: msgspec.json.Decoder[Any],
    payload: bytes,
    messages: _Messages | None = None,
    most_bytes: int = MOST_BYTES,
) -> Any:
    """Parse a message, or raise why it cannot be."""
    if len(payload) > most_bytes:
        raise UnreadableMessageError("too_large", f"{len(payload)} bytes; at most {most_bytes} are read")
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        unknown = _UNKNOWN_FIELD.search(str(error))
        if unknown and messages:
            raise unknown_sensor(unknown[1], messages.class_name, messages.sensors) from None
        reason = next((reason for text, reason in _REASONS if text in str(error)), "wrong_type")
        raise UnreadableMessageError(reason, _in_words(str(error))) from None
    except RecursionError:
        raise UnreadableMessageError("broken_json", "nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "not_a_number" if _NOT_A_NUMBER.search(payload) else "broken_json"
        raise UnreadableMessageError(reason, _in_words(str(error))) from None


def _in_words(complaint: str) -> str:
    """What msgspec complains of, for whoever sent the message: the field, and what was expected there."""
    said, _, path = complaint.partition(" - at `$")
    for pattern, plain in _PLAIN:
        said = re.sub(pattern, plain, said, flags=re.DOTALL)
    if types := _WRONG_TYPE.fullmatch(said):
        wanted, got = (
            list(dict.fromkeys(_TYPES.get(name, name) for name in part.split(" | "))) for part in types.groups()
        )
        said = f"expected {listed(wanted, 'or')}, not {got[0]}"
    field = path.strip("`.").removesuffix("[...]")
    return f"{field}: {said}" if field else said


def _row(columns: Sequence[Any]) -> "array[float]":
    """The values of one sample."""
    row = array("d")
    try:
        row.fromlist(list(columns))
    except TypeError:
        if any(type(value) is list for value in columns):
            raise UnreadableMessageError("length_mismatch", "lists of values need a list of times") from None
        row.fromlist([nan if value is None else value for value in columns])
    return row


def _rows(columns: Sequence[Any], n: int) -> "array[float]":
    """The values of n samples, sample by sample."""
    block = array("d")
    for column in columns:
        if type(column) is not list:
            if column is not None and column is not nan:
                raise UnreadableMessageError("length_mismatch", "a list of times needs lists of values")
            column = [nan] * n
        if len(column) != n:
            raise UnreadableMessageError("length_mismatch", f"{n} times but {len(column)} values of one sensor")
        try:
            block.fromlist(column)
        except TypeError:
            block.fromlist([nan if value is None else value for value in column])
    return array("d", np.frombuffer(block).reshape(len(columns), n).T.tobytes())


def arrival_flags(times: list[int], flag: ArrivalFlag, now_ms: int) -> bytes:
    """The flags of samples of these times, `flag` among them.

    Raises:
        UnreadableMessageError: why the times cannot be.
    """
    if not times:
        raise UnreadableMessageError("no_values", "the list of times is empty")
    oldest, newest = min(times), max(times)
    if newest > now_ms + FUTURE_MS:
        raise UnreadableMessageError("in_the_future", f"{_text(newest)} is after {_text(now_ms)}, when it came")
    if oldest < OLDEST_MS:
        raise UnreadableMessageError("before_1990", f"{_text(oldest)} cannot be when this was measured")
    if oldest < now_ms - LATENESS_MS:
        return bytes(flag | (ArrivalFlag.LATE if time < now_ms - LATENESS_MS else 0) for time in times)
    return bytes([flag]) * len(times)


def _text(time_ms: int) -> str:
    """A time for people; those that no calendar holds as a number."""
    try:
        return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{time_ms} ms since 1970"
