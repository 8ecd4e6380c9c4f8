"""What was read lately, in memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pdm.adapters.reading_log.day_file import Rows
from pdm.readings import Readings

T = TypeVar("T", Readings, Rows)

_OVERHEAD_BYTES = 2_000  # objects around the arrays of a batch


class Cache:
    """Keeps the batches and row groups read last, up to a number of bytes: ticks and pages read the same again."""

    def __init__(self, room: int) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._room = room

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """What is kept under a key, or read now."""
        if key in self._kept:
            self._kept.move_to_end(key)
            kept: T = self._kept[key]
            return kept
        found = read()
        self._kept[key] = found
        self._room -= _size(found)
        while self._room < 0:
            self._room += _size(self._kept.popitem(last=False)[1])
        return found


def _size(kept: Readings | Rows) -> int:
    if isinstance(kept, Rows):
        return _size(kept.readings) + kept.run.nbytes + 100 * len(kept.names)
    return _OVERHEAD_BYTES + kept.values.nbytes + kept.time_ms.nbytes + kept.source.nbytes + kept.flags.nbytes
