"""Where trees are walked: on threads of this process, on processes of this machine, or on a Dask cluster (joblib).

A forecast concerns one machine alone, so a cohort is cut into parts and the answers are put together. Whatever happens
to who works on a part, it is worked out here instead: no worker can fail a tick, or change a number.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import joblib
import numpy as np
import structlog
from numpy.typing import NDArray

from pdm.errors import ConfigurationError
from pdm.prognosis import learned
from pdm.prognosis.learned import Inferred, Model

FEWEST_ROWS = 500
"""Machines in a part; fewer are not worth the way."""

PATIENCE_S = 60.0
"""Workers that take longer are not waited for."""

CONNECT_S = 5.0

_DASK = "dask://"

_log = structlog.stdlib.get_logger(__name__)


class Workers:
    """Works out learned forecasts in parts.

    Attributes:
        problem: why they are worked out in this process instead, None if they are not.
    """

    def __init__(self, backend: str, count: int) -> None:
        """`backend` is `threads`, `processes` or `dask://HOST:PORT`; `count` is how many parts there are at most.

        Raises:
            ConfigurationError: the package for Dask is not there.
        """
        self.problem: str | None = None
        if backend.startswith(_DASK) and find_spec("distributed") is None:
            raise ConfigurationError("needs a package: pip install 'pdm-twin[dask]'", key="pipeline.backend")
        self._backend, self._count = backend, count
        self._cluster: Any = None

    def infer(
        self,
        model: Model,
        features: NDArray[np.float64],
        exposure: NDArray[np.float64],
        complete: NDArray[np.bool_],
        names: Sequence[str],
    ) -> Inferred:
        """As `learned.infer`."""
        parts = np.array_split(np.arange(len(features)), min(self._count, len(features) // FEWEST_ROWS) or 1)
        tasks = [(model, features[part], exposure[part], complete[part], names) for part in parts]
        done = self._spread(tasks) if len(tasks) > 1 else [learned.infer(*task) for task in tasks]
        return Inferred(*(np.concatenate(columns) for columns in zip(*done, strict=True)))

    def degraded(self) -> list[str]:
        """What is wrong with them, in sentences."""
        return [] if self.problem is None else [self.problem]

    def close(self) -> None:
        """Let go of the cluster."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _spread(self, tasks: Sequence[tuple[Any, ...]]) -> list[Inferred]:
        try:
            with joblib.parallel_config(**self._where()):
                run = joblib.Parallel(n_jobs=len(tasks), timeout=PATIENCE_S)
                done = list(run(joblib.delayed(learned.infer)(*task) for task in tasks))
        except Exception as error:  # a fault of ours comes again below
            self._failed(f"{type(error).__name__}: {error}")
            return [learned.infer(*task) for task in tasks]
        if self.problem is not None:
            _log.info("in service again", what="workers")
        self.problem = None
        return done

    def _where(self) -> dict[str, Any]:
        if not self._backend.startswith(_DASK):
            return {"backend": {"threads": "threading", "processes": "loky"}[self._backend]}
        if self._cluster is None:
            self._cluster = _client(self._backend.removeprefix(_DASK))
        return {"backend": "dask", "client": self._cluster}

    def _failed(self, why: str) -> None:
        if self.problem is None:
            _log.error("out of service", what="workers", where=self._backend, why=why)
        self.problem = f"forecasts are worked out in one process: {why}"
        self.close()


def _client(address: str) -> Any:
    import dask
    from distributed import Client

    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})  # a model goes along with each part
    return Client(f"tcp://{address}", timeout=CONNECT_S, set_as_default=False)
