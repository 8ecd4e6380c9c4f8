"""The fleet in the order of who needs somebody first. Ranking is one pass over columns; only a page becomes rows."""

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdm.durations import HOUR_MS
from pdm.plant import Asset
from pdm.prognosis import MEDIAN, Basis, Refusal
from pdm.prognosis.quantiles import failure_probability
from pdm.services import Services
from pdm.web import snapshot
from pdm.web.forecasts import date_of, in_words, instant, known, modes_of
from pdm.web.records import alert_view, used_life
from pdm.web.shapes import AssetRow, FleetCounts, FleetView
from pdm.web.snapshot import ClassBeliefs, Snapshot
from pdm.web.views import WATCHED, asset, attention, belief_of, gravest, window_of

LARGEST_PAGE = 500
_USUAL_CRITICALITY = 3.0

Floats = NDArray[np.float64]
Objects = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FleetFilter:
    """Which machines, in which order, from where on.

    Attributes:
        search: part of serial, slot or source, in any case.
        attention: now, soon, blind, or `any` of them.
        in_service: only machines whose life goes on (True) or has ended (False).
        by_loss: the largest expected loss first; otherwise by serial.
        after: the last serial of the page before.
    """

    search: str | None = None
    site: str | None = None
    line: str | None = None
    class_name: str | None = None
    attention: str | None = None
    in_service: bool | None = None
    by_loss: bool = True
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Ranking:
    """All machines as columns `[n]`, by serial.

    Attributes:
        attention: `now`, `soon`, `blind` or an empty text.
        risk: probability of failing inside the notice period, NaN where nothing is known.
        loss_of_failure: what a failure costs, NaN where nobody declared it.
        by_loss: the order by expected loss.
        position: of each serial.
    """

    serial: Objects
    class_name: Objects
    site: Objects
    line: Objects
    searched: Objects
    attention: Objects
    in_service: NDArray[np.bool_]
    basis: NDArray[np.int8]
    refusal: NDArray[np.int8]
    criticality: Floats
    risk: Floats
    loss_of_failure: Floats
    by_loss: NDArray[np.intp]
    position: Mapping[str, int]


def fleet_view(services: Services, wanted: FleetFilter | None = None) -> FleetView:
    """A page of the fleet."""
    return fleet_of(snapshot.latest(services), wanted or FleetFilter())


def fleet_of(now: Snapshot, wanted: FleetFilter) -> FleetView:
    ranking = ranked(now)
    order = ranking.by_loss if wanted.by_loss else np.arange(len(ranking.serial))
    matching = order[_matches(ranking, wanted)[order]]
    begin = _position_after(ranking.serial[matching], wanted)
    page = matching[begin : begin + min(wanted.limit, LARGEST_PAGE)]
    serials = ranking.serial[page].tolist()
    beliefs = [of_class.stored.at_ms for of_class in now.classes.values() if of_class.stored is not None]
    return FleetView(
        plant=now.current.plant.name,
        currency=now.current.plant.currency,
        simulated=now.current.plant.simulated,
        made_at=min(beliefs, default=None),
        counts=_counts(ranking),
        matching=len(matching),
        rows=tuple(row_of(now, serial) for serial in serials),
        next=serials[-1] if serials and begin + len(page) < len(matching) else None,
    )


def ranked(now: Snapshot) -> Ranking:
    """The ranking of a snapshot, made once."""
    if "ranking" not in now.made:
        now.made["ranking"] = _rank(now)
    found: Ranking = now.made["ranking"]
    return found


def row_of(now: Snapshot, serial: str) -> AssetRow:
    """One line of the fleet."""
    machine, ranking = asset(now, serial), ranked(now)
    position, of_class = ranking.position[serial], now.classes[machine.class_name]
    refusal = Refusal(int(ranking.refusal[position]))
    risk = float(ranking.risk[position])
    return AssetRow(
        serial=serial,
        class_name=machine.class_name,
        slot=machine.slot,
        place=machine.place,
        criticality=machine.criticality,
        group=machine.group,
        in_service=bool(ranking.in_service[position]),
        attention=ranking.attention[position] or None,
        basis=Basis(int(ranking.basis[position])).name.lower(),
        refusal=None if refusal == Refusal.NONE else refusal.code,
        risk=known(risk),
        expected_loss=known(risk * float(ranking.loss_of_failure[position])),
        currency=now.current.plant.currency,
        unit=of_class.asset_class.life_step.unit,
        window=window_of(now, machine),
        alert=gravest(tuple(alert_view(row) for row in now.alerts.get(serial, ()))),
        **_outlook(now, of_class, serial, refusal),
    )


def _outlook(now: Snapshot, of_class: ClassBeliefs, serial: str, refusal: Refusal) -> dict[str, Any]:
    """What a line says about the age and the future of a machine."""
    asset_class, stored = of_class.asset_class, of_class.stored
    beliefs, row = belief_of(of_class, serial)
    if beliefs is None or stored is None:
        names = ("likely_mode", "median_at", "risk_until", "exposure", "used_life", "seen_until")
        return {**dict.fromkeys(names), "text": "no forecast: no readings"}
    quantiles, duty_rate = beliefs.prognosis.quantiles[row], float(beliefs.duty_rate[row])
    modes = modes_of(asset_class, beliefs.prognosis.mode[row], refusal == Refusal.NONE)
    return {
        "text": in_words(asset_class, now.current.plant.time_zone, stored.at_ms, quantiles, duty_rate, refusal),
        "likely_mode": modes[0].title if modes else None,
        "median_at": date_of(float(quantiles[MEDIAN]), duty_rate, stored.at_ms, asset_class.horizon),
        "risk_until": stored.at_ms + asset_class.notice_ms,
        "exposure": float(beliefs.exposure[row]),
        "used_life": used_life(float(beliefs.exposure[row]), float(quantiles[MEDIAN])),
        "seen_until": instant(beliefs.last_end_ms[row]),
    }


def _risk(of_class: ClassBeliefs, rows: NDArray[np.int64]) -> Floats:
    """P(T <= notice) of these machines `[m]`, NaN where nothing is known or no tick has seen them (row -1)."""
    risk = np.full(len(rows), np.nan)
    seen = rows >= 0
    if of_class.stored is not None and seen.any():
        beliefs = of_class.stored.beliefs
        notice_hours = of_class.asset_class.notice_ms / HOUR_MS
        within = beliefs.duty_rate[rows[seen]] * notice_hours
        risk[seen] = failure_probability(beliefs.prognosis.quantiles[rows[seen]], within)
    return risk


def _rank(now: Snapshot) -> Ranking:
    parts = [_class_columns(now, of_class) for of_class in now.classes.values()]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["serial"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    risk, loss, criticality = (columns[name] for name in ("risk", "loss_of_failure", "criticality"))
    # a machine without declared costs weighs as much as the average of those that have them, by its criticality
    average = np.nanmean(loss) if np.isfinite(loss).any() else 1.0
    expected_loss = risk * np.where(np.isnan(loss), average * criticality / _USUAL_CRITICALITY, loss)
    return Ranking(
        **columns,
        by_loss=np.argsort(-np.nan_to_num(expected_loss, nan=-1.0), kind="stable"),
        position={serial: position for position, serial in enumerate(columns["serial"].tolist())},
    )


def _class_columns(now: Snapshot, of_class: ClassBeliefs) -> dict[str, NDArray[Any]]:
    """The columns of `Ranking` for one class."""
    serials = now.fleet.serials_of(of_class.asset_class.name)
    machines = [now.fleet.assets[serial] for serial in serials]
    rows = np.array([of_class.row_of.get(serial, -1) for serial in serials], dtype=np.int64)
    columns: dict[str, NDArray[Any]] = {
        "serial": _objects(serials),
        "class_name": _objects([of_class.asset_class.name] * len(serials)),
        "site": _objects([machine.place[0] if machine.place else "" for machine in machines]),
        "line": _objects([line_of(machine) for machine in machines]),
        "searched": _objects([f"{m.serial}\n{m.slot}\n{m.source}".casefold() for m in machines]),
        "criticality": np.array([machine.criticality for machine in machines], dtype=np.float64),
        "risk": _risk(of_class, rows),
    }
    columns |= _stored_columns(of_class, rows)
    columns["attention"] = _attention(now, serials, columns["refusal"], columns["in_service"])
    return columns


def _stored_columns(of_class: ClassBeliefs, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Columns that come from the beliefs, with what holds before the first tick where there are none."""
    made: dict[str, NDArray[Any]] = {
        "in_service": np.ones(len(rows), dtype=bool),
        "basis": np.full(len(rows), Basis.NONE, dtype=np.int8),
        "refusal": np.full(len(rows), Refusal.NO_READINGS, dtype=np.int8),
        "loss_of_failure": np.full(len(rows), np.nan),
    }
    if of_class.stored is not None:
        beliefs, seen = of_class.stored.beliefs, rows >= 0
        made["in_service"][seen] = beliefs.in_service[rows[seen]]
        made["basis"][seen] = beliefs.prognosis.basis[rows[seen]]
        made["refusal"][seen] = beliefs.prognosis.refusal[rows[seen]]
        made["loss_of_failure"][seen] = beliefs.windows.cost_run_to_failure[rows[seen]]
    return made


def _attention(
    now: Snapshot, serials: tuple[str, ...], refusal: NDArray[np.int8], in_service: NDArray[np.bool_]
) -> Objects:
    """`now`, `soon`, `blind` or an empty text for each machine."""
    silent = (Refusal.NONE, Refusal.FAILED, *WATCHED)
    found: Objects = np.where(in_service & ~np.isin(refusal, silent), "blind", "").astype(object)
    for row, serial in enumerate(serials):
        if serial in now.alerts:
            alerts = tuple(alert_view(alert) for alert in now.alerts[serial])
            found[row] = attention(alerts, Refusal(int(refusal[row])), bool(in_service[row])) or ""
    return found


def line_of(machine: Asset) -> str:
    """The line of an ISA-95 path (site, area, line, cell); the last part of a shorter one."""
    return machine.place[min(2, len(machine.place) - 1)] if len(machine.place) > 1 else ""


def _matches(ranking: Ranking, wanted: FleetFilter) -> NDArray[np.bool_]:
    found = np.ones(len(ranking.serial), dtype=bool)
    for column, value in (
        (ranking.site, wanted.site),
        (ranking.line, wanted.line),
        (ranking.class_name, wanted.class_name),
        (ranking.in_service, wanted.in_service),
    ):
        if value is not None:
            found &= column == value
    if wanted.attention is not None:
        found &= ranking.attention != "" if wanted.attention == "any" else ranking.attention == wanted.attention
    if wanted.search:
        part = wanted.search.casefold()
        found &= np.array([part in text for text in ranking.searched], dtype=bool)
    return found


def _position_after(serials: Objects, wanted: FleetFilter) -> int:
    """Where the page after `wanted.after` begins; by serial also where that machine is gone."""
    if wanted.after is None:
        return 0
    if not wanted.by_loss:
        return bisect.bisect_right(serials.tolist(), wanted.after)
    found = np.flatnonzero(serials == wanted.after)
    return int(found[0]) + 1 if len(found) else 0


def _counts(ranking: Ranking) -> FleetCounts:
    alive = ranking.in_service
    forecast = alive & (ranking.basis != Basis.NONE)
    watched = alive & np.isin(ranking.refusal, WATCHED)
    return FleetCounts(
        assets=int(alive.sum()),
        attention=int((alive & np.isin(ranking.attention, ("now", "soon"))).sum()),
        forecast=int(forecast.sum()),
        watched=int(watched.sum()),
        no_forecast=int((alive & ~forecast & ~watched).sum()),
        failed=int((~alive).sum()),
    )


def _objects(values: Sequence[Any]) -> Objects:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def count_by_basis(ranking: Ranking) -> dict[tuple[str, str], int]:
    """How many machines in service have a forecast on each basis, by class."""
    alive = ranking.in_service
    bases = (Basis(int(basis)).name.lower() for basis in ranking.basis[alive])
    return dict(Counter(zip(ranking.class_name[alive].tolist(), bases, strict=True)))
