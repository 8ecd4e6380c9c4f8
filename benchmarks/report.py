"""What every benchmark ends with: a table for people, and the same figures as JSON for the next comparison."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        id: short and stable, such as P12 or `plant.modes`.
        what: what was measured, in words.
        value: None if it could not be measured; `reason` then says why.
        bar: the value that it has to reach; None for a figure that is only reported.
        better: whether a `higher` or a `lower` value is the better one.
    """

    id: str
    what: str
    value: float | None
    unit: str = ""
    bar: float | None = None
    better: Literal["higher", "lower"] = "higher"
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was measured and reaches its bar."""
        if self.value is None or not isfinite(self.value):
            return False
        if self.bar is None:
            return True
        return bool(self.value >= self.bar if self.better == "higher" else self.value <= self.bar)


def write_report(family: str, figures: Sequence[Figure], seconds: float) -> bool:
    """Print the figures, write `benchmarks/results/<family>.json`, and say whether all of them hold."""
    print(f"\n{family}\n{aligned([_row(figure) for figure in figures])}")
    report = {
        "family": family,
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(seconds, 1),
        "figures": [_entry(figure) for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{family}.json"
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return all(figure.holds for figure in figures)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _entry(figure: Figure) -> dict[str, object]:
    """A figure as JSON, which knows no infinity; the reason only where there is one."""
    entry = asdict(figure) | {"holds": figure.holds}
    if figure.value is not None:
        finite = isfinite(figure.value)
        entry["value"] = float(figure.value) if finite else None
        entry["reason"] = figure.reason if finite else f"came out as {figure.value}"
    return {key: value for key, value in entry.items() if key != "reason" or value}


def _row(figure: Figure) -> tuple[str, ...]:
    value = "-" if figure.value is None else f"{figure.value:.4g} {figure.unit}".strip()
    sign = "≥" if figure.better == "higher" else "≤"
    bar = "" if figure.bar is None else f"{sign} {figure.bar:g}"
    return figure.id, value, bar, "holds" if figure.holds else "MISSED", figure.reason or figure.what


def _commit() -> str:
    """The commit that was measured, marked where the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return described.stdout.strip() or "unknown"
