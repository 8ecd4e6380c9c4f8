"""Tell people what a tick, or somebody else, has changed: whatever is due on the routes of `rules.yaml`."""

from pdm.deliver import DeliveryReport, deliver
from pdm.services import Services

SCHEDULE = 5


def run(services: Services, at: int) -> DeliveryReport:
    return deliver(services)
