"""A process that ticks and tells is killed between two statements: done again, its work leaves the same state."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "every"), [(3, 13), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_a_killed_tick_done_again_leaves_the_state_of_a_whole_one(tmp_path: Path, first: int, every: int) -> None:
    command = [sys.executable, "-m", "tests.system.ticking", str(tmp_path), str(first), str(every)]
    subprocess.run(command, cwd=ROOT, check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["differing"] == {}
    assert found["alerts"] > 0
    assert found["statements"] > 60
