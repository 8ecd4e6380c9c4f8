"""The part of the asset page that says what moved the forecast since it was last issued."""

from collections.abc import Sequence
from dataclasses import dataclass

from pdm import words
from pdm.errors import NotFoundError
from pdm.services import Services
from pdm.web.changes import what_changed
from pdm.web.shapes import ChangeView
from pdm.web.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ChangesPart:
    """What moved it in words; `movers` are signs, reasons and by how much."""

    headline: str
    reasons: Sequence[str] = ()
    movers: Sequence[tuple[str, str, str]] = ()


def changes_part(services: Services, now: Snapshot, serial: str) -> ChangesPart:
    """The comparison with the newest forecast that was issued about an earlier step.

    Raises:
        NotFoundError: no such machine.
    """
    if serial not in now.fleet.assets:
        raise NotFoundError(f"there is no asset {serial!r}")
    try:
        found = what_changed(services, now, serial)
    except NotFoundError as error:
        return ChangesPart(words.sentence(str(error)))
    when = words.moment(found.since, now.current.plant.time_zone, services.clock.plant_ms())
    return ChangesPart(
        headline=f"Since {when} {words.quantity(found.used, found.unit)} of life were used; {_moved(found)}.",
        reasons=[words.sentence(reason) for reason in found.reasons],
        movers=[
            (
                "+" if one.change < 0 else "-",
                one.text,
                f"{'-' if one.change < 0 else '+'}{_life(abs(one.change), found)}",
            )
            for one in found.movers
        ],
    )


def _moved(found: ChangeView) -> str:
    if found.median_before is None or found.median_now is None or found.beyond_use is None:
        return "one of the two forecasts has no median"
    spans = f"the median went from {_life(found.median_before, found)} to {_life(found.median_now, found)}"
    if abs(found.beyond_use) < 0.05 * max(found.median_before, found.used):
        return f"{spans}, about what was used"
    return (
        f"{spans}, {_life(abs(found.beyond_use), found)} {'less' if found.beyond_use < 0 else 'more'} than that leaves"
    )


def _life(value: float, found: ChangeView) -> str:
    return words.life(value, found.unit)
