"""Whole ticks of plants that are legal but unusual."""

from pathlib import Path

import numpy as np
import pytest

from pdm.installations import EventKind, MaintenanceEvent
from pdm.prognosis import Refusal
from pdm.tick import tick
from tests import small_plant
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report, rows
from tests.test_windows import DAY_SHIFT_PLANT

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


def test_a_plant_that_rests_for_a_year_goes_on_ticking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_plant, "PLANT", DAY_SHIFT_PLANT)
    services, hours = make_services(tmp_path), np.arange(48, 48 + 365 * 24)
    standing = np.column_stack([np.zeros(len(hours)), np.full(len(hours), 0.1)])
    feed(services, readings("fan1", range(48)), rows("fan1", START + hours * HOUR, standing))
    tick(services, START + len(hours) * HOUR)
    believed = services.cohorts["fan"].before
    assert 0 < believed.duty_rate[0] < 1e-6
    assert believed.windows.row(0) is None


def test_where_nothing_is_declared_it_says_how_many_failures_are_missing_until_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_plant, "PLANT", PLANT.replace("    expected_life: {mean: 500, sd: 100}\n", ""))
    services = make_services(tmp_path)
    for hours, serial, refusal in (
        (40, "F-2", Refusal.TOO_FEW_FAILURES),
        (50, "F-2", Refusal.TOO_FEW_FAILURES),
        (60, "F-3", Refusal.NO_MODEL),
    ):
        feed(
            services, readings("fan1", range(hours - 10, hours)), readings(f"fan{serial[-1]}", range(hours - 10, hours))
        )
        failed = START + hours * HOUR
        report(services, MaintenanceEvent(serial, EventKind.FAILED, failed - HOUR), f"failure {hours}")
        report(services, MaintenanceEvent(serial, EventKind.REPAIRED, failed), f"repair {hours}")
        tick(services, failed + HOUR)
        assert services.cohorts["fan"].before.prognosis.refusal[0] == refusal


def test_a_machine_that_failed_years_ago_has_no_steps_since(tmp_path: Path) -> None:
    services, years = make_services(tmp_path), 10 * 365 * 24
    feed(services, readings("fan1", range(48)))
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 40 * HOUR))
    assert tick(services, START + years * HOUR).steps == 48
    feed(services, readings("fan1", [60]))
    assert tick(services, START + (years + 1) * HOUR).steps < 100
