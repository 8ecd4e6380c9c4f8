"""InfluxDB line protocol, `measurement,tag=a field=1.5,other=2i 1795341600000000000`, as readings.

A line is one sample of one machine. Lines of one shape (head and names of the fields) are resolved once: what is done
for each line is to split it, and to read its numbers. Everything odd takes a slower way, which finds the reason.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from math import nan
from operator import itemgetter
from typing import NamedTuple

import msgspec

from pdm.errors import UnreadableMessageError
from pdm.ingest.decode import NUMBERS, UNITS_PER_MS, EpochUnit, Samples, arrival_flags, unknown_source
from pdm.ingest.wire import number_of, place_of
from pdm.plant import AssetClass, Plant
from pdm.plant.wire import LineForm, Pattern
from pdm.readings import ArrivalFlag
from pdm.units import IDENTITY, Conversion

MOST_LINES = 50_000
"""Of one message or body."""

_MOST_LAYOUTS = 20_000
_LONGEST_LINE = 64_000

_PART = r"(?:[^\\{ends}\n]|\\.)*+"  # up to one of these, unless a backslash stands before it
_NAME = _PART.format(ends=",= ")
_HEAD = re.compile(_PART.format(ends=" "))
_TEXT = r'"(?:[^"\\]|\\.)*+"'
_FIELD = re.compile(rf"({_NAME})=({_TEXT}|[^, \n]*+)", re.DOTALL)
_LINE = re.compile(rf"(?:\\[^\n]|[^\\ \n])*+(?: (?:={_TEXT}|\\[^\n]|[^\n])*+)?+\n?", re.DOTALL)
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_MEASUREMENT = re.compile(_PART.format(ends=", "))
_ESCAPED = re.compile(r"\\([,= ])")
_DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"([-+]?\d+)i|(\d+)u", re.ASCII)
_BOOLEANS = frozenset({"t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"})
_WHOLES = re.compile(r"((?:^|,)-?\d+)i(?=,|$)", re.ASCII)
_STAMP = re.compile(r"-?\d{1,19}", re.ASCII)

_numbers = msgspec.json.Decoder(NUMBERS)


class Unread(NamedTuple):
    """A line that is not stored, and why."""

    number: int  # from 1
    line: bytes
    error: UnreadableMessageError


class Series(NamedTuple):
    """What lines with one measurement and one set of tags are about."""

    measurement: str
    tags: Mapping[str, str]
    form: LineForm
    source: str
    asset_class: AssetClass


class _Layout(NamedTuple):
    """What lines of one shape are."""

    class_name: str
    sensors: tuple[str, ...]
    source: str
    wanted: tuple[bool, ...]  # whether a field is a sensor; otherwise it is ignored
    row: Callable[[list[float]], Sequence[float]]  # values in the order of the sensors, of those of the fields and NaN
    conversions: tuple[Conversion, ...] | None  # of each field; None where all are in the declared unit


class LineReader:
    """Reads the line protocol of one plant."""

    def __init__(self, plant: Plant):
        self._plant = plant
        self._layout = lru_cache(_MOST_LAYOUTS)(self._new_layout)

    def read(self, body: bytes, unit: EpochUnit, now_ms: int) -> Iterator[Samples | Unread]:
        """What each line is; blank lines and comments are nothing.

        Args:
            unit: what the times count since 1970.

        Raises:
            UnreadableMessageError: the whole cannot be taken apart.
        """
        body = body.removesuffix(b"\n")
        too_many = UnreadableMessageError("too_many", f"at most {MOST_LINES:,} lines at once")
        if b'"' not in body and body.count(b"\n") >= MOST_LINES:
            raise too_many
        try:
            lines = _lines(body.decode())
        except UnicodeDecodeError:
            raise UnreadableMessageError("broken_line", "expected text in UTF-8") from None
        if len(lines) > MOST_LINES:
            raise too_many
        per_ms = UNITS_PER_MS[unit]
        for number, line in enumerate(lines, start=1):
            try:
                samples = self._quickly(line, per_ms, now_ms)
                if samples is None and (stripped := line.strip(" \t\r\0")) and stripped[0] != "#":
                    samples = self._thoroughly(stripped, per_ms, now_ms)
                if samples is not None:
                    yield samples
            except UnreadableMessageError as error:
                yield Unread(number, line.encode(), error)

    def _quickly(self, line: str, per_ms: float, now_ms: int) -> Samples | None:
        """What an ordinary line says; None where it takes a second look."""
        try:
            head, fields, stamp = line.split(" ")
            parts = fields.replace("=", ",").split(",")
            names, texts = tuple(parts[::2]), ",".join(parts[1::2])
            values = _numbers.decode(f"[{_without_i(texts) if 'i' in texts else texts}]")
            time_ms = round(int(stamp[:20]) / per_ms)
        except (ValueError, msgspec.DecodeError):
            return None
        if fields.count("=") != len(names) or len(values) != len(names) or "\\" in line:
            return None
        if not stamp.isdigit() or len(stamp) > 19 or line[:1] == "#":
            return None
        return _samples(self._layout(head, names), values, time_ms, ArrivalFlag.NONE, now_ms)

    def _thoroughly(self, line: str, per_ms: float, now_ms: int) -> Samples | None:
        """What any line says; None where all of it is ignored."""
        head, names, texts, stamp = _taken_apart(line)
        layout = self._layout(head, tuple(_plain(name) for name in names))
        fields = zip(names, texts, layout.wanted, strict=True)
        values = [_number(_plain(name), text) if wanted else nan for name, text, wanted in fields]
        if stamp is None:
            return _samples(layout, values, now_ms, ArrivalFlag.NO_TIMESTAMP, now_ms)
        return _samples(layout, values, round(int(stamp) / per_ms), ArrivalFlag.NONE, now_ms)

    def _new_layout(self, head: str, names: tuple[str, ...]) -> _Layout:
        series = series_of(head, self._plant)
        places, conversions = zip(*[place_of_field(series, name) for name in names], strict=True)
        return _Layout(
            class_name=series.asset_class.name,
            sensors=series.asset_class.sensor_names,
            source=series.source,
            wanted=tuple(place >= 0 for place in places),
            row=_arranged(places, len(series.asset_class.sensors)),
            conversions=None if all(found == IDENTITY for found in conversions) else conversions,
        )


def form_of(measurement: str, plant: Plant) -> LineForm:
    """How lines of a measurement are read."""
    forms = {form.measurement: form for form in plant.lines}
    return forms.get(measurement) or forms.get(None) or LineForm()


def series_of(head: str, plant: Plant) -> Series:
    """What lines that begin so are about.

    Raises:
        UnreadableMessageError: nothing of the plant.
    """
    measurement, tags = _measurement_and_tags(head)
    form = form_of(measurement, plant)
    source = _filled(form.source, {**tags, "measurement": measurement}, "source", tags)
    asset = plant.asset_of_source.get(source)
    if asset is None:
        raise unknown_source(source)
    return Series(measurement, tags, form, source, plant.class_of(asset))


def place_of_field(series: Series, name: str) -> tuple[int, Conversion]:
    """Where the number of a field belongs among the sensors (-1: nowhere), and how it comes into the declared unit.

    Raises:
        UnreadableMessageError: it is no sensor.
    """
    known = {**series.tags, "measurement": series.measurement, "field": name}
    wire = series.form.wire_sensor(_filled(series.form.sensor, known, "sensor", series.tags))
    return (-1, IDENTITY) if wire is None else place_of(wire, series.asset_class)


def _lines(text: str) -> list[str]:
    """The lines of a text, not many too many; a field may hold text with line breaks."""
    if '"' not in text:
        return text.split("\n")
    whole = (found[0] for found in _LINE.finditer(text) if found[0])  # an empty one is found at the end
    return [line.rstrip("\n") for line in islice(whole, MOST_LINES + 1)]


def _taken_apart(line: str) -> tuple[str, list[str], list[str], str | None]:
    """Head, names and texts of the fields, and the time of a line, as they are written.

    Raises:
        UnreadableMessageError: it is no line protocol.
    """
    if len(line) > _LONGEST_LINE:
        raise UnreadableMessageError("too_large", f"a line of {len(line)} characters; at most {_LONGEST_LINE} are read")
    head = _text(_HEAD, line)
    end = len(line) - len(line[len(head) :].lstrip(" "))
    names, texts = list[str](), list[str]()
    while True:
        field = _FIELD.match(line, end)
        if field is None or not field[1]:
            raise UnreadableMessageError("broken_line", "missing field key" if names else "missing fields")
        if not field[2]:
            raise UnreadableMessageError("broken_line", f"missing field value of {_plain(field[1])!r}")
        names.append(field[1])
        texts.append(field[2])
        end = field.end()
        if line[end : end + 1] != ",":
            break
        end += 1
    stamp = line[end:].strip(" ")
    if line[end : end + 1] not in ("", " ") or (stamp and not _STAMP.fullmatch(stamp)):
        raise UnreadableMessageError("broken_line", f"bad timestamp {stamp[:40]!r}: expected a whole number")
    return head, names, texts, stamp or None


def _measurement_and_tags(head: str) -> tuple[str, dict[str, str]]:
    measurement = _text(_MEASUREMENT, head)
    if not measurement:
        raise UnreadableMessageError("broken_line", "missing measurement")
    tags, end = dict[str, str](), len(measurement)
    while end < len(head):
        tag = _TAG.match(head, end)
        if tag is None or not tag[1]:
            raise UnreadableMessageError("broken_line", "missing tag key")
        if not tag[2]:
            raise UnreadableMessageError("broken_line", f"missing tag value of {_plain(tag[1])!r}")
        tags[_plain(tag[1])] = _plain(tag[2])
        end = tag.end()
    return _plain(measurement), tags


def _filled(pattern: Pattern, known: Mapping[str, str], what: str, tags: Mapping[str, str]) -> str:
    try:
        return pattern.filled(known)
    except KeyError as error:
        there = f"its tags are {', '.join(tags)}" if tags else "it has none"
        detail = f"the {what} is in the tag {error.args[0]!r}, which this line does not have: {there}"
        raise UnreadableMessageError("missing_tag", detail) from None


def _without_i(texts: str) -> str:
    """Numbers without what marks the whole ones among them."""
    if "." in texts or "e" in texts or "E" in texts:
        return _WHOLES.sub(r"\1", texts)
    return texts.replace("i,", ",").removesuffix("i")


def _number(name: str, text: str) -> float:
    whole = _WHOLE.fullmatch(text)
    if whole is None and not _DECIMAL.fullmatch(text):
        if text[0] == '"' and not (len(text) > 1 and text.endswith('"')):
            raise UnreadableMessageError("broken_line", f"unbalanced quotes in the value of {name!r}")
        if text[0] == '"' or text in _BOOLEANS:
            raise UnreadableMessageError("wrong_type", f"{name}: expected a number, not {text[:40]}")
        if text.lstrip("+-").lower() in ("nan", "inf", "infinity"):
            raise UnreadableMessageError("not_a_number", f"{name}: invalid number")
        raise UnreadableMessageError("broken_line", f"invalid number {text[:40]!r} of {name!r}")
    return number_of(name, float(text if whole is None else whole[1] or whole[2]))


def _samples(layout: _Layout, values: list[float], time_ms: int, flag: ArrivalFlag, now_ms: int) -> Samples | None:
    if True not in layout.wanted:
        return None
    if layout.conversions is not None:
        values = [found.scale * value + found.offset for found, value in zip(layout.conversions, values, strict=True)]
    times = [time_ms]
    flags = arrival_flags(times, flag, now_ms)
    return Samples(
        layout.class_name, layout.sensors, layout.source, times, array("d", layout.row([*values, nan])), flags
    )


def _arranged(places: Sequence[int], n: int) -> Callable[[list[float]], Sequence[float]]:
    """How the values of fields, with NaN behind them, become those of n sensors."""
    field = {place: number for number, place in enumerate(places)}
    order = [field.get(place, len(places)) for place in range(n)]
    return itemgetter(*order) if n > 1 else itemgetter(slice(order[0], order[0] + 1))


def _text(pattern: re.Pattern[str], line: str) -> str:
    """What a line begins with."""
    found = pattern.match(line)
    return found[0] if found else ""


def _plain(text: str) -> str:
    """A name or tag without its escapes; a backslash before any other character is itself."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
