"""YAML that remembers where everything stands, so that every error names its line and key, and all come at once.

Scalars stay the text that was written: a serial `0012` keeps its zeros and the code `NO` is not false. What a text
means is said by the entry (`pdm.plant.entry_types`) that reads it. Aliases and tags are refused: these files are plain
data, and a few lines of aliases can stand for gigabytes.
"""

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pdm.errors import ConfigurationError
from pdm.plant.entry_types import Entry, expectation

LARGEST_FILE = 32 * 2**20
"""Characters; a hundred thousand assets take 16 million."""

_DEEPEST = 20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

Path = tuple[str | int, ...]
E = TypeVar("E", bound=Entry)


class MarkedMap(dict[str, Any]):
    """A mapping that knows the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str | int, int] = {}


class MarkedList(list[Any]):
    """A list that knows the line of each item."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str | int, int] = {}


class Document:
    """One YAML file while it is read: its data, and everything found wrong with it so far."""

    def __init__(self, text: str, file: str) -> None:
        self.errors: list[ConfigurationError] = []
        self._file = file
        if len(text) > LARGEST_FILE:
            raise ConfigurationError(f"is larger than {LARGEST_FILE >> 20} MB", file=file)
        self.data = self._compose(text)

    def refuse(self, path: Path, message: str) -> None:
        """Note that what stands at `path`, or is missing there, is wrong."""
        line, key = self._place(path)
        self.errors.append(ConfigurationError(message, file=self._file, line=line, key=key))

    def line(self, *path: str | int) -> int:
        """The 1-based line of the deepest part of `path` that is in the file."""
        return self._place(path)[0]

    def at(self, *path: str | int) -> Any:
        """What stands at `path`; None where nothing does."""
        found: Any = self.data
        for step in path:
            found = _below(found, step)
        return found

    def names(self, *path: str | int) -> tuple[str, ...]:
        """The keys of the mapping at `path`; none where there is no mapping."""
        found = self.at(*path)
        return tuple(found) if isinstance(found, MarkedMap) else ()

    def entry(self, model: type[E], *path: str | int) -> E | None:
        """What stands at `path`; None where it is wrong, after noting why."""
        try:
            return model.model_validate(self.at(*path))
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                self.refuse((*path, *problem["loc"]), _complaint(model, problem))
        return None

    def entries(self, model: type[E], *path: str | int, wrong_name: Callable[[str], str | None]) -> dict[str, E]:
        """The well-formed ones of the named entries below `path`; notes what is wrong with the others."""
        entries = {}
        for name in self.names(*path):
            if (reason := wrong_name(name)) is not None:
                self.refuse((*path, name), reason)
            if (entry := self.entry(model, *path, name)) is not None:
                entries[name] = entry
        return entries

    def check_known(self, path: Path, name: str, known: Iterable[str], what: str) -> bool:
        """Whether `name`, written at `path`, is among `known`; notes it otherwise."""
        known = tuple(known)
        if name not in known:
            self.refuse(path, f"there is no {what} {name!r}{did_you_mean(name, known)}")
        return name in known

    def _place(self, path: Path) -> tuple[int, str | None]:
        """The line of the deepest part of `path` that is in the file, and the dotted key."""
        line, key, found = 1, "", self.data
        for step in path:
            if isinstance(found, str):  # one item that stands without the brackets of its list
                break
            if isinstance(found, MarkedMap) and isinstance(step, int):  # the same with a section
                continue
            line = getattr(found, "lines", {}).get(step, line)
            key += f"[{step}]" if isinstance(step, int) else f".{step}"
            found = _below(found, step)
        return line, key.removeprefix(".") or None

    def _compose(self, text: str) -> MarkedMap:
        try:
            events = (event for event in yaml.parse(text, Loader=_LOADER) if event.__class__ not in _FRAMES)
            first = next(events, None)
            data = MarkedMap() if first is None else self._value(first, events, ())
            if (second := next(events, None)) is not None:
                self._stop(second, "expected one document, not several")
        except (yaml.YAMLError, UnicodeError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            line = None if mark is None else mark.line + 1
            raise ConfigurationError(f"is not readable as YAML: {problem}", file=self._file, line=line) from None
        if not isinstance(data, MarkedMap):
            raise ConfigurationError("expected a section of keys", file=self._file, line=1)
        return data

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        """What begins with `event`. Not by yaml.compose, whose recursion in C kills the process on deep nesting."""
        if isinstance(event, yaml.AliasEvent):
            self._stop(event, "aliases (*name) are not read; write out what it stands for")
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            self._stop(event, f"tags are not read: {tag}")
        if isinstance(event, yaml.ScalarEvent):
            return None if event.implicit[0] and event.value in _NULLS else event.value
        if len(path) >= _DEEPEST:
            self._stop(event, f"is nested deeper than {_DEEPEST} levels")
        return (self._map if isinstance(event, yaml.MappingStartEvent) else self._list)(events, path)

    def _map(self, events: Iterator[yaml.Event], path: Path) -> MarkedMap:
        found = MarkedMap()
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or not event.value:
                self._stop(event, "expected text as a key")
            key, line = event.value, _line(event)
            value = self._value(next(events), events, (*path, key))
            if key in found:
                dotted = ".".join(map(str, (*path, key)))
                message = f"stands here twice, first in line {found.lines[key]}"
                self.errors.append(ConfigurationError(message, file=self._file, line=line, key=dotted))
            else:
                found[key], found.lines[key] = value, line
        return found

    def _list(self, events: Iterator[yaml.Event], path: Path) -> MarkedList:
        found = MarkedList()
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.lines[len(found)] = _line(event)
            found.append(self._value(event, events, (*path, len(found))))
        return found

    def _stop(self, event: yaml.Event, message: str) -> NoReturn:
        raise ConfigurationError(message, file=self._file, line=_line(event))


_FRAMES = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)


def _line(event: yaml.Event) -> int:
    """1-based line at which an event begins."""
    return 1 if event.start_mark is None else event.start_mark.line + 1


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to add to "there is no such name": the nearest known one, otherwise all of them if they are few."""
    known = tuple(known)
    if near := get_close_matches(name, known, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 30 else ""


def _below(found: Any, step: str | int) -> Any:
    """One step down; None where nothing stands."""
    if isinstance(found, MarkedMap):
        return found.get(step)  # type: ignore[arg-type]
    return found[step] if isinstance(found, MarkedList) and isinstance(step, int) and step < len(found) else None


def _complaint(model: type[Entry], problem: Any) -> str:
    *above, key = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        return f"is not a key here{did_you_mean(str(key), _model_at(model, above).keys())}"
    if problem["type"] == "missing":
        return f"is missing: expected {_field(_model_at(model, above), key).description}"
    if problem["type"] == "string_pattern_mismatch":
        return f"expected {_field(_model_at(model, above), key).description}, not {problem['input']!r}"
    return expectation(problem)


def _model_at(model: type[Entry], path: Iterable[str | int]) -> type[Entry]:
    """The entry that reads what stands at `path` below `model`."""
    for step in path:
        if isinstance(step, str):
            annotation = _field(model, step).annotation
            candidates = (annotation, *get_args(annotation))
            model = next(part for part in candidates if isinstance(part, type) and issubclass(part, Entry))
    return model


def _field(model: type[Entry], key: str | int) -> FieldInfo:
    return next(field for name, field in model.model_fields.items() if (field.alias or name) == key)
