"""Names in params.yaml -> classes and modules of ours, imported when they are asked for.

The catalogues themselves (``RECIPES``, ``MODELS``, ``SOURCES``, ``DETECTORS``) are dicts of strings in the rooms that they
list. They are reached by name, so that nothing in core imports a room above it.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

from components.core.strict import must_exist, resolve

Kind = Literal["recipe", "network", "source", "detector"]
CATALOGUES: dict[Kind, tuple[str, str]] = {
    "recipe": ("components.families", "RECIPES"),
    "network": ("components.networks", "MODELS"),
    "source": ("components.stages.fetch", "SOURCES"),
    "detector": ("components.detectors", "DETECTORS"),
}


def names(kind: Kind) -> dict[str, str]:
    """Name -> "module:attribute" of all that there is of a kind."""
    module, attribute = CATALOGUES[kind]
    targets: dict[str, str] = getattr(importlib.import_module(module), attribute)
    return targets


def load(kind: Kind, name: str, key: str) -> Any:
    """Return the class with this name. SettingsError names the setting ``key`` and the choices for an unknown one."""
    return resolve(names(kind), name, key)


def module_of(kind: Kind, name: str, key: str) -> str:
    """The module that ``load`` imports for this name, without importing it."""
    must_exist(name, names(kind), key)
    return names(kind)[name].partition(":")[0]


def evaluation_module(family: str, key: str) -> str:
    """The module that measures the runs of a family: ``Settings`` and ``evaluate(served, splits, settings, links)``."""
    return module_of("recipe", family, key).rpartition(".")[0] + ".evaluation"


def evaluation(family: str, key: str) -> Any:
    """Import it."""
    return importlib.import_module(evaluation_module(family, key))
