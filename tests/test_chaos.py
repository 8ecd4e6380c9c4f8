"""The drills of `make chaos`: each has short forms among the tests, and names them."""

from pathlib import Path

import pytest

from benchmarks.chaos import DRILLS

TESTS = Path(__file__).parent


@pytest.mark.parametrize("drill", DRILLS)
def test_each_drill_has_short_forms_that_run_with_every_push(drill: str) -> None:
    named = [TESTS / f"{name}.py" for name in DRILLS[drill].tests.split()]
    assert named
    assert all("\ndef test_" in file.read_text() for file in named)
