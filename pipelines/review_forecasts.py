"""See every night whether the lives that ended lay within what was said, and widen bands that are too narrow."""

from pdm.services import Services
from pdm.widening import review

SCHEDULE = "40 2 * * *"


def run(services: Services, at: int) -> str:
    return review(services, at)
