"""The mirror on a page: what a machine said last, renewed every two seconds, whatever the ticks do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdm import words
from pdm.errors import StoreError
from pdm.services import Services
from pdm.web.mirror import mirror_view
from pdm.web.shapes import AssetView
from pdm.web.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class MirrorPart:
    """How old the latest reading is, `fresh` unless it is stale or the machine is silent, and its values by sensor."""

    text: str
    fresh: bool
    values: Mapping[str, str] = field(default_factory=dict)


def mirror_of(services: Services, now: Snapshot, view: AssetView) -> MirrorPart:
    """What a machine said last, in words."""
    if not view.in_service:
        return MirrorPart("no longer read", True)
    try:
        found = mirror_view(services, view.serial)
    except StoreError:
        return MirrorPart("last reading not known: the reading store does not answer", False)
    if found.read_at is None:
        return MirrorPart("no reading lately", False)
    asset_class = now.current.plant.classes[view.class_name]
    offline = "offline, " if found.sync == "offline" else ""
    return MirrorPart(
        text=f"{offline}last reading {words.ago(found.read_at, services.clock.plant_ms())}",
        fresh=found.sync == "in_sync",
        values={
            name: words.quantity(value, asset_class.sensor(name).unit)
            for name, value in found.values.items()
            if value is not None
        },
    )
