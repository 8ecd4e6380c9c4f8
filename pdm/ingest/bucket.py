"""What a bucket that others write holds of this plant, as readings: named and converted as line protocol is."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdm.durations import DAY_MS, HOUR_MS
from pdm.errors import ConfigurationError, UnreadableMessageError
from pdm.ingest.decode import MOST, OLDEST_MS
from pdm.ingest.history import add_to_report
from pdm.ingest.lines import Series, place_of_field, series_of
from pdm.ingest.rows import BadRow
from pdm.plant import AssetClass, Plant
from pdm.ports import ImportProgress, Points, PointSource, PointsWanted, ReadingWriter
from pdm.readings import ArrivalFlag, Readings, concatenate, merge
from pdm.words import listed

MOST_VALUES = 2_000_000
"""About so many values are read at once, in a window of time that is as long as that allows."""

_LONGEST_MS, _SHORTEST_MS = 32 * DAY_MS, 1_000
_NUMBERS = frozenset({"float", "integer", "unsigned"})


class Remark(NamedTuple):
    """What is in a bucket and comes to nothing, or to less than it may seem, and why."""

    what: str
    reason: str
    detail: str


class _Places(NamedTuple):
    """What the fields of a series are: value * scale + offset, at a place among the sensors (-1: nothing)."""

    source: str
    tags: Mapping[str, str]  # of those that name the source
    place: NDArray[np.int64]  # [fields]
    scale: NDArray[np.float64]  # [fields]
    offset: NDArray[np.float64]  # [fields]


class Mapped(NamedTuple):
    """What a measurement is in the plant."""

    wanted: PointsWanted
    places: Mapping[str, Mapping[str, _Places]]  # by class and series
    classes: Mapping[str, AssetClass]
    remarks: tuple[Remark, ...]

    @property
    def sources(self) -> list[str]:
        """Whom it holds readings of, sorted."""
        return sorted({found.source for of_class in self.places.values() for found in of_class.values()})

    def of_sources(self, sources: Iterable[str]) -> "Mapped":
        """What it is of some sources only."""
        chosen = set(sources)
        places = {
            name: {head: found for head, found in of_class.items() if found.source in chosen}
            for name, of_class in self.places.items()
        }
        wanted = self.wanted._replace(tags=_tags(places))
        return self._replace(places=places, wanted=wanted)


class ImportedMeasurement(NamedTuple):
    """What became of a measurement, in this run (`new_points`) and those before."""

    mapped: Mapped
    points: int
    new_points: int
    bad_values: int


def map_measurement(bucket: PointSource, measurement: str, plant: Plant) -> Mapped:
    """Find out what a measurement holds.

    Raises:
        StoreError: the bucket does not answer.
    """
    fields = bucket.fields(measurement)
    remarks = dict[Remark, None]()
    known = dict[str, Series]()
    for head in bucket.series(measurement):
        try:
            known[head] = series_of(head, plant)
        except UnreadableMessageError as error:
            remarks[Remark(head, error.reason, error.detail)] = None
    places = dict[str, dict[str, _Places]]()
    for head, series in known.items():
        found, problems = _places(series, fields)
        remarks |= dict.fromkeys(problems)
        places.setdefault(series.asset_class.name, {})[head] = found
    wanted = PointsWanted(measurement, tuple(fields), _tags(places))
    made = _narrowed(Mapped(wanted, places, plant.classes, ()))
    return made._replace(remarks=(*remarks, *_shared(made)))


def windows(bucket: PointSource, mapped: Mapped, start_ms: int, end_ms: int) -> Iterator[tuple[int, Points]]:
    """The points with start <= time < end in the order of time, some at once, and up to where they go."""
    wanted, width = mapped.wanted, HOUR_MS
    at = bucket.next_ms(wanted, start_ms, end_ms)
    while at is not None:
        until = min(at + width, end_ms)
        count = bucket.count(wanted, at, until)
        if count > MOST_VALUES and width > _SHORTEST_MS:
            width //= 2
        elif not count:
            at = bucket.next_ms(wanted, at, end_ms)
        else:
            yield until, bucket.points(wanted, at, until)
            at = until
            width = min(2 * width, _LONGEST_MS) if count < MOST_VALUES // 4 else width


def readings_of(points: Points, mapped: Mapped, flag: int) -> tuple[dict[str, Readings], list[BadRow]]:
    """Readings by class, one for each source and time, and the values that are none; all get this flag."""
    batches, bad = dict[str, Readings](), list[BadRow]()
    for class_name, places in mapped.places.items():
        parts = []
        for head, rows in zip(points.series, _rows_of_series(points), strict=True):
            if (found := places.get(head)) is not None:
                values = points.values[rows]
                bad += _too_large(points, mapped, head, rows)
                values[np.abs(values) > MOST] = np.nan
                parts.append(_of_series(found, mapped.classes[class_name], points.time_ms[rows], values, flag))
        if parts and len(readings := merge(concatenate(parts))):
            batches[class_name] = readings
    return batches, bad


def import_bucket(
    bucket: PointSource,
    measurements: Sequence[str],
    writer: ReadingWriter,
    plant: Plant,
    now_ms: int,
    *,
    report: Path,
    from_ms: int = OLDEST_MS,
    to_ms: int | None = None,
    progress: Callable[[str, float], None] = lambda measurement, done: None,
) -> list[ImportedMeasurement]:
    """Import measurements of a bucket one after another, each in the order of time; all there are if none is named.

    Each window is committed with how far it goes, so that a run that was cut short, or one a day later, goes on there.

    Args:
        report: CSV file to which what could not be read is added; made if there is any.
        progress: told what share of the time of a measurement is done, 0 to 1.

    Raises:
        ConfigurationError: there is no such measurement, or nothing in all of them is of this plant.
        StoreError: a store failed; a rerun goes on from there.
    """
    there = bucket.measurements()
    if missing := [name for name in measurements if name not in there]:
        raise ConfigurationError(f"has no measurement {missing[0]!r}; it has {listed(there, 'and')}", file=bucket.name)
    mapped = [map_measurement(bucket, name, plant) for name in measurements or there]
    for one in mapped:
        found = [BadRow(0, remark.reason, f"{remark.what}: {remark.detail}") for remark in one.remarks]
        add_to_report(report, one.wanted.measurement, found)
    if not any(one.wanted.fields for one in mapped):
        why = next((f", for example {found.what}: {found.detail}" for one in mapped for found in one.remarks), "")
        raise ConfigurationError(f"holds nothing of this plant (`lines` in plant.yaml){why}", file=bucket.name)
    end_ms = now_ms if to_ms is None else min(to_ms, now_ms)
    return [_import(bucket, one, writer, plant, (from_ms, end_ms), report, progress) for one in mapped]


def _import(
    bucket: PointSource,
    mapped: Mapped,
    writer: ReadingWriter,
    plant: Plant,
    span_ms: tuple[int, int],
    report: Path,
    progress: Callable[[str, float], None],
) -> ImportedMeasurement:
    name, (from_ms, end_ms) = mapped.wanted.measurement, span_ms
    key = f"{bucket.name} {name} {from_ms} {plant.version}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    reached = writer.import_progress(digest) or ImportProgress(digest, name, 0, 0, finished=False)
    start_ms, before = reached.reached_ms.get("", from_ms), reached.rows
    for until_ms, points in windows(bucket, mapped, start_ms, end_ms) if mapped.wanted.fields else ():
        batches, bad = readings_of(points, mapped, ArrivalFlag.IMPORTED)
        add_to_report(report, name, bad)
        reached = replace(
            reached,
            rows=reached.rows + len(points.time_ms),
            bad_rows=reached.bad_rows + len(bad),
            reached_ms={"": until_ms},
        )
        writer.append(batches, imported=reached)
        progress(name, (until_ms - start_ms) / max(end_ms - start_ms, 1))
    progress(name, 1.0)
    return ImportedMeasurement(mapped, reached.rows, reached.rows - before, reached.bad_rows)


def _of_series(
    found: _Places, asset_class: AssetClass, time_ms: NDArray[np.int64], values: NDArray[np.float64], flag: int
) -> Readings:
    converted = values * found.scale + found.offset
    made = np.full((len(time_ms), len(asset_class.sensors)), np.nan)
    for field, place in enumerate(found.place.tolist()):
        if place >= 0:
            made[:, place] = np.where(np.isnan(converted[:, field]), made[:, place], converted[:, field])
    flags = np.full(len(time_ms), flag, dtype=np.uint8)
    source = np.full(len(time_ms), found.source, dtype=object)
    readings = Readings(asset_class.sensor_names, source, time_ms, made, flags)
    return readings.take(~np.isnan(made).all(axis=1))


def _rows_of_series(points: Points) -> list[NDArray[np.intp]]:
    ends = np.cumsum(np.bincount(points.number, minlength=len(points.series)))
    return np.split(np.argsort(points.number, kind="stable"), ends[:-1])


def _too_large(points: Points, mapped: Mapped, head: str, rows: NDArray[np.intp]) -> list[BadRow]:
    """Values that no machine reports."""
    where = np.argwhere(np.abs(points.values[rows]) > MOST)
    return [
        BadRow(0, "number_too_large", f"{mapped.wanted.fields[field]} of {head} at {points.time_ms[rows[row]]} ms")
        for row, field in where.tolist()
    ]


def _places(series: Series, fields: Mapping[str, Sequence[str]]) -> tuple[_Places, list[Remark]]:
    """What the fields of a series are, and those that come to nothing."""
    problems, found = list[Remark](), list[tuple[int, float, float]]()
    for name, types in fields.items():
        place, scale, offset = -1, 1.0, 0.0
        try:
            place, (scale, offset) = _place(series, name)
        except UnreadableMessageError as error:
            problems.append(Remark(f"{series.measurement}, field {name}", error.reason, error.detail))
        if place >= 0 and (others := sorted(set(types) - _NUMBERS)):
            detail = f"expected numbers; its points with {', '.join(others)} are left out"
            problems.append(Remark(f"{series.measurement}, field {name}", "wrong_type", detail))
            place = place if set(types) & _NUMBERS else -1
        found.append((place, scale, offset))
    place_of, scales, offsets = np.array(found).reshape(-1, 3).T
    tags = {tag: series.tags[tag] for tag in series.form.source.names if tag in series.tags}
    return _Places(series.source, tags, place_of.astype(np.int64), scales, offsets), problems


def _place(series: Series, name: str) -> tuple[int, tuple[float, float]]:
    place, conversion = place_of_field(series, name)
    return place, (conversion.scale, conversion.offset)


def _tags(places: Mapping[str, Mapping[str, _Places]]) -> dict[str, tuple[str, ...]]:
    """What the tags that name sources hold where they name one."""
    values = dict[str, set[str]]()
    for found in (found for of_class in places.values() for found in of_class.values()):
        for tag, value in found.tags.items():
            values.setdefault(tag, set()).add(value)
    return {tag: tuple(sorted(held)) for tag, held in values.items()}


def _shared(mapped: Mapped) -> Iterator[Remark]:
    """Sensors that several series are: where they speak of the same time, only one of them is believed."""
    heads = dict[tuple[str, int], list[str]]()
    for of_class in mapped.places.values():
        for head, found in of_class.items():
            for place in found.place[found.place >= 0].tolist():
                heads.setdefault((found.source, place), []).append(head)
    several = {source: shared for (source, _), shared in heads.items() if len(shared) > 1}
    for source, shared in several.items():
        detail = f"one sensor of {source} is in {' and in '.join(shared[:3])}: at one time only one of them counts"
        yield Remark(source, "several_series", detail)


def _narrowed(mapped: Mapped) -> Mapped:
    """Without the fields that no series has a sensor for."""
    all_places = [found.place for of_class in mapped.places.values() for found in of_class.values()]
    used = np.any(np.stack(all_places) >= 0, axis=0) if all_places else np.zeros(len(mapped.wanted.fields), dtype=bool)
    fields = tuple(name for name, is_used in zip(mapped.wanted.fields, used.tolist(), strict=True) if is_used)
    places = {
        name: {
            head: _Places(found.source, found.tags, found.place[used], found.scale[used], found.offset[used])
            for head, found in of_class.items()
            if (found.place[used] >= 0).any()
        }
        for name, of_class in mapped.places.items()
    }
    return mapped._replace(wanted=mapped.wanted._replace(fields=fields), places=places)
