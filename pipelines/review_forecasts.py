"""See every night what the lives that ended teach: correct declared lives, and widen bands that held too seldom."""

from pdm.fleet_lives import review_lives
from pdm.services import Services
from pdm.widening import review

SCHEDULE = "40 2 * * *"


def run(services: Services, at: int) -> str:
    return "; ".join(filter(None, (review_lives(services, at), review(services, at))))
