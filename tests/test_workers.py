"""Forecasts worked out in parts, wherever: the same numbers to the last bit, whatever happens to who works them out."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster
from structlog.testing import capture_logs

from pdm.adapters import model_folder, workers
from pdm.adapters.workers import FEWEST_ROWS, Workers
from pdm.demo_plants import pump_plant
from pdm.errors import ConfigurationError
from pdm.plant.file import parse_plant
from pdm.prognosis import learned
from pdm.settings import shipped_folder

PUMP = parse_plant(pump_plant(1, start_ms=0)).classes["pump"]
FOLDER = shipped_folder("trained_models")
MODEL = model_folder.load(FOLDER / "pump" / model_folder.versions(FOLDER, "pump")[-1], PUMP)
MODES = [mode.name for mode in PUMP.failure_modes]

Task = tuple[learned.Model, Any, Any, Any, list[str]]


def task(machines: int) -> Task:
    random = np.random.default_rng(machines)
    seen = random.normal(0.0, 3.0, (machines, len(MODEL.frame.feature_names)))
    return MODEL, seen, random.uniform(0.0, 5_000.0, machines), random.random(machines) < 0.8, MODES


def assert_same(found: learned.Inferred, asked: Task) -> None:
    expected = learned.infer(*asked)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", silence_logs=50
    ) as made:
        yield made


@pytest.fixture
def dask(cluster: LocalCluster) -> Iterator[Workers]:
    made = Workers(cluster.scheduler_address.replace("tcp", "dask"), 4)
    yield made
    made.close()


@pytest.mark.parametrize("machines", [1, FEWEST_ROWS, 2 * FEWEST_ROWS, 2 * FEWEST_ROWS + 1, 7 * FEWEST_ROWS + 3])
def test_threads_give_the_same_numbers_for_any_number_of_machines(machines: int) -> None:
    asked = task(machines)
    assert_same(Workers("threads", 3).infer(*asked), asked)


def test_processes_give_the_same_numbers() -> None:
    asked = task(3 * FEWEST_ROWS)
    made = Workers("processes", 2)
    assert_same(made.infer(*asked), asked)
    assert made.degraded() == []


def test_a_cluster_gives_the_same_numbers_also_when_a_worker_of_it_is_killed_on_the_way(
    cluster: LocalCluster, dask: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = task(2 * FEWEST_ROWS), task(30 * FEWEST_ROWS)
    assert_same(dask.infer(*small), small)
    assert dask.degraded() == []
    monkeypatch.setattr(workers, "PATIENCE_S", 5.0)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(dask.infer, *large)
        time.sleep(0.2)
        assert not under_way.done()
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        assert_same(under_way.result(), large)
    monkeypatch.undo()
    assert_same(dask.infer(*small), small)
    assert dask.degraded() == []  # the cluster is used again


def test_without_a_cluster_the_work_is_done_here_and_said_to_be_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_S", 0.2)
    asked, made = task(2 * FEWEST_ROWS), Workers("dask://127.0.0.1:9", 2)
    with capture_logs() as lines:
        for _ in range(2):
            assert_same(made.infer(*asked), asked)
    assert [line["event"] for line in lines] == ["out of service"]
    assert "worked out in one process" in made.degraded()[0]


def test_workers_that_are_away_for_a_while_are_used_again(cluster: LocalCluster) -> None:
    asked = task(2 * FEWEST_ROWS)
    made = Workers("dask://127.0.0.1:9", 2)
    made.infer(*asked)
    made._backend = cluster.scheduler_address.replace("tcp", "dask")
    assert_same(made.infer(*asked), asked)
    assert made.degraded() == []
    made.close()


def test_a_cluster_without_its_package_is_a_matter_of_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'pdm-twin\[dask\]'"):
        Workers("dask://scheduler:8786", 2)
