"""Whole ticks of plants that are legal but unusual."""

from pathlib import Path

import pytest

from pdm.tick import tick
from tests import small_plant
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings

NO_MODES = PLANT[: PLANT.index("    failure_modes:")] + PLANT[PLANT.index("assets:") :]
NO_RULES = "rules: {}\n"


@pytest.mark.parametrize(("plant", "rules"), [(NO_MODES, RULES), (PLANT, NO_RULES), (NO_MODES, NO_RULES)])
def test_a_class_without_failure_modes_or_without_rules_ticks_and_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str, rules: str
) -> None:
    monkeypatch.setattr(small_plant, "PLANT", plant)
    monkeypatch.setattr(small_plant, "RULES", rules)
    services = make_services(tmp_path)
    for hour in range(3):
        feed(services, readings("fan1", [hour]))
        tick(services, START + (hour + 1) * HOUR)
        services.cohorts.clear()
    feed(services, readings("fan1", [3]))
    tick(services, START + 4 * HOUR)
    assert services.cohorts["fan"].twin.exposure[0] == 4.0
