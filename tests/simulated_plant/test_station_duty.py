from datetime import UTC, datetime

import numpy as np
import pytest

from pdm.simulated_plant.duty import HOUR_MS, StationDuty, season, shift_load, time_of_day


def _hour(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp() * 1000) // HOUR_MS  # type: ignore[arg-type, misc]


def test_the_station_rests_at_night() -> None:
    assert [shift_load(_hour(2026, 6, 3, hour)) for hour in (0, 4, 23)] == [None, None, None]


def test_a_wednesday_is_busiest_in_the_morning_shift() -> None:
    wednesday = [shift_load(_hour(2026, 6, 3, hour)) or 0.0 for hour in range(24)]
    assert max(wednesday) == shift_load(_hour(2026, 6, 3, 9))


def test_the_weekend_asks_for_less_than_a_working_day() -> None:
    loads = [sum(shift_load(_hour(2026, 6, day, hour)) or 0.0 for hour in range(24)) for day in (5, 6, 7)]
    assert loads == sorted(loads, reverse=True)
    assert len(set(loads)) == 3


def test_july_is_warmer_than_january_and_afternoons_are_warmer_than_nights() -> None:
    assert season(_hour(2026, 7, 20)) == pytest.approx(5.0, abs=0.02)
    assert season(_hour(2026, 1, 18)) == pytest.approx(-5.0, abs=0.02)
    assert time_of_day(_hour(2026, 7, 20, 15)) == 5.5
    assert time_of_day(_hour(2026, 7, 20, 3)) == -5.5


def test_weather_and_pressures_keep_their_declared_spread() -> None:
    duty = StationDuty(np.random.default_rng(1), start_ms=0)
    hours = [duty.advance() for _ in range(20_000)]
    weather = [h.ambient - season(h.hour) - time_of_day(h.hour) for h in hours]
    assert np.mean(weather) == pytest.approx(289.0, abs=0.5)
    assert np.std(weather) == pytest.approx(3.0, rel=0.15)
    assert np.std([h.suction_pressure for h in hours]) == pytest.approx(10_000, rel=0.15)
    assert np.std([h.network_pressure for h in hours]) == pytest.approx(4_000, rel=0.15)


def test_hours_follow_each_other_from_the_hour_of_the_start() -> None:
    duty = StationDuty(np.random.default_rng(1), start_ms=5 * HOUR_MS + 1)
    assert [duty.advance().hour for _ in range(3)] == [5, 6, 7]
