"""Bands that held too seldom are widened: by hand, as an invariant, and where a plant declares its fans too regular."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm import deliver as delivery
from pdm.installations import EventKind, MaintenanceEvent
from pdm.ports import Message
from pdm.prognosis import LEVELS, MEDIAN
from pdm.prognosis.quantiles import widened
from pdm.scoring.track_record import Figure, Judged
from pdm.scoring.widening import WIDEST, Widening, widening
from pdm.services import Services
from pdm.state.plants import store_plant
from pdm.state.schema import read, write
from pdm.state.widenings import widening_of, widenings_of
from pdm.tick import tick
from pdm.web.past import past_twin
from pdm.web.snapshot import expire
from pdm.web.views import asset_view
from pdm.widening import review
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report
from tests.web.station import client_of

rising = st.lists(st.floats(0.1, 50.0), min_size=21, max_size=21).map(lambda steps: np.cumsum(steps)[None, :])


@given(rising, st.floats(1.0, WIDEST))
def test_widening_keeps_the_median_and_the_order_and_can_be_undone(quantiles: np.ndarray, factor: float) -> None:
    wide = widened(quantiles, factor)
    assert wide[0, MEDIAN] == quantiles[0, MEDIAN]
    assert (np.diff(wide) >= 0).all()
    assert (wide[0, :MEDIAN] <= quantiles[0, :MEDIAN] * (1 + 1e-9)).all()
    assert (wide[0, MEDIAN:] >= quantiles[0, MEDIAN:] * (1 - 1e-9)).all()
    assert (wide > 0).all()
    np.testing.assert_allclose(widened(wide, 1 / factor), quantiles, rtol=1e-7)


def test_what_is_refused_or_over_stays_as_it_is() -> None:
    nothing = np.array([np.full(21, np.nan), np.zeros(21)])
    np.testing.assert_array_equal(widened(nothing, 2.0), nothing)


def judged(narrower: float, lives: int = 40, each: int = 25) -> Judged:
    """What is left is evenly spread over 160; bands say a share of that."""
    random = np.random.default_rng(1)
    remaining = np.tile(np.linspace(200.0, 600.0, each), lives)
    middle = remaining + random.uniform(-80, 80, lives * each)
    quantiles = middle[:, None] + narrower * 160 * (LEVELS - 0.5)
    return Judged(quantiles, remaining, np.full(len(remaining), 1000.0), np.repeat(np.arange(lives), each))


def coverage(one: Judged) -> float:
    low, high = (one.quantiles[:, np.argmin(np.abs(LEVELS - level))] for level in (0.1, 0.9))
    return float(((one.remaining >= low) & (one.remaining <= high)).mean())


def test_calibrated_bands_are_not_widened() -> None:
    assert widening(judged(1.0), 1000.0, before=1.0).factor == 1.0


@pytest.mark.parametrize("narrower", [0.4, 0.6, 0.8])
def test_narrow_bands_are_widened_until_they_hold_what_they_promise(narrower: float) -> None:
    narrow = judged(narrower)
    found = widening(narrow, 1000.0, before=1.0)
    assert found.lives == 40
    assert found.coverage.value == pytest.approx(coverage(narrow))
    assert found.factor == pytest.approx(1 / narrower, rel=0.15)
    wide = narrow._replace(quantiles=widened(narrow.quantiles, found.factor))
    assert 0.8 <= coverage(wide) <= 0.84


def test_below_ten_lives_nothing_changes() -> None:
    assert widening(judged(0.3, lives=9), 1000.0, before=1.0).factor == 1.0
    assert widening(judged(0.3, lives=9), 1000.0, before=1.7).factor == 1.7


def test_it_ends_only_once_the_bands_hold_again() -> None:
    """Just under 80 % is no evidence to begin with, and none to end by."""
    nearly = judged(0.97, lives=12)
    assert coverage(nearly) < 0.8
    assert widening(nearly, 1000.0, before=1.0).factor == 1.0
    assert widening(nearly, 1000.0, before=1.5).factor > 1.0
    assert widening(judged(1.1), 1000.0, before=1.5).factor == 1.0


def test_a_median_that_is_wrong_is_not_hidden_behind_ever_wider_bands() -> None:
    assert widening(judged(0.02), 1000.0, before=1.0).factor == WIDEST


LIVES = np.linspace(100, 210, 12).round().astype(int).tolist()
"""How long the fans last, where the plant declares 150 hours and hardly any spread."""


TOLD = RULES.replace("    within: 50", "    routes: [log, phone]\n    within: 50") + (
    "routes:\n  phone: {kind: webhook, url: https://example.com/hook, secret_env: HOOK}\n"
)
"""The same rules; somebody is told of failures that are expected soon."""


@pytest.fixture
def services(tmp_path: Path) -> Services:
    services = make_services(tmp_path)
    fan = '  - {{serial: N-{n}, class: fan, slot: {n}, source: new{n}, start_of_life: "2026-01-{day:02}T00:00:00Z"}}\n'
    fans = "".join(fan.format(n=n, day=day) for n, day in enumerate([5] * 12 + [11]))
    plant = PLANT.replace("{mean: 500, sd: 100}", "{mean: 150, sd: 12}") + fans
    with write(services.engine) as connection:
        store_plant(connection, plant, TOLD, START)
    return services


def live_and_fail(services: Services) -> None:
    """Twelve fans run to failure, forecast every day; a thirteenth is new on the seventh, and goes on."""
    for day in range(1, 10):
        for n, end in enumerate([*LIVES, 1000]):
            feed(services, readings(f"new{n}", range(max(24 * (day - 1), 144 * (n == 12)), min(24 * day, end))))
            if 24 * (day - 1) < end <= 24 * day:
                failed = MaintenanceEvent(f"N-{n}", EventKind.FAILED, START + end * HOUR, mode="belt")
                report(services, failed, f"failure {n}")
        tick(services, START + 24 * day * HOUR)


def width(services: Services) -> float:
    expire(services)
    twin = asset_view(services, "N-12").twin
    assert twin is not None
    assert twin.prognosis.rul is not None
    return twin.prognosis.rul.p90 - twin.prognosis.rul.p10


def test_a_class_declared_too_regular_has_its_bands_widened_and_says_so_everywhere(services: Services) -> None:
    live_and_fail(services)
    narrow, at = width(services), START + 217 * HOUR
    told = review(services, at)
    with read(services.engine) as connection:
        (change,) = widenings_of(connection, "fan")
        assert widening_of(connection, "fan", "none") == change.factor > 1.5
        assert widening_of(connection, "fan", "none", at - 1) == 1.0
    assert (change.lives, change.from_ms) == (12, at)
    assert change.coverage < 0.5
    assert "12 lives in the 80 % band" in told
    tick(services, at)
    assert width(services) > 1.5 * narrow
    twin = asset_view(services, "N-12").twin
    assert twin is not None
    assert twin.widening == change.factor
    client = client_of(services)
    record = client.get("/api/v1/track-record?class=fan").json()
    assert record["widening"] == change.factor
    assert record["widenings"][0]["lives"] == 12
    assert "as wide as the model says them" in client.get("/track-record").text
    assert "too few truths lay within them" in client.get("/assets/N-12").text
    assert f'pdm_widening{{class="fan"}} {change.factor}' in client.get("/metrics").text


@dataclass
class Phone:
    """A route that keeps what it is sent."""

    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.messages.append(message)


def test_a_widening_and_its_end_are_told_once_on_the_routes_of_forecasts(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_S", 60.0)
    live_and_fail(services)
    phone = Phone()
    services.notifiers = {"phone": phone, "log": Phone()}
    delivery.deliver(services)
    phone.messages.clear()
    at = START + 217 * HOUR
    review(services, at)
    review(services, at + HOUR)
    delivery.deliver(services)
    (message,) = phone.messages
    said = orjson.loads(message.body)
    assert said["type"] == "forecasts.widened"
    assert said["data"]["forecasts"]["lives"] == 12
    assert "times as wide as the model says them" in message.subject
    assert "Train again" in message.text
    monkeypatch.setattr("pdm.widening.widening", lambda *_: Widening(1.0, 20, Figure(0.82, 0.75, 0.9)))
    review(services, at + 2 * HOUR)
    delivery.deliver(services)
    assert orjson.loads(phone.messages[1].body)["type"] == "forecasts.restored"
    assert "as the model says them again" in phone.messages[1].subject


def test_the_same_lives_seen_again_change_nothing_and_a_restart_goes_on_as_wide(services: Services) -> None:
    live_and_fail(services)
    at = START + 217 * HOUR
    review(services, at)
    tick(services, at)
    wide = width(services)
    assert "hold what they promise" in review(services, at + HOUR)
    services.cohorts.clear()
    tick(services, at + HOUR)
    assert width(services) == wide


def test_the_twin_of_an_earlier_time_is_as_wide_as_it_was_then(services: Services) -> None:
    live_and_fail(services)
    before = past_twin(services, "N-12", START + 216 * HOUR, None).prognosis.rul
    review(services, START + 217 * HOUR)
    assert past_twin(services, "N-12", START + 216 * HOUR, None).prognosis.rul == before
    assert past_twin(services, "N-12", START + 218 * HOUR, None).widening > 1.5
