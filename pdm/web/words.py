"""The words of `pdm.words`, under the name that the pages were first written with."""

from pdm.words import *  # noqa: F403
