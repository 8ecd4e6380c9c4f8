"""Plant and rule files that ship with the package: those that `pdm-twin init` writes, and those of the demo."""

from importlib.resources import files


def plant_template() -> str:
    """A commented `plant.yaml` for one critical machine, a fan with four sensors that has never failed."""
    return template("plant.yaml")


def rules_template() -> str:
    """A commented `rules.yaml` for that plant."""
    return template("rules.yaml")


def template(name: str) -> str:
    """The text of one of the files."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
