import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.report import Figure, aligned, write_report


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure("P3", "append", 51.0, "x", 25.0, "higher"), True),
        (Figure("P3", "append", 24.9, "x", 25.0, "higher"), False),
        (Figure("P1", "ingest", 2.5, "x", 2.5, "lower"), True),
        (Figure("P1", "ingest", 2.6, "x", 2.5, "lower"), False),
        (Figure("P13", "tick", 15.0, "us"), True),
        (Figure("P9", "influx", None, bar=5.0, reason="no server here"), False),
        (Figure("P9", "influx", float("nan")), False),
    ],
)
def test_a_figure_holds_when_it_was_measured_and_reaches_its_bar(figure: Figure, holds: bool) -> None:
    assert figure.holds is holds


def test_a_report_lists_every_figure_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    figures = [Figure("P3", "append", 51.0, "x", 25.0), Figure("P9", "influx", float("inf"), "x", 5.0)]
    assert write_report("speed", figures, 12.34) is False
    written = json.loads((tmp_path / "results" / "speed.json").read_text())
    assert set(written) == {"family", "commit", "machine", "seconds", "figures"}
    assert written["seconds"] == 12.3
    first, second = written["figures"]
    assert first == {
        "id": "P3",
        "what": "append",
        "value": 51.0,
        "unit": "x",
        "bar": 25.0,
        "better": "higher",
        "holds": True,
    }
    assert (second["value"], second["holds"], second["reason"]) == (None, False, "came out as inf")
    printed = capsys.readouterr().out
    assert "P3" in printed
    assert "MISSED" in printed


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("a", "long cell", "x"), ("bbb", "c", "")]) == "a    long cell  x\nbbb  c"
