"""Killed and stopped under load: nothing acknowledged is lost, nothing counts twice, twins equal a cold fold."""

from pathlib import Path

import pytest

from tests.mosquitto import Mosquitto
from tests.system.drill import drill, kill_all, kill_main, terminate
from tests.system.service import SOUND


@pytest.mark.timeout(600)
def test_readings_and_twins_survive_a_kill_and_a_stop_under_load(broker: Mosquitto, tmp_path: Path) -> None:
    drilled = drill(tmp_path / "plant", broker, [kill_main, terminate], messages=400, per_second=400, seed=1)
    assert drilled.audit == SOUND
    assert drilled.acknowledged == drilled.sent >= 2 * 400


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_readings_and_twins_survive_ten_ends_at_random_moments(broker: Mosquitto, tmp_path: Path) -> None:
    endings = [kill_all, kill_main, kill_all, terminate, kill_all] * 2
    drilled = drill(tmp_path / "plant", broker, endings, messages=1000, per_second=1000, seed=2)
    assert drilled.audit == SOUND
    assert drilled.acknowledged == drilled.sent >= 10 * 1000
