"""What the flows, the pipelines and the web work with, put together once by `pdm.wiring`."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from pdm.ports import Clock, Compactor, Models, Notifier, ReadingStore, Simulation, Workers
from pdm.prognosis import learned
from pdm.prognosis.forecast import Infer
from pdm.prognosis.learned import Model

if TYPE_CHECKING:
    from pdm.cohort import Cohort
    from pdm.forward import Forwarder
    from pdm.ingest import Ingest
    from pdm.ingest.adopt import AdoptedBucket
    from pdm.ingest.drop import DropFolder
    from pdm.projections import Projector


@dataclass
class Services:
    """The running service.

    Attributes:
        engine: the state database.
        readings: the reading side of the reading store.
        clock: plant time and wall time.
        leads: whether this process ticks; others follow what it has written.
        models: the proven model of each class that has one: the active one.
        activation: number of the newest activation that `models` follows.
        coming: models that speak once they have caught up, by class.
        trained: every trained model that there is here; None where none are kept.
        model_problems: why a class has no model, or not the active one, although a folder is there, by class.
        own_models: where models go that are trained here; None where none are.
        foreign_models: classes without a model because those in the folders were made for other machines.
        notifiers: the routes of `rules.yaml` by name, beside the log.
        workers: where learned forecasts are worked out; None does it in the thread that ticks.
        public_url: where people reach the pages, for the links in messages.
        ingest: takes readings that come by HTTP; None where this process does not take any.
        compactor: keeps the reading logs small; None where readings are in memory.
        forwarder: brings readings from the logs to the store that is read; None where the logs are that store.
        projector: sends twins and prognoses to the store that readings are forwarded to; None where there is none.
        gone: since when sources are gone by their own word [ms], as Sparkplug B has it.
        drop: imports files that are put into a folder; None where no folder is watched.
        adopted: takes what is new in a bucket that others write; None where there is none.
        simulation: the control of a simulated plant, None on a real one.
        failing: why a pipeline failed the last time, by its name, until it works again.
        cohorts: twins kept in memory between ticks, by class: a cache of the state database.
    """

    engine: Engine
    readings: ReadingStore
    clock: Clock
    leads: bool = False
    models: dict[str, Model] = field(default_factory=dict)
    activation: int = 0
    coming: dict[str, Model] = field(default_factory=dict)
    trained: Models | None = None
    model_problems: dict[str, str] = field(default_factory=dict)
    own_models: Path | None = None
    foreign_models: Set[str] = frozenset()
    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    workers: Workers | None = None
    public_url: str = ""
    ingest: "Ingest | None" = None
    compactor: Compactor | None = None
    forwarder: "Forwarder | None" = None
    projector: "Projector | None" = None
    gone: Callable[[], Mapping[str, int]] = dict
    drop: "DropFolder | None" = None
    adopted: "AdoptedBucket | None" = None
    simulation: Simulation | None = None
    failing: dict[str, str] = field(default_factory=dict)
    cohorts: "dict[str, Cohort]" = field(default_factory=dict)

    @property
    def infer(self) -> Infer:
        """`learned.infer`, wherever it is worked out."""
        return learned.infer if self.workers is None else self.workers.infer

    def close(self) -> None:
        """Let go of the stores."""
        if self.drop is not None:
            self.drop.stop()
        if self.adopted is not None:
            self.adopted.close()
        if self.ingest is not None:
            self.ingest.close()
        if self.projector is not None:
            self.projector.background.stop()
        if self.forwarder is not None:
            self.forwarder.stop()
        if self.workers is not None:
            self.workers.close()
        self.readings.close()
        self.engine.dispose()
