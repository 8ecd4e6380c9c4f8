"""Fold the history of a class for a model that was activated, portion by portion, until it can speak."""

from pdm.catching_up import catch_up
from pdm.services import Services

SCHEDULE = 10


def run(services: Services, at: int) -> str:
    return catch_up(services)
