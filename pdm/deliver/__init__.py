"""Telling people, the second step after the change of state that they are told about.

    routes that wait -> on each: claim the next delivery -> make its message, once -> send -> note the result

A delivery is claimed, and its message stored, in one transaction before the first attempt; every later attempt sends
the same bytes under the same id. A process that dies between sending and noting leaves a claim that lapses, so the
message goes out again: at least once, one event id for ever. Routes do not wait for each other.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import SystemRandom
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog
from sqlalchemy import Connection

from pdm.deliver.messages import Site, alert_message, group_message, message_of
from pdm.errors import DeliveryError, RouteGoneError
from pdm.ports import Message
from pdm.state import telling
from pdm.state.plants import current_fleet, current_plant
from pdm.state.schema import deliveries, read, write
from pdm.state.told import change_delivery, get

if TYPE_CHECKING:
    from pdm.services import Services

CLAIM_MS = 60_000
"""Wall time after which a claim lapses."""

GROUP_ABOVE = 10
QUIET_MS = 300_000
"""More untold matters than this on one route become one message; the next one goes out this much later."""

FIRST_RETRY_MS = 5_000
LONGEST_RETRY_MS = 8 * 3_600_000
MOST_ATTEMPTS = 11
"""Attempts wait 5, 15, 45, ... s, at most 8 h, for each other: 21 hours in all."""

NOT_IN_USE = "not in use: its secret is missing, or its address is refused"
HOLD_MS = 60_000
"""What is to be told on a route that the rules file names and that cannot be used waits so long for another look."""

PATIENCE_S = 2.0
"""How long a run waits for its routes. One that hangs goes on by itself; the next run serves the others."""

_log = structlog.stdlib.get_logger(__name__)
_random = SystemRandom()


class Outcome(StrEnum):
    """How an attempt ended; the state that the delivery is left in."""

    SENT = "sent"
    AGAIN = "due"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one run did, in messages; `under_way` counts routes that are still being served."""

    sent: int
    again: int
    failed: int
    under_way: int

    def __str__(self) -> str:
        said = {"sent": self.sent, "to be tried again": self.again, "failed": self.failed, "under way": self.under_way}
        return ", ".join(f"{count} {what}" for what, count in said.items() if count) or "nothing was due"


class _Claim(NamedTuple):
    """One delivery that this run may send until `until_ms` (wall time)."""

    id: str
    route: str
    message: Message
    attempt: int
    until_ms: int


def deliver(services: "Services") -> DeliveryReport:
    """Send what is due, each route in its own thread."""
    with read(services.engine) as connection:
        routes = telling.waiting_routes(connection, services.clock.wall_ms())
    outcomes: list[Outcome] = []
    workers = [
        Thread(target=_serve, args=(services, route, outcomes.append), name=f"deliver {route}", daemon=True)
        for route in routes
    ]
    for worker in workers:
        worker.start()
    deadline = monotonic() + PATIENCE_S
    for worker in workers:
        worker.join(max(0.0, deadline - monotonic()))
    counts = Counter(outcomes)
    return DeliveryReport(
        sent=counts[Outcome.SENT],
        again=counts[Outcome.AGAIN],
        failed=counts[Outcome.FAILED] + counts[Outcome.DISABLED],
        under_way=sum(worker.is_alive() for worker in workers),
    )


def retry_after_ms(attempt: int, jitter: float) -> int | None:
    """How long to wait after a failed attempt (1 is the first), None after the last; `jitter` is between 0.8 and 1.2.

    Jitter keeps the retries of many sites apart that lost the same receiver in the same moment.
    """
    if attempt >= MOST_ATTEMPTS:
        return None
    return round(min(FIRST_RETRY_MS * 3.0 ** (attempt - 1), LONGEST_RETRY_MS) * jitter)


def _serve(services: "Services", route: str, report: Callable[[Outcome], None]) -> None:
    """Send what is due on one route until nothing is, or until an attempt fails: the next run takes up the rest."""
    try:
        if _hold(services, route):
            report(Outcome.AGAIN)
            return
        outcome = Outcome.SENT
        while outcome == Outcome.SENT and (claim := _claim(services, route)) is not None:
            outcome, result = _attempt(services, claim)
            _note(services, claim, outcome, result)
            report(outcome)
    except Exception:
        _log.exception("delivery broke off", route=route)


def _hold(services: "Services", route: str) -> bool:
    """Let everything wait for a route that the rules in force name and that is not in use; no attempt is counted."""
    if route in services.notifiers:
        return False
    wall_ms = services.clock.wall_ms()
    with write(services.engine) as connection:
        if route not in current_plant(connection).rules.routes:
            return False
        new = telling.hold(connection, route, wall_ms, wall_ms + HOLD_MS, NOT_IN_USE)
    if new:
        _log.warning("not delivered, to be tried again", route=route, reason=NOT_IN_USE)
    return True


def _claim(services: "Services", route: str) -> _Claim | None:
    """Claim the next delivery of a route, its message made and stored; None if nothing is to be sent now."""
    wall_ms = services.clock.wall_ms()
    with write(services.engine) as connection:
        rest = telling.rest_of(connection, route)
        if rest.disabled:
            telling.disable_waiting(connection, route, rest.disabled)
            return None
        row = telling.next_delivery(connection, route, wall_ms, with_message=True)
        if row is None and wall_ms >= rest.quiet_until_ms:
            row = telling.next_delivery(connection, route, wall_ms, with_message=False)
        if row is None:
            return None
        made = row.message or _make_message(connection, services, row.id, route)
        claim = _Claim(row.id, route, message_of(made), row.attempts + 1, wall_ms + CLAIM_MS)
        change_delivery(
            connection,
            row.id,
            state="claimed",
            claimed_until_ms=claim.until_ms,
            attempts=claim.attempt,
            message=made,
        )
    return claim


def _make_message(connection: Connection, services: "Services", delivery_id: str, route: str) -> bytes:
    """Compose the message of a delivery, or one for all that wait beside it if they are many."""
    plant = current_plant(connection)
    site = Site(plant.plant, current_fleet(connection, plant).assets, services.public_url)
    wall_ms = services.clock.wall_ms()
    matters = telling.untold_matters(connection, route, wall_ms)
    if len(matters) > GROUP_ABOVE:
        telling.group_under(connection, delivery_id, route, wall_ms)
        telling.keep_quiet(connection, route, wall_ms + QUIET_MS)
        return group_message(delivery_id, matters, site)
    matter = telling.matter(connection, delivery_id)
    return alert_message(delivery_id, matter, telling.advice_on(connection, matter.alert_id), site)


def _attempt(services: "Services", claim: _Claim) -> tuple[Outcome, str | None]:
    """Send once; what came of it, and why."""
    notifier = services.notifiers.get(claim.route)
    if notifier is None:
        return Outcome.FAILED, f"the rules file has no route {claim.route!r}"
    try:
        notifier.send(claim.message)
    except RouteGoneError as error:
        return Outcome.DISABLED, str(error)
    except DeliveryError as error:
        last = not error.retry_helps or claim.attempt >= MOST_ATTEMPTS
        return (Outcome.FAILED if last else Outcome.AGAIN), str(error)
    except Exception as error:  # a fault of our own must not lose an alert
        _log.exception("a notifier broke", route=claim.route, delivery=claim.id)
        return (Outcome.FAILED if claim.attempt >= MOST_ATTEMPTS else Outcome.AGAIN), type(error).__name__
    return Outcome.SENT, None


def _note(services: "Services", claim: _Claim, outcome: Outcome, result: str | None) -> None:
    """Write down what came of an attempt, for the delivery and for all that travelled with it."""
    with write(services.engine) as connection:
        row = get(connection, deliveries, claim.id)
        if outcome != Outcome.SENT and (row.state, row.claimed_until_ms) != ("claimed", claim.until_ms):
            return  # it took so long that the claim lapsed: what another attempt found out counts
        change_delivery(connection, claim.id, state=outcome, result=result)
        if outcome == Outcome.AGAIN:
            wait_ms = retry_after_ms(claim.attempt, _random.uniform(0.8, 1.2)) or 0
            change_delivery(connection, claim.id, due_ms=services.clock.wall_ms() + wait_ms)
        else:
            telling.end_group(connection, claim.id, outcome, result)
        if outcome == Outcome.DISABLED:
            telling.disable_route(connection, claim.route, result or "")
    _log_change(claim, outcome, result)


def _log_change(claim: _Claim, outcome: Outcome, result: str | None) -> None:
    """Once when something breaks and once when it recovers."""
    facts = {"route": claim.route, "delivery": claim.id, "attempt": claim.attempt}
    if outcome == Outcome.SENT and claim.attempt > 1:
        _log.info("delivered at last", **facts)
    elif outcome == Outcome.AGAIN and claim.attempt == 1:
        _log.warning("not delivered, to be tried again", reason=result, **facts)
    elif outcome in (Outcome.FAILED, Outcome.DISABLED):
        _log.error("not delivered", reason=result, **facts)
