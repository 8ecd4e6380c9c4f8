"""How forecasts did: figures by hand, and from a plant whose machines failed, were repaired or go on."""

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pdm.installations import EventKind, Life, MaintenanceEvent
from pdm.prognosis import LEVELS
from pdm.scoring.track_record import (
    Judged,
    alpha_lambda,
    banded,
    figures,
    pinball,
    prognostic_horizon,
    reliability,
    transforms,
)
from pdm.state.outcomes import EndedLife, Outcomes, outcomes
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import read
from pdm.tick import tick
from pdm.web.snapshot import latest
from pdm.web.track_record import _view
from tests.small_plant import HOUR, START, feed, make_services, readings, report
from tests.web.station import client_of


def said(median: float, spread: float) -> np.ndarray:
    """Quantiles that rise evenly: the median in the middle, the whole range twice the spread."""
    return median + 2 * spread * (LEVELS - 0.5)


def calibrated(lives: int, each: int) -> Judged:
    """Lives of 1000; what is left at each forecast is evenly spread over what was said."""
    random = np.random.default_rng(1)
    remaining = np.tile(np.linspace(100.0, 500.0, each), lives)
    shift = random.uniform(-0.5, 0.5, lives * each) * 80
    quantiles = np.array([said(left + by, 40.0) for left, by in zip(remaining, shift, strict=True)])
    return Judged(quantiles, remaining, np.full(len(remaining), 1000.0), np.repeat(np.arange(lives), each))


def test_calibrated_forecasts_come_true_as_often_as_they_say() -> None:
    judged = calibrated(40, 25)
    for stated, found in reliability(judged, 1000.0):
        assert found.value == pytest.approx(stated, abs=0.05)
        assert found.low <= found.value <= found.high
    assert transforms(judged, 1000.0) == pytest.approx(np.full(10, 0.1), abs=0.04)
    assert transforms(judged, 1000.0).sum() == pytest.approx(1.0)
    assert figures(judged, 1000.0)["coverage_80"].value == pytest.approx(0.8, abs=0.05)


def test_below_ten_lives_there_is_no_band() -> None:
    assert np.isnan(banded(np.arange(9.0)).low)
    ten = banded(np.arange(10.0))
    assert ten.value == 4.5
    assert ten.low < 4.5 < ten.high


def test_metrics_by_hand() -> None:
    # one life of 100: at 50 left it was said 50, at 20 left 80, at 10 left 10; each within a spread of 2
    quantiles = np.array([said(50, 2), said(80, 2), said(10, 2)])
    judged = Judged(quantiles, np.array([50.0, 20.0, 10.0]), np.full(3, 100.0), np.zeros(3, dtype=np.int64))
    assert alpha_lambda(judged) == pytest.approx([1.0])
    assert prognostic_horizon(judged) == pytest.approx([50.0])
    # the median of the second is 60 too large: (0 + 0.5 * 60 + 0) / 3
    assert pinball(judged, 1000.0, 0.5) == pytest.approx([10.0])


def test_bands_that_are_too_narrow_are_said_to_be(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    classes = latest(services).current.plant.classes
    judged = calibrated(12, 20)
    lives = [EndedLife(f"F-{n}", Life(0, 1, True, True, "belt"), 1000.0) for n in range(12)]
    middle = judged.quantiles[:, [10]]
    for narrower, said_so in ((1.0, False), (0.3, True)):
        quantiles = middle + narrower * (judged.quantiles - middle)
        names = ["none"] * len(judged.life)
        found = Outcomes(lives, judged.life, names, names, np.zeros(len(names), np.int64), quantiles, judged.remaining)
        assert _view(classes["fan"], found, [], None, None, ZoneInfo("UTC")).under_covered == said_so


def test_without_a_failure_there_are_no_figures() -> None:
    nothing = Judged(np.zeros((0, 21)), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    assert figures(nothing, 10.0) == {}


def test_a_failure_is_scored_a_repair_is_censored_and_what_was_said_before_is_shown(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    for end in (100, 200, 300, 400, 420):
        feed(services, *(readings(source, range(max(end - 100, 0), end)) for source in ("fan1", "fan2")))
        tick(services, START + end * HOUR)
    report(services, MaintenanceEvent("F-1", EventKind.FAILED, START + 420 * HOUR, mode="belt"), "failure")
    report(services, MaintenanceEvent("F-2", EventKind.REPAIRED, START + 410 * HOUR), "prevention")
    tick(services, START + 430 * HOUR)
    with read(services.engine) as connection:
        plant = current_plant(connection)
        found = outcomes(connection, plant.plant.classes["fan"], current_fleet(connection, plant))
    assert [(one.serial, one.life.failed, one.used) for one in found.lives] == [
        ("F-2", False, 410.0),
        ("F-1", True, 420.0),
    ]
    mine = found.of == 1
    assert found.remaining[mine][:4].tolist() == [320.0, 220.0, 120.0, 20.0]
    client: TestClient = client_of(services)
    told = client.get("/api/v1/track-record?class=fan").json()
    assert (told["failed"], told["censored"], told["enough"]) == (1, 1, False)
    (failure,) = told["failures"]
    assert (failure["serial"], failure["mode"], failure["life"]) == ("F-1", "belt", 420.0)
    assert failure["came"] == 120.0
    assert failure["prognosis_id"] in found.ids
    (month,) = told["months"]
    assert (month["month"], month["lives"]) == ("2026-01", 1)
    assert month["coverage_80"] == next(one["value"] for one in told["figures"] if one["name"] == "coverage_80")
    assert client.get("/api/v1/track-record?mode=bearing").json()["failures"] == []
    assert client.get("/api/v1/track-record?class=ship").status_code == 404
    page = client.get("/track-record").text
    assert "Too few to tell" in page
    assert "FAN-1" in page
