"""Maintenance events: what people or the CMMS report about a machine, and how it is taken back."""

from sqlalchemy import Connection, select

from pdm.errors import ConflictError, NotFoundError
from pdm.installations import EventKind, Fleet, MaintenanceEvent
from pdm.plant import AssetClass, Plant
from pdm.plant.marked_yaml import did_you_mean
from pdm.respond.act import FUTURE_MS, Act, RequestError, expect_mode, expect_revision
from pdm.state import plants, told
from pdm.state.schema import events
from pdm.words import iso


def record_event(
    connection: Connection,
    event_id: str,
    event: MaintenanceEvent,
    act: Act,
    note: str | None = None,
) -> None:
    """Store what people or the CMMS report about a machine, however long ago it happened.

    Raises:
        NotFoundError: no such machine.
        RequestError: the report contradicts the plant.
        ConflictError: the id was used for another event, or the life has already ended by a failure.
    """
    current = plants.current_plant(connection)
    fleet = plants.fleet_within(connection)
    _check_event(fleet, event, act)
    _check_source(current.plant, event)
    asset_class = current.plant.class_of(fleet.assets[event.serial])
    _check_sensor(asset_class, event)
    expect_mode(event.mode, asset_class)
    told_before = connection.execute(select(events.c.id).where(events.c.id == event_id)).first()
    if event.kind == EventKind.FAILED and told_before is None:
        _check_first_failure(fleet, event)
    plants.add_event(connection, event_id, event, who=act.who, recorded_ms=act.at_ms, note=note)


def void_event(connection: Connection, event_id: str, act: Act) -> None:
    """Take a report back; what followed from it is made again. Voiding again changes nothing."""
    stored = told.get(connection, events, event_id)
    expect_revision(stored, act)
    if stored.voided_ms is None:
        plants.void_event(connection, event_id, act.at_ms, act.who, act.reason)


def _check_source(plant: Plant, event: MaintenanceEvent) -> None:
    """Readings are understood by the sources that the plant file names: from another one nothing would ever come."""
    if event.source is not None and event.source not in plant.asset_of_source:
        hint = did_you_mean(event.source, plant.asset_of_source)
        raise RequestError("source", f"no asset of the plant file has the source {event.source!r}{hint}")


def _check_sensor(asset_class: AssetClass, event: MaintenanceEvent) -> None:
    if (event.kind == EventKind.SENSOR_REPLACED) != (event.sensor is not None):
        raise RequestError("sensor", "the replacement of a sensor, and nothing else, names the sensor")
    if event.sensor is not None and event.sensor not in asset_class.sensor_names:
        hint = did_you_mean(event.sensor, asset_class.sensor_names)
        raise RequestError("sensor", f"class {asset_class.name} has no sensor {event.sensor!r}{hint}")


def _check_event(fleet: Fleet, event: MaintenanceEvent, act: Act) -> None:
    if event.serial not in fleet.assets:
        raise NotFoundError(f"there is no asset {event.serial!r}")
    if event.at_ms > act.at_ms + FUTURE_MS:
        raise RequestError("at", "an event is reported after it has happened: this time is still to come")
    start_ms = fleet.assets[event.serial].start_of_life_ms
    if start_ms is not None and event.at_ms < start_ms and event.kind != EventKind.INSTALLED:
        raise RequestError("at", f"the life of {event.serial} began later, at {iso(start_ms)}: one of the two is wrong")
    if (event.kind == EventKind.REPLACED) != (event.by_serial is not None):
        raise RequestError("by_serial", "a replacement, and nothing else, names the serial that took over")
    if (event.kind == EventKind.INSTALLED) != (event.source is not None):
        raise RequestError("source", "an installation, and nothing else, names the source that the machine reports by")
    if event.by_serial == event.serial:
        raise RequestError("by_serial", "a machine cannot replace itself; report a repair instead")
    newcomer = fleet.assets.get(event.by_serial or "")
    if newcomer is not None and newcomer.class_name != fleet.assets[event.serial].class_name:
        raise RequestError("by_serial", f"{event.by_serial} is of class {newcomer.class_name}: it cannot take over")


def _check_first_failure(fleet: Fleet, event: MaintenanceEvent) -> None:
    """A life fails once; another failure belongs to a life after a repair."""
    past = [life for serial, life in fleet.past_lives if serial == event.serial]
    begun = [life for life in (*past, fleet.lives[event.serial]) if life.from_ms <= event.at_ms]
    if begun and begun[-1].failed:
        when = iso(begun[-1].to_ms)
        raise ConflictError(
            f"this life of {event.serial} ended by a failure at {when}: void that report to change it, or "
            "first report the repair between the two, with which another life began"
        )
