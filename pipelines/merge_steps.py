"""Turn steps stored as one block of all machines a tick into blocks of one machine each, once there are many."""

from pdm.services import Services
from pdm.state.plants import current_plant
from pdm.state.schema import read, write
from pdm.state.steps import merge
from pdm.words import plural

SCHEDULE = 3600


def run(services: Services, at: int) -> str:
    with read(services.engine) as connection:
        classes = list(current_plant(connection).plant.classes)
    merged = {name: _merge(services, name) for name in classes}
    told = [f"{name}: {plural(count, 'block')}" for name, count in merged.items() if count]
    return "; ".join(told) or "nothing to merge"


def _merge(services: Services, class_name: str) -> int:
    with write(services.engine) as connection:
        return merge(connection, class_name)
