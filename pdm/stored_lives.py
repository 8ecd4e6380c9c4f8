"""The lives of a class from the stored steps."""

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from pdm.installations import Fleet
from pdm.learn import Life, lives_in
from pdm.new_sensors import NewSensors
from pdm.plant import AssetClass
from pdm.state.steps import history


def lives_of(connection: Connection, fleet: Fleet, asset_class: AssetClass) -> Iterator[Life]:
    """Ended by a failure, cut short, or still going on, in the group that the plant file names now."""
    serials = list(fleet.serials_of(asset_class.name))
    row_of = {serial: row for row, serial in enumerate(serials)}
    steps = history(connection, asset_class, serials)
    replaced = NewSensors.of(asset_class, fleet.new_sensors, serials)
    for life in lives_in(asset_class, steps, row_of, fleet.all_lives_of(asset_class.name), replaced):
        yield replace(life, group=fleet.assets[life.serial].group)
