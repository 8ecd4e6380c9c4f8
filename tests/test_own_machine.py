"""The notebook in docs/ runs as it stands, and shows what it finds."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "own-machine.ipynb"


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def said(cell: Any) -> list[str]:
    """The text that a cell shows, pictures aside."""
    outputs = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return [text for text in outputs if text and not text.startswith("<")]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
def test_the_notebook_finds_again_what_it_shows() -> None:
    stored, fresh = notebook(), notebook()
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(fresh, timeout=500, kernel_name="python3", resources=folder).execute()
    for old, new in zip(stored.cells, fresh.cells, strict=True):
        assert said(old) == said(new), new.source


def test_the_notebook_is_stored_as_it_ran_from_top_to_bottom() -> None:
    code = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [one for cell in code for one in cell.outputs if one.output_type == "error"]
    assert NOTEBOOK.stat().st_size < 300_000
