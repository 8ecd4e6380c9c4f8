"""Files that survive a crash: what is on disk, and what only seems to be."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory


def sync(path: Path) -> None:
    """Return once a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(path: Path, content: bytes) -> None:
    """Make a file that is there with all of its content or not at all.

    Raises:
        FileExistsError: another one was faster.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        made = Path(folder) / path.name
        made.write_bytes(content)
        sync(made)
        path.hardlink_to(made)
    sync(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Put a file in place of another one, of which either remains whatever happens; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    sync(beside)
    beside.replace(path)
    sync(path.parent)
