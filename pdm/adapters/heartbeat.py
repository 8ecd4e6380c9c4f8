"""The heartbeat: a call after each good tick. A watchdog elsewhere tells people when the calls stay away."""

from collections.abc import Sequence

import structlog

import pdm
from pdm.adapters.http_client import Network, post, refusal
from pdm.errors import ConfigurationError, DeliveryError

_log = structlog.stdlib.get_logger(__name__)


class Heartbeat:
    """Posts nothing to an address, and never fails: only the first call in a row that does not arrive is logged."""

    def __init__(self, url: str, allowed: Sequence[Network] = ()) -> None:
        if (reason := refusal(url, allowed)) is not None:
            raise ConfigurationError(f"the URL {reason}", key="notify.heartbeat_url")
        self._url, self._allowed, self._heard = url, allowed, True

    def beat(self) -> None:
        problem = self._called()
        if problem and self._heard:
            _log.error("heartbeat does not arrive", why=problem)
        elif not problem and not self._heard:
            _log.info("heartbeat arrives again")
        self._heard = not problem

    def _called(self) -> str:
        """What went wrong, empty if nothing did."""
        try:
            status = post(self._url, b"", {"User-Agent": f"pdm-twin/{pdm.__version__}"}, self._allowed).status
        except DeliveryError as error:
            return str(error)
        return "" if 200 <= status < 300 else f"the receiver answered {status}"
