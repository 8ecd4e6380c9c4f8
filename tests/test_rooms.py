"""The table of rooms in docs/architecture.md is what the code does: who may import whom."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"

OUTSIDE = {"fastapi", "httpx2", "os", "paho", "pathlib", "socket", "sqlalchemy", "sqlite3", "ssl", "subprocess", "time"}
"""What touches network, disk or clock."""


def rooms() -> dict[str, list[str]]:
    """The table of rooms in docs/architecture.md: modules by room, the highest room first."""
    (table,) = re.findall(r"^## Rooms\n(.*?)^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| ")][1:]
    return {name.strip(): re.findall(r"`([a-z_]+)`", modules) for name, modules in rows}


@cache
def imports_of(module: str) -> frozenset[str]:
    """What a module of `pdm/`, or all of a package, imports: ours as `pdm.x`, others by their first name."""
    package = ROOT / "pdm" / module
    files = [*package.rglob("*.py")] if package.is_dir() else [package.with_suffix(".py")]
    found = set[str]()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"pdm.{name.name}" for name in node.names} if node.module == "pdm" else {str(node.module)}
    parts = (name.split(".") for name in found)
    return frozenset(".".join(name[:2]) if name[0] == "pdm" else name[0] for name in parts) - {f"pdm.{module}"}


def test_every_module_has_its_room() -> None:
    there = {path.stem for path in (ROOT / "pdm").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(name for modules in rooms().values() for name in modules) == sorted(there - {"__init__"})


def test_a_room_imports_nothing_from_a_room_above() -> None:
    above = set[str]()
    for modules in rooms().values():
        for module in modules:
            assert not imports_of(module) & above, f"{module} imports {imports_of(module) & above}"
        above |= {f"pdm.{module}" for module in modules}


def test_the_two_sides_do_not_know_each_other() -> None:
    assert "pdm.adapters" not in imports_of("web")
    assert "pdm.web" not in imports_of("adapters")


def test_the_domain_touches_no_network_no_disk_and_no_clock() -> None:
    for module in rooms()["domain"]:
        assert not imports_of(module) & OUTSIDE, f"{module} imports {imports_of(module) & OUTSIDE}"


def test_only_the_demo_knows_the_truth_behind_the_simulation() -> None:
    assert not any(name.startswith("pdm") for name in imports_of("simulated_plant"))
    others = [module for modules in rooms().values() for module in modules if module not in ("demo", "simulated_plant")]
    assert not [module for module in others if "pdm.simulated_plant" in imports_of(module)]
