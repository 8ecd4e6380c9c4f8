"""The parts of the asset page that say what moved the forecast since it was last issued, and which lives it is like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdm import words
from pdm.errors import NotFoundError
from pdm.services import Services
from pdm.web import views
from pdm.web.changes import what_changed
from pdm.web.shapes import ChangeView, SimilarView
from pdm.web.similar import similar_lives
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


@dataclass(frozen=True, slots=True)
class SimilarPart:
    """Similar lives in words: what looked alike, how it went on, how alike; `quiet` where there are none."""

    rows: Sequence[tuple[str, str, str]]
    quiet: str = ""


def similar_part(services: Services, now: Snapshot, serial: str) -> SimilarPart:
    """The most similar finished lives.

    Raises:
        NotFoundError: no such machine, or no tick has seen it yet.
    """
    found = similar_lives(services, now, serial)
    if not found:
        return SimilarPart((), "No life of its class has run from new to failure here yet, or nothing was learned.")
    zone, now_ms = now.current.plant.time_zone, services.clock.plant_ms()
    asset_class = now.current.plant.class_of(views.asset(now, serial))
    modes = {mode.name: mode.title or mode.name for mode in asset_class.failure_modes}
    return SimilarPart([_similar(one, modes, words.moment(one.at, zone, now_ms)) for one in found])


def _similar(one: SimilarView, modes: Mapping[str, str], when: str) -> tuple[str, str, str]:
    what = f"{one.serial} on {when}, after {words.life(one.used, one.unit)}"
    end = "it failed" if one.mode is None else f"{modes.get(one.mode, one.mode)} ended it"
    return what, f"{end} {words.life(one.remaining, one.unit)} later", f"{words.percent(one.alike)} alike"


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
