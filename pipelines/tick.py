"""Bring every twin up to date: steps, forecasts, alerts, windows. The setting `tick.interval` overrides `SCHEDULE`."""

from pdm.services import Services
from pdm.tick import TickReport, tick

SCHEDULE = 60


def run(services: Services, at: int) -> TickReport:
    return tick(services, at)
