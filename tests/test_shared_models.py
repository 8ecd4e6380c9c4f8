"""Models from host to host: the bytes that one uses are the bytes that the other proves and uses."""

from pathlib import Path

import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from pdm.adapters import model_folder
from pdm.demo_plants import pump_plant
from pdm.plant.file import parse_plant
from pdm.settings import shipped_folder
from pdm.shared_models import share, take_shared
from pdm.state.models import model_files
from pdm.state.schema import opened_state, write

SHIPPED = shipped_folder("trained_models")
VERSION = model_folder.versions(SHIPPED, "pump")[-1]
PLANT = parse_plant(pump_plant(1, start_ms=0))


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened_state(url) as engine:
        for _ in range(2):
            share(engine, {"pump": VERSION}, [SHIPPED])  # once more changes nothing
    return url


def test_a_host_without_a_model_takes_it_over_and_can_load_it(url: str, tmp_path: Path) -> None:
    with opened_state(url) as engine:
        for _ in range(2):
            take_shared(engine, PLANT, [tmp_path / "own"], tmp_path / "own")
    taken = tmp_path / "own" / "pump" / VERSION
    assert model_folder.whole_files(taken) == model_folder.whole_files(SHIPPED / "pump" / VERSION)
    assert model_folder.load(taken, PLANT.classes["pump"]).version == VERSION


def test_a_host_that_has_it_takes_nothing(url: str, tmp_path: Path) -> None:
    with opened_state(url) as engine:
        take_shared(engine, PLANT, [tmp_path / "own", SHIPPED], tmp_path / "own")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("name", ["manifest.json", "squared0.txt", "../../escaped"])
def test_what_was_changed_on_the_way_is_named_and_not_used(url: str, tmp_path: Path, name: str) -> None:
    with opened_state(url) as engine:
        with write(engine) as connection:
            if name.startswith(".."):
                connection.execute(update(model_files).where(model_files.c.name == "card.md").values(name=name))
            else:
                connection.execute(update(model_files).where(model_files.c.name == name).values(body=b"{}"))
        with capture_logs() as lines:
            take_shared(engine, PLANT, [tmp_path / "own"], tmp_path / "own")
    assert [line["event"] for line in lines] == ["shared model left out"]
    assert not list((tmp_path / "own").rglob("*.*"))
    assert not (tmp_path / "escaped").exists()


def test_a_model_that_lacks_a_file_is_left_out(url: str, tmp_path: Path) -> None:
    with opened_state(url) as engine:
        with write(engine) as connection:
            connection.execute(delete(model_files).where(model_files.c.name == "frame.npz"))
        take_shared(engine, PLANT, [tmp_path / "own"], tmp_path / "own")
    assert model_folder.versions(tmp_path / "own", "pump") == []
