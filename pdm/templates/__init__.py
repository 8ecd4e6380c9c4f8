"""The files that `pdm-twin init` writes for one critical machine, to be changed by the people who know it."""

from importlib.resources import files


def plant_template() -> str:
    """A commented `plant.yaml`: a fan with four sensors that has never failed; valid as it is."""
    return _text("plant.yaml")


def rules_template() -> str:
    """A commented `rules.yaml` for that plant."""
    return _text("rules.yaml")


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
