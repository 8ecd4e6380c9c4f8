"""The documents name what is there (links, commands, settings, routes, code), and nothing that is only planned."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from pdm.adapters.memory_readings import MemoryReadings
from pdm.cli import app as command_line
from pdm.clocks import ServiceClock
from pdm.services import Services
from pdm.settings import setting_rows
from pdm.state.schema import open_state
from pdm.web.app import create_app

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))

PLANNED = re.compile(
    r"iCalendar|Maximo|SAP\b|replay ID"
    r"|accounts? of people",
    re.IGNORECASE,
)
"""What later versions may bring: named only under a heading that says so, or in the reasons for a decision."""

NOT_SHIPPED = ("What is not there yet", "Not there yet")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(<?([^()\s>]+)>?\)")


class Named(NamedTuple):
    """Something that a page names."""

    page: str
    what: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def code_of(page: str) -> list[str]:
    """Every span and every line of the blocks of a page that is code."""
    blocks = [line for _, block in _FENCE.findall(text_of(page)) for line in block.splitlines()]
    return blocks + _SPAN.findall(prose_of(page))


def named(pattern: str) -> list[Named]:
    """What the code in all pages names, each once."""
    found = [Named(page, what) for page in PAGES for code in code_of(page) for what in re.findall(pattern, code)]
    return list(dict.fromkeys(found))


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def commands() -> dict[str, Any]:
    """Every command of the program by its full name, `import readings` for one of a group."""

    def below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, command
        for part, child in getattr(command, "commands", {}).items():
            yield from below(child, f"{name} {part}".strip())

    return dict(below(typer.main.get_command(command_line), ""))


def command_of(words: list[str]) -> str:
    """The command that the words begin with; "" if there is none, as for a group with another word behind it."""
    whole, first = " ".join(words[:2]), words[0]
    if whole in commands():
        return whole
    group = hasattr(commands().get(first), "commands") and words[1:] and words[1].isalpha() and words[1].islower()
    return first if first in commands() and not group else ""


def options_of(name: str) -> set[str]:
    return {option for one in ("", name) for parameter in commands()[one].params for option in parameter.opts}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_project_leads_somewhere(page: str) -> None:
    for link in _LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors_of(target), f"{link}: no such heading"


def test_every_page_is_reached_from_the_readme_in_two_hops() -> None:
    reached = {"README.md"}
    for _ in range(2):
        reached |= {
            ((ROOT / page).parent / link.partition("#")[0]).resolve().relative_to(ROOT).as_posix()
            for page in reached
            if page.endswith(".md")
            for link in _LINK.findall(prose_of(page))
            if not re.match(r"[a-z]+:|#", link)
        }
    assert set(PAGES) <= reached


def test_every_command_named_exists_and_has_the_options_named() -> None:
    for page, words in named(r"pdm-twin((?: [a-z][a-z-]*(?![\w./])| --?[a-z-]+| [A-Z.\w/:-]+)+)"):
        name = command_of(words.split())
        assert name or words.split()[0].startswith("-"), f"{page}: there is no command pdm-twin{words}"
        strange = set(re.findall(r"(?<= )--[a-z-]+", words)) - options_of(name)
        assert not strange, f"{page}: pdm-twin {name} has no {strange}"


def test_every_option_named_alone_belongs_to_a_command() -> None:
    known = set().union(*map(options_of, commands()))
    assert not [found for found in named(r"^(--[a-z-]+)(?: |$)") if found.what not in known]


def test_every_option_of_the_demo_that_make_is_given_exists() -> None:
    given = named(r'make demo ARGS="([^"]+)"')
    assert given
    for page, arguments in given:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options_of("demo"), page


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for page, target in named(r"\bmake ([a-z][a-z-]*)"):
        assert target in targets, f"{page}: make {target}"


def test_the_readme_names_the_commands_of_a_newcomer_in_their_order() -> None:
    code = "\n".join(code_of("README.md"))
    found = [code.index(command) for command in ("make demo", "make test", "init", "check", "apply", "up")]
    assert found == sorted(found)


def test_every_setting_named_exists() -> None:
    known = {row.environment for row in setting_rows()} | {"PDM_DATA"}
    for page, variable in named(r"\b(PDM_[A-Z_]+)\b"):
        assert variable in known, f"{page}: {variable}"


def test_every_route_named_exists(tmp_path: Path) -> None:
    services = Services(open_state(f"sqlite:///{tmp_path}/state.db"), MemoryReadings(), ServiceClock())
    described = create_app(services).openapi()["paths"]
    services.close()
    known = [re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in (*described, "/api/v1/openapi.json")]
    routes = named(r"(/api/v1/[\w./<>-]+|/(?:livez|readyz|metrics)\b)")
    assert routes
    for page, route in routes:
        assert any(pattern.fullmatch(route.rstrip("/.")) for pattern in known), f"{page}: {route}"


def test_every_file_of_the_project_named_exists() -> None:
    for page, path in named(r"^((?:pdm|tests|pipelines|benchmarks|docs|\.ci)/[\w./-]+)$"):
        assert (ROOT / path).exists() or path in ("benchmarks/results/", "pdm/lines"), f"{page}: {path}"


def test_every_name_beside_a_module_is_defined_in_it() -> None:
    pairs = [
        (page, path, name)
        for page in PAGES
        for path, name in re.findall(r"\((?:\.\./)*(pdm/[\w/]+\.py)\), `(\w+)`", text_of(page))
    ]
    pairs += [
        (page, path, name)
        for page in PAGES
        for name, path in re.findall(r"`(\w+)` in `(pdm/[\w/]+\.py)`", text_of(page))
    ]
    assert ("README.md", "pdm/readings.py", "clean") in pairs
    for page, path, name in pairs:
        assert re.search(rf"^(?:def|class) {name}\b|^{name}\b.*=", text_of(path), re.MULTILINE), (
            f"{page}: {path}, {name}"
        )


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("docs/decisions/")])
def test_what_is_planned_is_named_as_such(page: str) -> None:
    sections = re.split(r"^(?=#+ )", prose_of(page), flags=re.MULTILINE)
    shipped = [section for section in sections if not any(title in section.split("\n")[0] for title in NOT_SHIPPED)]
    for section in shipped:
        found = PLANNED.search(_SPAN.sub("", section))
        assert not found, f"{found and found[0]!r} is not shipped: {section[:60]!r}"


def test_pages_and_messages_of_the_program_name_commands_that_exist() -> None:
    files = [path for form in ("py", "html", "yaml") for path in ROOT.glob(f"pdm/**/*.{form}")]
    strange = [
        f"{path.relative_to(ROOT)}: pdm-twin {words}"
        for path in files
        for words in re.findall(r"[`>]pdm-twin ((?:[a-z-]+ ?)+)[^`<]*[`<]", path.read_text(encoding="utf-8"))
        if not command_of(words.split())
    ]
    assert not strange
