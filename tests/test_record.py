"""What a tick leaves of alerts, advice and windows: only what the rules and the plant in force still stand for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from pdm import respond
from pdm.clocks import ReplayClock
from pdm.installations import EventKind, MaintenanceEvent
from pdm.respond import Act
from pdm.services import Services
from pdm.state import plants, told
from pdm.state.schema import alerts, interventions, read, recommendations, transitions, write
from pdm.tick import tick
from pdm.web import snapshot
from pdm.windows import Windows, advice
from tests.small_plant import HOUR, PLANT, RULES, START, feed, make_services, readings, report, rows
from tests.web.station import client_of

SILENCE = RULES + "  quiet: {kind: silent_sensor, for: 5 h}\n"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made = make_services(tmp_path)
    yield made
    made.engine.dispose()


def use_rules(services: Services, rules: str) -> None:
    with write(services.engine) as connection:
        plants.store_plant(connection, PLANT, rules, START)


def live(services: Services, hours: Iterable[int], *sources: str, vibration: float | None = None) -> None:
    """Hour by hour: readings of these sources arrive, the hour ends, the tick runs."""
    for hour in hours:
        if vibration is None:
            feed(services, *(readings(source, [hour]) for source in sources))
        else:
            at_ms = np.array([START + hour * HOUR + 60_000])
            feed(services, *(rows(source, at_ms, np.array([[1500.0, vibration]])) for source in sources))
        tick(services, START + (hour + 1) * HOUR)
        assert isinstance(services.clock, ReplayClock)
        services.clock.advance(START + (hour + 1) * HOUR)


def found(services: Services, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    with read(services.engine) as connection:
        return sorted(tuple(row) for row in connection.execute(select(*(table.c[name] for name in columns))))


def reasons(services: Services) -> list[str]:
    return [reason for kind, reason in found(services, transitions, "kind", "reason") if kind == "ended"]


def test_an_alert_of_a_rule_that_is_gone_is_closed(services: Services) -> None:
    live(services, range(4), "fan1", vibration=12.0)
    assert found(services, alerts, "rule", "state") == [("shaking", "open")]
    use_rules(services, RULES.replace("shaking:", "trembling:"))
    live(services, range(4, 5), "fan1", vibration=12.0)
    assert ("shaking", "closed") in found(services, alerts, "rule", "state")
    assert reasons(services) == ["the rule no longer watches this"]


def test_an_alert_of_a_rule_that_watches_another_sensor_is_closed_and_the_new_limit_alarms(services: Services) -> None:
    live(services, range(4), "fan1", vibration=12.0)
    use_rules(services, RULES.replace("sensor: vibration_max", "sensor: vibration_mean"))
    live(services, range(4, 10), "fan1", vibration=12.0)
    assert found(services, alerts, "target", "state") == [("vibration_max", "closed"), ("vibration_mean", "open")]
    assert reasons(services) == ["the rule no longer watches this"]


def test_a_silence_ends_when_its_machine_moves_to_another_source(services: Services) -> None:
    use_rules(services, SILENCE)
    live(services, range(5), "fan1", "fan2")
    live(services, range(5, 12), "fan2")
    assert found(services, alerts, "target", "state") == [("fan1", "open")]
    report(services, MaintenanceEvent("F-1", EventKind.INSTALLED, START + 12 * HOUR, source="fan3"))
    live(services, range(12, 14), "fan2", "fan3")
    assert found(services, alerts, "target", "state") == [("fan1", "closed")]
    assert reasons(services) == ["the rule no longer watches this"]


def test_alerts_and_windows_of_a_machine_that_an_event_brought_and_its_voiding_took_are_ended(
    services: Services,
) -> None:
    use_rules(services, SILENCE)
    live(services, range(3), "fan1", "fan2")
    report(services, MaintenanceEvent("F-1", EventKind.REPLACED, START + 3 * HOUR, by_serial="F-9"))
    live(services, range(3, 6), "fan1", "fan2")
    live(services, range(6, 14), "fan2")
    assert ("F-9", "open") in found(services, alerts, "serial", "state")
    assert ("F-9", "proposed") in found(services, interventions, "serial", "status")
    client, page = client_of(services), {"accept": "text/html"}
    with write(services.engine) as connection:
        plants.void_event(connection, "e1", services.clock.plant_ms(), "Ada")
    snapshot.expire(services)
    assert [client.get(path, headers=page).status_code for path in ("/alerts", "/", "/?q=F-2")] == [200, 200, 200]
    live(services, range(14, 15), "fan2")
    assert ("F-9", "closed") in found(services, alerts, "serial", "state")
    assert ("F-9", "withdrawn") in found(services, interventions, "serial", "status")
    assert reasons(services) == ["the plant no longer knows this machine"]


def test_advice_ends_with_the_alert_that_it_was_given_for(services: Services) -> None:
    use_rules(services, SILENCE)
    live(services, range(5), "fan1", "fan2")
    live(services, range(5, 12), "fan2")
    assert found(services, recommendations, "target", "state") == [("fan1", "open")]
    live(services, range(12, 13), "fan1", "fan2")
    assert found(services, alerts, "target", "state") == [("fan1", "closed")]
    assert found(services, recommendations, "target", "state") == [("fan1", "closed")]


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("earliest_ms", lambda advised: advised["earliest_start_ms"]),
        ("preferred_probability", lambda advised: advised["failure_probability"]["preferred"]),
        ("preferred_cost", lambda advised: advised["cost"]["preferred"]),
    ],
)
def test_the_feed_follows_whatever_changes_in_the_window_that_is_shown(
    services: Services, monkeypatch: pytest.MonkeyPatch, column: str, shown: Callable[[Any], Any]
) -> None:
    feed(services, readings("fan1", range(400)))
    live(services, range(400, 402), "fan1")
    published = advice.published

    def moved(before: Windows, *rest: Any) -> Windows:
        window = published(before, *rest)
        values = getattr(window, column)
        return replace(window, **{column: (values * 1.5).astype(values.dtype)})

    def quiet(before: Windows, *_: Any) -> Windows:
        return before

    monkeypatch.setattr(advice, "published", moved)
    live(services, range(402, 403), "fan1")
    [(serial, advised, revision)] = found(services, interventions, "serial", "advised", "revision")
    believed = services.cohorts["fan"].before.published
    assert shown(advised) == pytest.approx(getattr(believed, column)[0], rel=1e-3)
    monkeypatch.setattr(advice, "published", quiet)
    live(services, range(403, 405), "fan1")
    assert found(services, interventions, "serial", "advised", "revision") == [(serial, advised, revision)]


def test_what_a_planner_promised_about_a_machine_that_is_gone_stays_and_says_so_once(services: Services) -> None:
    live(services, range(3), "fan1", "fan2")
    report(services, MaintenanceEvent("F-1", EventKind.REPLACED, START + 3 * HOUR, by_serial="F-9"))
    live(services, range(3, 6), "fan1", "fan2")
    with write(services.engine) as connection:
        [window] = told.open_interventions(connection, ["F-9"])
        respond.accept(connection, window.id, Act("Ada", START + 6 * HOUR))
        plants.void_event(connection, "e1", services.clock.plant_ms(), "Ada")
    live(services, range(6, 7), "fan1", "fan2")
    said = found(services, interventions, "serial", "status", "attention", "revision")
    assert said[-1][:3] == ("F-9", "accepted", "the plant no longer knows this machine")
    live(services, range(7, 8), "fan1", "fan2")
    assert found(services, interventions, "serial", "status", "attention", "revision")[-1] == said[-1]


@given(count=st.integers(0, 60), most=st.integers(1, 70), since=st.integers(0, 30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_of_many_issued_forecasts_so_many_are_read_evenly_and_with_the_last(
    services: Services, count: int, most: int, since: int
) -> None:
    frozen = {"serial": "8871-A", "target": "any", "step_start_ms": 0, "twin_revision": 0, "exposure": 0.0}
    frozen |= {"basis": "learned", "refusal": "none", "model": "m", "plant_version": "1", "quantiles": [0.0] * 21}
    with services.engine.connect() as connection:  # rolled back at its end
        told.add_prognoses(
            connection, [frozen | {"id": f"{n}", "tick": n, "issued_ms": n, "preferred_ms": -1} for n in range(count)]
        )
        issued = [row.issued_ms for row in told.issued_prognoses(connection, "8871-A", since, most)]
    all_of_them = list(range(since, count))
    assert len(issued) == min(most, len(all_of_them))
    assert issued[-1:] == all_of_them[-1:]
    gaps = np.diff([since - 1, *issued])
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
